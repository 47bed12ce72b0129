/*
 *   ASKED -> (more wanted and there) ASKED ... -> answered
 *
 * Without parameters the whole list is sent (S3-SURFACE 3), gathered page by page.
 */
#include "gateway/handlers/operations.h"

#include "common/base/assert.h"

#define BUCKETS_PAGE 1000
#define BUCKETS_MAX 10000       /* of max-buckets, and the default where paging is asked for */
#define BUCKETS_WHOLE_MAX 100000 /* of a list without parameters */

struct buckets_state {
    struct slice prefix;
    bool has_prefix;
    uint32_t max;
    struct slice marker;
    struct s3_bucket_entry *entries;
    size_t count, capacity;
    bool truncated;
};

static enum s3_error max_read(struct request *r, const struct s3_param *param, uint32_t *ret_max)
{
    uint32_t max = 0;
    bool bad = param->value.len == 0 || param->value.len > 5;
    for (size_t i = 0; i < param->value.len && !bad; i++) {
        bad = param->value.data[i] < '0' || param->value.data[i] > '9';
        max = max * 10 + (uint32_t)(param->value.data[i] - '0');
    }
    if (bad || max == 0 || max > BUCKETS_MAX) {
        return s3_fail_argument(&r->err, "max-buckets must be from 1 to 10000.", "max-buckets", param->value);
    }
    *ret_max = max;
    return S3_ERROR_NONE;
}

static enum s3_error params_read(struct request *r, struct buckets_state *state)
{
    const struct s3_param *max = s3_param_get(&r->s3, "max-buckets");
    const struct s3_param *token = s3_param_get(&r->s3, "continuation-token");
    const struct s3_param *prefix = s3_param_get(&r->s3, "prefix");
    const struct s3_param *region = s3_param_get(&r->s3, "bucket-region");
    bool paged = max != NULL || token != NULL || prefix != NULL || region != NULL;
    state->max = paged ? BUCKETS_MAX : BUCKETS_WHOLE_MAX;
    if (max != NULL && max_read(r, max, &state->max) != S3_ERROR_NONE) {
        return r->err.code;
    }
    if (region != NULL && region->value.len > 0 && !slice_equal(region->value, request_config(r)->s3.region)) {
        return s3_fail_argument(&r->err, "No such region here.", "bucket-region", region->value);
    }
    if (prefix != NULL) {
        state->prefix = prefix->value;
        state->has_prefix = true;
    }
    if (token != NULL) {
        struct s3_position position;
        if (!s3_token_decode(&r->scratch, request_config(r)->token_key, slice_str("buckets"), token->value,
                             &position)) {
            return s3_fail_argument(&r->err, "The continuation token is not valid.", "continuation-token",
                                    token->value);
        }
        state->marker = position.key;
    }
    return S3_ERROR_NONE;
}

static void buckets_answer(struct request *r, struct buckets_state *state)
{
    struct s3_buckets_result result = {
        .owner = r->owner,
        .buckets = state->entries,
        .bucket_count = state->count,
        .region = request_config(r)->s3.region,
        .prefix = state->prefix,
        .has_prefix = state->has_prefix,
    };
    if (state->truncated && state->count > 0) {
        struct s3_position position = { .key = state->entries[state->count - 1].name };
        result.continuation_token =
            s3_token_encode(&r->scratch, request_config(r)->token_key, slice_str("buckets"), &position);
    }
    s3_result_buckets(&r->out, &result);
    request_reply_xml(r, 200);
}

static bool entries_append(struct request *r, struct buckets_state *state, const struct meta_buckets_reply *reply)
{
    if (state->count + reply->count > state->capacity) {
        size_t capacity = 2 * (state->count + reply->count);
        struct s3_bucket_entry *entries = request_try_zalloc(r, capacity * sizeof(*entries));
        if (entries == NULL) {
            return false;
        }
        if (state->count > 0) {
            memcpy(entries, state->entries, state->count * sizeof(*entries));
        }
        state->entries = entries;
        state->capacity = capacity;
    }
    for (uint32_t i = 0; i < reply->count; i++) {
        state->entries[state->count++] =
            (struct s3_bucket_entry){ reply->buckets[i].name, reply->buckets[i].created_ms };
    }
    return true;
}

static void buckets_ask(struct request *r);

static void buckets_answered(struct request *r)
{
    struct buckets_state *state = r->state;
    const struct request_call *call = r->calls;
    if (request_call_failed(r, call)) {
        return;
    }
    const struct meta_buckets_reply *reply = &call->op.buckets;
    if (!entries_append(r, state, reply)) {
        request_fail_with(r, S3_ERROR_INTERNAL_ERROR, "Too many buckets for one answer.");
        return;
    }
    state->truncated = reply->truncated;
    if (!reply->truncated || state->count >= state->max || reply->count == 0) {
        buckets_answer(r, state);
        return;
    }
    state->marker = state->entries[state->count - 1].name;
    buckets_ask(r);
}

static void buckets_ask(struct request *r)
{
    struct buckets_state *state = r->state;
    uint32_t left = state->max - (uint32_t)state->count;
    struct meta_query query = {
        .type = META_QRY_BUCKETS,
        .prefix = state->prefix,
        .marker = state->marker,
        .limit = left < BUCKETS_PAGE ? left : BUCKETS_PAGE,
    };
    (void)request_query(r, &query, buckets_answered); /* found again as r->calls */
}

void bucket_list(struct request *r)
{
    struct buckets_state *state = request_zalloc(r, sizeof(*state));
    r->state = state;
    if (params_read(r, state) != S3_ERROR_NONE) {
        request_fail(r);
        return;
    }
    buckets_ask(r);
}
