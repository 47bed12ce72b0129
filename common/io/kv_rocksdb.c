/*
 * kv_rocksdb - the ordered map over RocksDB's C API: the only user of rocksdb/c.h.
 *
 * One column family, no write-ahead log: a batch is in the map after write() and on the disk after the
 * next flush, which is a prefix of the batches because memtables are flushed in order and a batch never
 * spans two. flush_cf on one of several families would break that (a batch over two families could be cut),
 * so owners keep all state in this one family, with a table prefix in their keys.
 */
#include "common/base/kv.h"

#include "common/base/assert.h"
#include "common/base/list.h"
#include "common/base/mem.h"

#include <pthread.h>
#include <rocksdb/c.h>
#include <stdatomic.h>
#include <string.h>

#define BLOOM_BITS_PER_KEY 10
#define BLOCK_BYTES (16u << 10)
#define BLOB_FILE_BYTES (64ull << 20)
#define BLOB_GC_BEGIN_PERCENT 30    /* of all blob bytes garbage: compactions move live blobs out of old files */
#define BLOB_GC_END_PERCENT 15      /* and stop at this */
#define BLOB_GC_AGE_CUTOFF "0.5"    /* while they do: out of the older half of the files, */
#define BLOB_GC_FORCE_RATIO 0.3     /* by compactions of their own where the oldest are garbage to this part */
#define TARGET_FILE_BYTES (32ull << 20)
#define LEVEL_BASE_BYTES (32ull << 20)
#define LEVEL0_FILES_COMPACT 12     /* with blobs apart a flushed memtable is a table of 1 MiB: few are not worth */
#define LEVEL0_FILES_SLOWDOWN 30    /* rewriting the next level */
#define LEVEL0_FILES_STOP 48
#define LOG_BYTES_MAX (1u << 20)    /* RocksDB's own text log, one file of two kept */
#define DELETION_WINDOW 4096        /* of so many consecutive entries of a table, */
#define DELETION_TRIGGER 2048       /* so many deletions ask for its compaction */
#define OPEN_FILES_MAX 512          /* table files held open by one map */
#define CACHE_BYTES_MIN (1u << 20)
#define MEMTABLE_BYTES_MIN (64u << 10)
#define BACKGROUND_THREADS_MIN 2
#define FLUSH_THREADS_PART 4        /* RocksDB lets one in so many of a map's background jobs be flushes, but always one */

struct rocks {
    struct kv kv;
    rocksdb_t *db;
    rocksdb_options_t *options;
    rocksdb_writeoptions_t *write;
    rocksdb_readoptions_t *read;
    rocksdb_readoptions_t *read_cached; /* kBlockCacheTier: never touches the disk */
    rocksdb_flushoptions_t *flush;
    int background_threads;
    bool has_blobs;
    _Atomic bool blob_gc; /* under way */
};

struct kv_batch {
    rocksdb_writebatch_t *impl;
};

struct kv_iterator {
    rocksdb_iterator_t *impl;
    rocksdb_readoptions_t *read;
    struct enc bounds; /* first, then end: RocksDB borrows the upper bound */
};

