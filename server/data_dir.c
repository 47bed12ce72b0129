#include "server/data_dir.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "storage-node/superblock.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define LOCK_NAME "lock"

/* What an unfinished first start may have left, and the file system itself: everything that is written before the
 * superblock. Segments and index are made after it. */
static const char *const own_names[] = { LOCK_NAME,  "credentials", "credentials.new",
                                         "disk.new", "metadata",    "lost+found" };

struct names_seen {
    unsigned foreign;
    unsigned own;   /* beside the lock and lost+found */
    bool stored;    /* it has segments */
    char first_foreign[64];
};

static void name_visit(void *data, const char *name)
{
    struct names_seen *seen = data;
    for (size_t i = 0; i < sizeof(own_names) / sizeof(own_names[0]); i++) {
        if (strcmp(name, own_names[i]) == 0) {
            bool counts = strcmp(name, LOCK_NAME) != 0 && strcmp(name, "lost+found") != 0;
            seen->own += counts ? 1 : 0;
            return;
        }
    }
    seen->stored = seen->stored || strcmp(name, "segments") == 0;
    if (seen->foreign++ == 0) {
        size_t len = strlen(name);
        len = len < sizeof(seen->first_foreign) ? len : sizeof(seen->first_foreign) - 1;
        memcpy(seen->first_foreign, name, len);
        seen->first_foreign[len] = '\0';
    }
}

/* An absolute path also for a DIR that is not there yet: its parent must be. */
static char *path_resolve(const char *path)
{
    char *real = realpath(path, NULL);
    if (real != NULL) {
        return real;
    }
    char *copy = mem_strdup(path);
    size_t len = strlen(copy);
    while (len > 1 && copy[len - 1] == '/') {
        copy[--len] = '\0';
    }
    char *slash = strrchr(copy, '/');
    const char *name = slash != NULL ? slash + 1 : copy;
    char *parent = NULL;
    if (slash == NULL) {
        parent = realpath(".", NULL);
    } else {
        *slash = '\0';
        parent = realpath(slash == copy ? "/" : copy, NULL);
    }
    char *result = parent != NULL ? mem_format("%s/%s", strcmp(parent, "/") == 0 ? "" : parent, name) : NULL;
    free(parent);
    mem_free(copy);
    return result;
}

static enum errc dir_lock(struct env *env, struct data_dir *dir, struct error *e)
{
    struct env_stat stat;
    struct env_stat held;
    char *path = mem_format("%s/" LOCK_NAME, dir->path);
    bool there = env->vt->stat_path(env, path, &stat, NULL) == ERRC_OK;
    if (dir->lock != NULL && there && env->vt->stat_file(env, dir->lock, &held, NULL) == ERRC_OK &&
        held.inode == stat.inode && held.device == stat.device) {
        mem_free(path);
        return ERRC_OK; /* held by this process already */
    }
    if (dir->lock != NULL) {
        env->vt->close(env, dir->lock); /* of a folder that is no longer there */
        dir->lock = NULL;
    }
    enum errc rc = env->vt->open(env, path, ENV_OPEN_CREATE, &dir->lock, e);
    dir->lock_made = rc == ERRC_OK && !there;
    if (rc == ERRC_OK) {
        rc = env->vt->lock(env, dir->lock, NULL);
        if (rc != ERRC_OK) {
            env->vt->close(env, dir->lock);
            dir->lock = NULL;
            rc = error_set(e, ERRC_CONFLICT, "'%s' is in use by another server", dir->path);
        }
    }
    mem_free(path);
    return rc;
}

static void dir_unreadable(struct data_dir *dir, const struct error *why)
{
    dir->kind = DATA_DIR_UNREADABLE;
    dir->problem = *why;
}

