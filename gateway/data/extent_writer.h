/*
 * extent_writer - makes one extent durable on the disks of one placement group.
 *
 *   NAMING -> FILLING -> STORING -> DONE          any -> FAILED
 *             ^------------ again: new id, other disks, while every batch so far is still in memory
 *
 * Small shards go by one SHARD_PUT each; large ones are opened at once and written batch by batch. A shard whose
 * disk fails is left out; the extent is done when at least k+1 shards (k for codes without parity) are durable.
 *
 * Thread: its executor. on_change runs there, never inside a call of the owner; the owner then looks at the state.
 * Memory: at most window.limit_bytes of data in batches, counted in the store's write budget.
 */
#ifndef GATEWAY_DATA_EXTENT_WRITER_H
#define GATEWAY_DATA_EXTENT_WRITER_H

#include "gateway/data/data_store.h"

/* Data of one stream that its nodes have not taken yet, over its extents. */
struct write_window {
    uint64_t used_bytes;
    uint64_t limit_bytes;
};

enum extent_writer_state { EXTENT_NAMING, EXTENT_FILLING, EXTENT_STORING, EXTENT_DONE, EXTENT_FAILED };

struct extent_writer_params {
    struct executor *executor;
    struct write_window *window;   /* the owner's, outlives the writer */
    uint64_t bytes;                /* 1..EXTENT_BYTES_MAX */
    uint8_t k, m;                  /* wanted code; a smaller one is taken where disks are missing */
    uint8_t width;                 /* disks of the groups to use: k+m of the bucket's class */
    bool whole_class;              /* UNAVAILABLE rather than a smaller code, or fewer than all shards (rebuild) */
    struct extent_owner owner;     /* key borrowed until the end */
    void (*on_change)(void *data); /* more room, DONE or FAILED */
    void *data;
};

struct extent_writer;

struct extent_writer *extent_writer_new(struct data_store *store, const struct extent_writer_params *params);
/* Takes a prefix; short: wait for on_change (or it failed: look). */
size_t extent_writer_push(struct extent_writer *writer, struct slice bytes);
/* The footer (copied) of each shard; what is pushed in full is then stored. Once; may be before the last push. */
void extent_writer_finish(struct extent_writer *writer, struct slice footer);
/* Fails shards whose node has not answered for call_timeout_ms, or for gone_call_ms and their disk is gone; the owner calls
 * it now and then. */
void extent_writer_check(struct extent_writer *writer);
enum extent_writer_state extent_writer_state(const struct extent_writer *writer);
const struct error *extent_writer_error(const struct extent_writer *writer);
const struct extent *extent_writer_extent(const struct extent_writer *writer); /* when DONE */
uint64_t extent_writer_map_revision(const struct extent_writer *writer);       /* when DONE */
/* Stops: no on_change any more. discard: once its calls are answered, every shard named is freed. Frees the writer. */
void extent_writer_end(struct extent_writer *writer, bool discard);

#endif
