#include "tests/sim/lib/env_sim.h"

#include "common/base/assert.h"
#include "common/base/list.h"
#include "common/base/mem.h"
#include "tests/sim/lib/disk_sim.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define TASK_NS_MAX 50000      /* a task takes up to this long, virtually */
#define NAME_MAX_BYTES 16

struct sim_executor {
    struct executor executor;
    struct list link;
    struct task *head, *tail;
    struct list timers;        /* struct sim_timer */
    unsigned threads;
};

struct sim_timer {
    struct list link;
    struct timer *timer;
};

/* What one process sees: its own disk and wall clock. */
struct sim_machine {
    struct env env;
    struct env_sim *sim;
    struct disk_sim *disk;
    int64_t wall_offset_ms;
    unsigned fail_calls;       /* enum env_sim_calls */
    int fail_error;
};

struct env_sim {
    struct sim_machine first;
    uint64_t state;            /* of the generator */
    uint64_t now_ns;
    uint64_t trace;            /* hash of which executor ran when */
    struct list executors;
    void (*hook)(void *data);
    void *hook_data;
};

struct env_file {
    struct sim_node *node;
    bool read_only, direct;
    bool may_fail;             /* env_sim_machine_fail() */
};

static struct sim_machine *machine_of(struct env *env)
{
    return container_of(env, struct sim_machine, env);
}

static struct env_sim *sim_of(struct env *env)
{
    return machine_of(env)->sim;
}

