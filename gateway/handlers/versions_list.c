/*
 * ListObjectVersions.
 *
 *   (version-id-marker is "null") ASKED_NULL -> ASKED -> answered
 *
 * The null version has no sequence in its public id, so its place is looked up before the page is asked for. It may be gone
 * by then: so what a truncated page hands out as NextVersionIdMarker names the place of every version, the null one's too.
 */
#include "gateway/handlers/listing_rows.h"
#include "gateway/handlers/operations.h"

#include "common/base/assert.h"

struct versions_state {
    struct s3_list_params params;
    struct listing_start start;
    uint64_t marker_seq;   /* 0: after all versions of the marker */
};

/* The id that the version would have if it were not the null one: a place that stays when the version goes. */
static struct slice place_marker(struct request *r, const struct meta_list_entry *entry)
{
    if (entry->is_prefix) {
        return SLICE_EMPTY;
    }
    char *text = request_zalloc(r, VERSION_ID_TEXT_BYTES);
    version_id_encode(request_cipher(r), entry->row.seq, entry->row.nonce, false, text);
    return slice_str(text);
}

static void versions_answer(struct request *r, const struct meta_list_reply *reply)
{
    const struct versions_state *state = r->state;
    uint32_t count = reply != NULL && state->params.max > 0 ? reply->count : 0;
    struct s3_list_entry *entries = request_zalloc(r, (count + 1) * sizeof(*entries));
    for (uint32_t i = 0; i < count; i++) {
        entries[i] = listing_entry(r, &reply->entries[i], true);
    }
    struct s3_list_result result = {
        .bucket = r->s3.bucket,
        .params = &state->params,
        .entries = entries,
        .entry_count = count,
        .is_truncated = count > 0 && reply->truncated,
    };
    if (result.is_truncated) {
        result.next_marker = entries[count - 1].key;
        result.next_id_marker = place_marker(r, &reply->entries[count - 1]);
    }
    s3_result_versions(&r->out, &result);
    request_reply_xml(r, 200);
}

static void versions_answered(struct request *r)
{
    const struct request_call *call = r->calls;
    if (request_call_failed(r, call)) {
        return;
    }
    if (call->op.list.outcome != META_OK) {
        request_fail_outcome(r, (enum meta_outcome)call->op.list.outcome);
        return;
    }
    versions_answer(r, &call->op.list);
}

static void versions_answered_nothing(struct request *r)
{
    const struct request_call *call = r->calls;
    if (request_call_failed(r, call)) {
        return;
    }
    if (call->op.buckets.count == 0) {
        request_fail_outcome(r, META_NO_BUCKET);
        return;
    }
    versions_answer(r, NULL);
}

static void versions_ask(struct request *r)
{
    const struct versions_state *state = r->state;
    if (state->params.max == 0 || state->start.nothing) { /* only the bucket has to exist */
        struct meta_query bucket = { .type = META_QRY_BUCKET, .bucket = r->s3.bucket };
        (void)request_query(r, &bucket, versions_answered_nothing); /* found again as r->calls */
        return;
    }
    struct meta_query query = {
        .type = META_QRY_LIST_VERSIONS,
        .bucket = r->s3.bucket,
        .prefix = state->params.prefix,
        .delimiter = state->params.delimiter,
        .marker = state->start.marker,
        .marker_inclusive = state->start.inclusive,
        .marker_seq = state->marker_seq,
        .limit = state->params.max,
    };
    (void)request_query(r, &query, versions_answered); /* found again as r->calls */
}

static void versions_null_found(struct request *r)
{
    struct versions_state *state = r->state;
    const struct request_call *call = r->calls;
    if (request_call_failed(r, call)) {
        return;
    }
    const struct meta_object_reply *reply = &call->op.object;
    /* Gone: where it stood among the versions of the key is not known. Then all of them follow: shown twice, never
     * left out. */
    state->marker_seq = reply->outcome == META_OK ? reply->row.seq : UINT64_MAX;
    versions_ask(r);
}

/* version-id-marker: InvalidArgument without key-marker, empty, or not one of ours. */
static enum s3_error id_marker_read(struct request *r, struct versions_state *state, bool *ret_is_null)
{
    const struct s3_list_params *params = &state->params;
    struct meta_version_ref version;
    *ret_is_null = false;
    if (!params->has_id_marker) {
        return S3_ERROR_NONE;
    }
    if (params->marker.len == 0) {
        return s3_fail_argument(&r->err, "A version-id marker cannot be specified without a key marker.",
                                "version-id-marker", params->id_marker);
    }
    if (version_id_decode(request_cipher(r), params->id_marker, &version) != ERRC_OK) {
        return s3_fail_argument(&r->err, "Invalid version id specified", "version-id-marker", params->id_marker);
    }
    *ret_is_null = version.null_version;
    state->marker_seq = version.seq;
    return S3_ERROR_NONE;
}

void versions_list(struct request *r)
{
    struct versions_state *state = request_zalloc(r, sizeof(*state));
    bool is_null;
    r->state = state;
    if (s3_list_params_read(&r->s3, &state->params, &r->err) != S3_ERROR_NONE ||
        id_marker_read(r, state, &is_null) != S3_ERROR_NONE) {
        request_fail(r);
        return;
    }
    const struct s3_list_params *params = &state->params;
    state->start = params->has_id_marker
                       ? (struct listing_start){ .marker = params->marker }
                       : listing_start_after(&r->scratch, params->marker, params->prefix, params->delimiter);
    if (!is_null) {
        versions_ask(r);
        return;
    }
    struct meta_query query = {
        .type = META_QRY_OBJECT,
        .bucket = r->s3.bucket,
        .key = params->marker,
        .has_version = true,
        .version = { .null_version = true },
    };
    (void)request_query(r, &query, versions_null_found); /* found again as r->calls */
}
