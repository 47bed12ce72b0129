#include "gateway/handlers/upload_target.h"

enum s3_error upload_target_read(struct request *r, uint8_t ret_id[UPLOAD_ID_BYTES])
{
    const struct s3_param *param = s3_param_get(&r->s3, "uploadId");
    if (param == NULL || !upload_id_decode(param->value, ret_id)) {
        return s3_fail(&r->err, S3_ERROR_NO_SUCH_UPLOAD, NULL);
    }
    return S3_ERROR_NONE;
}

void upload_target_ask(struct request *r, const uint8_t id[UPLOAD_ID_BYTES], request_step *next)
{
    struct meta_query query = { .type = META_QRY_UPLOAD, .bucket_id = r->bucket.id, .key = r->s3.key };
    memcpy(query.upload_id, id, UPLOAD_ID_BYTES);
    (void)request_query(r, &query, next); /* found again as r->calls */
}

struct s3_multipart_rules upload_target_rules(struct request *r, const struct meta_row *row)
{
    bool is_default = row->checksum_algorithm == CHECKSUM_NONE || row->checksum_algorithm >= CHECKSUM_KIND_COUNT;
    const struct s3_param *id = s3_param_get(&r->s3, "uploadId");
    return (struct s3_multipart_rules){
        .checksum_kind = is_default ? CHECKSUM_CRC64NVME : (enum checksum_kind)row->checksum_algorithm,
        .checksum_type = is_default ? CHECKSUM_FULL_OBJECT
                                    : checksum_type_from_meta(row->checksum_algorithm, row->checksum_type),
        .kind_is_default = is_default,
        .upload_id = id != NULL ? id->value : SLICE_EMPTY,
    };
}

enum s3_error upload_target_part_check(struct request *r, const struct s3_multipart_rules *rules)
{
    const struct s3_checksum_request *wanted = &r->body.wanted;
    enum checksum_kind declared = wanted->value.kind != CHECKSUM_NONE ? wanted->value.kind : wanted->trailer_kind;
    if (rules->kind_is_default || declared == rules->checksum_kind) {
        return S3_ERROR_NONE;
    }
    if (declared != CHECKSUM_NONE) {
        return s3_fail(&r->err, S3_ERROR_INVALID_REQUEST,
                       "The checksum algorithm of the part is not that of the upload.");
    }
    if (rules->checksum_type == CHECKSUM_COMPOSITE) {
        return s3_fail(&r->err, S3_ERROR_INVALID_REQUEST,
                       "The upload was created with a composite checksum: every part has to carry one.");
    }
    return S3_ERROR_NONE;
}
