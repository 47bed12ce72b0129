/*
 * record - the values of the state machine's map (docs/formats/metadata.md).
 *
 * Every value begins with a byte of format version. Encoders start over (enc_reset); decoders borrow the
 * value and answer OK, CORRUPT, or FORMAT for a version of a newer program. Long arrays (references, part
 * references) stay encoded and are walked.
 */
#ifndef METADATA_RECORD_H
#define METADATA_RECORD_H

#include "common/base/codec.h"
#include "common/base/error.h"
#include "common/rpc/metadata_messages.h"

#define RECORD_VERSION 1
#define RECORD_GROUP_CLASS 2   /* version of a group's record that has a class */
#define RECORD_GROUP_CHANGES 3 /* of one whose positions changed at different times; with a class or without */
#define RECORD_GC_KEY 2      /* version of a gc item of kind GC_BODY, and of GC_BUCKET once it has a place */
#define RECORD_PART_CHUNK 128 /* part references in one PART_LIST record */
#define RECORD_CHUNKS_MAX ((PARTS_MAX + RECORD_PART_CHUNK - 1) / RECORD_PART_CHUNK)

struct machine_counters {
    struct meta_status status; /* its index is not kept */
    uint64_t next_bucket, next_session, next_gc, next_completed;
    uint64_t revision;         /* of the cluster map */
};

struct position_record {
    uint64_t index;
    uint32_t sub;
    uint8_t chain[16];
};

struct bucket_counts {
    uint64_t next_seq;
    uint64_t objects;  /* current versions that are no delete markers */
    uint64_t bytes;    /* of all versions */
    uint64_t versions; /* rows of CURRENT and NONCURRENT, delete markers too */
    uint64_t uploads;
};

struct current_record {
    struct meta_row row;
    uint64_t null_seq; /* of the null version when it is not current; 0: there is none */
};

struct body_record {
    struct slice headers, user_metadata;
    struct meta_checksum checksum;
    uint8_t data_kind;
    uint32_t ref_count;       /* META_DATA_EXTENTS */
    struct slice refs;        /* encoded extent_ref */
    uint8_t upload_id[16];    /* META_DATA_PARTS: names the PART_LIST records */
    uint32_t part_count;
    struct slice chunks;      /* encoded: number of the first part, offset of its first byte; for each chunk */
};

struct manifest_record {
    uint64_t size;
    struct slice inline_bytes; /* or */
    uint32_t ref_count;
    struct slice refs;
};

struct part_record {
    struct meta_part part;
    uint8_t part_id[16];
    uint32_t ref_count; /* of its manifest */
};

struct completed_record {
    struct slice key;
    uint8_t list_hash[16]; /* truncated SHA-256 of the listed numbers and ETags */
    struct meta_result result;
};

enum gc_kind {
    GC_EXTENT = 1,   /* free the shards */
    GC_REFS = 2,     /* drop these references */
    GC_MANIFEST = 3, /* drop the references of one part */
    GC_LIST = 4,     /* drop the parts of a version, from `done` on */
    GC_UPLOAD = 5,   /* drop the rows of an upload's parts */
    GC_BUCKET = 6,   /* drop the uploads of a deleted bucket */
    GC_BODY = 7,     /* drop the body of a deleted version, then what it names: goes on as GC_REFS or GC_LIST */
};

struct gc_record {
    uint64_t index; /* log index of the delete */
    uint8_t kind;   /* enum gc_kind */
    struct extent extent;
    uint32_t ref_count;
    struct slice refs;
    uint8_t id[16]; /* part id or upload id */
    uint64_t bucket;
    uint32_t done, part_count; /* parts dropped, of a list; GC_UPLOAD, GC_BUCKET: number of the next part */
    struct slice key; /* GC_BODY: of the object; GC_BUCKET: of the map, the upload that it has reached; borrowed */
    uint64_t seq;     /* and of the version */
};

struct session_record {
    struct node_id node;
    bool open;
    uint64_t next_counter;
    uint64_t opened_ms;
};

struct group_record {
    struct meta_group group;
    uint64_t changed[GROUP_DISKS_MAX]; /* by position: revision of the map when it last got another disk, or the group was made */
};

