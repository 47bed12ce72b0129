/*
 * s3_xml_read - XML request bodies to structs (the only user of libxml2).
 *
 * No DTD, no entities but the five predefined, no network, depth at most 32; a DOCTYPE is refused.
 * Local names are matched; the namespace is ours, its https form, or none. Errors are MalformedXML,
 * MissingRequestBodyError (empty) and MaxMessageLengthExceeded (too large).
 * Memory: everything is copied into the arena.
 */
#ifndef GATEWAY_S3_XML_READ_H
#define GATEWAY_S3_XML_READ_H

#include "common/base/arena.h"
#include "common/base/checksum.h"
#include "gateway/s3/s3_error.h"

#include <stdbool.h>
#include <stdint.h>

#define S3_XML_DEPTH_MAX 32
#define S3_XML_BYTES_MAX (1u << 20)
#define S3_XML_DELETE_BYTES_MAX (2u << 20)
#define S3_XML_COMPLETE_BYTES_MAX (4u << 20)
#define S3_DELETE_OBJECTS_MAX 1000
#define S3_PARTS_MAX 10000

struct s3_complete_part {
    uint32_t number;
    struct slice etag;           /* without quotes */
    struct checksum_value checksum; /* kind NONE: none given */
};

struct s3_complete_request {
    struct s3_complete_part *parts;
    size_t part_count;
};
/* Order of the numbers and what is stored: s3_complete_check(). */
MUST_CHECK enum s3_error s3_xml_read_complete(struct arena *arena, struct slice body,
                                              struct s3_complete_request *ret,
                                              struct s3_error_info *err);

struct s3_delete_entry {
    struct slice key;
    struct slice version_id; /* empty: none */
    struct slice etag;       /* without quotes, "*" possible; empty: none */
    bool has_size, has_modified;
    uint64_t size;
    uint64_t modified_ms;
};

struct s3_delete_request {
    bool quiet;
    struct s3_delete_entry *entries;
    size_t entry_count; /* 1..1000 */
};
MUST_CHECK enum s3_error s3_xml_read_delete(struct arena *arena, struct slice body,
                                            struct s3_delete_request *ret, struct s3_error_info *err);

struct s3_create_bucket_request {
    struct slice location; /* LocationConstraint, empty: none */
};
/* An empty body is a request without constraint. Location, Bucket and Tags: NotImplemented. */
MUST_CHECK enum s3_error s3_xml_read_create_bucket(struct arena *arena, struct slice body,
                                                   struct s3_create_bucket_request *ret,
                                                   struct s3_error_info *err);

enum s3_versioning { S3_VERSIONING_UNSET, S3_VERSIONING_ENABLED, S3_VERSIONING_SUSPENDED };
/* No Status: IllegalVersioningConfigurationException; an unknown one: MalformedXML; MfaDelete Enabled:
 * NotImplemented. */
MUST_CHECK enum s3_error s3_xml_read_versioning(struct arena *arena, struct slice body,
                                                enum s3_versioning *ret, struct s3_error_info *err);

#endif
