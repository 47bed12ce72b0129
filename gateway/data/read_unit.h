/*
 * read_unit - a run of stripes of one extent: gets the cells that are wanted, by decoding where it must.
 *
 *   READING -> READY | FAILED
 *
 * Each shard stands somewhere in
 *   UNTRIED -> READING -> GOOD | BAD          READING -> LATE (a call under way that nobody waits for any more) -> GOOD
 *   DOUBTED: its disk is said to be out of service; asked only when nothing else is left
 *   MARKED: the record says that it is missing, which nobody may have looked at since; asked last of all
 * and one function (unit_step) looks at all of them after every event: wanted shards that are bad, late, doubted or
 * marked are made from any k good ones; shards are asked until k are good or none is left.
 *
 * Every cell is checked against the CRC32C that came with it and the reply against the extent's record before use.
 * Thread: its executor. on_change runs there, never inside a call of the owner.
 */
#ifndef GATEWAY_DATA_READ_UNIT_H
#define GATEWAY_DATA_READ_UNIT_H

#include "common/base/list.h"
#include "erasure/geometry.h"
#include "gateway/data/data_store.h"

#define READ_CALL_BYTES_MAX (1u << 20) /* of one shard in one call */

enum read_unit_state { UNIT_READING, UNIT_READY, UNIT_FAILED };

enum unit_shard_state { UNIT_UNTRIED, UNIT_DOUBTED, UNIT_MARKED, UNIT_ASKED, UNIT_LATE, UNIT_LIMITED, UNIT_GOOD, UNIT_BAD };

struct unit_shard {
    enum unit_shard_state state;
    enum errc status;              /* of BAD */
    uint32_t want_first, want_end; /* stripes whose cell is wanted; equal: none */
    uint32_t ask_first, ask_end;   /* of the call under way */
    uint32_t have_first, have_end; /* of the buffer */
    struct buffer *buffer;
    unsigned limited;              /* times that the node said LIMIT */
    uint64_t asked_ns;
};

struct read_unit {
    struct list node;              /* the owner's */
    struct data_store *store;
    struct executor *executor;
    const struct extent *extent;   /* the owner's, outlives the unit */
    struct geometry geometry;
    struct cluster_map_shard where[CODE_SHARDS_MAX];
    enum read_unit_state state;
    enum errc status;              /* of FAILED: UNAVAILABLE, CORRUPT, INTERNAL */
    struct unit_shard shards[CODE_SHARDS_MAX];
    struct list calls;
    uint64_t first, end;           /* the owner's: object offsets that it holds */
    uint64_t budget_bytes;         /* the owner's */
    bool decoded;                  /* parity was used */
    void (*on_change)(void *data);
    void *data;
};

/* CORRUPT: the record makes no sense. NOT_FOUND: its group is unknown here. The unit wants nothing yet. Gives. */
MUST_CHECK enum errc read_unit_new(struct data_store *store, struct executor *executor, const struct extent *extent,
                                   void (*on_change)(void *data), void *data, struct read_unit **ret_unit);
/* Wants the cells that hold [offset, offset + length) of the extent. */
void read_unit_want_range(struct read_unit *unit, uint64_t offset, uint64_t length);
/* Wants cells [first, end) of a shard, parity too. */
void read_unit_want(struct read_unit *unit, unsigned shard, uint32_t first, uint32_t end);
/* Memory that its buffers will take when nothing is lost. */
uint64_t read_unit_bytes(const struct read_unit *unit);
/* Start and tick may change the state at once, without on_change: the owner looks. */
void read_unit_start(struct read_unit *unit);
/* Time goes on: hedges what is slow, gives up what is dead, asks again where the node was full. */
void read_unit_tick(struct read_unit *unit, uint64_t now_ns, uint64_t hedge_ns);
/* READY: the cell's bytes (wanted stripes only); the buffer is borrowed from the unit. */
struct slice read_unit_cell(const struct read_unit *unit, unsigned shard, uint32_t stripe, struct buffer **ret_buffer);
/* At any time; calls under way end by themselves. */
void read_unit_free(struct read_unit *unit);

#endif
