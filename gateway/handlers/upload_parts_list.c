/*   ListParts: ASKED -> answered.                                                                       */
#include "gateway/handlers/operations.h"
#include "gateway/handlers/upload_target.h"

#include "common/base/assert.h"
#include "common/base/hex.h"

struct parts_state {
    uint8_t upload_id[UPLOAD_ID_BYTES];
    uint32_t marker;
    uint32_t max;
    bool url_encoding;
};

static void part_entry(struct request *r, const struct meta_part *part, bool show_checksum, struct s3_part_entry *ret)
{
    char *etag = request_zalloc(r, 2 * MD5_BYTES + 1);
    ASSERT(part->etag_md5.len == MD5_BYTES);
    hex_encode(part->etag_md5.data, MD5_BYTES, etag);
    *ret = (struct s3_part_entry){
        .number = part->number,
        .modified_ms = part->mtime_ms,
        .etag = slice_str(etag),
        .bytes = part->size,
    };
    if (show_checksum) {
        checksum_from_meta(&part->checksum, &ret->checksum);
    }
}

static void parts_answered(struct request *r)
{
    const struct parts_state *state = r->state;
    const struct request_call *call = r->calls;
    if (request_call_failed(r, call)) {
        return;
    }
    const struct meta_parts_reply *reply = &call->op.parts;
    if (reply->outcome != META_OK) {
        request_fail_outcome(r, (enum meta_outcome)reply->outcome);
        return;
    }
    struct s3_multipart_rules rules = upload_target_rules(r, &reply->upload.row);
    uint32_t count = state->max == 0 ? 0 : reply->count;
    struct s3_part_entry *parts = request_zalloc(r, (count + 1) * sizeof(*parts));
    for (uint32_t i = 0; i < count; i++) {
        part_entry(r, &reply->parts[i], !rules.kind_is_default, &parts[i]);
    }
    struct slice storage_class = reply->upload.row.storage_class;
    struct s3_parts_result result = {
        .bucket = r->s3.bucket,
        .key = r->s3.key,
        .upload_id = rules.upload_id,
        .owner = r->owner,
        .storage_class = storage_class.len > 0 ? storage_class : slice_str("STANDARD"),
        .part_number_marker = state->marker,
        .max_parts = state->max,
        .is_truncated = count > 0 && reply->truncated,
        .url_encoding = state->url_encoding,
        .parts = parts,
        .part_count = count,
        .checksum_kind = rules.kind_is_default ? CHECKSUM_NONE : rules.checksum_kind,
        .checksum_type = rules.kind_is_default ? CHECKSUM_TYPE_NONE : rules.checksum_type,
    };
    s3_result_parts(&r->out, &result);
    request_reply_xml(r, 200);
}

static enum s3_error marker_read(struct request *r, uint32_t *ret_marker)
{
    const struct s3_param *param = s3_param_get(&r->s3, "part-number-marker");
    uint32_t marker = 0;
    if (param == NULL) {
        *ret_marker = 0;
        return S3_ERROR_NONE;
    }
    for (size_t i = 0; i < param->value.len; i++) {
        if (param->value.data[i] < '0' || param->value.data[i] > '9' || i >= 9) {
            return s3_fail_argument(&r->err, "The marker is not a number.", "part-number-marker", param->value);
        }
        marker = marker * 10 + (uint32_t)(param->value.data[i] - '0');
    }
    *ret_marker = marker;
    return S3_ERROR_NONE;
}

void upload_parts_list(struct request *r)
{
    struct parts_state *state = request_zalloc(r, sizeof(*state));
    r->state = state;
    const struct s3_param *encoding = s3_param_get(&r->s3, "encoding-type");
    if (upload_target_read(r, state->upload_id) != S3_ERROR_NONE || marker_read(r, &state->marker) != S3_ERROR_NONE ||
        s3_count_param_read(&r->s3, "max-parts", &state->max, &r->err) != S3_ERROR_NONE) {
        request_fail(r);
        return;
    }
    state->url_encoding = encoding != NULL && slice_equal_str(encoding->value, "url");
    struct meta_query query = {
        .type = META_QRY_LIST_PARTS,
        .bucket_id = r->bucket.id,
        .key = r->s3.key,
        .part_number = (uint16_t)(state->marker < PARTS_MAX ? state->marker : PARTS_MAX),
        .limit = state->max == 0 ? 1 : state->max,
    };
    memcpy(query.upload_id, state->upload_id, UPLOAD_ID_BYTES);
    (void)request_query(r, &query, parts_answered); /* found again as r->calls */
}
