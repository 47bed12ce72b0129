/*
 * node_segment - the segment files of one disk, and the table that finds them by number.
 *
 * Numbers grow and are never used again. Readers on any thread find a segment without a lock: the table is
 * two levels of atomic pointers, and a segment that has left the table is closed only after a grace period
 * in which every reader that may still hold it has left (grace_enter, grace_leave).
 * Thread: each function says. Counters are written by the disk's log executor alone.
 */
#ifndef STORAGE_NODE_NODE_SEGMENT_H
#define STORAGE_NODE_NODE_SEGMENT_H

#include "common/base/env.h"
#include "storage-node/node_index.h"
#include "storage-node/node_record.h"

#include <stdatomic.h>

#define SEGMENT_BYTES_MIN (64u << 10)
#define SEGMENT_TABLE_CHUNKS 16384
#define SEGMENT_TABLE_CHUNK 4096  /* 67 million segments in the life of a disk */

struct segment {
    uint64_t number;
    uint8_t kind;                  /* enum segment_kind */
    uint64_t salt;
    struct env_file *file;         /* through the page cache */
    struct env_file *direct;       /* O_DIRECT, while a data segment is written; or NULL */
    uint64_t size;                 /* as preallocated */
    uint64_t zeroed_end;           /* LOG: written up to here, if only with zeros */
    uint64_t end;                  /* first free byte; owner: the executor that appends */
    atomic_bool sealed;            /* nothing will be appended */
    atomic_uint opens;             /* DATA: shards being written to it */
    /* written by the log executor, read by care and status */
    atomic_uint_fast64_t live_bytes, live_count, tombstones, sealed_end;
    atomic_bool compacting;
    atomic_bool damaged;           /* LOG: compaction met bytes that do not match; it stays as it is */
    bool clean;
    bool touched;                  /* log executor: counters to be stored with the next batch */
    struct segment *next_touched;
    struct segment *next_retired;  /* care executor */
    bool dropping;                 /* care executor: on its way out of the table */
};

struct segment_chunk {
    _Atomic(struct segment *) entries[SEGMENT_TABLE_CHUNK];
};

struct segments {
    _Atomic(struct segment_chunk *) chunks[SEGMENT_TABLE_CHUNKS];
    atomic_uint_fast64_t next;     /* number of the next new segment */
    atomic_uint epoch;             /* grace periods */
    atomic_uint active[2];
    struct segment *touched;       /* log executor */
};

struct node_disk;

struct segments *segments_create(void);
/* Closes the files; nobody may use the table any more. */
void segments_destroy(struct env *env, struct segments *segments);

/* Any thread, between grace_enter() and grace_leave() or on the executor that retires. NULL: none. */
struct segment *segments_find(struct segments *segments, uint64_t number);
/* The first with a number of at least `number`. */
struct segment *segments_next(struct segments *segments, uint64_t number);
void segments_insert(struct segments *segments, struct segment *segment);
/* Log executor. */
void segments_remove(struct segments *segments, struct segment *segment);

unsigned grace_enter(struct segments *segments);
void grace_leave(struct segments *segments, unsigned slot);
/* Begins a new period; returns the slot that must be empty before what was removed so far is freed. */
unsigned grace_flip(struct segments *segments);
bool grace_over(struct segments *segments, unsigned slot);

/*
 * Makes a segment file of `bytes` (less, but at least `bytes_min`, where the disk has no room), durable with
 * its name, and puts it into the table. use_reserve: even below the disk's reserve.
 * Thread: log or data executor. Errors: NO_SPACE; IO and others: the disk is at fault.
 */
MUST_CHECK enum errc segment_make(struct node_disk *disk, enum segment_kind kind, uint64_t bytes,
                                  uint64_t bytes_min, bool use_reserve, struct segment **ret,
                                  struct error *e);
/* Opens one that exists and checks its header. Log executor, at the start. */
MUST_CHECK enum errc segment_load(struct node_disk *disk, uint64_t number, struct segment **ret,
                                  struct error *e);
void segment_free(struct env *env, struct segment *segment);
char *segment_path(const struct node_disk *disk, uint64_t number); /* gives */
/* Deletes the file and syncs the folder. */
MUST_CHECK enum errc segment_unlink(struct node_disk *disk, uint64_t number, struct error *e);

/* Sealed, and nothing in it is needed. */
bool segment_dead(const struct segment *segment);

/* Log executor: counters. A missing segment is ignored (it was deleted after the log went on). */
void segment_account(struct segments *segments, uint64_t number, int64_t bytes, int64_t count);
void segment_touch(struct segments *segments, struct segment *segment);

#endif
