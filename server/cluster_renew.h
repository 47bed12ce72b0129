/*
 * cluster_renew - certificates of a cluster's processes: how long they live, who gets another one, and when.
 *
 * Thread: the rules from any thread; start and stop from the main thread (they wait for `completions`).
 */
#ifndef SERVER_CLUSTER_RENEW_H
#define SERVER_CLUSTER_RENEW_H

#include "common/io/certificate.h"
#include "common/rpc/metadata_messages.h"

#define CLUSTER_CERTIFICATE_BACK_S INT64_C(86400)            /* valid from so long before they are made: clocks differ */
#define CLUSTER_CERTIFICATE_LIFE_S (INT64_C(90) * 86400)     /* from now on; without --certificate-life */

struct server;

/* When to ask for another: a third of the life before the end; `random` takes away up to a quarter of that third. */
int64_t cluster_renew_due(const struct certificate_identity *held, uint8_t random);
/* On the voter: may node `id`, whose certificate names `role`, have one for the key? DENIED with the reason. */
MUST_CHECK enum errc cluster_renew_allowed(const struct meta_cluster_reply *map, struct node_id id, uint8_t role,
                                           const uint8_t key_hash[SHA256_BYTES], struct error *e);
/* Is it of our CA, for our key, valid now, and does it name whom the held one names? */
MUST_CHECK enum errc cluster_renew_check(const char *ca_pem, const char *key_pem, const char *certificate_pem,
                                         const struct certificate_identity *held, int64_t now_s,
                                         struct certificate_identity *ret, struct error *e);
/* What a voter issues now. */
struct certificate_identity cluster_certificate_identity(const struct server *server, struct node_id node, uint8_t role);

/* A voter whose certificate ended while it was down gives itself another, before it speaks to anybody: where that is so of all
 * voters, none could lead otherwise. The identity's files have been read. */
MUST_CHECK enum errc cluster_renew_ended(struct server *server, struct error *e);
/* A step of the start: from then on the certificate is renewed. A voter's own is, where needed, new when it returns; DENIED if
 * it has ended and stays so. */
MUST_CHECK enum errc cluster_renew_start(struct server *server, struct error *e);
void cluster_renew_stop(struct server *server); /* waits */

#endif
