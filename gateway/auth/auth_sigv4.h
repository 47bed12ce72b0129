/*
 * auth_sigv4 - signing keys, their cache, and signatures.
 *
 * Thread: a cache belongs to one executor.  Memory: keys are wiped when they leave the cache.
 */
#ifndef GATEWAY_AUTH_SIGV4_H
#define GATEWAY_AUTH_SIGV4_H

#include "common/base/digest.h"
#include "common/base/slice.h"
#include "gateway/auth/auth_request.h"

#include <stdbool.h>
#include <stdint.h>

#define AUTH_CACHE_SLOTS 256

/* day: yyyymmdd. HMAC chain of S3-SURFACE 2.2. */
void auth_signing_key(struct slice secret, struct slice day, struct slice region, struct slice service,
                      uint8_t ret_key[SHA256_BYTES]);

/* Lower-case hex of HMAC(key, text) and a terminator. */
void auth_signature(const uint8_t key[SHA256_BYTES], struct slice text,
                    char ret_hex[AUTH_SIGNATURE_BYTES + 1]);

/* In constant time; claimed must be 64 bytes long. */
bool auth_signature_equal(struct slice claimed, const char computed[AUTH_SIGNATURE_BYTES + 1]);

struct auth_key_cache *auth_key_cache_create(void);
void auth_key_cache_destroy(struct auth_key_cache *cache); /* NULL is fine */
/* As auth_signing_key(); a changed secret, day or region misses. cache may be NULL. */
void auth_key_cache_get(struct auth_key_cache *cache, struct slice access_key, struct slice secret,
                        struct slice day, struct slice region, struct slice service,
                        uint8_t ret_key[SHA256_BYTES]);

#endif
