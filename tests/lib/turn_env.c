#include "tests/lib/turn_env.h"

#include "common/base/assert.h"
#include "common/base/mem.h"

static struct turn_env *of(struct env *env)
{
    return (struct turn_env *)(void *)env;
}

static void post(struct executor *executor, struct task *task)
{
    struct turn_env *env = of(executor->env);
    task->next = NULL;
    if (env->last != NULL) {
        env->last->next = task;
    } else {
        env->first = task;
    }
    env->last = task;
}

static void timer_stop_turn(struct executor *executor, struct timer *timer)
{
    (void)executor;
    if (timer->armed) {
        struct turn_timer *entry = timer->impl;
        list_remove(&entry->node);
        mem_free(entry);
        timer->impl = NULL;
        timer->armed = false;
    }
}

static void timer_start_turn(struct executor *executor, struct timer *timer, uint64_t delay_ms)
{
    struct turn_env *env = of(executor->env);
    timer_stop_turn(executor, timer);
    struct turn_timer *entry = mem_zalloc(sizeof(*entry));
    entry->timer = timer;
    timer->impl = entry;
    timer->executor = executor;
    timer->armed = true;
    timer->deadline_ns = env->now_ns + delay_ms * UINT64_C(1000000);
    list_append(&env->timers, &entry->node);
}

static void destroy(struct executor *executor)
{
    mem_free(executor);
}

static const struct executor_vt executor_vt = { post, timer_start_turn, timer_stop_turn, destroy };

static uint64_t now_ns(struct env *env)
{
    return of(env)->now_ns;
}

static uint64_t wall_ms(struct env *env)
{
    return UINT64_C(1700000000000) + of(env)->now_ns / 1000000;
}

static void fill_random(struct env *env, void *target, size_t len)
{
    uint8_t *at = target;
    for (size_t i = 0; i < len; i++) {
        of(env)->seed = of(env)->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        at[i] = (uint8_t)(of(env)->seed >> 33);
    }
}

static struct executor *executor_create(struct env *env, const char *name, unsigned threads)
{
    (void)name;
    (void)threads;
    struct turn_executor *executor = mem_zalloc(sizeof(*executor));
    executor->executor = (struct executor){ &executor_vt, env };
    return &executor->executor;
}

static const struct env_vt env_vt = {
    .now_ns = now_ns, .wall_ms = wall_ms, .random = fill_random, .executor_create = executor_create
};

void turn_env_init(struct turn_env *env)
{
    *env = (struct turn_env){ .env = { &env_vt }, .now_ns = 1000000000, .seed = 1 };
    list_init(&env->timers);
    env->executor.executor = (struct executor){ &executor_vt, &env->env };
}

unsigned turn_env_drain(struct turn_env *env)
{
    unsigned count = 0;
    while (env->first != NULL) {
        struct task *task = env->first;
        env->first = task->next;
        env->last = env->first == NULL ? NULL : env->last;
        env->now_ns += 1000;
        task->run(task);
        count++;
    }
    return count;
}

static struct timer *timer_due(const struct turn_env *env)
{
    struct timer *due = NULL;
    list_for_each(node, &env->timers) {
        struct timer *timer = container_of(node, struct turn_timer, node)->timer;
        if (due == NULL || timer->deadline_ns < due->deadline_ns) {
            due = timer;
        }
    }
    return due;
}

bool turn_env_run(struct turn_env *env, bool (*stop)(void *data), void *data, uint64_t limit_ms)
{
    uint64_t end_ns = env->now_ns + limit_ms * UINT64_C(1000000);
    for (;;) {
        while (env->first != NULL && !(stop != NULL && stop(data))) {
            struct task *task = env->first;
            env->first = task->next;
            env->last = env->first == NULL ? NULL : env->last;
            env->now_ns += 1000;
            task->run(task);
        }
        if (stop != NULL && stop(data)) {
            return true;
        }
        struct timer *due = timer_due(env);
        if (due == NULL || due->deadline_ns > end_ns) {
            return stop == NULL;
        }
        env->now_ns = due->deadline_ns > env->now_ns ? due->deadline_ns : env->now_ns;
        timer_stop_turn(due->executor, due);
        post(due->executor, &due->task);
    }
}

void turn_env_done(struct turn_env *env)
{
    (void)turn_env_drain(env);
    ASSERT(list_empty(&env->timers));
}
