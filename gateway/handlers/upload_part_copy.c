/*
 * UploadPartCopy.
 *
 *   ASKED (upload, its class) -> ASKED (source) -> READING (MD5 and checksum of the range) -> COMMITTING -> answered
 *                                   ^              (another code, or inline: WRITING too)      |
 *                                   +------- the source changed in between (at most 3 times) --+
 */
#include "gateway/handlers/copy_source.h"
#include "gateway/handlers/object_upload.h"
#include "gateway/handlers/operations.h"
#include "gateway/handlers/upload_target.h"
#include "gateway/handlers/write_class.h"

#define COPY_TRIES_MAX 3

struct part_copy_state {
    struct copy_source source; /* first: copy_source finds itself as r->state */
    uint8_t upload_id[UPLOAD_ID_BYTES];
    uint32_t number;
    struct s3_multipart_rules rules;
    struct object_upload upload; /* for a source whose bytes are inline, or in another code than the upload's */
    struct meta_command command;
    unsigned tries;
};

static void part_copy_asked(struct request *r);

static void part_copy_committed(struct request *r)
{
    struct part_copy_state *state = r->state;
    const struct request_call *call = r->calls;
    if (state->upload.writer != NULL) {
        object_upload_settle(&state->upload, call);
    }
    if (request_call_failed(r, call)) {
        return;
    }
    const struct meta_result *result = &call->op.result;
    if (result->outcome == META_STALE && ++state->tries < COPY_TRIES_MAX) {
        copy_source_done(r, &state->source);
        copy_source_ask(r, &state->source, part_copy_asked);
        return;
    }
    if (result->outcome != META_OK) {
        request_fail_outcome(r, (enum meta_outcome)result->outcome);
        return;
    }
    char etag[S3_ETAG_BYTES];
    s3_etag_single(state->source.md5, etag);
    struct checksum_value shown = state->source.checksum;
    if (state->rules.kind_is_default) {
        shown.kind = CHECKSUM_NONE; /* ours alone: nobody asked for one */
    }
    copy_source_header(r, &state->source);
    s3_result_copy_part(&r->out, slice_str(etag), result->mtime_ms > 0 ? result->mtime_ms : r->wall_ms, &shown);
    request_reply_xml(r, 200);
}

/* Made once: what the footer holds of it is what is committed. */
static void command_make(struct request *r)
{
    struct part_copy_state *state = r->state;
    const struct copy_source *source = &state->source;
    struct env *env = request_config(r)->env;
    struct meta_upload_part *part = &state->command.upload_part;
    state->command.type = META_CMD_UPLOAD_PART;
    *part = (struct meta_upload_part){
        .bucket_id = r->bucket.id,
        .key = r->s3.key,
        .number = (uint16_t)state->number,
        .size = source->range.len,
        .mtime_ms = env_wall_ms(env),
        .etag_md5 = slice_of(source->md5, MD5_BYTES),
        .checksum = checksum_to_meta(&source->checksum),
    };
    memcpy(part->upload_id, state->upload_id, UPLOAD_ID_BYTES);
    env_random(env, part->part_id, sizeof(part->part_id));
}

static void part_copy_written(struct request *r)
{
    struct part_copy_state *state = r->state;
    if (!object_upload_failed(r, &state->upload)) {
        object_upload_into_part(&state->upload, &state->command.upload_part);
        (void)request_propose(r, &state->command, part_copy_committed); /* found again as r->calls */
    }
}

/* Inline bytes of a small source are written out: parts are never inline. */
static void part_copy_hashed(struct request *r)
{
    struct part_copy_state *state = r->state;
    const struct copy_source *source = &state->source;
    command_make(r);
    if (state->upload.writer != NULL) { /* has got all bytes */
        object_upload_finish(r, &state->upload, &state->command, part_copy_written);
    } else if (source->inline_bytes.len > 0) {
        r->body.length = source->inline_bytes.len;
        object_upload_open(r, &state->upload, state->upload_id, (uint16_t)state->number);
        object_upload_write(r, &state->upload, source->inline_bytes, &state->command, part_copy_written);
    } else {
        state->command.upload_part.ref_count = source->extent_count;
        state->command.upload_part.refs = source->refs;
        (void)request_propose(r, &state->command, part_copy_committed); /* found again as r->calls */
    }
}

static void part_copy_asked(struct request *r)
{
    struct part_copy_state *state = r->state;
    struct copy_source *source = &state->source;
    enum checksum_kind kind = state->rules.checksum_kind;
    if (source->range.len > 0 && !copy_source_shareable(r, source)) {
        copy_source_rewrite(r, source, kind, &state->upload, state->upload_id, (uint16_t)state->number, part_copy_hashed);
    } else {
        copy_source_hash(r, source, kind, part_copy_hashed);
    }
}

static void part_copy_classed(struct request *r)
{
    struct part_copy_state *state = r->state;
    copy_source_ask(r, &state->source, part_copy_asked);
}

static void part_copy_upload_asked(struct request *r)
{
    struct part_copy_state *state = r->state;
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
    write_class_ask(r, reply->uploads[0].row.storage_class, false, part_copy_classed);
}

static void part_copy_cleanup(struct request *r)
{
    struct part_copy_state *state = r->state;
    object_upload_drop(&state->upload);
    copy_source_done(r, &state->source);
}

void upload_part_copy(struct request *r)
{
    struct part_copy_state *state = request_zalloc(r, sizeof(*state));
    r->state = state;
    r->cleanup = part_copy_cleanup;
    if (s3_headers_unsupported(&r->s3, &r->err) != S3_ERROR_NONE ||
        s3_part_number_read(&r->s3, &state->number, &r->err) != S3_ERROR_NONE ||
        upload_target_read(r, state->upload_id) != S3_ERROR_NONE ||
        copy_source_read(r, &state->source, true) != S3_ERROR_NONE) {
        request_fail(r);
        return;
    }
    upload_target_ask(r, state->upload_id, part_copy_upload_asked);
}