static bool text_starts(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* Status texts of RocksDB 7.8 begin with the name of their code (Status::ToString). */
static enum errc rocks_code(const char *text)
{
    if (text_starts(text, "Corruption")) {
        return ERRC_CORRUPT;
    }
    if (text_starts(text, "Result incomplete")) {
        return ERRC_WOULD_BLOCK;
    }
    if (strstr(text, "No space left") != NULL || strstr(text, "Out of Space") != NULL) {
        return ERRC_NO_SPACE;
    }
    if (text_starts(text, "Invalid argument") && strstr(text, "does not exist") != NULL) {
        return ERRC_NOT_FOUND;
    }
    if (text_starts(text, "Invalid argument")) {
        return ERRC_INVALID;
    }
    return text_starts(text, "NotFound") ? ERRC_NOT_FOUND : ERRC_IO;
}

/* Consumes RocksDB's error text, which may be NULL: then OK. */
static enum errc rocks_check(char *text, struct error *e, const char *what)
{
    if (text == NULL) {
        return ERRC_OK;
    }
    enum errc code = rocks_code(text);
    if (code != ERRC_WOULD_BLOCK) {
        (void)error_set(e, code, "%s: %s", what, text);
    }
    rocksdb_free(text);
    return code;
}

/* Never fewer than there are. Apart from the lock that is held, for the sake of tests/tsan.supp. */
static void rocks_pools_grow(int flush_threads, int compaction_threads)
{
    rocksdb_env_t *shared = rocksdb_create_default_env(); /* a handle of the one that there is */
    if (flush_threads > rocksdb_env_get_high_priority_background_threads(shared)) {
        rocksdb_env_set_high_priority_background_threads(shared, flush_threads);
    }
    if (compaction_threads > rocksdb_env_get_low_priority_background_threads(shared)) {
        rocksdb_env_set_low_priority_background_threads(shared, compaction_threads);
    }
    rocksdb_env_destroy(shared);
}

/*
 * All maps share the two pools of RocksDB's environment, and RocksDB makes them as large as the largest map wants: then
 * one disk that hangs holds the only flushing thread of the process. So the pools have as many threads as all open maps
 * may use at once. They never shrink: what a map leaves serves the next one.
 */
static void rocks_threads_count(int background_threads, bool opens)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static int flush_threads, compaction_threads; /* of all open maps; under the mutex */
    int flushes = background_threads / FLUSH_THREADS_PART > 1 ? background_threads / FLUSH_THREADS_PART : 1;
    int compactions = background_threads - flushes;
    (void)pthread_mutex_lock(&mutex);
    flush_threads += opens ? flushes : -flushes;
    compaction_threads += opens ? compactions : -compactions;
    rocks_pools_grow(flush_threads, compaction_threads);
    (void)pthread_mutex_unlock(&mutex);
}

static struct rocks *rocks_of(struct kv *kv)
{
    return container_of(kv, struct rocks, kv);
}

static void rocks_close(struct kv *kv)
{
    struct rocks *rocks = rocks_of(kv);
    if (rocks->db != NULL) {
        rocksdb_close(rocks->db); /* waits for its background work */
    }
    rocks_threads_count(rocks->background_threads, false);
    rocksdb_flushoptions_destroy(rocks->flush);
    rocksdb_readoptions_destroy(rocks->read_cached);
    rocksdb_readoptions_destroy(rocks->read);
    rocksdb_writeoptions_destroy(rocks->write);
    rocksdb_options_destroy(rocks->options);
    mem_free(rocks);
}

static enum errc rocks_get(struct kv *kv, struct slice key, bool cached_only, struct enc *ret_value,
                           struct error *e)
{
    struct rocks *rocks = rocks_of(kv);
    char *text = NULL;
    rocksdb_pinnableslice_t *value =
        rocksdb_get_pinned(rocks->db, cached_only ? rocks->read_cached : rocks->read,
                           (const char *)key.data, key.len, &text);
    enum errc rc = rocks_check(text, e, "get");
    if (rc != ERRC_OK) {
        return rc;
    }
    if (value == NULL) {
        return ERRC_NOT_FOUND;
    }
    size_t len = 0;
    const char *bytes = rocksdb_pinnableslice_value(value, &len);
    enc_raw(ret_value, bytes, len);
    rocksdb_pinnableslice_destroy(value);
    return ERRC_OK;
}

static struct kv_batch *rocks_batch_create(struct kv *kv)
{
    (void)kv; /* batches of this implementation belong to no map */
    struct kv_batch *batch = mem_zalloc(sizeof(*batch));
    batch->impl = rocksdb_writebatch_create();
    return batch;
}

static void rocks_batch_destroy(struct kv_batch *batch)
{
    if (batch != NULL) {
        rocksdb_writebatch_destroy(batch->impl);
        mem_free(batch);
    }
}

static void rocks_batch_clear(struct kv_batch *batch)
{
    rocksdb_writebatch_clear(batch->impl);
}

static void rocks_batch_put(struct kv_batch *batch, struct slice key, struct slice value)
{
    rocksdb_writebatch_put(batch->impl, (const char *)key.data, key.len,
                           value.len > 0 ? (const char *)value.data : "", value.len);
}

static void rocks_batch_delete(struct kv_batch *batch, struct slice key)
{
    rocksdb_writebatch_delete(batch->impl, (const char *)key.data, key.len);
}

static void rocks_batch_delete_range(struct kv_batch *batch, struct slice first, struct slice end)
{
    rocksdb_writebatch_delete_range(batch->impl, (const char *)first.data, first.len,
                                    (const char *)end.data, end.len);
}

static struct slice rocks_batch_bytes(struct kv_batch *batch)
{
    size_t len = 0;
    const char *bytes = rocksdb_writebatch_data(batch->impl, &len);
    return slice_of(bytes, len);
}

