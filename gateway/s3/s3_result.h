/*
 * s3_result - result documents of the core operations, from plain structs.
 *
 * ETags come without quotes and get them; times are milliseconds since 1970. Every function appends
 * one whole document to `out`.  Source: S3-SURFACE 3 and 4.4-4.8.
 */
#ifndef GATEWAY_S3_RESULT_H
#define GATEWAY_S3_RESULT_H

#include "common/base/checksum.h"
#include "common/base/codec.h"
#include "gateway/s3/s3_error.h"
#include "gateway/s3/s3_listing.h"
#include "gateway/s3/s3_xml_read.h"

#include <stdbool.h>
#include <stdint.h>

struct s3_owner {
    struct slice id;           /* canonical id, 64 hex digits */
    struct slice display_name; /* empty: left out */
};

struct s3_bucket_entry {
    struct slice name;
    uint64_t created_ms;
};

struct s3_buckets_result {
    struct s3_owner owner;
    const struct s3_bucket_entry *buckets;
    size_t bucket_count;
    struct slice region;             /* BucketRegion, empty: left out */
    struct slice continuation_token; /* of the next page, empty: none */
    struct slice prefix;
    bool has_prefix;
};
void s3_result_buckets(struct enc *out, const struct s3_buckets_result *result);

/* One entry of an object or version listing, in listing order. */
struct s3_list_entry {
    bool is_prefix; /* only key is used */
    struct slice key;
    struct slice etag;
    uint64_t modified_ms;
    uint64_t bytes;
    struct slice storage_class;
    enum checksum_kind checksum_kind;
    enum checksum_type checksum_type;
    struct s3_owner owner;
    /* versions */
    struct slice version_id;
    bool is_latest;
    bool is_delete_marker;
};

struct s3_list_result {
    struct slice bucket;
    const struct s3_list_params *params;
    const struct s3_list_entry *entries;
    size_t entry_count;
    bool is_truncated;
    struct slice next_marker; /* v1: last entry; versions: NextKeyMarker */
    struct slice next_id_marker; /* versions: NextVersionIdMarker, may be empty */
    struct slice next_token;  /* v2 */
};
void s3_result_list(struct enc *out, const struct s3_list_result *result);    /* v1 */
void s3_result_list_v2(struct enc *out, const struct s3_list_result *result); /* v2 */
void s3_result_versions(struct enc *out, const struct s3_list_result *result);

struct s3_upload_entry {
    bool is_prefix; /* only key is used */
    struct slice key;
    struct slice upload_id;
    uint64_t initiated_ms;
    struct slice storage_class;
    struct s3_owner owner; /* also the initiator */
    enum checksum_kind checksum_kind;
    enum checksum_type checksum_type;
};

struct s3_uploads_result {
    struct slice bucket;
    const struct s3_list_params *params;
    const struct s3_upload_entry *entries;
    size_t entry_count;
    bool is_truncated;
    struct slice next_key_marker;
    struct slice next_upload_id_marker;
};
void s3_result_uploads(struct enc *out, const struct s3_uploads_result *result);

struct s3_part_entry {
    uint32_t number;
    uint64_t modified_ms;
    struct slice etag;
    uint64_t bytes;
    struct checksum_value checksum;
};

struct s3_parts_result {
    struct slice bucket, key, upload_id;
    struct s3_owner owner; /* also the initiator */
    struct slice storage_class;
    uint32_t part_number_marker;
    uint32_t max_parts;
    bool is_truncated; /* NextPartNumberMarker is the last number shown */
    bool url_encoding;
    const struct s3_part_entry *parts;
    size_t part_count;
    enum checksum_kind checksum_kind;
    enum checksum_type checksum_type;
};
void s3_result_parts(struct enc *out, const struct s3_parts_result *result);

void s3_result_initiate(struct enc *out, struct slice bucket, struct slice key, struct slice upload_id);
void s3_result_complete(struct enc *out, struct slice location, struct slice bucket, struct slice key,
                        struct slice etag, const struct checksum_value *checksum);
void s3_result_copy(struct enc *out, struct slice etag, uint64_t modified_ms,
                    const struct checksum_value *checksum);
void s3_result_copy_part(struct enc *out, struct slice etag, uint64_t modified_ms,
                         const struct checksum_value *checksum);

struct s3_deleted_entry {
    struct slice key;
    struct slice version_id; /* as asked, empty: none */
    enum s3_error error;     /* S3_ERROR_NONE: deleted */
    const char *message;     /* NULL: the default of error */
    bool is_delete_marker;
    struct slice marker_version_id; /* empty: none */
};
void s3_result_delete(struct enc *out, bool quiet, const struct s3_deleted_entry *entries, size_t count);

void s3_result_location(struct enc *out, struct slice region); /* us-east-1: empty element */
void s3_result_versioning(struct enc *out, enum s3_versioning versioning);

#endif