/* No superblock: empty, unfinished, or somebody's else. */
static enum errc dir_inspect_unformatted(struct env *env, struct data_dir *dir, struct error *e)
{
    struct names_seen seen = { 0 };
    struct error why = ERROR_INIT;
    if (env->vt->list(env, dir->path, name_visit, &seen, &why) != ERRC_OK) {
        dir_unreadable(dir, &why);
        return ERRC_OK;
    }
    if (seen.stored) {
        (void)error_set(&why, ERRC_CORRUPT, "its superblock, the file 'disk', is missing");
        dir_unreadable(dir, &why);
        return ERRC_OK;
    }
    if (seen.foreign > 0) {
        return error_set(e, ERRC_INVALID, "'%s' is not empty and not a Cairn directory (it has '%s')", dir->path,
                         seen.first_foreign);
    }
    dir->kind = DATA_DIR_EMPTY;
    dir->unfinished = seen.own > 0;
    return ERRC_OK;
}

static enum errc dir_inspect(struct env *env, struct data_dir *dir, struct error *e)
{
    struct env_stat stat;
    struct error why = ERROR_INIT;
    enum errc rc = env->vt->stat_path(env, dir->path, &stat, &why);
    if (rc == ERRC_NOT_FOUND) {
        dir->kind = DATA_DIR_ABSENT;
        return ERRC_OK;
    }
    if (rc != ERRC_OK) {
        dir_unreadable(dir, &why);
        return ERRC_OK;
    }
    if (!stat.is_dir) {
        return error_set(e, ERRC_INVALID, "'%s' is not a directory", dir->path);
    }
    dir->device = stat.device;
    dir->inode = stat.inode;
    struct superblock superblock;
    rc = superblock_read(env, dir->path, NULL, &superblock, &why);
    if (rc == ERRC_FORMAT) {
        return error_set(e, rc, "%s", why.text);
    }
    if (rc == ERRC_NOT_FOUND) {
        return dir_inspect_unformatted(env, dir, e);
    }
    if (rc != ERRC_OK) {
        dir_unreadable(dir, &why);
        return ERRC_OK;
    }
    dir->kind = DATA_DIR_KNOWN;
    dir->cluster = superblock.cluster;
    dir->disk = superblock.disk;
    return ERRC_OK;
}

static enum errc dirs_check_duplicate(const struct data_dirs *dirs, unsigned index, struct error *e)
{
    const struct data_dir *dir = &dirs->dirs[index];
    for (unsigned i = 0; i < index; i++) {
        const struct data_dir *other = &dirs->dirs[i];
        bool same_inode = dir->inode != 0 && dir->inode == other->inode && dir->device == other->device;
        if (same_inode || strcmp(dir->path, other->path) == 0) {
            return error_set(e, ERRC_INVALID, "'%s' is given twice", dir->path);
        }
        if (dir->kind == DATA_DIR_KNOWN && other->kind == DATA_DIR_KNOWN && disk_id_equal(dir->disk, other->disk)) {
            return error_set(e, ERRC_INVALID, "'%s' is a copy of '%s': both carry the same disk id", dir->path,
                             other->path);
        }
    }
    return ERRC_OK;
}

static enum errc dirs_check_cluster(struct data_dirs *dirs, struct error *e)
{
    const struct data_dir *first = NULL;
    for (unsigned i = 0; i < dirs->count; i++) {
        const struct data_dir *dir = &dirs->dirs[i];
        if (dir->kind != DATA_DIR_KNOWN) {
            continue;
        }
        if (first != NULL && !cluster_id_equal(first->cluster, dir->cluster)) {
            return error_set(e, ERRC_EXISTS, "'%s' belongs to another cluster than '%s'", dir->path, first->path);
        }
        first = first != NULL ? first : dir;
        dirs->known_count++;
    }
    if (first != NULL) {
        dirs->cluster = first->cluster;
    }
    return ERRC_OK;
}

