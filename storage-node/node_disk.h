/*
 * node_disk - one disk of the node: its executors, state, files and queues (inside storage-node only).
 *
 *   log       serial: appends to the log, writes the index, owns counters   (node_log, node_replay)
 *   data      serial: streams large shards                                  (node_data)
 *   readers   pool: reads that must wait for the disk                       (node_read)
 *   care      serial: identity, space, punching, compaction, scrub          (node_care, _compact, _scrub)
 *   home      the node's: ticks, callbacks; never blocks                    (node)
 *
 * Each field names the executor that may touch it; atomics are for all. Memory lives until the node closes.
 */
#ifndef STORAGE_NODE_NODE_DISK_H
#define STORAGE_NODE_NODE_DISK_H

#include "common/base/env.h"
#include "common/base/kv.h"
#include "common/base/list.h"
#include "common/rpc/node_messages.h"
#include "common/rpc/rpc.h"
#include "storage-node/node.h"
#include "storage-node/node_index.h"
#include "storage-node/node_record.h"
#include "storage-node/node_segment.h"
#include "storage-node/node_watch.h"
#include "storage-node/superblock.h"

#include <stdatomic.h>

#define DISK_REASON_BYTES 240
#define INDEX_CONDEMNED_NAME "index.condemned" /* in DIR: the next start rebuilds the index */

struct node_disk;

/* ---- work of the log executor ---- */

enum log_kind {
    LOG_PUT,    /* a small shard: meta and cells */
    LOG_COMMIT, /* a large shard whose cells are durable: meta */
    LOG_FREE,   /* names */
    LOG_MOVE,   /* a record that compaction copies: meta and body as they were */
    LOG_NOTE,   /* an edit of the index alone */
};

/* One request to the log; lives in its owner until `done`, which runs on the log executor. */
struct log_op {
    struct task task;
    struct log_op *next;
    struct node_disk *disk;
    enum log_kind kind;
    void (*done)(struct log_op *op, enum errc rc, struct error *e);
    void (*note)(struct log_op *op, struct kv_batch *batch);  /* NOTE */
    const struct shard_meta *meta;     /* PUT, COMMIT: borrowed */
    struct buffer *const *payloads;    /* PUT: the cells, borrowed */
    unsigned payload_count;
    struct slice names;                /* FREE: n x 17 bytes; MOVE of tombstones: n x TOMBSTONE_BYTES */
    struct record moved;               /* MOVE: the record as it lies in its segment */
    uint64_t data_segment, data_offset;/* COMMIT */
    /* set while a frame is built */
    enum errc rc;
    struct error error;
    struct record_header header;
    struct slice meta_bytes;           /* in the log's staging memory */
    uint64_t offset;                   /* of its record */
    bool in_frame;                     /* has a record */
};

/* ---- calls ---- */

struct node_op {
    struct task task;
    struct node_disk *disk;
    struct rpc_call *call;
    uint64_t queue_bytes;
    bool reading;                      /* counts in the read queue */
    union {
        struct node_shard_put put;
        struct node_shard_open open;
        struct node_shard_write write;
        struct node_shard_commit commit;
        struct node_shard_name name;
        struct node_shard_read read;
        struct node_shard_free free;
        struct node_shard_list list;
    } m;
    struct shard_meta meta;
    struct log_op log;
    struct open_shard *open;           /* COMMIT, while in the log */
    struct error error;
    struct node_op *next;
};

/* Ends a call: queue accounting, error text, reply. Frees the op. Any thread. */
void node_op_finish(struct node_op *op, enum errc rc);

/* ---- the disk ---- */

struct log_part {                      /* of a frame: staged bytes (data NULL) or borrowed ones */
    const uint8_t *data;
    size_t offset;                     /* in staging */
    size_t len;
};

