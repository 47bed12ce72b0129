/*
 * http_tls - the certificate and key of a port, replaceable while it serves.
 *
 * TLS 1.2 and 1.3, HTTP/1.1 only by ALPN. A reload that fails leaves the old pair in force.
 * Thread: reload and get are safe from any thread.
 * Memory: gives; connections hold their own reference to the SSL_CTX that they began with.
 */
#ifndef COMMON_HTTP_TLS_H
#define COMMON_HTTP_TLS_H

#include "common/base/error.h"

struct http_tls;
struct ssl_ctx_st; /* OpenSSL's SSL_CTX */

MUST_CHECK enum errc http_tls_open(const char *cert_path, const char *key_path, struct http_tls **ret_tls,
                                   struct error *e);
MUST_CHECK enum errc http_tls_reload(struct http_tls *tls, struct error *e);
/* The context in force, with a reference that the caller gives back (SSL_CTX_free). */
struct ssl_ctx_st *http_tls_get(struct http_tls *tls);
void http_tls_close(struct http_tls *tls);

#endif
