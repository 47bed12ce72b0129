/*
 * Fuzz target: what a connection between processes reads. The first byte says in which pieces the rest arrives and
 * whether bodies are wanted; the checksums of what looks like a frame are made right, so that the bytes behind them
 * are reached too. Whatever is accepted must be encoded again to a frame that reads the same.
 */
#include "common/base/assert.h"
#include "common/base/bytes.h"
#include "common/base/crc32c.h"
#include "common/base/mem.h"
#include "common/rpc/rpc_frame.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define PAYLOAD_BYTES_WANTED (64u << 10) /* larger ones only slow the fuzzer down */

static void check_again(const struct rpc_frame *frame)
{
    struct rpc_frame_header header = frame->header;
    struct rpc_frame_parts parts = { slice_str(frame->text), slice_of(frame->head, header.head_bytes), frame->payloads,
                                     frame->payload_count };
    parts.text.len = header.text_bytes; /* it may hold zeros */
    struct enc enc = ENC_INIT;
    struct rpc_frame_header again;
    ASSERT(rpc_frame_prefix(&header, &parts, &enc, NULL) == ERRC_OK);
    ASSERT(header.body_crc == frame->header.body_crc);
    ASSERT(rpc_frame_header_decode(enc.data, frame->header.version, &again, NULL) == ERRC_OK);
    ASSERT(memcmp(&again.call_id, &frame->header.call_id, sizeof(again.call_id)) == 0);
    enc_free(&enc);
    struct rpc_hello hello;
    uint16_t version;
    const struct rpc_hello ours = { 1, 3, { { 1 } }, { { 1 } }, "0" };
    if (rpc_hello_decode(slice_of(frame->head, header.head_bytes), &hello, NULL) == ERRC_OK &&
        rpc_hello_agree(&ours, &hello, &version, NULL) == ERRC_OK) {
        ASSERT(version >= 1);
        ASSERT(version <= 3);
    }
}

static void checksums_mend(uint8_t *bytes, size_t len)
{
    if (len < RPC_HEADER_BYTES) {
        return;
    }
    store_le32(bytes + 36, crc32c(bytes + RPC_HEADER_BYTES, len - RPC_HEADER_BYTES));
    store_le32(bytes + 44, crc32c(bytes, 44));
}

static void read_all(const uint8_t *bytes, size_t len, size_t step, bool discard)
{
    struct rpc_reader reader;
    struct rpc_frame frame;
    enum rpc_read_event event = RPC_READ_MORE;
    rpc_reader_init(&reader, 1);
    for (size_t at = 0; at < len && event != RPC_READ_FAILED;) {
        size_t room;
        uint8_t *target = rpc_reader_target(&reader, &room);
        size_t piece = len - at < room ? len - at : room;
        piece = piece < step ? piece : step;
        memcpy(target, bytes + at, piece);
        at += piece;
        event = rpc_reader_received(&reader, piece, NULL);
        if (event == RPC_READ_HEADER) {
            if (reader.frame.header.payload_bytes > PAYLOAD_BYTES_WANTED) {
                break;
            }
            if (discard) {
                rpc_reader_discard(&reader);
            }
            event = rpc_reader_received(&reader, 0, NULL);
        }
        if (event == RPC_READ_FRAME) {
            rpc_reader_take(&reader, &frame);
            if (!discard) {
                check_again(&frame);
            }
            rpc_frame_drop(&frame);
        }
    }
    rpc_reader_done(&reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0) {
        return 0;
    }
    size_t step = (size_t)(data[0] & 0x3f) + 1;
    uint8_t *bytes = mem_alloc(len);
    memcpy(bytes, data + 1, len - 1);
    if ((data[0] & 0x40) != 0) {
        checksums_mend(bytes, len - 1);
    }
    read_all(bytes, len - 1, step, (data[0] & 0x80) != 0);
    mem_free(bytes);
    return 0;
}
