/*
 * Executors of the machine: order, concurrency, timers, ends; threads and loops alike.
 */
#include "common/base/assert.h"
#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/io/loop.h"
#include "common/io/timer_heap.h"

#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>

#include <cmocka.h>

#define POSTS 20000
#define POSTERS 4

/* A serial executor's own state: no atomics on purpose, TSan would tell. */
struct counter {
    struct executor *executor;
    unsigned next[POSTERS];
    unsigned total;
    sem_t done;
};

struct numbered {
    struct task task;
    struct counter *counter;
    unsigned poster;
    unsigned number;
};

static void on_numbered(struct task *task)
{
    struct numbered *self = container_of(task, struct numbered, task);
    struct counter *counter = self->counter;
    assert_int_equal(counter->next[self->poster], self->number); /* in the order of posting */
    counter->next[self->poster]++;
    if (++counter->total == POSTERS * POSTS) {
        (void)sem_post(&counter->done);
    }
}

struct poster {
    pthread_t thread;
    struct numbered *tasks;
    struct counter *counter;
};

static void *post_all(void *data)
{
    struct poster *poster = data;
    for (unsigned i = 0; i < POSTS; i++) {
        executor_post(poster->counter->executor, &poster->tasks[i].task);
    }
    return NULL;
}

static void check_order(struct executor *executor)
{
    struct counter counter = { .executor = executor };
    struct poster posters[POSTERS];
    assert_int_equal(sem_init(&counter.done, 0, 0), 0);
    for (unsigned p = 0; p < POSTERS; p++) {
        posters[p].counter = &counter;
        posters[p].tasks = mem_zalloc(POSTS * sizeof(struct numbered));
        for (unsigned i = 0; i < POSTS; i++) {
            posters[p].tasks[i] = (struct numbered){ { on_numbered, NULL }, &counter, p, i };
        }
        assert_int_equal(pthread_create(&posters[p].thread, NULL, post_all, &posters[p]), 0);
    }
    assert_int_equal(sem_wait(&counter.done), 0);
    for (unsigned p = 0; p < POSTERS; p++) {
        (void)pthread_join(posters[p].thread, NULL);
        mem_free(posters[p].tasks);
    }
    (void)sem_destroy(&counter.done);
}

static struct executor *make_threads(unsigned threads)
{
    struct env *env = env_real();
    return env->vt->executor_create(env, "test", threads);
}

static struct executor *make_loop(void)
{
    struct loop *loop;
    struct error e = ERROR_INIT;
    assert_int_equal(loop_create(env_real(), "test", &loop, &e), ERRC_OK);
    assert_int_equal(loop_start(loop, &e), ERRC_OK);
    return loop_executor(loop);
}

static void test_serial_keeps_order(void **state)
{
    (void)state;
    struct executor *executor = make_threads(1);
    check_order(executor);
    executor_destroy(executor);
    executor = make_loop();
    check_order(executor);
    executor_destroy(executor);
}

/* ---- a pool runs all, at the same time ---- */

struct meeting {
    struct task task;
    pthread_barrier_t *barrier;
    atomic_uint *count;
};

static void on_meeting(struct task *task)
{
    struct meeting *self = container_of(task, struct meeting, task);
    (void)pthread_barrier_wait(self->barrier); /* returns when all threads are here together */
    atomic_fetch_add(self->count, 1);
}

static void test_pool_is_concurrent(void **state)
{
    struct executor *executor = make_threads(4);
    pthread_barrier_t barrier;
    atomic_uint count = 0;
    struct meeting tasks[4 * 50];
    (void)state;
    assert_int_equal(pthread_barrier_init(&barrier, NULL, 4), 0);
    for (unsigned i = 0; i < 4 * 50; i++) {
        tasks[i] = (struct meeting){ { on_meeting, NULL }, &barrier, &count };
        executor_post(executor, &tasks[i].task);
    }
    executor_destroy(executor); /* runs what is queued */
    assert_int_equal(atomic_load(&count), 200);
    (void)pthread_barrier_destroy(&barrier);
}

/* ---- timers ---- */

struct clock_test {
    struct executor *executor;
    struct task begin;
    struct timer timers[5];
    unsigned order[8];
    unsigned fired;
    uint64_t begin_ns;
    sem_t done;
};

static struct clock_test *the_test; /* one at a time; set before the executor sees it */

static void on_fire(struct task *task)
{
    struct clock_test *self = the_test;
    unsigned index = (unsigned)(container_of(task, struct timer, task) - self->timers);
    assert_false(self->timers[index].armed);
    assert_true(env_now_ns(env_real()) >= self->timers[index].deadline_ns);
    self->order[self->fired++] = index;
    if (index == 0) { /* stops one that is due later, restarts another */
        timer_stop(self->executor, &self->timers[3]);
        timer_start(self->executor, &self->timers[1], 120);
    }
    if (index == 1) {
        (void)sem_post(&self->done);
    }
}

