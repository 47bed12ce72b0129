#include "gateway/http/http_conn.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/http/http_tls.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdio.h>

static void on_input(h2o_socket_t *sock, const char *err);
static void conn_try_head(struct http_conn *conn);

void conn_set_deadline(struct http_conn *conn, uint32_t delay_ms)
{
    conn->deadline_ns = delay_ms == 0 ? 0 : env_now_ns(conn->owner->env) + (uint64_t)delay_ms * 1000000u;
}

void conn_read_start(struct http_conn *conn)
{
    if (!conn->is_reading && !conn->is_eof) {
        conn->is_reading = true;
        h2o_socket_read_start(conn->sock, on_input);
    }
}

void conn_read_stop(struct http_conn *conn)
{
    if (conn->is_reading) {
        conn->is_reading = false;
        h2o_socket_read_stop(conn->sock);
    }
}

bool conn_is_idle(const struct http_conn *conn)
{
    return conn->state == CONN_HANDSHAKE || (conn->state == CONN_HEAD && conn->sock->input->size == 0);
}

bool conn_is_broken(const struct http_conn *conn)
{
    return !uv_is_writable((const uv_stream_t *)conn->tcp);
}

static void conn_free(struct http_conn *conn)
{
    if (conn->advance_posted || conn->sock != NULL) {
        return; /* the task frees it, or the socket's end */
    }
    mem_free(conn->bad_reply);
    mem_free(conn);
}

/* The socket is gone: at once without TLS, maybe later with it. */
static void on_sock_closed(void *data)
{
    struct http_conn *conn = data;
    conn->sock = NULL;
    if (conn->state == CONN_CLOSED && !list_empty(&conn->node)) { /* it was waited for */
        list_remove(&conn->node);
        conn_free(conn);
    }
}

/* What the end of one connection leaves in the thread's queue of errors would be taken for another's:
 * http_tls_read_was_empty() looks there. */
static void sock_close(h2o_socket_t *sock)
{
    h2o_socket_close(sock);
    http_tls_forget_errors();
}

void conn_check_closing(struct http_conn *conn, uint64_t now_ns, bool at_once)
{
    if (at_once || now_ns >= conn->deadline_ns) {
        sock_close(conn->sock); /* a second time: without waiting for the client */
    }
}

