/*
 * digest - MD5, SHA-1, SHA-256, SHA-512 and HMAC-SHA256 over OpenSSL EVP (its only user here).
 *
 * Contexts come from a small shared pool, so that starting a digest does not allocate once the
 * process is warm. MD5 serves ETag and Content-MD5 only; it promises nothing about security.
 * Thread: a digest has one owner; the pool behind it is atomic.
 * Memory: digest_init() takes a context, digest_done() gives it back; digest_final() keeps it.
 */
#ifndef COMMON_BASE_DIGEST_H
#define COMMON_BASE_DIGEST_H

#include "common/base/slice.h"

#include <stddef.h>
#include <stdint.h>

#define DIGEST_BYTES_MAX 64
#define MD5_BYTES 16
#define SHA1_BYTES 20
#define SHA256_BYTES 32
#define SHA512_BYTES 64

enum digest_kind { DIGEST_MD5, DIGEST_SHA1, DIGEST_SHA256, DIGEST_SHA512, DIGEST_KIND_COUNT };

struct digest {
    void *context; /* NULL before init and after done */
    enum digest_kind kind;
};

size_t digest_bytes(enum digest_kind kind); /* 16, 20, 32, 64 */

void digest_init(struct digest *digest, enum digest_kind kind);
void digest_update(struct digest *digest, const void *data, size_t len);
/* Writes digest_bytes(kind) bytes and starts over with the same kind. */
void digest_final(struct digest *digest, uint8_t *ret_bytes);
void digest_reset(struct digest *digest); /* forgets what was fed */
void digest_done(struct digest *digest);  /* a zeroed struct is fine */

void digest_once(enum digest_kind kind, const void *data, size_t len, uint8_t *ret_bytes);
void sha256_once(const void *data, size_t len, uint8_t ret_bytes[SHA256_BYTES]);

/* HMAC-SHA256 (RFC 2104) of one message. */
void hmac_sha256(struct slice key, struct slice message, uint8_t ret_bytes[SHA256_BYTES]);

#endif
