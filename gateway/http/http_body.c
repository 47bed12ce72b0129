#include "common/base/assert.h"
#include "gateway/http/http_conn.h"

static void on_deliver(struct task *task);

void body_post(struct http_exchange *self)
{
    if (!self->deliver_posted) {
        self->deliver_posted = true;
        self->deliver.run = on_deliver;
        executor_post(self->req.executor, &self->deliver);
    }
}

void body_fail(struct http_exchange *self, enum errc code)
{
    if (self->body_code == ERRC_OK && !self->body_end) {
        self->body_code = code;
        self->close_after = true; /* what follows can't be told from a body */
    }
    if (self->on_piece != NULL) {
        body_post(self);
    }
}

/* The bytes at hand, in the order of the stream: the piece taken from the socket, then the socket's. */
static bool body_source(struct http_exchange *self)
{
    h2o_buffer_consume(&self->piece, self->piece_used);
    self->piece_used = 0;
    if (self->piece->size > 0) {
        return true;
    }
    if (self->conn == NULL || self->conn->sock->input->size == 0) {
        return false;
    }
    h2o_buffer_t *empty = self->piece;
    self->piece = self->conn->sock->input;
    self->conn->sock->input = empty;
    return true;
}

void body_give_back(struct http_exchange *self)
{
    size_t rest = self->piece->size - self->piece_used;
    if (rest > 0) {
        h2o_buffer_t **input = &self->conn->sock->input;
        size_t later = (*input)->size;
        h2o_buffer_t *joined;
        h2o_buffer_init(&joined, &h2o_socket_buffer_prototype);
        h2o_iovec_t room = h2o_buffer_reserve(&joined, rest + later + 4096); /* room for a read behind it */
        memcpy(room.base, self->piece->bytes + self->piece_used, rest);
        if (later > 0) {
            memcpy(room.base + rest, (*input)->bytes, later);
        }
        joined->size = rest + later;
        h2o_buffer_dispose(input);
        *input = joined;
        self->piece->size = self->piece_used;
    }
    if (self->skip_bytes > 0) {
        h2o_buffer_consume(&self->conn->sock->input, self->skip_bytes);
        self->skip_bytes = 0;
    }
}

bool body_skip_rest(struct http_exchange *self)
{
    if (self->body_end) {
        return true;
    }
    size_t here = self->piece->size - self->piece_used + self->conn->sock->input->size;
    if (self->is_chunked || self->body_code != ERRC_OK || self->body_left > here) {
        return false;
    }
    self->skip_bytes = (size_t)self->body_left;
    self->body_left = 0;
    self->body_end = true;
    return true;
}

static void pull_plain(struct http_exchange *self, struct http_piece *piece)
{
    uint64_t n = self->piece->size;
    n = n < self->body_left ? n : self->body_left;
    n = n < HTTP_PIECE_BYTES_MAX ? n : HTTP_PIECE_BYTES_MAX;
    piece->data = slice_of(self->piece->bytes, (size_t)n);
    self->piece_used = (size_t)n;
    self->body_left -= n;
    piece->is_end = self->body_left == 0;
}

/* False: framing only, and more is needed. */
static bool pull_chunked(struct http_exchange *self, struct http_piece *piece)
{
    size_t room = self->piece->size < HTTP_PIECE_BYTES_MAX ? self->piece->size : HTTP_PIECE_BYTES_MAX;
    struct slice bytes = slice_of(self->piece->bytes, room);
    size_t used = 0;
    enum chunk_result result = http_chunk_next(&self->chunk, bytes, &used, &piece->data);
    if (result == CHUNK_BAD) {
        body_fail(self, ERRC_INVALID);
        piece->code = ERRC_INVALID;
        return true;
    }
    self->piece_used = used;
    if (result != CHUNK_DATA) {
        piece->is_end = result == CHUNK_END;
        return piece->is_end;
    }
    struct http_chunk ahead = self->chunk; /* the end often stands right behind the last data */
    struct slice none;
    if (http_chunk_next(&ahead, slice_skip(bytes, used), &used, &none) == CHUNK_END) {
        self->chunk = ahead;
        self->piece_used += used;
        piece->is_end = true;
    }
    return true;
}