struct token_record {
    struct meta_token token;
    bool used;
    uint8_t used_by[META_HASH_BYTES]; /* hash of the public key */
};

struct client_record {
    uint32_t number;      /* of its slots */
    uint64_t noted_index;
};

struct request_record {
    uint64_t number;
    struct slice result;  /* encoded */
};

void record_counters_append(struct enc *enc, const struct machine_counters *in); /* a part of STATE */
void record_state_encode(struct enc *enc, const struct position_record *position,
                         const struct machine_counters *counters);
MUST_CHECK enum errc record_state_decode(struct slice value, struct position_record *ret_position,
                                         struct machine_counters *ret_counters);
void record_bucket_encode(struct enc *enc, const struct meta_bucket *in); /* without the counters */
MUST_CHECK enum errc record_bucket_decode(struct slice value, struct meta_bucket *ret);
void record_counts_encode(struct enc *enc, const struct bucket_counts *in);
MUST_CHECK enum errc record_counts_decode(struct slice value, struct bucket_counts *ret);
void record_current_encode(struct enc *enc, const struct current_record *in);
MUST_CHECK enum errc record_current_decode(struct slice value, struct current_record *ret);
void record_row_encode(struct enc *enc, const struct meta_row *in);
MUST_CHECK enum errc record_row_decode(struct slice value, struct meta_row *ret);
void record_body_encode(struct enc *enc, const struct body_record *in);
MUST_CHECK enum errc record_body_decode(struct slice value, struct body_record *ret);
void record_bytes_encode(struct enc *enc, struct slice bytes); /* INLINE, BUCKET_NAME, IDENTITY, SETTING, marks */
MUST_CHECK enum errc record_bytes_decode(struct slice value, struct slice *ret);
void record_manifest_encode(struct enc *enc, const struct manifest_record *in);
MUST_CHECK enum errc record_manifest_decode(struct slice value, struct manifest_record *ret);
void record_part_encode(struct enc *enc, const struct part_record *in);
MUST_CHECK enum errc record_part_decode(struct slice value, struct part_record *ret);
void record_upload_encode(struct enc *enc, const struct meta_upload *in);
MUST_CHECK enum errc record_upload_decode(struct slice value, struct meta_upload *ret);
void record_completed_encode(struct enc *enc, const struct completed_record *in);
MUST_CHECK enum errc record_completed_decode(struct slice value, struct completed_record *ret);
void record_extent_encode(struct enc *enc, const struct extent *in);
MUST_CHECK enum errc record_extent_decode(struct slice value, struct extent *ret);
void record_gc_encode(struct enc *enc, const struct gc_record *in);
MUST_CHECK enum errc record_gc_decode(struct slice value, struct gc_record *ret);
void record_u64_encode(struct enc *enc, uint64_t in);
void record_session_encode(struct enc *enc, const struct session_record *in);
MUST_CHECK enum errc record_session_decode(struct slice value, struct session_record *ret);
void record_disk_encode(struct enc *enc, const struct meta_disk *in);
MUST_CHECK enum errc record_disk_decode(struct slice value, struct meta_disk *ret);
void record_node_encode(struct enc *enc, const struct meta_node *in);
MUST_CHECK enum errc record_node_decode(struct slice value, struct meta_node *ret);
void record_token_encode(struct enc *enc, const struct token_record *in);
MUST_CHECK enum errc record_token_decode(struct slice value, struct token_record *ret);
void record_client_encode(struct enc *enc, const struct client_record *in);
MUST_CHECK enum errc record_client_decode(struct slice value, struct client_record *ret);
void record_request_encode(struct enc *enc, const struct request_record *in);
MUST_CHECK enum errc record_request_decode(struct slice value, struct request_record *ret);
void record_group_encode(struct enc *enc, const struct group_record *in);
MUST_CHECK enum errc record_group_decode(struct slice value, struct group_record *ret);

/* A PART_LIST record: begin, then meta_part_ref_encode for each; record_walk reads the version. */
void record_chunk_begin(struct enc *enc);
/* Opens a value for a walk: dec stands behind the version. */
MUST_CHECK enum errc record_walk(struct slice value, struct dec *ret_dec);
void record_refs_encode(struct enc *enc, uint32_t count, const struct extent_ref *refs); /* appends, no count */

#endif
