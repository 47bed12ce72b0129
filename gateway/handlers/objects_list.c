/*
 * ListObjects and ListObjectsV2: one query, one document.
 *
 *   ASKED -> answered
 */
#include "gateway/handlers/listing_rows.h"
#include "gateway/handlers/operations.h"

#include "common/base/assert.h"

struct list_state {
    struct s3_list_params params;
    bool is_v2;
};

static struct slice token_scope(const struct request *r)
{
    return r->s3.bucket;
}

/* Where the page begins; InvalidArgument for a token that is not ours. */
static enum s3_error start_find(struct request *r, const struct list_state *state, struct listing_start *ret)
{
    const struct s3_list_params *params = &state->params;
    struct slice after = state->is_v2 ? params->start_after : params->marker;
    if (!state->is_v2 || !params->has_token) {
        *ret = listing_start_after(&r->scratch, after, params->prefix, params->delimiter);
        return S3_ERROR_NONE;
    }
    struct s3_position position;
    if (!s3_token_decode(&r->scratch, request_config(r)->token_key, token_scope(r), params->token, &position)) {
        return s3_fail_argument(&r->err, "The continuation token provided is incorrect", "continuation-token",
                                params->token);
    }
    *ret = position.is_prefix ? listing_start_past(&r->scratch, position.key)
                              : (struct listing_start){ .marker = position.key };
    return S3_ERROR_NONE;
}

static void list_answer(struct request *r, const struct list_state *state, const struct meta_list_reply *reply)
{
    bool none = state->params.max == 0 || reply == NULL;
    uint32_t count = none ? 0 : reply->count;
    struct s3_list_entry *entries = request_zalloc(r, (count + 1) * sizeof(*entries));
    for (uint32_t i = 0; i < count; i++) {
        entries[i] = listing_entry(r, &reply->entries[i], false);
    }
    struct s3_list_result result = {
        .bucket = r->s3.bucket,
        .params = &state->params,
        .entries = entries,
        .entry_count = count,
        .is_truncated = count > 0 && reply->truncated,
    };
    if (result.is_truncated) {
        const struct s3_list_entry *last = &entries[count - 1];
        struct s3_position position = { .key = last->key, .is_prefix = last->is_prefix };
        result.next_marker = last->key;
        result.next_token = s3_token_encode(&r->scratch, request_config(r)->token_key, token_scope(r), &position);
    }
    if (state->is_v2) {
        s3_result_list_v2(&r->out, &result);
    } else {
        s3_result_list(&r->out, &result);
    }
    request_reply_xml(r, 200);
}

static void list_answered(struct request *r)
{
    const struct list_state *state = r->state;
    const struct request_call *call = r->calls;
    if (request_call_failed(r, call)) {
        return;
    }
    if (call->op.list.outcome != META_OK) {
        request_fail_outcome(r, (enum meta_outcome)call->op.list.outcome);
        return;
    }
    list_answer(r, state, &call->op.list);
}

static void list_answered_nothing(struct request *r)
{
    const struct request_call *call = r->calls;
    if (request_call_failed(r, call)) {
        return;
    }
    if (call->op.buckets.count == 0) {
        request_fail_outcome(r, META_NO_BUCKET);
        return;
    }
    list_answer(r, r->state, NULL);
}

void objects_list(struct request *r)
{
    struct list_state *state = request_zalloc(r, sizeof(*state));
    struct listing_start start = { .nothing = false };
    r->state = state;
    state->is_v2 = r->s3.operation == S3_OPERATION_LIST_OBJECTS_V2;
    if (s3_list_params_read(&r->s3, &state->params, &r->err) != S3_ERROR_NONE ||
        start_find(r, state, &start) != S3_ERROR_NONE) {
        request_fail(r);
        return;
    }
    if (state->params.max == 0 || start.nothing) { /* only the bucket has to exist */
        struct meta_query bucket = { .type = META_QRY_BUCKET, .bucket = r->s3.bucket };
        (void)request_query(r, &bucket, list_answered_nothing); /* found again as r->calls */
        return;
    }
    struct meta_query query = {
        .type = META_QRY_LIST,
        .bucket = r->s3.bucket,
        .prefix = state->params.prefix,
        .delimiter = state->params.delimiter,
        .marker = start.marker,
        .marker_inclusive = start.inclusive,
        .limit = state->params.max,
    };
    (void)request_query(r, &query, list_answered); /* found again as r->calls */
}
