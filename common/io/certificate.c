#include "common/io/certificate.h"

#include "common/base/mem.h"
#include "common/io/certificate_parts.h"

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#define SERIAL_BYTES 16
#define URI_BYTES 160

enum errc certificate_error(struct error *e, enum errc code, const char *what)
{
    char reason[160];
    unsigned long failed = ERR_get_error();
    ERR_error_string_n(failed, reason, sizeof(reason));
    ERR_clear_error();
    return failed != 0 ? error_set(e, code, "%s: %s", what, reason) : error_set(e, code, "%s", what);
}

/* ---- texts ---- */

static BIO *bio_of(const char *pem)
{
    size_t len = strnlen(pem, CERTIFICATE_PEM_BYTES_MAX + 1);
    return len <= CERTIFICATE_PEM_BYTES_MAX ? BIO_new_mem_buf(pem, (int)len) : NULL;
}

X509 *certificate_read(const char *pem, struct error *e)
{
    BIO *bio = bio_of(pem);
    X509 *certificate = bio != NULL ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    (void)BIO_free(bio);
    if (certificate == NULL) {
        (void)certificate_error(e, ERRC_INVALID, "not a certificate");
    }
    return certificate;
}

static int no_password(char *target, int size, int writing, void *data)
{
    (void)target;
    (void)size;
    (void)writing;
    (void)data;
    return -1;
}

EVP_PKEY *certificate_key_read(const char *pem, struct error *e)
{
    BIO *bio = bio_of(pem);
    EVP_PKEY *key = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;
    (void)BIO_free(bio);
    if (key == NULL) {
        (void)certificate_error(e, ERRC_INVALID, "not a private key");
    }
    return key;
}

static X509_REQ *request_read(const char *pem, struct error *e)
{
    BIO *bio = bio_of(pem);
    X509_REQ *request = bio != NULL ? PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL) : NULL;
    (void)BIO_free(bio);
    if (request == NULL) {
        (void)certificate_error(e, ERRC_INVALID, "not a certificate request");
    }
    return request;
}

/* Takes the bio; `written` tells whether the text was written to it. */
static enum errc text_of(BIO *bio, bool written, char **ret_text, struct error *e)
{
    char *data = NULL;
    long len = bio != NULL ? BIO_get_mem_data(bio, &data) : 0;
    if (!written || len <= 0) {
        (void)BIO_free(bio);
        return certificate_error(e, ERRC_INTERNAL, "cannot write PEM");
    }
    *ret_text = mem_strndup(data, (size_t)len);
    mem_wipe(data, (size_t)len); /* it may be a key */
    (void)BIO_free(bio);
    return ERRC_OK;
}

static enum errc certificate_text(X509 *certificate, char **ret_pem, struct error *e)
{
    BIO *bio = BIO_new(BIO_s_mem());
    return text_of(bio, bio != NULL && PEM_write_bio_X509(bio, certificate) == 1, ret_pem, e);
}

/* ---- keys and requests ---- */

enum errc certificate_key_create(char **ret_key_pem, struct error *e)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    if (key == NULL) {
        return certificate_error(e, ERRC_INTERNAL, "cannot make a key");
    }
    BIO *bio = BIO_new(BIO_s_mem());
    bool written = bio != NULL && PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1;
    EVP_PKEY_free(key);
    return text_of(bio, written, ret_key_pem, e);
}

void certificate_key_free(char *key_pem)
{
    if (key_pem != NULL) {
        mem_wipe(key_pem, strlen(key_pem));
        mem_free(key_pem);
    }
}

static bool name_set(X509_NAME *name, const char *text)
{
    return X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)text, -1, -1, 0) == 1;
}

enum errc certificate_request_create(const char *key_pem, struct node_id node, char **ret_request_pem, struct error *e)
{
    char hex[ID_HEX_BYTES];
    id_hex(node.bytes, hex);
    EVP_PKEY *key = certificate_key_read(key_pem, e);
    if (key == NULL) {
        return ERRC_INVALID;
    }
    X509_REQ *request = X509_REQ_new();
    bool made = request != NULL && X509_REQ_set_version(request, 0) == 1 && X509_REQ_set_pubkey(request, key) == 1 &&
                name_set(X509_REQ_get_subject_name(request), hex) && X509_REQ_sign(request, key, EVP_sha256()) > 0;
    BIO *bio = made ? BIO_new(BIO_s_mem()) : NULL;
    enum errc rc = text_of(bio, bio != NULL && PEM_write_bio_X509_REQ(bio, request) == 1, ret_request_pem, e);
    X509_REQ_free(request);
    EVP_PKEY_free(key);
    return rc;
}