uint64_t env_sim_random(struct env_sim *sim)
{
    /* splitmix64 (Steele, Lea, Flood 2014) */
    uint64_t z = (sim->state += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

/* ---- clock and randomness ---- */

static uint64_t sim_now(struct env *env)
{
    return sim_of(env)->now_ns;
}

static uint64_t sim_wall(struct env *env)
{
    return 1700000000000ull + sim_of(env)->now_ns / 1000000 + (uint64_t)machine_of(env)->wall_offset_ms;
}

static void sim_random(struct env *env, void *target, size_t len)
{
    uint8_t *bytes = target;
    for (size_t i = 0; i < len; i++) {
        bytes[i] = (uint8_t)env_sim_random(sim_of(env));
    }
}

/* ---- executors ---- */

static void executor_run_one(struct sim_executor *executor)
{
    struct env_sim *sim = sim_of(executor->executor.env);
    struct task **place = &executor->head;
    if (executor->threads > 1) { /* threads overtake one another */
        while ((*place)->next != NULL && env_sim_random(sim) % 2 == 0) {
            place = &(*place)->next;
        }
    }
    struct task *task = *place;
    *place = task->next;
    executor->tail = NULL;
    for (struct task *each = executor->head; each != NULL; each = each->next) {
        executor->tail = each;
    }
    task->next = NULL;
    task->run(task);
}

static void executor_post_sim(struct executor *base, struct task *task)
{
    struct sim_executor *executor = container_of(base, struct sim_executor, executor);
    task->next = NULL;
    if (executor->tail != NULL) {
        executor->tail->next = task;
    } else {
        executor->head = task;
    }
    executor->tail = task;
}

/* Takes a task out of the queue, if it is there. */
static void executor_forget(struct sim_executor *executor, struct task *task)
{
    struct task **place = &executor->head;
    executor->tail = NULL;
    while (*place != NULL) {
        if (*place == task) {
            *place = task->next;
            continue;
        }
        executor->tail = *place;
        place = &(*place)->next;
    }
}

static void executor_timer_stop(struct executor *base, struct timer *timer)
{
    executor_forget(container_of(base, struct sim_executor, executor), &timer->task); /* due, not run yet */
    if (timer->armed) {
        struct sim_timer *entry = timer->impl;
        list_remove(&entry->link);
        mem_free(entry);
        timer->armed = false;
        timer->impl = NULL;
    }
}

static void executor_timer_start(struct executor *base, struct timer *timer, uint64_t delay_ms)
{
    struct sim_executor *executor = container_of(base, struct sim_executor, executor);
    executor_timer_stop(base, timer);
    struct sim_timer *entry = mem_zalloc(sizeof(*entry));
    entry->timer = timer;
    timer->impl = entry;
    timer->executor = base;
    timer->armed = true;
    timer->deadline_ns = sim_of(base->env)->now_ns + delay_ms * 1000000;
    list_append(&executor->timers, &entry->link);
}

static void executor_destroy_sim(struct executor *base)
{
    struct sim_executor *executor = container_of(base, struct sim_executor, executor);
    while (executor->head != NULL) {
        executor_run_one(executor);
    }
    ASSERT(list_empty(&executor->timers));
    list_remove(&executor->link);
    mem_free(executor);
}

static const struct executor_vt executor_sim_vt = {
    .post = executor_post_sim,
    .timer_start = executor_timer_start,
    .timer_stop = executor_timer_stop,
    .destroy = executor_destroy_sim,
};

static struct executor *sim_executor_create(struct env *env, const char *name, unsigned threads)
{
    ASSERT(strlen(name) < NAME_MAX_BYTES);
    struct sim_executor *executor = mem_zalloc(sizeof(*executor));
    executor->executor.vt = &executor_sim_vt;
    executor->executor.env = env;
    executor->threads = threads;
    list_init(&executor->timers);
    list_append(&sim_of(env)->executors, &executor->link);
    return &executor->executor;
}

/* The timer that is due first, over all executors. */
static struct timer *sim_first_timer(struct env_sim *sim)
{
    struct timer *first = NULL;
    list_for_each (node, &sim->executors) {
        struct sim_executor *executor = container_of(node, struct sim_executor, link);
        list_for_each (entry, &executor->timers) {
            struct timer *timer = container_of(entry, struct sim_timer, link)->timer;
            if (first == NULL || timer->deadline_ns < first->deadline_ns) {
                first = timer;
            }
        }
    }
    return first;
}

static void sim_fire(struct timer *timer)
{
    struct executor *executor = timer->executor;
    executor_timer_stop(executor, timer);
    executor_post_sim(executor, &timer->task);
}

bool env_sim_step(struct env_sim *sim)
{
    struct timer *timer;
    while ((timer = sim_first_timer(sim)) != NULL && timer->deadline_ns <= sim->now_ns) {
        sim_fire(timer);
    }
    unsigned ready = 0;
    list_for_each (node, &sim->executors) {
        ready += container_of(node, struct sim_executor, link)->head != NULL ? 1 : 0;
    }
    if (ready == 0 && timer == NULL) {
        return false;
    }
    if (ready == 0) {
        sim->now_ns = timer->deadline_ns;
        return true;
    }
    uint64_t chosen = env_sim_random(sim) % ready;
    sim->now_ns += env_sim_random(sim) % TASK_NS_MAX;
    sim->trace = (sim->trace ^ chosen ^ sim->now_ns) * 0x9e3779b97f4a7c15ull;
    list_for_each (node, &sim->executors) {
        struct sim_executor *executor = container_of(node, struct sim_executor, link);
        if (executor->head != NULL && chosen-- == 0) {
            executor_run_one(executor);
            return true;
        }
    }
    UNREACHABLE();
}

void env_sim_run_until(struct env_sim *sim, atomic_bool *flag)
{
    while (!atomic_load(flag)) {
        bool more = env_sim_step(sim);
        ASSERT(more);
    }
}

void env_sim_run_ms(struct env_sim *sim, uint64_t ms)
{
    uint64_t end = sim->now_ns + ms * 1000000;
    while (sim->now_ns < end && env_sim_step(sim)) {
    }
}

/* ---- files ---- */

static void sim_changes(struct env *env)
{
    struct env_sim *sim = sim_of(env);
    if (sim->hook != NULL) {
        sim->hook(sim->hook_data);
    }
}

static bool sim_fails(struct env *env, const struct env_file *file, unsigned call)
{
    const struct sim_machine *machine = machine_of(env);
    return machine->fail_error != 0 && file->may_fail && (machine->fail_calls & call) != 0 && env_sim_random(machine->sim) % 4 == 0;
}

static enum errc sim_open(struct env *env, const char *path, unsigned flags, struct env_file **ret_file,
                          struct error *e)
{
    struct disk_sim *disk = machine_of(env)->disk;
    struct sim_node *node = disk_sim_find(disk, path);
    if (node == NULL && (flags & ENV_OPEN_CREATE) == 0) {
        return error_set_sys(e, ENOENT, "open '%s'", path);
    }
    if (node != NULL && (flags & ENV_OPEN_EXCLUSIVE) != 0) {
        return error_set_sys(e, EEXIST, "open '%s'", path);
    }
    if (node == NULL) {
        sim_changes(env);
        node = disk_sim_create(disk, path, false);
        if (node == NULL) {
            return error_set_sys(e, ENOENT, "create '%s'", path);
        }
    }
    if ((flags & ENV_OPEN_TRUNCATE) != 0) {
        sim_changes(env);
        disk_sim_truncate(node, 0);
    }
    struct env_file *file = mem_zalloc(sizeof(*file));
    file->node = node;
    file->read_only = (flags & ENV_OPEN_READ) != 0;
    file->direct = (flags & ENV_OPEN_DIRECT) != 0;
    file->may_fail = strstr(path, "/segments/") != NULL;
    *ret_file = file;
    return ERRC_OK;
}

static void sim_close(struct env *env, struct env_file *file)
{
    (void)env;
    mem_free(file);
}

static enum errc sim_pread(struct env *env, struct env_file *file, void *target, size_t len, uint64_t offset,
                           size_t *ret_len, struct error *e)
{
    if (sim_fails(env, file, ENV_SIM_READS)) {
        return error_set_sys(e, machine_of(env)->fail_error, "read");
    }
    *ret_len = disk_sim_read(file->node, target, len, offset);
    return ERRC_OK;
}

static enum errc sim_pread_nowait(struct env *env, struct env_file *file, void *target, size_t len,
                                  uint64_t offset, size_t *ret_len)
{
    if (env_sim_random(sim_of(env)) % 3 == 0) {
        return ERRC_WOULD_BLOCK;
    }
    *ret_len = disk_sim_read(file->node, target, len, offset);
    return ERRC_OK;
}

static enum errc sim_pwritev(struct env *env, struct env_file *file, const struct iovec *parts, unsigned count,
                             uint64_t offset, struct error *e)
{
    ASSERT(!file->read_only);
    sim_changes(env);
    bool fails = sim_fails(env, file, ENV_SIM_WRITES);
    unsigned written = fails ? (unsigned)(env_sim_random(sim_of(env)) % count) : count;
    for (unsigned i = 0; i < written; i++) {
        ASSERT(IMPLIES(file->direct, offset % 4096 == 0));
        ASSERT(IMPLIES(file->direct, parts[i].iov_len % 4096 == 0));
        ASSERT(IMPLIES(file->direct, (uintptr_t)parts[i].iov_base % 4096 == 0));
        if (!disk_sim_write(machine_of(env)->disk, file->node, parts[i].iov_base, parts[i].iov_len, offset)) {
            return error_set_sys(e, ENOSPC, "write");
        }
        offset += parts[i].iov_len;
    }
    return fails ? error_set_sys(e, machine_of(env)->fail_error, "write") : ERRC_OK;
}

static enum errc sim_fdatasync(struct env *env, struct env_file *file, struct error *e)
{
    sim_changes(env);
    if (sim_fails(env, file, ENV_SIM_SYNCS)) {
        disk_sim_sync_fail(file->node);
        return error_set_sys(e, machine_of(env)->fail_error, "fdatasync");
    }
    disk_sim_sync(file->node);
    return ERRC_OK;
}

static enum errc sim_fsync_dir(struct env *env, const char *path, struct error *e)
{
    sim_changes(env);
    struct sim_node *node = disk_sim_find(machine_of(env)->disk, path);
    if (node == NULL) {
        return error_set_sys(e, ENOENT, "sync folder '%s'", path);
    }
    disk_sim_sync_names(node);
    return ERRC_OK;
}

static enum errc sim_fallocate(struct env *env, struct env_file *file, uint64_t offset, uint64_t len,
                               struct error *e)
{
    sim_changes(env);
    return disk_sim_allocate(machine_of(env)->disk, file->node, offset, len) ? ERRC_OK
                                                                         : error_set_sys(e, ENOSPC, "fallocate");
}

static enum errc sim_punch_hole(struct env *env, struct env_file *file, uint64_t offset, uint64_t len,
                                struct error *e)
{
    (void)e;
    sim_changes(env);
    disk_sim_punch(file->node, offset, len);
    return ERRC_OK;
}

static enum errc sim_truncate(struct env *env, struct env_file *file, uint64_t size, struct error *e)
{
    (void)e;
    sim_changes(env);
    disk_sim_truncate(file->node, size);
    return ERRC_OK;
}

static enum errc sim_stat_file(struct env *env, struct env_file *file, struct env_stat *ret, struct error *e)
{
    (void)env;
    (void)e;
    *ret = disk_sim_stat(file->node);
    return ERRC_OK;
}

static enum errc sim_stat_path(struct env *env, const char *path, struct env_stat *ret, struct error *e)
{
    struct sim_node *node = disk_sim_find(machine_of(env)->disk, path);
    if (node == NULL) {
        return error_set_sys(e, ENOENT, "stat '%s'", path);
    }
    *ret = disk_sim_stat(node);
    return ERRC_OK;
}

static enum errc sim_space(struct env *env, const char *path, struct env_space *ret, struct error *e)
{
    (void)path;
    (void)e;
    disk_sim_space(machine_of(env)->disk, &ret->total_bytes, &ret->free_bytes);
    return ERRC_OK;
}

static enum errc sim_rename(struct env *env, const char *source, const char *target, struct error *e)
{
    sim_changes(env);
    enum errc rc = disk_sim_link(machine_of(env)->disk, source, target, true);
    return rc == ERRC_OK ? disk_sim_unlink(machine_of(env)->disk, source)
                         : error_set(e, rc, "rename '%s' to '%s'", source, target);
}

static enum errc sim_link(struct env *env, const char *source, const char *target, struct error *e)
{
    sim_changes(env);
    enum errc rc = disk_sim_link(machine_of(env)->disk, source, target, false);
    return rc == ERRC_OK ? rc : error_set(e, rc, "link '%s' to '%s'", source, target);
}

static enum errc sim_unlink(struct env *env, const char *path, struct error *e)
{
    sim_changes(env);
    enum errc rc = disk_sim_unlink(machine_of(env)->disk, path);
    return rc == ERRC_OK ? rc : error_set(e, rc, "unlink '%s'", path);
}

static enum errc sim_rmdir(struct env *env, const char *path, struct error *e)
{
    struct sim_node *node = disk_sim_find(machine_of(env)->disk, path);
    if (node != NULL && !disk_sim_empty(node)) {
        return error_set_sys(e, ENOTEMPTY, "rmdir '%s'", path);
    }
    return sim_unlink(env, path, e);
}

static enum errc sim_mkdir(struct env *env, const char *path, struct error *e)
{
    sim_changes(env);
    if (disk_sim_find(machine_of(env)->disk, path) != NULL) {
        return error_set_sys(e, EEXIST, "mkdir '%s'", path);
    }
    return disk_sim_create(machine_of(env)->disk, path, true) != NULL ? ERRC_OK
                                                                  : error_set_sys(e, ENOENT, "mkdir '%s'", path);
}

static enum errc sim_list(struct env *env, const char *path, void (*visit)(void *data, const char *name),
                          void *data, struct error *e)
{
    struct sim_node *node = disk_sim_find(machine_of(env)->disk, path);
    if (node == NULL) {
        return error_set_sys(e, ENOENT, "list '%s'", path);
    }
    disk_sim_list(node, visit, data);
    return ERRC_OK;
}

static enum errc sim_lock(struct env *env, struct env_file *file, struct error *e)
{
    (void)env; /* one process on this machine: it gets every lock */
    (void)file;
    (void)e;
    return ERRC_OK;
}

static const struct env_vt sim_vt = {
    .now_ns = sim_now,
    .wall_ms = sim_wall,
    .random = sim_random,
    .executor_create = sim_executor_create,
    .open = sim_open,
    .close = sim_close,
    .pread = sim_pread,
    .pread_nowait = sim_pread_nowait,
    .pwritev = sim_pwritev,
    .fdatasync = sim_fdatasync,
    .fsync_dir = sim_fsync_dir,
    .fallocate = sim_fallocate,
    .punch_hole = sim_punch_hole,
    .truncate = sim_truncate,
    .stat_file = sim_stat_file,
    .stat_path = sim_stat_path,
    .space = sim_space,
    .rename = sim_rename,
    .link = sim_link,
    .unlink = sim_unlink,
    .mkdir = sim_mkdir,
    .rmdir = sim_rmdir,
    .list = sim_list,
    .lock = sim_lock,
};

/* ---- the machine ---- */

static struct env_sim *sim_new(uint64_t seed, struct disk_sim *disk)
{
    struct env_sim *sim = mem_zalloc(sizeof(*sim));
    sim->first = (struct sim_machine){ .env.vt = &sim_vt, .sim = sim, .disk = disk };
    sim->state = seed;
    sim->now_ns = 1000000000;
    list_init(&sim->executors);
    return sim;
}

struct env_sim *env_sim_create(uint64_t seed, uint64_t disk_bytes)
{
    return sim_new(seed, disk_sim_new(disk_bytes));
}

struct env *env_sim_env(struct env_sim *sim)
{
    return &sim->first.env;
}

struct env_sim *env_sim_crash_clone(struct env_sim *sim, uint64_t seed)
{
    struct env_sim *clone = sim_new(seed, NULL);
    clone->now_ns = sim->now_ns + 1000000000;
    clone->first.disk = disk_sim_crash(sim->first.disk, clone);
    return clone;
}

static struct env *machine_new(struct env_sim *sim, struct disk_sim *disk)
{
    struct sim_machine *machine = mem_zalloc(sizeof(*machine));
    *machine = (struct sim_machine){ .env.vt = &sim_vt, .sim = sim, .disk = disk };
    return &machine->env;
}

struct env *env_sim_machine_add(struct env_sim *sim, uint64_t disk_bytes)
{
    return machine_new(sim, disk_sim_new(disk_bytes));
}

struct env *env_sim_machine_crash(struct env *env)
{
    struct sim_machine *machine = machine_of(env);
    struct env *left = machine_new(machine->sim, disk_sim_crash(machine->disk, machine->sim));
    machine_of(left)->wall_offset_ms = machine->wall_offset_ms;
    return left;
}

void env_sim_machine_free(struct env *env)
{
    struct sim_machine *machine = machine_of(env);
    list_for_each (node, &machine->sim->executors) {
        ASSERT(container_of(node, struct sim_executor, link)->executor.env != env);
    }
    disk_sim_free(machine->disk);
    mem_free(machine);
}

struct pick {
    struct env_sim *sim;
    unsigned seen;
    char name[64];
};

static void pick_one(void *data, const char *name)
{
    struct pick *pick = data;
    if (env_sim_random(pick->sim) % ++pick->seen == 0) {
        (void)snprintf(pick->name, sizeof(pick->name), "%s", name);
    }
}

bool env_sim_machine_flip(struct env *env, const char *folder)
{
    struct pick pick = { .sim = sim_of(env) };
    if (env->vt->list(env, folder, pick_one, &pick, NULL) != ERRC_OK || pick.seen == 0) {
        return false;
    }
    char *path = mem_format("%s/%s", folder, pick.name);
    struct sim_node *node = disk_sim_find(machine_of(env)->disk, path);
    mem_free(path);
    return node != NULL && disk_sim_flip(node, pick.sim);
}

void env_sim_machine_wall(struct env *env, int64_t offset_ms)
{
    machine_of(env)->wall_offset_ms = offset_ms;
}

void env_sim_machine_fail(struct env *env, unsigned calls, int error)
{
    machine_of(env)->fail_calls = calls;
    machine_of(env)->fail_error = error;
}

uint64_t env_sim_trace(const struct env_sim *sim)
{
    return sim->trace;
}

void env_sim_on_change(struct env_sim *sim, void (*hook)(void *data), void *data)
{
    sim->hook = hook;
    sim->hook_data = data;
}

bool env_sim_flip(struct env_sim *sim, const char *path)
{
    struct sim_node *node = disk_sim_find(sim->first.disk, path);
    return node != NULL && disk_sim_flip(node, sim);
}

void env_sim_destroy(struct env_sim *sim)
{
    ASSERT(list_empty(&sim->executors));
    disk_sim_free(sim->first.disk);
    mem_free(sim);
}
