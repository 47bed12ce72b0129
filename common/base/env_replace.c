#include "common/base/env_replace.h"

#include "common/base/mem.h"
#include "common/base/plant.h"

enum errc env_file_replace(struct env *env, const char *folder, const char *name, struct slice bytes, struct error *e)
{
    char *path = mem_format("%s/%s", folder, name);
    char *fresh = mem_format("%s/%s.new", folder, name);
    const struct iovec part = { (void *)(uintptr_t)bytes.data, bytes.len };
    struct env_file *file = NULL;
    enum errc rc = env->vt->open(env, fresh, ENV_OPEN_CREATE | ENV_OPEN_TRUNCATE, &file, e);
    if (rc == ERRC_OK) {
        rc = env->vt->pwritev(env, file, &part, 1, 0, e);
        rc = rc == ERRC_OK && !PLANT(PLANT_STATE_NOT_SYNCED) ? env->vt->fdatasync(env, file, e) : rc;
        env->vt->close(env, file);
    }
    rc = rc == ERRC_OK ? env->vt->rename(env, fresh, path, e) : rc;
    rc = rc == ERRC_OK && !PLANT(PLANT_NAME_NOT_SYNCED) ? env->vt->fsync_dir(env, folder, e) : rc;
    mem_free(fresh);
    mem_free(path);
    return rc;
}
