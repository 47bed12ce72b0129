#include "metadata/read_cache.h"

#include <sched.h>

static void lock(struct read_cache *cache)
{
    while (atomic_flag_test_and_set_explicit(&cache->lock, memory_order_acquire)) {
        (void)sched_yield();
    }
}

static void unlock(struct read_cache *cache)
{
    atomic_flag_clear_explicit(&cache->lock, memory_order_release);
}

void read_cache_init(struct read_cache *cache)
{
    atomic_flag_clear(&cache->lock);
}

void read_cache_clear(struct read_cache *cache)
{
    lock(cache);
    cache->generation++;
    for (unsigned i = 0; i < READ_CACHE_SLOTS; i++) {
        cache->slots[i].len = 0;
    }
    unlock(cache);
}

uint64_t read_cache_tag(struct slice name, uint64_t id)
{
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
    for (size_t i = 0; i < name.len; i++) {
        hash = (hash ^ name.data[i]) * 0x100000001b3u;
    }
    return name.len > 0 ? hash : id * 0x9e3779b97f4a7c15u;
}

static struct read_cache_slot *slot_of(struct read_cache *cache, uint64_t tag)
{
    return &cache->slots[(tag ^ tag >> 32) % READ_CACHE_SLOTS];
}

bool read_cache_get(struct read_cache *cache, uint64_t tag, struct enc *ret_value, uint64_t *ret_generation)
{
    const struct read_cache_slot *slot = slot_of(cache, tag);
    uint8_t *copy = enc_reserve(ret_value, READ_CACHE_BYTES); /* no allocation while the lock is held */
    lock(cache);
    *ret_generation = cache->generation;
    size_t len = slot->tag == tag ? slot->len : 0;
    memcpy(copy, slot->bytes, len);
    unlock(cache);
    ret_value->len -= READ_CACHE_BYTES - len;
    return len > 0;
}

void read_cache_put(struct read_cache *cache, uint64_t tag, uint64_t generation, struct slice value)
{
    struct read_cache_slot *slot = slot_of(cache, tag);
    if (value.len > READ_CACHE_BYTES) {
        return;
    }
    lock(cache);
    if (cache->generation == generation) {
        slot->tag = tag;
        slot->len = (uint16_t)value.len;
        memcpy(slot->bytes, value.data, value.len);
    }
    unlock(cache);
}
