/*
 * node_record - the bytes of segment headers, frames and records (docs/formats/segment.md). Pure.
 *
 * A log segment is a header block and then frames, each at a multiple of FRAME_ALIGN. A frame is what one
 * group commit wrote: a header and records. Nothing of a frame was acknowledged before all of it was synced.
 *
 *   frame   header 64 | record | record | ... | zeros to FRAME_ALIGN
 *   record  header 96 | body, zeros to 8 | meta, zeros to 8
 */
#ifndef STORAGE_NODE_NODE_RECORD_H
#define STORAGE_NODE_NODE_RECORD_H

#include "common/base/error.h"
#include "common/base/id.h"
#include "common/rpc/node_messages.h"

#define SEGMENT_FORMAT 1
#define SEGMENT_HEADER_BYTES 4096  /* two copies, at 0 and SEGMENT_HEADER_COPY */
#define SEGMENT_HEADER_COPY 2048
#define FRAME_FORMAT 1
#define FRAME_ALIGN 512            /* a frame never shares a sector with another */
#define FRAME_HEADER_BYTES 64
#define FRAME_BYTES_MAX (16u << 20)
#define RECORD_HEADER_BYTES 96
#define RECORD_ALIGN 8
#define RECORD_META_BYTES_MAX (128u << 10)
#define RECORD_BODY_BYTES_MAX (1u << 20)
#define TOMBSTONE_BYTES 25         /* extent id, shard index, log segment of the killed record */
#define DATA_ALIGN 4096            /* ranges of large shards */

enum segment_kind { SEGMENT_LOG = 1, SEGMENT_DATA = 2 };

struct segment_header {
    uint8_t kind;            /* enum segment_kind */
    uint64_t number;
    uint64_t salt;           /* random: bytes of a client cannot pose as a frame */
    struct cluster_id cluster;
    struct disk_id disk;
};

void segment_header_encode(const struct segment_header *header, uint8_t block[SEGMENT_HEADER_BYTES]);
/* Either copy will do. CORRUPT, FORMAT. */
MUST_CHECK enum errc segment_header_decode(const uint8_t block[SEGMENT_HEADER_BYTES],
                                           struct segment_header *ret);

#define FRAME_SEAL 1 /* flag: the last frame of its segment, without records */

struct frame_header {
    uint16_t flags;
    uint64_t salt;           /* of the segment */
    uint64_t segment;
    uint64_t seq;            /* grows from frame to frame, over all segments */
    uint32_t frame_bytes;    /* multiple of FRAME_ALIGN */
    uint32_t used_bytes;     /* header and records */
    uint32_t record_count;
};

void frame_header_encode(const struct frame_header *header, uint8_t bytes[FRAME_HEADER_BYTES]);
/* CORRUPT unless magic, checksum and lengths hold; FORMAT if a newer program wrote it. */
MUST_CHECK enum errc frame_header_decode(const uint8_t bytes[FRAME_HEADER_BYTES], struct frame_header *ret);

enum record_type {
    RECORD_SHARD = 1,  /* body: the cells. meta: header, cell CRCs, footer */
    RECORD_COMMIT = 2, /* no body: the cells lie in a data segment. meta as above */
    RECORD_FREE = 3,   /* meta: tombstones */
};

struct record_header {
    uint8_t type;            /* enum record_type */
    uint8_t index;           /* of the shard */
    struct extent_id extent;
    uint64_t salt;
    uint64_t frame_seq;
    uint32_t body_bytes;
    uint32_t meta_bytes;
    uint32_t meta_crc;
    uint64_t data_segment;   /* COMMIT */
    uint64_t data_offset;
    uint64_t source_segment; /* of a record that compaction copied: where it lay; otherwise 0 */
};

void record_header_encode(const struct record_header *header, uint8_t bytes[RECORD_HEADER_BYTES]);
MUST_CHECK enum errc record_header_decode(const uint8_t bytes[RECORD_HEADER_BYTES],
                                          struct record_header *ret);

static inline uint64_t align_up(uint64_t bytes, uint64_t alignment)
{
    return (bytes + alignment - 1) / alignment * alignment;
}

static inline uint64_t record_meta_offset(const struct record_header *header)
{
    return RECORD_HEADER_BYTES + align_up(header->body_bytes, RECORD_ALIGN);
}

static inline uint64_t record_bytes(const struct record_header *header)
{
    return record_meta_offset(header) + align_up(header->meta_bytes, RECORD_ALIGN);
}

/* Meta of a shard: what is stored with its cells. Slices borrow the input. */
struct shard_meta {
    struct shard_header header;
    struct slice cell_crcs;
    struct slice footer;
};

void shard_meta_encode(struct enc *enc, const struct shard_meta *meta);
MUST_CHECK enum errc shard_meta_decode(struct slice bytes, struct shard_meta *ret);

/* Length of cell `i` of a shard. */
static inline uint32_t shard_cell_bytes(uint32_t cell_bytes, uint32_t cell_count, uint32_t shard_bytes,
                                        uint32_t i)
{
    return i + 1 < cell_count ? cell_bytes : shard_bytes - (cell_count - 1) * cell_bytes;
}

/* A record in memory, its slices borrowed from the frame. */
struct record {
    struct record_header header;
    uint64_t offset;      /* in its segment */
    struct slice body;
    struct slice meta;
};

/*
 * Reads the record at *at of a frame's bytes (`frame_offset` in its segment) and moves *at behind it.
 * CORRUPT when its header, meta or lengths do not hold; cells are checked by record_check_cells().
 */
MUST_CHECK enum errc record_read(struct slice frame, uint64_t frame_offset, uint64_t salt, size_t *at,
                                 struct record *ret);
/* Header and meta name the same shard, and (SHARD) every cell matches its CRC. */
MUST_CHECK enum errc record_check(const struct record *record, struct shard_meta *ret_meta);

/* First cell of `cells` (one after another) that does not match `crcs`; cell_count if all do. */
uint32_t cells_verify(struct slice cells, struct slice crcs, uint32_t cell_bytes, uint32_t cell_count);

#endif
