/* upload_target - the upload that a request names, and its record (UploadPart, copies, Complete, Abort, ListParts). */
#ifndef GATEWAY_HANDLERS_UPLOAD_TARGET_H
#define GATEWAY_HANDLERS_UPLOAD_TARGET_H

#include "gateway/handlers/handler_request.h"
#include "gateway/s3/s3_multipart.h"

/* uploadId of the query. NoSuchUpload for what can't be one. */
MUST_CHECK enum s3_error upload_target_read(struct request *r, uint8_t ret_id[UPLOAD_ID_BYTES]);
/* META_QRY_UPLOAD; `next` finds the answer in r->calls. */
void upload_target_ask(struct request *r, const uint8_t id[UPLOAD_ID_BYTES], request_step *next);
/* Checksum rules as the record holds them: algorithm 0 means that nobody asked, CRC64NVME is ours. */
struct s3_multipart_rules upload_target_rules(struct request *r, const struct meta_row *row);
/* UploadPart: a COMPOSITE upload wants its algorithm declared with each part. InvalidRequest. */
MUST_CHECK enum s3_error upload_target_part_check(struct request *r, const struct s3_multipart_rules *rules);

#endif