/* The public key of a request that its owner signed; borrowed from the request. */
static enum errc request_key(X509_REQ *request, EVP_PKEY **ret_key, struct error *e)
{
    char group[32] = "";
    size_t len = 0;
    EVP_PKEY *key = X509_REQ_get0_pubkey(request);
    if (key == NULL || EVP_PKEY_get_group_name(key, group, sizeof(group), &len) != 1 ||
        strcmp(group, SN_X9_62_prime256v1) != 0) {
        ERR_clear_error();
        return error_set(e, ERRC_INVALID, "the request's key is not EC P-256");
    }
    if (X509_REQ_verify(request, key) != 1) {
        ERR_clear_error();
        return error_set(e, ERRC_INVALID, "the request is not signed with its key");
    }
    *ret_key = key;
    return ERRC_OK;
}

/* ---- certificates ---- */

static bool extension_add(X509 *certificate, X509V3_CTX *context, int nid, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, context, nid, value);
    bool added = extension != NULL && X509_add_ext(certificate, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return added;
}

static bool serial_set(X509 *certificate)
{
    uint8_t bytes[SERIAL_BYTES];
    BIGNUM *number = RAND_bytes(bytes, sizeof(bytes)) == 1 ? BN_bin2bn(bytes, sizeof(bytes), NULL) : NULL;
    bool set = number != NULL && BN_clear_bit(number, SERIAL_BYTES * 8 - 1) >= 0 &&
               BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != NULL;
    BN_free(number);
    return set;
}

/* A certificate without extensions and signature; NULL with `e` set. */
static X509 *certificate_begin(EVP_PKEY *public_key, const char *common_name, int64_t not_before_s,
                               int64_t not_after_s, struct error *e)
{
    X509 *certificate = X509_new();
    if (certificate == NULL || X509_set_version(certificate, 2) != 1 || !serial_set(certificate) ||
        ASN1_TIME_set(X509_getm_notBefore(certificate), (time_t)not_before_s) == NULL ||
        ASN1_TIME_set(X509_getm_notAfter(certificate), (time_t)not_after_s) == NULL ||
        X509_set_pubkey(certificate, public_key) != 1 ||
        !name_set(X509_get_subject_name(certificate), common_name)) {
        X509_free(certificate);
        (void)certificate_error(e, ERRC_INTERNAL, "cannot make a certificate");
        return NULL;
    }
    return certificate;
}

