/*
 * s3_meta - user metadata: x-amz-meta-* headers, RFC 2047 both ways, the 2 KB limit (S3-SURFACE 1.4).
 */
#ifndef GATEWAY_S3_META_H
#define GATEWAY_S3_META_H

#include "gateway/s3/s3_headers.h"

/* Fills headers->meta and meta_count. MetadataTooLarge, InvalidArgument. */
MUST_CHECK enum s3_error s3_meta_read(const struct s3_request *request, struct s3_object_headers *headers,
                                      struct s3_error_info *err);

#endif
