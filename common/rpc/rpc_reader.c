/*
 * The reading half of common/rpc/rpc_frame.h: HEADER -> TABLE -> TEXT -> HEAD -> PAYLOADS -> WHOLE, empty parts
 * left out; or HEADER -> SKIP -> WHOLE where the body is not wanted.
 */
#include "common/base/assert.h"
#include "common/base/bytes.h"
#include "common/base/crc32c.h"
#include "common/base/mem.h"
#include "common/rpc/rpc_frame.h"

#include <string.h>

#define SCRATCH_BYTES (64u << 10)

enum stage { STAGE_HEADER, STAGE_TABLE, STAGE_TEXT, STAGE_HEAD, STAGE_PAYLOADS, STAGE_SKIP, STAGE_WHOLE };

void rpc_reader_init(struct rpc_reader *reader, uint16_t version)
{
    memset(reader, 0, sizeof(*reader));
    reader->version = version;
}

void rpc_frame_drop(struct rpc_frame *frame)
{
    mem_free(frame->head);
    frame->head = NULL;
    for (unsigned i = 0; i < frame->payload_count; i++) {
        buffer_unref(frame->payloads[i]);
    }
    frame->payload_count = 0;
}

void rpc_reader_done(struct rpc_reader *reader)
{
    rpc_frame_drop(&reader->frame);
    buffer_unref(reader->scratch);
    reader->scratch = NULL;
}

bool rpc_reader_is_between(const struct rpc_reader *reader)
{
    return reader->stage == STAGE_HEADER && reader->have == 0;
}

/* The part being read: its memory and size. */
static uint8_t *part(struct rpc_reader *reader, size_t *ret_len)
{
    const struct rpc_frame_header *header = &reader->frame.header;
    switch ((enum stage)reader->stage) {
    case STAGE_HEADER:
        *ret_len = RPC_HEADER_BYTES;
        return reader->header_bytes;
    case STAGE_TABLE:
        *ret_len = (size_t)header->payload_count * 4;
        return reader->table;
    case STAGE_TEXT:
        *ret_len = header->text_bytes;
        return (uint8_t *)reader->frame.text;
    case STAGE_HEAD:
        *ret_len = header->head_bytes;
        return reader->frame.head;
    case STAGE_PAYLOADS:
        *ret_len = reader->frame.payloads[reader->payload_at]->len;
        return reader->frame.payloads[reader->payload_at]->data;
    case STAGE_SKIP:
        *ret_len = reader->skip_left < SCRATCH_BYTES ? (size_t)reader->skip_left : SCRATCH_BYTES;
        return reader->scratch->data;
    case STAGE_WHOLE:
        break;
    }
    UNREACHABLE(); /* the frame was not taken */
}

uint8_t *rpc_reader_target(struct rpc_reader *reader, size_t *ret_len)
{
    if (reader->stage == STAGE_SKIP && reader->scratch == NULL) {
        reader->scratch = buffer_new(SCRATCH_BYTES);
    }
    if (reader->stage == STAGE_HEAD && reader->frame.head == NULL) {
        reader->frame.head = mem_alloc(reader->frame.header.head_bytes);
    }
    size_t size;
    uint8_t *memory = part(reader, &size);
    *ret_len = size - reader->have;
    return memory + reader->have;
}

/* Makes the buffers that the table asks for. */
static enum errc payloads_create(struct rpc_reader *reader, struct error *e)
{
    const struct rpc_frame_header *header = &reader->frame.header;
    uint64_t sum = 0;
    for (unsigned i = 0; i < header->payload_count; i++) {
        sum += load_le32(reader->table + (size_t)i * 4);
    }
    if (sum != header->payload_bytes) {
        return error_set(e, ERRC_INVALID, "payloads of %llu bytes instead of %u", (unsigned long long)sum,
                         header->payload_bytes);
    }
    for (unsigned i = 0; i < header->payload_count; i++) {
        uint32_t len = load_le32(reader->table + (size_t)i * 4);
        struct buffer *buffer = buffer_new(len > 0 ? len : 1);
        buffer->len = len;
        reader->frame.payloads[reader->frame.payload_count++] = buffer;
    }
    return ERRC_OK;
}

