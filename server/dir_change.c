#include "server/dir_change.h"

#include "common/base/assert.h"
#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/io/log.h"
#include "server/server.h"
#include "server/server_background.h"
#include "server/server_disks.h"
#include "storage-node/superblock.h"

#include <string.h>
#include <unistd.h>

#define MAP_ARENA_BYTES (4u << 20)
#define LOOK_PAUSE_FACTOR 20
#define DISK_WAIT_NS UINT64_C(30000000000)
#define DISK_LEAVE_WAIT_NS UINT64_C(2000000000) /* where nothing hangs it takes milliseconds */
#define DISK_POLL_US 2000

/* ---- replacement ---- */

static bool disk_is_here(const struct server *server, struct disk_id id)
{
    return node_disk_state(server->node, id) == DISK_ONLINE || node_disk_state(server->node, id) == DISK_FULL;
}

struct lost_disk {
    struct disk_id id;
    char path[SERVER_PATH_BYTES]; /* as the map has it */
};

static void lost_disk_set(struct lost_disk *lost, const struct meta_disk *disk)
{
    size_t len = disk->path.len < sizeof(lost->path) ? disk->path.len : sizeof(lost->path) - 1;
    lost->id = disk->id;
    memcpy(lost->path, disk->path.data, len);
    lost->path[len] = '\0';
}

/* The lost disk that `path` stands for: named, recorded at that path, or the only one that is missing. */
static enum errc lost_disk_choose(const struct server *server, const struct meta_cluster_reply *map, const char *path,
                                  const char *for_disk, struct lost_disk *ret_lost, struct error *e)
{
    unsigned lost_count = 0;
    const struct meta_disk *lost = NULL;
    struct disk_id named = { { 0 } };
    if (for_disk != NULL && !id_from_hex(for_disk, strlen(for_disk), named.bytes)) {
        return error_set(e, ERRC_INVALID, "'%s' is not a disk id: see 'cairn disk list'", for_disk);
    }
    for (uint32_t i = 0; i < map->disk_count; i++) {
        const struct meta_disk *disk = &map->disks[i];
        if (disk->state == META_DISK_REMOVED || disk_is_here(server, disk->id)) {
            continue;
        }
        if (for_disk != NULL ? disk_id_equal(disk->id, named) : slice_equal_str(disk->path, path)) {
            lost_disk_set(ret_lost, disk);
            return ERRC_OK;
        }
        lost_count++;
        lost = disk;
    }
    if (for_disk != NULL) {
        return error_set(e, ERRC_INVALID, "disk %s is not a lost disk of this server", for_disk);
    }
    if (lost_count != 1) {
        return error_set(e, ERRC_INVALID, lost_count == 0 ? "no disk is missing"
                                                          : "%u disks are missing: name one with --for DISK-ID",
                         lost_count);
    }
    lost_disk_set(ret_lost, lost);
    return ERRC_OK;
}

static struct data_dir *dir_slot(struct server *server, const char *path)
{
    for (unsigned i = 0; i < server->dirs.count; i++) {
        if (strcmp(server->dirs.dirs[i].path, path) == 0) {
            return &server->dirs.dirs[i];
        }
    }
    return NULL;
}

/* Waits on the admin executor, which may block. False: the time is up. */
static bool disk_await(struct server *server, struct disk_id id, bool there, uint64_t wait_ns)
{
    uint64_t deadline_ns = env_now_ns(server->env) + wait_ns;
    while ((node_disk_state(server->node, id) != DISK_ABSENT) != there) {
        if (env_now_ns(server->env) > deadline_ns) {
            return false;
        }
        (void)usleep(DISK_POLL_US);
    }
    return true;
}

/* The lost disk leaves the node, before anything is written: a disk that hangs does so in its own time, which only one at the
 * same path must wait for. A removal that an earlier attempt began is awaited too. */
