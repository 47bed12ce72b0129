/*
 * s3_headers - what a request says about the object in its headers (S3-SURFACE 1.4, 1.8, 4.1, 4.5).
 *
 * Every value that will be sent out again is checked for CR, LF and NUL here.
 * Memory: views of the request, or of its arena where something had to be decoded or joined.
 */
#ifndef GATEWAY_S3_HEADERS_H
#define GATEWAY_S3_HEADERS_H

#include "common/base/checksum.h"
#include "gateway/s3/s3_request.h"

#include <stdbool.h>
#include <stdint.h>

#define S3_METADATA_BYTES_MAX 2048        /* names and values of x-amz-meta-*, without that prefix */
#define S3_SYSTEM_METADATA_BYTES_MAX 2048

struct s3_meta {
    struct slice name; /* lower case, without x-amz-meta- */
    struct slice value; /* decoded: UTF-8 */
};

struct s3_object_headers {
    struct slice content_type; /* empty: absent; GET then answers binary/octet-stream */
    struct slice cache_control;
    struct slice content_disposition;
    struct slice content_encoding; /* without aws-chunked */
    struct slice content_language;
    struct slice expires;       /* the text as sent */
    struct slice redirect;      /* x-amz-website-redirect-location */
    struct slice storage_class; /* "STANDARD" when absent; whether there is such a one is not known here */
    struct s3_meta *meta;       /* sorted by name, names unique */
    size_t meta_count;
};

/* Errors: MetadataTooLarge, InvalidStorageClass, InvalidArgument, RequestHeaderSectionTooLarge. */
MUST_CHECK enum s3_error s3_object_headers_read(const struct s3_request *request,
                                                struct s3_object_headers *ret_headers,
                                                struct s3_error_info *err);

/* Value of a metadata header on the way out: the text itself, or RFC 2047 when it is not ASCII. A
 * value that no header can carry (controls) gives false: leave it out, count x-amz-missing-meta. */
bool s3_meta_header_value(struct arena *arena, struct slice value, struct slice *ret_text);

bool s3_storage_class_archive(struct slice name); /* objects would have to be restored before a read */
bool s3_storage_class_valid(struct slice name); /* a name S3 knows; an operator may have given others a meaning */


/* Content-MD5. *ret_present false when absent. InvalidDigest. */
MUST_CHECK enum s3_error s3_content_md5_read(const struct s3_request *request, bool *ret_present,
                                             uint8_t ret_md5[MD5_BYTES], struct s3_error_info *err);

struct s3_checksum_request {
    struct checksum_value value;      /* kind NONE: no value in a header */
    enum checksum_kind trailer_kind;  /* from x-amz-trailer, NONE: none */
    enum checksum_kind wanted_kind;   /* from x-amz-sdk-checksum-algorithm or x-amz-checksum-algorithm */
    enum checksum_type type;          /* from x-amz-checksum-type, NONE: absent */
};
/* Checks combinations of 4.12 that need no body. InvalidRequest, InvalidArgument, BadDigest. */
MUST_CHECK enum s3_error s3_checksum_request_read(const struct s3_request *request,
                                                  struct s3_checksum_request *ret,
                                                  struct s3_error_info *err);

/* True when Content-MD5 or a checksum header or trailer is there (S3-SURFACE 1.8). */
bool s3_has_integrity(const struct s3_request *request);

struct s3_copy_source {
    struct slice bucket;
    struct slice key;
    struct slice version_id; /* empty: current */
};
/* InvalidArgument, InvalidBucketName, KeyTooLongError, InvalidRequest (access point ARN). */
MUST_CHECK enum s3_error s3_copy_source_read(const struct s3_request *request,
                                             struct s3_copy_source *ret, struct s3_error_info *err);

/* response-content-type and its like for GET and HEAD: empty slices when absent. InvalidArgument
 * on CR, LF, NUL. */
struct s3_overrides {
    struct slice content_type, content_language, expires, cache_control, content_disposition,
        content_encoding;
};
MUST_CHECK enum s3_error s3_overrides_read(const struct s3_request *request, struct s3_overrides *ret,
                                           struct s3_error_info *err);

/*
 * NotImplemented for headers whose feature is not there yet: SSE of any kind, tagging, object lock,
 * ACLs other than private, grants, website redirect on other than objects, MFA. Never store plain
 * what was asked to be encrypted, never drop a lock. S3_ERROR_NONE when there is none.
 */
MUST_CHECK enum s3_error s3_headers_unsupported(const struct s3_request *request,
                                                struct s3_error_info *err);

/* x-amz-expected-bucket-owner (or the source's): AccessDenied, InvalidBucketOwnerAWSAccountID. */
MUST_CHECK enum s3_error s3_expected_owner_check(const struct s3_request *request, const char *header,
                                                 struct slice account, struct s3_error_info *err);

#endif