/* False: nothing to give yet. */
static bool body_pull(struct http_exchange *self, struct http_piece *piece)
{
    *piece = (struct http_piece){ ERRC_OK, false, SLICE_EMPTY };
    if (self->body_end) {
        piece->is_end = true;
        return true;
    }
    if (self->body_code != ERRC_OK) {
        piece->code = self->body_code;
        return true;
    }
    while (body_source(self)) {
        if (!self->is_chunked) {
            pull_plain(self, piece);
        } else if (!pull_chunked(self, piece)) {
            continue;
        }
        if (piece->is_end) {
            self->body_end = true;
            body_give_back(self);
        }
        return true;
    }
    if (self->conn->is_eof) {
        body_fail(self, ERRC_CANCELED);
        piece->code = ERRC_CANCELED;
        return true;
    }
    return false;
}

/* How much may lie in the socket's buffer, beside the piece that was taken from it. */
static size_t body_input_limit(const struct http_exchange *self)
{
    return self->body_end || !self->body_begun ? CONN_PIPELINE_BYTES_MAX : CONN_INPUT_BYTES_MAX;
}

/* Reads on: into a large buffer when much is to come; not at all while the last one is full. */
static void body_read_on(struct http_exchange *self)
{
    struct http_conn *conn = self->conn;
    if (conn->sock->input->size + 4096 > body_input_limit(self)) {
        return;
    }
    if (conn->sock->input->size == 0 && (self->is_chunked || self->body_left > CONN_PIPELINE_BYTES_MAX)) {
        uint64_t bytes = self->is_chunked ? CONN_INPUT_BYTES_MAX : self->body_left + 4096;
        (void)h2o_buffer_reserve(&conn->sock->input,
                                 (size_t)(bytes < CONN_INPUT_BYTES_MAX ? bytes : CONN_INPUT_BYTES_MAX));
    }
    conn_read_start(conn);
}

static void on_deliver(struct task *task)
{
    struct http_exchange *self = container_of(task, struct http_exchange, deliver);
    self->deliver_posted = false;
    if (self->on_piece == NULL) { /* released meanwhile */
        exchange_free_if_done(self);
        return;
    }
    struct http_piece piece;
    if (!body_pull(self, &piece)) {
        body_read_on(self);
        conn_set_deadline(self->conn, conn_options(self->conn)->body_deadline_ms);
        return;
    }
    http_on_piece *on_piece = self->on_piece;
    self->on_piece = NULL;
    if (self->conn != NULL && !self->is_writing) {
        conn_set_deadline(self->conn, 0);
    }
    if (self->conn != NULL && !self->body_end && self->body_code == ERRC_OK) {
        body_read_on(self); /* the next piece may come in while the handler looks at this one */
    }
    self->hold++;
    on_piece(self->on_piece_data, &self->req, &piece);
    self->hold--;
    exchange_free_if_done(self);
}

void http_body_read(struct http_request *req, http_on_piece *on_piece, void *data)
{
    struct http_exchange *self = exchange_of(req);
    ASSERT(self->on_piece == NULL);
    ASSERT(!self->is_released);
    self->on_piece = on_piece;
    self->on_piece_data = data;
    if (!self->body_begun) {
        self->body_begun = true;
        bool nothing_here = self->conn != NULL && self->conn->sock->input->size == 0;
        if (req->expects_continue && nothing_here && !self->is_responded) {
            response_interim(self);
        }
    }
    body_post(self);
}

void body_on_input(struct http_exchange *self)
{
    struct http_conn *conn = self->conn;
    if (self->on_piece != NULL) {
        body_post(self);
    }
    /* Also while a piece is wanted: libuv reads many times in a row, faster than pieces are taken. */
    if (conn->sock->input->size + 4096 > body_input_limit(self)) {
        conn_read_stop(conn);
    }
}
