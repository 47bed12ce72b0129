/*
 * kv_memory - an ordered map in memory behind common/base/kv.h, for unit tests.
 *
 * Sorted array of shared entries; an iterator holds its own copy of the range. Nothing survives close.
 * Thread: one.
 */
#ifndef TESTS_LIB_KV_MEMORY_H
#define TESTS_LIB_KV_MEMORY_H

#include "common/base/kv.h"

struct kv *kv_memory_create(void);
size_t kv_memory_count(struct kv *kv);
/* Entries whose key starts with `prefix`. */
size_t kv_memory_count_prefix(struct kv *kv, struct slice prefix);
bool kv_memory_equal(struct kv *a, struct kv *b);
void kv_memory_set_cold(struct kv *kv, bool cold);          /* cached_only gets answer WOULD_BLOCK */
void kv_memory_fail_writes(struct kv *kv, bool fail);       /* write() answers IO */
size_t kv_memory_last_batch_bytes(struct kv *kv);           /* of the last write */

#endif
