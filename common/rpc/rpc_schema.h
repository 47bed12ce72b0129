/*
 * rpc_schema - every method once. Messages: metadata_messages.h, node_messages.h.
 */
#ifndef COMMON_RPC_RPC_SCHEMA_H
#define COMMON_RPC_RPC_SCHEMA_H

/*      name                number  what */
#define RPC_METHODS(X)                                                                              \
    X(META_PROPOSE,         0x0101) /* head: one command (metadata_messages.h); reply: its result */\
    X(META_QUERY,           0x0102) /* head: one query; reply: its answer, linearizable */          \
    X(META_SESSION_RENEW,   0x0103) /* leader memory: lease and oldest index that a read needs */   \
    X(NODE_SHARD_PUT,       0x0201) /* a whole small shard, durable when answered */                \
    X(NODE_SHARD_OPEN,      0x0202) /* reserve the range of a large shard */                        \
    X(NODE_SHARD_WRITE,     0x0203) /* cells of an open shard, in order; not durable yet */         \
    X(NODE_SHARD_COMMIT,    0x0204) /* footer, then durable when answered */                        \
    X(NODE_SHARD_ABORT,     0x0205) /* drop an open shard */                                        \
    X(NODE_SHARD_READ,      0x0206) /* some cells with their checksums */                           \
    X(NODE_SHARD_STAT,      0x0207) /* header and footer */                                         \
    X(NODE_SHARD_FREE,      0x0208) /* forget shards; freeing of space follows */                   \
    X(NODE_SHARD_LIST,      0x0209) /* ids of shards of a disk in a range of extent ids */          \
    X(NODE_SHARD_VERIFY,    0x020a) /* read and check one shard (scrub) */                          \
    X(NODE_DISK_STATUS,     0x020b) /* state, space, counters of one disk or all */

enum rpc_method {
#define X(name, number) RPC_##name = number,
    RPC_METHODS(X)
#undef X
};

const char *rpc_method_name(unsigned method);

#endif
