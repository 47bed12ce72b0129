#include "gateway/handlers/object_upload.h"

#include "common/base/assert.h"
#include "common/rpc/node_messages.h"

/* The writer has one `data` for both of its callbacks. */
static void upload_ready(void *data)
{
    struct object_upload *upload = data;
    upload_body_writer_ready(upload->request);
}

void object_upload_open(struct request *r, struct object_upload *upload, const uint8_t *upload_id,
                        uint16_t part_number)
{
    struct object_writer_params params = {
        .executor = r->executor,
        .length = r->body.length,
        .class_k = r->bucket.class_k,
        .class_m = r->bucket.class_m,
        .owner = { .bucket_id = r->bucket.id,
                   .key = r->s3.key,
                   .part_number = part_number,
                   .proposer_wall_ms = r->wall_ms },
        .on_ready = upload_ready,
        .data = upload,
    };
    if (upload_id != NULL) {
        memcpy(params.owner.upload_id, upload_id, sizeof(params.owner.upload_id));
    }
    upload->request = r;
    upload->writer = object_writer_open(request_store(r), &params);
}

static void upload_finished(void *data, const struct object_writer_result *result)
{
    struct object_upload *upload = data;
    upload->result = result;
    request_resume(upload->request);
    upload->next(upload->request);
}

void object_upload_finish(struct request *r, struct object_upload *upload, const struct meta_command *record,
                          request_step *next)
{
    struct enc footer = ENC_INIT;
    meta_command_encode(&footer, record);
    struct slice bytes = footer.len <= SHARD_FOOTER_BYTES_MAX ? enc_slice(&footer) : SLICE_EMPTY;
    upload->next = next;
    request_hold(r);
    object_writer_finish(upload->writer, bytes, upload_finished);
    enc_free(&footer);
}

bool object_upload_failed(struct request *r, struct object_upload *upload)
{
    ASSERT(upload->result != NULL);
    if (upload->result->status == ERRC_OK) {
        return false;
    }
    enum errc status = upload->result->status;
    struct error story = upload->result->error;
    object_upload_drop(upload);
    request_fail_errc(r, status, &story);
    return true;
}

void object_upload_settle(struct object_upload *upload, const struct request_call *commit)
{
    enum errc status = commit->op.status;
    bool refused = status == ERRC_OK && commit->op.result.outcome != META_OK;
    if (refused || status == ERRC_LIMIT || status == ERRC_INVALID) {
        object_upload_drop(upload); /* decided against, or never proposed: nothing will refer to them */
        return;
    }
    object_writer_keep(upload->writer); /* done, or the outcome is unknown */
    upload->writer = NULL;
}

void object_upload_drop(struct object_upload *upload)
{
    if (upload->writer != NULL) {
        object_writer_discard(upload->writer);
        upload->writer = NULL;
    }
}
