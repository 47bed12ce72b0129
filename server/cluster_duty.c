#include "server/cluster_duty.h"

#include "common/base/assert.h"
#include "common/base/list.h"

static void duty_work(struct cluster_duty *duty)
{
    ASSERT(!duty->busy && !duty->stopping);
    duty->busy = true;
    duty->work(duty);
}

static void work_run(struct task *task)
{
    duty_work(container_of(task, struct cluster_duty, timer.task));
}

static void work_there(void *data)
{
    duty_work(data);
}

static void stop_there(struct task *task)
{
    struct cluster_duty *duty = container_of(task, struct cluster_duty, stop_task);
    duty->stopping = true;
    timer_stop(duty->executor, &duty->timer);
    if (!duty->busy) {
        waiter_wake(&duty->stopped, ERRC_OK);
    }
}

void cluster_duty_init(struct cluster_duty *duty, struct executor *executor, void (*work)(struct cluster_duty *duty))
{
    *duty = (struct cluster_duty){ .executor = executor, .work = work, .timer.task.run = work_run,
                                   .stop_task.run = stop_there };
}

void cluster_duty_begin(struct cluster_duty *duty)
{
    wait_run(duty->executor, work_there, duty);
}

void cluster_duty_sleep(struct cluster_duty *duty, uint64_t wait_ms)
{
    ASSERT(duty->busy);
    duty->busy = false;
    if (duty->stopping) {
        waiter_wake(&duty->stopped, ERRC_OK);
    } else {
        timer_start(duty->executor, &duty->timer, wait_ms);
    }
}

void cluster_duty_stop(struct cluster_duty *duty)
{
    waiter_init(&duty->stopped);
    executor_post(duty->executor, &duty->stop_task);
    (void)waiter_wait(&duty->stopped); /* always OK */
}
