/*
 * s3_request - the view of one HTTP request that routing, authentication and handlers share.
 *
 * The caller fills the upper half from its HTTP server; s3_request_parse() fills the lower half:
 * path and query decoded once, bucket and key resolved, operation chosen. Everything is a view of
 * the caller's bytes or of the arena; nothing is copied that need not be.
 * Memory: borrows the caller's header array and target until the request ends.
 * Thread: one owner at a time.
 */
#ifndef GATEWAY_S3_REQUEST_H
#define GATEWAY_S3_REQUEST_H

#include "common/base/arena.h"
#include "common/base/error.h"
#include "common/base/slice.h"
#include "gateway/s3/s3_error.h"
#include "gateway/s3/s3_operations.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define S3_PARAMS_MAX 256 /* query parameters of one request */

struct s3_header {
    struct slice name; /* as received; compared without letter case */
    struct slice value;
};

struct s3_param {
    struct slice raw_name; /* as received, still percent-encoded */
    struct slice raw_value;
    struct slice name; /* decoded once */
    struct slice value;
    bool has_value; /* there was an '=' */
};

struct s3_config {
    const struct slice *base_domains; /* lower case, no port; virtual-hosted buckets live below */
    size_t base_domain_count;
    struct slice region;
};

struct s3_request {
    /* filled by the caller */
    struct slice method;
    struct slice target; /* origin form as received: path and query */
    const struct s3_header *headers;
    size_t header_count;
    bool is_tls;
    struct slice host; /* Host or :authority as received, with the port; empty: taken from headers */

    /* filled by s3_request_parse() */
    struct arena *arena;
    struct slice raw_path;
    struct slice path; /* decoded once */
    struct slice raw_query; /* without '?' */
    struct s3_param *params;
    size_t param_count;
    struct slice bucket; /* empty: the service */
    struct slice key;    /* empty: the bucket */
    bool is_virtual_hosted;
    bool is_presigned; /* credentials stand in the query */
    enum s3_operation operation;
};

/*
 * Errors: InvalidURI, InvalidBucketName, KeyTooLongError, InvalidArgument (two subresources, too
 * many parameters), MethodNotAllowed, NotImplemented (known, not offered yet), RequestHeaderSection-
 * TooLarge (arena full). On NotImplemented and MethodNotAllowed the view is complete but for the
 * operation, which tells what was asked for where that is known.
 */
MUST_CHECK enum s3_error s3_request_parse(struct s3_request *request, const struct s3_config *config,
                                          struct arena *arena, struct s3_error_info *err);

/* The first header of that name (any letter case), as received. False when absent. */
bool s3_header_get(const struct s3_request *request, const char *name, struct slice *ret_value);
size_t s3_header_count(const struct s3_request *request, const char *name);
/* The first parameter of that decoded name, case-sensitive. */
const struct s3_param *s3_param_get(const struct s3_request *request, const char *name);
size_t s3_param_count(const struct s3_request *request, const char *name);
/*
 * A header, trimmed; for a presigned request and a name x-amz-*, a query parameter of that name (any
 * letter case) counts as the header when the header is absent (S3-SURFACE 2.7). Repeated x-amz-*
 * headers are refused by authentication before a handler sees them, so the first is the only one.
 */
bool s3_value_get(const struct s3_request *request, const char *name, struct slice *ret_value);

/*
 * Walks everything s3_value_get() could find: the headers, then, for a presigned request, the
 * x-amz-* parameters whose header is absent. *cursor starts at 0; false at the end. Values trimmed.
 */
bool s3_value_next(const struct s3_request *request, size_t *cursor, struct slice *ret_name,
                   struct slice *ret_value);

/* Without letter case, ASCII. */
bool s3_name_equal(struct slice a, const char *b);
bool s3_name_starts(struct slice a, const char *prefix);
struct slice s3_trim(struct slice text); /* spaces and tabs of both ends */

#endif
