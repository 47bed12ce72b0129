/* audit_parts - the inside of machine_audit(), shared by machine_audit.c and audit_refs.c only. */
#ifndef METADATA_AUDIT_PARTS_H
#define METADATA_AUDIT_PARTS_H

#include "metadata/machine_audit.h"
#include "metadata/machine_state.h"

/* Of a bucket, from its rows. */
struct audit_bucket {
    uint64_t id;
    struct bucket_counts recorded, counted;
    uint64_t bodies, live;       /* BODY rows; versions that are no delete markers */
    uint64_t leaving;            /* GC_BODY items: bodies without a version */
    bool has_counts, named;      /* rows of BUCKET_COUNTS, BUCKET */
};

/* An item of the gc queue that works on a part list and is in the midst of a chunk: what stands before `done` is gone. */
struct audit_list {
    uint64_t bucket;
    uint8_t upload_id[16];
    uint32_t done;
};

struct audit {
    const struct machine_audit *config;
    struct kv *kv;
    struct kv_iterator *it;
    struct error *e;
    struct audit_counts counts;
    struct machine_counters recorded;
    struct meta_status counted;
    struct audit_bucket *buckets;  /* by id */
    size_t bucket_count, bucket_capacity;
    uint64_t *gone_buckets;        /* of GC_BUCKET items */
    size_t gone_count, gone_capacity;
    struct audit_list *lists;
    size_t list_count, list_capacity;
    uint64_t gc_extents, gc_extent_rows;
    uint64_t gone_bodies, gone_leaving; /* BODY rows and GC_BODY items of buckets that are not there */
};

typedef enum errc (*audit_row)(struct audit *a, struct slice key, struct slice value, void *data);

/* Shows every row of the table to `row`, in order. */
MUST_CHECK enum errc audit_walk(struct audit *a, enum key_table table, audit_row row, void *data);
/* The same from this key on, to the end of its table. */
MUST_CHECK enum errc audit_walk_from(struct audit *a, const struct key *first, audit_row row, void *data);
void audit_found(struct audit *a, const char *kind, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* An array that grows; the element is zeroed. */
void *audit_grow(void *array, size_t *capacity, size_t count, size_t element_bytes);

/* audit_refs.c: extents and manifests against who names them */
MUST_CHECK enum errc audit_extents(struct audit *a);
MUST_CHECK enum errc audit_manifests(struct audit *a);

#endif
