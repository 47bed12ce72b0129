#include "common/rpc/node_messages.h"

#include "common/base/assert.h"

#define KEY_BYTES_LIMIT 1024 /* of an owner's key */
#define NAME_BYTES (ID_BYTES + 1)

/* Every cell has cell_bytes, the last 1..cell_bytes. */
static bool cells_fit(uint64_t cell_count, uint64_t cell_bytes, uint64_t shard_bytes)
{
    return cell_count >= 1 && cell_count <= SHARD_CELLS_MAX && shard_bytes <= cell_count * cell_bytes &&
           shard_bytes > (cell_count - 1) * cell_bytes;
}

static bool header_valid(const struct shard_header *header)
{
    return extent_code_valid(&header->code) && header->index < header->code.k + header->code.m &&
           header->logical_bytes <= EXTENT_BYTES_MAX && header->owner.key.len <= KEY_BYTES_LIMIT &&
           cells_fit(header->cell_count, header->code.cell_bytes, header->shard_bytes);
}

void shard_header_encode(struct enc *enc, const struct shard_header *header)
{
    ASSERT(header_valid(header));
    enc_raw(enc, header->cluster.bytes, ID_BYTES);
    enc_raw(enc, header->extent.bytes, ID_BYTES);
    enc_u8(enc, header->index);
    enc_u8(enc, header->code.matrix);
    enc_u8(enc, header->code.k);
    enc_u8(enc, header->code.m);
    enc_uint(enc, header->code.cell_bytes);
    extent_transform_encode(enc, &header->transform);
    enc_uint(enc, header->logical_bytes);
    enc_uint(enc, header->stored_bytes);
    enc_uint(enc, header->cell_count);
    enc_uint(enc, header->shard_bytes);
    extent_owner_encode(enc, &header->owner);
}

void shard_header_decode(struct dec *dec, struct shard_header *ret_header)
{
    struct shard_header header = { 0 };
    dec_copy(dec, header.cluster.bytes, ID_BYTES);
    dec_copy(dec, header.extent.bytes, ID_BYTES);
    header.index = dec_u8(dec);
    header.code.matrix = dec_u8(dec);
    header.code.k = dec_u8(dec);
    header.code.m = dec_u8(dec);
    header.code.cell_bytes = dec_uint32(dec);
    extent_transform_decode(dec, &header.transform);
    header.logical_bytes = dec_uint(dec);
    header.stored_bytes = dec_uint(dec);
    header.cell_count = dec_uint32(dec);
    header.shard_bytes = dec_uint32(dec);
    extent_owner_decode(dec, &header.owner);
    if (dec->failed || !header_valid(&header)) {
        dec->failed = true;
        header = (struct shard_header){ 0 };
    }
    *ret_header = header;
}

static void name_encode(struct enc *enc, struct disk_id disk, struct extent_id extent, uint8_t index)
{
    enc_raw(enc, disk.bytes, ID_BYTES);
    enc_raw(enc, extent.bytes, ID_BYTES);
    enc_u8(enc, index);
}

static void name_decode(struct dec *dec, struct disk_id *disk, struct extent_id *extent, uint8_t *index)
{
    dec_copy(dec, disk->bytes, ID_BYTES);
    dec_copy(dec, extent->bytes, ID_BYTES);
    *index = dec_u8(dec);
    dec->failed = dec->failed || *index >= CODE_SHARDS_MAX;
}

static enum errc decoded(const struct dec *dec)
{
    return dec_done(dec) ? ERRC_OK : ERRC_CORRUPT;
}

void node_shard_put_encode(struct enc *enc, const struct node_shard_put *in)
{
    enc_raw(enc, in->disk.bytes, ID_BYTES);
    shard_header_encode(enc, &in->header);
    enc_bytes(enc, in->cell_crcs);
    enc_bytes(enc, in->footer);
}

enum errc node_shard_put_decode(struct slice bytes, struct node_shard_put *ret)
{
    struct dec dec = dec_of(bytes);
    dec_copy(&dec, ret->disk.bytes, ID_BYTES);
    shard_header_decode(&dec, &ret->header);
    ret->cell_crcs = dec_bytes(&dec);
    ret->footer = dec_bytes(&dec);
    if (ret->cell_crcs.len != 4ull * ret->header.cell_count || ret->footer.len > SHARD_FOOTER_BYTES_MAX) {
        return ERRC_CORRUPT;
    }
    return decoded(&dec);
}

void node_shard_open_encode(struct enc *enc, const struct node_shard_open *in)
{
    enc_raw(enc, in->disk.bytes, ID_BYTES);
    shard_header_encode(enc, &in->header);
}

