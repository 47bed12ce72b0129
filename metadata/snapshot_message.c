#include "metadata/snapshot_message.h"

#include <stdio.h>

#define SNAPSHOT_FORMAT 1

void snapshot_request_encode(struct enc *enc, const struct snapshot_request *in)
{
    enc_u8(enc, SNAPSHOT_FORMAT);
    enc_u8(enc, in->kind);
    enc_u64(enc, in->index);
    enc_bytes(enc, in->name);
    enc_u64(enc, in->offset);
    enc_u32(enc, in->length);
}

enum errc snapshot_request_decode(struct slice bytes, struct snapshot_request *ret)
{
    struct dec dec = dec_of(bytes);
    uint8_t format = dec_u8(&dec);
    *ret = (struct snapshot_request){ .kind = dec_u8(&dec) };
    ret->index = dec_u64(&dec);
    ret->name = dec_bytes(&dec);
    ret->offset = dec_u64(&dec);
    ret->length = dec_u32(&dec);
    bool known = ret->kind == SNAPSHOT_DESCRIBE || ret->kind == SNAPSHOT_PIECE;
    return dec_done(&dec) && format == SNAPSHOT_FORMAT && known && ret->length <= SNAPSHOT_PIECE_BYTES ? ERRC_OK
                                                                                                       : ERRC_CORRUPT;
}

void members_encode(struct enc *enc, const struct raft_core_members *members)
{
    enc_u64(enc, members->index);
    enc_u32(enc, members->count);
    for (unsigned i = 0; i < members->count; i++) {
        enc_u64(enc, members->list[i].id);
        enc_u8(enc, members->list[i].votes ? 1 : 0);
        enc_bytes(enc, slice_str(members->list[i].node));
    }
}

void members_decode(struct dec *dec, struct raft_core_members *ret_members)
{
    *ret_members = (struct raft_core_members){ .index = dec_u64(dec) };
    ret_members->count = dec_u32(dec);
    dec->failed = dec->failed || ret_members->count > RAFT_MEMBERS_MAX;
    for (unsigned i = 0; i < ret_members->count && !dec->failed; i++) {
        struct raft_core_member *member = &ret_members->list[i];
        member->id = dec_u64(dec);
        member->votes = dec_u8(dec) != 0;
        struct slice node = dec_bytes(dec);
        (void)snprintf(member->node, sizeof(member->node), "%.*s", (int)node.len, (const char *)node.data);
    }
}

void snapshot_description_encode(struct enc *enc, const struct snapshot_description *in)
{
    enc_u8(enc, SNAPSHOT_FORMAT);
    enc_raw(enc, in->cluster.bytes, ID_BYTES);
    enc_u64(enc, in->index);
    enc_u64(enc, in->entry.term);
    enc_u8(enc, in->entry.type);
    enc_bytes(enc, in->entry.data);
    members_encode(enc, &in->members);
}

enum errc snapshot_description_decode(struct slice bytes, struct snapshot_description *ret)
{
    struct dec dec = dec_of(bytes);
    uint8_t format = dec_u8(&dec);
    dec_copy(&dec, ret->cluster.bytes, ID_BYTES);
    ret->index = dec_u64(&dec);
    ret->entry.term = dec_u64(&dec);
    ret->entry.type = dec_u8(&dec);
    ret->entry.data = dec_bytes(&dec);
    members_decode(&dec, &ret->members);
    return dec_done(&dec) && format == SNAPSHOT_FORMAT && ret->index > 0 && ret->entry.term > 0 ? ERRC_OK : ERRC_CORRUPT;
}
