#include "common/rpc/rpc_frame.h"

#include "common/base/assert.h"
#include "common/base/bytes.h"
#include "common/base/crc32c.h"
#include "common/base/mem.h"

#include <stdio.h>
#include <string.h>

#define MAGIC 0x31435243u /* "CRC1" */

/*      field                       offset */
#define AT_MAGIC 0
#define AT_VERSION 4
#define AT_KIND 6 /* and a zero byte */
#define AT_CALL_ID 8
#define AT_METHOD 16
#define AT_STATUS 18
#define AT_HEAD_BYTES 20
#define AT_PAYLOAD_BYTES 24
#define AT_PAYLOAD_COUNT 28
#define AT_TEXT_BYTES 30
#define AT_DEADLINE_MS 32
#define AT_BODY_CRC 36
#define AT_ZERO 40
#define AT_HEADER_CRC 44
STATIC_ASSERT(AT_HEADER_CRC + 4 == RPC_HEADER_BYTES, "docs/formats/rpc.md");

void rpc_frame_header_encode(const struct rpc_frame_header *header, uint8_t ret_bytes[RPC_HEADER_BYTES])
{
    memset(ret_bytes, 0, RPC_HEADER_BYTES);
    store_le32(ret_bytes + AT_MAGIC, MAGIC);
    store_le16(ret_bytes + AT_VERSION, header->version);
    ret_bytes[AT_KIND] = header->kind;
    store_le64(ret_bytes + AT_CALL_ID, header->call_id);
    store_le16(ret_bytes + AT_METHOD, header->method);
    store_le16(ret_bytes + AT_STATUS, header->status);
    store_le32(ret_bytes + AT_HEAD_BYTES, header->head_bytes);
    store_le32(ret_bytes + AT_PAYLOAD_BYTES, header->payload_bytes);
    store_le16(ret_bytes + AT_PAYLOAD_COUNT, header->payload_count);
    store_le16(ret_bytes + AT_TEXT_BYTES, header->text_bytes);
    store_le32(ret_bytes + AT_DEADLINE_MS, header->deadline_ms);
    store_le32(ret_bytes + AT_BODY_CRC, header->body_crc);
    store_le32(ret_bytes + AT_HEADER_CRC, crc32c(ret_bytes, AT_HEADER_CRC));
}

static enum errc header_limits(const struct rpc_frame_header *header, struct error *e)
{
    if (header->kind < RPC_FRAME_HELLO || header->kind > RPC_FRAME_REPLY) {
        return error_set(e, ERRC_INVALID, "frame of kind %u", header->kind);
    }
    if (header->head_bytes > RPC_HEAD_BYTES_MAX || header->text_bytes > RPC_TEXT_BYTES_MAX) {
        return error_set(e, ERRC_INVALID, "frame with a head of %u bytes and a text of %u", header->head_bytes,
                         header->text_bytes);
    }
    if (header->payload_count > RPC_PAYLOADS_MAX || header->payload_bytes > RPC_PAYLOAD_BYTES_MAX ||
        (header->payload_count == 0 && header->payload_bytes > 0)) {
        return error_set(e, ERRC_INVALID, "frame with %u payloads of %u bytes", header->payload_count,
                         header->payload_bytes);
    }
    if (header->status >= ERRC_COUNT) {
        return error_set(e, ERRC_INVALID, "frame with status %u", header->status);
    }
    return ERRC_OK;
}

enum errc rpc_frame_header_decode(const uint8_t bytes[RPC_HEADER_BYTES], uint16_t version,
                                  struct rpc_frame_header *ret, struct error *e)
{
    struct rpc_frame_header header = {
        .version = load_le16(bytes + AT_VERSION),
        .kind = bytes[AT_KIND],
        .call_id = load_le64(bytes + AT_CALL_ID),
        .method = load_le16(bytes + AT_METHOD),
        .status = load_le16(bytes + AT_STATUS),
        .head_bytes = load_le32(bytes + AT_HEAD_BYTES),
        .payload_bytes = load_le32(bytes + AT_PAYLOAD_BYTES),
        .payload_count = load_le16(bytes + AT_PAYLOAD_COUNT),
        .text_bytes = load_le16(bytes + AT_TEXT_BYTES),
        .deadline_ms = load_le32(bytes + AT_DEADLINE_MS),
        .body_crc = load_le32(bytes + AT_BODY_CRC),
    };
    if (load_le32(bytes + AT_MAGIC) != MAGIC) {
        return error_set(e, ERRC_CORRUPT, "not a frame");
    }
    if (header.kind != RPC_FRAME_HELLO && header.version != version) {
        return error_set(e, ERRC_FORMAT, "frame of protocol version %u on a connection of version %u", header.version,
                         version);
    }
    if (load_le32(bytes + AT_HEADER_CRC) != crc32c(bytes, AT_HEADER_CRC)) {
        return error_set(e, ERRC_CORRUPT, "the checksum of a frame's header does not hold");
    }
    if (bytes[AT_KIND + 1] != 0 || load_le32(bytes + AT_ZERO) != 0) {
        return error_set(e, ERRC_INVALID, "a frame's reserved bytes are set");
    }
    enum errc rc = header_limits(&header, e);
    if (rc == ERRC_OK) {
        *ret = header;
    }
    return rc;
}