struct log_state {                     /* log executor */
    struct log_op *head, *tail;        /* waiting, in order of arrival */
    struct task flush;
    bool flush_posted;
    struct segment *active;
    struct index_position position;
    struct enc staging;
    struct log_part *parts;
    unsigned part_count, part_capacity;
    struct iovec *iov;
    struct enc value;                  /* scratch for index values */
    struct enc value2;
    struct kv_batch *batch;
};

struct data_state {                    /* data executor */
    struct list opens;                 /* struct open_shard */
    struct node_op *head, *tail;       /* waiting */
    struct task flush;
    bool flush_posted;
    struct segment *active;
};

struct punch;
struct compaction;
struct care_state {                    /* care executor */
    struct task tick;
    struct segment *retiring;          /* waits for its grace period */
    struct segment *retired;           /* will get one */
    bool grace_waiting;
    unsigned grace_slot;
    unsigned drops;                    /* dead segments on their way to deletion: no compaction meanwhile */
    struct compaction *compaction;     /* at most one under way */
    struct timer scrub_timer;
    uint64_t scrub_bytes_per_second;   /* 0: off */
    bool scrub_running;
    struct index_scrub scrub;
    uint64_t scrub_unsaved_bytes;
};

struct node_disk {
    struct node *node;
    struct watch watch;
    struct env *env;                   /* that of `watch` */
    struct kv_factory *kv_factory;
    struct cluster_id cluster;
    struct disk_id id;
    struct node_disk_options options;  /* with defaults filled in */
    char *path, *segments_path, *index_path;
    struct executor *log_executor, *data_executor, *care_executor, *readers;

    atomic_int state;                  /* enum disk_state; ABSENT until open */
    atomic_bool fencing;               /* the first to set it writes `reason` */
    char reason[DISK_REASON_BYTES];    /* valid once state is FENCED */
    atomic_bool closing;
    atomic_bool opened;                /* opening ended, well or badly */
    atomic_bool closed;                /* files are closed */
    bool removed;                      /* home: node_disk_remove(), or it returned */
    atomic_bool gone;                  /* its folder was seen to be missing, or to be another's */
    atomic_bool returned;              /* fenced, its folder went and is back: to be closed and opened anew */
    bool close_posted;                 /* home */
    struct node_disk *next_removed;    /* home */
    struct task remove_task;
    atomic_bool care_posted;           /* a tick is queued or runs */

    atomic_uint_fast64_t pending;      /* calls and background work not finished */
    atomic_uint_fast64_t write_queue_bytes, read_queue_bytes;
    atomic_uint_fast64_t total_bytes, free_bytes;
    atomic_uint_fast64_t shard_count;
    atomic_uint_fast64_t fsync_count;
    atomic_uint_fast64_t scrub_pass_wall_ms;
    atomic_uint_fast64_t scrub_shards, scrub_bytes; /* looked at in the pass under way, since its beginning or the disk's start */
    atomic_uint_fast64_t damage_count;

    uint64_t device, inode;            /* of the superblock at the start; constant */
    bool direct;                       /* O_DIRECT works here; constant */
    struct kv *kv;                     /* reads: any thread while in service; writes: log executor */
    struct segments *segments;
    struct log_state log;
    struct data_state data;
    struct care_state care;
};

/* node_disk.c */
struct node_disk *disk_create(struct node *node, const struct node_config *config,
                              const struct node_disk_config *disk_config);
