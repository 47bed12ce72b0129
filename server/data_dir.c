#include "server/data_dir.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "server/folder_make.h"
#include "server/leftovers.h"
#include "server/lock_file.h"
#include "storage-node/superblock.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define LOCK_NAME "lock"

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
    if (dir->lock != NULL && lock_file_is(env, dir->path, dir->lock)) {
        return ERRC_OK; /* held by this process already */
    }
    if (dir->lock != NULL) {
        env->vt->close(env, dir->lock); /* of a folder that is no longer there */
        dir->lock = NULL;
    }
    char *path = mem_format("%s/" LOCK_NAME, dir->path);
    bool there = env->vt->stat_path(env, path, &stat, NULL) == ERRC_OK;
    mem_free(path);
    enum errc rc = lock_file_take(env, dir->path, "another server", &dir->lock, e);
    dir->lock_made = rc == ERRC_OK && !there;
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
    struct leftovers found;
    struct error why = ERROR_INIT;
    if (leftovers_look(env, dir->path, &found, &why) != ERRC_OK) {
        dir_unreadable(dir, &why);
        return ERRC_OK;
    }
    if (found.stored) {
        (void)error_set(&why, ERRC_CORRUPT, "its superblock, the file 'disk', is missing");
        dir_unreadable(dir, &why);
        return ERRC_OK;
    }
    if (found.foreign[0] != '\0') {
        return error_set(e, ERRC_INVALID, "'%s' is not empty and not a Cairn directory (it has '%s')", dir->path,
                         found.foreign);
    }
    dir->kind = DATA_DIR_EMPTY;
    dir->unfinished = found.some;
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
    rc = rc == ERRC_OK ? dirs_check_first_start(dirs, e) : rc; /* one that cannot be locked is not known any more */
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

enum errc data_dir_prepare(struct env *env, struct data_dir *dir, struct error *e)
{
    ASSERT(dir->kind == DATA_DIR_EMPTY || dir->kind == DATA_DIR_ABSENT);
    if (dir->kind == DATA_DIR_ABSENT) {
        enum errc rc = folder_make(env, dir->path, e);
        if (rc != ERRC_OK) {
            return rc;
        }
        dir->made = true;
        dir->kind = DATA_DIR_EMPTY;
    }
    if (dir->lock == NULL) {
        enum errc rc = dir_lock(env, dir, e);
        if (rc != ERRC_OK) {
            return rc;
        }
    }
    return dir->unfinished ? leftovers_remove(env, dir->path, e) : ERRC_OK;
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
        enum errc rc = leftovers_remove(env, dir->path, NULL);
        (void)rc;
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
