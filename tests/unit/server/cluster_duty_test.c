/*
 * Goal: a duty works again and again, and a stop returns when it neither works nor will: whether it sleeps or is at work.
 */
#include "common/base/list.h"
#include "server/cluster_duty.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#define LONG_MS 100
#define FOREVER_MS 3600000

struct worker {
    struct cluster_duty duty;
    struct timer answer;      /* ends work that takes its time */
    uint64_t answer_ms;       /* 0: the work is done when it returns */
    uint64_t sleep_ms;
    atomic_uint begun, ended;
};

static void work_end(struct worker *worker)
{
    (void)atomic_fetch_add(&worker->ended, 1);
    cluster_duty_sleep(&worker->duty, worker->sleep_ms);
}

static void on_answer(struct task *task)
{
    work_end(container_of(task, struct worker, answer.task));
}

static void work(struct cluster_duty *duty)
{
    struct worker *worker = container_of(duty, struct worker, duty);
    (void)atomic_fetch_add(&worker->begun, 1);
    if (worker->answer_ms > 0) {
        worker->answer.task.run = on_answer;
        timer_start(duty->executor, &worker->answer, worker->answer_ms);
    } else {
        work_end(worker);
    }
}

static struct executor *begin(struct worker *worker)
{
    struct env *env = env_real();
    struct executor *executor = env->vt->executor_create(env, "duty", 1);
    cluster_duty_init(&worker->duty, executor, work);
    cluster_duty_begin(&worker->duty);
    assert_true(atomic_load(&worker->begun) >= 1);
    return executor;
}

static void it_works_until_it_is_stopped(void **state)
{
    (void)state;
    struct worker worker = { .sleep_ms = 1 };
    struct executor *executor = begin(&worker);
    while (atomic_load(&worker.begun) < 5) {
        (void)usleep(1000);
    }
    cluster_duty_stop(&worker.duty);
    unsigned begun = atomic_load(&worker.begun);
    (void)usleep(20000);
    assert_int_equal(atomic_load(&worker.begun), begun);
    executor_destroy(executor);
}

static void a_sleep_is_cut_short(void **state)
{
    (void)state;
    struct worker worker = { .sleep_ms = FOREVER_MS };
    struct executor *executor = begin(&worker);
    cluster_duty_stop(&worker.duty);
    assert_int_equal(atomic_load(&worker.begun), 1);
    executor_destroy(executor);
}

static void a_stop_waits_for_the_work(void **state)
{
    (void)state;
    struct worker worker = { .answer_ms = LONG_MS, .sleep_ms = 1 };
    struct executor *executor = begin(&worker);
    assert_int_equal(atomic_load(&worker.ended), 0);
    cluster_duty_stop(&worker.duty);
    assert_int_equal(atomic_load(&worker.ended), 1);
    (void)usleep(20000);
    assert_int_equal(atomic_load(&worker.begun), 1);
    executor_destroy(executor);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_works_until_it_is_stopped),
        cmocka_unit_test(a_sleep_is_cut_short),
        cmocka_unit_test(a_stop_waits_for_the_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
