#include "server/wait.h"

#include "common/base/list.h"

void waiter_init(struct waiter *waiter)
{
    (void)pthread_mutex_init(&waiter->lock, NULL); /* default attributes: cannot fail on Linux */
    (void)pthread_cond_init(&waiter->wake, NULL);
    waiter->done = false;
    waiter->status = ERRC_OK;
}

void waiter_wake(struct waiter *waiter, enum errc status)
{
    (void)pthread_mutex_lock(&waiter->lock);
    waiter->done = true;
    waiter->status = status;
    (void)pthread_cond_signal(&waiter->wake);
    (void)pthread_mutex_unlock(&waiter->lock);
}

enum errc waiter_wait(struct waiter *waiter)
{
    (void)pthread_mutex_lock(&waiter->lock);
    while (!waiter->done) {
        (void)pthread_cond_wait(&waiter->wake, &waiter->lock);
    }
    enum errc status = waiter->status;
    (void)pthread_mutex_unlock(&waiter->lock);
    (void)pthread_cond_destroy(&waiter->wake);
    (void)pthread_mutex_destroy(&waiter->lock);
    return status;
}

struct run {
    struct task task;
    struct waiter waiter;
    void (*fn)(void *data);
    void *data;
};

static void run_task(struct task *task)
{
    struct run *run = container_of(task, struct run, task);
    run->fn(run->data);
    waiter_wake(&run->waiter, ERRC_OK);
}

void wait_run(struct executor *executor, void (*fn)(void *data), void *data)
{
    struct run run = { .task.run = run_task, .fn = fn, .data = data };
    waiter_init(&run.waiter);
    executor_post(executor, &run.task);
    (void)waiter_wait(&run.waiter); /* always OK */
}

static void on_meta_done(struct meta_op *op)
{
    waiter_wake(op->data, op->status);
}

static enum errc meta_finish(struct waiter *waiter, struct meta_op *op, const char *what, struct error *e)
{
    enum errc status = waiter_wait(waiter);
    if (status == ERRC_OK) {
        return ERRC_OK;
    }
    return error_set(e, status, "%s: %s", what, op->error.code != ERRC_OK ? op->error.text : errc_text(status));
}

enum errc wait_propose(struct metadata_client *client, struct executor *completions, struct meta_op *op,
                       const struct meta_command *command, struct error *e)
{
    struct waiter waiter;
    waiter_init(&waiter);
    meta_op_init(op, completions, NULL, on_meta_done, &waiter);
    meta_propose(client, op, command);
    return meta_finish(&waiter, op, "metadata command", e);
}

enum errc wait_query(struct metadata_client *client, struct executor *completions, struct arena *arena,
                     struct meta_op *op, const struct meta_query *query, struct error *e)
{
    struct waiter waiter;
    waiter_init(&waiter);
    meta_op_init(op, completions, arena, on_meta_done, &waiter);
    meta_query(client, op, query);
    return meta_finish(&waiter, op, "metadata query", e);
}

static void on_call_done(struct rpc_call *call)
{
    waiter_wake(call->data, call->status);
}

enum errc wait_call(struct rpc_channel *channel, struct executor *completions, struct rpc_call *call)
{
    struct waiter waiter;
    waiter_init(&waiter);
    call->reply_to = completions;
    call->done = on_call_done;
    call->data = &waiter;
    rpc_call_start(channel, call);
    return waiter_wait(&waiter);
}
