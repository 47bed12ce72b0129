/*
 * http_request - what a handler sees of one HTTP/1.1 request, and how it answers.
 *
 * Life: on_request hands the request over; the handler reads the body piece by piece (or not),
 * responds, ends the body, and calls http_request_release() exactly once. In between it may wait for
 * other executors as long as it likes. Callbacks never run inside the function that asked for them.
 *
 *   on_request -> [http_body_read -> on_piece]* -> http_respond -> [http_body_write -> on_written]*
 *              -> http_body_end -> http_request_release        (http_abort: at any point instead)
 *
 * When the client vanishes, on_closed runs once: every later call on the request is harmless and does
 * nothing, pending callbacks are called with ERRC_CANCELED, and the memory stays until release.
 * A response whose body is not finished is never ended cleanly: the connection is cut.
 *
 * Thread: everything on the connection's loop thread (`executor`), callbacks too. Work that finished
 * elsewhere posts a task to `executor` first.
 * Memory: the request with its arena lives until it is released and its response has been sent.
 */
#ifndef GATEWAY_HTTP_REQUEST_H
#define GATEWAY_HTTP_REQUEST_H

#include "common/base/arena.h"
#include "common/base/buffer.h"
#include "common/base/env.h"
#include "common/base/error.h"
#include "common/base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_HEAD_BYTES_MAX (16u * 1024)       /* request line and headers */
#define HTTP_HEADERS_MAX 100
#define HTTP_REQUEST_ARENA_BYTES (256u * 1024) /* limit of request.arena */
#define HTTP_PIECE_BYTES_MAX (256u * 1024)     /* of one view given to on_piece */
#define HTTP_WRITE_PARTS_MAX 64                /* parts of one http_body_write */
#define HTTP_PEER_TEXT_BYTES 64

struct http_header {
    struct slice name;  /* as received; compare without letter case */
    struct slice value; /* without white space around it */
};

struct http_request {
    struct slice method;
    struct slice target; /* as received */
    const struct http_header *headers;
    size_t header_count;
    int64_t content_length;  /* bytes of the body; 0 without a body; -1 while unknown (chunked) */
    unsigned minor_version;  /* HTTP/1.minor: 0 or 1 */
    unsigned loop_index;     /* which of the front's loops: for state that is kept by loop */
    bool is_tls;
    bool is_head;
    bool expects_continue;   /* 100 is sent by the first http_body_read */
    uint64_t started_ns;     /* env_now_ns when the head was complete */
    const char *peer;        /* "192.0.2.1:4711" or "[2001:db8::1]:4711" */
    struct executor *executor;
    struct arena arena;      /* the handler's too */

    /* The handler's, NULL at first. on_closed: the client is gone; not called after release. */
    void *user;
    void (*on_closed)(struct http_request *req);
};

/* The entry point of requests. Both functions run on the loop's thread. */
struct http_bad_reply {
    unsigned status; /* preset */
    const struct http_header *headers;
    size_t header_count;
    struct slice body;
};
enum http_bad_kind {
    HTTP_BAD_SYNTAX,        /* preset 400: malformed or ambiguous framing */
    HTTP_BAD_HEAD_TOO_LARGE,/* preset 400: above HTTP_HEAD_BYTES_MAX or HTTP_HEADERS_MAX */
    HTTP_BAD_VERSION,       /* preset 505 */
    HTTP_BAD_HEAD_TIMEOUT,  /* preset 408: a head that began did not end in time */
    HTTP_BAD_OVERLOADED,    /* preset 503: too many connections */
};
struct http_handler {
    void (*on_request)(void *data, struct http_request *req);
    /* A head that is no request: fill the reply (memory from the arena or static). The connection is
     * closed after it. May be NULL: an empty body is sent. */
    void (*on_bad_request)(void *data, enum http_bad_kind kind, const char *peer, struct arena *arena,
                           struct http_bad_reply *reply);
    void *data;
};

/* ---- reading ---- */

/* Value of the first header of that name (lower case given), or an empty slice with data NULL. */
struct slice http_header_find(const struct http_request *req, const char *lower_name);
/* Number of headers of that name. */
size_t http_header_count(const struct http_request *req, const char *lower_name);

struct http_piece {
    enum errc code;    /* OK; INVALID malformed chunks; TIMEOUT no progress; CANCELED the client left or
                        * the body was cut short. After anything but OK: no more pieces. */
    bool is_end;       /* the body is complete; data may be empty */
    struct slice data; /* borrowed until the next http_body_read or release; never more than HTTP_PIECE_BYTES_MAX */
};
typedef void http_on_piece(void *data, struct http_request *req, const struct http_piece *piece);

/* Asks for the next piece; one at a time. While nobody asks, the socket is not read beyond one bounded
 * buffer. After is_end every further call gives an empty end. */
void http_body_read(struct http_request *req, http_on_piece *on_piece, void *data);

/* ---- writing ---- */

#define HTTP_LENGTH_UNKNOWN (-1) /* chunked for HTTP/1.1, until close for 1.0 */

struct http_response {
    unsigned status;
    const struct http_header *headers; /* copied; Content-Length, Transfer-Encoding, Connection, Date and
                                        * Server are ours and must not be in it */
    size_t header_count;
    int64_t content_length;            /* of the body; for HEAD that of the GET, though none is sent */
    bool close;                        /* end the connection after it */
};

/* Sets the head; it travels with the first http_body_write or with http_body_end. Headers whose
 * bytes would break the framing (CR, LF, NUL) are an assertion: the caller checks what it echoes. If the
 * request's body has not been read to its end by now, the connection is closed after the response. */
void http_respond(struct http_request *req, const struct http_response *response);

struct http_part {
    struct slice bytes;
    struct buffer *buffer; /* referenced until written; NULL: `bytes` stays valid until on_written */
};
typedef void http_on_written(void *data, struct http_request *req, enum errc code);

/* Sends body bytes; one call at a time: the next after on_written (which may be NULL only if the next
 * call is http_body_end). For HEAD the bytes are dropped. Never more than was announced. */
void http_body_write(struct http_request *req, const struct http_part *parts, size_t count,
                     http_on_written *on_written, void *data);
/* The body is complete; may be called while the last write is under way. Fewer bytes than announced
 * (except for HEAD): the connection is cut. */
void http_body_end(struct http_request *req);
/* Head and body in one write, then release: the whole answer. `body` must be static, or in the request's
 * arena, or (with buffer) a part of a buffer. content_length of the response is set from it, except for
 * HEAD with a length above 0 given. */
void http_respond_whole(struct http_request *req, const struct http_response *response, struct http_part body);
/* Bytes of body handed to the client so far (for the access log). */
uint64_t http_sent_bytes(const struct http_request *req);
/* Bytes that the client's side has confirmed since the connection began, heads and TLS included: compared with an
 * earlier answer it tells whether the client takes anything. 0 once the connection is gone. */
uint64_t http_acked_bytes(const struct http_request *req);

/* Cuts the connection at once (RST where it matters): the client can't take it for a whole response.
 * on_closed is not called for it. */
void http_abort(struct http_request *req);
/* The handler is through with it; no callback runs after this. An unfinished response is cut. */
void http_request_release(struct http_request *req);

#endif
