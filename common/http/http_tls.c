#include "common/http/http_tls.h"

#include "common/base/mem.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

struct http_tls {
    char *cert_path;
    char *key_path;
    pthread_mutex_t lock; /* guards ctx */
    SSL_CTX *ctx;
};

static int select_alpn(SSL *ssl, const unsigned char **ret, unsigned char *ret_len, const unsigned char *offered,
                       unsigned int offered_len, void *data)
{
    static const unsigned char ours[] = "\x08http/1.1";
    unsigned char *selected;
    (void)ssl;
    (void)data;
    if (SSL_select_next_proto(&selected, ret_len, ours, sizeof(ours) - 1, offered, offered_len) !=
        OPENSSL_NPN_NEGOTIATED) {
        return SSL_TLSEXT_ERR_NOACK;
    }
    *ret = selected;
    return SSL_TLSEXT_ERR_OK;
}

/* An encrypted key is refused: nobody is there to type. */
static int no_passphrase(char *buffer, int capacity, int writing, void *data)
{
    (void)buffer;
    (void)capacity;
    (void)writing;
    *(bool *)data = true;
    return -1;
}

static enum errc tls_error(struct error *e, const char *what, const char *path)
{
    char reason[160];
    ERR_error_string_n(ERR_get_error(), reason, sizeof(reason));
    ERR_clear_error();
    return error_set(e, ERRC_INVALID, "%s '%s': %s", what, path, reason);
}

static enum errc tls_load(const struct http_tls *tls, SSL_CTX **ret_ctx, struct error *e)
{
    bool is_encrypted = false;
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    if (ctx == NULL) {
        return tls_error(e, "cannot make a TLS context for", tls->cert_path);
    }
    (void)SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    (void)SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_IGNORE_UNEXPECTED_EOF);
    (void)SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS); /* idle connections stay small */
    SSL_CTX_set_alpn_select_cb(ctx, select_alpn, NULL);
    SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
    SSL_CTX_set_default_passwd_cb_userdata(ctx, &is_encrypted);
    enum errc rc = ERRC_OK;
    if (SSL_CTX_use_certificate_chain_file(ctx, tls->cert_path) != 1) {
        rc = tls_error(e, "cannot use the certificate", tls->cert_path);
    } else if (SSL_CTX_use_PrivateKey_file(ctx, tls->key_path, SSL_FILETYPE_PEM) != 1) {
        rc = is_encrypted ? error_set(e, ERRC_INVALID, "the key '%s' is encrypted: give one without a passphrase", tls->key_path)
                          : tls_error(e, "cannot use the key", tls->key_path);
    } else if (SSL_CTX_check_private_key(ctx) != 1) {
        rc = tls_error(e, "the key does not fit the certificate", tls->key_path);
    }
    if (rc != ERRC_OK) {
        ERR_clear_error();
        SSL_CTX_free(ctx);
        return rc;
    }
    SSL_CTX_set_default_passwd_cb_userdata(ctx, NULL);
    *ret_ctx = ctx;
    return ERRC_OK;
}

enum errc http_tls_open(const char *cert_path, const char *key_path, struct http_tls **ret_tls, struct error *e)
{
    struct http_tls *tls = mem_zalloc(sizeof(*tls));
    tls->cert_path = mem_strdup(cert_path);
    tls->key_path = mem_strdup(key_path);
    (void)pthread_mutex_init(&tls->lock, NULL);
    enum errc rc = tls_load(tls, &tls->ctx, e);
    if (rc != ERRC_OK) {
        http_tls_close(tls);
        return rc;
    }
    *ret_tls = tls;
    return ERRC_OK;
}

enum errc http_tls_reload(struct http_tls *tls, struct error *e)
{
    SSL_CTX *fresh;
    enum errc rc = tls_load(tls, &fresh, e);
    if (rc != ERRC_OK) {
        return rc;
    }
    (void)pthread_mutex_lock(&tls->lock);
    SSL_CTX *old = tls->ctx;
    tls->ctx = fresh;
    (void)pthread_mutex_unlock(&tls->lock);
    SSL_CTX_free(old);
    return ERRC_OK;
}

struct ssl_ctx_st *http_tls_get(struct http_tls *tls)
{
    (void)pthread_mutex_lock(&tls->lock);
    SSL_CTX *ctx = tls->ctx;
    (void)SSL_CTX_up_ref(ctx);
    (void)pthread_mutex_unlock(&tls->lock);
    return ctx;
}

void http_tls_close(struct http_tls *tls)
{
    if (tls == NULL) {
        return;
    }
    SSL_CTX_free(tls->ctx);
    (void)pthread_mutex_destroy(&tls->lock);
    mem_free(tls->cert_path);
    mem_free(tls->key_path);
    mem_free(tls);
}

void http_tls_forget_errors(void)
{
    ERR_clear_error();
}

bool http_tls_read_was_empty(int fd)
{
    char byte;
    bool failed = ERR_peek_error() != 0; /* OpenSSL refused what came */
    ERR_clear_error();
    ssize_t n = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return !failed && (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)));
}
