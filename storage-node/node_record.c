#include "storage-node/node_record.h"

#include "common/base/assert.h"
#include "common/base/bytes.h"
#include "common/base/crc32c.h"

#include <stddef.h>

#define SEGMENT_MAGIC 0x4745534eu /* "NSEG" */
#define FRAME_MAGIC 0x4d52464eu   /* "NFRM" */
#define RECORD_MAGIC 0x4345524eu  /* "NREC" */
#define RECORD_FORMAT 1

/* As they lie on the disk; integers little-endian; crc covers the whole struct with itself zero. */
struct segment_header_disk {
    uint8_t magic[4];
    uint8_t format[2];
    uint8_t kind;
    uint8_t reserved;
    uint8_t crc[4];
    uint8_t zero[4];
    uint8_t number[8];
    uint8_t salt[8];
    uint8_t cluster[ID_BYTES];
    uint8_t disk[ID_BYTES];
};
STATIC_ASSERT(sizeof(struct segment_header_disk) == 64, "segment header has 64 bytes");
STATIC_ASSERT(SEGMENT_HEADER_COPY + sizeof(struct segment_header_disk) <= SEGMENT_HEADER_BYTES, "copy fits");

struct frame_header_disk {
    uint8_t magic[4];
    uint8_t format[2];
    uint8_t flags[2];
    uint8_t crc[4];
    uint8_t record_count[4];
    uint8_t salt[8];
    uint8_t segment[8];
    uint8_t seq[8];
    uint8_t frame_bytes[4];
    uint8_t used_bytes[4];
    uint8_t zero[16];
};
STATIC_ASSERT(sizeof(struct frame_header_disk) == FRAME_HEADER_BYTES, "frame header has 64 bytes");

struct record_header_disk {
    uint8_t magic[4];
    uint8_t format[2];
    uint8_t type;
    uint8_t index;
    uint8_t crc[4];
    uint8_t meta_crc[4];
    uint8_t salt[8];
    uint8_t frame_seq[8];
    uint8_t extent[ID_BYTES];
    uint8_t body_bytes[4];
    uint8_t meta_bytes[4];
    uint8_t data_segment[8];
    uint8_t data_offset[8];
    uint8_t source_segment[8];
    uint8_t zero[16];
};
STATIC_ASSERT(sizeof(struct record_header_disk) == RECORD_HEADER_BYTES, "record header has 96 bytes");

/* All three headers hold their checksum at byte 8. */
#define HEADER_CRC_OFFSET 8
STATIC_ASSERT(offsetof(struct segment_header_disk, crc) == HEADER_CRC_OFFSET, "crc at 8");
STATIC_ASSERT(offsetof(struct frame_header_disk, crc) == HEADER_CRC_OFFSET, "crc at 8");
STATIC_ASSERT(offsetof(struct record_header_disk, crc) == HEADER_CRC_OFFSET, "crc at 8");

static uint32_t header_crc(const uint8_t *bytes, size_t len)
{
    static const uint8_t zero[4];
    uint32_t crc = crc32c(bytes, HEADER_CRC_OFFSET);
    crc = crc32c_update(crc, zero, sizeof(zero));
    return crc32c_update(crc, bytes + HEADER_CRC_OFFSET + 4, len - HEADER_CRC_OFFSET - 4);
}

static enum errc header_check(const uint8_t *bytes, size_t len, uint32_t magic, uint16_t format)
{
    if (load_le32(bytes) != magic || load_le32(bytes + HEADER_CRC_OFFSET) != header_crc(bytes, len)) {
        return ERRC_CORRUPT;
    }
    uint16_t found = load_le16(bytes + 4);
    return found == format ? ERRC_OK : (found > format ? ERRC_FORMAT : ERRC_CORRUPT);
}

void segment_header_encode(const struct segment_header *header, uint8_t block[SEGMENT_HEADER_BYTES])
{
    struct segment_header_disk raw;
    memset(&raw, 0, sizeof(raw));
    store_le32(raw.magic, SEGMENT_MAGIC);
    store_le16(raw.format, SEGMENT_FORMAT);
    raw.kind = header->kind;
    store_le64(raw.number, header->number);
    store_le64(raw.salt, header->salt);
    memcpy(raw.cluster, header->cluster.bytes, ID_BYTES);
    memcpy(raw.disk, header->disk.bytes, ID_BYTES);
    store_le32(raw.crc, header_crc((const uint8_t *)&raw, sizeof(raw)));
    memset(block, 0, SEGMENT_HEADER_BYTES);
    memcpy(block, &raw, sizeof(raw));
    memcpy(block + SEGMENT_HEADER_COPY, &raw, sizeof(raw));
}

