/*
 * key - every key of the state machine's map, drawn and built.
 *
 * One map, one byte of table first; integers are big-endian so that bytes sort as numbers; ~seq is the
 * complement, so newer versions come first. esc(key) writes 00 as 00 FF and ends with 00 01: keys sort as
 * their bytes, a key sorts before those that it is a prefix of, and esc() is never a prefix of another.
 *
 *   01 STATE            (one record)                     position, chain, counters
 *   02 BUCKET           name                             the bucket
 *   03 BUCKET_NAME      u64 bucket                       its name
 *   04 BUCKET_COUNTS    u64 bucket                       sequence and counters
 *   05 CURRENT          u64 bucket, esc(key)             row of the current version, seq of the null version
 *   06 NONCURRENT       u64 bucket, esc(key), ~seq       row of an older version
 *   07 BODY             u64 bucket, esc(key), ~seq       headers, user metadata, checksum, references
 *   08 INLINE           u64 bucket, esc(key), ~seq       the object's bytes
 *   09 PART_LIST        u64 bucket, upload id, u32 chunk part references of a version
 *   0a MANIFEST         part id                          references or bytes of one part
 *   0b UPLOAD           u64 bucket, esc(key), upload id
 *   0c PART             u64 bucket, upload id, u16 number
 *   0d COMPLETED        u64 bucket, upload id            result of a completed upload, remembered
 *   0e COMPLETED_ORDER  u64 order                        bucket, upload id: which to forget first
 *   10 EXTENT           extent id
 *   11 EXTENT_GROUP     u32 group, extent id
 *   12 REPAIR           u8 rank, extent id               rank: meta_repair_rank
 *   13 GC               u64 seq
 *   14 GC_EXTENT        extent id                        seq of its gc item
 *   15 SESSION          u64 session
 *   16 RETIRED          u64 seq                          shards of a live extent that its record names no more
 *   18 DISK             disk id
 *   19 GROUP            u32 group
 *   1a SWEEP            u32 group, u8 position
 *   1d NODE             node id
 *   1e TOKEN            token id
 *   1b IDENTITY         access key
 *   1c SETTING          name
 *   1f CLIENT           client id                        its number, when it was last noted
 *   20 EVENT            kept free for the outbox of events
 *   21 REQUEST          u32 client, u32 slot             number of a request, its result
 */
#ifndef METADATA_KEY_H
#define METADATA_KEY_H

#include "common/base/id.h"
#include "common/base/slice.h"
#include "common/rpc/metadata_messages.h"

enum key_table {
    TABLE_STATE = 0x01,
    TABLE_BUCKET,
    TABLE_BUCKET_NAME,
    TABLE_BUCKET_COUNTS,
    TABLE_CURRENT,
    TABLE_NONCURRENT,
    TABLE_BODY,
    TABLE_INLINE,
    TABLE_PART_LIST,
    TABLE_MANIFEST,
    TABLE_UPLOAD,
    TABLE_PART,
    TABLE_COMPLETED,
    TABLE_COMPLETED_ORDER,
    TABLE_EXTENT = 0x10,
    TABLE_EXTENT_GROUP,
    TABLE_REPAIR,
    TABLE_GC,
    TABLE_GC_EXTENT,
    TABLE_SESSION,
    TABLE_RETIRED,
    TABLE_DISK = 0x18,
    TABLE_GROUP,
    TABLE_SWEEP,
    TABLE_IDENTITY,
    TABLE_SETTING,
    TABLE_NODE,
    TABLE_TOKEN,
    TABLE_CLIENT,
    TABLE_EVENT = 0x20,
    TABLE_REQUEST,
};

#define KEY_BYTES_ENCODED_MAX (1 + 8 + 2 * KEY_BYTES_MAX + 2 + 16 + 8)
#define KEY_OBJECT_AT 9 /* where esc(key) begins in keys of objects */

struct key {
    size_t len;
    uint8_t bytes[KEY_BYTES_ENCODED_MAX];
};

static inline struct slice key_slice(const struct key *key)
{
    return slice_of(key->bytes, key->len);
}

/* Builders: key_begin, then parts in the drawn order. */
void key_begin(struct key *key, enum key_table table);
void key_u8(struct key *key, uint8_t v);
void key_u16(struct key *key, uint16_t v);
void key_u32(struct key *key, uint32_t v);
void key_u64(struct key *key, uint64_t v);
void key_raw(struct key *key, const void *bytes, size_t len);
void key_escaped(struct key *key, struct slice text); /* without the end mark: all keys that begin with text */
void key_end_mark(struct key *key);
/* The first key behind all that begin with this one. */
void key_successor(struct key *key);

/* Whole keys. */
void key_table_u64(struct key *key, enum key_table table, uint64_t v);
void key_table_raw(struct key *key, enum key_table table, const void *bytes, size_t len);
void key_object(struct key *key, enum key_table table, uint64_t bucket, struct slice object_key);
void key_version(struct key *key, enum key_table table, uint64_t bucket, struct slice object_key, uint64_t seq);
/* Behind every row of this object key and before those of the next one. */
void key_object_after(struct key *key, enum key_table table, uint64_t bucket, struct slice object_key);
void key_upload(struct key *key, uint64_t bucket, struct slice object_key, const uint8_t upload_id[16]);
void key_of_upload(struct key *key, enum key_table table, uint64_t bucket, const uint8_t upload_id[16]);

/*
 * Reads esc() back from `at` on.
 *
 * ret_text  at least KEY_BYTES_MAX bytes
 * Returns   bytes read with the end mark; 0 when they are not esc() of at most KEY_BYTES_MAX bytes
 */
size_t key_unescape(struct slice key, size_t at, uint8_t *ret_text, size_t *ret_len);

#endif