static enum errc lost_disk_leave(struct server *server, struct disk_id lost, bool same_path, struct error *e)
{
    if (node_disk_remove(server->node, lost) == ERRC_NOT_FOUND && node_disk_state(server->node, lost) == DISK_ABSENT) {
        return ERRC_OK;
    }
    if (disk_await(server, lost, false, same_path ? DISK_WAIT_NS : DISK_LEAVE_WAIT_NS)) {
        return ERRC_OK;
    }
    if (same_path) {
        return error_set(e, ERRC_TIMEOUT, "the lost disk is still in use: try again");
    }
    LOG_WARN(log_event("lost_disk_hangs"), log_text("note", "it is replaced, and left alone"));
    return ERRC_OK;
}

/* An attempt that failed behind this may have left it in service. */
static enum errc disk_into_service(struct server *server, const struct data_dir *dir, struct error *e)
{
    const struct node_disk_config config = server_disk_config(dir);
    enum errc rc = node_disk_state(server->node, dir->disk) == DISK_ABSENT ? node_disk_add(server->node, &config, e) : ERRC_OK;
    if (rc != ERRC_OK) {
        return rc;
    }
    if (!disk_await(server, dir->disk, true, DISK_WAIT_NS) || node_disk_state(server->node, dir->disk) == DISK_FENCED) {
        return error_set(e, ERRC_IO, "'%s' could not be taken into service: see the log", dir->path);
    }
    return node_scrub_start(server->node, dir->disk, SERVER_SCRUB_BYTES_PER_SECOND);
}

static enum errc dir_format(struct server *server, struct data_dir *dir, struct error *e)
{
    enum errc rc = data_dir_prepare(server->env, dir, e);
    rc = rc == ERRC_OK ? credentials_write(server->env, dir->path, &server->credentials, e) : rc;
    return rc == ERRC_OK ? data_dir_format(server->env, dir, server->dirs.cluster, e) : rc;
}

/* Formats the DIR, unless an earlier attempt did, and gives it to the node and to the metadata mirrors; nothing refers to it
 * before DISK_PUT. */
static enum errc dir_adopt(struct server *server, struct data_dir *dir, const struct lost_disk *lost, struct error *e)
{
    enum errc rc = lost_disk_leave(server, lost->id, strcmp(lost->path, dir->path) == 0, e);
    rc = rc == ERRC_OK && dir->kind != DATA_DIR_KNOWN ? dir_format(server, dir, e) : rc;
    rc = rc == ERRC_OK ? disk_into_service(server, dir, e) : rc;
    rc = rc == ERRC_OK ? server_disk_put(server, dir, lost->id, e) : rc;
    if (rc == ERRC_OK) {
        voter_mirror_replace(server->voter, lost->id, dir->disk, dir->path);
        cluster_map_refresh(server->map, NULL, NULL);
        struct server_background *background = atomic_load(&server->background);
        if (background != NULL) {
            background_disk_changed(background, dir->disk, true); /* the sweep begins at once */
        }
    }
    return rc;
}

/* The lock that this server holds on a DIR, lent to whoever looks at it anew; NULL: none is held. */
static struct env_file *lock_lend(struct server *server, const char *path)
{
    (void)pthread_mutex_lock(&server->dirs_lock);
    struct data_dir *dir = dir_slot(server, path);
    struct env_file *lock = dir != NULL ? dir->lock : NULL;
    if (dir != NULL) {
        dir->lock = NULL;
    }
    (void)pthread_mutex_unlock(&server->dirs_lock);
    return lock;
}

