/*
 *   (class, conditions given) ASKED ->  READING -> FINISHING -> COMMITTING -> answered
 *          |                        |           |            |
 *          +---- refused -----------+-----------+------------+--> extents discarded, nothing visible
 *
 * A condition is looked at before the body is asked for, to spare a hopeless upload, and decided at commit.
 */
#include "gateway/handlers/object_record.h"
#include "gateway/handlers/object_upload.h"
#include "gateway/handlers/operations.h"
#include "gateway/handlers/write_class.h"

#include "common/base/assert.h"
#include "gateway/s3/s3_multipart.h"

struct put_state {
    struct object_record record;
    struct meta_conditions conditions;
    struct object_upload upload;
    struct meta_command command; /* made once: what the footer holds is what is committed */
    char etag[S3_ETAG_BYTES];
};

static void put_committed(struct request *r)
{
    struct put_state *state = r->state;
    const struct request_call *call = r->calls;
    object_upload_settle(&state->upload, call);
    if (request_call_failed(r, call)) {
        return;
    }
    const struct meta_result *result = &call->op.result;
    if (result->outcome != META_OK) {
        object_write_refused(r, &state->conditions, (enum meta_outcome)result->outcome);
        return;
    }
    request_header_etag(r, slice_str(state->etag));
    request_header_checksum(r, &r->body.checksum);
    object_version_header(r, result);
    request_reply_empty(r, 200);
}

static void command_make(struct request *r, struct put_state *state)
{
    state->command = (struct meta_command){ .type = META_CMD_OBJECT_PUT };
    state->command.object_put = (struct meta_object_put){
        .bucket_id = r->bucket.id,
        .key = r->s3.key,
        .conditions = state->conditions,
        .row = object_row(r, &state->record, slice_str(state->etag), r->body.seen_bytes, &r->body.checksum),
        .body = { .headers = state->record.headers,
                  .user_metadata = state->record.user_metadata,
                  .checksum = checksum_to_meta(&r->body.checksum) },
    };
}

static void put_written(struct request *r)
{
    struct put_state *state = r->state;
    if (object_upload_failed(r, &state->upload)) {
        return;
    }
    object_upload_into(&state->upload, &state->command.object_put);
    (void)request_propose(r, &state->command, put_committed); /* found again as r->calls */
}

/* The body is in and every comparison held. The record goes along as the footer of the last extent. */
static void put_read(struct request *r)
{
    struct put_state *state = r->state;
    if (r->err.code != S3_ERROR_NONE) {
        request_fail(r);
        return;
    }
    s3_etag_single(r->body.md5, state->etag);
    command_make(r, state);
    object_upload_finish(r, &state->upload, &state->command, put_written);
}

static void put_begin(struct request *r)
{
    struct put_state *state = r->state;
    object_upload_open(r, &state->upload, NULL, 0);
    upload_body_run(r, state->upload.writer, put_read);
}

static void put_asked(struct request *r)
{
    struct put_state *state = r->state;
    const struct request_call *call = r->calls;
    if (request_call_failed(r, call)) {
        return;
    }
    const struct meta_object_reply *reply = &call->op.object;
    bool exists = reply->outcome == META_OK && !reply->row.delete_marker;
    struct slice if_match = state->conditions.if_match;
    if (reply->outcome == META_NO_BUCKET) {
        request_fail_outcome(r, META_NO_BUCKET);
    } else if (if_match.len > 0 && !exists) {
        object_write_refused(r, &state->conditions, META_NO_KEY);
    } else if ((if_match.len > 0 && !slice_equal(if_match, reply->row.etag)) ||
               (state->conditions.if_none_match.len > 0 && exists)) {
        object_write_refused(r, &state->conditions, META_PRECONDITION);
    } else {
        put_begin(r);
    }
}

static void put_classed(struct request *r)
{
    struct put_state *state = r->state;
    if (!object_conditions_any(&state->conditions)) {
        put_begin(r);
        return;
    }
    struct meta_query query = { .type = META_QRY_OBJECT, .bucket_id = r->bucket.id, .key = r->s3.key };
    (void)request_query(r, &query, put_asked); /* found again as r->calls */
}

static void put_cleanup(struct request *r)
{
    struct put_state *state = r->state;
    object_upload_drop(&state->upload);
}

void object_put(struct request *r)
{
    struct put_state *state = request_zalloc(r, sizeof(*state));
    r->state = state;
    r->cleanup = put_cleanup;
    if (object_record_read(r, &state->record) != S3_ERROR_NONE ||
        object_conditions_read(r, false, &state->conditions) != S3_ERROR_NONE ||
        upload_body_prepare(r, S3_PUT_BYTES_MAX, CHECKSUM_CRC64NVME) != S3_ERROR_NONE) {
        request_fail(r);
        return;
    }
    write_class_ask(r, state->record.storage_class, true, put_classed);
}
