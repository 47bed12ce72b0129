#include "common/rpc/cluster_messages.h"

#include "common/base/assert.h"

#define TOKEN_ID_BYTES 8
#define TOKEN_SECRET_BYTES 16
#define DISKS_BYTES_MAX (1u << 20)

static struct slice bytes_at_most(struct dec *dec, size_t limit)
{
    struct slice bytes = dec_bytes(dec);
    if (bytes.len > limit) {
        dec->failed = true;
        return SLICE_EMPTY;
    }
    return bytes;
}

static struct slice bytes_exactly(struct dec *dec, size_t len)
{
    struct slice bytes = dec_bytes(dec);
    if (bytes.len != len) {
        dec->failed = true;
        return SLICE_EMPTY;
    }
    return bytes;
}

void cluster_join_encode(struct enc *enc, const struct cluster_join *in)
{
    enc_u8(enc, in->role);
    enc_bytes(enc, in->token_id);
    enc_bytes(enc, in->token_secret);
    enc_raw(enc, in->node.bytes, ID_BYTES);
    enc_bytes(enc, in->csr);
    enc_bytes(enc, in->address);
    enc_bytes(enc, in->name);
    enc_bytes(enc, in->zone);
    enc_bytes(enc, in->rack);
    enc_bytes(enc, in->version);
}

enum errc cluster_join_decode(struct slice bytes, struct cluster_join *ret)
{
    struct dec dec = dec_of(bytes);
    ret->role = dec_u8(&dec);
    ret->token_id = bytes_exactly(&dec, TOKEN_ID_BYTES);
    ret->token_secret = bytes_exactly(&dec, TOKEN_SECRET_BYTES);
    dec_copy(&dec, ret->node.bytes, ID_BYTES);
    ret->csr = bytes_at_most(&dec, CLUSTER_PEM_BYTES_MAX);
    ret->address = bytes_at_most(&dec, CLUSTER_ADDRESS_BYTES_MAX);
    ret->name = bytes_at_most(&dec, CLUSTER_NAME_BYTES_MAX);
    ret->zone = bytes_at_most(&dec, CLUSTER_NAME_BYTES_MAX);
    ret->rack = bytes_at_most(&dec, CLUSTER_NAME_BYTES_MAX);
    ret->version = bytes_at_most(&dec, CLUSTER_NAME_BYTES_MAX);
    return dec_done(&dec) && !node_id_is_zero(ret->node) ? ERRC_OK : ERRC_CORRUPT;
}

void cluster_join_reply_encode(struct enc *enc, const struct cluster_join_reply *in)
{
    ASSERT(in->voter_count <= CLUSTER_VOTERS_MAX);
    enc_raw(enc, in->cluster.bytes, ID_BYTES);
    enc_bytes(enc, in->certificate);
    enc_bytes(enc, in->ca);
    enc_bytes(enc, in->ca_key);
    enc_bytes(enc, in->credentials);
    enc_uint(enc, in->voter_count);
    for (uint32_t i = 0; i < in->voter_count; i++) {
        enc_raw(enc, in->voters[i].node.bytes, ID_BYTES);
        enc_bytes(enc, in->voters[i].address);
    }
}

enum errc cluster_join_reply_decode(struct slice bytes, struct cluster_join_reply *ret)
{
    struct dec dec = dec_of(bytes);
    dec_copy(&dec, ret->cluster.bytes, ID_BYTES);
    ret->certificate = bytes_at_most(&dec, CLUSTER_PEM_BYTES_MAX);
    ret->ca = bytes_at_most(&dec, CLUSTER_PEM_BYTES_MAX);
    ret->ca_key = bytes_at_most(&dec, CLUSTER_PEM_BYTES_MAX);
    ret->credentials = bytes_at_most(&dec, CLUSTER_SECRETS_BYTES_MAX);
    uint64_t count = dec_uint(&dec);
    if (count > CLUSTER_VOTERS_MAX) {
        return ERRC_CORRUPT;
    }
    ret->voter_count = (uint32_t)count;
    for (uint32_t i = 0; i < ret->voter_count; i++) {
        dec_copy(&dec, ret->voters[i].node.bytes, ID_BYTES);
        ret->voters[i].address = bytes_at_most(&dec, CLUSTER_ADDRESS_BYTES_MAX);
    }
    return dec_done(&dec) ? ERRC_OK : ERRC_CORRUPT;
}

void cluster_renew_encode(struct enc *enc, const struct cluster_renew *in)
{
    enc_bytes(enc, in->csr);
}

enum errc cluster_renew_decode(struct slice bytes, struct cluster_renew *ret)
{
    struct dec dec = dec_of(bytes);
    ret->csr = bytes_at_most(&dec, CLUSTER_PEM_BYTES_MAX);
    return dec_done(&dec) ? ERRC_OK : ERRC_CORRUPT;
}

void node_heartbeat_encode(struct enc *enc, const struct node_heartbeat *in)
{
    enc_bytes(enc, in->address);
    enc_u64(enc, in->started_ms);
    enc_bytes(enc, in->version);
    enc_bytes(enc, in->disks);
}

enum errc node_heartbeat_decode(struct slice bytes, struct node_heartbeat *ret)
{
    struct dec dec = dec_of(bytes);
    ret->address = bytes_at_most(&dec, CLUSTER_ADDRESS_BYTES_MAX);
    ret->started_ms = dec_u64(&dec);
    ret->version = bytes_at_most(&dec, CLUSTER_NAME_BYTES_MAX);
    ret->disks = bytes_at_most(&dec, DISKS_BYTES_MAX);
    return dec_done(&dec) ? ERRC_OK : ERRC_CORRUPT;
}

void node_heartbeat_reply_encode(struct enc *enc, const struct node_heartbeat_reply *in)
{
    ASSERT(in->away_count <= CLUSTER_AWAY_MAX);
    enc_u64(enc, in->map_revision);
    enc_uint(enc, in->away_count);
    for (uint32_t i = 0; i < in->away_count; i++) {
        enc_raw(enc, in->away[i].bytes, ID_BYTES);
    }
}

enum errc node_heartbeat_reply_decode(struct slice bytes, struct node_heartbeat_reply *ret)
{
    struct dec dec = dec_of(bytes);
    ret->map_revision = dec_u64(&dec);
    uint64_t count = dec_uint(&dec);
    if (count > CLUSTER_AWAY_MAX) {
        return ERRC_CORRUPT;
    }
    ret->away_count = (uint32_t)count;
    for (uint32_t i = 0; i < ret->away_count; i++) {
        dec_copy(&dec, ret->away[i].bytes, ID_BYTES);
    }
    return dec_done(&dec) ? ERRC_OK : ERRC_CORRUPT;
}
