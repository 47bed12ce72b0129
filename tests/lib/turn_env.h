/*
 * turn_env - an env of one thread for unit tests: one queue of tasks for all executors, virtual time.
 *
 * Nothing runs until turn_env_run(); timers fire in order of their deadline once the queue is empty. No files.
 */
#ifndef TESTS_LIB_TURN_ENV_H
#define TESTS_LIB_TURN_ENV_H

#include "common/base/env.h"
#include "common/base/list.h"

struct turn_executor {
    struct executor executor; /* first */
};

struct turn_timer {
    struct list node;
    struct timer *timer;
};

struct turn_env {
    struct env env; /* first */
    uint64_t now_ns;
    uint64_t seed;
    struct task *first, *last;
    struct list timers;
    struct turn_executor executor; /* the one that tests use */
};

void turn_env_init(struct turn_env *env);
/* Runs queued tasks until none is left; no timer fires. Returns how many ran. */
unsigned turn_env_drain(struct turn_env *env);
/* Drains and lets time pass, timer by timer, until `stop` says so or `limit_ms` have passed. */
bool turn_env_run(struct turn_env *env, bool (*stop)(void *data), void *data, uint64_t limit_ms);
void turn_env_done(struct turn_env *env); /* drains; asserts that no timer is left */

#endif
