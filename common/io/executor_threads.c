#include "common/io/executor_threads.h"

#include "common/base/assert.h"
#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/io/timer_heap.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

struct executor_threads {
    struct executor executor;
    pthread_mutex_t lock; /* guards the queue and the counts */
    pthread_cond_t wake;
    struct task *head;
    struct task **tail;
    unsigned idle;        /* threads inside pthread_cond_wait */
    unsigned waking;      /* of these: signalled and not yet awake */
    bool stopping;
    unsigned thread_count;
    char name[16];
    struct timer_heap timers; /* serial only; the thread's own */
    pthread_t threads[];
};

static __thread const struct executor_threads *current; /* the executor that this thread belongs to */

static struct executor_threads *threads_of(struct executor *executor)
{
    return container_of(executor, struct executor_threads, executor);
}

static void threads_post(struct executor *executor, struct task *task)
{
    struct executor_threads *self = threads_of(executor);
    task->next = NULL;
    (void)pthread_mutex_lock(&self->lock);
    *self->tail = task;
    self->tail = &task->next;
    if (self->idle > self->waking) {
        self->waking++;
        (void)pthread_cond_signal(&self->wake); /* under the lock: after it the task may run and end us */
    }
    (void)pthread_mutex_unlock(&self->lock);
}

/* Sleeps until a post, the first timer or the end. The lock is held. */
static void threads_wait(struct executor_threads *self)
{
    const struct timer *first = timer_heap_first(&self->timers);
    struct timespec until;
    if (first != NULL) {
        uint64_t now = env_now_ns(self->executor.env);
        if (first->deadline_ns <= now) {
            return;
        }
        uint64_t delay = first->deadline_ns - now;
        (void)clock_gettime(CLOCK_MONOTONIC, &until);
        uint64_t sum = (uint64_t)until.tv_nsec + delay % 1000000000u;
        until.tv_sec += (time_t)(delay / 1000000000u + sum / 1000000000u);
        until.tv_nsec = (long)(sum % 1000000000u);
    }
    self->idle++;
    if (first != NULL) {
        (void)pthread_cond_timedwait(&self->wake, &self->lock, &until);
    } else {
        (void)pthread_cond_wait(&self->wake, &self->lock);
    }
    self->idle--;
    if (self->waking > 0) { /* awake for another reason: then this thread looks at the queue all the same */
        self->waking--;
    }
}

/* All that is queued for a serial executor, one task for a thread of a pool. The lock is held. */
static struct task *threads_take(struct executor_threads *self)
{
    struct task *batch = self->head;
    if (batch == NULL) {
        return NULL;
    }
    if (self->thread_count == 1) {
        self->head = NULL;
    } else {
        self->head = batch->next;
        batch->next = NULL;
    }
    if (self->head == NULL) {
        self->tail = &self->head;
    }
    return batch;
}

static void run_batch(struct task *batch)
{
    while (batch != NULL) {
        struct task *next = batch->next; /* before it runs: it may be posted again or freed */
        batch->run(batch);
        batch = next;
    }
}

static void *threads_main(void *data)
{
    struct executor_threads *self = data;
    (void)pthread_setname_np(pthread_self(), self->name);
    current = self;
    (void)pthread_mutex_lock(&self->lock);
    for (;;) {
        struct task *batch = threads_take(self);
        if (batch == NULL && self->stopping) {
            break;
        }
        if (batch == NULL) {
            threads_wait(self);
            batch = threads_take(self);
        }
        (void)pthread_mutex_unlock(&self->lock);
        run_batch(batch);
        if (timer_heap_first(&self->timers) != NULL) {
            timer_heap_run_due(&self->timers, env_now_ns(self->executor.env));
        }
        (void)pthread_mutex_lock(&self->lock);
    }
    (void)pthread_mutex_unlock(&self->lock);
    return NULL;
}

static void threads_timer_stop(struct executor *executor, struct timer *timer)
{
    struct executor_threads *self = threads_of(executor);
    ASSERT(current == self);
    timer_heap_remove(&self->timers, timer);
}

static void threads_timer_start(struct executor *executor, struct timer *timer, uint64_t delay_ms)
{
    struct executor_threads *self = threads_of(executor);
    ASSERT(self->thread_count == 1);
    threads_timer_stop(executor, timer);
    timer->executor = executor;
    timer->deadline_ns = env_now_ns(executor->env) + delay_ms * 1000000u;
    timer_heap_add(&self->timers, timer);
}

static void threads_destroy(struct executor *executor)
{
    struct executor_threads *self = threads_of(executor);
    ASSERT(current != self);
    (void)pthread_mutex_lock(&self->lock);
    self->stopping = true;
    (void)pthread_cond_broadcast(&self->wake);
    (void)pthread_mutex_unlock(&self->lock);
    for (unsigned i = 0; i < self->thread_count; i++) {
        (void)pthread_join(self->threads[i], NULL);
    }
    (void)pthread_cond_destroy(&self->wake);
    (void)pthread_mutex_destroy(&self->lock);
    timer_heap_done(&self->timers);
    mem_free(self);
}

static const struct executor_vt threads_vt = {
    threads_post,
    threads_timer_start,
    threads_timer_stop,
    threads_destroy,
};

struct executor *executor_threads_create(struct env *env, const char *name, unsigned threads)
{
    ASSERT(threads > 0);
    ASSERT(threads <= EXECUTOR_THREADS_MAX);
    struct executor_threads *self = mem_zalloc(sizeof(*self) + threads * sizeof(self->threads[0]));
    self->executor = (struct executor){ &threads_vt, env };
    self->tail = &self->head;
    self->thread_count = threads;
    (void)snprintf(self->name, sizeof(self->name), "%s", name);
    (void)pthread_mutex_init(&self->lock, NULL);
    pthread_condattr_t attributes;
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&self->wake, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all); /* signals belong to the main thread */
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    for (unsigned i = 0; i < threads; i++) {
        int failed = pthread_create(&self->threads[i], NULL, threads_main, self);
        ASSERT(failed == 0); /* like memory: a machine without threads can't run a server */
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return &self->executor;
}
