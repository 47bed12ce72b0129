#include "tests/lib/kv_memory.h"

#include "common/base/assert.h"
#include "common/base/mem.h"

struct entry {
    unsigned references;
    struct slice key;
    struct slice value;
    uint8_t bytes[];
};

struct kv_memory {
    struct kv base;
    struct entry **entries;
    size_t count, capacity;
    size_t last_batch_bytes;
    bool cold, fail_writes;
};

struct kv_batch {
    struct enc ops;
};

struct kv_iterator {
    struct entry **entries;
    size_t count, at; /* at == count: not valid */
};

enum op { OP_PUT = 1, OP_DELETE, OP_DELETE_RANGE };

static struct kv_memory *memory_of(struct kv *kv)
{
    return (struct kv_memory *)(void *)kv;
}

static struct entry *entry_new(struct slice key, struct slice value)
{
    struct entry *entry = mem_alloc(sizeof(*entry) + key.len + value.len);
    entry->references = 1;
    memcpy(entry->bytes, key.data, key.len);
    if (value.len > 0) {
        memcpy(entry->bytes + key.len, value.data, value.len);
    }
    entry->key = slice_of(entry->bytes, key.len);
    entry->value = slice_of(entry->bytes + key.len, value.len);
    return entry;
}

static void entry_unref(struct entry *entry)
{
    if (--entry->references == 0) {
        mem_free(entry);
    }
}

/* First entry with a key >= `key`. */
static size_t lower_bound(struct entry *const *entries, size_t count, struct slice key)
{
    size_t low = 0;
    while (count > 0) {
        size_t half = count / 2;
        if (slice_compare(entries[low + half]->key, key) < 0) {
            low += half + 1;
            count -= half + 1;
        } else {
            count = half;
        }
    }
    return low;
}

static void memory_close(struct kv *kv)
{
    struct kv_memory *memory = memory_of(kv);
    for (size_t i = 0; i < memory->count; i++) {
        entry_unref(memory->entries[i]);
    }
    mem_free(memory->entries);
    mem_free(memory);
}

static enum errc memory_get(struct kv *kv, struct slice key, bool cached_only, struct enc *ret_value, struct error *e)
{
    struct kv_memory *memory = memory_of(kv);
    (void)e;
    if (cached_only && memory->cold) {
        return ERRC_WOULD_BLOCK;
    }
    size_t at = lower_bound(memory->entries, memory->count, key);
    if (at == memory->count || !slice_equal(memory->entries[at]->key, key)) {
        return ERRC_NOT_FOUND;
    }
    enc_raw(ret_value, memory->entries[at]->value.data, memory->entries[at]->value.len);
    return ERRC_OK;
}

static struct kv_batch *memory_batch_create(struct kv *kv)
{
    (void)kv;
    return mem_zalloc(sizeof(struct kv_batch));
}

static void memory_batch_destroy(struct kv_batch *batch)
{
    enc_free(&batch->ops);
    mem_free(batch);
}

static void memory_batch_clear(struct kv_batch *batch)
{
    enc_reset(&batch->ops);
}

static void batch_add(struct kv_batch *batch, enum op op, struct slice a, struct slice b)
{
    enc_u8(&batch->ops, (uint8_t)op);
    enc_bytes(&batch->ops, a);
    enc_bytes(&batch->ops, b);
}

static void memory_batch_put(struct kv_batch *batch, struct slice key, struct slice value)
{
    batch_add(batch, OP_PUT, key, value);
}

static void memory_batch_delete(struct kv_batch *batch, struct slice key)
{
    batch_add(batch, OP_DELETE, key, SLICE_EMPTY);
}

static void memory_batch_delete_range(struct kv_batch *batch, struct slice first, struct slice end)
{
    batch_add(batch, OP_DELETE_RANGE, first, end);
}

static struct slice memory_batch_bytes(struct kv_batch *batch)
{
    return enc_slice(&batch->ops);
}

static void put(struct kv_memory *memory, struct slice key, struct slice value)
{
    size_t at = lower_bound(memory->entries, memory->count, key);
    if (at < memory->count && slice_equal(memory->entries[at]->key, key)) {
        entry_unref(memory->entries[at]);
        memory->entries[at] = entry_new(key, value);
        return;
    }
    if (memory->count == memory->capacity) {
        memory->capacity = memory->capacity > 0 ? 2 * memory->capacity : 64;
        memory->entries = mem_realloc(memory->entries, memory->capacity * sizeof(*memory->entries));
    }
    memmove(memory->entries + at + 1, memory->entries + at, (memory->count - at) * sizeof(*memory->entries));
    memory->entries[at] = entry_new(key, value);
    memory->count++;
}

static void erase(struct kv_memory *memory, size_t first, size_t end)
{
    if (first >= end) {
        return;
    }
    for (size_t i = first; i < end; i++) {
        entry_unref(memory->entries[i]);
    }
    memmove(memory->entries + first, memory->entries + end, (memory->count - end) * sizeof(*memory->entries));
    memory->count -= end - first;
}

