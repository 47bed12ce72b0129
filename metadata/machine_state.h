/*
 * machine_state - the inside of the state machine, shared by machine.c, apply_*.c and read_*.c only.
 *
 * One command is one `struct apply`: it collects puts in the machine's batch and changes of extents in its
 * working set; machine.c writes all of it at the end when the outcome is META_OK, and nothing but the
 * position otherwise. Reads see the map as it was before the command, so a command that must see its own
 * changes keeps them in memory (extents, bucket counters).
 * Thread: everything but `cache`, `applied_index`, `writes` and `view` belongs to the applying thread.
 */
#ifndef METADATA_MACHINE_STATE_H
#define METADATA_MACHINE_STATE_H

#include "common/base/arena.h"
#include "common/base/digest.h"
#include "metadata/key.h"
#include "metadata/machine.h"
#include "metadata/read_cache.h"
#include "metadata/record.h"

#include <stdatomic.h>

#define BUCKET_SLOTS 256
#define SESSION_SLOTS 64
#define SCRATCH_MAX 24
#define EXTENT_HASH_SLOTS 4096
#define REQUESTS_KEPT META_REQUESTS_KEPT
#define CLIENTS_KEPT 128
#define COMPLETED_MAX 10000     /* completed uploads remembered */
#define READ_EXTENTS_MAX 32     /* in one object reply: a version of more keeps its body for those who read it */
#define DROP_REFS_AT_ONCE 64    /* more references of a part than that leave through the gc queue */
#define EXPAND_REFS_MAX 512     /* a step of GC_EXPAND ends when it has dropped so many; one manifest may exceed it */
#define EXPAND_PARTS_MAX 64

struct bucket_slot {
    struct meta_bucket bucket; /* borrows text; id 0: empty slot. Its objects and bytes are not kept here */
    struct bucket_counts counts;
    struct enc text;
};

struct session_slot {
    uint64_t id; /* 0: empty */
    bool open;
};

struct client_slot {
    uint8_t id[META_CLIENT_BYTES];
    uint64_t noted_index;
    uint64_t highest;   /* request of it that was done; no part of the state */
    bool highest_known;
};

struct extent_change {
    struct extent_id id;
    struct extent before, after;
    bool existed, exists;
    uint32_t next; /* in its hash chain: index + 1 */
};

struct extent_set {
    struct extent_change *changes;
    uint32_t count, capacity;
    uint32_t heads[EXTENT_HASH_SLOTS]; /* index + 1 */
    struct enc value;
};

struct machine {
    struct kv *kv;
    struct kv_batch *batch;
    struct position_record position;
    struct machine_counters counters;
    bool broken;
    struct digest digest;
    struct arena arena; /* of the command being applied */
    struct enc scratch[SCRATCH_MAX];
    unsigned scratch_used;
    struct enc record; /* built and put at once */
    struct bucket_slot buckets[BUCKET_SLOTS];
    struct session_slot sessions[SESSION_SLOTS];
    struct client_slot clients[CLIENTS_KEPT]; /* by number */
    unsigned client_count, client_last;
    uint64_t *open_sessions; /* ascending */
    unsigned open_count, open_capacity;
    struct extent_set extents;
    struct group_record *groups; /* all, by id */
    uint32_t group_count, group_capacity;

    bool buckets_changed;        /* by the command: the cache is emptied around its write */

    struct read_cache cache;
    _Atomic uint64_t applied_index;
    _Atomic uint64_t writes; /* odd while a batch is being written */
    atomic_flag view;        /* held around a write, and by a query that needs the map to stand still */
};

struct apply {
    struct machine *m;
    struct error *e;
    uint64_t index;
    struct meta_result result;
    struct machine_counters counters_before;
    struct bucket_slot *bucket;         /* of the command; NULL before apply_bucket_load() */
    struct bucket_counts counts_before;
};

