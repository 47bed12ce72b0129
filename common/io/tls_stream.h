/*
 * tls_stream - TCP with TLS 1.3 on a loop: listen, accept, connect, write, read, close.
 *
 * Reading: whenever bytes have come, `target` is asked where the next ones go, and `received` says how many went
 * there; so a payload is decrypted straight into its buffer. tls_stream_pause() stops that, and TCP's window then
 * stops the peer. Writing: a `struct tls_write` is a list of slices that stay where they are until `done`; they are
 * encrypted as the socket takes them, so at most two blocks of TLS_BLOCK_BYTES wait in the stream. How much plain
 * text waits behind them is for the owner to bound (tls_stream_waiting_bytes()).
 * A stream ends with one call of `closed`, later than the call that caused it; nothing is called after it.
 * Thread: the loop's, for everything here. Memory: a stream frees itself after `closed`.
 */
#ifndef COMMON_IO_TLS_STREAM_H
#define COMMON_IO_TLS_STREAM_H

#include "common/base/env.h"
#include "common/base/error.h"
#include "common/base/list.h"
#include "common/base/slice.h"
#include "common/io/certificate.h"
#include "common/io/loop.h"
#include "common/io/tls_context.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TLS_BLOCK_BYTES (128u << 10)
#define TLS_ADDRESS_BYTES 64      /* "[v6 address]:port" and a terminator */
#define TLS_LINGER_MS 1000        /* for the peer to read our last words */
#define TLS_USER_TIMEOUT_MS 60000 /* a peer that acknowledges nothing for so long is gone */

struct tls_stream;
struct tls_listener;

struct tls_stream_events {
    void (*opened)(void *data);                            /* handshake done: tls_stream_peer() answers */
    uint8_t *(*target)(void *data, size_t *ret_len);       /* at least one byte */
    void (*received)(void *data, size_t len);
    void (*closed)(void *data, const struct error *reason); /* CANCELED: we closed it; IO: the peer or the network;
                                                             * DENIED: the handshake failed; UNAVAILABLE: no connection */
};

struct tls_write {
    const struct slice *parts; /* borrowed until done */
    unsigned count;
    void (*done)(struct tls_write *write, enum errc status); /* OK: encrypted. Once, never from tls_stream_write() */
    bool started;              /* some of it may have reached the peer */
    /* the stream's */
    struct list link;
    unsigned at;   /* part */
    size_t offset; /* in it */
};

/* Calls `accept` for each connection, before its handshake; the stream is then started or closed there. */
typedef void tls_accept_fn(void *data, struct tls_stream *stream);
/* `address` is "ADDR:PORT" or "[ADDR]:PORT"; port 0 takes a free one. The context is borrowed. */
MUST_CHECK enum errc tls_listener_open(struct loop *loop, struct tls_context *context, const char *address,
                                       tls_accept_fn *accept, void *data, struct tls_listener **ret_listener,
                                       struct error *e);
unsigned tls_listener_port(const struct tls_listener *listener);
void tls_listener_close(struct tls_listener *listener); /* frees it; streams live on */

/* Begins to connect; names are looked up. What goes wrong is told by `closed`. Deadlines are the owner's. */
struct tls_stream *tls_stream_connect(struct loop *loop, struct tls_context *context, const char *address,
                                      const struct tls_stream_events *events, void *data);
/* An accepted stream gets its owner. */
void tls_stream_start(struct tls_stream *stream, const struct tls_stream_events *events, void *data);

void tls_stream_write(struct tls_stream *stream, struct tls_write *write);
/* Takes back a write of which nothing has been sent: true, and `done` will not be called. */
bool tls_stream_take_back(struct tls_stream *stream, struct tls_write *write);
/* Plain and encrypted bytes that the socket has not taken yet. */
size_t tls_stream_waiting_bytes(const struct tls_stream *stream);

void tls_stream_pause(struct tls_stream *stream);
void tls_stream_resume(struct tls_stream *stream);

/* Drops what waits. */
void tls_stream_close(struct tls_stream *stream);
/* Reads no more, sends what waits and an end, gives the peer TLS_LINGER_MS to read it, then closes. */
void tls_stream_finish(struct tls_stream *stream);

const char *tls_stream_address(const struct tls_stream *stream); /* of the peer: "ADDR:PORT" */
/* Who the peer's verified certificate names. NOT_FOUND if it has shown none, DENIED if it names nobody. */
MUST_CHECK enum errc tls_stream_peer(const struct tls_stream *stream, struct certificate_identity *ret,
                                     struct error *e);
struct loop *tls_stream_loop(const struct tls_stream *stream);

#endif
