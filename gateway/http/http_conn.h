/*
 * http_conn - connections and exchanges behind http_request.h; private to gateway/http.
 *
 * A connection lives on one loop. It is in one state:
 *
 *   HANDSHAKE -> HEAD <-> REQUEST -> LINGER -> closed        (any state -> closed)
 *
 *   HEAD     waits for a request or is in the middle of its head; holds no request memory
 *   REQUEST  conn->exchange is answered; further requests wait in the bounded input buffer
 *   LINGER   the last response is out and our side is shut; what the client still sends is dropped
 *
 * An exchange is one request with its answer. It belongs to the handler and to the connection: it is
 * freed when it has been released and its response is out (or the connection gone).
 * Thread: the loop's.
 */
#ifndef GATEWAY_HTTP_CONN_H
#define GATEWAY_HTTP_CONN_H

#include "common/base/env.h"
#include "common/base/list.h"
#include "common/http/http_chunk.h"
#include "common/http/http_head.h"
#include "gateway/http/http_front.h"
#include "gateway/http/http_request.h"

#include <h2o.h>
#include <stdatomic.h>

#define CONN_INPUT_BYTES_MAX (256u * 1024)   /* of a body that nobody has asked for yet */
#define CONN_PIPELINE_BYTES_MAX (16u * 1024) /* of requests behind the one being answered */
#define CONN_OVER_LIMIT_MAX 1000             /* connections that get a 503 instead of a plain close */
#define HTTP_DATE_BYTES 32

struct front_loop {
    struct http_front *front;
    unsigned index;
    struct loop *loop;
    struct env *env;
    uv_tcp_t listener;
    int listener_fd;            /* until the loop has taken it over */
    bool listening;
    bool draining;
    struct list conns;
    struct list closing;        /* connections whose TLS end is still being said */
    struct timer tick;          /* deadlines of all connections */
    uint32_t tick_ms;
    struct task start;
    struct task drain;
    uint64_t drain_deadline_ns;
    char date[HTTP_DATE_BYTES]; /* of date_s */
    uint64_t date_s;
    /* read by http_front_stats from other threads */
    atomic_uint_fast64_t open;
    atomic_uint_fast64_t accepted;
    atomic_uint_fast64_t refused;
    atomic_uint_fast64_t started;
    atomic_uint_fast64_t active;
    atomic_uint_fast64_t bad;
    atomic_uint_fast64_t timeouts;
};

struct http_front {
    struct http_front_options options; /* with the defaults filled in */
    uint16_t port;
    size_t loop_count;
    struct front_loop *loops;
    atomic_size_t loops_draining;
    void (*on_drained)(void *data);
    void *on_drained_data;
};

enum conn_state { CONN_HANDSHAKE, CONN_HEAD, CONN_REQUEST, CONN_LINGER, CONN_CLOSED };

struct http_conn {
    struct list node;
    struct front_loop *owner;
    h2o_socket_t *sock;         /* CLOSED: NULL, or at its TLS end */
    uv_tcp_t *tcp;              /* owned by sock */
    struct http_exchange *exchange;
    enum conn_state state;
    bool is_reading;
    bool is_eof;                /* the client has ended its side */
    bool is_shut;               /* LINGER: our side has ended */
    bool advance_posted;
    bool skipped_line;          /* the empty line that may stand before a head */
    bool head_begun;            /* its first byte is here: the head deadline runs */
    uint32_t lingered_bytes;
    size_t scanned;             /* of the head in sock->input */
    size_t unsent_bytes;        /* at the last look, to see progress */
    uint64_t deadline_ns;       /* 0: none */
    struct task advance;        /* looks for the next request */
    char *bad_reply;            /* sent to what is no request; freed with the connection */
    char peer[HTTP_PEER_TEXT_BYTES];
};

struct http_exchange {
    struct http_request req; /* first: the handler's view */
    struct http_conn *conn;  /* NULL: the response is out, or the connection gone */
    unsigned hold;           /* a callback is on the stack: not freed */
    bool is_closed;          /* the connection went before the response was out */
    bool is_released;