static enum errc rocks_write(struct kv *kv, struct kv_batch *batch, struct error *e)
{
    struct rocks *rocks = rocks_of(kv);
    char *text = NULL;
    rocksdb_write(rocks->db, rocks->write, batch->impl, &text);
    return rocks_check(text, e, "write batch");
}

static struct kv_iterator *rocks_iterate(struct kv *kv, struct slice first, struct slice end)
{
    struct rocks *rocks = rocks_of(kv);
    struct kv_iterator *it = mem_zalloc(sizeof(*it));
    it->read = rocksdb_readoptions_create();
    rocksdb_readoptions_set_verify_checksums(it->read, 1);
    enc_raw(&it->bounds, first.data, first.len);
    enc_raw(&it->bounds, end.data, end.len);
    if (first.len > 0) {
        rocksdb_readoptions_set_iterate_lower_bound(it->read, (const char *)it->bounds.data, first.len);
    }
    if (end.len > 0) {
        rocksdb_readoptions_set_iterate_upper_bound(
            it->read, (const char *)it->bounds.data + first.len, end.len);
    }
    it->impl = rocksdb_create_iterator(rocks->db, it->read);
    return it;
}

static void rocks_iterator_seek(struct kv_iterator *it, struct slice key)
{
    rocksdb_iter_seek(it->impl, (const char *)key.data, key.len);
}

static void rocks_iterator_seek_for_prev(struct kv_iterator *it, struct slice key)
{
    rocksdb_iter_seek_for_prev(it->impl, (const char *)key.data, key.len);
}

static void rocks_iterator_next(struct kv_iterator *it)
{
    rocksdb_iter_next(it->impl);
}

static bool rocks_iterator_valid(struct kv_iterator *it)
{
    return rocksdb_iter_valid(it->impl) != 0;
}

static struct slice rocks_iterator_key(struct kv_iterator *it)
{
    size_t len = 0;
    const char *bytes = rocksdb_iter_key(it->impl, &len);
    return slice_of(bytes, len);
}

static struct slice rocks_iterator_value(struct kv_iterator *it)
{
    size_t len = 0;
    const char *bytes = rocksdb_iter_value(it->impl, &len);
    return slice_of(bytes, len);
}

static enum errc rocks_iterator_error(struct kv_iterator *it, struct error *e)
{
    char *text = NULL;
    rocksdb_iter_get_error(it->impl, &text);
    return rocks_check(text, e, "iterate");
}

static void rocks_iterator_destroy(struct kv_iterator *it)
{
    if (it == NULL) {
        return;
    }
    rocksdb_iter_destroy(it->impl);
    rocksdb_readoptions_destroy(it->read);
    enc_free(&it->bounds);
    mem_free(it);
}

/*
 * RocksDB's collector moves every live blob that a compaction meets in the files below the age cutoff, garbage or not:
 * under new objects alone it would rewrite half of all data again and again. So the cutoff is 0 until enough is garbage.
 * Called where the owner makes things durable anyway; a failure only delays the collection.
 */
static void rocks_blob_tune(struct rocks *rocks)
{
    uint64_t all = 0;
    uint64_t garbage = 0;
    if (!rocks->has_blobs || rocksdb_property_int(rocks->db, "rocksdb.live-blob-file-size", &all) != 0 ||
        rocksdb_property_int(rocks->db, "rocksdb.live-blob-file-garbage-size", &garbage) != 0) {
        return;
    }
    bool is_on = atomic_load(&rocks->blob_gc);
    bool wanted = garbage > all / 100 * (is_on ? BLOB_GC_END_PERCENT : BLOB_GC_BEGIN_PERCENT);
    if (wanted == is_on) {
        return;
    }
    const char *const key = "blob_garbage_collection_age_cutoff";
    const char *const value = wanted ? BLOB_GC_AGE_CUTOFF : "0";
    char *text = NULL;
    rocksdb_set_options(rocks->db, 1, &key, &value, &text);
    if (rocks_check(text, NULL, "blob collection") == ERRC_OK) {
        atomic_store(&rocks->blob_gc, wanted);
    }
}

static enum errc rocks_flush(struct kv *kv, struct error *e)
{
    struct rocks *rocks = rocks_of(kv);
    char *text = NULL;
    rocks_blob_tune(rocks);
    rocksdb_flush(rocks->db, rocks->flush, &text);
    return rocks_check(text, e, "flush");
}

