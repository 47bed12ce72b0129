/* s3_range - Range of GET and HEAD, x-amz-copy-source-range (S3-SURFACE 4.2, 4.5; RFC 9110 14). */
#ifndef GATEWAY_S3_RANGE_H
#define GATEWAY_S3_RANGE_H

#include "common/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

struct s3_range {
    uint64_t offset;
    uint64_t len;
};

enum s3_range_outcome {
    S3_RANGE_WHOLE,          /* absent, malformed or several: 200 with everything */
    S3_RANGE_PART,           /* 206 */
    S3_RANGE_UNSATISFIABLE,  /* 416 InvalidRange */
};

/* text: value of Range, empty when absent. *ret_range is written unless unsatisfiable. */
enum s3_range_outcome s3_range_resolve(struct slice text, uint64_t object_bytes,
                                       struct s3_range *ret_range);

/* bytes=first-last, both required; false on any other form. The end is not checked here. */
bool s3_range_parse_copy(struct slice text, struct s3_range *ret_range);

#define S3_CONTENT_RANGE_BYTES 72
/* "bytes 0-9/100"; a NULL range gives the 416 form. Returns the length. */
size_t s3_range_format(const struct s3_range *range, uint64_t object_bytes,
                       char text[S3_CONTENT_RANGE_BYTES]);

#endif
