#include "server/stop_watch.h"

#include "common/io/log.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

#define EXIT_CUT_SHORT 1

static struct timespec after_ms(uint64_t ms)
{
    struct timespec at;
    (void)clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += (time_t)(ms / 1000);
    at.tv_nsec += (long)(ms % 1000) * 1000000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000;
    }
    return at;
}

static void *watch_main(void *data)
{
    struct stop_watch *watch = data;
    const struct timespec until = after_ms(watch->limit_ms);
    int rc = 0;
    (void)pthread_mutex_lock(&watch->lock);
    while (!watch->ended && rc != ETIMEDOUT) {
        rc = pthread_cond_timedwait(&watch->wake, &watch->lock, &until);
    }
    if (!watch->ended) {
        LOG_ERROR(log_event("stop_cut_short"), log_text("waits_for", watch->step), log_u64("seconds", watch->limit_ms / 1000));
        _exit(EXIT_CUT_SHORT);
    }
    (void)pthread_mutex_unlock(&watch->lock);
    return NULL;
}

void stop_watch_begin(struct stop_watch *watch, uint64_t limit_ms)
{
    pthread_condattr_t attributes;
    *watch = (struct stop_watch){ .limit_ms = limit_ms, .step = "the first step" };
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&watch->wake, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    (void)pthread_mutex_init(&watch->lock, NULL);
    watch->runs = pthread_create(&watch->thread, NULL, watch_main, watch) == 0;
}

void stop_watch_step(struct stop_watch *watch, const char *step)
{
    if (watch != NULL) {
        (void)pthread_mutex_lock(&watch->lock);
        watch->step = step;
        (void)pthread_mutex_unlock(&watch->lock);
    }
}

void stop_watch_end(struct stop_watch *watch)
{
    (void)pthread_mutex_lock(&watch->lock);
    watch->ended = true;
    (void)pthread_cond_signal(&watch->wake);
    (void)pthread_mutex_unlock(&watch->lock);
    if (watch->runs) {
        (void)pthread_join(watch->thread, NULL);
    }
    (void)pthread_cond_destroy(&watch->wake);
    (void)pthread_mutex_destroy(&watch->lock);
}
