/*
 * node_messages - what a gateway, a repairer or a scrubber says to a storage node (method in [ ]).
 *
 * Each struct is encoded into rpc_call.head (request) or rpc_call.reply; cells travel as payload
 * buffers. All slices of a decoded message borrow the encoded bytes. The CRC32C of every cell is
 * computed once, by the writer; the node verifies on arrival, in scrubs, and the reader again.
 */
#ifndef COMMON_RPC_NODE_MESSAGES_H
#define COMMON_RPC_NODE_MESSAGES_H

#include "common/base/extent.h"
#include "common/base/error.h"

/* Header of a shard, stored with it. */
struct shard_header {
    struct cluster_id cluster;
    struct extent_id extent;
    uint8_t index;                     /* 0..k+m-1; from k on parity */
    struct extent_code code;
    struct extent_transform transform;
    uint64_t logical_bytes;            /* of the extent */
    uint64_t stored_bytes;             /* of the extent */
    uint32_t cell_count;               /* stripes of the extent */
    uint32_t shard_bytes;              /* sum of the shard's cells */
    struct extent_owner owner;
};

#define SHARD_FOOTER_BYTES_MAX (64u << 10)
#define SHARD_CELLS_MAX 4096
#define SHARD_PUT_BYTES_MAX (1u << 20) /* larger shards are opened, written and committed */

/* [SHARD_PUT] payload: the cells, one after another, in one or several buffers. Errors: NO_SPACE, IO
 * (disk fenced), CORRUPT (a cell does not match), UNAVAILABLE (disk not in service), LIMIT (queue full),
 * EXISTS only if other bytes are stored under the same name; the same bytes again are OK. */
struct node_shard_put {
    struct disk_id disk;
    struct shard_header header;
    struct slice cell_crcs;  /* cell_count little-endian u32 */
    struct slice footer;     /* the object's metadata record, or empty */
};

/* [SHARD_OPEN] then [SHARD_WRITE] in order of cells, several may be under way, then [SHARD_COMMIT] or
 * [SHARD_ABORT]. An open shard dies with the process. Same errors. */
struct node_shard_open {
    struct disk_id disk;
    struct shard_header header;
};
struct node_shard_write {
    struct disk_id disk;
    struct extent_id extent;
    uint8_t index;
    uint32_t first_cell;
    struct slice cell_crcs;  /* one u32 for each cell in the payload */
};
struct node_shard_commit {   /* answered when the shard and its index entry can no longer be lost */
    struct disk_id disk;
    struct extent_id extent;
    uint8_t index;
    struct slice footer;
};
struct node_shard_name {     /* [SHARD_ABORT], [SHARD_STAT], [SHARD_VERIFY] */
    struct disk_id disk;
    struct extent_id extent;
    uint8_t index;
};

/* [SHARD_READ] reply payload: the cells' bytes, in one buffer per at most 1 MiB. NOT_FOUND: the disk is in
 * service and has no such shard. CORRUPT: the stored checksum does not match. */
struct node_shard_read {
    struct disk_id disk;
    struct extent_id extent;
    uint8_t index;
    uint32_t first_cell;
    uint32_t cell_count;
};
struct node_shard_read_reply {
    struct slice cell_crcs;
    uint32_t cell_bytes;       /* of the header: lets the reader check that it holds the right extent */
    uint32_t shard_cell_count;
};

struct node_shard_stat_reply { /* also of SHARD_VERIFY, whose status is CORRUPT when bytes do not match */
    struct shard_header header;
    struct slice footer;
    uint64_t segment;          /* where it lies, for `cairn explain` */
    uint64_t offset;
};

/* [SHARD_FREE] */
#define NODE_FREE_MAX 1024
struct node_shard_free {
    struct disk_id disk;
    uint32_t count;
    struct slice names;        /* count x (16 bytes extent id, 1 byte index) */
};

/* [SHARD_LIST, SHARD_OPENS] ids >= first and < end in order, at most limit. */
struct node_shard_list {
    struct disk_id disk;
    struct extent_id first;
    struct extent_id end;      /* zero: no bound */
    uint32_t limit;
};
struct node_shard_list_reply {
    uint32_t count;
    struct slice names;        /* as in SHARD_FREE */
    bool more;
};

enum disk_state {
    DISK_ONLINE = 1,  /* reads and writes */
    DISK_FULL,        /* reads and frees; the reserve is reached */
    DISK_FENCED,      /* failed: nothing is asked of it until it is replaced or comes back at a restart */
    DISK_ABSENT,      /* known to the cluster, not here */
};

/* [DISK_STATUS] */
struct node_disk_status {
    struct disk_id disk;       /* zero: all */
};
struct node_disk_status_entry {
    struct disk_id disk;
    uint8_t state;             /* enum disk_state */
    struct slice path;
    struct slice reason;       /* why it is fenced */
    uint64_t total_bytes, free_bytes, used_bytes, dead_bytes;
    uint64_t shard_count;
    uint64_t write_queue_bytes;
    uint64_t fsync_count;
    uint64_t scrub_age_ms;     /* since the last complete pass; UINT64_MAX: none yet */
};
#define NODE_DISKS_MAX 256
struct node_disk_status_reply {
    uint32_t count;
    struct node_disk_status_entry entries[NODE_DISKS_MAX];
};

void shard_header_encode(struct enc *enc, const struct shard_header *header);
void shard_header_decode(struct dec *dec, struct shard_header *ret_header);

/* For each message M: void M_encode(struct enc *, const struct M *) and
 * MUST_CHECK enum errc M_decode(struct slice, struct M *) (ERRC_CORRUPT unless the input is exactly one M). */
#define NODE_MESSAGES(X)                                                                         \
    X(node_shard_put) X(node_shard_open) X(node_shard_write) X(node_shard_commit)                \
    X(node_shard_name) X(node_shard_read) X(node_shard_read_reply) X(node_shard_stat_reply)      \
    X(node_shard_free) X(node_shard_list) X(node_shard_list_reply) X(node_disk_status)           \
    X(node_disk_status_reply)
#define X(message)                                                                               \
    void message##_encode(struct enc *enc, const struct message *in);                            \
    MUST_CHECK enum errc message##_decode(struct slice bytes, struct message *ret);
NODE_MESSAGES(X)
#undef X

#endif
