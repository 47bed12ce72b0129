/*
 * read - the inside of machine_query(): one reader for one query.
 *
 * A query of several gets runs while commands are applied, so what one get names may be gone for the next:
 * such a read answers ERRC_CONFLICT and is run again. An absence concluded from more than one get
 * (`absent`) stands only if no batch was written meanwhile. After READ_ATTEMPTS it runs with writes held up.
 * The index of a reply is taken before the first get: the state read is that one or newer.
 * Thread: any; a reader belongs to its query.
 */
#ifndef METADATA_READ_H
#define METADATA_READ_H

#include "metadata/machine_state.h"

#define READ_ATTEMPTS 16
#define READ_ROWS_MAX 1000      /* of queues and tables in one reply, where the query gives no smaller limit */
#define READ_BUCKETS_MAX 10000

struct reader {
    struct machine *m;
    struct kv *kv;
    bool cached_only;
    bool absent;
    bool locked;       /* machine_view_lock() is held */
    uint64_t index;
    struct error *e;
    struct arena *arena;
    const struct meta_query *query;
    struct enc *reply;
    struct enc row, body, data, name, value; /* each of one get, kept until the reply is encoded */
};

MUST_CHECK enum errc read_get(struct reader *r, const struct key *key, struct enc *value);
/* For gets whose absence means that the map changed: CONFLICT. */
MUST_CHECK enum errc read_must(struct reader *r, const struct key *key, struct enc *value);
/* The bucket of the query, without counters; NOT_FOUND. Borrows r->name. */
MUST_CHECK enum errc read_bucket(struct reader *r, struct meta_bucket *ret_bucket);
/* WOULD_BLOCK with cached_only. Stands at the first entry. Gives. */
MUST_CHECK enum errc read_walk(struct reader *r, const struct key *first, const struct key *end,
                               struct kv_iterator **ret_it);
/* Destroys the iterator; rc, or what stopped the walk. */
MUST_CHECK enum errc read_walk_end(struct reader *r, struct kv_iterator *it, enum errc rc);
uint32_t read_limit(const struct reader *r, uint32_t max);

MUST_CHECK enum errc read_bucket_query(struct reader *r);
MUST_CHECK enum errc read_buckets_query(struct reader *r);
MUST_CHECK enum errc read_object_query(struct reader *r);
MUST_CHECK enum errc read_list_query(struct reader *r);
MUST_CHECK enum errc read_versions_query(struct reader *r);
MUST_CHECK enum errc read_uploads_query(struct reader *r);
MUST_CHECK enum errc read_upload_query(struct reader *r);
MUST_CHECK enum errc read_parts_query(struct reader *r);
MUST_CHECK enum errc read_retired_query(struct reader *r);
MUST_CHECK enum errc read_extent_query(struct reader *r);
MUST_CHECK enum errc read_exist_query(struct reader *r);
MUST_CHECK enum errc read_gc_query(struct reader *r);
MUST_CHECK enum errc read_repair_query(struct reader *r);
MUST_CHECK enum errc read_group_extents_query(struct reader *r);
MUST_CHECK enum errc read_extent_rows_query(struct reader *r);
MUST_CHECK enum errc read_sessions_query(struct reader *r);
MUST_CHECK enum errc read_tokens_query(struct reader *r); /* read_token.c */
MUST_CHECK enum errc read_cluster_query(struct reader *r);
MUST_CHECK enum errc read_identities_query(struct reader *r);
MUST_CHECK enum errc read_setting_query(struct reader *r);
MUST_CHECK enum errc read_status_query(struct reader *r);

#endif
