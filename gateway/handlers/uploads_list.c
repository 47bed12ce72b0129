/*   ListMultipartUploads: ASKED -> answered. Uploads and common prefixes come apart and are merged by key.  */
#include "gateway/handlers/listing_rows.h"
#include "gateway/handlers/operations.h"

#include "common/base/assert.h"

struct uploads_state {
    struct s3_list_params params;
};

static struct s3_upload_entry upload_entry(struct request *r, const struct meta_upload *upload)
{
    char *id = request_zalloc(r, VERSION_ID_TEXT_BYTES);
    upload_id_encode(upload->upload_id, id);
    const struct meta_row *row = &upload->row;
    struct s3_upload_entry entry = {
        .key = upload->key,
        .upload_id = slice_str(id),
        .initiated_ms = upload->initiated_ms,
        .storage_class = row->storage_class.len > 0 ? row->storage_class : slice_str("STANDARD"),
        .owner = r->owner,
    };
    if (row->checksum_algorithm < CHECKSUM_KIND_COUNT) {
        entry.checksum_kind = (enum checksum_kind)row->checksum_algorithm;
        entry.checksum_type = checksum_type_from_meta(row->checksum_algorithm, row->checksum_type);
    }
    return entry;
}

/* By key; an upload never has the same key as a prefix that was folded from others. */
static size_t entries_merge(struct request *r, const struct meta_uploads_reply *reply, struct s3_upload_entry *entries)
{
    uint32_t upload = 0;
    uint32_t prefix = 0;
    size_t count = 0;
    while (upload < reply->count || prefix < reply->prefix_count) {
        bool take_prefix = upload == reply->count ||
                           (prefix < reply->prefix_count &&
                            slice_compare(reply->prefixes[prefix], reply->uploads[upload].key) < 0);
        entries[count++] = take_prefix ? (struct s3_upload_entry){ .is_prefix = true, .key = reply->prefixes[prefix] }
                                       : upload_entry(r, &reply->uploads[upload]);
        prefix += take_prefix;
        upload += !take_prefix;
    }
    return count;
}

static void uploads_answer(struct request *r, const struct meta_uploads_reply *reply)
{
    const struct uploads_state *state = r->state;
    size_t room = reply != NULL ? (size_t)reply->count + reply->prefix_count : 0;
    struct s3_upload_entry *entries = request_zalloc(r, (room + 1) * sizeof(*entries));
    size_t count = reply != NULL ? entries_merge(r, reply, entries) : 0;
    struct s3_uploads_result result = {
        .bucket = r->s3.bucket,
        .params = &state->params,
        .entries = entries,
        .entry_count = count,
        .is_truncated = count > 0 && reply->truncated,
    };
    if (result.is_truncated) {
        result.next_key_marker = entries[count - 1].key;
        result.next_upload_id_marker = entries[count - 1].upload_id; /* empty for a prefix */
    }
    s3_result_uploads(&r->out, &result);
    request_reply_xml(r, 200);
}

static void uploads_answered(struct request *r)
{
    const struct request_call *call = r->calls;
    if (request_call_failed(r, call)) {
        return;
    }
    if (call->op.uploads.outcome != META_OK) {
        request_fail_outcome(r, (enum meta_outcome)call->op.uploads.outcome);
        return;
    }
    uploads_answer(r, &call->op.uploads);
}

static void uploads_answered_nothing(struct request *r)
{
    const struct request_call *call = r->calls;
    if (request_call_failed(r, call)) {
        return;
    }
    if (call->op.buckets.count == 0) {
        request_fail_outcome(r, META_NO_BUCKET);
        return;
    }
    uploads_answer(r, NULL);
}

void uploads_list(struct request *r)
{
    struct uploads_state *state = request_zalloc(r, sizeof(*state));
    uint8_t id[UPLOAD_ID_BYTES] = { 0 };
    r->state = state;
    struct s3_list_params *params = &state->params;
    if (s3_list_params_read(&r->s3, params, &r->err) != S3_ERROR_NONE) {
        request_fail(r);
        return;
    }
    bool inside = params->marker.len > 0 && params->has_id_marker && params->id_marker.len > 0;
    if (inside && !upload_id_decode(params->id_marker, id)) {
        (void)s3_fail_argument(&r->err, "Invalid uploadId marker", "upload-id-marker", params->id_marker);
        request_fail(r);
        return;
    }
    struct listing_start start =
        inside ? (struct listing_start){ .marker = params->marker }
               : listing_start_after(&r->scratch, params->marker, params->prefix, params->delimiter);
    if (params->max == 0 || start.nothing) { /* only the bucket has to exist */
        struct meta_query bucket = { .type = META_QRY_BUCKET, .bucket = r->s3.bucket };
        (void)request_query(r, &bucket, uploads_answered_nothing); /* found again as r->calls */
        return;
    }
    struct meta_query query = {
        .type = META_QRY_LIST_UPLOADS,
        .bucket = r->s3.bucket,
        .prefix = params->prefix,
        .delimiter = params->delimiter,
        .marker = start.marker,
        .marker_inclusive = start.inclusive,
        .limit = params->max,
    };
    memcpy(query.upload_id, id, sizeof(id)); /* zero: after all uploads of the marker */
    (void)request_query(r, &query, uploads_answered); /* found again as r->calls */
}
