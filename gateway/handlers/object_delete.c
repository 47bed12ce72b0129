/*   PROPOSED -> answered. Conditions are decided at commit, against the current version.               */
#include "gateway/handlers/object_record.h"
#include "gateway/handlers/operations.h"

#include "gateway/s3/s3_time.h"

struct delete_state {
    bool has_version;
    struct meta_version_ref version;
    struct slice version_text;
    struct meta_conditions conditions;
};

static bool digits_read(struct slice text, uint64_t *ret_value)
{
    uint64_t value = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || i >= 18) {
            return false;
        }
        value = value * 10 + (uint64_t)(text.data[i] - '0');
    }
    *ret_value = value;
    return text.len > 0;
}

/* Directory buckets have these on AWS; here every bucket does (S3-SURFACE 4.11). */
static enum s3_error extra_conditions_read(struct request *r, struct meta_conditions *conditions)
{
    struct slice text;
    uint64_t time_ms;
    if (s3_value_get(&r->s3, "x-amz-if-match-size", &text)) {
        if (!digits_read(text, &conditions->size)) {
            return s3_fail_argument(&r->err, "The size is not a number.", "x-amz-if-match-size", text);
        }
        conditions->has_size = true;
    }
    if (s3_value_get(&r->s3, "x-amz-if-match-last-modified-time", &text)) {
        if (!s3_time_parse_http(text, &time_ms) && !s3_time_parse_iso(text, &time_ms)) {
            return s3_fail_argument(&r->err, "The time is not valid.", "x-amz-if-match-last-modified-time", text);
        }
        conditions->has_mtime = true;
        conditions->mtime_s = time_ms / 1000;
    }
    return S3_ERROR_NONE;
}

static void delete_decided(struct request *r)
{
    struct delete_state *state = r->state;
    const struct request_call *call = r->calls;
    if (request_call_failed(r, call)) {
        return;
    }
    const struct meta_result *result = &call->op.result;
    bool absent = result->outcome == META_NO_VERSION ||
                  (result->outcome == META_NO_KEY && !object_conditions_any(&state->conditions));
    if (result->outcome != META_OK && !absent) {
        object_write_refused(r, &state->conditions, (enum meta_outcome)result->outcome);
        return;
    }
    if (result->outcome == META_OK && result->delete_marker) {
        request_header_str(r, "x-amz-delete-marker", "true");
    }
    if (state->has_version) {
        (void)request_header(r, "x-amz-version-id", state->version_text); /* it decoded: plain text */
    } else if (result->outcome == META_OK && result->made_marker) {
        request_header_version(r, "x-amz-version-id", result->seq, result->nonce, result->null_version);
    }
    request_reply_empty(r, 204);
}

static enum s3_error delete_read(struct request *r, struct delete_state *state)
{
    if (s3_headers_unsupported(&r->s3, &r->err) != S3_ERROR_NONE ||
        object_version_read(r, &state->has_version, &state->version) != S3_ERROR_NONE ||
        object_conditions_read(r, true, &state->conditions) != S3_ERROR_NONE ||
        extra_conditions_read(r, &state->conditions) != S3_ERROR_NONE) {
        return r->err.code;
    }
    if (state->has_version && object_conditions_any(&state->conditions)) {
        return s3_fail(&r->err, S3_ERROR_NOT_IMPLEMENTED, "A condition together with versionId is not offered.");
    }
    state->version_text = state->has_version ? s3_param_get(&r->s3, "versionId")->value : SLICE_EMPTY;
    return S3_ERROR_NONE;
}

void object_delete(struct request *r)
{
    struct delete_state *state = request_zalloc(r, sizeof(*state));
    r->state = state;
    if (delete_read(r, state) != S3_ERROR_NONE) {
        request_fail(r);
        return;
    }
    struct meta_command command = { .type = META_CMD_OBJECT_DELETE };
    command.object_delete = (struct meta_object_delete){
        .bucket_id = r->bucket.id,
        .key = r->s3.key,
        .has_version = state->has_version,
        .version = state->version,
        .conditions = state->conditions,
        .mtime_ms = env_wall_ms(request_config(r)->env),
    };
    env_random(request_config(r)->env, &command.object_delete.nonce, sizeof(command.object_delete.nonce));
    (void)request_propose(r, &command, delete_decided); /* found again as r->calls */
}
