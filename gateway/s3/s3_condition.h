/*
 * s3_condition - If-Match, If-None-Match and the two dates (S3-SURFACE 4.3, 4.5, 4.11).
 *
 * Dates compare on whole seconds; one that does not parse is ignored.
 */
#ifndef GATEWAY_S3_CONDITION_H
#define GATEWAY_S3_CONDITION_H

#include "gateway/s3/s3_request.h"

#include <stdbool.h>
#include <stdint.h>

struct s3_conditions {
    bool has_if_match, has_if_none_match, has_modified_since, has_unmodified_since;
    struct slice if_match; /* as sent: "*", one ETag or a list */
    struct slice if_none_match;
    uint64_t modified_since_ms;
    uint64_t unmodified_since_ms;
};

enum s3_condition_outcome { S3_CONDITION_PASS, S3_CONDITION_NOT_MODIFIED, S3_CONDITION_FAILED };

/* prefix: "" for If-Match ..., "x-amz-copy-source-" for the source's. */
void s3_conditions_read(const struct s3_request *request, const char *prefix,
                        struct s3_conditions *ret_conditions);

/* "*", bare, quoted or weak forms, comma lists; etag without quotes. */
bool s3_etag_matches(struct slice list, struct slice etag);
struct slice s3_etag_bare(struct slice text); /* without quotes */

/*
 * GET and HEAD. etag without quotes. now_ms: a date in the future in If-Modified-Since is ignored.
 * *ret_failed names the header behind FAILED, for the Condition element.
 */
enum s3_condition_outcome s3_condition_read(const struct s3_conditions *conditions, struct slice etag,
                                            uint64_t modified_ms, uint64_t now_ms,
                                            const char **ret_failed);
/* The same table for a copy source: NOT_MODIFIED becomes FAILED. */
enum s3_condition_outcome s3_condition_copy_source(const struct s3_conditions *conditions,
                                                   struct slice etag, uint64_t modified_ms,
                                                   uint64_t now_ms, const char **ret_failed);

/* Conditional writes, decided at commit by metadata; here only the request side. */
struct s3_write_condition {
    bool if_none_match_any; /* If-None-Match: * */
    bool if_match_any;      /* If-Match: * (DeleteObject only) */
    struct slice if_match;  /* bare ETag, empty: none */
};
/* allow_any: If-Match: * is allowed. NotImplemented for If-None-Match with an ETag and for lists. */
MUST_CHECK enum s3_error s3_write_condition_read(const struct s3_request *request, bool allow_any,
                                                 struct s3_write_condition *ret,
                                                 struct s3_error_info *err);

#endif
