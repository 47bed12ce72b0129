/*
 * executor_threads - executors that are threads with a queue (env_real.c gives them out).
 *
 * One thread: serial, with timers. Several: a pool, without. A post to a thread that is awake, or already
 * being woken, costs no system call.
 */
#ifndef COMMON_IO_EXECUTOR_THREADS_H
#define COMMON_IO_EXECUTOR_THREADS_H

#include "common/base/env.h"

#define EXECUTOR_THREADS_MAX 256

/* Gives; executor_destroy() runs what is queued and joins the threads; not from one of its own. */
struct executor *executor_threads_create(struct env *env, const char *name, unsigned threads);

#endif
