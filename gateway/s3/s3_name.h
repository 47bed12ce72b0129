/* s3_name - rules for bucket names and keys (S3-SURFACE 1.2). */
#ifndef GATEWAY_S3_NAME_H
#define GATEWAY_S3_NAME_H

#include "common/base/slice.h"

#include <stdbool.h>

#define S3_BUCKET_BYTES_MIN 3
#define S3_BUCKET_BYTES_MAX 63
#define S3_KEY_BYTES_MAX 1024

bool s3_bucket_name_valid(struct slice name);
/* 1..1024 bytes of UTF-8 without NUL; anything else is allowed. */
bool s3_key_valid(struct slice key);

#endif