    /* request body */
    bool is_chunked;
    bool body_end;
    bool body_begun;         /* asked for at least once */
    enum errc body_code;     /* not OK: no more pieces */
    uint64_t body_left;      /* not chunked: bytes not yet given */
    struct http_chunk chunk;
    h2o_buffer_t *piece;     /* taken from the socket; holds the view that the handler borrows */
    size_t piece_used;       /* its first bytes are done with at the next pull */
    size_t skip_bytes;       /* of the body, in the buffers, nobody wants them */
    http_on_piece *on_piece;
    void *on_piece_data;
    struct task deliver;
    bool deliver_posted;

    /* response */
    bool is_responded;
    bool is_ended;
    bool is_writing;
    bool interim_writing;    /* 100 Continue is on its way */
    bool flush_waiting;      /* ... and iov behind it */
    bool out_chunked;
    bool out_terminated;
    bool out_dropped;        /* HEAD: no body bytes */
    bool close_after;
    int64_t out_left;        /* bytes announced and not yet written; -1 unknown */
    uint64_t sent_bytes;
    char *head;              /* not yet sent */
    size_t head_len;
    char *head_sent;         /* under way */
    char chunk_line[24];
    h2o_iovec_t iov[HTTP_WRITE_PARTS_MAX + 4];
    size_t iov_count;
    struct buffer *refs[HTTP_WRITE_PARTS_MAX];
    size_t ref_count;
    http_on_written *on_written;
    void *on_written_data;
    enum errc written_code;
    struct task written;     /* on_written without a write */
    bool written_posted;
    struct task sent;        /* a write that the kernel took at once */
    bool sent_posted;
    bool sent_lost;          /* ... with nobody to send to any more */
};

static inline struct http_exchange *exchange_of(struct http_request *req)
{
    return container_of(req, struct http_exchange, req);
}
static inline const struct http_front_options *conn_options(const struct http_conn *conn)
{
    return &conn->owner->front->options;
}

/* http_conn.c */
void conn_accept(struct front_loop *owner, uv_stream_t *listener);
void conn_read_start(struct http_conn *conn);
void conn_read_stop(struct http_conn *conn);
void conn_set_deadline(struct http_conn *conn, uint32_t delay_ms); /* 0: none */
void conn_check_deadline(struct http_conn *conn, uint64_t now_ns);
/* The exchange's response is out: on to the next request, or the end. */
void conn_exchange_done(struct http_conn *conn);
/* Closes the socket; a running exchange is told so. `reset`: with RST. */
void conn_close(struct http_conn *conn, bool reset);
/* A closed connection of owner->closing: ends it for good once its time is over, or now. */
void conn_check_closing(struct http_conn *conn, uint64_t now_ns, bool at_once);
bool conn_is_idle(const struct http_conn *conn);
/* Reading met an error, and not just the end of the client's side: libuv then refuses writes, which h2o does not tell. */
bool conn_is_broken(const struct http_conn *conn);

/* http_exchange.c */
struct http_exchange *exchange_create(struct http_conn *conn, const struct http_head *head);
void exchange_lost(struct http_exchange *exchange, bool tell); /* the connection is gone */
void exchange_free_if_done(struct http_exchange *exchange);

/* http_body.c */
void body_on_input(struct http_exchange *exchange); /* more bytes, or the end of them */
void body_fail(struct http_exchange *exchange, enum errc code);
void body_post(struct http_exchange *exchange);
bool body_skip_rest(struct http_exchange *exchange); /* true: the rest is here already */
void body_give_back(struct http_exchange *exchange); /* bytes of the next request return to the socket */

/* http_response.c */
const char *response_reason(unsigned status);
const char *response_date(struct front_loop *owner);
void response_interim(struct http_exchange *exchange);
void response_cancel(struct http_exchange *exchange);
size_t response_format(struct front_loop *owner, const struct http_response *response, bool chunked, bool keep,
                       unsigned minor_version, char **ret_head);

#endif