static void on_begin(struct task *task)
{
    struct clock_test *self = container_of(task, struct clock_test, begin);
    static const unsigned delays_ms[5] = { 30, 60, 0, 50, 70 };
    self->begin_ns = env_now_ns(env_real());
    for (unsigned i = 0; i < 5; i++) {
        self->timers[i].task.run = on_fire;
        timer_start(self->executor, &self->timers[i], delays_ms[i]);
    }
}

static void check_timers(struct executor *executor)
{
    struct clock_test test = { .executor = executor, .begin = { on_begin, NULL } };
    the_test = &test;
    assert_int_equal(sem_init(&test.done, 0, 0), 0);
    executor_post(executor, &test.begin);
    assert_int_equal(sem_wait(&test.done), 0);
    executor_destroy(executor);
    assert_int_equal(test.fired, 4); /* 2 at once, 0 at 30 ms, 4 at 70 ms, 1 at 150 ms, 3 never */
    assert_int_equal(test.order[0], 2);
    assert_int_equal(test.order[1], 0);
    assert_int_equal(test.order[2], 4);
    assert_int_equal(test.order[3], 1);
    assert_true(env_now_ns(env_real()) - test.begin_ns < 1000000000u);
    (void)sem_destroy(&test.done);
}

static void test_timers(void **state)
{
    (void)state;
    check_timers(make_threads(1));
    check_timers(make_loop());
}

static void test_timer_heap(void **state)
{
    enum { COUNT = 500 };
    static struct timer timers[COUNT];
    struct timer_heap heap = { NULL, 0, 0 };
    uint32_t seed = 12345;
    (void)state;
    for (unsigned i = 0; i < COUNT; i++) {
        seed = seed * 1664525u + 1013904223u;
        timers[i].deadline_ns = seed >> 16;
        timer_heap_add(&heap, &timers[i]);
    }
    for (unsigned i = 0; i < COUNT; i += 3) {
        timer_heap_remove(&heap, &timers[i]);
    }
    uint64_t before = 0;
    struct timer *first;
    unsigned count = 0;
    while ((first = timer_heap_first(&heap)) != NULL) {
        assert_true(first->deadline_ns >= before);
        before = first->deadline_ns;
        timer_heap_remove(&heap, first);
        count++;
    }
    assert_int_equal(count, COUNT - (COUNT + 2) / 3);
    timer_heap_done(&heap);
}

/* ---- tasks that post, and the end ---- */

struct chain {
    struct task task;
    struct executor *executor;
    unsigned left;
    sem_t *done;
};

static void on_chain(struct task *task)
{
    struct chain *self = container_of(task, struct chain, task);
    if (self->left-- > 0) {
        executor_post(self->executor, &self->task);
    } else {
        (void)sem_post(self->done);
    }
}

static void test_posts_from_its_own_thread(void **state)
{
    struct executor *executors[2] = { make_threads(1), make_loop() };
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        sem_t done;
        assert_int_equal(sem_init(&done, 0, 0), 0);
        struct chain chain = { { on_chain, NULL }, executors[i], 10000, &done };
        executor_post(executors[i], &chain.task);
        assert_int_equal(sem_wait(&done), 0);
        executor_destroy(executors[i]);
        (void)sem_destroy(&done);
    }
}

/* Ping-pong between a loop and a thread: no wake-up is lost. */
struct pong {
    struct task task;
    struct executor *sides[2];
    unsigned left;
    sem_t done;
};

static void on_pong(struct task *task)
{
    struct pong *self = container_of(task, struct pong, task);
    if (self->left == 0) {
        (void)sem_post(&self->done);
        return;
    }
    self->left--;
    executor_post(self->sides[self->left % 2], &self->task);
}

static void test_no_wake_up_is_lost(void **state)
{
    struct pong pong = { { on_pong, NULL }, { make_threads(3), make_loop() }, 5000, { { 0 } } };
    (void)state;
    assert_int_equal(sem_init(&pong.done, 0, 0), 0);
    executor_post(pong.sides[0], &pong.task);
    assert_int_equal(sem_wait(&pong.done), 0);
    executor_destroy(pong.sides[0]);
    executor_destroy(pong.sides[1]);
    (void)sem_destroy(&pong.done);
}

static struct loop *running;

static void on_stop(struct task *task)
{
    (void)task;
    assert_true(loop_is_current(running));
    loop_stop(running);
}

static void test_loop_runs_in_the_calling_thread(void **state)
{
    struct error e = ERROR_INIT;
    struct task stop = { on_stop, NULL };
    (void)state;
    assert_int_equal(loop_create(env_real(), "test", &running, &e), ERRC_OK);
    assert_false(loop_is_current(running));
    executor_post(loop_executor(running), &stop);
    loop_run(running); /* returns */
    loop_destroy(running);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_serial_keeps_order), cmocka_unit_test(test_pool_is_concurrent),
        cmocka_unit_test(test_timers), cmocka_unit_test(test_timer_heap),
        cmocka_unit_test(test_posts_from_its_own_thread), cmocka_unit_test(test_no_wake_up_is_lost),
        cmocka_unit_test(test_loop_runs_in_the_calling_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