static enum errc segment_header_parse(const uint8_t *bytes, struct segment_header *ret)
{
    struct segment_header_disk raw;
    enum errc rc = header_check(bytes, sizeof(raw), SEGMENT_MAGIC, SEGMENT_FORMAT);
    if (rc != ERRC_OK) {
        return rc;
    }
    memcpy(&raw, bytes, sizeof(raw));
    if (raw.kind != SEGMENT_LOG && raw.kind != SEGMENT_DATA) {
        return ERRC_CORRUPT;
    }
    ret->kind = raw.kind;
    ret->number = load_le64(raw.number);
    ret->salt = load_le64(raw.salt);
    memcpy(ret->cluster.bytes, raw.cluster, ID_BYTES);
    memcpy(ret->disk.bytes, raw.disk, ID_BYTES);
    return ERRC_OK;
}

enum errc segment_header_decode(const uint8_t block[SEGMENT_HEADER_BYTES], struct segment_header *ret)
{
    enum errc rc = segment_header_parse(block, ret);
    return rc == ERRC_CORRUPT ? segment_header_parse(block + SEGMENT_HEADER_COPY, ret) : rc;
}

void frame_header_encode(const struct frame_header *header, uint8_t bytes[FRAME_HEADER_BYTES])
{
    ASSERT(header->frame_bytes % FRAME_ALIGN == 0);
    ASSERT(header->used_bytes <= header->frame_bytes);
    struct frame_header_disk raw;
    memset(&raw, 0, sizeof(raw));
    store_le32(raw.magic, FRAME_MAGIC);
    store_le16(raw.format, FRAME_FORMAT);
    store_le16(raw.flags, header->flags);
    store_le32(raw.record_count, header->record_count);
    store_le64(raw.salt, header->salt);
    store_le64(raw.segment, header->segment);
    store_le64(raw.seq, header->seq);
    store_le32(raw.frame_bytes, header->frame_bytes);
    store_le32(raw.used_bytes, header->used_bytes);
    store_le32(raw.crc, header_crc((const uint8_t *)&raw, sizeof(raw)));
    memcpy(bytes, &raw, sizeof(raw));
}

enum errc frame_header_decode(const uint8_t bytes[FRAME_HEADER_BYTES], struct frame_header *ret)
{
    enum errc rc = header_check(bytes, FRAME_HEADER_BYTES, FRAME_MAGIC, FRAME_FORMAT);
    if (rc != ERRC_OK) {
        return rc;
    }
    struct frame_header_disk raw;
    memcpy(&raw, bytes, sizeof(raw));
    struct frame_header header = {
        .flags = load_le16(raw.flags),
        .salt = load_le64(raw.salt),
        .segment = load_le64(raw.segment),
        .seq = load_le64(raw.seq),
        .frame_bytes = load_le32(raw.frame_bytes),
        .used_bytes = load_le32(raw.used_bytes),
        .record_count = load_le32(raw.record_count),
    };
    if (header.frame_bytes % FRAME_ALIGN != 0 || header.frame_bytes > FRAME_BYTES_MAX ||
        header.used_bytes > header.frame_bytes || header.used_bytes < FRAME_HEADER_BYTES) {
        return ERRC_CORRUPT;
    }
    *ret = header;
    return ERRC_OK;
}

void record_header_encode(const struct record_header *header, uint8_t bytes[RECORD_HEADER_BYTES])
{
    ASSERT(header->body_bytes <= RECORD_BODY_BYTES_MAX);
    ASSERT(header->meta_bytes <= RECORD_META_BYTES_MAX);
    struct record_header_disk raw;
    memset(&raw, 0, sizeof(raw));
    store_le32(raw.magic, RECORD_MAGIC);
    store_le16(raw.format, RECORD_FORMAT);
    raw.type = header->type;
    raw.index = header->index;
    store_le32(raw.meta_crc, header->meta_crc);
    store_le64(raw.salt, header->salt);
    store_le64(raw.frame_seq, header->frame_seq);
    memcpy(raw.extent, header->extent.bytes, ID_BYTES);
    store_le32(raw.body_bytes, header->body_bytes);
    store_le32(raw.meta_bytes, header->meta_bytes);
    store_le64(raw.data_segment, header->data_segment);
    store_le64(raw.data_offset, header->data_offset);
    store_le64(raw.source_segment, header->source_segment);
    store_le32(raw.crc, header_crc((const uint8_t *)&raw, sizeof(raw)));
    memcpy(bytes, &raw, sizeof(raw));
}

