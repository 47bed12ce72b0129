#include "common/base/assert.h"
#include "common/base/mem.h"
#include "gateway/http/http_conn.h"
#include "gateway/http/tcp_progress.h"

#include <stdio.h>

#define CONTINUE_TEXT "HTTP/1.1 100 Continue\r\n\r\n"

static void on_write_done(h2o_socket_t *sock, const char *err);
static void on_sent(struct task *task);
static void out_finish(struct http_exchange *self);

/* ---- the head ---- */

const char *response_reason(unsigned status)
{
    static const struct {
        unsigned status;
        const char *text;
    } reasons[] = {
        { 200, "OK" }, { 201, "Created" }, { 202, "Accepted" }, { 204, "No Content" },
        { 206, "Partial Content" }, { 301, "Moved Permanently" }, { 303, "See Other" },
        { 304, "Not Modified" }, { 307, "Temporary Redirect" }, { 400, "Bad Request" },
        { 401, "Unauthorized" }, { 403, "Forbidden" }, { 404, "Not Found" }, { 405, "Method Not Allowed" },
        { 408, "Request Timeout" }, { 409, "Conflict" }, { 411, "Length Required" },
        { 412, "Precondition Failed" }, { 413, "Content Too Large" }, { 416, "Range Not Satisfiable" },
        { 417, "Expectation Failed" }, { 500, "Internal Server Error" }, { 501, "Not Implemented" },
        { 503, "Service Unavailable" }, { 505, "HTTP Version Not Supported" }, { 507, "Insufficient Storage" },
    };
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
        if (reasons[i].status == status) {
            return reasons[i].text;
        }
    }
    return "Status";
}