void conn_close(struct http_conn *conn, bool reset)
{
    struct http_exchange *exchange = conn->exchange;
    conn->state = CONN_CLOSED;
    conn->exchange = NULL;
    list_remove(&conn->node);
    (void)atomic_fetch_sub(&conn->owner->open, 1);
    if (exchange != NULL) {
        (void)atomic_fetch_sub(&conn->owner->active, 1);
    }
    if (reset) {
        struct linger at_once = { .l_onoff = 1, .l_linger = 0 };
        (void)setsockopt(h2o_socket_get_fd(conn->sock), SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    }
    conn_read_stop(conn);
    sock_close(conn->sock); /* from here on the kernel takes nothing more of what is being written */
    if (conn->sock != NULL) {
        conn_set_deadline(conn, conn_options(conn)->drain_deadline_ms);
        list_append(&conn->owner->closing, &conn->node);
    }
    if (exchange != NULL) {
        exchange_lost(exchange, true);
    }
    conn_free(conn);
}

/* ---- the end: half-close, drop what the client still sends, close ---- */

static void conn_linger_begin(struct http_conn *conn)
{
    conn->state = CONN_LINGER;
    if (conn->is_eof) {
        conn_close(conn, false);
        return;
    }
    conn->is_shut = true;
    (void)shutdown(h2o_socket_get_fd(conn->sock), SHUT_WR);
    h2o_buffer_consume(&conn->sock->input, conn->sock->input->size);
    conn_set_deadline(conn, conn_options(conn)->drain_deadline_ms);
    conn_read_start(conn);
}

static void conn_linger_input(struct http_conn *conn)
{
    conn->lingered_bytes += (uint32_t)conn->sock->input->size;
    h2o_buffer_consume(&conn->sock->input, conn->sock->input->size);
    if (conn->lingered_bytes > conn_options(conn)->drain_bytes_max) {
        conn_close(conn, false);
    }
}

static void on_bad_sent(h2o_socket_t *sock, const char *err)
{
    struct http_conn *conn = sock->data;
    if (err != NULL) {
        conn_close(conn, false);
    } else {
        conn_linger_begin(conn);
    }
}

/* Answers what is no request; nothing after it is looked at. */
static void conn_bad(struct http_conn *conn, enum http_bad_kind kind)
{
    static const unsigned statuses[] = { 400, 400, 505, 408, 503 };
    const struct http_handler *handler = &conn_options(conn)->handler;
    struct http_bad_reply reply = { .status = statuses[kind] };
    struct arena arena;
    (void)atomic_fetch_add(&conn->owner->bad, 1);
    arena_init(&arena, HTTP_REQUEST_ARENA_BYTES);
    if (handler->on_bad_request != NULL) {
        handler->on_bad_request(handler->data, kind, conn->peer, &arena, &reply);
    }
    struct http_response response = { .status = reply.status,
                                      .headers = reply.headers,
                                      .header_count = reply.header_count,
                                      .content_length = (int64_t)reply.body.len };
    size_t head_len = response_format(conn->owner, &response, false, false, 1, &conn->bad_reply);
    conn->bad_reply = mem_realloc(conn->bad_reply, head_len + reply.body.len);
    if (reply.body.len > 0) {
        memcpy(conn->bad_reply + head_len, reply.body.data, reply.body.len);
    }
    h2o_iovec_t bytes = h2o_iovec_init(conn->bad_reply, head_len + reply.body.len);
    arena_done(&arena);
    conn->state = CONN_LINGER;
    conn_read_stop(conn);
    conn_set_deadline(conn, conn_options(conn)->body_deadline_ms);
    h2o_socket_write(conn->sock, &bytes, 1, on_bad_sent);
}

/* ---- requests ---- */

static void on_advance(struct task *task)
{
    struct http_conn *conn = container_of(task, struct http_conn, advance);
    conn->advance_posted = false;
    if (conn->state == CONN_CLOSED) {
        conn_free(conn);
    } else if (conn->state == CONN_HEAD) {
        conn_try_head(conn);
    }
}

static void conn_expect_head(struct http_conn *conn)
{
    conn->state = CONN_HEAD;
    conn->scanned = 0;
    conn->skipped_line = conn->head_begun = false;
    conn_set_deadline(conn, conn_options(conn)->idle_deadline_ms);
    conn_read_start(conn);
    if ((conn->sock->input->size > 0 || conn->is_eof) && !conn->advance_posted) {
        conn->advance_posted = true;
        conn->advance.run = on_advance;
        executor_post(loop_executor(conn->owner->loop), &conn->advance);
    }
}

void conn_exchange_done(struct http_conn *conn)
{
    struct http_exchange *exchange = conn->exchange;
    bool close = exchange->close_after || conn->owner->draining;
    if (!exchange->body_end) {
        body_fail(exchange, ERRC_CANCELED); /* the answer is out: nobody may read on */
    } else if (!close) {
        body_give_back(exchange);
    }
    conn->exchange = NULL;
    exchange->conn = NULL;
    (void)atomic_fetch_sub(&conn->owner->active, 1);
    exchange_free_if_done(exchange);
    if (close) {
        conn_linger_begin(conn);
    } else {
        conn_expect_head(conn);
    }
}

static void conn_begin_request(struct http_conn *conn, const struct http_head *head, size_t head_len)
{
    const struct http_handler *handler = &conn_options(conn)->handler;
    struct http_exchange *exchange = exchange_create(conn, head);
    h2o_buffer_consume(&conn->sock->input, head_len);
    conn->exchange = exchange;
    conn->state = CONN_REQUEST;
    conn->scanned = 0;
    conn_set_deadline(conn, 0);
    (void)atomic_fetch_add(&conn->owner->started, 1);
    (void)atomic_fetch_add(&conn->owner->active, 1);
    exchange->hold++;
    handler->on_request(handler->data, &exchange->req);
    exchange->hold--;
    exchange_free_if_done(exchange);
}

static void conn_head_incomplete(struct http_conn *conn)
{
    if (conn->sock->input->size >= HTTP_HEAD_BYTES_MAX) {
        conn_bad(conn, HTTP_BAD_HEAD_TOO_LARGE);
    } else if (conn->is_eof) {
        conn_close(conn, false);
    } else if (!conn->head_begun && conn->sock->input->size > 0) {
        conn->head_begun = true;
        conn_set_deadline(conn, conn_options(conn)->head_deadline_ms);
    }
}

static void conn_try_head(struct http_conn *conn)
{
    h2o_buffer_t *input = conn->sock->input;
    if (!conn->skipped_line && input->size >= 2 && memcmp(input->bytes, "\r\n", 2) == 0) {
        conn->skipped_line = true; /* some clients send one behind a body */
        conn->scanned = 0;
        h2o_buffer_consume(&conn->sock->input, 2);
        input = conn->sock->input;
    }
    struct http_head head;
    size_t head_len = 0;
    enum head_result result = http_head_find(slice_of(input->bytes, input->size), &conn->scanned, &head_len);
    if (result == HEAD_INCOMPLETE) {
        conn_head_incomplete(conn);
        return;
    }
    if (result == HEAD_OK && head_len > HTTP_HEAD_BYTES_MAX) {
        conn_bad(conn, HTTP_BAD_HEAD_TOO_LARGE);
        return;
    }
    if (result == HEAD_OK) {
        result = http_head_parse(slice_of(input->bytes, head_len), &head);
    }
    if (result == HEAD_OK) {
        conn_begin_request(conn, &head, head_len);
    } else {
        conn_bad(conn, result == HEAD_BAD_VERSION       ? HTTP_BAD_VERSION
                       : result == HEAD_TOO_MANY_FIELDS ? HTTP_BAD_HEAD_TOO_LARGE
                                                        : HTTP_BAD_SYNTAX);
    }
}

static void on_input(h2o_socket_t *sock, const char *err)
{
    struct http_conn *conn = sock->data;
    if (err != NULL && sock->ssl != NULL && http_tls_read_was_empty(h2o_socket_get_fd(sock))) {
        return;
    }
    if (err != NULL) {
        conn->is_eof = true;
        conn_read_stop(conn);
        if (conn->state != CONN_REQUEST) {
            conn_close(conn, false);
        } else {
            body_on_input(conn->exchange); /* the answer goes on: a client may end its side early */
        }
        return;
    }
    switch (conn->state) {
    case CONN_HEAD:
        conn_try_head(conn);
        break;
    case CONN_REQUEST:
        body_on_input(conn->exchange);
        break;
    case CONN_LINGER:
        conn_linger_input(conn);
        break;
    case CONN_HANDSHAKE:
    case CONN_CLOSED:
        UNREACHABLE();
    }
}

/* ---- deadlines ---- */

static void conn_request_overdue(struct http_conn *conn)
{
    struct http_exchange *exchange = conn->exchange;
    if (!exchange->is_writing) { /* waits for body bytes */
        conn->deadline_ns = 0;
        (void)atomic_fetch_add(&conn->owner->timeouts, 1);
        body_fail(exchange, ERRC_TIMEOUT);
        return;
    }
    size_t unsent = uv_stream_get_write_queue_size((uv_stream_t *)conn->tcp);
    if (unsent < conn->unsent_bytes) {
        conn->unsent_bytes = unsent;
        conn_set_deadline(conn, conn_options(conn)->body_deadline_ms);
        return;
    }
    (void)atomic_fetch_add(&conn->owner->timeouts, 1);
    conn_close(conn, true);
}

void conn_check_deadline(struct http_conn *conn, uint64_t now_ns)
{
    if (conn->deadline_ns == 0 || now_ns < conn->deadline_ns) {
        return;
    }
    if (conn->state == CONN_REQUEST) {
        conn_request_overdue(conn);
    } else if (conn->state == CONN_HEAD && conn->head_begun) {
        (void)atomic_fetch_add(&conn->owner->timeouts, 1);
        conn_bad(conn, HTTP_BAD_HEAD_TIMEOUT);
    } else {
        conn_close(conn, false);
    }
}

/* ---- birth ---- */

static void conn_name_peer(struct http_conn *conn)
{
    struct sockaddr_storage address;
    memset(&address, 0, sizeof(address));
    char host[INET6_ADDRSTRLEN] = "";
    (void)h2o_socket_getpeername(conn->sock, (struct sockaddr *)&address);
    if (address.ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)&address;
        (void)inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
        (void)snprintf(conn->peer, sizeof(conn->peer), "%s:%u", host, ntohs(in->sin_port));
    } else if (address.ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&address;
        (void)inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
        (void)snprintf(conn->peer, sizeof(conn->peer), "[%s]:%u", host, ntohs(in6->sin6_port));
    }
}

