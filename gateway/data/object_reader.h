/*
 * object_reader - the bytes of a range of an object, in order, each verified before it is handed out.
 *
 *   open -> next, next, ... (on_ready after WOULD_BLOCK) -> end or error -> close
 *
 * Cells are read ahead in a bounded window. A lost, corrupt or slow shard is replaced by decoding from
 * the others; only when fewer than k of a stripe's cells can be had does the stream fail, before any wrong byte:
 * UNAVAILABLE when disks are away, CORRUPT when they are there and the bytes are not.
 *
 * Thread: the executor given at open (serial) calls everything and gets on_ready.
 * Memory: views of the nodes' reply buffers, no copy; counted in the budget.
 */
#ifndef GATEWAY_DATA_OBJECT_READER_H
#define GATEWAY_DATA_OBJECT_READER_H

#include "gateway/data/data_store.h"

struct object_reader;

struct object_reader_params {
    struct executor *executor;
    uint64_t first, length;           /* wanted range of the object (or of the part: as the extents count) */
    uint64_t session;                 /* of the pin that holds `index` so far; 0: the one of now */
    uint64_t index;                   /* meta_object_reply.index: pinned with the session until close; the handler's
                                         own pin must last until open returned */
    uint32_t extent_count;            /* as answered by OBJECT; copied */
    const struct meta_data_extent *extents;
    uint64_t extents_until;           /* likewise */
    const struct meta_query *more;    /* how to ask for what lies beyond: bucket_id, key, version (part_number);
                                         copied. NULL: the extents cover the range */
    void (*on_ready)(void *data);     /* once after WOULD_BLOCK, never inside a call */
    void *data;
};

struct object_reader *object_reader_open(struct data_store *store, const struct object_reader_params *params);
/* OK: the next bytes, and one reference to the buffer that they lie in (gives: buffer_unref). At the end of the range
 * OK with an empty slice and NULL. WOULD_BLOCK: on_ready will follow. Anything else: the stream is over, cut it. */
MUST_CHECK enum errc object_reader_next(struct object_reader *reader, struct slice *ret_bytes,
                                        struct buffer **ret_buffer);
const struct error *object_reader_error(const struct object_reader *reader);
/* At any time, once; no callback runs afterwards. Calls under way end behind the scenes. */
void object_reader_close(struct object_reader *reader);

#endif
