/*
 * auth_claim - what a request claims in its credentials, parsed and checked for shape, not verified.
 *
 * Two parsers fill it: the Authorization header and the presigned query (S3-SURFACE 2.1, 2.7).
 * Thread and memory: as the request whose bytes it views.
 */
#ifndef GATEWAY_AUTH_CLAIM_H
#define GATEWAY_AUTH_CLAIM_H

#include "gateway/auth/auth_request.h"

struct auth_claim {
    enum auth_form form;
    struct slice access_key;
    struct slice day;    /* yyyymmdd of the scope */
    struct slice region;
    struct slice service;
    struct slice terminator;
    struct slice signed_names;
    struct slice signature; /* 64 lower-case hex digits */
    struct slice payload;   /* text of the payload line */
    char date[AUTH_DATE_BYTES + 1];
    uint64_t date_ms;
    uint32_t expires_seconds; /* presigned */
};

/* Authorization: AWS4-HMAC-SHA256 ... AuthorizationHeaderMalformed, AccessDenied (no date),
 * InvalidRequest (no x-amz-content-sha256). */
MUST_CHECK enum s3_error auth_claim_header(const struct s3_request *request, struct slice authorization,
                                           struct auth_claim *ret, struct s3_error_info *err);
/* X-Amz-* in the query. AuthorizationQueryParametersError. */
MUST_CHECK enum s3_error auth_claim_query(const struct s3_request *request, struct auth_claim *ret,
                                          struct s3_error_info *err);

#endif
