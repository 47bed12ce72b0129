/*
 * object_record - what is stored with an object besides its bytes: from request headers to the record,
 * and from the record back to response headers.
 *
 * Thread: the request's loop.  Memory: the request's scratch arena.
 */
#ifndef GATEWAY_HANDLERS_OBJECT_RECORD_H
#define GATEWAY_HANDLERS_OBJECT_RECORD_H

#include "gateway/handlers/handler_request.h"

struct object_record {
    struct slice storage_class; /* empty: STANDARD */
    struct slice headers;       /* meta_pairs */
    struct slice user_metadata; /* meta_pairs */
};

/* Reads and checks all headers that an upload may carry; refuses what is not offered. */
MUST_CHECK enum s3_error object_record_read(struct request *r, struct object_record *ret_record);

/* System headers of a copy that keeps its source's: all of them but the redirect, which is the request's own. */
struct slice object_record_inherit(struct request *r, const struct object_record *own, const struct meta_body *source);

/* If-Match and If-None-Match of a write. allow_any: If-Match: * (DeleteObject). */
MUST_CHECK enum s3_error object_conditions_read(struct request *r, bool allow_any, struct meta_conditions *ret);
bool object_conditions_any(const struct meta_conditions *conditions);
/* Answers a refused commit: 412 names the condition, 404 where If-Match met nothing. */
void object_write_refused(struct request *r, const struct meta_conditions *conditions, enum meta_outcome outcome);

/* Row of a new version; etag is borrowed. */
struct meta_row object_row(struct request *r, const struct object_record *record, struct slice etag, uint64_t size,
                           const struct checksum_value *checksum);

/* Headers of GET and HEAD: system headers with overrides, user metadata, storage class. overrides may be NULL. */
void object_headers_write(struct request *r, const struct meta_row *row, const struct meta_body *body,
                          const struct s3_overrides *overrides);

/* versionId of the query (or of a copy source's text). InvalidArgument. */
MUST_CHECK enum s3_error object_version_read(struct request *r, bool *ret_has, struct meta_version_ref *ret_version);
MUST_CHECK enum s3_error object_version_parse(struct request *r, struct slice text, bool *ret_has,
                                              struct meta_version_ref *ret_version);

/* Version header of a write's result, where the bucket has ever had versioning. */
void object_version_header(struct request *r, const struct meta_result *result);

#endif
