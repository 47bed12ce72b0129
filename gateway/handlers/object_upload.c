#include "gateway/handlers/object_upload.h"

#include "common/base/assert.h"
#include "common/rpc/node_messages.h"

static void upload_finished(void *data, const struct object_writer_result *result)
{
    struct object_upload *upload = data;
    upload->result = result;
    request_resume(upload->request);
    upload->next(upload->request);
}

/* Bytes in memory: pushed as the writer takes them, then finished. */
static void upload_push_rest(struct object_upload *upload)
{
    size_t taken = object_writer_push(upload->writer, upload->rest);
    upload->rest = slice_skip(upload->rest, taken);
    if (upload->rest.len == 0) {
        object_writer_finish(upload->writer, upload->footer, upload_finished);
    }
}

/* The writer has one `data` for both of its callbacks. */
static void upload_ready(void *data)
{
    struct object_upload *upload = data;
    if (upload->rest.len > 0) {
        upload_push_rest(upload);
    } else if (upload->ready != NULL) {
        upload->ready(upload->request);
    } else {
        upload_body_writer_ready(upload->request);
    }
}

void object_upload_open(struct request *r, struct object_upload *upload, const uint8_t *upload_id,
                        uint16_t part_number)
{
    struct object_writer_params params = {
        .executor = r->executor,
        .length = r->body.length,
        .class_k = r->class_k,
        .class_m = r->class_m,
        .owner = { .bucket_id = r->bucket.id,
                   .key = r->s3.key,
                   .part_number = part_number,
                   .proposer_wall_ms = r->wall_ms },
        .on_ready = upload_ready,
        .data = upload,
    };
    if (upload_id != NULL) {
        params.never_inline = true;
        memcpy(params.owner.upload_id, upload_id, sizeof(params.owner.upload_id));
    }
    upload->request = r;
    upload->ready = NULL;
    upload->writer = object_writer_open(request_store(r), &params);
}

void object_upload_finish(struct request *r, struct object_upload *upload, const struct meta_command *record,
                          request_step *next)
{
    object_upload_write(r, upload, SLICE_EMPTY, record, next);
}

void object_upload_write(struct request *r, struct object_upload *upload, struct slice bytes,
                         const struct meta_command *record, request_step *next)
{
    struct enc footer = ENC_INIT;
    meta_command_encode(&footer, record);
    upload->footer = footer.len <= SHARD_FOOTER_BYTES_MAX ? arena_copy(&r->scratch, enc_slice(&footer)) : SLICE_EMPTY;
    ASSERT(IMPLIES(upload->footer.len > 0, upload->footer.data != NULL));
    enc_free(&footer);
    upload->next = next;
    upload->rest = bytes;
    request_hold(r);
    upload_push_rest(upload);
}

void object_upload_into(const struct object_upload *upload, struct meta_object_put *put)
{
    const struct object_writer_result *data = upload->result;
    put->session = data->session;
    put->map_revision = data->map_revision;
    put->body.data_kind = data->data_kind;
    put->body.inline_bytes = data->inline_bytes;
    put->body.ref_count = data->extent_count;
    put->body.refs = data->refs;
    put->extent_count = data->extent_count;
    put->extents = data->extents;
}

void object_upload_into_part(const struct object_upload *upload, struct meta_upload_part *part)
{
    const struct object_writer_result *data = upload->result;
    part->session = data->session;
    part->map_revision = data->map_revision;
    part->inline_bytes = data->inline_bytes;
    part->ref_count = data->extent_count;
    part->refs = data->refs;
    part->extent_count = data->extent_count;
    part->extents = data->extents;
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