enum errc node_shard_open_decode(struct slice bytes, struct node_shard_open *ret)
{
    struct dec dec = dec_of(bytes);
    dec_copy(&dec, ret->disk.bytes, ID_BYTES);
    shard_header_decode(&dec, &ret->header);
    return decoded(&dec);
}

void node_shard_write_encode(struct enc *enc, const struct node_shard_write *in)
{
    name_encode(enc, in->disk, in->extent, in->index);
    enc_uint(enc, in->first_cell);
    enc_bytes(enc, in->cell_crcs);
}

enum errc node_shard_write_decode(struct slice bytes, struct node_shard_write *ret)
{
    struct dec dec = dec_of(bytes);
    name_decode(&dec, &ret->disk, &ret->extent, &ret->index);
    ret->first_cell = dec_uint32(&dec);
    ret->cell_crcs = dec_bytes(&dec);
    if (ret->cell_crcs.len % 4 != 0 || ret->cell_crcs.len > 4ull * SHARD_CELLS_MAX) {
        return ERRC_CORRUPT;
    }
    return decoded(&dec);
}

void node_shard_commit_encode(struct enc *enc, const struct node_shard_commit *in)
{
    name_encode(enc, in->disk, in->extent, in->index);
    enc_bytes(enc, in->footer);
}

enum errc node_shard_commit_decode(struct slice bytes, struct node_shard_commit *ret)
{
    struct dec dec = dec_of(bytes);
    name_decode(&dec, &ret->disk, &ret->extent, &ret->index);
    ret->footer = dec_bytes(&dec);
    return ret->footer.len > SHARD_FOOTER_BYTES_MAX ? ERRC_CORRUPT : decoded(&dec);
}

void node_shard_name_encode(struct enc *enc, const struct node_shard_name *in)
{
    name_encode(enc, in->disk, in->extent, in->index);
}

enum errc node_shard_name_decode(struct slice bytes, struct node_shard_name *ret)
{
    struct dec dec = dec_of(bytes);
    name_decode(&dec, &ret->disk, &ret->extent, &ret->index);
    return decoded(&dec);
}

void node_shard_read_encode(struct enc *enc, const struct node_shard_read *in)
{
    name_encode(enc, in->disk, in->extent, in->index);
    enc_uint(enc, in->first_cell);
    enc_uint(enc, in->cell_count);
}

enum errc node_shard_read_decode(struct slice bytes, struct node_shard_read *ret)
{
    struct dec dec = dec_of(bytes);
    name_decode(&dec, &ret->disk, &ret->extent, &ret->index);
    ret->first_cell = dec_uint32(&dec);
    ret->cell_count = dec_uint32(&dec);
    return decoded(&dec);
}

void node_shard_read_reply_encode(struct enc *enc, const struct node_shard_read_reply *in)
{
    enc_bytes(enc, in->cell_crcs);
    enc_uint(enc, in->cell_bytes);
    enc_uint(enc, in->shard_cell_count);
}

enum errc node_shard_read_reply_decode(struct slice bytes, struct node_shard_read_reply *ret)
{
    struct dec dec = dec_of(bytes);
    ret->cell_crcs = dec_bytes(&dec);
    ret->cell_bytes = dec_uint32(&dec);
    ret->shard_cell_count = dec_uint32(&dec);
    return ret->cell_crcs.len % 4 != 0 ? ERRC_CORRUPT : decoded(&dec);
}

void node_shard_stat_reply_encode(struct enc *enc, const struct node_shard_stat_reply *in)
{
    shard_header_encode(enc, &in->header);
    enc_bytes(enc, in->footer);
    enc_uint(enc, in->segment);
    enc_uint(enc, in->offset);
}

enum errc node_shard_stat_reply_decode(struct slice bytes, struct node_shard_stat_reply *ret)
{
    struct dec dec = dec_of(bytes);
    shard_header_decode(&dec, &ret->header);
    ret->footer = dec_bytes(&dec);
    ret->segment = dec_uint(&dec);
    ret->offset = dec_uint(&dec);
    return decoded(&dec);
}

void node_shard_free_encode(struct enc *enc, const struct node_shard_free *in)
{
    ASSERT(in->count <= NODE_FREE_MAX);
    ASSERT(in->names.len == (size_t)in->count * NAME_BYTES);
    enc_raw(enc, in->disk.bytes, ID_BYTES);
    enc_uint(enc, in->count);
    enc_raw(enc, in->names.data, in->names.len);
}

