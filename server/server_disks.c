#include "server/server_disks.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/cluster/placement.h"
#include "common/io/log.h"
#include "server/server.h"
#include "server/server_background.h"
#include "storage-node/superblock.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAP_ARENA_BYTES (4u << 20)
#define LOOK_PAUSE_FACTOR 20
#define DISK_WAIT_NS UINT64_C(30000000000)
#define DISK_LEAVE_WAIT_NS UINT64_C(2000000000) /* where nothing hangs it takes milliseconds */
#define DISK_POLL_US 2000
#define DISK_QUEUE_SPARE_BYTES (64u << 20) /* repair, and cells rounded up */
#define CLASS_SETTING "class" /* two bytes: k, m */

static enum errc propose(struct server *server, const struct meta_command *command, const char *what, struct error *e)
{
    struct meta_op op;
    enum errc rc = wait_propose(&server->meta, server->completions, &op, command, e);
    if (rc == ERRC_OK && op.result.outcome != META_OK) {
        rc = error_set(e, ERRC_CONFLICT, "%s: refused with outcome %u", what, op.result.outcome);
    }
    meta_op_release(&op);
    return rc;
}

enum errc server_class_record(struct server *server, struct error *e)
{
    const uint8_t value[2] = { server->class_k, server->class_m };
    const struct meta_command command = { .type = META_CMD_SETTING_PUT,
                                          .setting_put = { slice_str(CLASS_SETTING), slice_of(value, 2) } };
    return propose(server, &command, "recording the code", e);
}

/*
 * The uploads' budget bounds what waits for disks; a disk's own queue must hold all of it, since in a code with k = 1 every
 * byte goes to every disk. A smaller queue refused shards of 64 concurrent 16 MiB uploads (96 MiB a disk at 4+2).
 */
struct node_disk_config server_disk_config(const struct data_dir *dir)
{
    const struct data_config data = data_config_default();
    return (struct node_disk_config){ .id = dir->disk, .path = dir->path,
                                      .options.queue_bytes_max = data.write_budget_bytes + DISK_QUEUE_SPARE_BYTES };
}

/* The code that an earlier start recorded; *ret_recorded: there is one. */
static enum errc class_recorded(struct server *server, bool *ret_recorded, uint8_t *ret_k, uint8_t *ret_m, struct error *e)
{
    struct arena arena;
    struct meta_op op;
    const struct meta_query query = { .type = META_QRY_SETTING, .name = slice_str(CLASS_SETTING) };
    arena_init(&arena, MAP_ARENA_BYTES);
    enum errc rc = wait_query(&server->meta, server->completions, &arena, &op, &query, e);
    *ret_recorded = rc == ERRC_OK && op.setting.outcome == META_OK && op.setting.value.len == 2;
    *ret_k = *ret_recorded ? op.setting.value.data[0] : 0;
    *ret_m = *ret_recorded ? op.setting.value.data[1] : 0;
    meta_op_release(&op);
    arena_done(&arena);
    return rc;
}

enum errc server_class_check(struct server *server, struct error *e)
{
    const struct server_options *options = &server->options;
    unsigned needed = (unsigned)options->erasure_k + options->erasure_m;
    if (!options->has_erasure || needed <= server->dirs.count) {
        return ERRC_OK;
    }
    bool recorded;
    uint8_t k;
    uint8_t m;
    enum errc rc = class_recorded(server, &recorded, &k, &m, e);
    if (rc != ERRC_OK || (recorded && k == options->erasure_k && m == options->erasure_m)) {
        return rc;
    }
    return error_set(e, ERRC_INVALID, "--erasure %u+%u needs %u directories, %u are given", options->erasure_k,
                     options->erasure_m, needed, server->dirs.count);
}

enum errc server_class_settle(struct server *server, struct error *e)
{
    bool recorded;
    uint8_t k;
    uint8_t m;
    enum errc rc = class_recorded(server, &recorded, &k, &m, e);
    if (rc != ERRC_OK) {
        return rc;
    }
    const struct server_options *options = &server->options;
    if (options->has_erasure) {
        server->class_k = options->erasure_k;
        server->class_m = options->erasure_m;
    } else if (recorded) {
        server->class_k = k;
        server->class_m = m;
    } else {
        server_erasure_default(server->dirs.count, &server->class_k, &server->class_m);
    }
    if (!recorded && getenv("CAIRN_ROOT_SECRET_KEY") == NULL) {
        server->print_keys = true; /* a first start that did not come to its end has not shown them */
    }
    bool changed = recorded && (k != server->class_k || m != server->class_m);
    if (changed) {
        LOG_INFO(log_event("erasure_changed"), log_u64("k", server->class_k), log_u64("m", server->class_m),
                 log_text("note", "holds for new buckets only"));
    }
    return recorded && !changed ? ERRC_OK : server_class_record(server, e);
}

static const struct meta_disk *disk_find(const struct meta_cluster_reply *map, struct disk_id id)
{
    for (uint32_t i = 0; i < map->disk_count; i++) {
        if (disk_id_equal(map->disks[i].id, id)) {
            return &map->disks[i];
        }
    }
    return NULL;
}