static void on_handshake(h2o_socket_t *sock, const char *err)
{
    struct http_conn *conn = sock->data;
    if (err != NULL) {
        conn_close(conn, false);
    } else {
        conn_expect_head(conn);
    }
}

static void on_tcp_closed(uv_handle_t *handle)
{
    mem_free(handle);
}

static void conn_begin(struct http_conn *conn, uint64_t open)
{
    struct http_tls *tls = conn_options(conn)->tls;
    if (tls != NULL) {
        SSL_CTX *ctx = http_tls_get(tls);
        conn->state = CONN_HANDSHAKE;
        conn_set_deadline(conn, conn_options(conn)->head_deadline_ms);
        h2o_socket_ssl_handshake(conn->sock, ctx, NULL, on_handshake);
        SSL_CTX_free(ctx); /* the connection has its own reference */
    } else if (open > conn_options(conn)->connections_max) {
        conn_bad(conn, HTTP_BAD_OVERLOADED);
    } else {
        conn_expect_head(conn);
    }
}

void conn_accept(struct front_loop *owner, uv_stream_t *listener)
{
    uv_tcp_t *tcp = mem_alloc(sizeof(*tcp));
    (void)uv_tcp_init(loop_uv(owner->loop), tcp);
    uint64_t open = atomic_load(&owner->open) + 1;
    uint64_t max = owner->front->options.connections_max;
    bool refuse = open > max + CONN_OVER_LIMIT_MAX || (open > max && owner->front->options.tls != NULL);
    if (open > max) {
        (void)atomic_fetch_add(&owner->refused, 1);
    }
    if (uv_accept(listener, (uv_stream_t *)tcp) != 0 || refuse) {
        uv_close((uv_handle_t *)tcp, on_tcp_closed);
        return;
    }
    (void)atomic_fetch_add(&owner->accepted, 1);
    (void)atomic_fetch_add(&owner->open, 1);
    struct http_conn *conn = mem_zalloc(sizeof(*conn));
    conn->owner = owner;
    conn->tcp = tcp;
    conn->sock = h2o_uv_socket_create((uv_stream_t *)tcp, on_tcp_closed);
    conn->sock->data = conn;
    conn->sock->on_close.cb = on_sock_closed;
    conn->sock->on_close.data = conn;
    list_append(&owner->conns, &conn->node);
    conn_name_peer(conn);
    conn_begin(conn, open);
}
