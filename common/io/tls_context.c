#include "common/io/tls_context.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/io/certificate_parts.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <string.h>

struct tls_context {
    pthread_mutex_t lock; /* guards what follows */
    SSL_CTX *server;      /* NULL when pinned */
    SSL_CTX *client;
    uint64_t generation;
    uint8_t ca_hash[SHA256_BYTES]; /* pinned; fixed */
};

static SSL_CTX *side_create(bool server)
{
    SSL_CTX *ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
    if (ctx == NULL) {
        return NULL;
    }
    (void)SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET);
    (void)SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS); /* idle connections stay small */
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    if (SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1 || SSL_CTX_set_num_tickets(ctx, 0) != 1 ||
        SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256") != 1) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    return ctx;
}

static enum errc side_load(SSL_CTX *ctx, X509 *ca, X509 *certificate, EVP_PKEY *key, struct error *e)
{
    /* The chain carries the CA itself: a client that joins knows only its hash. */
    if (SSL_CTX_use_certificate(ctx, certificate) != 1 || SSL_CTX_add1_chain_cert(ctx, ca) != 1) {
        return certificate_error(e, ERRC_INVALID, "cannot use the certificate");
    }
    if (SSL_CTX_use_PrivateKey(ctx, key) != 1 || SSL_CTX_check_private_key(ctx) != 1) {
        return certificate_error(e, ERRC_INVALID, "the key does not fit the certificate");
    }
    if (X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), ca) != 1) {
        return certificate_error(e, ERRC_INVALID, "cannot use the CA");
    }
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL); /* on a server: the certificate that came, if one came */
    return ERRC_OK;
}

/* Gives both sides or none. */
static enum errc sides_create(const struct tls_material *material, SSL_CTX **ret_server, SSL_CTX **ret_client,
                              struct error *e)
{
    X509 *ca = certificate_read(material->ca_pem, e);
    X509 *certificate = ca != NULL ? certificate_read(material->certificate_pem, e) : NULL;
    EVP_PKEY *key = certificate != NULL ? certificate_key_read(material->key_pem, e) : NULL;
    SSL_CTX *server = key != NULL ? side_create(true) : NULL;
    SSL_CTX *client = key != NULL ? side_create(false) : NULL;
    enum errc rc = ERRC_INVALID;
    if (key != NULL) {
        rc = server != NULL && client != NULL ? side_load(server, ca, certificate, key, e)
                                              : certificate_error(e, ERRC_INTERNAL, "cannot make a TLS context");
    }
    if (rc == ERRC_OK) {
        rc = side_load(client, ca, certificate, key, e);
    }
    EVP_PKEY_free(key);
    X509_free(certificate);
    X509_free(ca);
    if (rc != ERRC_OK) {
        SSL_CTX_free(server);
        SSL_CTX_free(client);
        return rc;
    }
    *ret_server = server;
    *ret_client = client;
    return ERRC_OK;
}

enum errc tls_context_create(const struct tls_material *material, struct tls_context **ret_context, struct error *e)
{
    SSL_CTX *server;
    SSL_CTX *client;
    enum errc rc = sides_create(material, &server, &client, e);
    if (rc != ERRC_OK) {
        return rc;
    }
    struct tls_context *context = mem_zalloc(sizeof(*context));
    (void)pthread_mutex_init(&context->lock, NULL);
    context->server = server;
    context->client = client;
    context->generation = 1;
    *ret_context = context;
    return ERRC_OK;
}

/* ---- pinned ---- */

/* The certificate of the chain with the pinned hash; borrowed. */
static X509 *pinned_find(STACK_OF(X509) *chain, const uint8_t hash[SHA256_BYTES])
{
    for (int i = 0; i < sk_X509_num(chain); i++) {
        uint8_t digest[SHA256_BYTES];
        unsigned len = 0;
        X509 *one = sk_X509_value(chain, i);
        if (X509_digest(one, EVP_sha256(), digest, &len) == 1 && memcmp(digest, hash, SHA256_BYTES) == 0) {
            return one;
        }
    }
    return NULL;
}

/* Verifies the server against the CA that its own chain carries, if that is the pinned one. */
static int pinned_verify(X509_STORE_CTX *context, void *data)
{
    const struct tls_context *self = data;
    X509 *ca = pinned_find(X509_STORE_CTX_get0_untrusted(context), self->ca_hash);
    if (ca == NULL) {
        X509_STORE_CTX_set_error(context, X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN);
        return 0;
    }
    STACK_OF(X509) *trusted = sk_X509_new_null();
    if (trusted == NULL || sk_X509_push(trusted, ca) <= 0) {
        sk_X509_free(trusted);
        X509_STORE_CTX_set_error(context, X509_V_ERR_OUT_OF_MEM);
        return 0;
    }
    X509_STORE_CTX_set0_trusted_stack(context, trusted);
    int verified = X509_verify_cert(context);
    sk_X509_free(trusted);
    return verified == 1;
}

enum errc tls_context_create_pinned(const uint8_t ca_hash[SHA256_BYTES], struct tls_context **ret_context,
                                    struct error *e)
{
    SSL_CTX *client = side_create(false);
    if (client == NULL) {
        return certificate_error(e, ERRC_INTERNAL, "cannot make a TLS context");
    }
    struct tls_context *context = mem_zalloc(sizeof(*context));
    (void)pthread_mutex_init(&context->lock, NULL);
    memcpy(context->ca_hash, ca_hash, SHA256_BYTES);
    SSL_CTX_set_verify(client, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(client, pinned_verify, context);
    context->client = client;
    context->generation = 1;
    *ret_context = context;
    return ERRC_OK;
}

/* ---- both ---- */

enum errc tls_context_reload(struct tls_context *context, const struct tls_material *material, struct error *e)
{
    SSL_CTX *server;
    SSL_CTX *client;
    enum errc rc = sides_create(material, &server, &client, e);
    if (rc != ERRC_OK) {
        return rc;
    }
    (void)pthread_mutex_lock(&context->lock);
    SSL_CTX *old_server = context->server;
    SSL_CTX *old_client = context->client;
    context->server = server;
    context->client = client;
    context->generation++;
    (void)pthread_mutex_unlock(&context->lock);
    SSL_CTX_free(old_server);
    SSL_CTX_free(old_client);
    return ERRC_OK;
}

uint64_t tls_context_generation(struct tls_context *context)
{
    (void)pthread_mutex_lock(&context->lock);
    uint64_t generation = context->generation;
    (void)pthread_mutex_unlock(&context->lock);
    return generation;
}

struct ssl_ctx_st *tls_context_get(struct tls_context *context, bool server)
{
    (void)pthread_mutex_lock(&context->lock);
    SSL_CTX *ctx = server ? context->server : context->client;
    ASSERT(ctx != NULL); /* a pinned context is for clients */
    (void)SSL_CTX_up_ref(ctx);
    (void)pthread_mutex_unlock(&context->lock);
    return ctx;
}

void tls_context_destroy(struct tls_context *context)
{
    if (context == NULL) {
        return;
    }
    SSL_CTX_free(context->server);
    SSL_CTX_free(context->client);
    (void)pthread_mutex_destroy(&context->lock);
    mem_free(context);
}
