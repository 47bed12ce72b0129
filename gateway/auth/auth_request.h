/*
 * auth_request - the one door through which every request passes before a handler sees it.
 *
 * Recognises each form of credentials (S3-SURFACE 2.1), refuses everything else, and hands back a
 * verified principal, the way the payload is protected and what the chunk decoder needs. No handler
 * reads credentials itself. Pure: no clock (the caller gives the time), no I/O.
 * Thread: a config with its key cache belongs to one executor.
 * Memory: results are values or views of the request and its arena; auth_result_wipe() erases keys.
 */
#ifndef GATEWAY_AUTH_REQUEST_H
#define GATEWAY_AUTH_REQUEST_H

#include "common/base/digest.h"
#include "common/base/error.h"
#include "common/base/slice.h"
#include "gateway/s3/s3_request.h"

#include <stdbool.h>
#include <stdint.h>

#define AUTH_SKEW_MAX_MS (15u * 60 * 1000)
#define AUTH_PRESIGN_SECONDS_MAX 604800u
#define AUTH_ACCESS_KEY_BYTES_MAX 128
#define AUTH_SECRET_BYTES_MAX 128
#define AUTH_DATE_BYTES 16  /* 20130524T000000Z */
#define AUTH_SCOPE_BYTES 128
#define AUTH_SIGNATURE_BYTES 64 /* hex digits */

struct auth_identity {
    char secret[AUTH_SECRET_BYTES_MAX];
    size_t secret_len;
    bool is_root;
    bool is_disabled; /* answered like an unknown key */
};

struct auth_identities {
    /* Fills *ret_identity; false: no such key. The secret is wiped by the caller after use. */
    bool (*find)(void *data, struct slice access_key, struct auth_identity *ret_identity);
    void *data;
};

struct auth_key_cache; /* auth_sigv4.h */

struct auth_config {
    struct auth_identities identities;
    struct slice region;
    bool any_region;                    /* accept every region name in a scope */
    bool refuse_unsigned_without_tls;   /* UNSIGNED-PAYLOAD over plain http: AccessDenied */
    struct auth_key_cache *cache;       /* may be NULL */
};

enum auth_form { AUTH_FORM_NONE, AUTH_FORM_HEADER, AUTH_FORM_PRESIGNED };

enum auth_payload {
    AUTH_PAYLOAD_SHA256,                  /* plain body; its SHA-256 must be payload_sha256 */
    AUTH_PAYLOAD_UNSIGNED,                /* plain body */
    AUTH_PAYLOAD_CHUNKS_SIGNED,           /* aws-chunked */
    AUTH_PAYLOAD_CHUNKS_SIGNED_TRAILER,   /* aws-chunked, signed trailer */
    AUTH_PAYLOAD_CHUNKS_UNSIGNED_TRAILER, /* aws-chunked, unsigned chunks and trailer */
};

struct auth_result {
    enum auth_form form;
    struct slice access_key; /* view of the arena */
    bool is_root;
    enum auth_payload payload;
    uint8_t payload_sha256[SHA256_BYTES]; /* AUTH_PAYLOAD_SHA256 */
    uint64_t decoded_bytes;               /* chunk modes: length of the object */
    struct slice trailer_name;            /* lower case; empty: no trailer declared */
    uint8_t signing_key[SHA256_BYTES];    /* chunk modes with signatures */
    char seed_signature[AUTH_SIGNATURE_BYTES + 1];
    char date[AUTH_DATE_BYTES + 1];
    char scope[AUTH_SCOPE_BYTES]; /* date/region/s3/aws4_request */
};

static inline bool auth_payload_is_chunked(enum auth_payload payload)
{
    return payload >= AUTH_PAYLOAD_CHUNKS_SIGNED;
}

/*
 * request  parsed by s3_request_parse()
 * wall_ms  now, milliseconds since 1970 UTC
 * Errors   those of S3-SURFACE 2.1-2.8; on an error *ret is not written.
 */
MUST_CHECK enum s3_error auth_check(const struct auth_config *config, struct s3_request *request,
                                    uint64_t wall_ms, struct auth_result *ret,
                                    struct s3_error_info *err);

void auth_result_wipe(struct auth_result *result);

#endif
