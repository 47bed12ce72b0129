/*
 * node - the storage node: keeps shards on the disks of one process.
 *
 * A shard that was acknowledged survives power loss; a freed one does not come back; a byte whose checksum
 * does not hold is never handed out. The order of steps that makes it so: storage-node/README.md. Bytes on
 * the disk: docs/formats/segment.md. Placement, redundancy and repair are the business of others.
 *
 * Thread: the functions below may be called from any thread, but not at the same time as node_close().
 *         Callbacks run on config.home, never inside a call of the user.
 * Memory: the node owns everything it opens; env, kv_factory and home are borrowed until node_close() has
 *         called back.
 */
#ifndef STORAGE_NODE_NODE_H
#define STORAGE_NODE_NODE_H

#include "common/base/env.h"
#include "common/base/error.h"
#include "common/base/id.h"
#include "common/base/kv.h"
#include "common/rpc/node_messages.h"
#include "common/rpc/rpc.h"

struct node;

struct node_disk_options {       /* a zero means the default */
    unsigned reserve_percent;    /* 5: kept free, so that deletes and compaction always work */
    uint64_t segment_bytes;      /* 64 MiB: length of a segment file */
    unsigned reader_threads;     /* 2 */
    uint64_t queue_bytes_max;    /* 64 MiB waiting writes, and as much of waiting reads; above: LIMIT */
    size_t index_cache_bytes;    /* 16 MiB block cache of the index */
    size_t index_memtable_bytes; /* 4 MiB */
    uint64_t hang_ms;            /* 30,000: a call of the disk or its index that takes longer fences it */
    bool buffered_only;          /* never O_DIRECT, even where the probe says that it works */
};

struct node_disk_config {
    struct disk_id id;           /* must be that of DIR's superblock */
    const char *path;            /* DIR; copied */
    struct node_disk_options options;
};

struct node_callbacks {
    /* A disk came into service (ONLINE, FULL), left it (FENCED) or was removed (ABSENT). One that is FENCED comes into service
     * again when its folder had gone and returns. `reason` is borrowed for the call; empty where there is nothing to explain. */
    void (*on_disk_state)(void *data, struct disk_id disk, enum disk_state state, const char *reason);
    /* A stored shard does not match its checksums; found by a read, by scrub or at the start. A zero extent
     * says that damage was found in the log whose shards cannot be named: compare all of the disk. */
    void (*on_corrupt)(void *data, struct disk_id disk, struct extent_id extent, uint8_t index);
    void *data;
};

struct node_config {
    struct env *env;
    struct kv_factory *kv_factory;
    struct executor *home;       /* serial, with timers; does not block. Callbacks run here */
    struct cluster_id cluster;
    struct node_callbacks callbacks;
    unsigned disk_count;
    const struct node_disk_config *disks;
};

/*
 * Starts the node. Each disk is opened on threads of its own; on_disk_state tells the end of that: ONLINE,
 * FULL, or FENCED with the reason. Until then its calls get UNAVAILABLE.
 * Errors  INVALID an option out of range, LIMIT more than NODE_DISKS_MAX disks, EXISTS one given twice.
 */
MUST_CHECK enum errc node_open(const struct node_config *config, struct node **ret_node, struct error *e);

/* Serves every NODE_* method of rpc_schema.h; calls to a disk that is not there get UNAVAILABLE. */
struct rpc_channel *node_channel(struct node *node);

MUST_CHECK enum errc node_disk_add(struct node *node, const struct node_disk_config *config, struct error *e);

/* Takes a disk out of service; what is under way ends first. on_disk_state(ABSENT) when its files are closed.
 * NOT_FOUND if it is not here. The same id may be added again after that. */
MUST_CHECK enum errc node_disk_remove(struct node *node, struct disk_id disk);

/* DISK_ABSENT for one that is not here or not open yet. */
enum disk_state node_disk_state(struct node *node, struct disk_id disk);

/* Starts (or goes on with) scrubbing: every shard is read and checked, again and again, at about
 * `bytes_per_second`; 0 stops. A disk that is not open yet begins when it is. NOT_FOUND if the disk is not here. */
MUST_CHECK enum errc node_scrub_start(struct node *node, struct disk_id disk, uint64_t bytes_per_second);
/* The pass under way begins anew: what was damaged since it passed there is found in this one. NOT_FOUND: no such disk. */
MUST_CHECK enum errc node_scrub_again(struct node *node, struct disk_id disk);
struct node_scrub_view {
    uint64_t pass_wall_ms;         /* when the last complete pass ended; 0: there was none */
    uint64_t shards, bytes;        /* looked at in the pass under way, since its beginning or the process's start */
    uint64_t shards_there;         /* on the disk */
    uint64_t damaged;              /* shards found damaged since the process's start, by scrub or a read */
};
MUST_CHECK enum errc node_scrub_view(struct node *node, struct disk_id disk, struct node_scrub_view *ret_view);

/* Ends what is under way, closes all disks and frees the node; then calls done(data) on home. No call may be
 * started after this. A disk that hangs delays it until its call returns: on_disk_state tells FENCED then. */
void node_close(struct node *node, void (*done)(void *data), void *data);

#endif