/* True when the stage has nothing to read. */
static bool stage_is_empty(const struct rpc_reader *reader)
{
    const struct rpc_frame_header *header = &reader->frame.header;
    switch ((enum stage)reader->stage) {
    case STAGE_TABLE:
        return header->payload_count == 0;
    case STAGE_TEXT:
        return header->text_bytes == 0;
    case STAGE_HEAD:
        return header->head_bytes == 0;
    case STAGE_PAYLOADS:
        return reader->payload_at == reader->frame.payload_count;
    case STAGE_SKIP:
        return reader->skip_left == 0;
    default:
        return false;
    }
}

static void stage_next(struct rpc_reader *reader)
{
    reader->have = 0;
    if (reader->stage == STAGE_PAYLOADS) {
        do { /* empty payloads have no bytes to wait for */
            reader->payload_at++;
        } while (reader->payload_at < reader->frame.payload_count &&
                 reader->frame.payloads[reader->payload_at]->len == 0);
        if (reader->payload_at < reader->frame.payload_count) {
            return;
        }
    }
    do {
        reader->stage = reader->stage == STAGE_PAYLOADS ? STAGE_WHOLE : (uint8_t)(reader->stage + 1);
        while (reader->stage == STAGE_PAYLOADS && reader->payload_at < reader->frame.payload_count &&
               reader->frame.payloads[reader->payload_at]->len == 0) {
            reader->payload_at++;
        }
    } while (stage_is_empty(reader));
}

static enum rpc_read_event header_received(struct rpc_reader *reader, struct error *e)
{
    if (rpc_frame_header_decode(reader->header_bytes, reader->version, &reader->frame.header, e) != ERRC_OK) {
        return RPC_READ_FAILED;
    }
    reader->crc = 0;
    reader->payload_at = 0;
    reader->frame.text[reader->frame.header.text_bytes] = '\0';
    stage_next(reader);
    return RPC_READ_HEADER;
}

static enum rpc_read_event frame_end(struct rpc_reader *reader, struct error *e)
{
    if (reader->stage != STAGE_WHOLE) {
        return RPC_READ_MORE;
    }
    if (!reader->discard && reader->crc != reader->frame.header.body_crc) {
        (void)error_set(e, ERRC_CORRUPT, "the checksum of a frame's body does not hold");
        return RPC_READ_FAILED;
    }
    return RPC_READ_FRAME;
}

enum rpc_read_event rpc_reader_received(struct rpc_reader *reader, size_t len, struct error *e)
{
    if (reader->stage == STAGE_WHOLE) {
        ASSERT(len == 0); /* a frame without a body, after its header */
        return frame_end(reader, e);
    }
    if (len == 0) {
        return RPC_READ_MORE; /* after a header: the body is to come */
    }
    if (reader->stage == STAGE_SKIP) {
        reader->skip_left -= len;
        reader->stage = reader->skip_left == 0 ? STAGE_WHOLE : STAGE_SKIP;
        return frame_end(reader, e);
    }
    size_t size;
    const uint8_t *memory = part(reader, &size);
    ASSERT(len <= size - reader->have);
    if (reader->stage != STAGE_HEADER) {
        reader->crc = crc32c_update(reader->crc, memory + reader->have, len);
    }
    reader->have += len;
    if (reader->have < size) {
        return RPC_READ_MORE;
    }
    if (reader->stage == STAGE_HEADER) {
        return header_received(reader, e);
    }
    if (reader->stage == STAGE_TABLE && payloads_create(reader, e) != ERRC_OK) {
        return RPC_READ_FAILED;
    }
    stage_next(reader);
    return frame_end(reader, e);
}

void rpc_reader_discard(struct rpc_reader *reader)
{
    ASSERT(reader->have == 0);
    reader->discard = true;
    reader->frame.text[0] = '\0';
    reader->skip_left = rpc_frame_body_bytes(&reader->frame.header);
    reader->stage = reader->skip_left == 0 ? STAGE_WHOLE : STAGE_SKIP;
}

void rpc_reader_take(struct rpc_reader *reader, struct rpc_frame *ret_frame)
{
    ASSERT(reader->stage == STAGE_WHOLE);
    if (reader->discard) { /* nothing was kept: the lengths say so, too */
        struct rpc_frame_header *header = &reader->frame.header;
        header->head_bytes = header->payload_bytes = 0;
        header->payload_count = header->text_bytes = 0;
    }
    *ret_frame = reader->frame;
    reader->frame.head = NULL;
    reader->frame.payload_count = 0;
    reader->stage = STAGE_HEADER;
    reader->have = 0;
    reader->discard = false;
    buffer_unref(reader->scratch);
    reader->scratch = NULL;
}
