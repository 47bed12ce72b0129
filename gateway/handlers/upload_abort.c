/*   AbortMultipartUpload: PROPOSED -> answered. A compare-and-set on the upload; its parts become garbage.  */
#include "gateway/handlers/operations.h"
#include "gateway/handlers/upload_target.h"

static void abort_decided(struct request *r)
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

void upload_abort(struct request *r)
{
    struct meta_command command = { .type = META_CMD_UPLOAD_ABORT };
    command.upload_abort.bucket_id = r->bucket.id;
    command.upload_abort.key = r->s3.key;
    if (upload_target_read(r, command.upload_abort.upload_id) != S3_ERROR_NONE) {
        request_fail(r);
        return;
    }
    (void)request_propose(r, &command, abort_decided); /* found again as r->calls */
}
