#include "common/io/loop.h"

#include "common/base/assert.h"
#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/io/timer_heap.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <uv.h>

#define LOOP_BATCHES_MAX 64 /* of posted tasks, before sockets have their turn again */

struct loop {
    struct executor executor;
    uv_loop_t uv;
    uv_async_t async;     /* wakes the loop for posts of other threads */
    uv_prepare_t prepare; /* runs posted tasks before the loop sleeps */
    uv_timer_t alarm;     /* the first of timers */
    uint64_t alarm_ns;    /* deadline it is set for, 0: not running */
    struct timer_heap timers; /* the loop thread's */
    pthread_mutex_t lock; /* guards head and tail */
    struct task *head;
    struct task **tail;
    atomic_bool stopping;
    bool has_thread;
    pthread_t thread;
    char name[16];
};

static __thread const struct loop *current; /* the loop that this thread runs */

bool loop_is_current(const struct loop *loop)
{
    return current == loop;
}

struct executor *loop_executor(struct loop *loop)
{
    return &loop->executor;
}

struct uv_loop_s *loop_uv(struct loop *loop)
{
    return &loop->uv;
}

static struct loop *loop_of(struct executor *executor)
{
    return container_of(executor, struct loop, executor);
}

static void loop_post(struct executor *executor, struct task *task)
{
    struct loop *self = loop_of(executor);
    task->next = NULL;
    (void)pthread_mutex_lock(&self->lock);
    bool was_empty = self->head == NULL;
    *self->tail = task;
    self->tail = &task->next;
    /* Under the lock: after it the task may run and end the loop. On the loop's thread no wake-up is needed:
     * posts are run before the loop sleeps. */
    if (was_empty && !loop_is_current(self)) {
        (void)uv_async_send(&self->async);
    }
    (void)pthread_mutex_unlock(&self->lock);
}

static struct task *loop_take(struct loop *self)
{
    (void)pthread_mutex_lock(&self->lock);
    struct task *batch = self->head;
    self->head = NULL;
    self->tail = &self->head;
    (void)pthread_mutex_unlock(&self->lock);
    return batch;
}

/* True when nothing is left. */
static bool loop_drain(struct loop *self)
{
    for (unsigned i = 0; i < LOOP_BATCHES_MAX; i++) {
        struct task *batch = loop_take(self);
        if (batch == NULL) {
            return true;
        }
        while (batch != NULL) {
            struct task *next = batch->next; /* before it runs: it may be posted again or freed */
            batch->run(batch);
            batch = next;
        }
    }
    return false;
}

static void on_alarm(uv_timer_t *alarm);

static void alarm_update(struct loop *self)
{
    const struct timer *first = timer_heap_first(&self->timers);
    if (first == NULL || first->deadline_ns == self->alarm_ns) {
        return; /* an alarm without a timer is harmless */
    }
    uint64_t now = env_now_ns(self->executor.env);
    uint64_t delay_ns = first->deadline_ns > now ? first->deadline_ns - now : 0;
    self->alarm_ns = first->deadline_ns;
    uv_update_time(&self->uv);
    (void)uv_timer_start(&self->alarm, on_alarm, (delay_ns + 999999u) / 1000000u, 0);
}

static void on_alarm(uv_timer_t *alarm)
{
    struct loop *self = alarm->data;
    self->alarm_ns = 0;
    timer_heap_run_due(&self->timers, env_now_ns(self->executor.env));
    alarm_update(self);
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct loop *self = prepare->data;
    if (!loop_drain(self)) {
        (void)uv_async_send(&self->async);
    } else if (atomic_load(&self->stopping)) {
        uv_stop(&self->uv);
    }
}

static void on_async(uv_async_t *async)
{
    (void)async; /* the next round's prepare runs the tasks */
}

static void loop_timer_stop(struct executor *executor, struct timer *timer)
{
    struct loop *self = loop_of(executor);
    ASSERT(loop_is_current(self));
    timer_heap_remove(&self->timers, timer);
}

static void loop_timer_start(struct executor *executor, struct timer *timer, uint64_t delay_ms)
{
    struct loop *self = loop_of(executor);
    loop_timer_stop(executor, timer);
    timer->executor = executor;
    timer->deadline_ns = env_now_ns(executor->env) + delay_ms * 1000000u;
    timer_heap_add(&self->timers, timer);
    alarm_update(self);
}

static void loop_executor_destroy(struct executor *executor)
{
    loop_destroy(loop_of(executor));
}

static const struct executor_vt loop_vt = {
    loop_post,
    loop_timer_start,
    loop_timer_stop,
    loop_executor_destroy,
};

enum errc loop_create(struct env *env, const char *name, struct loop **ret_loop, struct error *e)
{
    struct loop *self = mem_zalloc(sizeof(*self));
    int failed = uv_loop_init(&self->uv);
    if (failed != 0) {
        mem_free(self);
        return error_set_sys(e, -failed, "cannot create an event loop");
    }
    failed = uv_async_init(&self->uv, &self->async, on_async);
    if (failed != 0) {
        (void)uv_loop_close(&self->uv);
        mem_free(self);
        return error_set_sys(e, -failed, "cannot create an event loop");
    }
    self->executor = (struct executor){ &loop_vt, env };
    self->tail = &self->head;
    (void)pthread_mutex_init(&self->lock, NULL);
    (void)snprintf(self->name, sizeof(self->name), "%s", name);
    (void)uv_prepare_init(&self->uv, &self->prepare);
    (void)uv_timer_init(&self->uv, &self->alarm);
    self->async.data = self->prepare.data = self->alarm.data = self;
    (void)uv_prepare_start(&self->prepare, on_prepare);
    (void)signal(SIGPIPE, SIG_IGN); /* a client that left is an error of its write, not the end of us */
    *ret_loop = self;
    return ERRC_OK;
}

void loop_run(struct loop *self)
{
    ASSERT(current == NULL);
    current = self;
    (void)uv_run(&self->uv, UV_RUN_DEFAULT);
    current = NULL;
}

static void *loop_main(void *data)
{
    struct loop *self = data;
    (void)pthread_setname_np(pthread_self(), self->name);
    loop_run(self);
    return NULL;
}

enum errc loop_start(struct loop *self, struct error *e)
{
    ASSERT(!self->has_thread);
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all); /* signals belong to the main thread */
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&self->thread, NULL, loop_main, self);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed != 0) {
        return error_set_sys(e, failed, "cannot start thread '%s'", self->name);
    }
    self->has_thread = true;
    return ERRC_OK;
}

void loop_stop(struct loop *self)
{
    atomic_store(&self->stopping, true);
    (void)uv_async_send(&self->async);
}

static void close_handle(uv_handle_t *handle, void *data)
{
    (void)data;
    if (!uv_is_closing(handle)) {
        uv_close(handle, NULL);
    }
}

void loop_destroy(struct loop *self)
{
    ASSERT(current == NULL);
    loop_stop(self);
    if (self->has_thread) {
        (void)pthread_join(self->thread, NULL);
    }
    current = self; /* this thread stands in for the loop's */
    while (!loop_drain(self)) {
    }
    uv_walk(&self->uv, close_handle, NULL);
    (void)uv_run(&self->uv, UV_RUN_DEFAULT);
    while (!loop_drain(self)) {
    }
    current = NULL;
    int failed = uv_loop_close(&self->uv);
    ASSERT(failed == 0);
    (void)pthread_mutex_destroy(&self->lock);
    timer_heap_done(&self->timers);
    mem_free(self);
}
