/*
 * auth_canonical - canonical request and string to sign of SigV4 as S3 defines them (S3-SURFACE 2.2, 2.3).
 *
 * Path and query are decoded once and encoded once; nothing is normalised.
 */
#ifndef GATEWAY_AUTH_CANONICAL_H
#define GATEWAY_AUTH_CANONICAL_H

#include "common/base/codec.h"
#include "common/base/digest.h"
#include "gateway/s3/s3_request.h"

#include <stdbool.h>

/*
 * Appends the canonical request.
 * signed_names  lower case, sorted, joined by ';' (checked by the caller)
 * payload       text of the payload line
 * skip_signature  leave X-Amz-Signature out of the query (presigned)
 * Returns false when a signed header is absent (host comes from request->host).
 */
bool auth_canonical_request(struct enc *out, const struct s3_request *request,
                            struct slice signed_names, struct slice payload, bool skip_signature);

/* "AWS4-HMAC-SHA256" LF date LF scope LF hex of the hash. */
void auth_string_to_sign(struct enc *out, const char *date, const char *scope,
                         const uint8_t canonical_sha256[SHA256_BYTES]);

#endif
