/*
 * kv - an ordered map of byte keys that survives crashes at its checkpoints only.
 *
 * No write-ahead log: after a crash the map holds what the last flush, checkpoint or background
 * flush left (always a prefix of the batches, each whole). Its owner replays its own log from the
 * position that it stores in the same batches. Implementations: RocksDB (common/io/kv_rocksdb.c),
 * an in-memory map for the simulator (tests/sim/kv_sim.c).
 * Thread: reads from any thread at once; writes from one thread at a time.
 */
#ifndef COMMON_BASE_KV_H
#define COMMON_BASE_KV_H

#include "common/base/codec.h"
#include "common/base/error.h"
#include "common/base/slice.h"

struct kv;
struct kv_batch;
struct kv_iterator;

struct kv_options {
    size_t cache_bytes;       /* block cache */
    size_t memtable_bytes;    /* one memtable */
    size_t blob_min_bytes;    /* values from this size live in blob files; 0 = none do */
    bool create;              /* make it if absent */
    unsigned background_threads;
};

struct kv_vt {
    void (*close)(struct kv *kv);
    /* The value is appended to ret_value (a caller's encoder, so that memory is reused). NOT_FOUND;
     * with `cached_only` also WOULD_BLOCK. */
    enum errc (*get)(struct kv *kv, struct slice key, bool cached_only, struct enc *ret_value, struct error *e);
    struct kv_batch *(*batch_create)(struct kv *kv);
    void (*batch_destroy)(struct kv_batch *batch);
    void (*batch_clear)(struct kv_batch *batch);
    void (*batch_put)(struct kv_batch *batch, struct slice key, struct slice value);
    void (*batch_delete)(struct kv_batch *batch, struct slice key);
    void (*batch_delete_range)(struct kv_batch *batch, struct slice first, struct slice end); /* [first, end) */
    struct slice (*batch_bytes)(struct kv_batch *batch); /* stable for equal batches: for chain hashes */
    enum errc (*write)(struct kv *kv, struct kv_batch *batch, struct error *e); /* atomic, not durable */
    /* Iterates over [first, end) of one consistent view; empty end = no bound, end <= first = nothing. Stands on no key
     * until the first seek: a seek may walk over many deleted keys, so that one too many costs what the page costs. Gives. */
    struct kv_iterator *(*iterate)(struct kv *kv, struct slice first, struct slice end);
    void (*iterator_seek)(struct kv_iterator *it, struct slice key);          /* first key >= key */
    void (*iterator_seek_for_prev)(struct kv_iterator *it, struct slice key); /* last key <= key */
    void (*iterator_next)(struct kv_iterator *it);
    bool (*iterator_valid)(struct kv_iterator *it);
    struct slice (*iterator_key)(struct kv_iterator *it);   /* borrowed until the next move */
    struct slice (*iterator_value)(struct kv_iterator *it); /* likewise */
    enum errc (*iterator_error)(struct kv_iterator *it, struct error *e); /* checked when valid() is false */
    void (*iterator_destroy)(struct kv_iterator *it);
    /* Writes everything so far to a new folder (must not exist), hard links where it can. Durable after
     * its files and folders are synced by the caller (kv_sync_folder). */
    enum errc (*checkpoint)(struct kv *kv, const char *path, struct error *e);
    uint64_t (*disk_bytes)(struct kv *kv); /* approximate live size */
    /* Everything written so far survives a crash once this has returned OK. */
    enum errc (*flush)(struct kv *kv, struct error *e);
};

struct kv {
    const struct kv_vt *vt;
};

/* Opens kinds of kv; a simulator passes its own. */
struct kv_factory {
    /* NOT_FOUND: there is none and create is false. CORRUPT: damaged, or a file of it is missing. IO: the device. */
    enum errc (*open)(struct kv_factory *factory, const char *path, const struct kv_options *options,
                      struct kv **ret_kv, struct error *e);
    /* Deletes a closed kv's folder. */
    enum errc (*destroy)(struct kv_factory *factory, const char *path, struct error *e);
};

struct kv_factory *kv_factory_rocksdb(void);

#endif