static enum errc disk_put(struct server *server, const struct data_dir *dir, struct disk_id replaces, struct error *e)
{
    const struct meta_command command = {
        .type = META_CMD_DISK_PUT,
        .disk_put.disk = { .id = dir->disk, .node = server->node_id, .state = META_DISK_IN,
                           .path = slice_str(dir->path), .replaces = replaces },
    };
    return propose(server, &command, "adding a disk", e);
}

static enum errc dir_register(struct server *server, const struct meta_cluster_reply *map, const struct data_dir *dir,
                              struct error *e)
{
    const struct meta_disk *known = disk_find(map, dir->disk);
    if (known != NULL && known->state == META_DISK_REMOVED) {
        return error_set(e, ERRC_CONFLICT, "'%s' holds a disk that was replaced: empty it to use it again", dir->path);
    }
    if (known != NULL && slice_equal_str(known->path, dir->path)) {
        return ERRC_OK;
    }
    if (known == NULL && map->disk_count > 0) {
        LOG_INFO(log_event("disk_joins"), log_text("path", dir->path));
    }
    return disk_put(server, dir, (struct disk_id){ { 0 } }, e);
}

static bool group_has(const struct meta_group *group, struct disk_id id)
{
    for (unsigned i = 0; i < group->disk_count; i++) {
        if (disk_id_equal(group->disks[i], id)) {
            return true;
        }
    }
    return false;
}

/* Is the disk in a group that is wide enough for the recorded code? */
static bool disk_is_grouped(const struct meta_cluster_reply *map, struct disk_id id, unsigned width)
{
    for (uint32_t i = 0; i < map->group_count; i++) {
        if (map->groups[i].disk_count >= width && group_has(&map->groups[i], id)) {
            return true;
        }
    }
    return false;
}

static enum errc group_put(struct server *server, const struct disk_id *disks, const struct placement_group *window,
                           uint32_t id, struct error *e)
{
    struct meta_command command = { .type = META_CMD_GROUP_PUT,
                                    .group_put.group = { .id = id, .disk_count = window->disk_count, .writable = true } };
    for (unsigned i = 0; i < window->disk_count; i++) {
        command.group_put.group.disks[i] = disks[window->disks[i]];
    }
    return propose(server, &command, "making a placement group", e);
}

static enum errc groups_make(struct server *server, const struct meta_cluster_reply *map, struct error *e)
{
    struct disk_id disks[PLACEMENT_DISKS_MAX];
    bool grouped[PLACEMENT_DISKS_MAX];
    unsigned count = 0;
    uint32_t next_id = 1;
    for (uint32_t i = 0; i < map->disk_count; i++) {
        if (map->disks[i].state == META_DISK_IN && count == PLACEMENT_DISKS_MAX) {
            return error_set(e, ERRC_LIMIT, "more than %d disks cannot be put into groups", PLACEMENT_DISKS_MAX);
        }
        if (map->disks[i].state == META_DISK_IN) {
            disks[count++] = map->disks[i].id;
        }
    }
    for (uint32_t i = 0; i < map->group_count; i++) {
        next_id = map->groups[i].id >= next_id ? map->groups[i].id + 1 : next_id;
    }
    unsigned width = (unsigned)server->class_k + server->class_m;
    width = width < count ? width : count;
    for (unsigned i = 0; i < count; i++) {
        grouped[i] = disk_is_grouped(map, disks[i], width);
    }
    for (unsigned i = 0; i < placement_group_count(count, width); i++) {
        const struct placement_group window = placement_group_at(count, width, i);
        bool wanted = false;
        for (unsigned d = 0; d < window.disk_count; d++) {
            wanted = wanted || !grouped[window.disks[d]];
        }
        enum errc rc = wanted ? group_put(server, disks, &window, next_id++, e) : ERRC_OK;
        if (rc != ERRC_OK) {
            return rc;
        }
    }
    return ERRC_OK;
}

/* Runs `step` on the map as it is now. */
static enum errc with_map(struct server *server,
                          enum errc (*step)(struct server *server, const struct meta_cluster_reply *map, struct error *e),
                          struct error *e)
{
    struct arena arena;
    struct meta_op op;
    const struct meta_query query = { .type = META_QRY_CLUSTER };
    arena_init(&arena, MAP_ARENA_BYTES);
    enum errc rc = wait_query(&server->meta, server->completions, &arena, &op, &query, e);
    if (rc == ERRC_OK) {
        rc = step(server, &op.cluster, e);
    }
    meta_op_release(&op);
    arena_done(&arena);
    return rc;
}

static enum errc dirs_register(struct server *server, const struct meta_cluster_reply *map, struct error *e)
{
    enum errc rc = ERRC_OK;
    for (unsigned i = 0; i < server->dirs.count && rc == ERRC_OK; i++) {
        if (server->dirs.dirs[i].kind == DATA_DIR_KNOWN) {
            rc = dir_register(server, map, &server->dirs.dirs[i], e);
        }
    }
    return rc;
}

enum errc server_disks_register(struct server *server, struct error *e)
{
    enum errc rc = with_map(server, dirs_register, e);
    return rc == ERRC_OK ? with_map(server, groups_make, e) : rc;
}

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
    rc = rc == ERRC_OK ? disk_put(server, dir, lost->id, e) : rc;
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
        found = disk_find(map, looked->disk);
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
    const struct meta_disk *known = disk_find(map, looked->disk);
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
