#include "tests/lib/env_fault.h"

#include "common/base/list.h"
#include "common/base/mem.h"

#include <string.h>
#include <time.h>

struct env_file {
    struct env_file *inner;
    bool counted;
};

static struct env_fault *fault_of(struct env *env)
{
    return container_of(env, struct env_fault, env);
}

static bool path_counts(const struct env_fault *fault, const char *path)
{
    return fault->path_prefix == NULL || strncmp(path, fault->path_prefix, strlen(fault->path_prefix)) == 0;
}

static enum errc fault_hit(struct env *env, enum fault_kind kind, bool counted, struct error *e)
{
    struct env_fault *fault = fault_of(env);
    if (!counted) {
        return ERRC_OK;
    }
    uint64_t count = atomic_fetch_add(&fault->counts[kind], 1) + 1;
    uint64_t at = atomic_load(&fault->at);
    if (atomic_load(&fault->kind) != (int)kind || count < at || (count > at && !atomic_load(&fault->sticky))) {
        return ERRC_OK;
    }
    atomic_fetch_add(&fault->failed, 1);
    if (atomic_load(&fault->hangs)) {
        while (atomic_load(&fault->kind) == (int)kind) {
            struct timespec pause = { .tv_nsec = 1000000 };
            (void)nanosleep(&pause, NULL);
        }
        return ERRC_OK;
    }
    return error_set(e, (enum errc)atomic_load(&fault->code), "injected failure of call %llu of kind %d",
                     (unsigned long long)count, (int)kind);
}

static uint64_t fault_now_ns(struct env *env)
{
    return env_now_ns(fault_of(env)->inner);
}

static uint64_t fault_wall_ms(struct env *env)
{
    return env_wall_ms(fault_of(env)->inner);
}

static void fault_random(struct env *env, void *target, size_t len)
{
    env_random(fault_of(env)->inner, target, len);
}

static struct executor *fault_executor_create(struct env *env, const char *name, unsigned threads)
{
    struct env *inner = fault_of(env)->inner;
    return inner->vt->executor_create(inner, name, threads);
}

static enum errc fault_open(struct env *env, const char *path, unsigned flags, struct env_file **ret_file,
                            struct error *e)
{
    struct env_fault *fault = fault_of(env);
    bool counted = path_counts(fault, path);
    enum errc rc = fault_hit(env, FAULT_OPEN, counted, e);
    struct env_file *inner = NULL;
    if (rc == ERRC_OK) {
        rc = fault->inner->vt->open(fault->inner, path, flags, &inner, e);
    }
    if (rc != ERRC_OK) {
        return rc;
    }
    struct env_file *file = mem_zalloc(sizeof(*file));
    file->inner = inner;
    file->counted = counted;
    *ret_file = file;
    return ERRC_OK;
}

static void fault_close(struct env *env, struct env_file *file)
{
    struct env *inner = fault_of(env)->inner;
    inner->vt->close(inner, file->inner);
    mem_free(file);
}

static enum errc fault_pread(struct env *env, struct env_file *file, void *target, size_t len, uint64_t offset,
                             size_t *ret_len, struct error *e)
{
    struct env *inner = fault_of(env)->inner;
    enum errc rc = fault_hit(env, FAULT_PREAD, file->counted, e);
    return rc == ERRC_OK ? inner->vt->pread(inner, file->inner, target, len, offset, ret_len, e) : rc;
}

static enum errc fault_pread_nowait(struct env *env, struct env_file *file, void *target, size_t len,
                                    uint64_t offset, size_t *ret_len)
{
    struct env *inner = fault_of(env)->inner;
    if (atomic_load(&fault_of(env)->kind) == FAULT_PREAD) {
        return ERRC_WOULD_BLOCK; /* so that the failing call is the one that counts */
    }
    return inner->vt->pread_nowait(inner, file->inner, target, len, offset, ret_len);
}

static enum errc fault_pwritev(struct env *env, struct env_file *file, const struct iovec *parts,
                               unsigned count, uint64_t offset, struct error *e)
{
    struct env *inner = fault_of(env)->inner;
    enum errc rc = fault_hit(env, FAULT_PWRITE, file->counted, e);
    return rc == ERRC_OK ? inner->vt->pwritev(inner, file->inner, parts, count, offset, e) : rc;
}

static enum errc fault_fdatasync(struct env *env, struct env_file *file, struct error *e)
{
    struct env *inner = fault_of(env)->inner;
    enum errc rc = fault_hit(env, FAULT_FDATASYNC, file->counted, e);
    return rc == ERRC_OK ? inner->vt->fdatasync(inner, file->inner, e) : rc;
}

static enum errc fault_fsync_dir(struct env *env, const char *path, struct error *e)
{
    struct env *inner = fault_of(env)->inner;
    enum errc rc = fault_hit(env, FAULT_FSYNC_DIR, path_counts(fault_of(env), path), e);
    return rc == ERRC_OK ? inner->vt->fsync_dir(inner, path, e) : rc;
}

static enum errc fault_fallocate(struct env *env, struct env_file *file, uint64_t offset, uint64_t len,
                                 struct error *e)
{
    struct env *inner = fault_of(env)->inner;
    enum errc rc = fault_hit(env, FAULT_FALLOCATE, file->counted, e);
    return rc == ERRC_OK ? inner->vt->fallocate(inner, file->inner, offset, len, e) : rc;
}

