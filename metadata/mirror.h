/*
 * mirror - the metadata files of one DIR: state, log segments (checkpoints: checkpoint.h).
 *
 *     DIR/metadata/state          term, vote, generation, the known DIRs; replaced whole
 *     DIR/metadata/log-<index>    records from that index on, at most LOG_SEGMENT_BYTES and one batch
 *
 * A record carries the index of the first record of the write that it was part of. A write begins only when the one
 * before is durable on all live mirrors, so a damaged record with a whole record of a LATER write behind it was
 * acknowledged: the mirror is corrupt and must be refilled. Without one it is a torn tail, never acknowledged, and is
 * cut off; the voter sees to it that an acknowledged record does not stay the last one (voter_log.c "seal").
 * Bytes: docs/formats/metadata-log.md.
 *
 * All calls block. Thread: one at a time (the mirror's executor, or start-up).
 */
#ifndef METADATA_MIRROR_H
#define METADATA_MIRROR_H

#include "common/base/codec.h"
#include "common/base/env.h"
#include "common/base/id.h"
#include "metadata/raft_message.h"

#define LOG_SEGMENT_BYTES (16u << 20)
#define LOG_RECORD_HEADER_BYTES 48
#define LOG_ENTRY_BYTES_MAX (2u << 20)
#define MIRROR_DIRS_MAX 64
#define MIRROR_PATH_BYTES 1024

struct mirror_dir {
    struct disk_id disk;
    char path[MIRROR_PATH_BYTES]; /* as last seen */
    bool is_mirror;               /* holds the log of this generation */
    bool is_counted;              /* holds (or was to hold) the state of this generation: more than half of these start it */
};

struct mirror_state {
    struct cluster_id cluster;
    struct disk_id self;
    uint64_t generation;          /* grows with every change of the mirror set: the highest wins at a start */
    uint64_t nonce;               /* random, tells two attempts at one generation apart */
    uint64_t term, vote;
    uint64_t raft_id;             /* of this voter */
    struct raft_core_members members; /* as last committed; what the log has later goes over it */
    uint64_t install_index;       /* not 0: the checkpoint of that index is to become the state, and its entry the log */
    uint32_t wanted;              /* mirrors that there should be */
    uint32_t dir_count;
    struct mirror_dir dirs[MIRROR_DIRS_MAX];
};

struct log_entry {
    uint64_t index, term;
    uint32_t chain;               /* CRC of its header: what the next record names */
    uint8_t type;                 /* enum raft_core_type */
    struct slice data;            /* borrows log_contents.bytes */
};

/* What a mirror's log holds, after its torn tail was cut. */
struct log_contents {
    struct enc bytes;             /* data of all entries, one after another */
    struct log_entry *entries;
    size_t count;
    uint64_t first_index;         /* of the first entry, or of the one to come */
    uint32_t chain;               /* header CRC of the last record */
    uint64_t byte_count;          /* of the records */
};

struct mirror {
    struct env *env;
    struct cluster_id cluster;
    struct disk_id disk;
    char *dir;                    /* DIR/metadata */
    struct env_file *segment;     /* the one written to; NULL: the next batch begins one */
    uint64_t segment_bytes;       /* a segment of this size is left for a new one; LOG_SEGMENT_BYTES, less in tests */
    uint64_t segment_first;
    uint64_t segment_end;         /* bytes */
    uint64_t segment_inode;       /* a file of another inode under its name: the folder vanished */
};

void mirror_init(struct mirror *mirror, struct env *env, struct cluster_id cluster, struct disk_id disk,
                 const char *path);
void mirror_done(struct mirror *mirror);
/* Makes DIR/metadata if it is not there. */
MUST_CHECK enum errc mirror_create(struct mirror *mirror, struct error *e);

/* NOT_FOUND: never a mirror. CORRUPT, FORMAT, IO. */
MUST_CHECK enum errc mirror_state_read(struct mirror *mirror, struct mirror_state *ret_state, struct error *e);
MUST_CHECK enum errc mirror_state_write(struct mirror *mirror, const struct mirror_state *state, struct error *e);

/* Reads the log from its first segment to its end and cuts a torn tail off. CORRUPT: acknowledged records are damaged
 * or missing. The contents must be freed. */
MUST_CHECK enum errc mirror_log_load(struct mirror *mirror, struct log_contents *ret_contents, struct error *e);
/* Only reads: records up to `until`, while others may be appended. CORRUPT: one of those is damaged or missing. */
MUST_CHECK enum errc mirror_log_read(struct mirror *mirror, uint64_t until, struct log_contents *ret_contents,
                                     struct error *e);
void log_contents_free(struct log_contents *contents);

/* Encodes a record into out; returns its chain value for the next one. The mark that records begin with is made from the
 * cluster's id, which clients do not know: their bytes cannot pose as a record behind a torn one. */
uint32_t log_record_encode(struct enc *out, struct cluster_id cluster, uint64_t index, uint64_t term, uint8_t type,
                           uint64_t batch_first, uint32_t chain, struct slice data);
/* Appends records that begin at first_index and makes them durable. chain_seed: chain before the first record.
 * IO also when the file can no longer be reached by its name: what was written there would never be found again. */
MUST_CHECK enum errc mirror_append(struct mirror *mirror, struct slice records, uint64_t first_index,
                                   uint32_t chain_seed, struct error *e);
/* The next append begins a segment. */
void mirror_roll(struct mirror *mirror);
/* Removes segments all of whose records are below index; the record at index stays, so a log is never empty. */
MUST_CHECK enum errc mirror_cut(struct mirror *mirror, uint64_t index, struct error *e);
/* Removes what the log has from `index` on, durably: another leader's entries come in its place. An entry before it stays.
 * CORRUPT: the entry before it is not to be found. */
MUST_CHECK enum errc mirror_truncate(struct mirror *mirror, uint64_t index, struct error *e);
/* Removes the whole log. */
MUST_CHECK enum errc mirror_log_wipe(struct mirror *mirror, struct error *e);
/* Replaces this mirror's log by a copy of another's up to its last index, durable and read back. The source must not be
 * written meanwhile. CORRUPT: the source can't be read or is damaged; anything else is the target's. */
MUST_CHECK enum errc mirror_log_copy(struct mirror *mirror, const struct mirror *source, uint64_t last,
                                     struct error *e);

#endif
