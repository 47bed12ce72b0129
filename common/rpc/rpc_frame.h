/*
 * rpc_frame - one message on a connection between processes, as bytes; pure.
 *
 * A frame is a header of fixed size, then the lengths of its payloads, a text, a head (an encoded message) and the
 * payloads, each of which becomes a buffer of its own on the other side. Bytes: docs/formats/rpc.md.
 * The reader asks for memory and is told what came; no byte is copied but those of the header.
 * Thread: none. Memory: a reader owns what it has read until the frame is taken or dropped.
 */
#ifndef COMMON_RPC_RPC_FRAME_H
#define COMMON_RPC_RPC_FRAME_H

#include "common/base/buffer.h"
#include "common/base/codec.h"
#include "common/base/error.h"
#include "common/base/id.h"
#include "common/rpc/rpc.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RPC_PROTOCOL_MIN 1u /* versions of the protocol that this program speaks */
#define RPC_PROTOCOL_MAX 1u
#define RPC_HEADER_BYTES 48u
#define RPC_HEAD_BYTES_MAX (4u << 20)
#define RPC_PAYLOAD_BYTES_MAX (4u << 20) /* of all payloads of a frame together */
#define RPC_TEXT_BYTES_MAX (ERROR_TEXT_BYTES - 1)
#define RPC_PROGRAM_BYTES_MAX 64

enum rpc_frame_kind { RPC_FRAME_HELLO = 1, RPC_FRAME_REQUEST = 2, RPC_FRAME_REPLY = 3 };

struct rpc_frame_header {
    uint16_t version;     /* of the protocol; of a HELLO: the highest that its sender speaks */
    uint8_t kind;         /* enum rpc_frame_kind */
    uint64_t call_id;     /* the client's; a reply carries its request's */
    uint16_t method;      /* of a request */
    uint16_t status;      /* enum errc, of a reply and of a HELLO */
    uint32_t head_bytes;
    uint32_t payload_bytes;
    uint16_t payload_count;
    uint16_t text_bytes;  /* the story of a status other than OK */
    uint32_t deadline_ms; /* what is left of a request's time; 0: no deadline */
    uint32_t body_crc;    /* CRC32C of all that follows the header */
};

static inline uint64_t rpc_frame_body_bytes(const struct rpc_frame_header *header)
{
    return (uint64_t)header->payload_count * 4 + header->text_bytes + header->head_bytes + header->payload_bytes;
}

void rpc_frame_header_encode(const struct rpc_frame_header *header, uint8_t ret_bytes[RPC_HEADER_BYTES]);
/* CORRUPT for bytes that are no header of ours, FORMAT for a version of the protocol other than `version` (a HELLO
 * is read whatever its version: its layout does not change), INVALID for one beyond the limits. */
MUST_CHECK enum errc rpc_frame_header_decode(const uint8_t bytes[RPC_HEADER_BYTES], uint16_t version,
                                             struct rpc_frame_header *ret, struct error *e);

/* ---- writing ---- */

/* What to send; all borrowed. */
struct rpc_frame_parts {
    struct slice text;
    struct slice head;
    struct buffer *const *payloads;
    unsigned payload_count;
};

/* Completes the header's lengths and CRC, and appends everything but head and payloads to `prefix`; head and
 * payloads follow it on the wire. INVALID if the parts are beyond the limits; `prefix` is then unchanged. */
MUST_CHECK enum errc rpc_frame_prefix(struct rpc_frame_header *header, const struct rpc_frame_parts *parts,
                                      struct enc *prefix, struct error *e);

/* ---- HELLO ---- */

struct rpc_hello {
    uint16_t version_min;
    uint16_t version_max;
    struct cluster_id cluster; /* zero: not known yet (a process that joins) */
    struct node_id node;
    char program[RPC_PROGRAM_BYTES_MAX + 1]; /* version of the program, for people */
};

void rpc_hello_encode(struct enc *enc, const struct rpc_hello *hello);
MUST_CHECK enum errc rpc_hello_decode(struct slice bytes, struct rpc_hello *ret, struct error *e);
/* The version that both speak; FORMAT with a text that names both if there is none. */
MUST_CHECK enum errc rpc_hello_agree(const struct rpc_hello *ours, const struct rpc_hello *theirs,
                                     uint16_t *ret_version, struct error *e);

/* ---- reading ---- */

enum rpc_read_event {
    RPC_READ_MORE,   /* go on */
    RPC_READ_HEADER, /* the header is there: `frame.header`; the body may be refused with rpc_reader_discard() */
    RPC_READ_FRAME,  /* a whole frame: take it or drop it before going on */
    RPC_READ_FAILED, /* nothing that follows can be understood */
};

struct rpc_frame {
    struct rpc_frame_header header;
    char text[ERROR_TEXT_BYTES];
    uint8_t *head;                              /* NULL for none */
    struct buffer *payloads[RPC_PAYLOADS_MAX];
    unsigned payload_count;
};

struct rpc_reader {
    uint16_t version;
    uint8_t stage;
    bool discard;
    unsigned payload_at;
    size_t have;        /* of the part that is being read */
    uint64_t skip_left; /* of a discarded body */
    uint32_t crc;
    struct buffer *scratch; /* discarded bytes go here */
    uint8_t header_bytes[RPC_HEADER_BYTES];
    uint8_t table[RPC_PAYLOADS_MAX * 4];
    struct rpc_frame frame;
};

void rpc_reader_init(struct rpc_reader *reader, uint16_t version);
void rpc_reader_done(struct rpc_reader *reader);
/* Where the next bytes belong, at least one. */
uint8_t *rpc_reader_target(struct rpc_reader *reader, size_t *ret_len);
/* `len` bytes came, at most as many as the target has. */
enum rpc_read_event rpc_reader_received(struct rpc_reader *reader, size_t len, struct error *e);
/* After RPC_READ_HEADER: the body is skipped without being kept or checked. */
void rpc_reader_discard(struct rpc_reader *reader);
bool rpc_reader_is_between(const struct rpc_reader *reader); /* frames */
/* After RPC_READ_FRAME: moves the frame out; one that was discarded has no text, head and payloads, and lengths of 0. */
void rpc_reader_take(struct rpc_reader *reader, struct rpc_frame *ret_frame);
void rpc_frame_drop(struct rpc_frame *frame);

#endif
