#include "gateway/s3/s3_multipart.h"

#include "common/base/digest.h"
#include "common/base/hex.h"

#include <stdio.h>

bool s3_part_number_parse(struct slice text, uint32_t *ret_number)
{
    uint32_t number = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || i >= 5) {
            return false;
        }
        number = number * 10 + (uint32_t)(text.data[i] - '0');
    }
    *ret_number = number;
    return number >= 1 && number <= S3_PARTS_MAX;
}

enum s3_error s3_part_number_read(const struct s3_request *request, uint32_t *ret_number, struct s3_error_info *err)
{
    const struct s3_param *param = s3_param_get(request, "partNumber");
    struct slice value = param == NULL ? SLICE_EMPTY : param->value;
    if (!s3_part_number_parse(value, ret_number)) {
        return s3_fail_argument(err, "Part number must be an integer between 1 and 10000, inclusive", "partNumber",
                                value);
    }
    return S3_ERROR_NONE;
}

void s3_etag_single(const uint8_t md5[MD5_BYTES], char text[S3_ETAG_BYTES])
{
    hex_encode(md5, MD5_BYTES, text);
}

enum s3_error s3_multipart_rules_make(const struct s3_checksum_request *wanted, struct s3_multipart_rules *ret,
                                      struct s3_error_info *err)
{
    struct s3_multipart_rules rules = { .checksum_kind = wanted->wanted_kind, .checksum_type = wanted->type };
    if (rules.checksum_kind == CHECKSUM_NONE) {
        if (wanted->type != CHECKSUM_TYPE_NONE) {
            return s3_fail(err, S3_ERROR_INVALID_REQUEST,
                           "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.");
        }
        rules.checksum_kind = CHECKSUM_CRC64NVME;
        rules.checksum_type = CHECKSUM_FULL_OBJECT;
        rules.kind_is_default = true;
    }
    if (rules.checksum_type == CHECKSUM_TYPE_NONE) {
        rules.checksum_type = rules.checksum_kind == CHECKSUM_CRC64NVME ? CHECKSUM_FULL_OBJECT : CHECKSUM_COMPOSITE;
    }
    bool is_wrong = rules.checksum_type == CHECKSUM_FULL_OBJECT ? !checksum_combines(rules.checksum_kind)
                                                                : rules.checksum_kind == CHECKSUM_CRC64NVME;
    if (is_wrong) {
        return s3_fail(err, S3_ERROR_INVALID_REQUEST,
                       "The checksum type cannot be used with the specified checksum algorithm.");
    }
    *ret = rules;
    return S3_ERROR_NONE;
}

struct complete_run {
    const struct s3_complete_request *request;
    const struct s3_stored_part *stored;
    size_t stored_count;
    const struct s3_multipart_rules *rules;
    struct arena *arena;
    struct s3_error_info *err;
    size_t at; /* stored parts below are smaller than the listed number */
};

static struct slice complete_number(struct complete_run *run, uint64_t number)
{
    const char *text = arena_format(run->arena, "%llu", (unsigned long long)number);
    return text == NULL ? SLICE_EMPTY : slice_str(text);
}

static enum s3_error complete_invalid_part(struct complete_run *run, const struct s3_complete_part *part)
{
    enum s3_error code = s3_fail(run->err, S3_ERROR_INVALID_PART, NULL);
    s3_error_add(run->err, "UploadId", run->rules->upload_id);
    s3_error_add(run->err, "PartNumber", complete_number(run, part->number));
    s3_error_add(run->err, "ETag", part->etag);
    return code;
}

static enum s3_error complete_check_checksum(struct complete_run *run, const struct s3_complete_part *listed,
                                             const struct s3_stored_part *part, uint32_t index)
{
    bool is_composite = run->rules->checksum_type == CHECKSUM_COMPOSITE && !run->rules->kind_is_default;
    if (is_composite && listed->checksum.kind == CHECKSUM_NONE) {
        return s3_fail(run->err, S3_ERROR_INVALID_REQUEST,
                       "The upload was created using a checksum algorithm. The complete request must include the "
                       "checksum for each part.");
    }
    if (is_composite && listed->number != index + 1) {
        return s3_fail(run->err, S3_ERROR_INVALID_PART_ORDER,
                       "The parts of an upload with a composite checksum are numbered from 1 without gaps.");
    }
    if (listed->checksum.kind != CHECKSUM_NONE && !checksum_equal(&listed->checksum, &part->checksum)) {
        return complete_invalid_part(run, listed);
    }
    return S3_ERROR_NONE;
}

