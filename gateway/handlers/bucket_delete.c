/*   PROPOSED -> answered. Emptiness is decided where the delete is: at commit.                        */
#include "gateway/handlers/operations.h"

static void delete_decided(struct request *r)
{
    const struct request_call *call = r->calls;
    if (request_call_failed(r, call)) {
        return;
    }
    if (call->op.result.outcome != META_OK) {
        request_fail_outcome(r, (enum meta_outcome)call->op.result.outcome);
        return;
    }
    request_reply_empty(r, 204);
}

void bucket_delete(struct request *r)
{
    struct meta_command command = { .type = META_CMD_BUCKET_DELETE };
    command.bucket_delete.name = r->s3.bucket;
    (void)request_propose(r, &command, delete_decided); /* found again as r->calls */
}
