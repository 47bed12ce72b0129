#include "common/rpc/rpc.h"

#include "common/base/assert.h"
#include "common/base/list.h"

static void call_done(struct task *task)
{
    struct rpc_call *call = container_of(task, struct rpc_call, task);
    call->done(call);
}

void rpc_call_finish(struct rpc_call *call, enum errc status)
{
    ASSERT(IMPLIES(call->error.code != ERRC_OK, call->error.code == status));
    call->status = status;
    call->task.run = call_done;
    executor_post(call->reply_to, &call->task);
}

void rpc_call_release(struct rpc_call *call)
{
    enc_free(&call->reply);
    for (unsigned i = 0; i < call->reply_payload_count; i++) {
        buffer_unref(call->reply_payloads[i]);
    }
    call->reply_payload_count = 0;
}