/* ---- machine.c ---- */
void machine_view_lock(struct machine *m);
void machine_view_unlock(struct machine *m);
struct enc *machine_scratch(struct machine *m); /* empty; the command's until its end */
struct enc *machine_record(struct machine *m);  /* empty; until the next machine_record() or gc_add() */
void apply_put(struct apply *a, const struct key *key, const struct enc *value);
void apply_delete(struct apply *a, const struct key *key);
/* OK or NOT_FOUND (no story), or an error with one. The value is in the encoder, which starts over. */
MUST_CHECK enum errc apply_get(struct apply *a, const struct key *key, struct enc *value);
/* The story of a record that doesn't decode. */
enum errc record_error(struct error *e, enum errc rc, const char *what);
static inline void apply_outcome(struct apply *a, enum meta_outcome outcome)
{
    a->result.outcome = (uint8_t)outcome;
}
static inline bool apply_ok(const struct apply *a)
{
    return a->result.outcome == META_OK;
}

/* ---- apply_bucket.c ---- */
MUST_CHECK enum errc apply_bucket_create(struct apply *a, const struct meta_bucket_create *cmd);
MUST_CHECK enum errc apply_bucket_delete(struct apply *a, const struct meta_bucket_delete *cmd);
MUST_CHECK enum errc apply_bucket_class(struct apply *a, const struct meta_bucket_class *cmd);
MUST_CHECK enum errc apply_bucket_versioning(struct apply *a, const struct meta_bucket_versioning *cmd);
/* Sets a->bucket, or the outcome NO_BUCKET. */
MUST_CHECK enum errc apply_bucket_load(struct apply *a, uint64_t id);
void apply_bucket_flush(struct apply *a); /* counters, if changed */

/* ---- apply_version.c: the versions of one key ---- */
struct stack {
    struct slice key;
    bool exists;
    struct current_record current; /* borrows scratch */
};
MUST_CHECK enum errc stack_load(struct apply *a, struct slice key, struct stack *ret_stack);
/* Makes `row` the current version by the bucket's versioning: sets its seq, mtime_ms and null_version. */
MUST_CHECK enum errc stack_push(struct apply *a, struct stack *stack, struct meta_row *row);
MUST_CHECK enum errc stack_remove_current(struct apply *a, struct stack *stack);
/* Finds and removes one; *ret_found says whether it was there, *ret_row (borrows scratch) what it was. */
MUST_CHECK enum errc stack_remove_version(struct apply *a, struct stack *stack, const struct meta_version_ref *ref,
                                          bool *ret_found, struct meta_row *ret_row);
/* Sets the outcome when a condition does not hold. */
void stack_check(struct apply *a, const struct stack *stack, const struct meta_conditions *conditions);

/* ---- apply_object.c ---- */
MUST_CHECK enum errc apply_object_put(struct apply *a, const struct meta_object_put *cmd);
MUST_CHECK enum errc apply_object_adopt(struct apply *a, const struct meta_object_put *cmd);
MUST_CHECK enum errc apply_object_delete(struct apply *a, const struct meta_object_delete *cmd);
void apply_version_result(struct apply *a, const struct meta_row *row);

/* ---- apply_extent.c ---- */
void extent_set_clear(struct extent_set *set);
/* One's change record; exists is false when the index has none. Valid until the next extent_find. */
MUST_CHECK enum errc extent_find(struct apply *a, struct extent_id id, struct extent_change **ret_change);
/* Puts new extents (references 0) and takes the references of a version or part; sets STALE or INVALID. */
struct extent_use {
    uint64_t session, map_revision;
    bool adopted; /* the session is a forgotten one, not an open one */
    uint32_t extent_count;
    const struct extent *extents;
    uint32_t ref_count;
    const struct extent_ref *refs;
    uint64_t size; /* what the references must add up to */
};
MUST_CHECK enum errc extent_use(struct apply *a, const struct extent_use *use);
MUST_CHECK enum errc extent_drop(struct apply *a, struct dec *refs, uint32_t count); /* references - 1 each */
MUST_CHECK enum errc extent_set_flush(struct apply *a);
void extent_rank_key(struct key *key, const struct extent *extent);
void extent_count(struct meta_status *status, const struct extent *extent, bool add);
bool extent_in_repair(const struct extent *extent);
MUST_CHECK enum errc apply_extent_repaired(struct apply *a, const struct meta_extent_repaired *cmd);
MUST_CHECK enum errc apply_extent_missing(struct apply *a, const struct meta_extent_missing *cmd);
MUST_CHECK enum errc apply_group_sweep(struct apply *a, const struct meta_group_sweep *cmd);

