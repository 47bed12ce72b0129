/*
 * read_cache - the records of buckets that queries ask for again and again.
 *
 * Filled by queries, emptied by the applying thread before and after it writes a batch that changes a
 * bucket. A query may fill in only what it read since the last emptying (generation), so that nothing
 * read before a write stays behind it. Counters are not in these records.
 * Thread: any; a spin lock held for a copy of some 300 bytes.
 */
#ifndef METADATA_READ_CACHE_H
#define METADATA_READ_CACHE_H

#include "common/base/codec.h"

#include <stdatomic.h>

#define READ_CACHE_SLOTS 64
#define READ_CACHE_BYTES 384 /* a longer record is not cached */

struct read_cache_slot {
    uint64_t tag;  /* of the name or id that was asked for; the reader compares the record itself */
    uint16_t len;  /* 0: empty */
    uint8_t bytes[READ_CACHE_BYTES];
};

struct read_cache {
    atomic_flag lock;
    uint64_t generation;
    struct read_cache_slot slots[READ_CACHE_SLOTS];
};

void read_cache_init(struct read_cache *cache);
void read_cache_clear(struct read_cache *cache);
uint64_t read_cache_tag(struct slice name, uint64_t id); /* the name, or the id when it is empty */
/* Copies the record to ret_value. False: not there, and *ret_generation is what a later put must show. */
bool read_cache_get(struct read_cache *cache, uint64_t tag, struct enc *ret_value, uint64_t *ret_generation);
void read_cache_put(struct read_cache *cache, uint64_t tag, uint64_t generation, struct slice value);

#endif