/* ---- writing ---- */

enum errc rpc_frame_prefix(struct rpc_frame_header *header, const struct rpc_frame_parts *parts, struct enc *prefix,
                           struct error *e)
{
    uint64_t payload_bytes = 0;
    for (unsigned i = 0; i < parts->payload_count; i++) {
        payload_bytes += parts->payloads[i]->len;
    }
    if (parts->head.len > RPC_HEAD_BYTES_MAX || payload_bytes > RPC_PAYLOAD_BYTES_MAX ||
        parts->payload_count > RPC_PAYLOADS_MAX) {
        return error_set(e, ERRC_INVALID, "message of %zu bytes with %u payloads of %llu is too large", parts->head.len,
                         parts->payload_count, (unsigned long long)payload_bytes);
    }
    header->head_bytes = (uint32_t)parts->head.len;
    header->payload_bytes = (uint32_t)payload_bytes;
    header->payload_count = (uint16_t)parts->payload_count;
    header->text_bytes = (uint16_t)(parts->text.len < RPC_TEXT_BYTES_MAX ? parts->text.len : RPC_TEXT_BYTES_MAX);
    size_t start = prefix->len;
    (void)enc_reserve(prefix, RPC_HEADER_BYTES);
    for (unsigned i = 0; i < parts->payload_count; i++) {
        enc_u32(prefix, (uint32_t)parts->payloads[i]->len);
    }
    enc_raw(prefix, parts->text.data, header->text_bytes);
    uint32_t crc = crc32c_update(0, prefix->data + start + RPC_HEADER_BYTES, prefix->len - start - RPC_HEADER_BYTES);
    crc = crc32c_update(crc, parts->head.data, parts->head.len);
    for (unsigned i = 0; i < parts->payload_count; i++) {
        crc = crc32c_update(crc, parts->payloads[i]->data, parts->payloads[i]->len);
    }
    header->body_crc = crc;
    rpc_frame_header_encode(header, prefix->data + start);
    return ERRC_OK;
}

/* ---- HELLO ---- */

void rpc_hello_encode(struct enc *enc, const struct rpc_hello *hello)
{
    enc_u16(enc, hello->version_min);
    enc_u16(enc, hello->version_max);
    enc_raw(enc, hello->cluster.bytes, ID_BYTES);
    enc_raw(enc, hello->node.bytes, ID_BYTES);
    enc_bytes(enc, slice_str(hello->program));
}

/* Bytes behind the known fields are a later version's: they are left alone. */
enum errc rpc_hello_decode(struct slice bytes, struct rpc_hello *ret, struct error *e)
{
    struct rpc_hello hello = { 0 };
    struct dec dec = dec_of(bytes);
    hello.version_min = dec_u16(&dec);
    hello.version_max = dec_u16(&dec);
    dec_copy(&dec, hello.cluster.bytes, ID_BYTES);
    dec_copy(&dec, hello.node.bytes, ID_BYTES);
    struct slice program = dec_bytes(&dec);
    if (dec.failed || program.len > RPC_PROGRAM_BYTES_MAX || hello.version_min > hello.version_max) {
        return error_set(e, ERRC_INVALID, "a HELLO that makes no sense");
    }
    for (size_t i = 0; i < program.len; i++) { /* it goes to logs */
        hello.program[i] = program.data[i] > ' ' && program.data[i] < 0x7f ? (char)program.data[i] : '?';
    }
    *ret = hello;
    return ERRC_OK;
}

enum errc rpc_hello_agree(const struct rpc_hello *ours, const struct rpc_hello *theirs, uint16_t *ret_version,
                          struct error *e)
{
    if (theirs->version_min > ours->version_max || theirs->version_max < ours->version_min) {
        return error_set(e, ERRC_FORMAT, "the peer (cairn %s) speaks protocol versions %u to %u, this one (cairn %s) %u to %u",
                         theirs->program, theirs->version_min, theirs->version_max, ours->program, ours->version_min,
                         ours->version_max);
    }
    *ret_version = ours->version_max < theirs->version_max ? ours->version_max : theirs->version_max;
    return ERRC_OK;
}