void disk_open_start(struct node_disk *disk);   /* posts to its executors; on_disk_state tells the end */
void disk_close_start(struct node_disk *disk);  /* home; when pending is 0. Sets `closed` */
void disk_end_threads(struct node_disk *disk);  /* home; after `closed` */
void disk_destroy(struct node_disk *disk);      /* home; after `closed` */
enum disk_state disk_state(const struct node_disk *disk);
bool disk_readable(const struct node_disk *disk);
/* What a call gets from a disk that is not in service; sets *e. */
enum errc disk_refusal(const struct node_disk *disk, struct error *e);
/* Fences: the disk is at fault. Only the first reason counts. Any thread. */
#define FAULT_INDEX "index" /* `what` of failures of the index */
void disk_fence(struct node_disk *disk, const struct error *cause, const char *what);
MUST_CHECK enum errc disk_flush_index(struct node_disk *disk, struct error *e); /* fences on failure */
/* Has the next start rebuild the index from the log; durable on OK. */
enum errc disk_condemn_index(struct node_disk *disk, struct error *e);
/* Fences on what a failed file or index call says, except NO_SPACE. Returns rc. */
enum errc disk_fault(struct node_disk *disk, enum errc rc, const struct error *cause, const char *what);
void disk_set_full(struct node_disk *disk, bool full);
uint64_t disk_free_bytes(const struct node_disk *disk, bool use_reserve);
MUST_CHECK enum errc disk_check_identity(struct node_disk *disk, struct error *e); /* sets `gone` */
/* Is its folder there (again)? */
bool disk_folder_is_there(struct node_disk *disk);
MUST_CHECK enum errc disk_check_space(struct node_disk *disk, struct error *e);
/* Runs `run(disk, data)` on an executor; counts as pending. */
void disk_post(struct node_disk *disk, struct executor *executor,
               void (*run)(struct node_disk *disk, void *data), void *data);
void disk_report_corrupt(struct node_disk *disk, struct extent_id extent, uint8_t index);

/* node.c: callbacks, on home */
void node_tell_state(struct node_disk *disk, enum disk_state state, const char *reason);
void node_tell_corrupt(struct node_disk *disk, struct extent_id extent, uint8_t index);

/* node_log.c */
void log_submit(struct node_disk *disk, struct log_op *op);  /* any thread */
void log_put(struct node_op *op);                            /* any thread */
void log_free(struct node_op *op);                           /* any thread */
/* Applies a record to the batch and the counters: what the live path and replay have in common. */
MUST_CHECK enum errc log_apply(struct node_disk *disk, const struct record_header *header,
                               struct slice meta, const struct segment *segment, uint64_t offset,
                               bool known_absent, struct error *e);
MUST_CHECK enum errc log_index_commit(struct node_disk *disk, struct error *e); /* writes and clears the batch */
MUST_CHECK enum errc log_seal(struct node_disk *disk, struct segment *segment, struct error *e);
MUST_CHECK enum errc index_get(struct node_disk *disk, const struct shard_name *name, bool cached_only,
                               struct enc *memory, struct index_entry *ret, struct error *e);

/* node_replay.c: log executor */
MUST_CHECK enum errc replay_disk(struct node_disk *disk, struct error *e);

/* node_data.c: any thread; they move to the data executor */
void data_submit(struct node_op *op);
void data_init(struct node_disk *disk);
void data_abort_all(struct node_disk *disk);                 /* data executor */

/* node_read.c */
void read_start(struct node_op *op);                         /* any thread: page cache first */
void read_submit(struct node_op *op);                        /* stat, verify, list: on the readers */
struct shard_check {
    struct shard_meta meta;     /* borrows memory */
    struct enc memory;          /* owner: the caller */
};
/* Reads all of a shard and checks it. Blocks. CORRUPT, NOT_FOUND (freed meanwhile), IO. */
MUST_CHECK enum errc shard_verify(struct node_disk *disk, const struct shard_name *name, bool cells,
                                  struct shard_check *ret, struct index_entry *ret_entry, struct error *e);

/* node_care.c: care executor */
void care_tick(struct task *task);
void care_punch(struct node_disk *disk, uint64_t segment, uint64_t offset, uint64_t bytes); /* any thread */
void care_retire(struct node_disk *disk, struct segment *segment); /* after it has left the table */
void care_close(struct node_disk *disk);

/* node_compact.c: care executor */
void compact_tick(struct node_disk *disk);

/* node_scrub.c: care executor */
void scrub_set(struct node_disk *disk, uint64_t bytes_per_second);
void scrub_again(struct node_disk *disk);
void scrub_opened(struct node_disk *disk);                  /* it has come into service. Any thread */

#endif
