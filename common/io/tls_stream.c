#include "common/io/tls_stream.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/io/certificate_parts.h"
#include "common/io/tls_stream_parts.h"

#include <netinet/tcp.h>
#include <openssl/err.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define RECORD_BYTES 16384u            /* plain text of one TLS record */
#define RECORD_ROOM (RECORD_BYTES + 512u) /* what it may need encrypted */
#define GATHER_BYTES 4096u             /* smaller parts share a record, copied */
#define SENDS_MAX 8                    /* blocks in a row, before other streams of the loop have their turn */

/* ---- between OpenSSL and our blocks ---- */

static int bio_write(BIO *bio, const char *data, int len)
{
    struct tls_stream *self = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (self->output == NULL) {
        self->output = buffer_new(TLS_BLOCK_BYTES);
    }
    size_t room = self->output->capacity - self->output->len;
    size_t taken = (size_t)len < room ? (size_t)len : room;
    if (taken == 0) {
        BIO_set_retry_write(bio);
        return -1;
    }
    memcpy(self->output->data + self->output->len, data, taken);
    self->output->len += taken;
    return (int)taken;
}

static int bio_read(BIO *bio, char *target, int len)
{
    struct tls_stream *self = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (self->input == NULL) {
        BIO_set_retry_read(bio);
        return -1;
    }
    size_t left = self->input->len - self->input_at;
    size_t taken = (size_t)len < left ? (size_t)len : left;
    memcpy(target, self->input->data + self->input_at, taken);
    self->input_at += taken;
    if (self->input_at == self->input->len) {
        buffer_unref(self->input);
        self->input = NULL;
    }
    return (int)taken;
}

static long bio_control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

static BIO_METHOD *bio_method;
static pthread_once_t bio_once = PTHREAD_ONCE_INIT;

static void bio_method_create(void)
{
    bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "cairn stream");
    ASSERT(bio_method != NULL);
    (void)BIO_meth_set_write(bio_method, bio_write);
    (void)BIO_meth_set_read(bio_method, bio_read);
    (void)BIO_meth_set_ctrl(bio_method, bio_control);
}

/* ---- life ---- */

static void stream_turn(struct task *task);
static void stream_flush(struct tls_stream *self);

static void turn_post(struct tls_stream *self)
{
    if (!self->turn_posted) {
        self->turn_posted = true;
        executor_post(loop_executor(self->loop), &self->turn);
    }
}

static void on_linger(struct task *task)
{
    struct tls_stream *self = container_of(container_of(task, struct timer, task), struct tls_stream, linger);
    stream_fail(self, ERRC_CANCELED, 0, "closed");
}

struct tls_stream *stream_create(struct loop *loop, struct tls_context *context, bool server)
{
    struct tls_stream *self = mem_zalloc(sizeof(*self));
    (void)pthread_once(&bio_once, bio_method_create);
    self->loop = loop;
    self->turn.run = stream_turn;
    self->linger.task.run = on_linger;
    list_init(&self->writes);
    SSL_CTX *ctx = tls_context_get(context, server);
    self->ssl = SSL_new(ctx);
    SSL_CTX_free(ctx);
    BIO *bio = BIO_new(bio_method);
    ASSERT(self->ssl != NULL);
    ASSERT(bio != NULL); /* both fail for lack of memory only */
    BIO_set_data(bio, self);
    BIO_set_init(bio, 1);
    SSL_set_bio(self->ssl, bio, bio);
    if (server) {
        SSL_set_accept_state(self->ssl);
    } else {
        SSL_set_connect_state(self->ssl);
    }
    int failed = uv_tcp_init(loop_uv(loop), &self->tcp);
    ASSERT(failed == 0);
    self->tcp.data = self;
    return self;
}

void stream_release(struct tls_stream *self)
{
    if (!self->tcp_closed || self->looking_up || self->turn_posted) {
        return;
    }
    SSL_free(self->ssl);
    buffer_unref(self->input);
    buffer_unref(self->output);
    mem_free(self);
}

static void on_closed(uv_handle_t *handle)
{
    struct tls_stream *self = handle->data;
    while (!list_empty(&self->writes)) {
        struct tls_write *write = container_of(list_pop(&self->writes), struct tls_write, link);
        write->done(write, ERRC_CANCELED);
    }
    if (self->events != NULL) {
        self->events->closed(self->data, &self->reason);
    }
    self->tcp_closed = true;
    stream_release(self);
}

