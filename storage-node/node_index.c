#include "storage-node/node_index.h"

#include "common/base/assert.h"
#include "common/base/bytes.h"
#include "storage-node/node_record.h"

#define ENTRY_FORMAT 1
#define STATS_FORMAT 1
#define POSITION_FORMAT 1
#define SCRUB_FORMAT 1

struct index_key index_key_shard(const struct shard_name *name)
{
    struct index_key key = { .len = 1 + SHARD_NAME_BYTES };
    key.bytes[0] = 'x';
    memcpy(key.bytes + 1, name->extent.bytes, ID_BYTES);
    key.bytes[1 + ID_BYTES] = name->index;
    return key;
}

struct index_key index_key_segment(uint64_t segment)
{
    struct index_key key = { .len = 9 };
    key.bytes[0] = 's';
    store_be64(key.bytes + 1, segment);
    return key;
}

struct index_key index_key_range(uint64_t segment, uint64_t offset)
{
    struct index_key key = { .len = 17 };
    key.bytes[0] = 'd';
    store_be64(key.bytes + 1, segment);
    store_be64(key.bytes + 9, offset);
    return key;
}

static struct index_key key_of_byte(char c)
{
    struct index_key key = { .len = 1 };
    key.bytes[0] = (uint8_t)c;
    return key;
}

struct index_key index_key_position(void)
{
    return key_of_byte('p');
}

struct index_key index_key_scrub(void)
{
    return key_of_byte('c');
}

struct index_key index_key_end(char prefix)
{
    return key_of_byte((char)(prefix + 1));
}

bool shard_name_from_key(struct slice key, struct shard_name *ret)
{
    if (key.len != 1 + SHARD_NAME_BYTES || key.data[0] != 'x') {
        return false;
    }
    memcpy(ret->extent.bytes, key.data + 1, ID_BYTES);
    ret->index = key.data[1 + ID_BYTES];
    return true;
}

bool shard_name_equal(const struct shard_name *a, const struct shard_name *b)
{
    return extent_id_equal(a->extent, b->extent) && a->index == b->index;
}

void index_entry_encode(struct enc *enc, const struct index_entry *entry)
{
    ASSERT(entry->cell_crcs.len == 4ull * entry->cell_count);
    enc_u8(enc, ENTRY_FORMAT);
    enc_u8(enc, entry->large ? 1 : 0);
    enc_uint(enc, entry->log_segment);
    enc_uint(enc, entry->log_offset);
    enc_uint(enc, entry->body_bytes);
    enc_uint(enc, entry->meta_bytes);
    enc_uint(enc, entry->cell_bytes);
    enc_uint(enc, entry->cell_count);
    enc_uint(enc, entry->shard_bytes);
    if (entry->large) {
        enc_uint(enc, entry->data_segment);
        enc_uint(enc, entry->data_offset);
    }
    enc_raw(enc, entry->cell_crcs.data, entry->cell_crcs.len);
}

static uint32_t dec_uint_max(struct dec *dec, uint64_t max)
{
    uint64_t v = dec_uint(dec);
    dec->failed = dec->failed || v > max;
    return dec->failed ? 0 : (uint32_t)v;
}

enum errc index_entry_decode(struct slice bytes, struct index_entry *ret)
{
    struct dec dec = dec_of(bytes);
    uint8_t format = dec_u8(&dec);
    uint8_t large = dec_u8(&dec);
    struct index_entry entry = { .large = large == 1 };
    entry.log_segment = dec_uint(&dec);
    entry.log_offset = dec_uint(&dec);
    entry.body_bytes = dec_uint_max(&dec, RECORD_BODY_BYTES_MAX);
    entry.meta_bytes = dec_uint_max(&dec, RECORD_META_BYTES_MAX);
    entry.cell_bytes = dec_uint_max(&dec, CELL_BYTES_MAX);
    entry.cell_count = dec_uint_max(&dec, SHARD_CELLS_MAX);
    entry.shard_bytes = dec_uint_max(&dec, UINT32_MAX);
    if (entry.large) {
        entry.data_segment = dec_uint(&dec);
        entry.data_offset = dec_uint(&dec);
    }
    entry.cell_crcs = dec_raw(&dec, 4ull * entry.cell_count);
    if (!dec_done(&dec) || format != ENTRY_FORMAT || large > 1 || entry.cell_count == 0 ||
        entry.shard_bytes > (uint64_t)entry.cell_count * entry.cell_bytes ||
        entry.shard_bytes <= (uint64_t)(entry.cell_count - 1) * entry.cell_bytes) {
        return ERRC_CORRUPT;
    }
    *ret = entry;
    return ERRC_OK;
}

