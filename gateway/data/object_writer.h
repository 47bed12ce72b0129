/*
 * object_writer - makes the bytes of one object or part durable and says how to refer to them.
 *
 *   open -> push ... push -> finish -> (the handler commits the metadata) -> keep or discard
 *
 * Small objects come back as inline bytes for the metadata record; all others as extents, every shard of
 * which is on stable storage when finish's done runs with OK (at least k+1 of them, the rest marked
 * missing in the extent, where a disk failed midway). Hashes and checksums of the object are the handler's.
 *
 * Thread: the executor given at open (serial) calls everything and gets every callback.
 * Memory: push copies; at most config.write_window_bytes of data of one stream are held, counted in the budget.
 */
#ifndef GATEWAY_DATA_OBJECT_WRITER_H
#define GATEWAY_DATA_OBJECT_WRITER_H

#include "gateway/data/data_store.h"

struct object_writer;

struct object_writer_params {
    struct executor *executor;
    uint64_t length;                  /* exactly so many bytes will be pushed */
    uint8_t class_k, class_m;         /* of the bucket, or of the object's storage class */
    bool never_inline;                /* parts of uploads: an object then never mixes inline bytes with extents */
    struct extent_owner owner;        /* session and object_offset are filled in; key is copied */
    void (*on_ready)(void *data);     /* after a short push: push again. Also when the stream failed */
    void *data;                       /* of on_ready and done */
};

struct object_writer_result {         /* memory of the writer: valid until keep or discard */
    enum errc status;                 /* OK; UNAVAILABLE too few disks (503); NO_SPACE (507); IO; INVALID fewer
                                         bytes pushed than declared; CANCELED */
    struct error error;
    uint8_t data_kind;                /* META_DATA_NONE (0 bytes), META_DATA_INLINE or META_DATA_EXTENTS */
    struct slice inline_bytes;
    uint64_t session;                 /* for the command; 0 without extents */
    uint64_t map_revision;            /* for the command: of the oldest map that an extent was placed by; 0 without */
    uint32_t extent_count;            /* equal to the number of refs */
    const struct extent *extents;
    const struct extent_ref *refs;
};

/* The k of an extent of so many bytes of class k+m: small ones are whole copies. */
uint8_t object_writer_k(const struct data_store *store, uint64_t bytes, uint8_t class_k, uint8_t class_m);
struct object_writer *object_writer_open(struct data_store *store, const struct object_writer_params *params);
/* Takes a prefix of `bytes` (copied) and returns its length. Less than bytes.len: wait for on_ready. A failed
 * stream takes everything and drops it. More than params.length in all is an assert: the handler counts. */
size_t object_writer_push(struct object_writer *writer, struct slice bytes);
/* OK while nothing failed: lets the handler stop reading a body early. */
enum errc object_writer_status(const struct object_writer *writer);
/* All bytes are pushed. footer (copied, at most SHARD_FOOTER_BYTES_MAX, may be empty): the object's metadata
 * record, stored with the last extent. done runs once, later, on the executor. */
void object_writer_finish(struct object_writer *writer, struct slice footer,
                          void (*done)(void *data, const struct object_writer_result *result));
/* The writer's end, once, at any time on the executor; no callback runs afterwards.
 * keep: the metadata refer to the extents, or may (commit answered TIMEOUT or UNAVAILABLE: unknown).
 * discard: nothing refers to them and nothing will: calls under way are waited for behind the scenes, then
 * every shard named so far is freed (as far as disks answer; the orphan sweep finds the rest). */
void object_writer_keep(struct object_writer *writer);
void object_writer_discard(struct object_writer *writer);

#endif