/* May it stand for a lost disk? An empty DIR may, and one that an earlier attempt formatted and did not put into the map. */
static enum errc adoptable(const struct server *server, const struct meta_cluster_reply *map, const struct data_dir *looked,
                           struct error *e)
{
    const struct meta_disk *found = NULL;
    switch (looked->kind) {
    case DATA_DIR_EMPTY:
    case DATA_DIR_ABSENT:
        return ERRC_OK;
    case DATA_DIR_KNOWN:
        if (!cluster_id_equal(looked->cluster, server->dirs.cluster)) {
            break;
        }
        found = meta_cluster_disk(map, looked->disk);
        if (found == NULL) {
            return ERRC_OK;
        }
        if (slice_equal(found->path, slice_str(looked->path))) {
            return error_set(e, ERRC_INVALID, "'%s' is not empty: it holds a disk of this server, which takes part again by itself "
                             "in seconds, or after a restart if it had failed", looked->path);
        }
        break;
    case DATA_DIR_UNREADABLE:
    case DATA_DIR_UNKNOWN:
        break;
    }
    return error_set(e, ERRC_INVALID, "'%s' is not empty", looked->path);
}

/* The place in server->dirs for a DIR that was looked at by itself: path and lock move over. NULL: no place. Where the DIR is
 * refused only a lock that was lent goes back. */
static struct data_dir *dir_take(struct server *server, struct data_dir *looked, bool adopted)
{
    (void)pthread_mutex_lock(&server->dirs_lock);
    struct data_dir *dir = dir_slot(server, looked->path);
    if (dir != NULL && !adopted) {
        dir->lock = looked->lock; /* it stays what it was */
        looked->lock = NULL;
    } else if (dir != NULL) {
        mem_free(dir->path);
    } else if (adopted && server->dirs.count < SERVER_DIRS_MAX) {
        dir = &server->dirs.dirs[server->dirs.count++];
    }
    if (dir != NULL && adopted) {
        *dir = *looked;
        *looked = (struct data_dir){ .path = NULL };
        if (dir->kind != DATA_DIR_KNOWN) {
            env_random(server->env, dir->disk.bytes, ID_BYTES);
        }
    }
    (void)pthread_mutex_unlock(&server->dirs_lock);
    return dir;
}

/* The DIR's place in server->dirs, NULL and *e where it cannot be adopted. */
static struct data_dir *dir_claim(struct server *server, const struct meta_cluster_reply *map, const char *path, struct error *e)
{
    struct data_dirs looked;
    enum errc rc = data_dirs_open_held(server->env, path, lock_lend(server, path), &looked, e);
    rc = rc == ERRC_OK ? adoptable(server, map, &looked.dirs[0], e) : rc;
    struct data_dir *dir = dir_take(server, &looked.dirs[0], rc == ERRC_OK);
    data_dirs_close(&looked);
    if (rc == ERRC_OK && dir == NULL) {
        (void)error_set(e, ERRC_LIMIT, "at most %d directories", SERVER_DIRS_MAX);
    }
    return rc == ERRC_OK ? dir : NULL;
}

enum errc server_disk_replace(struct server *server, const char *path, const char *for_disk, struct disk_id *ret_new,
                              struct disk_id *ret_replaced, struct error *e)
{
    struct arena arena;
    struct meta_op op;
    const struct meta_query query = { .type = META_QRY_CLUSTER };
    struct lost_disk lost = { .id = { { 0 } } };
    struct data_dir *dir = NULL;
    arena_init(&arena, MAP_ARENA_BYTES);
    enum errc rc = wait_query(&server->meta, server->completions, &arena, &op, &query, e);
    rc = rc == ERRC_OK ? lost_disk_choose(server, &op.cluster, path, for_disk, &lost, e) : rc;
    if (rc == ERRC_OK) {
        dir = dir_claim(server, &op.cluster, path, e);
        rc = dir == NULL ? e->code : dir_adopt(server, dir, &lost, e);
    }
    if (dir != NULL) {
        *ret_new = dir->disk;
        *ret_replaced = lost.id;
    }
    meta_op_release(&op);
    arena_done(&arena);
    return rc;
}

/* ---- return ---- */