uint64_t index_entry_log_bytes(const struct index_entry *entry)
{
    struct record_header header = { .body_bytes = entry->body_bytes, .meta_bytes = entry->meta_bytes };
    return record_bytes(&header);
}

uint64_t index_entry_data_bytes(const struct index_entry *entry)
{
    return entry->large ? align_up(entry->shard_bytes, DATA_ALIGN) : 0;
}

void index_segment_encode(struct enc *enc, const struct index_segment *segment)
{
    enc_u8(enc, STATS_FORMAT);
    enc_u8(enc, segment->kind);
    enc_u8(enc, (uint8_t)((segment->sealed ? 1 : 0) | (segment->clean ? 2 : 0) | (segment->compacting ? 4 : 0)));
    enc_uint(enc, segment->end);
    enc_uint(enc, segment->live_bytes);
    enc_uint(enc, segment->live_count);
    enc_uint(enc, segment->tombstones);
}

enum errc index_segment_decode(struct slice bytes, struct index_segment *ret)
{
    struct dec dec = dec_of(bytes);
    uint8_t format = dec_u8(&dec);
    struct index_segment segment = { .kind = dec_u8(&dec) };
    uint8_t flags = dec_u8(&dec);
    segment.sealed = (flags & 1) != 0;
    segment.clean = (flags & 2) != 0;
    segment.compacting = (flags & 4) != 0;
    segment.end = dec_uint(&dec);
    segment.live_bytes = dec_uint(&dec);
    segment.live_count = dec_uint(&dec);
    segment.tombstones = dec_uint(&dec);
    if (!dec_done(&dec) || format != STATS_FORMAT) {
        return ERRC_CORRUPT;
    }
    *ret = segment;
    return ERRC_OK;
}

void index_position_encode(struct enc *enc, const struct index_position *position)
{
    enc_u8(enc, POSITION_FORMAT);
    enc_uint(enc, position->segment);
    enc_uint(enc, position->offset);
    enc_uint(enc, position->seq);
    enc_uint(enc, position->next_segment);
}

enum errc index_position_decode(struct slice bytes, struct index_position *ret)
{
    struct dec dec = dec_of(bytes);
    uint8_t format = dec_u8(&dec);
    ret->segment = dec_uint(&dec);
    ret->offset = dec_uint(&dec);
    ret->seq = dec_uint(&dec);
    ret->next_segment = dec_uint(&dec);
    return dec_done(&dec) && format == POSITION_FORMAT ? ERRC_OK : ERRC_CORRUPT;
}

void index_scrub_encode(struct enc *enc, const struct index_scrub *scrub)
{
    enc_u8(enc, SCRUB_FORMAT);
    enc_raw(enc, scrub->next.extent.bytes, ID_BYTES);
    enc_u8(enc, scrub->next.index);
    enc_u64(enc, scrub->pass_wall_ms);
}

enum errc index_scrub_decode(struct slice bytes, struct index_scrub *ret)
{
    struct dec dec = dec_of(bytes);
    uint8_t format = dec_u8(&dec);
    dec_copy(&dec, ret->next.extent.bytes, ID_BYTES);
    ret->next.index = dec_u8(&dec);
    ret->pass_wall_ms = dec_u64(&dec);
    return dec_done(&dec) && format == SCRUB_FORMAT ? ERRC_OK : ERRC_CORRUPT;
}
