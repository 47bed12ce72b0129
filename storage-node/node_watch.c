#include "storage-node/node_watch.h"

#include "common/base/list.h"

#include <string.h>

unsigned watch_begin(struct watch *watch)
{
    uint64_t now = env_now_ns(watch->inner);
    now = now > 0 ? now : 1;
    for (unsigned i = 0; i < WATCH_CALLS; i++) {
        uint_fast64_t is_free = 0;
        if (atomic_compare_exchange_strong(&watch->started_ns[i], &is_free, now)) {
            return i;
        }
    }
    return WATCH_CALLS;
}

void watch_end(struct watch *watch, unsigned call)
{
    if (call < WATCH_CALLS) {
        atomic_store(&watch->started_ns[call], 0);
    }
}

bool watch_hangs(struct watch *watch, uint64_t limit_ns)
{
    uint64_t now = env_now_ns(watch->inner);
    for (unsigned i = 0; i < WATCH_CALLS; i++) {
        uint64_t started = atomic_load(&watch->started_ns[i]);
        if (started != 0 && now > started + limit_ns) {
            return true;
        }
    }
    return false;
}

/* ---- the env ---- */

static struct watch *watch_of(struct env *env)
{
    return container_of(env, struct watch, env);
}

static uint64_t watch_now_ns(struct env *env)
{
    return env_now_ns(watch_of(env)->inner);
}

static uint64_t watch_wall_ms(struct env *env)
{
    return env_wall_ms(watch_of(env)->inner);
}

static void watch_random(struct env *env, void *target, size_t len)
{
    env_random(watch_of(env)->inner, target, len);
}

static struct executor *watch_executor_create(struct env *env, const char *name, unsigned threads)
{
    struct env *inner = watch_of(env)->inner;
    return inner->vt->executor_create(inner, name, threads);
}

static void watch_close(struct env *env, struct env_file *file)
{
    struct watch *watch = watch_of(env);
    unsigned call = watch_begin(watch);
    watch->inner->vt->close(watch->inner, file);
    watch_end(watch, call);
}

/* Does not block: not timed. */
static enum errc watch_pread_nowait(struct env *env, struct env_file *file, void *target, size_t len, uint64_t offset,
                                    size_t *ret_len)
{
    struct env *inner = watch_of(env)->inner;
    return inner->vt->pread_nowait(inner, file, target, len, offset, ret_len);
}

static enum errc watch_open(struct env *env, const char *path, unsigned flags, struct env_file **ret_file,
                            struct error *e)
{
    struct watch *watch = watch_of(env);
    unsigned call = watch_begin(watch);
    enum errc rc = watch->inner->vt->open(watch->inner, path, flags, ret_file, e);
    watch_end(watch, call);
    return rc;
}

static enum errc watch_pread(struct env *env, struct env_file *file, void *target, size_t len, uint64_t offset,
                             size_t *ret_len, struct error *e)
{
    struct watch *watch = watch_of(env);
    unsigned call = watch_begin(watch);
    enum errc rc = watch->inner->vt->pread(watch->inner, file, target, len, offset, ret_len, e);
    watch_end(watch, call);
    return rc;
}

static enum errc watch_pwritev(struct env *env, struct env_file *file, const struct iovec *parts, unsigned count,
                               uint64_t offset, struct error *e)
{
    struct watch *watch = watch_of(env);
    unsigned call = watch_begin(watch);
    enum errc rc = watch->inner->vt->pwritev(watch->inner, file, parts, count, offset, e);
    watch_end(watch, call);
    return rc;
}

static enum errc watch_fdatasync(struct env *env, struct env_file *file, struct error *e)
{
    struct watch *watch = watch_of(env);
    unsigned call = watch_begin(watch);
    enum errc rc = watch->inner->vt->fdatasync(watch->inner, file, e);
    watch_end(watch, call);
    return rc;
}

static enum errc watch_fsync_dir(struct env *env, const char *path, struct error *e)
{
    struct watch *watch = watch_of(env);
    unsigned call = watch_begin(watch);
    enum errc rc = watch->inner->vt->fsync_dir(watch->inner, path, e);
    watch_end(watch, call);
    return rc;
}

static enum errc watch_fallocate(struct env *env, struct env_file *file, uint64_t offset, uint64_t len, struct error *e)
{
    struct watch *watch = watch_of(env);
    unsigned call = watch_begin(watch);
    enum errc rc = watch->inner->vt->fallocate(watch->inner, file, offset, len, e);
    watch_end(watch, call);
    return rc;
}

static enum errc watch_punch_hole(struct env *env, struct env_file *file, uint64_t offset, uint64_t len,
                                  struct error *e)
{
    struct watch *watch = watch_of(env);
    unsigned call = watch_begin(watch);
    enum errc rc = watch->inner->vt->punch_hole(watch->inner, file, offset, len, e);
    watch_end(watch, call);
    return rc;
}

