/*
 * tls_context - what a process shows and trusts on its connections to others of the cluster.
 *
 * TLS 1.3 only, no tickets, no early data: every connection proves its key anew, so nothing recorded can be
 * played again. Both sides trust the cluster's CA alone. As a server a process lets clients without a
 * certificate in (their role is ROLE_NONE); one with a foreign or expired certificate is refused in the handshake.
 * A pinned context knows only the hash of the CA (from a token), has no certificate, and is for clients.
 * Thread: all functions are safe from any thread.
 * Memory: gives; connections hold their own references, so a reload is for new ones.
 */
#ifndef COMMON_IO_TLS_CONTEXT_H
#define COMMON_IO_TLS_CONTEXT_H

#include "common/base/digest.h"
#include "common/base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct tls_context;
struct ssl_ctx_st; /* OpenSSL's SSL_CTX */

/* PEM texts, borrowed for the call. */
struct tls_material {
    const char *ca_pem;
    const char *certificate_pem;
    const char *key_pem;
};

MUST_CHECK enum errc tls_context_create(const struct tls_material *material, struct tls_context **ret_context,
                                        struct error *e);
MUST_CHECK enum errc tls_context_create_pinned(const uint8_t ca_hash[SHA256_BYTES], struct tls_context **ret_context,
                                               struct error *e);
/* What follows uses the new material; after an error the old one stays. */
MUST_CHECK enum errc tls_context_reload(struct tls_context *context, const struct tls_material *material,
                                        struct error *e);
/* Grows by one with each reload. */
uint64_t tls_context_generation(struct tls_context *context);
/* With a reference that the caller gives back (SSL_CTX_free). */
struct ssl_ctx_st *tls_context_get(struct tls_context *context, bool server);
void tls_context_destroy(struct tls_context *context); /* NULL is fine */

#endif
