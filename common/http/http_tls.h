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

#include <stdbool.h>

struct http_tls;
struct ssl_ctx_st; /* OpenSSL's SSL_CTX */

MUST_CHECK enum errc http_tls_open(const char *cert_path, const char *key_path, struct http_tls **ret_tls,
                                   struct error *e);
MUST_CHECK enum errc http_tls_reload(struct http_tls *tls, struct error *e);
/* The context in force, with a reference that the caller gives back (SSL_CTX_free). */
struct ssl_ctx_st *http_tls_get(struct http_tls *tls);
void http_tls_close(struct http_tls *tls);

/*
 * After h2o said that reading a TLS connection failed: was it only told that there is nothing to read?
 *
 * libuv calls the reader with 0 bytes where read() says EAGAIN, as it does when the read before filled the buffer to its last
 * byte. h2o 2.2.5 takes that for an error on TLS connections (not on plain ones) and reads on when it is left alone.
 * True: the connection is sound. Also empties this thread's queue of OpenSSL errors, which the next connection's would be
 * mistaken for. Thread: the connection's loop.
 */
bool http_tls_read_was_empty(int fd);

/* After the end of a connection, which may leave errors in this thread's queue: no other connection may find them. */
void http_tls_forget_errors(void);

#endif
