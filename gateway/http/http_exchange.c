#include "common/base/assert.h"
#include "common/base/mem.h"
#include "gateway/http/http_conn.h"

struct slice http_header_find(const struct http_request *req, const char *lower_name)
{
    for (size_t i = 0; i < req->header_count; i++) {
        if (http_name_equal(req->headers[i].name, lower_name)) {
            return req->headers[i].value;
        }
    }
    return SLICE_EMPTY;
}

size_t http_header_count(const struct http_request *req, const char *lower_name)
{
    size_t count = 0;
    for (size_t i = 0; i < req->header_count; i++) {
        count += http_name_equal(req->headers[i].name, lower_name);
    }
    return count;
}

/* A view of the head, moved to its copy. */
static struct slice moved(struct slice view, const uint8_t *source, const uint8_t *copy)
{
    return slice_of(copy + (view.data - source), view.len);
}

/* The head leaves the socket's buffer: that one is given back while a request runs. */
static void exchange_copy_head(struct http_exchange *self, const struct http_head *head)
{
    struct http_request *req = &self->req;
    const struct head_field *last = head->field_count > 0 ? &head->fields[head->field_count - 1] : NULL;
    const uint8_t *source = head->method.data;
    const uint8_t *end = last != NULL ? last->value.data + last->value.len : head->target.data + head->target.len;
    uint8_t *copy = arena_alloc(&req->arena, (size_t)(end - source));
    struct http_header *headers = arena_alloc(&req->arena, (head->field_count + 1) * sizeof(*headers));
    ASSERT(copy != NULL && headers != NULL); /* the arena's limit is far above that of a head */
    memcpy(copy, source, (size_t)(end - source));
    req->method = moved(head->method, source, copy);
    req->target = moved(head->target, source, copy);
    for (size_t i = 0; i < head->field_count; i++) {
        headers[i].name = moved(head->fields[i].name, source, copy);
        headers[i].value = moved(head->fields[i].value, source, copy);
    }
    req->headers = headers;
    req->header_count = head->field_count;
}

struct http_exchange *exchange_create(struct http_conn *conn, const struct http_head *head)
{
    struct http_exchange *self = mem_zalloc(sizeof(*self));
    struct http_request *req = &self->req;
    self->conn = conn;
    arena_init(&req->arena, HTTP_REQUEST_ARENA_BYTES);
    exchange_copy_head(self, head);
    req->content_length = head->is_chunked ? -1 : (int64_t)head->content_length;
    req->minor_version = head->minor_version;
    req->loop_index = conn->owner->index;
    req->is_tls = conn_options(conn)->tls != NULL;
    req->is_head = slice_equal_str(req->method, "HEAD");
    req->expects_continue = head->expects_continue;
    req->started_ns = env_now_ns(conn->owner->env);
    req->peer = arena_strndup(&req->arena, conn->peer, strlen(conn->peer));
    req->executor = loop_executor(conn->owner->loop);
    self->is_chunked = head->is_chunked;
    self->body_left = head->content_length;
    self->body_end = !head->is_chunked && head->content_length == 0;
    self->close_after = !head->keeps_alive;
    h2o_buffer_init(&self->piece, &h2o_socket_buffer_prototype);
    return self;
}

void exchange_free_if_done(struct http_exchange *self)
{
    bool is_posted = self->deliver_posted || self->written_posted || self->sent_posted;
    if (!self->is_released || self->conn != NULL || self->hold > 0 || is_posted) {
        return;
    }
    h2o_buffer_dispose(&self->piece);
    mem_free(self->head);
    mem_free(self->head_sent);
    arena_done(&self->req.arena);
    mem_free(self);
}

void exchange_lost(struct http_exchange *self, bool tell)
{
    self->conn = NULL;
    self->is_closed = true;
    response_cancel(self);
    body_fail(self, ERRC_CANCELED);
    if (tell && !self->is_released && self->req.on_closed != NULL) {
        self->hold++;
        self->req.on_closed(&self->req);
        self->hold--;
    }
    exchange_free_if_done(self);
}

void http_abort(struct http_request *req)
{
    struct http_exchange *self = exchange_of(req);
    struct http_conn *conn = self->conn;
    if (conn == NULL) {
        return;
    }
    conn->exchange = NULL; /* conn_close would tell the handler what it knows */
    (void)atomic_fetch_sub(&conn->owner->active, 1);
    self->hold++;
    exchange_lost(self, false);
    self->hold--;
    conn_close(conn, true);
    exchange_free_if_done(self);
}

void http_request_release(struct http_request *req)
{
    struct http_exchange *self = exchange_of(req);
    ASSERT(!self->is_released);
    self->is_released = true;
    self->on_piece = NULL;
    if (!self->is_ended && self->conn != NULL) {
        http_abort(req);
        return;
    }
    exchange_free_if_done(self);
}
