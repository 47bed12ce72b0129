/*
 * s3_error - every S3 error code with its status and text, and the error document.
 *
 * Functions of gateway/s3 and gateway/auth that can refuse a request return `enum s3_error` and
 * fill a `struct s3_error_info` (which carries the code too). The one mapping from `enum errc`
 * stands here. Source: S3-SURFACE 1.6 and 5.
 * Memory: extra values are borrowed, normally from the request's arena; the info dies with it.
 */
#ifndef GATEWAY_S3_ERROR_H
#define GATEWAY_S3_ERROR_H

#include "common/base/codec.h"
#include "common/base/error.h"
#include "common/base/slice.h"
#include "gateway/s3/s3_error_codes.h"

#include <stdbool.h>

enum s3_error {
    S3_ERROR_NONE,
#define X(name, code, status, text) S3_ERROR_##name,
    S3_ERROR_MAP(X)
#undef X
    S3_ERROR_COUNT
};

#define S3_ERROR_EXTRAS_MAX 8

struct s3_error_extra {
    const char *name;   /* an XML element name of ours */
    struct slice value; /* any bytes; escaped on output */
};

struct s3_error_info {
    enum s3_error code;  /* S3_ERROR_NONE while unset */
    const char *message; /* NULL: the default text of the code */
    struct s3_error_extra extras[S3_ERROR_EXTRAS_MAX];
    size_t extra_count;
};

#define S3_ERROR_INFO_INIT { .code = S3_ERROR_NONE }

const char *s3_error_code(enum s3_error code); /* "NoSuchKey" */
const char *s3_error_text(enum s3_error code); /* "The specified key does not exist." */
int s3_error_status(enum s3_error code);       /* 404 */

/* Sets the info (err may be NULL) and returns code. message: static text, or NULL for the default. */
enum s3_error s3_fail(struct s3_error_info *err, enum s3_error code, const char *message);
/* InvalidArgument with ArgumentName and ArgumentValue. */
enum s3_error s3_fail_argument(struct s3_error_info *err, const char *message, const char *name,
                               struct slice value);
/* Adds an element; beyond S3_ERROR_EXTRAS_MAX it is dropped. */
void s3_error_add(struct s3_error_info *err, const char *name, struct slice value);

/* What an internal code means to the client when nobody translated it more precisely. */
enum s3_error s3_error_from_errc(enum errc code);

/* Appends the whole error document (no namespace). resource: path of the request, may be empty. */
void s3_error_write(struct enc *out, const struct s3_error_info *err, struct slice resource,
                    struct slice request_id, struct slice host_id);

#endif
