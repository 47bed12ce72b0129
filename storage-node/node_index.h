/*
 * node_index - keys and values of a disk's index (docs/formats/segment.md "Index"). Pure.
 *
 *   'x' extent(16) index(1)          -> entry: where the shard lies, its cells' checksums
 *   's' segment(8, big-endian)       -> counters of the segment
 *   'd' segment(8) offset(8)         -> a range of a data segment in use: length(8) extent index
 *   'p'                              -> position up to which the log is in the index
 *   'c'                              -> where scrub goes on
 */
#ifndef STORAGE_NODE_NODE_INDEX_H
#define STORAGE_NODE_NODE_INDEX_H

#include "common/base/codec.h"
#include "common/base/error.h"
#include "common/base/id.h"

#define INDEX_KEY_BYTES_MAX 18

struct shard_name {
    struct extent_id extent;
    uint8_t index;
};
#define SHARD_NAME_BYTES 17

struct index_key {
    uint8_t bytes[INDEX_KEY_BYTES_MAX];
    size_t len;
};

static inline struct slice index_key_slice(const struct index_key *key)
{
    return slice_of(key->bytes, key->len);
}

struct index_key index_key_shard(const struct shard_name *name);
struct index_key index_key_segment(uint64_t segment);
struct index_key index_key_range(uint64_t segment, uint64_t offset);
struct index_key index_key_position(void);
struct index_key index_key_scrub(void);
/* The first key behind all keys that begin with `prefix`. */
struct index_key index_key_end(char prefix);

bool shard_name_from_key(struct slice key, struct shard_name *ret);
bool shard_name_equal(const struct shard_name *a, const struct shard_name *b);

struct index_entry {
    uint64_t log_segment;   /* of the record */
    uint64_t log_offset;
    uint32_t body_bytes;    /* of the record */
    uint32_t meta_bytes;
    uint32_t cell_bytes;
    uint32_t cell_count;
    uint32_t shard_bytes;
    bool large;             /* the cells lie in a data segment */
    uint64_t data_segment;
    uint64_t data_offset;
    struct slice cell_crcs; /* borrowed */
};

void index_entry_encode(struct enc *enc, const struct index_entry *entry);
MUST_CHECK enum errc index_entry_decode(struct slice bytes, struct index_entry *ret);
uint64_t index_entry_log_bytes(const struct index_entry *entry);  /* of the record */
uint64_t index_entry_data_bytes(const struct index_entry *entry); /* of the range; 0 without one */
static inline bool index_entry_same_place(const struct index_entry *a, const struct index_entry *b)
{
    return a->log_segment == b->log_segment && a->log_offset == b->log_offset;
}

struct index_segment {
    uint8_t kind;           /* enum segment_kind */
    bool sealed;
    bool clean;             /* DATA: no range that is neither in use nor punched */
    bool compacting;        /* LOG: records of it have been copied elsewhere */
    uint64_t end;
    uint64_t live_bytes, live_count;
    uint64_t tombstones;
};

void index_segment_encode(struct enc *enc, const struct index_segment *segment);
MUST_CHECK enum errc index_segment_decode(struct slice bytes, struct index_segment *ret);

struct index_position {
    uint64_t segment;       /* 0: nothing yet */
    uint64_t offset;        /* all frames before it are in the index */
    uint64_t seq;           /* of the last frame */
    uint64_t next_segment;  /* no number from here on was used */
};

void index_position_encode(struct enc *enc, const struct index_position *position);
MUST_CHECK enum errc index_position_decode(struct slice bytes, struct index_position *ret);

struct index_scrub {
    struct shard_name next;
    uint64_t pass_wall_ms;  /* end of the last whole pass; 0: none */
};

void index_scrub_encode(struct enc *enc, const struct index_scrub *scrub);
MUST_CHECK enum errc index_scrub_decode(struct slice bytes, struct index_scrub *ret);

#endif
