/*
 * rpc_schema - every method once: its number, who may call it, whether it may be repeated.
 * Messages: metadata_messages.h, node_messages.h.
 *
 * Roles are those of the caller's certificate; a server refuses the others (DENIED) and logs their address.
 * Retry class, when the connection is lost before an answer has come:
 *   SAFE  a read: repeated once by rpc_client
 *   SAME  repeating has the same effect as doing it once: repeated once by rpc_client
 *   ONCE  never repeated once bytes were sent: only the caller knows whether it may be
 * Lane: BULK calls carry shards one way or the other and travel on connections of their own.
 */
#ifndef COMMON_RPC_RPC_SCHEMA_H
#define COMMON_RPC_RPC_SCHEMA_H

#include "common/base/role.h"

#include <stdint.h>

#define ROLES_DATA (ROLE_BIT(ROLE_GATEWAY) | ROLE_BIT(ROLE_METADATA))
#define ROLES_META (ROLES_DATA | ROLE_BIT(ROLE_ADMIN))
#define ROLES_VOTER ROLE_BIT(ROLE_METADATA)
#define ROLES_MEMBER (ROLE_BIT(ROLE_STORAGE_NODE) | ROLE_BIT(ROLE_GATEWAY) | ROLE_BIT(ROLE_METADATA))
#define ROLES_KNOWN (ROLES_MEMBER | ROLE_BIT(ROLE_ADMIN))
#define ROLES_BEAT (ROLE_BIT(ROLE_STORAGE_NODE) | ROLE_BIT(ROLE_GATEWAY))
#define ROLES_NODE ROLE_BIT(ROLE_STORAGE_NODE)
#define ROLES_STRANGER ROLE_BIT(ROLE_NONE)

/*      name                number  roles           retry lane    what */
#define RPC_METHODS(X)                                                                                                  \
    X(META_PROPOSE,         0x0101, ROLES_META,     ONCE, SMALL) /* head: one command; reply: its result */             \
    X(META_QUERY,           0x0102, ROLES_META,     SAFE, SMALL) /* head: one query; reply: its answer, linearizable */ \
    X(META_SESSION_RENEW,   0x0103, ROLES_META,     SAME, SMALL) /* leader memory: lease and oldest index needed */     \
    X(META_LEADER,          0x0104, ROLES_KNOWN,    SAFE, SMALL) /* who leads: node, address, term */                   \
    X(RAFT_MESSAGE,         0x0110, ROLES_VOTER,    SAME, SMALL) /* between voters; raft bears repeats */               \
    X(RAFT_SNAPSHOT_READ,   0x0111, ROLES_VOTER,    SAFE, BULK)  /* a piece of a checkpoint's file */                   \
    X(RAFT_MEMBER,          0x0112, ROLES_VOTER,    SAME, SMALL) /* the leader changes who is a voter */                \
    X(NODE_SHARD_PUT,       0x0201, ROLES_DATA,     ONCE, BULK)  /* a whole small shard, durable when answered */       \
    X(NODE_SHARD_OPEN,      0x0202, ROLES_DATA,     ONCE, SMALL) /* reserve the range of a large shard */               \
    X(NODE_SHARD_WRITE,     0x0203, ROLES_DATA,     ONCE, BULK)  /* cells of an open shard, in order; not durable yet */\
    X(NODE_SHARD_COMMIT,    0x0204, ROLES_DATA,     ONCE, SMALL) /* footer, then durable when answered */               \
    X(NODE_SHARD_ABORT,     0x0205, ROLES_DATA,     SAME, SMALL) /* drop an open shard */                               \
    X(NODE_SHARD_READ,      0x0206, ROLES_DATA,     SAFE, BULK)  /* some cells with their checksums */                  \
    X(NODE_SHARD_STAT,      0x0207, ROLES_DATA,     SAFE, SMALL) /* header and footer */                                \
    X(NODE_SHARD_FREE,      0x0208, ROLES_DATA,     SAME, SMALL) /* forget shards; freeing of space follows */          \
    X(NODE_SHARD_LIST,      0x0209, ROLES_DATA,     SAFE, SMALL) /* ids of a disk in a range of extent ids */           \
    X(NODE_SHARD_VERIFY,    0x020a, ROLES_DATA,     SAFE, SMALL) /* read and check one shard (scrub) */                 \
    X(NODE_DISK_STATUS,     0x020b, ROLES_DATA,     SAFE, SMALL) /* state, space, counters of one disk or all */        \
    X(NODE_SHARD_OPENS,     0x020c, ROLES_DATA,     SAFE, SMALL) /* as LIST, of those begun and not committed */        \
    X(CLUSTER_JOIN,         0x0301, ROLES_STRANGER, SAME, SMALL) /* a token and a request for a certificate */          \
    X(CLUSTER_RENEW,        0x0302, ROLES_KNOWN,    SAME, SMALL) /* a new certificate for the caller */                 \
    X(NODE_HEARTBEAT,       0x0303, ROLES_BEAT,     SAME, SMALL) /* leader memory; reply: revision of the map */        \
    X(NODE_DAMAGE,          0x0305, ROLES_NODE,     SAME, SMALL) /* shards that a node found damaged; the leader takes it */ \
    X(ADMIN_REQUEST,        0x0304, ROLES_VOTER,    ONCE, SMALL) /* a verb for the leader, or from it for a node */

enum rpc_method {
#define X(name, number, roles, retry, lane) RPC_##name = number,
    RPC_METHODS(X)
#undef X
};

enum rpc_retry { RPC_RETRY_SAFE, RPC_RETRY_SAME, RPC_RETRY_ONCE };
enum rpc_lane { RPC_LANE_SMALL, RPC_LANE_BULK, RPC_LANE_COUNT };

struct rpc_method_info {
    const char *name;
    uint16_t number;
    uint16_t roles; /* ROLE_BIT */
    uint8_t retry;  /* enum rpc_retry */
    uint8_t lane;   /* enum rpc_lane */
};

/* NULL for a number that is no method. */
const struct rpc_method_info *rpc_method_find(unsigned method);
const char *rpc_method_name(unsigned method); /* "UNKNOWN" */

#endif
