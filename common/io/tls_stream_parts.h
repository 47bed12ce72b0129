/*
 * tls_stream_parts - what tls_stream.c (a stream) and tls_socket.c (how streams come to be) share.
 */
#ifndef COMMON_IO_TLS_STREAM_PARTS_H
#define COMMON_IO_TLS_STREAM_PARTS_H

#include "common/base/buffer.h"
#include "common/io/tls_stream.h"

#include <openssl/ssl.h>
#include <uv.h>

/*
 *   CONNECTING -> HANDSHAKE -> OPEN -> DRAINING -> CLOSING -> (freed)
 *        every state may go to CLOSING; a handshake that failed goes through DRAINING, so that its alert arrives
 */
enum stream_state { STREAM_CONNECTING, STREAM_HANDSHAKE, STREAM_OPEN, STREAM_DRAINING, STREAM_CLOSING };

struct tls_stream {
    struct loop *loop;
    const struct tls_stream_events *events; /* NULL: accepted, not started */
    void *data;
    enum stream_state state;
    struct error reason; /* why it ends */
    uv_tcp_t tcp;
    SSL *ssl;
    char address[TLS_ADDRESS_BYTES];

    struct buffer *input; /* cipher text that OpenSSL has not taken; NULL when there is none */
    size_t input_at;
    bool paused;
    bool reading; /* inside stream_read() */
    bool input_ended;

    struct list writes;     /* struct tls_write, in order */
    size_t plain_bytes;     /* of them, not encrypted */
    struct buffer *output;  /* cipher text being gathered; NULL when there is none */
    struct buffer *flying;  /* being written by libuv; NULL when nothing is */
    uv_write_t write_request;
    bool flushing;
    bool shut;
    uv_shutdown_t shutdown_request;
    struct timer linger;

    struct task turn; /* goes on reading and writing, outside the owner's calls */
    bool turn_posted;

    /* connecting */
    uv_getaddrinfo_t lookup;
    uv_connect_t connect_request;
    bool looking_up; /* the stream is not freed before the lookup has called back */
    bool tcp_closed;
};

struct tls_stream *stream_create(struct loop *loop, struct tls_context *context, bool server);
/* TCP is there: options, address, handshake. */
void stream_connected(struct tls_stream *self);
/* Ends the stream; the first reason counts. */
void stream_fail(struct tls_stream *self, enum errc code, int uv_code, const char *what);
/* Frees the stream when its socket, lookup and turn are done with. */
void stream_release(struct tls_stream *self);

#endif