static enum errc memory_write(struct kv *kv, struct kv_batch *batch, struct error *e)
{
    struct kv_memory *memory = memory_of(kv);
    if (memory->fail_writes) {
        return error_set(e, ERRC_IO, "write refused by the test");
    }
    memory->last_batch_bytes = batch->ops.len;
    struct dec dec = dec_of(enc_slice(&batch->ops));
    while (dec_left(&dec) > 0) {
        uint8_t op = dec_u8(&dec);
        struct slice a = dec_bytes(&dec);
        struct slice b = dec_bytes(&dec);
        ASSERT(!dec.failed);
        if (op == OP_PUT) {
            put(memory, a, b);
            continue;
        }
        size_t first = lower_bound(memory->entries, memory->count, a);
        if (op == OP_DELETE_RANGE) {
            erase(memory, first, lower_bound(memory->entries, memory->count, b));
        } else if (first < memory->count && slice_equal(memory->entries[first]->key, a)) {
            erase(memory, first, first + 1);
        }
    }
    return ERRC_OK;
}

static struct kv_iterator *memory_iterate(struct kv *kv, struct slice first, struct slice end)
{
    struct kv_memory *memory = memory_of(kv);
    size_t low = lower_bound(memory->entries, memory->count, first);
    size_t high = end.len > 0 ? lower_bound(memory->entries, memory->count, end) : memory->count;
    struct kv_iterator *it = mem_zalloc(sizeof(*it));
    it->count = high > low ? high - low : 0;
    it->entries = mem_alloc((it->count + 1) * sizeof(*it->entries));
    for (size_t i = 0; i < it->count; i++) {
        it->entries[i] = memory->entries[low + i];
        it->entries[i]->references++;
    }
    it->at = it->count;
    return it;
}

static void memory_seek(struct kv_iterator *it, struct slice key)
{
    it->at = lower_bound(it->entries, it->count, key);
}

static void memory_seek_for_prev(struct kv_iterator *it, struct slice key)
{
    size_t at = lower_bound(it->entries, it->count, key);
    if (at < it->count && slice_equal(it->entries[at]->key, key)) {
        it->at = at;
    } else {
        it->at = at > 0 ? at - 1 : it->count;
    }
}

static void memory_next(struct kv_iterator *it)
{
    ASSERT(it->at < it->count);
    it->at++;
}

static bool memory_valid(struct kv_iterator *it)
{
    return it->at < it->count;
}

static struct slice memory_key(struct kv_iterator *it)
{
    ASSERT(it->at < it->count);
    return it->entries[it->at]->key;
}

static struct slice memory_value(struct kv_iterator *it)
{
    ASSERT(it->at < it->count);
    return it->entries[it->at]->value;
}

static enum errc memory_iterator_error(struct kv_iterator *it, struct error *e)
{
    (void)it;
    (void)e;
    return ERRC_OK;
}

static void memory_iterator_destroy(struct kv_iterator *it)
{
    for (size_t i = 0; i < it->count; i++) {
        entry_unref(it->entries[i]);
    }
    mem_free(it->entries);
    mem_free(it);
}

static enum errc memory_checkpoint(struct kv *kv, const char *path, struct error *e)
{
    (void)kv;
    (void)path;
    return error_set(e, ERRC_UNSUPPORTED, "a map in memory has no checkpoints");
}

static uint64_t memory_disk_bytes(struct kv *kv)
{
    (void)kv;
    return 0;
}

static enum errc memory_flush(struct kv *kv, struct error *e)
{
    (void)kv;
    (void)e;
    return ERRC_OK;
}

static const struct kv_vt memory_vt = {
    .close = memory_close,
    .get = memory_get,
    .batch_create = memory_batch_create,
    .batch_destroy = memory_batch_destroy,
    .batch_clear = memory_batch_clear,
    .batch_put = memory_batch_put,
    .batch_delete = memory_batch_delete,
    .batch_delete_range = memory_batch_delete_range,
    .batch_bytes = memory_batch_bytes,
    .write = memory_write,
    .iterate = memory_iterate,
    .iterator_seek = memory_seek,
    .iterator_seek_for_prev = memory_seek_for_prev,
    .iterator_next = memory_next,
    .iterator_valid = memory_valid,
    .iterator_key = memory_key,
    .iterator_value = memory_value,
    .iterator_error = memory_iterator_error,
    .iterator_destroy = memory_iterator_destroy,
    .checkpoint = memory_checkpoint,
    .disk_bytes = memory_disk_bytes,
    .flush = memory_flush,
};

struct kv *kv_memory_create(void)
{
    struct kv_memory *memory = mem_zalloc(sizeof(*memory));
    memory->base.vt = &memory_vt;
    return &memory->base;
}

size_t kv_memory_count(struct kv *kv)
{
    return memory_of(kv)->count;
}

size_t kv_memory_count_prefix(struct kv *kv, struct slice prefix)
{
    struct kv_memory *memory = memory_of(kv);
    size_t at = lower_bound(memory->entries, memory->count, prefix);
    size_t count = 0;
    while (at < memory->count && slice_starts(memory->entries[at]->key, prefix)) {
        at++;
        count++;
    }
    return count;
}

bool kv_memory_equal(struct kv *a, struct kv *b)
{
    struct kv_memory *x = memory_of(a);
    struct kv_memory *y = memory_of(b);
    if (x->count != y->count) {
        return false;
    }
    for (size_t i = 0; i < x->count; i++) {
        if (!slice_equal(x->entries[i]->key, y->entries[i]->key) ||
            !slice_equal(x->entries[i]->value, y->entries[i]->value)) {
            return false;
        }
    }
    return true;
}

void kv_memory_set_cold(struct kv *kv, bool cold)
{
    memory_of(kv)->cold = cold;
}

void kv_memory_fail_writes(struct kv *kv, bool fail)
{
    memory_of(kv)->fail_writes = fail;
}

size_t kv_memory_last_batch_bytes(struct kv *kv)
{
    return memory_of(kv)->last_batch_bytes;
}