/* A disk of this server, which takes part no longer or has never left: nothing to take in. */
static enum errc returnable(const struct server *server, const struct meta_cluster_reply *map, const struct data_dir *looked,
                            struct error *e)
{
    if (looked->kind != DATA_DIR_KNOWN || !cluster_id_equal(looked->cluster, server->dirs.cluster)) {
        return error_set(e, ERRC_CONFLICT, "'%s' is not a disk of this server", looked->path);
    }
    const struct meta_disk *known = meta_cluster_disk(map, looked->disk);
    if (known == NULL || known->state == META_DISK_REMOVED) {
        return error_set(e, ERRC_CONFLICT, "'%s' holds a disk that %s: empty it to use it again", looked->path,
                         known == NULL ? "is not known" : "was replaced");
    }
    return ERRC_OK;
}

static enum errc dir_return(struct server *server, const struct meta_cluster_reply *map, const char *path, struct error *e)
{
    struct data_dirs looked;
    enum errc rc = data_dirs_open_held(server->env, path, lock_lend(server, path), &looked, e);
    rc = rc == ERRC_OK ? returnable(server, map, &looked.dirs[0], e) : rc;
    struct data_dir *dir = dir_take(server, &looked.dirs[0], rc == ERRC_OK);
    data_dirs_close(&looked);
    if (rc != ERRC_OK || dir == NULL) {
        return rc != ERRC_OK ? rc : error_set(e, ERRC_LIMIT, "at most %d directories", SERVER_DIRS_MAX);
    }
    rc = credentials_write(server->env, dir->path, &server->credentials, e); /* they may have been rotated meanwhile */
    rc = rc == ERRC_OK ? disk_into_service(server, dir, e) : rc;
    if (rc == ERRC_OK) {
        LOG_INFO(log_event("disk_returned"), log_text("path", dir->path));
        voter_mirror_replace(server->voter, dir->disk, dir->disk, dir->path);
    }
    return rc;
}

static bool dir_is_back(struct server *server, const struct data_dir *dir)
{
    struct superblock found;
    return dir->kind != DATA_DIR_KNOWN && !dir->unusable &&
           superblock_read(server->env, dir->path, &server->dirs.cluster, &found, NULL) == ERRC_OK;
}

/* One that cannot be taken in is tried once; without metadata nothing is tried, and the next look asks again. */
static void dir_try(struct server *server, struct data_dir *dir)
{
    struct arena arena;
    struct meta_op op;
    struct error e = ERROR_INIT;
    const struct meta_query query = { .type = META_QRY_CLUSTER };
    char *path = mem_strdup(dir->path); /* its place is filled anew */
    arena_init(&arena, MAP_ARENA_BYTES);
    if (wait_query(&server->meta, server->completions, &arena, &op, &query, &e) == ERRC_OK) {
        enum errc rc = dir_return(server, &op.cluster, path, &e);
        if (rc != ERRC_OK) {
            LOG_ERROR(log_event("disk_return_failed"), log_text("path", path), log_error_of(&e));
        }
        (void)pthread_mutex_lock(&server->dirs_lock);
        dir->unusable = rc != ERRC_OK || dir->kind != DATA_DIR_KNOWN; /* a link by now: the disk has another place */
        (void)pthread_mutex_unlock(&server->dirs_lock);
    }
    meta_op_release(&op);
    arena_done(&arena);
    mem_free(path);
}

/* Only admin_jobs, where this runs, changes the DIRs of a server that is up. */
static void dirs_look(struct server *server)
{
    for (unsigned i = 0; i < server->dirs.count; i++) {
        if (dir_is_back(server, &server->dirs.dirs[i])) {
            dir_try(server, &server->dirs.dirs[i]);
        }
    }
}

/* A disk that answers slowly may not hold the admin port: the next look waits for many times what this one took. */
static void on_look(struct task *task)
{
    struct server *server = container_of(task, struct server, look_task);
    uint64_t begun_ns = env_now_ns(server->env);
    dirs_look(server);
    uint64_t ended_ns = env_now_ns(server->env);
    atomic_store(&server->look_again_ns, ended_ns + LOOK_PAUSE_FACTOR * (ended_ns - begun_ns));
    atomic_store(&server->looking, false);
}