void stream_fail(struct tls_stream *self, enum errc code, int uv_code, const char *what)
{
    if (self->state == STREAM_CLOSING) {
        return;
    }
    if (self->reason.code == ERRC_OK) {
        if (uv_code != 0) {
            (void)error_set(&self->reason, code, "%s: %s", what, uv_strerror(uv_code));
        } else {
            (void)error_set(&self->reason, code, "%s", what);
        }
    }
    self->state = STREAM_CLOSING;
    timer_stop(loop_executor(self->loop), &self->linger);
    if (self->looking_up) {
        (void)uv_cancel((uv_req_t *)&self->lookup); /* where it is too late, the answer is ignored */
    }
    uv_close((uv_handle_t *)&self->tcp, on_closed);
}

void tls_stream_close(struct tls_stream *self)
{
    stream_fail(self, ERRC_CANCELED, 0, "closed");
}

/* ---- writing ---- */

static void on_shutdown(uv_shutdown_t *request, int status)
{
    (void)request; /* the peer's end or the linger timer closes */
    (void)status;
}

static void on_written(uv_write_t *request, int status)
{
    struct tls_stream *self = request->data;
    buffer_unref(self->flying);
    self->flying = NULL;
    if (status != 0) {
        stream_fail(self, ERRC_IO, status, "connection lost");
        return;
    }
    turn_post(self);
}

/* Sends the gathered block. False: it waits in libuv now, or the stream has failed. */
static bool stream_send(struct tls_stream *self)
{
    uv_buf_t block = uv_buf_init((char *)self->output->data, (unsigned)self->output->len);
    int sent = uv_try_write((uv_stream_t *)&self->tcp, &block, 1);
    if (sent < 0 && sent != UV_EAGAIN) {
        stream_fail(self, ERRC_IO, sent, "connection lost");
        return false;
    }
    size_t done = sent > 0 ? (size_t)sent : 0;
    if (done == self->output->len) {
        self->output->len = 0;
        return true;
    }
    self->flying = self->output;
    self->output = NULL;
    block = uv_buf_init((char *)self->flying->data + done, (unsigned)(self->flying->len - done));
    self->write_request.data = self;
    int failed = uv_write(&self->write_request, (uv_stream_t *)&self->tcp, &block, 1, on_written);
    if (failed != 0) {
        buffer_unref(self->flying);
        self->flying = NULL;
        stream_fail(self, ERRC_IO, failed, "connection lost");
    }
    return false;
}

static struct tls_write *write_first(struct tls_stream *self)
{
    return list_empty(&self->writes) ? NULL : container_of(self->writes.next, struct tls_write, link);
}

/* What the first write has left of its current part; empty parts are stepped over. */
static struct slice write_rest(struct tls_write *write)
{
    while (write->at < write->count && write->offset == write->parts[write->at].len) {
        write->at++;
        write->offset = 0;
    }
    return write->at < write->count ? slice_skip(write->parts[write->at], write->offset) : SLICE_EMPTY;
}

/* Takes the plain text of the next record. Writes that end in it move to `ended`. Small parts are copied to
 * `gathered`; a large one is used where it lies. */
static struct slice record_take(struct tls_stream *self, uint8_t gathered[RECORD_BYTES], struct list *ended)
{
    size_t len = 0;
    struct tls_write *write;
    while (len < RECORD_BYTES && (write = write_first(self)) != NULL) {
        struct slice rest = write_rest(write);
        if (rest.len == 0) {
            list_remove(&write->link);
            list_append(ended, &write->link);
            continue;
        }
        if (rest.len >= GATHER_BYTES && len > 0) {
            break;
        }
        size_t taken = rest.len < RECORD_BYTES - len ? rest.len : RECORD_BYTES - len;
        write->started = true;
        write->offset += taken;
        self->plain_bytes -= taken;
        if (rest.len >= GATHER_BYTES) {
            return slice_of(rest.data, taken);
        }
        memcpy(gathered + len, rest.data, taken);
        len += taken;
    }
    return slice_of(gathered, len);
}

/* Encrypts one record. False when nothing is left to encrypt or something failed. */
static bool stream_encrypt(struct tls_stream *self)
{
    uint8_t gathered[RECORD_BYTES];
    struct list ended;
    list_init(&ended);
    struct slice record = record_take(self, gathered, &ended);
    size_t written = 0;
    bool ok = record.len == 0 || (SSL_write_ex(self->ssl, record.data, record.len, &written) == 1 &&
                                  written == record.len);
    while (!list_empty(&ended)) {
        struct tls_write *write = container_of(list_pop(&ended), struct tls_write, link);
        write->done(write, ok ? ERRC_OK : ERRC_IO);
    }
    if (!ok) {
        ERR_clear_error();
        stream_fail(self, ERRC_IO, 0, "cannot encrypt");
    }
    return ok && record.len > 0;
}

