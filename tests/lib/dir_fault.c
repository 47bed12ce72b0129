#include "tests/lib/dir_fault.h"

#include "common/base/assert.h"
#include "common/base/mem.h"

#include <stdio.h>
#include <string.h>

struct env_file {
    struct env_file *inner;
    char *path;
};

static struct dir_fault *fault_of(struct env *env)
{
    return (struct dir_fault *)(void *)env;
}

static enum errc check(struct env *env, const char *path, enum dir_fault_kind kind, struct error *e)
{
    struct dir_fault *fault = fault_of(env);
    if (kind != DIR_FAULT_ALL) {
        long number = atomic_fetch_add(&fault->changes, 1) + 1;
        if (number == atomic_load(&fault->fail_change)) {
            return error_set(e, ERRC_IO, "injected failure of change %ld at '%s'", number, path);
        }
    }
    for (unsigned i = 0; i < fault->rule_count; i++) {
        struct dir_fault_rule *rule = &fault->rules[i];
        int set = atomic_load(&rule->kind);
        size_t len = strlen(rule->folder);
        bool below = strncmp(path, rule->folder, len) == 0 && (path[len] == '/' || path[len] == '\0');
        if (below && (set == DIR_FAULT_ALL || (set == (int)kind && kind != DIR_FAULT_NONE))) {
            return error_set(e, rule->code, "injected failure at '%s'", path);
        }
    }
    return ERRC_OK;
}

/* ---- clocks and threads: the inner ones ---- */

static uint64_t fault_now(struct env *env)
{
    return env_now_ns(fault_of(env)->inner);
}

static uint64_t fault_wall(struct env *env)
{
    return env_wall_ms(fault_of(env)->inner);
}

static void fault_random(struct env *env, void *target, size_t len)
{
    env_random(fault_of(env)->inner, target, len);
}

static struct executor *fault_executor(struct env *env, const char *name, unsigned threads)
{
    struct env *inner = fault_of(env)->inner;
    return inner->vt->executor_create(inner, name, threads);
}

/* ---- files ---- */

static enum errc fault_open(struct env *env, const char *path, unsigned flags, struct env_file **ret_file,
                            struct error *e)
{
    struct env *inner = fault_of(env)->inner;
    struct env_file *file = NULL;
    enum errc rc = check(env, path, (flags & ENV_OPEN_CREATE) != 0 ? DIR_FAULT_WRITE : DIR_FAULT_ALL, e);
    rc = rc == ERRC_OK ? inner->vt->open(inner, path, flags, &file, e) : rc;
    if (rc == ERRC_OK) {
        *ret_file = mem_alloc(sizeof(**ret_file));
        **ret_file = (struct env_file){ file, mem_strdup(path) };
    }
    return rc;
}

static void fault_close(struct env *env, struct env_file *file)
{
    struct env *inner = fault_of(env)->inner;
    inner->vt->close(inner, file->inner);
    mem_free(file->path);
    mem_free(file);
}

static enum errc fault_pread(struct env *env, struct env_file *file, void *target, size_t len, uint64_t offset,
                             size_t *ret_len, struct error *e)
{
    struct env *inner = fault_of(env)->inner;
    enum errc rc = check(env, file->path, DIR_FAULT_ALL, e);
    return rc == ERRC_OK ? inner->vt->pread(inner, file->inner, target, len, offset, ret_len, e) : rc;
}

static enum errc fault_pread_nowait(struct env *env, struct env_file *file, void *target, size_t len, uint64_t offset,
                                    size_t *ret_len)
{
    struct env *inner = fault_of(env)->inner;
    return inner->vt->pread_nowait(inner, file->inner, target, len, offset, ret_len);
}

static enum errc fault_pwritev(struct env *env, struct env_file *file, const struct iovec *parts, unsigned count,
                               uint64_t offset, struct error *e)
{
    struct env *inner = fault_of(env)->inner;
    enum errc rc = check(env, file->path, DIR_FAULT_WRITE, e);
    return rc == ERRC_OK ? inner->vt->pwritev(inner, file->inner, parts, count, offset, e) : rc;
}

static enum errc fault_fdatasync(struct env *env, struct env_file *file, struct error *e)
{
    struct env *inner = fault_of(env)->inner;
    enum errc rc = check(env, file->path, DIR_FAULT_SYNC, e);
    return rc == ERRC_OK ? inner->vt->fdatasync(inner, file->inner, e) : rc;
}

static enum errc fault_fsync_dir(struct env *env, const char *path, struct error *e)
{
    struct env *inner = fault_of(env)->inner;
    enum errc rc = check(env, path, DIR_FAULT_SYNC, e);
    return rc == ERRC_OK ? inner->vt->fsync_dir(inner, path, e) : rc;
}

static enum errc fault_fallocate(struct env *env, struct env_file *file, uint64_t offset, uint64_t len,
                                 struct error *e)
{
    struct env *inner = fault_of(env)->inner;
    enum errc rc = check(env, file->path, DIR_FAULT_WRITE, e);
    return rc == ERRC_OK ? inner->vt->fallocate(inner, file->inner, offset, len, e) : rc;
}

static enum errc fault_punch(struct env *env, struct env_file *file, uint64_t offset, uint64_t len, struct error *e)
{
    struct env *inner = fault_of(env)->inner;
    return inner->vt->punch_hole(inner, file->inner, offset, len, e);
}

static enum errc fault_truncate(struct env *env, struct env_file *file, uint64_t size, struct error *e)
{
    struct env *inner = fault_of(env)->inner;
    enum errc rc = check(env, file->path, DIR_FAULT_WRITE, e);
    return rc == ERRC_OK ? inner->vt->truncate(inner, file->inner, size, e) : rc;
}

