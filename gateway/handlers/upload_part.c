/*
 * UploadPart.
 *
 *   ASKED (the upload, its class) -> READING -> FINISHING -> COMMITTING -> answered
 *
 * The upload is looked up before the body is asked for: a part of nothing is refused without reading it.
 * The part keeps the checksum of the upload's algorithm, or CRC64NVME, besides the one that came with it.
 */
#include "gateway/handlers/object_upload.h"
#include "gateway/handlers/operations.h"
#include "gateway/handlers/upload_target.h"
#include "gateway/handlers/write_class.h"

struct part_state {
    uint8_t upload_id[UPLOAD_ID_BYTES];
    uint32_t number;
    struct s3_multipart_rules rules;
    struct object_upload upload;
    struct meta_command command; /* made once: what the footer holds is what is committed */
    char etag[S3_ETAG_BYTES];
};

static void part_committed(struct request *r)
{
    struct part_state *state = r->state;
    const struct request_call *call = r->calls;
    object_upload_settle(&state->upload, call);
    if (request_call_failed(r, call)) {
        return;
    }
    if (call->op.result.outcome != META_OK) {
        request_fail_outcome(r, (enum meta_outcome)call->op.result.outcome);
        return;
    }
    request_header_etag(r, slice_str(state->etag));
    if (r->body.checksum.kind != CHECKSUM_NONE) {
        char text[CHECKSUM_TEXT_BYTES];
        (void)checksum_format(&r->body.checksum, text); /* the length is not needed */
        request_header_str(r, checksum_header(r->body.checksum.kind), text);
    }
    request_reply_empty(r, 200);
}

static void command_make(struct request *r, struct part_state *state)
{
    const struct upload_body *body = &r->body;
    struct env *env = request_config(r)->env;
    bool own = body->checksum.kind == state->rules.checksum_kind;
    state->command = (struct meta_command){ .type = META_CMD_UPLOAD_PART };
    struct meta_upload_part *part = &state->command.upload_part;
    *part = (struct meta_upload_part){
        .bucket_id = r->bucket.id,
        .key = r->s3.key,
        .number = (uint16_t)state->number,
        .size = body->seen_bytes,
        .mtime_ms = env_wall_ms(env),
        .etag_md5 = slice_of(body->md5, MD5_BYTES),
        .checksum = checksum_to_meta(own ? &body->checksum : &body->also),
    };
    memcpy(part->upload_id, state->upload_id, UPLOAD_ID_BYTES);
    env_random(env, part->part_id, sizeof(part->part_id));
}

static void part_written(struct request *r)
{
    struct part_state *state = r->state;
    if (object_upload_failed(r, &state->upload)) {
        return;
    }
    object_upload_into_part(&state->upload, &state->command.upload_part);
    (void)request_propose(r, &state->command, part_committed); /* found again as r->calls */
}

static void part_read(struct request *r)
{
    struct part_state *state = r->state;
    if (r->err.code != S3_ERROR_NONE) {
        request_fail(r);
        return;
    }
    s3_etag_single(r->body.md5, state->etag);
    command_make(r, state);
    object_upload_finish(r, &state->upload, &state->command, part_written);
}

static void part_classed(struct request *r)
{
    struct part_state *state = r->state;
    object_upload_open(r, &state->upload, state->upload_id, (uint16_t)state->number);
    upload_body_run(r, state->upload.writer, part_read);
}

static void part_asked(struct request *r)
{
    struct part_state *state = r->state;
    const struct request_call *call = r->calls;
    if (request_call_failed(r, call)) {
        return;
    }
    const struct meta_uploads_reply *reply = &call->op.uploads;
    if (reply->outcome != META_OK || reply->count != 1) {
        request_fail_outcome(r, reply->outcome != META_OK ? (enum meta_outcome)reply->outcome : META_NO_UPLOAD);
        return;
    }
    state->rules = upload_target_rules(r, &reply->uploads[0].row);
    if (upload_target_part_check(r, &state->rules) != S3_ERROR_NONE) {
        request_fail(r);
        return;
    }
    if (r->body.wanted.value.kind == CHECKSUM_NONE && r->body.wanted.trailer_kind == CHECKSUM_NONE) {
        r->body.kind = state->rules.checksum_kind;
    }
    r->body.also_kind = state->rules.checksum_kind;
    write_class_ask(r, reply->uploads[0].row.storage_class, false, part_classed);
}

static void part_cleanup(struct request *r)
{
    struct part_state *state = r->state;
    object_upload_drop(&state->upload);
}

void upload_part(struct request *r)
{
    struct part_state *state = request_zalloc(r, sizeof(*state));
    r->state = state;
    r->cleanup = part_cleanup;
    if (s3_headers_unsupported(&r->s3, &r->err) != S3_ERROR_NONE ||
        s3_part_number_read(&r->s3, &state->number, &r->err) != S3_ERROR_NONE ||
        upload_target_read(r, state->upload_id) != S3_ERROR_NONE ||
        upload_body_prepare(r, S3_PART_BYTES_MAX, CHECKSUM_CRC64NVME) != S3_ERROR_NONE) {
        request_fail(r);
        return;
    }
    upload_target_ask(r, state->upload_id, part_asked);
}
