/*
 * cluster_messages - how a process joins a cluster, renews its certificate and says that it is alive.
 *
 * Head of the request and reply of CLUSTER_JOIN, CLUSTER_RENEW and NODE_HEARTBEAT. Texts are UTF-8 without a terminator;
 * all slices of a decoded message borrow the encoded bytes. Limits are checked by the decoder: what a stranger may send
 * (CLUSTER_JOIN needs no certificate) is small.
 */
#ifndef COMMON_RPC_CLUSTER_MESSAGES_H
#define COMMON_RPC_CLUSTER_MESSAGES_H

#include "common/base/codec.h"
#include "common/base/error.h"
#include "common/base/id.h"

#define CLUSTER_VOTERS_MAX 16
#define CLUSTER_NAME_BYTES_MAX 64     /* name, zone, rack */
#define CLUSTER_ADDRESS_BYTES_MAX 64  /* ADDR:PORT */
#define CLUSTER_PEM_BYTES_MAX 8192
#define CLUSTER_SECRETS_BYTES_MAX 4096
#define ADMIN_FORWARD_PATH_BYTES_MAX 256
#define ADMIN_FORWARD_QUERY_BYTES_MAX (64u << 10)
#define ADMIN_FORWARD_BODY_BYTES_MAX (1u << 20)
#define ADMIN_FORWARD_TEXT_BYTES_MAX (3u << 20)  /* a frame has room for it */

/* [CLUSTER_JOIN] asked without a certificate; the secret of the token is the authority. Errors: DENIED (the text says
 * why: unknown, expired, used, of another role), CONFLICT (a live node has this id), UNAVAILABLE (not the leader). */
struct cluster_join {
    uint8_t role;              /* enum cluster_role */
    struct slice token_id;     /* 8 bytes */
    struct slice token_secret; /* 16 bytes */
    struct node_id node;       /* drawn by the joiner at its first start */
    struct slice csr;          /* PEM */
    struct slice address;      /* where others reach it; empty for a gateway */
    struct slice name, zone, rack;
    struct slice version;      /* of the program */
};

struct cluster_voter {
    struct node_id node;
    struct slice address;
};

/* The answer of CLUSTER_JOIN, and of CLUSTER_RENEW (there without secrets). */
struct cluster_join_reply {
    struct cluster_id cluster;
    struct slice certificate;  /* PEM, of this process */
    struct slice ca;           /* PEM, certificate of the CA */
    struct slice ca_key;       /* PEM; for the role metadata only, else empty */
    struct slice credentials;  /* the credentials file (server/credentials.h); for metadata and gateway only */
    uint32_t voter_count;
    struct cluster_voter voters[CLUSTER_VOTERS_MAX];
};

/* [CLUSTER_RENEW] a new certificate for the same key and the identity that the caller's certificate names. DENIED: another
 * key, or a node that was removed. */
struct cluster_renew {
    struct slice csr;
};

/* [NODE_HEARTBEAT] once a second, to every voter's memory. `disks`: an encoded node_disk_status_reply, or empty. */
struct node_heartbeat {
    struct slice address;      /* where it listens now; empty for a gateway */
    uint64_t started_ms;       /* wall clock of its start: tells a restart */
    struct slice version;
    struct slice disks;
};
#define CLUSTER_AWAY_MAX 256
struct node_heartbeat_reply {
    uint64_t map_revision;     /* another than known: ask for the map */
    bool leads;                /* this voter's word on what is away counts */
    uint32_t voter_count;
    struct cluster_voter voters[CLUSTER_VOTERS_MAX]; /* processes of that role, by the map */
    uint32_t away_count;       /* disks of the map that are not in service, as the voter has heard */
    struct disk_id away[CLUSTER_AWAY_MAX];
};

/* [NODE_DAMAGE] shards whose stored bytes do not match their checksums. UNAVAILABLE: not the leader. */
#define NODE_DAMAGE_MAX 64
struct node_damage {
    uint32_t count;
    struct node_damaged {
        struct disk_id disk;
        struct extent_id extent;
        uint8_t index;
    } shards[NODE_DAMAGE_MAX];
};

/* [ADMIN_REQUEST] a request that the caller has authenticated, as it came: `query` without '?', `body` JSON or empty.
 * UNAVAILABLE: not the leader, nothing was done. */
struct admin_request {
    struct slice method, path, query, body;
};
struct admin_reply {
    uint32_t status;           /* of HTTP */
    struct slice text;         /* JSON */
};

/* For each message M: void M_encode(struct enc *, const struct M *) and
 * MUST_CHECK enum errc M_decode(struct slice, struct M *): CORRUPT unless the input is exactly one M. */
#define CLUSTER_MESSAGES(X) \
    X(cluster_join) X(cluster_join_reply) X(cluster_renew) X(node_heartbeat) X(node_heartbeat_reply) \
    X(admin_request) X(admin_reply) X(node_damage)
#define X(message)                                                    \
    void message##_encode(struct enc *enc, const struct message *in); \
    MUST_CHECK enum errc message##_decode(struct slice bytes, struct message *ret);
CLUSTER_MESSAGES(X)
#undef X

#endif
