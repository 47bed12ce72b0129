/*
 * certificate - keys, requests and certificates of a cluster's processes; texts in, texts out.
 *
 * Keys are EC P-256. The cluster's CA signs one certificate for each process; who that is stands in its one
 * URI name, `cairn://CLUSTER/ROLE/NODE` (ids as 32 hex digits), and is read from nowhere else. Keys,
 * certificates and requests are PEM texts, terminated, on the heap of common/base/mem.h.
 * Thread: all functions are safe from any thread. Memory: gives texts; wipe a key (certificate_key_free).
 */
#ifndef COMMON_IO_CERTIFICATE_H
#define COMMON_IO_CERTIFICATE_H

#include "common/base/digest.h"
#include "common/base/env.h"
#include "common/base/error.h"
#include "common/base/id.h"
#include "common/base/role.h"

#include <stdint.h>

#define CERTIFICATE_PEM_BYTES_MAX 16384 /* of a key, a request, a certificate */

struct certificate_identity {
    struct cluster_id cluster;
    struct node_id node;
    uint8_t role;         /* enum cluster_role */
    int64_t not_before_s; /* seconds since 1970 */
    int64_t not_after_s;
};

MUST_CHECK enum errc certificate_key_create(char **ret_key_pem, struct error *e);
void certificate_key_free(char *key_pem); /* wipes; NULL is fine */

/* The CA of a cluster, signed by itself. */
MUST_CHECK enum errc certificate_ca_create(const char *key_pem, struct cluster_id cluster, int64_t not_before_s,
                                           int64_t not_after_s, char **ret_ca_pem, struct error *e);
/* A request for a certificate: carries the public key, signed with the private one, and the node's id. */
MUST_CHECK enum errc certificate_request_create(const char *key_pem, struct node_id node, char **ret_request_pem,
                                                struct error *e);
/* Issues what `identity` says for the key of the request; INVALID for a request whose signature or kind of key
 * is wrong. Names in the request are ignored. */
MUST_CHECK enum errc certificate_issue(const char *ca_pem, const char *ca_key_pem, const char *request_pem,
                                       const struct certificate_identity *identity, char **ret_certificate_pem,
                                       struct error *e);

/* Who a certificate names; it is not verified. */
MUST_CHECK enum errc certificate_identity_of(const char *certificate_pem, struct certificate_identity *ret,
                                             struct error *e);
/* The same, after checking that the CA signed it and that it is valid at `now_s`: DENIED otherwise. */
MUST_CHECK enum errc certificate_verify(const char *ca_pem, const char *certificate_pem, int64_t now_s,
                                        struct certificate_identity *ret, struct error *e);
/* INVALID if the private key is not the certificate's. */
MUST_CHECK enum errc certificate_key_fits(const char *certificate_pem, const char *key_pem, struct error *e);

/* SHA-256 of the DER: what a token carries of the CA. */
MUST_CHECK enum errc certificate_hash(const char *certificate_pem, uint8_t ret_hash[SHA256_BYTES], struct error *e);
/* SHA-256 of the public key (its SubjectPublicKeyInfo), of a certificate and of a request: the same for both of
 * one key. The request's signature is checked. */
MUST_CHECK enum errc certificate_public_key_hash(const char *certificate_pem, uint8_t ret_hash[SHA256_BYTES],
                                                 struct error *e);
MUST_CHECK enum errc certificate_request_key_hash(const char *request_pem, uint8_t ret_hash[SHA256_BYTES],
                                                  struct error *e);

/* Writes a text durably: PATH.new (mode 0600), fdatasync, rename, fsync of the folder. */
MUST_CHECK enum errc certificate_file_write(struct env *env, const char *folder, const char *name, const char *text,
                                            struct error *e);
/* Reads a text of at most CERTIFICATE_PEM_BYTES_MAX bytes; NOT_FOUND if there is none. */
MUST_CHECK enum errc certificate_file_read(struct env *env, const char *folder, const char *name, char **ret_text,
                                           struct error *e);

#endif