/* log_size_for_flush 0: the memtable is flushed first, so that nothing is left to a log we do not write. */
static enum errc rocks_checkpoint(struct kv *kv, const char *path, struct error *e)
{
    struct rocks *rocks = rocks_of(kv);
    char *text = NULL;
    rocks_blob_tune(rocks);
    rocksdb_checkpoint_t *checkpoint = rocksdb_checkpoint_object_create(rocks->db, &text);
    enum errc rc = rocks_check(text, e, "checkpoint");
    if (rc != ERRC_OK) {
        return rc;
    }
    rocksdb_checkpoint_create(checkpoint, path, 0, &text);
    rocksdb_checkpoint_object_destroy(checkpoint);
    return rocks_check(text, e, "checkpoint");
}

static uint64_t rocks_disk_bytes(struct kv *kv)
{
    struct rocks *rocks = rocks_of(kv);
    uint64_t tables = 0;
    uint64_t blobs = 0;
    if (rocksdb_property_int(rocks->db, "rocksdb.total-sst-files-size", &tables) != 0) {
        tables = 0;
    }
    if (rocksdb_property_int(rocks->db, "rocksdb.total-blob-file-size", &blobs) != 0) {
        blobs = 0;
    }
    return tables + blobs;
}

static const struct kv_vt rocks_vt = {
    .close = rocks_close,
    .get = rocks_get,
    .batch_create = rocks_batch_create,
    .batch_destroy = rocks_batch_destroy,
    .batch_clear = rocks_batch_clear,
    .batch_put = rocks_batch_put,
    .batch_delete = rocks_batch_delete,
    .batch_delete_range = rocks_batch_delete_range,
    .batch_bytes = rocks_batch_bytes,
    .write = rocks_write,
    .iterate = rocks_iterate,
    .iterator_seek = rocks_iterator_seek,
    .iterator_seek_for_prev = rocks_iterator_seek_for_prev,
    .iterator_next = rocks_iterator_next,
    .iterator_valid = rocks_iterator_valid,
    .iterator_key = rocks_iterator_key,
    .iterator_value = rocks_iterator_value,
    .iterator_error = rocks_iterator_error,
    .iterator_destroy = rocks_iterator_destroy,
    .checkpoint = rocks_checkpoint,
    .disk_bytes = rocks_disk_bytes,
    .flush = rocks_flush,
};

static void rocks_table_options(rocksdb_options_t *options, const struct kv_options *given)
{
    rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
    size_t cache_bytes = given->cache_bytes > CACHE_BYTES_MIN ? given->cache_bytes : CACHE_BYTES_MIN;
    rocksdb_cache_t *cache = rocksdb_cache_create_lru(cache_bytes);
    rocksdb_block_based_options_set_block_cache(table, cache); /* takes a reference */
    rocksdb_cache_destroy(cache);
    rocksdb_block_based_options_set_filter_policy(
        table, rocksdb_filterpolicy_create_bloom_full(BLOOM_BITS_PER_KEY)); /* takes it */
    rocksdb_block_based_options_set_block_size(table, BLOCK_BYTES);
    rocksdb_block_based_options_set_format_version(table, 5);
    /* Index and filter blocks count against the cache, or memory would grow with the disk. */
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(table, 1);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks_with_high_priority(table, 1);
    rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(table, 1);
    rocksdb_options_set_block_based_table_factory(options, table);
    rocksdb_block_based_options_destroy(table);
}

static void rocks_blob_options(rocksdb_options_t *options, size_t blob_min_bytes)
{
    rocksdb_options_set_enable_blob_files(options, 1);
    rocksdb_options_set_min_blob_size(options, blob_min_bytes);
    rocksdb_options_set_blob_file_size(options, BLOB_FILE_BYTES);
    rocksdb_options_set_enable_blob_gc(options, 1);
    rocksdb_options_set_blob_gc_age_cutoff(options, 0); /* rocks_blob_tune raises it */
    rocksdb_options_set_blob_gc_force_threshold(options, BLOB_GC_FORCE_RATIO);
}

static int rocks_background_threads(const struct kv_options *given)
{
    return given->background_threads > BACKGROUND_THREADS_MIN ? (int)given->background_threads : BACKGROUND_THREADS_MIN;
}