static enum errc fault_stat_file(struct env *env, struct env_file *file, struct env_stat *ret, struct error *e)
{
    struct env *inner = fault_of(env)->inner;
    enum errc rc = check(env, file->path, DIR_FAULT_ALL, e);
    return rc == ERRC_OK ? inner->vt->stat_file(inner, file->inner, ret, e) : rc;
}

static enum errc fault_stat_path(struct env *env, const char *path, struct env_stat *ret, struct error *e)
{
    struct env *inner = fault_of(env)->inner;
    enum errc rc = check(env, path, DIR_FAULT_ALL, e);
    return rc == ERRC_OK ? inner->vt->stat_path(inner, path, ret, e) : rc;
}

static enum errc fault_space(struct env *env, const char *path, struct env_space *ret, struct error *e)
{
    struct env *inner = fault_of(env)->inner;
    return inner->vt->space(inner, path, ret, e);
}

static enum errc fault_rename(struct env *env, const char *source, const char *target, struct error *e)
{
    struct env *inner = fault_of(env)->inner;
    enum errc rc = check(env, target, DIR_FAULT_WRITE, e);
    return rc == ERRC_OK ? inner->vt->rename(inner, source, target, e) : rc;
}

static enum errc fault_link(struct env *env, const char *source, const char *target, struct error *e)
{
    struct env *inner = fault_of(env)->inner;
    enum errc rc = check(env, target, DIR_FAULT_WRITE, e);
    return rc == ERRC_OK ? inner->vt->link(inner, source, target, e) : rc;
}

static enum errc fault_unlink(struct env *env, const char *path, struct error *e)
{
    struct env *inner = fault_of(env)->inner;
    enum errc rc = check(env, path, DIR_FAULT_WRITE, e);
    return rc == ERRC_OK ? inner->vt->unlink(inner, path, e) : rc;
}

static enum errc fault_mkdir(struct env *env, const char *path, struct error *e)
{
    struct env *inner = fault_of(env)->inner;
    enum errc rc = check(env, path, DIR_FAULT_WRITE, e);
    return rc == ERRC_OK ? inner->vt->mkdir(inner, path, e) : rc;
}

static enum errc fault_rmdir(struct env *env, const char *path, struct error *e)
{
    struct env *inner = fault_of(env)->inner;
    enum errc rc = check(env, path, DIR_FAULT_WRITE, e);
    return rc == ERRC_OK ? inner->vt->rmdir(inner, path, e) : rc;
}

static enum errc fault_list(struct env *env, const char *path, void (*visit)(void *data, const char *name), void *data,
                            struct error *e)
{
    struct env *inner = fault_of(env)->inner;
    enum errc rc = check(env, path, DIR_FAULT_ALL, e);
    return rc == ERRC_OK ? inner->vt->list(inner, path, visit, data, e) : rc;
}

static enum errc fault_lock(struct env *env, struct env_file *file, struct error *e)
{
    struct env *inner = fault_of(env)->inner;
    return inner->vt->lock(inner, file->inner, e);
}

static const struct env_vt fault_vt = {
    .now_ns = fault_now,
    .wall_ms = fault_wall,
    .random = fault_random,
    .executor_create = fault_executor,
    .open = fault_open,
    .close = fault_close,
    .pread = fault_pread,
    .pread_nowait = fault_pread_nowait,
    .pwritev = fault_pwritev,
    .fdatasync = fault_fdatasync,
    .fsync_dir = fault_fsync_dir,
    .fallocate = fault_fallocate,
    .punch_hole = fault_punch,
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

void dir_fault_init(struct dir_fault *fault, struct env *inner)
{
    memset(fault, 0, sizeof(*fault));
    fault->env.vt = &fault_vt;
    fault->inner = inner;
}

void dir_fault_set(struct dir_fault *fault, const char *folder, enum dir_fault_kind kind, enum errc code)
{
    unsigned i = 0;
    while (i < fault->rule_count && strcmp(fault->rules[i].folder, folder) != 0) {
        i++;
    }
    ASSERT(i < DIR_FAULT_RULES_MAX);
    if (i == fault->rule_count) {
        (void)snprintf(fault->rules[i].folder, sizeof(fault->rules[i].folder), "%s", folder);
        fault->rules[i].code = code;
        fault->rule_count++;
    }
    fault->rules[i].code = code;
    atomic_store(&fault->rules[i].kind, (int)kind);
}

struct names {
    char *names[512];
    size_t count;
};

static void names_add(void *data, const char *name)
{
    struct names *names = data;
    ASSERT(names->count < 512);
    names->names[names->count++] = mem_strdup(name);
}

void dir_fault_remove_tree(struct dir_fault *fault, const char *path)
{
    struct env *env = fault->inner;
    struct env_stat stat;
    if (env->vt->stat_path(env, path, &stat, NULL) != ERRC_OK) {
        return;
    }
    enum errc rc = ERRC_OK;
    if (stat.is_dir) {
        struct names *names = mem_zalloc(sizeof(*names));
        rc = env->vt->list(env, path, names_add, names, NULL);
        for (size_t i = 0; i < names->count; i++) {
            char *below = mem_format("%s/%s", path, names->names[i]);
            dir_fault_remove_tree(fault, below);
            mem_free(below);
            mem_free(names->names[i]);
        }
        mem_free(names);
        rc = rc == ERRC_OK ? env->vt->rmdir(env, path, NULL) : rc;
    } else {
        rc = env->vt->unlink(env, path, NULL);
    }
    ASSERT(rc == ERRC_OK);
}
