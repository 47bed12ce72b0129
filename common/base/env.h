/*
 * env - the seam: every source of nondeterminism that the core sees.
 *
 * Clocks, randomness, files, threads and timers reach storage-node, metadata, erasure and
 * gateway/data only through this interface, so that the same code runs on the machine
 * (common/io/env_real.c) and on simulated clocks, disks and schedules (tests/sim).
 *
 * Work runs on *executors*. A serial executor runs one task at a time, in the order of posting: an
 * object that lives on it needs no lock. A pool runs tasks concurrently. An event loop is a serial
 * executor too. The only crossing between executors is executor_post().
 *
 * File calls block; they are made on executors that may block (a disk's own), never on a loop.
 * Thread: all functions are safe from any thread; a file may be used by several threads at once.
 */
#ifndef COMMON_BASE_ENV_H
#define COMMON_BASE_ENV_H

#include "common/base/error.h"
#include "common/base/slice.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct env;
struct executor;

/* ---- tasks and executors ---- */

/* One unit of work; lives in its owner (usually an operation), not allocated here. A task may be
 * posted again once it has begun to run. */
struct task {
    void (*run)(struct task *task);
    struct task *next; /* the executor's, while queued */
};

struct timer {
    struct task task;        /* run on the executor when the time has come */
    struct executor *executor;
    uint64_t deadline_ns;    /* env_now_ns time base */
    bool armed;
    void *impl;              /* the executor's */
};

struct executor_vt {
    void (*post)(struct executor *executor, struct task *task);
    /* timer_* are called on the executor itself only (serial executors). */
    void (*timer_start)(struct executor *executor, struct timer *timer, uint64_t delay_ms);
    void (*timer_stop)(struct executor *executor, struct timer *timer);
    void (*destroy)(struct executor *executor); /* runs what is queued, then ends its threads */
};

struct executor {
    const struct executor_vt *vt;
    struct env *env;
};

static inline void executor_post(struct executor *executor, struct task *task)
{
    executor->vt->post(executor, task);
}
/* Starts or restarts; the task runs once, on the executor. Stop guarantees that it will not run. */
static inline void timer_start(struct executor *executor, struct timer *timer, uint64_t delay_ms)
{
    executor->vt->timer_start(executor, timer, delay_ms);
}
static inline void timer_stop(struct executor *executor, struct timer *timer)
{
    executor->vt->timer_stop(executor, timer);
}
static inline void executor_destroy(struct executor *executor)
{
    executor->vt->destroy(executor);
}

/* ---- files ---- */

struct env_file; /* opaque; an implementation's struct */

enum env_open_flags {
    ENV_OPEN_READ = 1,        /* read only; otherwise read and write */
    ENV_OPEN_CREATE = 2,      /* create if absent, mode 0600 */
    ENV_OPEN_EXCLUSIVE = 4,   /* with CREATE: ERRC_EXISTS if there */
    ENV_OPEN_DIRECT = 8,      /* O_DIRECT: offsets, lengths and memory aligned to 4096 */
    ENV_OPEN_TRUNCATE = 16,
};

struct env_stat {
    uint64_t device;
    uint64_t inode;
    uint64_t size;            /* bytes */
    uint64_t allocated_bytes; /* what the file really occupies */
    bool is_dir;
    uint32_t mode;            /* permission bits */
};

struct env_space {
    uint64_t total_bytes;
    uint64_t free_bytes; /* for an unprivileged writer */
};

struct env_vt {
    /* CLOCK_BOOTTIME in nanoseconds: never goes back, runs in suspend. Orders and times everything. */
    uint64_t (*now_ns)(struct env *env);
    /* Wall clock, milliseconds since 1970: signature skew and displayed times only. */
    uint64_t (*wall_ms)(struct env *env);
    void (*random)(struct env *env, void *target, size_t len); /* cryptographic */

    /* threads == 1: serial. Name (at most 15 characters) shows in ps and gdb. Gives (executor_destroy). */
    struct executor *(*executor_create)(struct env *env, const char *name, unsigned threads);

    enum errc (*open)(struct env *env, const char *path, unsigned flags, struct env_file **ret_file,
                      struct error *e);
    void (*close)(struct env *env, struct env_file *file);
    /* Reads exactly len bytes or fails; at the end of the file ret_len is short and the code OK. */
    enum errc (*pread)(struct env *env, struct env_file *file, void *target, size_t len, uint64_t offset,
                       size_t *ret_len, struct error *e);
    /* Like pread, but only what is in memory already: ERRC_WOULD_BLOCK otherwise (RWF_NOWAIT). */
    enum errc (*pread_nowait)(struct env *env, struct env_file *file, void *target, size_t len,
                              uint64_t offset, size_t *ret_len);
    /* Writes everything or fails; short writes are continued. */
    enum errc (*pwritev)(struct env *env, struct env_file *file, const struct iovec *parts, unsigned count,
                         uint64_t offset, struct error *e);
    enum errc (*fdatasync)(struct env *env, struct env_file *file, struct error *e);
    enum errc (*fsync_dir)(struct env *env, const char *path, struct error *e);
    /* Reserves blocks without changing the size beyond offset + len; UNSUPPORTED where there is no such call. */
    enum errc (*fallocate)(struct env *env, struct env_file *file, uint64_t offset, uint64_t len, struct error *e);
    enum errc (*punch_hole)(struct env *env, struct env_file *file, uint64_t offset, uint64_t len, struct error *e);
    enum errc (*truncate)(struct env *env, struct env_file *file, uint64_t size, struct error *e);
    enum errc (*stat_file)(struct env *env, struct env_file *file, struct env_stat *ret, struct error *e);
    enum errc (*stat_path)(struct env *env, const char *path, struct env_stat *ret, struct error *e);
    enum errc (*space)(struct env *env, const char *path, struct env_space *ret, struct error *e);
    enum errc (*rename)(struct env *env, const char *source, const char *target, struct error *e);
    enum errc (*link)(struct env *env, const char *source, const char *target, struct error *e);
    enum errc (*unlink)(struct env *env, const char *path, struct error *e);
    enum errc (*mkdir)(struct env *env, const char *path, struct error *e); /* 0700; ERRC_EXISTS if there */
    enum errc (*rmdir)(struct env *env, const char *path, struct error *e);
    /* Names in the folder, without "." and ".."; visit is called for each, in no order. */
    enum errc (*list)(struct env *env, const char *path,
                      void (*visit)(void *data, const char *name), void *data, struct error *e);
    /* Takes an exclusive advisory lock that dies with the process; ERRC_CONFLICT if another holds it. */
    enum errc (*lock)(struct env *env, struct env_file *file, struct error *e);
};

struct env {
    const struct env_vt *vt;
};

static inline uint64_t env_now_ns(struct env *env)
{
    return env->vt->now_ns(env);
}
static inline uint64_t env_wall_ms(struct env *env)
{
    return env->vt->wall_ms(env);
}
static inline void env_random(struct env *env, void *target, size_t len)
{
    env->vt->random(env, target, len);
}

/* The machine's implementation (common/io/env_real.c). One per process; never freed. */
struct env *env_real(void);

#endif