/* With nothing known this is a first start, where nothing may be wrong with any DIR. */
static enum errc dirs_check_first_start(const struct data_dirs *dirs, struct error *e)
{
    for (unsigned i = 0; i < dirs->count && dirs->known_count == 0; i++) {
        const struct data_dir *dir = &dirs->dirs[i];
        if (dir->kind == DATA_DIR_UNREADABLE) {
            return error_set(e, dir->problem.code, "cannot use '%s': %s", dir->path, dir->problem.text);
        }
    }
    return ERRC_OK;
}

static enum errc dirs_lock(struct data_dirs *dirs, struct error *e)
{
    for (unsigned i = 0; i < dirs->count; i++) {
        struct data_dir *dir = &dirs->dirs[i];
        if (dir->kind != DATA_DIR_KNOWN && dir->kind != DATA_DIR_EMPTY) {
            continue;
        }
        struct error why = ERROR_INIT;
        enum errc rc = dir_lock(dirs->env, dir, &why);
        if (rc == ERRC_CONFLICT || (rc != ERRC_OK && dirs->known_count == 0)) {
            return error_set(e, rc, "%s", why.text);
        }
        if (rc != ERRC_OK) {
            dirs->known_count -= dir->kind == DATA_DIR_KNOWN ? 1 : 0;
            dir_unreadable(dir, &why);
        }
    }
    return ERRC_OK;
}

enum errc data_dirs_open(struct env *env, const char *const *paths, unsigned count, struct data_dirs *ret_dirs,
                         struct error *e)
{
    ASSERT(count <= SERVER_DIRS_MAX);
    struct data_dirs *dirs = ret_dirs;
    *dirs = (struct data_dirs){ .env = env };
    enum errc rc = ERRC_OK;
    for (unsigned i = 0; i < count && rc == ERRC_OK; i++) {
        struct data_dir *dir = &dirs->dirs[i];
        dir->path = path_resolve(paths[i]);
        dirs->count = i + 1;
        if (dir->path == NULL) {
            dir->path = mem_strdup(paths[i]);
            rc = error_set(e, ERRC_NOT_FOUND, "'%s': the folder above it does not exist", paths[i]);
            break;
        }
        rc = dir_inspect(env, dir, e);
        if (rc == ERRC_OK) {
            rc = dirs_check_duplicate(dirs, i, e);
        }
    }
    rc = rc == ERRC_OK ? dirs_check_cluster(dirs, e) : rc;
    rc = rc == ERRC_OK ? dirs_check_first_start(dirs, e) : rc;
    rc = rc == ERRC_OK ? dirs_lock(dirs, e) : rc;
    if (rc != ERRC_OK) {
        data_dirs_abandon(dirs);
    }
    return rc;
}

enum errc data_dirs_open_held(struct env *env, const char *path, struct env_file *held, struct data_dirs *ret_dirs,
                              struct error *e)
{
    struct data_dirs *dirs = ret_dirs;
    *dirs = (struct data_dirs){ .env = env, .count = 1 };
    dirs->dirs[0].path = path_resolve(path);
    dirs->dirs[0].lock = held;
    if (dirs->dirs[0].path == NULL) {
        dirs->dirs[0].path = mem_strdup(path);
        return error_set(e, ERRC_NOT_FOUND, "'%s': the folder above it does not exist", path);
    }
    enum errc rc = dir_inspect(env, &dirs->dirs[0], e);
    return rc == ERRC_OK ? dirs_lock(dirs, e) : rc;
}

struct remover {
    struct env *env;
    const char *dir;
    enum errc rc;
    struct error *e;
};

static enum errc tree_remove(struct env *env, const char *path, struct error *e);

static void entry_remove(void *data, const char *name)
{
    struct remover *remover = data;
    if (remover->rc != ERRC_OK || strcmp(name, LOCK_NAME) == 0 || strcmp(name, "lost+found") == 0) {
        return;
    }
    char *path = mem_format("%s/%s", remover->dir, name);
    struct env_stat stat;
    remover->rc = remover->env->vt->stat_path(remover->env, path, &stat, remover->e);
    if (remover->rc == ERRC_OK) {
        remover->rc = stat.is_dir ? tree_remove(remover->env, path, remover->e)
                                  : remover->env->vt->unlink(remover->env, path, remover->e);
    }
    mem_free(path);
}