static rocksdb_options_t *rocks_options(const struct kv_options *given)
{
    rocksdb_options_t *options = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(options, given->create ? 1 : 0);
    rocksdb_options_set_paranoid_checks(options, 1);
    rocksdb_options_set_write_buffer_size(
        options, given->memtable_bytes > MEMTABLE_BYTES_MIN ? given->memtable_bytes : MEMTABLE_BYTES_MIN);
    rocksdb_options_set_max_write_buffer_number(options, 3);
    rocksdb_options_set_max_background_jobs(options, rocks_background_threads(given));
    rocksdb_options_set_max_open_files(options, OPEN_FILES_MAX);
    rocksdb_options_set_target_file_size_base(options, TARGET_FILE_BYTES);
    rocksdb_options_set_max_bytes_for_level_base(options, LEVEL_BASE_BYTES);
    rocksdb_options_set_level_compaction_dynamic_level_bytes(options, 1);
    rocksdb_options_set_level0_file_num_compaction_trigger(options, LEVEL0_FILES_COMPACT);
    rocksdb_options_set_level0_slowdown_writes_trigger(options, LEVEL0_FILES_SLOWDOWN);
    rocksdb_options_set_level0_stop_writes_trigger(options, LEVEL0_FILES_STOP);
    rocksdb_options_set_compression(options, rocksdb_lz4_compression);
    rocksdb_options_set_bytes_per_sync(options, 1u << 20); /* smooths what a flush leaves to its fsync */
    rocksdb_options_set_max_log_file_size(options, LOG_BYTES_MAX);
    rocksdb_options_set_keep_log_file_num(options, 2);
    rocksdb_options_set_stats_dump_period_sec(options, 0);
    rocksdb_options_set_max_manifest_file_size(options, 4u << 20);
    rocksdb_options_set_manifest_preallocation_size(options, 64u << 10);
    rocks_table_options(options, given);
    /* Queues are written at one end and deleted at the other: a table full of deletions is compacted early. */
    rocksdb_options_add_compact_on_deletion_collector_factory(options, DELETION_WINDOW, DELETION_TRIGGER);
    if (given->blob_min_bytes > 0) {
        rocks_blob_options(options, given->blob_min_bytes);
    }
    return options;
}

static enum errc rocks_open(struct kv_factory *factory, const char *path, const struct kv_options *given,
                            struct kv **ret_kv, struct error *e)
{
    (void)factory; /* RocksDB needs nothing besides the path */
    struct rocks *rocks = mem_zalloc(sizeof(*rocks));
    rocks->kv.vt = &rocks_vt;
    rocks->has_blobs = given->blob_min_bytes > 0;
    rocks->background_threads = rocks_background_threads(given);
    rocks_threads_count(rocks->background_threads, true);
    rocks->options = rocks_options(given);
    rocks->write = rocksdb_writeoptions_create();
    rocksdb_writeoptions_disable_WAL(rocks->write, 1);
    rocks->read = rocksdb_readoptions_create();
    rocksdb_readoptions_set_verify_checksums(rocks->read, 1);
    rocks->read_cached = rocksdb_readoptions_create();
    rocksdb_readoptions_set_read_tier(rocks->read_cached, 1); /* kBlockCacheTier */
    rocks->flush = rocksdb_flushoptions_create();
    rocksdb_flushoptions_set_wait(rocks->flush, 1);
    char *text = NULL;
    rocks->db = rocksdb_open(rocks->options, path, &text);
    bool lacks_file = text != NULL && text_starts(text, "IO error") && strstr(text, "No such file") != NULL;
    enum errc rc = rocks_check(text, e, path);
    if (rc == ERRC_IO && lacks_file) {
        rc = ERRC_CORRUPT; /* the device answers, the map is not whole: CURRENT names a MANIFEST that is gone */
        if (e != NULL) {
            e->code = rc;
        }
    }
    if (rc != ERRC_OK) {
        rocks_close(&rocks->kv);
        return rc;
    }
    *ret_kv = &rocks->kv;
    return ERRC_OK;
}

static enum errc rocks_destroy(struct kv_factory *factory, const char *path, struct error *e)
{
    (void)factory;
    rocksdb_options_t *options = rocksdb_options_create();
    char *text = NULL;
    rocksdb_destroy_db(options, path, &text);
    rocksdb_options_destroy(options);
    return rocks_check(text, e, path);
}

struct kv_factory *kv_factory_rocksdb(void)
{
    static struct kv_factory factory = { .open = rocks_open, .destroy = rocks_destroy };
    return &factory;
}