/* ---- apply_gc.c ---- */
void gc_add(struct apply *a, struct gc_record *record); /* sets its index */
/* The shards of a live extent's earlier record: freed when no read can know them (TABLE_RETIRED). */
void gc_retire(struct apply *a, const struct extent *before);
/* Whether somebody who reads the version may have to ask for more of its references, when it is deleted already. */
bool gc_body_outlives(const struct body_record *body);
/* The BODY row stays until the item that this leaves is worked off: when no read can need it. */
void gc_leave_body(struct apply *a, struct slice object_key, uint64_t seq);
MUST_CHECK enum errc gc_drop_part(struct apply *a, const struct part_record *part);
MUST_CHECK enum errc apply_gc_done(struct apply *a, const struct meta_gc_done *cmd);
MUST_CHECK enum errc apply_gc_expand(struct apply *a, const struct meta_gc_expand *cmd);

/* ---- apply_upload.c ---- */
MUST_CHECK enum errc apply_upload_create(struct apply *a, const struct meta_upload_create *cmd);
MUST_CHECK enum errc apply_upload_part(struct apply *a, const struct meta_upload_part *cmd);
MUST_CHECK enum errc apply_upload_abort(struct apply *a, const struct meta_upload_abort *cmd);
/* ---- apply_complete.c ---- */
MUST_CHECK enum errc apply_upload_complete(struct apply *a, const struct meta_upload_complete *cmd);

/* ---- apply_cluster.c ---- */
MUST_CHECK enum errc apply_session_open(struct apply *a, const struct meta_session_open *cmd);
MUST_CHECK enum errc apply_session_reserve(struct apply *a, const struct meta_session_reserve *cmd);
MUST_CHECK enum errc apply_session_close(struct apply *a, const struct meta_session_close *cmd);
MUST_CHECK enum errc apply_session_settle(struct apply *a, const struct meta_session_close *cmd);
MUST_CHECK enum errc apply_session_forgotten(struct apply *a, uint64_t session); /* STALE unless it is */
void apply_rebuilt(struct apply *a);
MUST_CHECK enum errc apply_session_check(struct apply *a, uint64_t session); /* STALE unless open */
/* ---- apply_request.c ---- */
/* The result (borrows scratch) if the request was done before; STALE if that cannot be told any more. */
MUST_CHECK enum errc request_find(struct apply *a, const struct meta_request *request, struct slice *ret_result);
void request_keep(struct apply *a, const struct meta_request *request); /* of a command that is decided OK */
MUST_CHECK enum errc machine_clients_load(struct machine *m, struct error *e);
/* apply_node.c */
MUST_CHECK enum errc apply_node_put(struct apply *a, const struct meta_node_put *cmd);
MUST_CHECK enum errc apply_token_put(struct apply *a, const struct meta_token_put *cmd);
MUST_CHECK enum errc apply_token_use(struct apply *a, const struct meta_token_use *cmd);
/* apply_cluster.c */
MUST_CHECK enum errc apply_disk_put(struct apply *a, const struct meta_disk_put *cmd);
MUST_CHECK enum errc apply_group_put(struct apply *a, const struct meta_group_put *cmd);
MUST_CHECK enum errc apply_identity_put(struct apply *a, const struct meta_identity_put *cmd);
MUST_CHECK enum errc apply_setting_put(struct apply *a, const struct meta_setting_put *cmd);
struct group_record *machine_group(struct machine *m, uint32_t id); /* NULL: none */
MUST_CHECK enum errc machine_sessions_load(struct machine *m, struct error *e);
MUST_CHECK enum errc machine_groups_load(struct machine *m, struct error *e);

#endif