static bool can_send(const struct tls_stream *self)
{
    return self->state == STREAM_HANDSHAKE || self->state == STREAM_OPEN || self->state == STREAM_DRAINING;
}

/* All is sent: say so to the peer, once. */
static void drained(struct tls_stream *self)
{
    if (!self->shut) {
        self->shut = true;
        if (SSL_is_init_finished(self->ssl)) {
            (void)SSL_shutdown(self->ssl);
            ERR_clear_error();
        }
        stream_flush(self);
    } else if (self->shutdown_request.data == NULL && self->state == STREAM_DRAINING) {
        self->shutdown_request.data = self;
        if (uv_shutdown(&self->shutdown_request, (uv_stream_t *)&self->tcp, on_shutdown) != 0) {
            tls_stream_close(self);
        }
    }
    if (self->input_ended) {
        tls_stream_close(self);
    }
}

static void stream_flush(struct tls_stream *self)
{
    if (self->flushing || !can_send(self)) {
        return;
    }
    self->flushing = true;
    bool plain = self->state != STREAM_HANDSHAKE && SSL_is_init_finished(self->ssl);
    for (unsigned i = 0; can_send(self); i++) {
        while (plain && (self->output == NULL || self->output->capacity - self->output->len >= RECORD_ROOM) &&
               stream_encrypt(self)) {
        }
        if (!can_send(self) || self->flying != NULL || self->output == NULL || self->output->len == 0) {
            break;
        }
        if (i == SENDS_MAX) {
            turn_post(self);
            break;
        }
        if (!stream_send(self)) {
            break;
        }
    }
    if (self->output != NULL && self->output->len == 0) {
        buffer_unref(self->output);
        self->output = NULL;
    }
    self->flushing = false;
    if (self->state == STREAM_DRAINING && tls_stream_waiting_bytes(self) == 0) {
        drained(self);
    }
}

void tls_stream_write(struct tls_stream *self, struct tls_write *write)
{
    write->started = false;
    write->at = 0;
    write->offset = 0;
    for (unsigned i = 0; i < write->count; i++) {
        self->plain_bytes += write->parts[i].len;
    }
    list_append(&self->writes, &write->link);
    turn_post(self); /* after what else this round of the loop has to write */
}

bool tls_stream_take_back(struct tls_stream *self, struct tls_write *write)
{
    if (write->started) {
        return false;
    }
    for (unsigned i = 0; i < write->count; i++) {
        self->plain_bytes -= write->parts[i].len;
    }
    list_remove(&write->link);
    return true;
}

size_t tls_stream_waiting_bytes(const struct tls_stream *self)
{
    return self->plain_bytes + (self->output != NULL ? self->output->len : 0) +
           (self->flying != NULL ? self->flying->len : 0);
}

/* ---- reading ---- */

static void drain_begin(struct tls_stream *self)
{
    self->state = STREAM_DRAINING;
    timer_start(loop_executor(self->loop), &self->linger, TLS_LINGER_MS);
    turn_post(self);
}

void tls_stream_finish(struct tls_stream *self)
{
    if (self->state == STREAM_OPEN) {
        (void)error_set(&self->reason, ERRC_CANCELED, "closed");
        drain_begin(self);
    } else if (self->state != STREAM_DRAINING) {
        tls_stream_close(self);
    }
}

/* OpenSSL refused what the peer sent (or sent an alert itself). */
static void tls_failed(struct tls_stream *self, enum errc code, const char *what)
{
    long verified = SSL_get_verify_result(self->ssl);
    if (verified != X509_V_OK) {
        ERR_clear_error();
        (void)error_set(&self->reason, code, "%s: %s", what, X509_verify_cert_error_string(verified));
    } else {
        char reason[128] = "";
        unsigned long failed = ERR_get_error();
        const char *text = ERR_reason_error_string(failed);
        (void)snprintf(reason, sizeof(reason), "%s", text != NULL ? text : "no reason given");
        ERR_clear_error();
        (void)error_set(&self->reason, code, "%s: %s", what, reason);
    }
    drain_begin(self);
}

static void stream_handshake(struct tls_stream *self)
{
    ERR_clear_error();
    int done = SSL_do_handshake(self->ssl);
    if (done == 1) {
        self->state = STREAM_OPEN;
        self->events->opened(self->data);
    } else {
        int why = SSL_get_error(self->ssl, done);
        if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) {
            tls_failed(self, ERRC_DENIED, "TLS handshake failed");
        }
    }
    turn_post(self); /* our part of the handshake is to be sent */
}

