/*
 * certificate_parts - OpenSSL objects behind common/io/certificate.h and tls_context.h; nobody else includes it.
 */
#ifndef COMMON_IO_CERTIFICATE_PARTS_H
#define COMMON_IO_CERTIFICATE_PARTS_H

#include "common/io/certificate.h"

#include <openssl/evp.h>
#include <openssl/x509.h>

/* Sets `e` from OpenSSL's queue of errors and empties it. */
enum errc certificate_error(struct error *e, enum errc code, const char *what);
/* Give; NULL with `e` set. */
X509 *certificate_read(const char *pem, struct error *e);
EVP_PKEY *certificate_key_read(const char *pem, struct error *e);
MUST_CHECK enum errc certificate_identity_read(X509 *certificate, struct certificate_identity *ret, struct error *e);

#endif
