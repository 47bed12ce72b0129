#include "common/http/http_chunk.h"

#include <stdbool.h>

/*
 *   SIZE -> [EXTENSION ->] SIZE_LF -> DATA -> DATA_CR -> DATA_LF -> SIZE     (size 0: TRAILER_BEGIN)
 *   TRAILER_BEGIN -> TRAILER_NAME -> TRAILER_VALUE -> TRAILER_LF -> TRAILER_BEGIN -> END_LF -> END
 */
enum chunk_state {
    CHUNK_SIZE,
    CHUNK_EXTENSION,
    CHUNK_SIZE_LF,
    CHUNK_IN_DATA,
    CHUNK_DATA_CR,
    CHUNK_DATA_LF,
    CHUNK_TRAILER_BEGIN,
    CHUNK_TRAILER_NAME,
    CHUNK_TRAILER_VALUE,
    CHUNK_TRAILER_LF,
    CHUNK_END_LF,
    CHUNK_AT_END,
};

static int hex_value(uint8_t byte)
{
    if (byte >= '0' && byte <= '9') {
        return byte - '0';
    }
    uint8_t lower = byte | 0x20;
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

static bool step_size(struct http_chunk *chunk, uint8_t byte)
{
    int digit = hex_value(byte);
    if (digit >= 0) {
        chunk->left = chunk->left * 16 + (uint64_t)digit;
        return ++chunk->digits <= 15;
    }
    if (byte == '\r') {
        chunk->state = CHUNK_SIZE_LF;
    } else if (byte == ';') {
        chunk->state = CHUNK_EXTENSION;
    } else {
        return false;
    }
    return chunk->digits > 0;
}

static bool is_text(uint8_t byte)
{
    return byte == '\t' || (byte >= ' ' && byte != 0x7f);
}

static bool step_trailer(struct http_chunk *chunk, uint8_t byte)
{
    if (++chunk->trailer_bytes > CHUNK_TRAILER_BYTES_MAX) {
        return false;
    }
    switch (chunk->state) {
    case CHUNK_TRAILER_BEGIN:
        if (byte == '\r') {
            chunk->state = CHUNK_END_LF;
            return true;
        }
        chunk->state = CHUNK_TRAILER_NAME;
        return is_text(byte) && byte != ' ' && byte != '\t' && byte != ':';
    case CHUNK_TRAILER_NAME:
        if (byte == ':') {
            chunk->state = CHUNK_TRAILER_VALUE;
            return true;
        }
        return is_text(byte) && byte != ' ' && byte != '\t';
    case CHUNK_TRAILER_VALUE:
        if (byte == '\r') {
            chunk->state = CHUNK_TRAILER_LF;
            return true;
        }
        return is_text(byte);
    default: /* CHUNK_TRAILER_LF */
        chunk->state = CHUNK_TRAILER_BEGIN;
        return byte == '\n';
    }
}

/* One byte of framing; false: malformed. */
static bool step(struct http_chunk *chunk, uint8_t byte)
{
    switch (chunk->state) {
    case CHUNK_SIZE:
        return step_size(chunk, byte);
    case CHUNK_EXTENSION:
        if (byte == '\r') {
            chunk->state = CHUNK_SIZE_LF;
            return true;
        }
        return is_text(byte) && ++chunk->extension_bytes <= CHUNK_EXTENSION_BYTES_MAX;
    case CHUNK_SIZE_LF:
        chunk->state = chunk->left > 0 ? CHUNK_IN_DATA : CHUNK_TRAILER_BEGIN;
        return byte == '\n';
    case CHUNK_DATA_CR:
        chunk->state = CHUNK_DATA_LF;
        return byte == '\r';
    case CHUNK_DATA_LF:
        chunk->state = CHUNK_SIZE;
        chunk->digits = 0;
        return byte == '\n';
    case CHUNK_END_LF:
        chunk->state = CHUNK_AT_END;
        return byte == '\n';
    default:
        return step_trailer(chunk, byte);
    }
}

enum chunk_result http_chunk_next(struct http_chunk *chunk, struct slice bytes, size_t *ret_used,
                                  struct slice *ret_data)
{
    size_t used = 0;
    *ret_data = SLICE_EMPTY;
    while (chunk->state != CHUNK_AT_END) {
        if (used == bytes.len) {
            *ret_used = used;
            return CHUNK_MORE;
        }
        if (chunk->state == CHUNK_IN_DATA) {
            size_t room = bytes.len - used;
            size_t n = chunk->left < room ? (size_t)chunk->left : room;
            *ret_data = slice_of(bytes.data + used, n);
            *ret_used = used + n;
            chunk->left -= n;
            chunk->state = chunk->left > 0 ? CHUNK_IN_DATA : CHUNK_DATA_CR;
            return CHUNK_DATA;
        }
        if (!step(chunk, bytes.data[used++])) {
            return CHUNK_BAD;
        }
    }
    *ret_used = used;
    return CHUNK_END;
}
