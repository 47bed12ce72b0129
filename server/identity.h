/*
 * identity - who a process of a cluster is: its --data folder.
 *
 *     DATA/identity      cluster, node, role, name, address, zone, rack, the voters as last seen (text_file.h)
 *     DATA/node.pem      certificate of this process, signed by the cluster's CA
 *     DATA/node.key      its private key, 0600
 *     DATA/ca.pem        certificate of the CA
 *     DATA/ca.key        voters only, 0600
 *     DATA/credentials   voters and gateways only, 0600 (server/credentials.h)
 *     DATA/lock          locked while the process runs
 *
 * identity is written last of a join: a folder without it is not yet anybody.
 * Bytes: docs/formats/data-dir.md. Thread: the owner's.
 */
#ifndef SERVER_IDENTITY_H
#define SERVER_IDENTITY_H

#include "common/base/env.h"
#include "common/base/id.h"
#include "common/rpc/cluster_messages.h"

#define IDENTITY_TEXT_BYTES (CLUSTER_NAME_BYTES_MAX + 1)

struct identity_voter {
    struct node_id node;
    char address[CLUSTER_ADDRESS_BYTES_MAX + 1];
};

struct identity {
    struct cluster_id cluster;
    struct node_id node;
    uint8_t role;                                /* enum cluster_role */
    char name[IDENTITY_TEXT_BYTES], zone[IDENTITY_TEXT_BYTES], rack[IDENTITY_TEXT_BYTES];
    char address[CLUSTER_ADDRESS_BYTES_MAX + 1]; /* where others reach it; empty for a gateway */
    unsigned voter_count;
    struct identity_voter voters[CLUSTER_VOTERS_MAX];
};

/* NOT_FOUND: nobody joined here yet. CORRUPT, FORMAT. */
MUST_CHECK enum errc identity_read(struct env *env, const char *data, struct identity *ret, struct error *e);
MUST_CHECK enum errc identity_write(struct env *env, const char *data, const struct identity *in, struct error *e);
/* Locks the folder, which is made if it is not there. CONFLICT: another process has it. Close the file to unlock. */
MUST_CHECK enum errc identity_lock(struct env *env, const char *data, struct env_file **ret_lock, struct error *e);

#endif