static enum errc folder_empty(struct env *env, const char *path, struct error *e)
{
    struct remover remover = { env, path, ERRC_OK, e };
    enum errc rc = env->vt->list(env, path, entry_remove, &remover, e);
    return remover.rc != ERRC_OK ? remover.rc : rc;
}

static enum errc tree_remove(struct env *env, const char *path, struct error *e)
{
    enum errc rc = folder_empty(env, path, e);
    return rc == ERRC_OK ? env->vt->rmdir(env, path, e) : rc;
}

enum errc data_dir_prepare(struct env *env, struct data_dir *dir, struct error *e)
{
    ASSERT(dir->kind == DATA_DIR_EMPTY || dir->kind == DATA_DIR_ABSENT);
    if (dir->kind == DATA_DIR_ABSENT) {
        enum errc rc = env->vt->mkdir(env, dir->path, e);
        if (rc != ERRC_OK) {
            return rc;
        }
        dir->made = true;
        char *slash = strrchr(dir->path, '/');
        char *parent = slash == dir->path ? mem_strdup("/") : mem_strndup(dir->path, (size_t)(slash - dir->path));
        rc = env->vt->fsync_dir(env, parent, e);
        mem_free(parent);
        if (rc != ERRC_OK) {
            return rc;
        }
        dir->kind = DATA_DIR_EMPTY;
    }
    if (dir->lock == NULL) {
        enum errc rc = dir_lock(env, dir, e);
        if (rc != ERRC_OK) {
            return rc;
        }
    }
    return dir->unfinished ? folder_empty(env, dir->path, e) : ERRC_OK;
}

enum errc data_dir_format(struct env *env, struct data_dir *dir, struct cluster_id cluster, struct error *e)
{
    ASSERT(dir->kind == DATA_DIR_EMPTY && dir->lock != NULL);
    const struct superblock superblock = { .cluster = cluster, .disk = dir->disk,
                                           .created_wall_ms = env_wall_ms(env) };
    enum errc rc = superblock_write(env, dir->path, &superblock, e);
    if (rc == ERRC_OK) {
        dir->kind = DATA_DIR_KNOWN;
        dir->cluster = cluster;
    }
    return rc;
}

/* Best effort: what stays behind is taken up by the next first start. */
static void dir_abandon(struct env *env, const struct data_dir *dir, bool unwritten)
{
    if (unwritten && dir->lock != NULL && dir->kind == DATA_DIR_EMPTY) {
        (void)folder_empty(env, dir->path, NULL);
    }
    if (dir->lock != NULL && dir->lock_made) {
        char *path = mem_format("%s/" LOCK_NAME, dir->path);
        (void)env->vt->unlink(env, path, NULL);
        mem_free(path);
    }
    if (unwritten && dir->made) {
        (void)env->vt->rmdir(env, dir->path, NULL);
    }
}

void data_dirs_abandon(struct data_dirs *dirs)
{
    bool unwritten = dirs->count > 0;
    for (unsigned i = 0; i < dirs->count; i++) {
        unwritten = unwritten && dirs->dirs[i].kind != DATA_DIR_KNOWN;
    }
    for (unsigned i = 0; i < dirs->count; i++) {
        dir_abandon(dirs->env, &dirs->dirs[i], unwritten);
    }
    data_dirs_close(dirs);
}

void data_dirs_close(struct data_dirs *dirs)
{
    for (unsigned i = 0; i < dirs->count; i++) {
        if (dirs->dirs[i].lock != NULL) {
            dirs->env->vt->close(dirs->env, dirs->dirs[i].lock);
        }
        mem_free(dirs->dirs[i].path);
        dirs->dirs[i] = (struct data_dir){ 0 };
    }
    dirs->count = 0;
}