static enum s3_error complete_check_size(struct complete_run *run, const struct s3_complete_part *listed,
                                         const struct s3_stored_part *part, bool is_last)
{
    if (is_last || part->bytes >= S3_PART_BYTES_MIN) {
        return S3_ERROR_NONE;
    }
    enum s3_error code = s3_fail(run->err, S3_ERROR_ENTITY_TOO_SMALL, NULL);
    s3_error_add(run->err, "ProposedSize", complete_number(run, part->bytes));
    s3_error_add(run->err, "MinSizeAllowed", complete_number(run, S3_PART_BYTES_MIN));
    s3_error_add(run->err, "PartNumber", complete_number(run, part->number));
    s3_error_add(run->err, "ETag", listed->etag);
    return code;
}

static enum s3_error complete_find(struct complete_run *run, uint32_t index, uint32_t *ret_stored)
{
    const struct s3_complete_part *listed = &run->request->parts[index];
    char etag[S3_ETAG_BYTES];
    if (listed->number < 1 || listed->number > S3_PARTS_MAX) {
        return complete_invalid_part(run, listed);
    }
    while (run->at < run->stored_count && run->stored[run->at].number < listed->number) {
        run->at++;
    }
    if (run->at == run->stored_count || run->stored[run->at].number != listed->number) {
        return complete_invalid_part(run, listed);
    }
    const struct s3_stored_part *part = &run->stored[run->at];
    s3_etag_single(part->md5, etag);
    if (!slice_equal_str(listed->etag, etag)) {
        return complete_invalid_part(run, listed);
    }
    *ret_stored = (uint32_t)run->at;
    return complete_check_checksum(run, listed, part, index);
}

static void complete_combine(const struct complete_run *run, const uint32_t *indexes, struct s3_completed *ret)
{
    uint8_t md5[MD5_BYTES];
    struct digest digest;
    struct checksum_fold fold;
    enum checksum_kind kind = run->rules->checksum_kind;
    bool is_known = kind != CHECKSUM_NONE;
    digest_init(&digest, DIGEST_MD5);
    for (size_t i = 0; i < run->request->part_count; i++) {
        const struct s3_stored_part *part = &run->stored[indexes[i]];
        digest_update(&digest, part->md5, MD5_BYTES);
        ret->bytes += part->bytes;
        is_known = is_known && part->checksum.kind == kind;
    }
    digest_final(&digest, md5);
    digest_done(&digest);
    ret->part_count = (uint32_t)run->request->part_count;
    hex_encode(md5, MD5_BYTES, ret->etag);
    (void)snprintf(ret->etag + 2 * MD5_BYTES, S3_ETAG_BYTES - 2 * MD5_BYTES, "-%u", ret->part_count);
    if (!is_known) {
        return;
    }
    checksum_fold_init(&fold, kind, run->rules->checksum_type);
    for (size_t i = 0; i < run->request->part_count; i++) {
        const struct s3_stored_part *part = &run->stored[indexes[i]];
        checksum_fold_part(&fold, part->checksum.bytes, part->bytes);
    }
    checksum_fold_final(&fold, &ret->checksum);
}

enum s3_error s3_complete_check(const struct s3_complete_request *request, const struct s3_stored_part *stored,
                                size_t stored_count, const struct s3_multipart_rules *rules, struct arena *arena,
                                uint32_t *ret_indexes, struct s3_completed *ret, struct s3_error_info *err)
{
    struct complete_run run = { request, stored, stored_count, rules, arena, err, 0 };
    if (request->part_count == 0 || request->part_count > S3_PARTS_MAX) {
        return s3_fail(err, S3_ERROR_MALFORMED_XML, NULL);
    }
    for (uint32_t i = 1; i < request->part_count; i++) {
        if (request->parts[i].number <= request->parts[i - 1].number) {
            return s3_fail(err, S3_ERROR_INVALID_PART_ORDER, NULL);
        }
    }
    for (uint32_t i = 0; i < request->part_count; i++) {
        enum s3_error code = complete_find(&run, i, &ret_indexes[i]);
        if (code != S3_ERROR_NONE) {
            return code;
        }
    }
    for (uint32_t i = 0; i < request->part_count; i++) {
        enum s3_error code = complete_check_size(&run, &request->parts[i], &stored[ret_indexes[i]],
                                                 i + 1 == request->part_count);
        if (code != S3_ERROR_NONE) {
            return code;
        }
    }
    struct s3_completed completed = { .bytes = 0 };
    complete_combine(&run, ret_indexes, &completed);
    *ret = completed;
    return S3_ERROR_NONE;
}
