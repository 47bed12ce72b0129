/*
 * extent - what every layer means by an extent, its code and its shards (BLUEPRINT 4, docs/FORMATS.md).
 *
 * An extent is at most EXTENT_BYTES_MAX of object data, immutable, named by an id that is never reused,
 * cut into stripes of k cells plus m parity cells. Shard i holds cell i of every stripe. All cells of a
 * shard have cell_bytes, but the last, which is as long as the last stripe needs (erasure/geometry.h).
 */
#ifndef COMMON_BASE_EXTENT_H
#define COMMON_BASE_EXTENT_H

#include "common/base/codec.h"
#include "common/base/id.h"

#define EXTENT_BYTES_MAX (64u << 20)   /* object data in one extent */
#define CELL_BYTES_MAX (128u << 10)    /* a cell of a large extent */
#define CELL_BYTES_UNIT 64             /* every cell length is a multiple */
#define CODE_K_MAX 16
#define CODE_M_MAX 6
#define CODE_SHARDS_MAX (CODE_K_MAX + CODE_M_MAX)

enum extent_matrix {
    MATRIX_COPIES = 1, /* k = 1: every shard is the data itself */
    MATRIX_CAUCHY = 2, /* gf_gen_cauchy1_matrix of isa-l, rows k..k+m-1 are parity */
};

struct extent_code {
    uint8_t matrix;      /* enum extent_matrix */
    uint8_t k;           /* 1..CODE_K_MAX */
    uint8_t m;           /* 0..CODE_M_MAX */
    uint32_t cell_bytes; /* CELL_BYTES_UNIT..CELL_BYTES_MAX */
};

/* How stored bytes come from logical bytes. None today; the fields are in every record from the
 * first format on, so that compression and encryption need no new one. */
struct extent_transform {
    uint8_t kind;          /* 0 = none: stored_bytes == logical_bytes */
    uint8_t key_ref[16];   /* which data key; zero with kind 0 */
    uint8_t nonce_base[12];
};

/* The extent as the metadata service knows it (table `extent index`) and as a reader needs it. */
struct extent {
    struct extent_id id;
    struct extent_code code;
    struct extent_transform transform;
    uint64_t logical_bytes;
    uint64_t stored_bytes;
    uint32_t group;                         /* placement group */
    uint32_t epoch;                         /* of this record: repair publishes by compare-and-set on it */
    uint8_t position[CODE_SHARDS_MAX];      /* shard index -> position in the placement group */
    uint32_t missing;                       /* bit i: shard i is not there (never written, lost, or being rebuilt) */
    uint8_t class_k, class_m;               /* the code that its bucket's class asks for */
    uint32_t references;                    /* versions and parts that use it */
};

/* A part of an object's data: `length` bytes at `offset` (logical) of an extent. */
struct extent_ref {
    struct extent_id extent;
    uint64_t offset;
    uint64_t length;
};

/* Who an extent was written for, as far as known when the shard header is written: lets metadata
 * newer than the last backup be rebuilt from disks. Borrowed slices. */
struct extent_owner {
    uint64_t bucket_id;
    struct slice key;
    uint64_t session;
    uint8_t upload_id[16];   /* zero: not a part */
    uint16_t part_number;    /* 0: not a part */
    uint64_t object_offset;  /* of the extent's first byte in its object or part */
    uint64_t proposer_wall_ms;
};

void extent_encode(struct enc *enc, const struct extent *extent);
void extent_decode(struct dec *dec, struct extent *ret_extent); /* dec->failed on any value out of range */
void extent_transform_encode(struct enc *enc, const struct extent_transform *transform);
void extent_transform_decode(struct dec *dec, struct extent_transform *ret_transform);
void extent_ref_encode(struct enc *enc, const struct extent_ref *ref);
void extent_ref_decode(struct dec *dec, struct extent_ref *ret_ref);
void extent_owner_encode(struct enc *enc, const struct extent_owner *owner);
void extent_owner_decode(struct dec *dec, struct extent_owner *ret_owner); /* borrows the input */
bool extent_code_valid(const struct extent_code *code);

#endif
