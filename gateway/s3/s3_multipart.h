/* s3_multipart - part rules, ETags and checksums of completed uploads (S3-SURFACE 4.4, 4.12). */
#ifndef GATEWAY_S3_MULTIPART_H
#define GATEWAY_S3_MULTIPART_H

#include "common/base/checksum.h"
#include "gateway/s3/s3_headers.h"
#include "gateway/s3/s3_request.h"
#include "gateway/s3/s3_xml_read.h"

#include <stdint.h>

#define S3_PART_BYTES_MIN (5ull << 20) /* but for the last */
#define S3_PART_BYTES_MAX (5ull << 30)
#define S3_PUT_BYTES_MAX (5ull << 30)
#define S3_ETAG_BYTES 40 /* 32 digits, "-10000", terminator */

struct s3_stored_part {
    uint32_t number; /* 1..10000 */
    uint64_t bytes;
    uint8_t md5[MD5_BYTES];
    struct checksum_value checksum; /* of the upload's algorithm; NONE if there is none */
};

struct s3_multipart_rules {
    enum checksum_kind checksum_kind; /* of the upload; NONE: none */
    enum checksum_type checksum_type;
    bool kind_is_default;             /* nobody asked for one: CRC64NVME is ours */
    struct slice upload_id;           /* for error elements */
};

struct s3_completed {
    uint64_t bytes;
    uint32_t part_count;
    char etag[S3_ETAG_BYTES];       /* "hex-N", without quotes */
    struct checksum_value checksum; /* kind NONE when it cannot be known */
};

/* 1..10000 in decimal. */
bool s3_part_number_parse(struct slice text, uint32_t *ret_number);
/* partNumber of the request; InvalidArgument. */
MUST_CHECK enum s3_error s3_part_number_read(const struct s3_request *request, uint32_t *ret_number,
                                             struct s3_error_info *err);

/*
 * Checks a Complete list against the stored parts and computes what the object will be.
 * stored   ascending by number, unique; parts that are not listed are ignored
 * ret_indexes  request->part_count entries: which stored part each listed one is
 * Errors   MalformedXML (empty), InvalidPartOrder, InvalidPart, EntityTooSmall, InvalidRequest
 */
MUST_CHECK enum s3_error s3_complete_check(const struct s3_complete_request *request,
                                           const struct s3_stored_part *stored, size_t stored_count,
                                           const struct s3_multipart_rules *rules, struct arena *arena,
                                           uint32_t *ret_indexes, struct s3_completed *ret,
                                           struct s3_error_info *err);

/* Checksum headers of CreateMultipartUpload to rules (4.12): which algorithm, which type. InvalidRequest. */
MUST_CHECK enum s3_error s3_multipart_rules_make(const struct s3_checksum_request *wanted,
                                                 struct s3_multipart_rules *ret,
                                                 struct s3_error_info *err);

void s3_etag_single(const uint8_t md5[MD5_BYTES], char text[S3_ETAG_BYTES]);

#endif
