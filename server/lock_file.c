#include "server/lock_file.h"

#include "common/base/mem.h"

#define ATTEMPTS_MAX 100 /* each is lost to another process that comes and goes */

static bool is_at(struct env *env, const char *path, struct env_file *lock)
{
    struct env_stat there;
    struct env_stat held;
    return env->vt->stat_path(env, path, &there, NULL) == ERRC_OK &&
           env->vt->stat_file(env, lock, &held, NULL) == ERRC_OK && held.inode == there.inode &&
           held.device == there.device;
}

bool lock_file_is(struct env *env, const char *folder, struct env_file *lock)
{
    char *path = mem_format("%s/lock", folder);
    bool same = is_at(env, path, lock);
    mem_free(path);
    return same;
}

/* *ret_lock stays NULL where the lock that was taken is no longer the folder's. */
static enum errc attempt(struct env *env, const char *folder, const char *path, const char *user,
                         struct env_file **ret_lock, struct error *e)
{
    struct error why = ERROR_INIT;
    struct env_file *lock = NULL;
    enum errc rc = env->vt->open(env, path, ENV_OPEN_CREATE, &lock, e);
    if (rc != ERRC_OK) {
        return rc;
    }
    rc = env->vt->lock(env, lock, &why);
    if (rc == ERRC_OK && is_at(env, path, lock)) {
        *ret_lock = lock;
        return ERRC_OK;
    }
    env->vt->close(env, lock);
    if (rc == ERRC_CONFLICT) {
        return error_set(e, rc, "'%s' is in use by %s", folder, user);
    }
    return rc == ERRC_OK ? rc : error_set(e, rc, "'%s': %s", path, why.text);
}

enum errc lock_file_take(struct env *env, const char *folder, const char *user, struct env_file **ret_lock, struct error *e)
{
    char *path = mem_format("%s/lock", folder);
    enum errc rc = ERRC_OK;
    *ret_lock = NULL;
    for (unsigned i = 0; i < ATTEMPTS_MAX && rc == ERRC_OK && *ret_lock == NULL; i++) {
        rc = attempt(env, folder, path, user, ret_lock, e);
    }
    if (rc == ERRC_OK && *ret_lock == NULL) {
        rc = error_set(e, ERRC_CONFLICT, "'%s' is taken and left by %s again and again", folder, user);
    }
    mem_free(path);
    return rc;
}
