/*
 * Reading and checking certificates, and the files that hold them.
 */
#include "common/base/env_replace.h"
#include "common/base/mem.h"
#include "common/io/certificate.h"
#include "common/io/certificate_parts.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#define URI_PREFIX "cairn://"

/* ---- who ---- */

/* Takes bytes up to the next '/' or the end. */
static struct slice uri_part(struct slice *rest)
{
    size_t len = 0;
    while (len < rest->len && rest->data[len] != '/') {
        len++;
    }
    struct slice part = slice_of(rest->data, len);
    *rest = slice_skip(*rest, len + 1);
    return part;
}

static bool uri_read(struct slice uri, struct certificate_identity *ret)
{
    enum cluster_role role;
    if (!slice_starts(uri, slice_str(URI_PREFIX))) {
        return false;
    }
    struct slice rest = slice_skip(uri, strlen(URI_PREFIX));
    struct slice cluster = uri_part(&rest);
    struct slice role_text = uri_part(&rest);
    struct slice node = rest;
    if (!id_from_hex((const char *)cluster.data, cluster.len, ret->cluster.bytes) || node.data == NULL ||
        !id_from_hex((const char *)node.data, node.len, ret->node.bytes) ||
        !cluster_role_from_name(role_text, &role)) {
        return false;
    }
    ret->role = (uint8_t)role;
    return true;
}

static bool time_read(const ASN1_TIME *time, int64_t *ret_s)
{
    struct tm parts = { 0 };
    if (time == NULL || ASN1_TIME_to_tm(time, &parts) != 1) {
        return false;
    }
    *ret_s = (int64_t)timegm(&parts);
    return true;
}

enum errc certificate_identity_read(X509 *certificate, struct certificate_identity *ret, struct error *e)
{
    struct certificate_identity found = { .role = ROLE_NONE };
    unsigned uris = 0;
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        int type;
        const ASN1_STRING *value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &type);
        if (type == GEN_URI) {
            uris++;
            struct slice uri = slice_of(ASN1_STRING_get0_data(value), (size_t)ASN1_STRING_length(value));
            uris += uri_read(uri, &found) ? 0 : 1; /* one that is not ours counts as too many */
        }
    }
    GENERAL_NAMES_free(names);
    ERR_clear_error();
    if (uris != 1 || !time_read(X509_get0_notBefore(certificate), &found.not_before_s) ||
        !time_read(X509_get0_notAfter(certificate), &found.not_after_s)) {
        return error_set(e, ERRC_DENIED, "the certificate names no process of a cluster");
    }
    *ret = found;
    return ERRC_OK;
}

enum errc certificate_identity_of(const char *certificate_pem, struct certificate_identity *ret, struct error *e)
{
    X509 *certificate = certificate_read(certificate_pem, e);
    if (certificate == NULL) {
        return ERRC_INVALID;
    }
    enum errc rc = certificate_identity_read(certificate, ret, e);
    X509_free(certificate);
    return rc;
}

/* ---- whether ---- */

static enum errc chain_verify(X509 *ca, X509 *certificate, int64_t now_s, struct error *e)
{
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *context = X509_STORE_CTX_new();
    enum errc rc = ERRC_OK;
    if (store == NULL || context == NULL || X509_STORE_add_cert(store, ca) != 1 ||
        X509_STORE_CTX_init(context, store, certificate, NULL) != 1) {
        rc = certificate_error(e, ERRC_INTERNAL, "cannot verify a certificate");
    } else {
        X509_STORE_CTX_set_time(context, 0, (time_t)now_s);
        if (X509_verify_cert(context) != 1) {
            rc = error_set(e, ERRC_DENIED, "the certificate is refused: %s",
                           X509_verify_cert_error_string(X509_STORE_CTX_get_error(context)));
        }
    }
    ERR_clear_error();
    X509_STORE_CTX_free(context);
    X509_STORE_free(store);
    return rc;
}

enum errc certificate_verify(const char *ca_pem, const char *certificate_pem, int64_t now_s,
                             struct certificate_identity *ret, struct error *e)
{
    X509 *ca = certificate_read(ca_pem, e);
    X509 *certificate = ca != NULL ? certificate_read(certificate_pem, e) : NULL;
    enum errc rc = ERRC_INVALID;
    if (certificate != NULL) {
        rc = chain_verify(ca, certificate, now_s, e);
    }
    if (rc == ERRC_OK) {
        rc = certificate_identity_read(certificate, ret, e);
    }
    X509_free(certificate);
    X509_free(ca);
    return rc;
}

enum errc certificate_key_fits(const char *certificate_pem, const char *key_pem, struct error *e)
{
    X509 *certificate = certificate_read(certificate_pem, e);
    EVP_PKEY *key = certificate != NULL ? certificate_key_read(key_pem, e) : NULL;
    enum errc rc = ERRC_INVALID;
    if (key != NULL) {
        rc = X509_check_private_key(certificate, key) == 1
                 ? ERRC_OK
                 : certificate_error(e, ERRC_INVALID, "the key does not fit the certificate");
    }
    EVP_PKEY_free(key);
    X509_free(certificate);
    return rc;
}

/* ---- files ---- */

enum errc certificate_file_write(struct env *env, const char *folder, const char *name, const char *text,
                                 struct error *e)
{
    return env_file_replace(env, folder, name, slice_str(text), e);
}

enum errc certificate_file_read(struct env *env, const char *folder, const char *name, char **ret_text,
                                struct error *e)
{
    char *path = mem_format("%s/%s", folder, name);
    char *text = mem_zalloc(CERTIFICATE_PEM_BYTES_MAX + 2);
    struct env_file *file;
    size_t len = 0;
    enum errc rc = env->vt->open(env, path, ENV_OPEN_READ, &file, e);
    if (rc == ERRC_OK) {
        rc = env->vt->pread(env, file, text, CERTIFICATE_PEM_BYTES_MAX + 1, 0, &len, e);
        env->vt->close(env, file);
    }
    if (rc == ERRC_OK && (len > CERTIFICATE_PEM_BYTES_MAX || strlen(text) != len)) {
        rc = error_set(e, ERRC_INVALID, "%s is not a PEM file", path);
    }
    if (rc == ERRC_OK) {
        *ret_text = mem_strndup(text, len);
    }
    mem_wipe(text, CERTIFICATE_PEM_BYTES_MAX + 2);
    mem_free(text);
    mem_free(path);
    return rc;
}