void server_dirs_look(struct server *server)
{
    bool missing = false;
    if (server->cluster != NULL || server->jobs_ended || env_now_ns(server->env) < atomic_load(&server->look_again_ns)) {
        return;
    }
    (void)pthread_mutex_lock(&server->dirs_lock);
    for (unsigned i = 0; i < server->dirs.count; i++) {
        missing = missing || (server->dirs.dirs[i].kind != DATA_DIR_KNOWN && !server->dirs.dirs[i].unusable);
    }
    (void)pthread_mutex_unlock(&server->dirs_lock);
    if (missing && !atomic_exchange(&server->looking, true)) {
        server->look_task.run = on_look;
        executor_post(server->admin_jobs, &server->look_task);
    }
}

/* ---- one more ---- */

static enum errc addable(const struct server *server, const struct data_dir *looked, const struct disk_id *known,
                         unsigned known_count, struct error *e)
{
    switch (looked->kind) {
    case DATA_DIR_EMPTY:
        return ERRC_OK;
    case DATA_DIR_KNOWN:
        if (!cluster_id_equal(looked->cluster, server->dirs.cluster)) {
            return error_set(e, ERRC_CONFLICT, "'%s' belongs to another cluster", looked->path);
        }
        if (node_disk_state(server->node, looked->disk) != DISK_ABSENT) {
            return error_set(e, ERRC_EXISTS, "'%s' is a disk of this node already", looked->path);
        }
        for (unsigned i = 0; i < known_count; i++) {
            if (disk_id_equal(known[i], looked->disk)) {
                return error_set(e, ERRC_CONFLICT, "'%s' holds a disk that the cluster has, or had: its node takes it at a start; if "
                                 "it was replaced or removed, empty it to use it again", looked->path);
            }
        }
        return ERRC_OK;
    case DATA_DIR_UNREADABLE:
        return error_set(e, looked->problem.code, "cannot use '%s': %s", looked->path, looked->problem.text);
    case DATA_DIR_ABSENT:
    case DATA_DIR_UNKNOWN:
        break;
    }
    return error_set(e, ERRC_NOT_FOUND, "'%s' does not exist: make it, or mount the disk, first", looked->path);
}

/* What stood at this path and is out of service: false where nothing did. */
static bool disk_before(struct server *server, const char *path, struct disk_id *ret_disk)
{
    (void)pthread_mutex_lock(&server->dirs_lock);
    const struct data_dir *dir = dir_slot(server, path);
    bool there = dir != NULL && !disk_id_is_zero(dir->disk);
    *ret_disk = there ? dir->disk : (struct disk_id){ { 0 } };
    (void)pthread_mutex_unlock(&server->dirs_lock);
    return there;
}

enum errc server_dir_add(struct server *server, const char *path, const struct disk_id *known, unsigned known_count,
                         struct disk_id *ret_disk, struct error *e)
{
    struct data_dirs looked;
    struct disk_id before;
    enum errc rc = data_dirs_open_held(server->env, path, lock_lend(server, path), &looked, e);
    rc = rc == ERRC_OK ? addable(server, &looked.dirs[0], known, known_count, e) : rc;
    if (rc == ERRC_OK && disk_before(server, looked.dirs[0].path, &before)) {
        rc = lost_disk_leave(server, before, true, e);
    }
    struct data_dir *dir = dir_take(server, &looked.dirs[0], rc == ERRC_OK);
    data_dirs_close(&looked);
    if (rc != ERRC_OK || dir == NULL) {
        return rc != ERRC_OK ? rc : error_set(e, ERRC_LIMIT, "at most %d directories", SERVER_DIRS_MAX);
    }
    if (dir->kind != DATA_DIR_KNOWN) {
        rc = data_dir_prepare(server->env, dir, e);
        rc = rc == ERRC_OK ? data_dir_format(server->env, dir, server->dirs.cluster, e) : rc;
    }
    rc = rc == ERRC_OK ? disk_into_service(server, dir, e) : rc;
    *ret_disk = dir->disk;
    return rc;
}
