/*
 * s3_uri - percent decoding and encoding as S3 does it, and query strings.
 *
 * Decode exactly once; never normalise. Source: S3-SURFACE 1.3, 2.3.
 */
#ifndef GATEWAY_S3_URI_H
#define GATEWAY_S3_URI_H

#include "common/base/arena.h"
#include "common/base/codec.h"
#include "common/base/slice.h"
#include "gateway/s3/s3_request.h"

#include <stdbool.h>

/* Decodes into out (raw.len bytes of room); plus_is_space for query values. False on a broken escape. */
bool s3_uri_decode(struct slice raw, bool plus_is_space, uint8_t *out, size_t *ret_len);
/* The same into an arena; a text without escapes is not copied. INVALID or LIMIT. */
MUST_CHECK enum errc s3_uri_decode_arena(struct arena *arena, struct slice raw, bool plus_is_space,
                                         struct slice *ret_text);
/* Appends text with every byte but A-Z a-z 0-9 - . _ ~ (and / where keep_slash) as upper-case %XX. */
void s3_uri_encode(struct enc *out, struct slice text, bool keep_slash);

bool s3_utf8_valid(struct slice text); /* RFC 3629: no surrogates, no overlong forms */

/* Splits raw (without '?') on '&' and the first '='. INVALID: broken escape; LIMIT: too many. */
MUST_CHECK enum errc s3_query_parse(struct arena *arena, struct slice raw, struct s3_param **ret_params,
                                    size_t *ret_count);

/* Host without port, lower case in the arena. Empty on a bad host. */
struct slice s3_host_name(struct arena *arena, struct slice host);

#endif