static enum errc fault_punch_hole(struct env *env, struct env_file *file, uint64_t offset, uint64_t len,
                                  struct error *e)
{
    struct env *inner = fault_of(env)->inner;
    enum errc rc = fault_hit(env, FAULT_PUNCH, file->counted, e);
    return rc == ERRC_OK ? inner->vt->punch_hole(inner, file->inner, offset, len, e) : rc;
}

static enum errc fault_truncate(struct env *env, struct env_file *file, uint64_t size, struct error *e)
{
    struct env *inner = fault_of(env)->inner;
    return inner->vt->truncate(inner, file->inner, size, e);
}

static enum errc fault_stat_file(struct env *env, struct env_file *file, struct env_stat *ret, struct error *e)
{
    struct env *inner = fault_of(env)->inner;
    return inner->vt->stat_file(inner, file->inner, ret, e);
}

static enum errc fault_stat_path(struct env *env, const char *path, struct env_stat *ret, struct error *e)
{
    struct env *inner = fault_of(env)->inner;
    return inner->vt->stat_path(inner, path, ret, e);
}

static enum errc fault_space(struct env *env, const char *path, struct env_space *ret, struct error *e)
{
    struct env *inner = fault_of(env)->inner;
    struct error why = ERROR_INIT;
    enum errc rc = fault_hit(env, FAULT_SPACE, path_counts(fault_of(env), path), &why);
    if (rc != ERRC_OK && rc != ERRC_NO_SPACE) {
        return error_set(e, rc, "%s", why.text);
    }
    bool full = rc == ERRC_NO_SPACE;
    rc = inner->vt->space(inner, path, ret, e);
    if (full) {
        ret->free_bytes = ret->total_bytes / 100; /* below every reserve, but not nothing */
    }
    return rc;
}

static enum errc fault_rename(struct env *env, const char *source, const char *target, struct error *e)
{
    struct env *inner = fault_of(env)->inner;
    enum errc rc = fault_hit(env, FAULT_RENAME, path_counts(fault_of(env), target), e);
    return rc == ERRC_OK ? inner->vt->rename(inner, source, target, e) : rc;
}

static enum errc fault_link(struct env *env, const char *source, const char *target, struct error *e)
{
    struct env *inner = fault_of(env)->inner;
    return inner->vt->link(inner, source, target, e);
}

static enum errc fault_unlink(struct env *env, const char *path, struct error *e)
{
    struct env *inner = fault_of(env)->inner;
    enum errc rc = fault_hit(env, FAULT_UNLINK, path_counts(fault_of(env), path), e);
    return rc == ERRC_OK ? inner->vt->unlink(inner, path, e) : rc;
}

static enum errc fault_mkdir(struct env *env, const char *path, struct error *e)
{
    struct env *inner = fault_of(env)->inner;
    return inner->vt->mkdir(inner, path, e);
}

static enum errc fault_rmdir(struct env *env, const char *path, struct error *e)
{
    struct env *inner = fault_of(env)->inner;
    return inner->vt->rmdir(inner, path, e);
}

static enum errc fault_list(struct env *env, const char *path, void (*visit)(void *data, const char *name),
                            void *data, struct error *e)
{
    struct env *inner = fault_of(env)->inner;
    return inner->vt->list(inner, path, visit, data, e);
}

static enum errc fault_lock(struct env *env, struct env_file *file, struct error *e)
{
    struct env *inner = fault_of(env)->inner;
    return inner->vt->lock(inner, file->inner, e);
}

static const struct env_vt fault_vt = {
    .now_ns = fault_now_ns,
    .wall_ms = fault_wall_ms,
    .random = fault_random,
    .executor_create = fault_executor_create,
    .open = fault_open,
    .close = fault_close,
    .pread = fault_pread,
    .pread_nowait = fault_pread_nowait,
    .pwritev = fault_pwritev,
    .fdatasync = fault_fdatasync,
    .fsync_dir = fault_fsync_dir,
    .fallocate = fault_fallocate,
    .punch_hole = fault_punch_hole,
    .truncate = fault_truncate,
    .stat_file = fault_stat_file,
    .stat_path = fault_stat_path,
    .space = fault_space,
    .rename = fault_rename,
    .link = fault_link,
    .unlink = fault_unlink,
    .mkdir = fault_mkdir,
    .rmdir = fault_rmdir,
    .list = fault_list,
    .lock = fault_lock,
};

void env_fault_init(struct env_fault *fault, struct env *inner, const char *path_prefix)
{
    memset(fault, 0, sizeof(*fault));
    fault->env.vt = &fault_vt;
    fault->inner = inner;
    fault->path_prefix = path_prefix;
    atomic_store(&fault->kind, -1);
}

void env_fault_arm(struct env_fault *fault, enum fault_kind kind, uint64_t at, bool sticky, enum errc code)
{
    atomic_store(&fault->kind, -1);
    atomic_store(&fault->counts[kind], 0);
    atomic_store(&fault->at, at);
    atomic_store(&fault->sticky, sticky);
    atomic_store(&fault->code, (int)code);
    atomic_store(&fault->failed, 0);
    atomic_store(&fault->hangs, false);
    atomic_store(&fault->kind, (int)kind);
}

void env_fault_hang(struct env_fault *fault, enum fault_kind kind, uint64_t at)
{
    atomic_store(&fault->kind, -1);
    atomic_store(&fault->counts[kind], 0);
    atomic_store(&fault->at, at);
    atomic_store(&fault->sticky, true);
    atomic_store(&fault->failed, 0);
    atomic_store(&fault->hangs, true);
    atomic_store(&fault->kind, (int)kind);
}

void env_fault_disarm(struct env_fault *fault)
{
    atomic_store(&fault->kind, -1);
}
