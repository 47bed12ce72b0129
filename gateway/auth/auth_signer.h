/*
 * auth_signer - the client's side: sign a request in header form (admin CLI, bench, tests).
 */
#ifndef GATEWAY_AUTH_SIGNER_H
#define GATEWAY_AUTH_SIGNER_H

#include "common/base/arena.h"
#include "common/base/error.h"
#include "common/base/slice.h"
#include "gateway/s3/s3_request.h"

struct auth_signer {
    struct slice access_key;
    struct slice secret;
    struct slice region;
};

struct auth_signed {
    struct slice authorization; /* value of Authorization */
    struct slice date;          /* value of x-amz-date */
    struct slice payload;       /* value of x-amz-content-sha256 */
};

/*
 * method, target  as they will be sent (target percent-encoded once)
 * host            as it will be sent in Host
 * headers         further headers to sign; every x-amz-* the request will carry must be among them
 * payload         hex SHA-256 of the body, or "UNSIGNED-PAYLOAD"
 * Errors          INVALID target with a broken escape; LIMIT arena full. Results live in the arena.
 */
MUST_CHECK enum errc auth_sign(const struct auth_signer *signer, struct arena *arena, const char *method,
                               struct slice target, struct slice host, const struct s3_header *headers,
                               size_t header_count, struct slice payload, uint64_t wall_ms,
                               struct auth_signed *ret);

/* A presigned path and query for GET, HEAD, PUT or DELETE, valid `seconds` from wall_ms. */
MUST_CHECK enum errc auth_presign(const struct auth_signer *signer, struct arena *arena,
                                  const char *method, struct slice target, struct slice host,
                                  uint32_t seconds, uint64_t wall_ms, struct slice *ret_target);

#endif