const char *response_date(struct front_loop *owner)
{
    static const char days[7][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
    static const char months[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
    uint64_t second = env_wall_ms(owner->env) / 1000u;
    if (second != owner->date_s) {
        time_t at = (time_t)second;
        struct tm utc;
        (void)gmtime_r(&at, &utc);
        (void)snprintf(owner->date, sizeof(owner->date), "%s, %02u %s %04u %02u:%02u:%02u GMT", days[utc.tm_wday],
                       (unsigned)utc.tm_mday % 100u, months[utc.tm_mon], (unsigned)(utc.tm_year + 1900) % 10000u,
                       (unsigned)utc.tm_hour % 100u, (unsigned)utc.tm_min % 100u, (unsigned)utc.tm_sec % 100u);
        owner->date_s = second;
    }
    return owner->date;
}

static char *put(char *at, const void *bytes, size_t len)
{
    if (len > 0) {
        memcpy(at, bytes, len);
    }
    return at + len;
}

static char *put_text(char *at, const char *text)
{
    return put(at, text, strlen(text));
}

static void check_field(const struct http_header *field)
{
    for (size_t i = 0; i < field->name.len; i++) {
        ASSERT(field->name.data[i] > ' ' && field->name.data[i] != ':');
    }
    for (size_t i = 0; i < field->value.len; i++) {
        uint8_t byte = field->value.data[i];
        ASSERT(byte != '\r' && byte != '\n' && byte != '\0');
    }
}

static bool status_has_length(unsigned status)
{
    return status >= 200 && status != 204 && status != 304;
}

size_t response_format(struct front_loop *owner, const struct http_response *response, bool chunked, bool keep,
                       unsigned minor_version, char **ret_head)
{
    size_t bytes = 256;
    for (size_t i = 0; i < response->header_count; i++) {
        check_field(&response->headers[i]);
        bytes += response->headers[i].name.len + response->headers[i].value.len + 4;
    }
    char *head = mem_alloc(bytes);
    char *at = head + snprintf(head, bytes, "HTTP/1.1 %u %s\r\nServer: Cairn\r\nDate: %s\r\n", response->status,
                               response_reason(response->status), response_date(owner));
    for (size_t i = 0; i < response->header_count; i++) {
        at = put(at, response->headers[i].name.data, response->headers[i].name.len);
        at = put_text(at, ": ");
        at = put(at, response->headers[i].value.data, response->headers[i].value.len);
        at = put_text(at, "\r\n");
    }
    if (chunked) {
        at = put_text(at, "Transfer-Encoding: chunked\r\n");
    } else if (response->content_length >= 0 && status_has_length(response->status)) {
        at += snprintf(at, 48, "Content-Length: %lld\r\n", (long long)response->content_length);
    }
    if (!keep) {
        at = put_text(at, "Connection: close\r\n");
    } else if (minor_version == 0) {
        at = put_text(at, "Connection: keep-alive\r\n");
    }
    at = put_text(at, "\r\n");
    ASSERT((size_t)(at - head) <= bytes);
    *ret_head = head;
    return (size_t)(at - head);
}

void http_respond(struct http_request *req, const struct http_response *response)
{
    struct http_exchange *self = exchange_of(req);
    ASSERT(!self->is_responded);
    ASSERT(!self->is_released);
    ASSERT(response->status >= 200 && response->status <= 599);
    ASSERT(IMPLIES(!status_has_length(response->status), response->content_length <= 0));
    self->is_responded = true;
    if (self->conn == NULL) {
        return;
    }
    bool unknown = response->content_length < 0 && status_has_length(response->status);
    self->out_chunked = unknown && req->minor_version == 1;
    self->out_dropped = req->is_head || !status_has_length(response->status);
    self->out_left = unknown ? -1 : response->content_length;
    bool continue_owed = req->expects_continue && !self->body_begun; /* see http_head.c: such a client is confused */
    if (!body_skip_rest(self) || response->close || (unknown && !self->out_chunked) || self->conn->owner->draining ||
        continue_owed) {
        self->close_after = true;
    }
    self->head_len = response_format(self->conn->owner, response, self->out_chunked, !self->close_after,
                                     req->minor_version, &self->head);
}

/* ---- writing ---- */

static void out_push(struct http_exchange *self, const void *bytes, size_t len)
{
    ASSERT(self->iov_count < sizeof(self->iov) / sizeof(self->iov[0]));
    self->iov[self->iov_count++] = h2o_iovec_init(bytes, len);
}

static void out_push_head(struct http_exchange *self)
{
    if (self->head != NULL) {
        out_push(self, self->head, self->head_len);
        self->head_sent = self->head;
        self->head = NULL;
    }
}

/* Straight to the kernel, which mostly takes all of it: libuv would change its watch of the socket for each
 * write. True: everything went. Otherwise the parts from *ret_first on are left to libuv, errors too. */
static bool out_send(struct http_exchange *self, size_t *ret_first)
{
    struct iovec parts[HTTP_WRITE_PARTS_MAX + 4];
    for (size_t i = 0; i < self->iov_count; i++) {
        parts[i] = (struct iovec){ self->iov[i].base, self->iov[i].len };
    }
    struct msghdr message = { .msg_iov = parts, .msg_iovlen = self->iov_count };
    ssize_t sent = sendmsg(h2o_socket_get_fd(self->conn->sock), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    size_t left = sent > 0 ? (size_t)sent : 0;
    size_t first = 0;
    while (first < self->iov_count && left >= self->iov[first].len) {
        left -= self->iov[first].len;
        first++;
    }
    if (first < self->iov_count) {
        self->iov[first].base += left;
        self->iov[first].len -= left;
    }
    *ret_first = first;
    return first == self->iov_count;
}

static void out_flush(struct http_exchange *self)
{
    struct http_conn *conn = self->conn;
    self->is_writing = true;
    if (self->interim_writing) {
        self->flush_waiting = true;
        return;
    }
    size_t first = 0;
    self->sent_lost = conn_is_broken(conn);
    if (self->sent_lost || (!self->req.is_tls && out_send(self, &first))) {
        self->sent_posted = true;
        self->sent.run = on_sent;
        executor_post(self->req.executor, &self->sent);
        return;
    }
    conn_set_deadline(conn, conn_options(conn)->body_deadline_ms);
    h2o_socket_write(conn->sock, self->iov + first, self->iov_count - first, on_write_done);
    conn->unsent_bytes = uv_stream_get_write_queue_size((uv_stream_t *)conn->tcp);
}

static void on_interim_done(h2o_socket_t *sock, const char *err)
{
    struct http_conn *conn = sock->data;
    struct http_exchange *self = conn->exchange;
    if (err != NULL) {
        conn_close(conn, false);
        return;
    }
    self->interim_writing = false;
    if (self->flush_waiting) {
        self->flush_waiting = false;
        out_flush(self);
    }
}

void response_interim(struct http_exchange *self)
{
    h2o_iovec_t text = h2o_iovec_init(H2O_STRLIT(CONTINUE_TEXT));
    if (conn_is_broken(self->conn)) {
        return; /* the end of the body says it */
    }
    self->interim_writing = true;
    h2o_socket_write(self->conn->sock, &text, 1, on_interim_done);
}

/* What the last write held is no longer needed. */
static void out_clear(struct http_exchange *self)
{
    self->iov_count = 0;
    for (size_t i = 0; i < self->ref_count; i++) {
        buffer_unref(self->refs[i]);
    }
    self->ref_count = 0;
    mem_free(self->head_sent);
    self->head_sent = NULL;
}

static void call_on_written(struct http_exchange *self, enum errc code)
{
    http_on_written *on_written = self->on_written;
    self->on_written = NULL;
    if (on_written != NULL && !self->is_released) {
        self->hold++;
        on_written(self->on_written_data, &self->req, code);
        self->hold--;
    }
}

static void on_written_task(struct task *task)
{
    struct http_exchange *self = container_of(task, struct http_exchange, written);
    self->written_posted = false;
    call_on_written(self, self->written_code);
    exchange_free_if_done(self);
}

static void written_post(struct http_exchange *self, enum errc code)
{
    self->written_code = code;
    if (self->on_written != NULL && !self->written_posted) {
        self->written_posted = true;
        self->written.run = on_written_task;
        executor_post(self->req.executor, &self->written);
    }
}

void response_cancel(struct http_exchange *self)
{
    out_clear(self);
    mem_free(self->head);
    self->head = NULL;
    self->is_writing = false;
    written_post(self, ERRC_CANCELED);
}

static void out_done(struct http_exchange *self)
{
    self->is_writing = false;
    out_clear(self);
    conn_set_deadline(self->conn, 0);
    bool was_ended = self->is_ended;
    self->hold++;
    call_on_written(self, ERRC_OK);
    if (was_ended && self->conn != NULL) { /* ended before this write was out */
        out_finish(self);
    }
    self->hold--;
    exchange_free_if_done(self);
}

static void on_write_done(h2o_socket_t *sock, const char *err)
{
    struct http_conn *conn = sock->data;
    if (err != NULL) {
        conn_close(conn, false);
    } else {
        out_done(conn->exchange);
    }
}

static void on_sent(struct task *task)
{
    struct http_exchange *self = container_of(task, struct http_exchange, sent);
    self->sent_posted = false;
    if (self->conn != NULL && self->sent_lost) {
        conn_close(self->conn, false); /* frees the exchange, if nobody else holds it */
    } else if (self->conn != NULL) {
        out_done(self);
    } else {
        exchange_free_if_done(self);
    }
}

static size_t parts_bytes(const struct http_part *parts, size_t count)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        bytes += parts[i].bytes.len;
    }
    return bytes;
}

static void out_push_parts(struct http_exchange *self, const struct http_part *parts, size_t count, size_t bytes)
{
    if (self->out_chunked) {
        int n = snprintf(self->chunk_line, sizeof(self->chunk_line), "%zx\r\n", bytes);
        out_push(self, self->chunk_line, (size_t)n);
    }
    for (size_t i = 0; i < count; i++) {
        if (parts[i].bytes.len > 0) {
            out_push(self, parts[i].bytes.data, parts[i].bytes.len);
        }
        if (parts[i].buffer != NULL) {
            self->refs[self->ref_count++] = buffer_ref(parts[i].buffer);
        }
    }
    if (self->out_chunked) {
        out_push(self, "\r\n", 2);
    }
    self->sent_bytes += bytes;
    if (self->out_left >= 0) {
        ASSERT((uint64_t)self->out_left >= bytes);
        self->out_left -= (int64_t)bytes;
    }
}

void http_body_write(struct http_request *req, const struct http_part *parts, size_t count,
                     http_on_written *on_written, void *data)
{
    struct http_exchange *self = exchange_of(req);
    ASSERT(self->is_responded);
    ASSERT(!self->is_ended);
    ASSERT(!self->is_writing && !self->written_posted);
    ASSERT(count <= HTTP_WRITE_PARTS_MAX);
    self->on_written = on_written;
    self->on_written_data = data;
    if (self->conn == NULL) {
        written_post(self, ERRC_CANCELED);
        return;
    }
    size_t bytes = self->out_dropped ? 0 : parts_bytes(parts, count);
    if (bytes > 0) {
        out_push_head(self);
        out_push_parts(self, parts, count, bytes);
        out_flush(self);
    } else {
        written_post(self, ERRC_OK);
    }
}

/* The handler has ended the body and nothing is under way: what is left to send, then the next request. */
static void out_finish(struct http_exchange *self)
{
    out_push_head(self);
    if (self->out_chunked && !self->out_dropped && !self->out_terminated) {
        self->out_terminated = true;
        out_push(self, "0\r\n\r\n", 5);
    }
    if (self->iov_count > 0) {
        out_flush(self);
        return;
    }
    conn_exchange_done(self->conn);
}

void http_body_end(struct http_request *req)
{
    struct http_exchange *self = exchange_of(req);
    ASSERT(self->is_responded);
    ASSERT(!self->is_ended);
    self->is_ended = true;
    if (self->conn == NULL) {
        return;
    }
    if (self->out_left > 0 && !self->out_dropped) {
        http_abort(req); /* shorter than announced */
    } else if (!self->is_writing) {
        out_finish(self);
    }
}

void http_respond_whole(struct http_request *req, const struct http_response *response, struct http_part body)
{
    struct http_response whole = *response;
    if (!(req->is_head && response->content_length > 0)) {
        whole.content_length = (int64_t)body.bytes.len;
    }
    http_respond(req, &whole);
    if (body.bytes.len > 0) {
        http_body_write(req, &body, 1, NULL, NULL);
    }
    http_body_end(req);
    http_request_release(req);
}

uint64_t http_sent_bytes(const struct http_request *req)
{
    return container_of(req, const struct http_exchange, req)->sent_bytes;
}

uint64_t http_acked_bytes(const struct http_request *req)
{
    const struct http_conn *conn = container_of(req, const struct http_exchange, req)->conn;
    return conn != NULL && conn->sock != NULL ? tcp_acked_bytes(h2o_socket_get_fd(conn->sock)) : 0;
}