enum errc node_shard_free_decode(struct slice bytes, struct node_shard_free *ret)
{
    struct dec dec = dec_of(bytes);
    dec_copy(&dec, ret->disk.bytes, ID_BYTES);
    ret->count = dec_uint32(&dec);
    if (ret->count > NODE_FREE_MAX) {
        return ERRC_CORRUPT;
    }
    ret->names = dec_raw(&dec, (size_t)ret->count * NAME_BYTES);
    return decoded(&dec);
}

void node_shard_list_encode(struct enc *enc, const struct node_shard_list *in)
{
    enc_raw(enc, in->disk.bytes, ID_BYTES);
    enc_raw(enc, in->first.bytes, ID_BYTES);
    enc_raw(enc, in->end.bytes, ID_BYTES);
    enc_uint(enc, in->limit);
}

enum errc node_shard_list_decode(struct slice bytes, struct node_shard_list *ret)
{
    struct dec dec = dec_of(bytes);
    dec_copy(&dec, ret->disk.bytes, ID_BYTES);
    dec_copy(&dec, ret->first.bytes, ID_BYTES);
    dec_copy(&dec, ret->end.bytes, ID_BYTES);
    ret->limit = dec_uint32(&dec);
    return decoded(&dec);
}

void node_shard_list_reply_encode(struct enc *enc, const struct node_shard_list_reply *in)
{
    ASSERT(in->names.len == (size_t)in->count * NAME_BYTES);
    enc_uint(enc, in->count);
    enc_raw(enc, in->names.data, in->names.len);
    enc_u8(enc, in->more ? 1 : 0);
}

enum errc node_shard_list_reply_decode(struct slice bytes, struct node_shard_list_reply *ret)
{
    struct dec dec = dec_of(bytes);
    ret->count = dec_uint32(&dec);
    ret->names = dec_raw(&dec, (size_t)ret->count * NAME_BYTES);
    uint8_t more = dec_u8(&dec);
    ret->more = more == 1;
    return more > 1 ? ERRC_CORRUPT : decoded(&dec);
}

void node_disk_status_encode(struct enc *enc, const struct node_disk_status *in)
{
    enc_raw(enc, in->disk.bytes, ID_BYTES);
}

enum errc node_disk_status_decode(struct slice bytes, struct node_disk_status *ret)
{
    struct dec dec = dec_of(bytes);
    dec_copy(&dec, ret->disk.bytes, ID_BYTES);
    return decoded(&dec);
}

static void status_entry_encode(struct enc *enc, const struct node_disk_status_entry *in)
{
    enc_raw(enc, in->disk.bytes, ID_BYTES);
    enc_u8(enc, in->state);
    enc_bytes(enc, in->path);
    enc_bytes(enc, in->reason);
    enc_uint(enc, in->total_bytes);
    enc_uint(enc, in->free_bytes);
    enc_uint(enc, in->used_bytes);
    enc_uint(enc, in->dead_bytes);
    enc_uint(enc, in->shard_count);
    enc_uint(enc, in->write_queue_bytes);
    enc_uint(enc, in->fsync_count);
    enc_u64(enc, in->scrub_age_ms);
}

static void status_entry_decode(struct dec *dec, struct node_disk_status_entry *ret)
{
    dec_copy(dec, ret->disk.bytes, ID_BYTES);
    ret->state = dec_u8(dec);
    ret->path = dec_bytes(dec);
    ret->reason = dec_bytes(dec);
    ret->total_bytes = dec_uint(dec);
    ret->free_bytes = dec_uint(dec);
    ret->used_bytes = dec_uint(dec);
    ret->dead_bytes = dec_uint(dec);
    ret->shard_count = dec_uint(dec);
    ret->write_queue_bytes = dec_uint(dec);
    ret->fsync_count = dec_uint(dec);
    ret->scrub_age_ms = dec_u64(dec);
    dec->failed = dec->failed || ret->state < DISK_ONLINE || ret->state > DISK_ABSENT;
}

void node_disk_status_reply_encode(struct enc *enc, const struct node_disk_status_reply *in)
{
    ASSERT(in->count <= NODE_DISKS_MAX);
    enc_uint(enc, in->count);
    for (uint32_t i = 0; i < in->count; i++) {
        status_entry_encode(enc, &in->entries[i]);
    }
}

enum errc node_disk_status_reply_decode(struct slice bytes, struct node_disk_status_reply *ret)
{
    struct dec dec = dec_of(bytes);
    ret->count = dec_uint32(&dec);
    if (ret->count > NODE_DISKS_MAX) {
        return ERRC_CORRUPT;
    }
    for (uint32_t i = 0; i < ret->count; i++) {
        status_entry_decode(&dec, &ret->entries[i]);
    }
    return decoded(&dec);
}