enum errc certificate_ca_create(const char *key_pem, struct cluster_id cluster, int64_t not_before_s,
                                int64_t not_after_s, char **ret_ca_pem, struct error *e)
{
    char hex[ID_HEX_BYTES];
    char name[64];
    id_hex(cluster.bytes, hex);
    (void)snprintf(name, sizeof(name), "cairn %s", hex);
    EVP_PKEY *key = certificate_key_read(key_pem, e);
    if (key == NULL) {
        return ERRC_INVALID;
    }
    X509 *ca = certificate_begin(key, name, not_before_s, not_after_s, e);
    enum errc rc = ca != NULL ? ERRC_OK : ERRC_INTERNAL;
    if (rc == ERRC_OK) {
        X509V3_CTX context;
        X509V3_set_ctx(&context, ca, ca, NULL, NULL, 0);
        bool made = X509_set_issuer_name(ca, X509_get_subject_name(ca)) == 1 &&
                    extension_add(ca, &context, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
                    extension_add(ca, &context, NID_key_usage, "critical,keyCertSign") &&
                    extension_add(ca, &context, NID_subject_key_identifier, "hash") &&
                    X509_sign(ca, key, EVP_sha256()) > 0;
        rc = made ? certificate_text(ca, ret_ca_pem, e) : certificate_error(e, ERRC_INTERNAL, "cannot make a CA");
    }
    X509_free(ca);
    EVP_PKEY_free(key);
    return rc;
}

static bool certificate_finish(X509 *certificate, X509 *ca, EVP_PKEY *ca_key,
                               const struct certificate_identity *identity)
{
    char cluster[ID_HEX_BYTES];
    char node[ID_HEX_BYTES];
    char uri[URI_BYTES];
    id_hex(identity->cluster.bytes, cluster);
    id_hex(identity->node.bytes, node);
    (void)snprintf(uri, sizeof(uri), "URI:cairn://%s/%s/%s", cluster, cluster_role_name(identity->role), node);
    X509V3_CTX context;
    X509V3_set_ctx(&context, ca, certificate, NULL, NULL, 0);
    return X509_set_issuer_name(certificate, X509_get_subject_name(ca)) == 1 &&
           extension_add(certificate, &context, NID_basic_constraints, "critical,CA:FALSE") &&
           extension_add(certificate, &context, NID_key_usage, "critical,digitalSignature") &&
           extension_add(certificate, &context, NID_ext_key_usage, "serverAuth,clientAuth") &&
           extension_add(certificate, &context, NID_authority_key_identifier, "keyid") &&
           extension_add(certificate, &context, NID_subject_alt_name, uri) &&
           X509_sign(certificate, ca_key, EVP_sha256()) > 0;
}

static enum errc issue(X509 *ca, EVP_PKEY *ca_key, X509_REQ *request, const struct certificate_identity *identity,
                       char **ret_pem, struct error *e)
{
    char hex[ID_HEX_BYTES];
    EVP_PKEY *public_key;
    enum errc rc = request_key(request, &public_key, e);
    if (rc != ERRC_OK) {
        return rc;
    }
    id_hex(identity->node.bytes, hex);
    X509 *certificate = certificate_begin(public_key, hex, identity->not_before_s, identity->not_after_s, e);
    if (certificate == NULL) {
        return ERRC_INTERNAL;
    }
    rc = certificate_finish(certificate, ca, ca_key, identity)
             ? certificate_text(certificate, ret_pem, e)
             : certificate_error(e, ERRC_INTERNAL, "cannot sign a certificate");
    X509_free(certificate);
    return rc;
}

enum errc certificate_issue(const char *ca_pem, const char *ca_key_pem, const char *request_pem,
                            const struct certificate_identity *identity, char **ret_certificate_pem, struct error *e)
{
    if (identity->role == ROLE_NONE || cluster_role_name(identity->role) == cluster_role_name(UINT8_MAX)) {
        return error_set(e, ERRC_INVALID, "no certificate for role %u", identity->role);
    }
    enum errc rc = ERRC_INVALID;
    X509 *ca = certificate_read(ca_pem, e);
    EVP_PKEY *ca_key = ca != NULL ? certificate_key_read(ca_key_pem, e) : NULL;
    X509_REQ *request = ca_key != NULL ? request_read(request_pem, e) : NULL;
    if (request != NULL && X509_check_private_key(ca, ca_key) != 1) {
        rc = certificate_error(e, ERRC_INVALID, "the key is not the CA's");
    } else if (request != NULL) {
        rc = issue(ca, ca_key, request, identity, ret_certificate_pem, e);
    }
    X509_REQ_free(request);
    EVP_PKEY_free(ca_key);
    X509_free(ca);
    return rc;
}

/* ---- hashes ---- */

enum errc certificate_hash(const char *certificate_pem, uint8_t ret_hash[SHA256_BYTES], struct error *e)
{
    X509 *certificate = certificate_read(certificate_pem, e);
    if (certificate == NULL) {
        return ERRC_INVALID;
    }
    unsigned len = 0;
    int made = X509_digest(certificate, EVP_sha256(), ret_hash, &len);
    X509_free(certificate);
    return made == 1 ? ERRC_OK : certificate_error(e, ERRC_INTERNAL, "cannot hash a certificate");
}

static enum errc key_hash(EVP_PKEY *key, uint8_t ret_hash[SHA256_BYTES], struct error *e)
{
    unsigned char *der = NULL;
    int len = key != NULL ? i2d_PUBKEY(key, &der) : 0;
    if (len <= 0) {
        return certificate_error(e, ERRC_INVALID, "no public key");
    }
    sha256_once(der, (size_t)len, ret_hash);
    OPENSSL_free(der);
    return ERRC_OK;
}

enum errc certificate_public_key_hash(const char *certificate_pem, uint8_t ret_hash[SHA256_BYTES], struct error *e)
{
    X509 *certificate = certificate_read(certificate_pem, e);
    if (certificate == NULL) {
        return ERRC_INVALID;
    }
    enum errc rc = key_hash(X509_get0_pubkey(certificate), ret_hash, e);
    X509_free(certificate);
    return rc;
}

enum errc certificate_request_key_hash(const char *request_pem, uint8_t ret_hash[SHA256_BYTES], struct error *e)
{
    X509_REQ *request = request_read(request_pem, e);
    if (request == NULL) {
        return ERRC_INVALID;
    }
    EVP_PKEY *key = NULL;
    enum errc rc = request_key(request, &key, e);
    if (rc == ERRC_OK) {
        rc = key_hash(key, ret_hash, e);
    }
    X509_REQ_free(request);
    return rc;
}
