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

static void voters_encode(struct enc *enc, const struct cluster_voter *voters, uint32_t count)
{
    ASSERT(count <= CLUSTER_VOTERS_MAX);
    enc_uint(enc, count);
    for (uint32_t i = 0; i < count; i++) {
        enc_raw(enc, voters[i].node.bytes, ID_BYTES);
        enc_bytes(enc, voters[i].address);
    }
}

static void voters_decode(struct dec *dec, struct cluster_voter *voters, uint32_t *ret_count)
{
    uint64_t count = dec_uint(dec);
    dec->failed = dec->failed || count > CLUSTER_VOTERS_MAX;
    *ret_count = dec->failed ? 0 : (uint32_t)count;
    for (uint32_t i = 0; i < *ret_count; i++) {
        dec_copy(dec, voters[i].node.bytes, ID_BYTES);
        voters[i].address = bytes_at_most(dec, CLUSTER_ADDRESS_BYTES_MAX);
    }
}

void cluster_join_reply_encode(struct enc *enc, const struct cluster_join_reply *in)
{
    ASSERT(in->voter_count <= CLUSTER_VOTERS_MAX);
    enc_raw(enc, in->cluster.bytes, ID_BYTES);
    enc_bytes(enc, in->certificate);
    enc_bytes(enc, in->ca);
    enc_bytes(enc, in->ca_key);
    enc_bytes(enc, in->credentials);
    voters_encode(enc, in->voters, in->voter_count);
}

enum errc cluster_join_reply_decode(struct slice bytes, struct cluster_join_reply *ret)
{
    struct dec dec = dec_of(bytes);
    dec_copy(&dec, ret->cluster.bytes, ID_BYTES);
    ret->certificate = bytes_at_most(&dec, CLUSTER_PEM_BYTES_MAX);
    ret->ca = bytes_at_most(&dec, CLUSTER_PEM_BYTES_MAX);
    ret->ca_key = bytes_at_most(&dec, CLUSTER_PEM_BYTES_MAX);
    ret->credentials = bytes_at_most(&dec, CLUSTER_SECRETS_BYTES_MAX);
    voters_decode(&dec, ret->voters, &ret->voter_count);
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

void node_damage_encode(struct enc *enc, const struct node_damage *in)
{
    ASSERT(in->count <= NODE_DAMAGE_MAX);
    enc_uint(enc, in->count);
    for (uint32_t i = 0; i < in->count; i++) {
        enc_raw(enc, in->shards[i].disk.bytes, ID_BYTES);
        enc_raw(enc, in->shards[i].extent.bytes, ID_BYTES);
        enc_u8(enc, in->shards[i].index);
    }
}

enum errc node_damage_decode(struct slice bytes, struct node_damage *ret)
{
    struct dec dec = dec_of(bytes);
    uint64_t count = dec_uint(&dec);
    dec.failed = dec.failed || count > NODE_DAMAGE_MAX;
    ret->count = dec.failed ? 0 : (uint32_t)count;
    for (uint32_t i = 0; i < ret->count && !dec.failed; i++) {
        struct slice ids = dec_raw(&dec, 2 * ID_BYTES);
        ret->shards[i].index = dec_u8(&dec);
        if (!dec.failed) {
            memcpy(ret->shards[i].disk.bytes, ids.data, ID_BYTES);
            memcpy(ret->shards[i].extent.bytes, ids.data + ID_BYTES, ID_BYTES);
        }
    }
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
    enc_u8(enc, in->leads ? 1 : 0);
    voters_encode(enc, in->voters, in->voter_count);
    enc_uint(enc, in->away_count);
    for (uint32_t i = 0; i < in->away_count; i++) {
        enc_raw(enc, in->away[i].bytes, ID_BYTES);
    }
}

enum errc node_heartbeat_reply_decode(struct slice bytes, struct node_heartbeat_reply *ret)
{
    struct dec dec = dec_of(bytes);
    ret->map_revision = dec_u64(&dec);
    ret->leads = dec_u8(&dec) != 0;
    voters_decode(&dec, ret->voters, &ret->voter_count);
    uint64_t count = dec_uint(&dec);
    if (dec.failed || count > CLUSTER_AWAY_MAX) {
        return ERRC_CORRUPT;
    }
    ret->away_count = (uint32_t)count;
    for (uint32_t i = 0; i < ret->away_count; i++) {
        dec_copy(&dec, ret->away[i].bytes, ID_BYTES);
    }
    return dec_done(&dec) ? ERRC_OK : ERRC_CORRUPT;
}

void admin_request_encode(struct enc *enc, const struct admin_request *in)
{
    enc_bytes(enc, in->method);
    enc_bytes(enc, in->path);
    enc_bytes(enc, in->query);
    enc_bytes(enc, in->body);
}

enum errc admin_request_decode(struct slice bytes, struct admin_request *ret)
{
    struct dec dec = dec_of(bytes);
    ret->method = bytes_at_most(&dec, ADMIN_FORWARD_PATH_BYTES_MAX);
    ret->path = bytes_at_most(&dec, ADMIN_FORWARD_PATH_BYTES_MAX);
    ret->query = bytes_at_most(&dec, ADMIN_FORWARD_QUERY_BYTES_MAX);
    ret->body = bytes_at_most(&dec, ADMIN_FORWARD_BODY_BYTES_MAX);
    return dec_done(&dec) ? ERRC_OK : ERRC_CORRUPT;
}

void admin_reply_encode(struct enc *enc, const struct admin_reply *in)
{
    enc_uint(enc, in->status);
    enc_bytes(enc, in->text);
}

enum errc admin_reply_decode(struct slice bytes, struct admin_reply *ret)
{
    struct dec dec = dec_of(bytes);
    uint64_t status = dec_uint(&dec);
    ret->text = bytes_at_most(&dec, ADMIN_FORWARD_TEXT_BYTES_MAX);
    ret->status = (uint32_t)status;
    return dec_done(&dec) && status >= 100 && status <= 599 ? ERRC_OK : ERRC_CORRUPT;
}