enum errc record_header_decode(const uint8_t bytes[RECORD_HEADER_BYTES], struct record_header *ret)
{
    enum errc rc = header_check(bytes, RECORD_HEADER_BYTES, RECORD_MAGIC, RECORD_FORMAT);
    if (rc != ERRC_OK) {
        return rc;
    }
    struct record_header_disk raw;
    memcpy(&raw, bytes, sizeof(raw));
    struct record_header header = {
        .type = raw.type,
        .index = raw.index,
        .salt = load_le64(raw.salt),
        .frame_seq = load_le64(raw.frame_seq),
        .body_bytes = load_le32(raw.body_bytes),
        .meta_bytes = load_le32(raw.meta_bytes),
        .meta_crc = load_le32(raw.meta_crc),
        .data_segment = load_le64(raw.data_segment),
        .data_offset = load_le64(raw.data_offset),
        .source_segment = load_le64(raw.source_segment),
    };
    memcpy(header.extent.bytes, raw.extent, ID_BYTES);
    if (header.type < RECORD_SHARD || header.type > RECORD_FREE || header.index >= CODE_SHARDS_MAX ||
        header.body_bytes > RECORD_BODY_BYTES_MAX || header.meta_bytes > RECORD_META_BYTES_MAX ||
        header.data_offset % DATA_ALIGN != 0 || (header.type != RECORD_SHARD && header.body_bytes != 0)) {
        return ERRC_CORRUPT;
    }
    *ret = header;
    return ERRC_OK;
}

void shard_meta_encode(struct enc *enc, const struct shard_meta *meta)
{
    ASSERT(meta->cell_crcs.len == 4ull * meta->header.cell_count);
    ASSERT(meta->footer.len <= SHARD_FOOTER_BYTES_MAX);
    shard_header_encode(enc, &meta->header);
    enc_bytes(enc, meta->cell_crcs);
    enc_bytes(enc, meta->footer);
}

enum errc shard_meta_decode(struct slice bytes, struct shard_meta *ret)
{
    struct dec dec = dec_of(bytes);
    shard_header_decode(&dec, &ret->header);
    ret->cell_crcs = dec_bytes(&dec);
    ret->footer = dec_bytes(&dec);
    if (!dec_done(&dec) || ret->cell_crcs.len != 4ull * ret->header.cell_count ||
        ret->footer.len > SHARD_FOOTER_BYTES_MAX) {
        return ERRC_CORRUPT;
    }
    return ERRC_OK;
}

enum errc record_read(struct slice frame, uint64_t frame_offset, uint64_t salt, size_t *at,
                      struct record *ret)
{
    ASSERT(*at <= frame.len);
    if (frame.len - *at < RECORD_HEADER_BYTES) {
        return ERRC_CORRUPT;
    }
    struct record record = { .offset = frame_offset + *at };
    enum errc rc = record_header_decode(frame.data + *at, &record.header);
    if (rc != ERRC_OK) {
        return rc;
    }
    if (record.header.salt != salt || record_bytes(&record.header) > frame.len - *at) {
        return ERRC_CORRUPT;
    }
    const uint8_t *bytes = frame.data + *at;
    record.body = slice_of(bytes + RECORD_HEADER_BYTES, record.header.body_bytes);
    record.meta = slice_of(bytes + record_meta_offset(&record.header), record.header.meta_bytes);
    *at += (size_t)record_bytes(&record.header);
    *ret = record;
    return crc32c(record.meta.data, record.meta.len) == record.header.meta_crc ? ERRC_OK : ERRC_CORRUPT;
}

enum errc record_check(const struct record *record, struct shard_meta *ret_meta)
{
    ASSERT(record->header.type != RECORD_FREE);
    enum errc rc = shard_meta_decode(record->meta, ret_meta);
    if (rc != ERRC_OK) {
        return rc;
    }
    const struct shard_header *header = &ret_meta->header;
    if (!extent_id_equal(header->extent, record->header.extent) || header->index != record->header.index) {
        return ERRC_CORRUPT;
    }
    if (record->header.type == RECORD_COMMIT) {
        return ERRC_OK;
    }
    if (header->shard_bytes != record->body.len) {
        return ERRC_CORRUPT;
    }
    uint32_t bad = cells_verify(record->body, ret_meta->cell_crcs, header->code.cell_bytes, header->cell_count);
    return bad == header->cell_count ? ERRC_OK : ERRC_CORRUPT;
}

uint32_t cells_verify(struct slice cells, struct slice crcs, uint32_t cell_bytes, uint32_t cell_count)
{
    size_t at = 0;
    for (uint32_t i = 0; i < cell_count; i++) {
        size_t len = cells.len - at < cell_bytes ? cells.len - at : cell_bytes;
        if (len == 0 || crc32c(cells.data + at, len) != load_le32(crcs.data + 4 * (size_t)i)) {
            return i;
        }
        at += len;
    }
    return at == cells.len ? cell_count : 0;
}