/* One piece of plain text. False when there is none now. */
static bool stream_read_one(struct tls_stream *self)
{
    size_t room = 0;
    size_t len = 0;
    uint8_t *target = self->events->target(self->data, &room);
    ASSERT(room > 0);
    ERR_clear_error();
    if (SSL_read_ex(self->ssl, target, room, &len) == 1) {
        self->events->received(self->data, len);
        return true;
    }
    int why = SSL_get_error(self->ssl, 0);
    if (why == SSL_ERROR_ZERO_RETURN) {
        stream_fail(self, ERRC_IO, 0, "closed by the peer");
    } else if (why == SSL_ERROR_WANT_WRITE) {
        turn_post(self);
    } else if (why != SSL_ERROR_WANT_READ) {
        tls_failed(self, ERRC_IO, "TLS failed");
    }
    return false;
}

static void stream_read(struct tls_stream *self)
{
    if (self->reading || self->events == NULL) {
        return;
    }
    self->reading = true;
    if (self->state == STREAM_HANDSHAKE) {
        stream_handshake(self);
    }
    while (self->state == STREAM_OPEN && !self->paused && stream_read_one(self)) {
    }
    self->reading = false;
    if (self->state == STREAM_DRAINING) {
        buffer_unref(self->input);
        self->input = NULL;
    }
    if (self->input_ended && !self->paused && self->state != STREAM_DRAINING) {
        stream_fail(self, ERRC_IO, 0, "closed by the peer");
    }
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    struct tls_stream *self = handle->data;
    (void)suggested;
    ASSERT(self->input == NULL);
    self->input = buffer_new(TLS_BLOCK_BYTES);
    self->input_at = 0;
    *ret = uv_buf_init((char *)self->input->data, (unsigned)self->input->capacity);
}

static void on_bytes(uv_stream_t *tcp, ssize_t len, const uv_buf_t *block)
{
    struct tls_stream *self = tcp->data;
    (void)block;
    if (len <= 0) {
        buffer_unref(self->input);
        self->input = NULL;
    }
    if (len == UV_EOF) {
        (void)uv_read_stop(tcp);
        self->input_ended = true;
        if (self->state == STREAM_DRAINING) {
            turn_post(self);
        }
        stream_read(self);
    } else if (len < 0) {
        stream_fail(self, ERRC_IO, (int)len, "connection lost");
    } else if (len > 0) {
        self->input->len = (size_t)len;
        stream_read(self);
        if (self->input != NULL) {
            (void)uv_read_stop(tcp); /* paused; the rest waits */
        }
    }
}

static void reading_start(struct tls_stream *self)
{
    if (!self->input_ended && self->input == NULL && can_send(self)) {
        (void)uv_read_start((uv_stream_t *)&self->tcp, on_alloc, on_bytes);
    }
}

/* What the owner's calls asked for, outside of them. */
static void stream_turn(struct task *task)
{
    struct tls_stream *self = container_of(task, struct tls_stream, turn);
    self->turn_posted = false;
    if (self->tcp_closed) {
        stream_release(self);
        return;
    }
    if (can_send(self)) {
        if (!self->paused) {
            stream_read(self);
            reading_start(self);
        }
        stream_flush(self);
    }
}

void tls_stream_pause(struct tls_stream *self)
{
    self->paused = true;
    if (self->state == STREAM_OPEN) {
        (void)uv_read_stop((uv_stream_t *)&self->tcp);
    }
}

void tls_stream_resume(struct tls_stream *self)
{
    self->paused = false;
    turn_post(self);
}

/* ---- the peer ---- */

void stream_connected(struct tls_stream *self)
{
    int fd = -1;
    unsigned user_timeout_ms = TLS_USER_TIMEOUT_MS;
    (void)uv_tcp_nodelay(&self->tcp, 1);
    (void)uv_tcp_keepalive(&self->tcp, 1, 15);
    if (uv_fileno((const uv_handle_t *)&self->tcp, &fd) == 0) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms, sizeof(user_timeout_ms));
    }
    self->state = STREAM_HANDSHAKE;
}

const char *tls_stream_address(const struct tls_stream *self)
{
    return self->address;
}

struct loop *tls_stream_loop(const struct tls_stream *self)
{
    return self->loop;
}

enum errc tls_stream_peer(const struct tls_stream *self, struct certificate_identity *ret, struct error *e)
{
    X509 *certificate = SSL_get0_peer_certificate(self->ssl);
    if (certificate == NULL) {
        return error_set(e, ERRC_NOT_FOUND, "the peer has no certificate");
    }
    return certificate_identity_read(certificate, ret, e);
}

void tls_stream_start(struct tls_stream *self, const struct tls_stream_events *events, void *data)
{
    self->events = events;
    self->data = data;
    turn_post(self);
}