static enum errc watch_truncate(struct env *env, struct env_file *file, uint64_t size, struct error *e)
{
    struct watch *watch = watch_of(env);
    unsigned call = watch_begin(watch);
    enum errc rc = watch->inner->vt->truncate(watch->inner, file, size, e);
    watch_end(watch, call);
    return rc;
}

static enum errc watch_stat_file(struct env *env, struct env_file *file, struct env_stat *ret, struct error *e)
{
    struct watch *watch = watch_of(env);
    unsigned call = watch_begin(watch);
    enum errc rc = watch->inner->vt->stat_file(watch->inner, file, ret, e);
    watch_end(watch, call);
    return rc;
}

static enum errc watch_stat_path(struct env *env, const char *path, struct env_stat *ret, struct error *e)
{
    struct watch *watch = watch_of(env);
    unsigned call = watch_begin(watch);
    enum errc rc = watch->inner->vt->stat_path(watch->inner, path, ret, e);
    watch_end(watch, call);
    return rc;
}

static enum errc watch_space(struct env *env, const char *path, struct env_space *ret, struct error *e)
{
    struct watch *watch = watch_of(env);
    unsigned call = watch_begin(watch);
    enum errc rc = watch->inner->vt->space(watch->inner, path, ret, e);
    watch_end(watch, call);
    return rc;
}

static enum errc watch_rename(struct env *env, const char *source, const char *target, struct error *e)
{
    struct watch *watch = watch_of(env);
    unsigned call = watch_begin(watch);
    enum errc rc = watch->inner->vt->rename(watch->inner, source, target, e);
    watch_end(watch, call);
    return rc;
}

static enum errc watch_link(struct env *env, const char *source, const char *target, struct error *e)
{
    struct watch *watch = watch_of(env);
    unsigned call = watch_begin(watch);
    enum errc rc = watch->inner->vt->link(watch->inner, source, target, e);
    watch_end(watch, call);
    return rc;
}

static enum errc watch_unlink(struct env *env, const char *path, struct error *e)
{
    struct watch *watch = watch_of(env);
    unsigned call = watch_begin(watch);
    enum errc rc = watch->inner->vt->unlink(watch->inner, path, e);
    watch_end(watch, call);
    return rc;
}

static enum errc watch_mkdir(struct env *env, const char *path, struct error *e)
{
    struct watch *watch = watch_of(env);
    unsigned call = watch_begin(watch);
    enum errc rc = watch->inner->vt->mkdir(watch->inner, path, e);
    watch_end(watch, call);
    return rc;
}

static enum errc watch_rmdir(struct env *env, const char *path, struct error *e)
{
    struct watch *watch = watch_of(env);
    unsigned call = watch_begin(watch);
    enum errc rc = watch->inner->vt->rmdir(watch->inner, path, e);
    watch_end(watch, call);
    return rc;
}

static enum errc watch_list(struct env *env, const char *path, void (*visit)(void *data, const char *name), void *data,
                            struct error *e)
{
    struct watch *watch = watch_of(env);
    unsigned call = watch_begin(watch);
    enum errc rc = watch->inner->vt->list(watch->inner, path, visit, data, e);
    watch_end(watch, call);
    return rc;
}

static enum errc watch_lock(struct env *env, struct env_file *file, struct error *e)
{
    struct watch *watch = watch_of(env);
    unsigned call = watch_begin(watch);
    enum errc rc = watch->inner->vt->lock(watch->inner, file, e);
    watch_end(watch, call);
    return rc;
}

static const struct env_vt watch_vt = {
    .now_ns = watch_now_ns,
    .wall_ms = watch_wall_ms,
    .random = watch_random,
    .executor_create = watch_executor_create,
    .close = watch_close,
    .pread_nowait = watch_pread_nowait,
    .open = watch_open,
    .pread = watch_pread,
    .pwritev = watch_pwritev,
    .fdatasync = watch_fdatasync,
    .fsync_dir = watch_fsync_dir,
    .fallocate = watch_fallocate,
    .punch_hole = watch_punch_hole,
    .truncate = watch_truncate,
    .stat_file = watch_stat_file,
    .stat_path = watch_stat_path,
    .space = watch_space,
    .rename = watch_rename,
    .link = watch_link,
    .unlink = watch_unlink,
    .mkdir = watch_mkdir,
    .rmdir = watch_rmdir,
    .list = watch_list,
    .lock = watch_lock,
};

void watch_init(struct watch *watch, struct env *inner)
{
    memset(watch, 0, sizeof(*watch));
    watch->env.vt = &watch_vt;
    watch->inner = inner;
}
