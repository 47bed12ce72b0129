/*
 * The front as a client sees it: order, framing, backpressure, refusal, deadlines, drain.
 */
#include "tests/unit/http/http_fixture.h"

#define BIG_BYTES (64u << 20)
#define PIECE_BYTES (256u << 10)

/* ---- a handler: GET answers with its target, PUT counts its body, /refuse does not read it ---- */

struct work {
    struct fixture *f;
    uint64_t bytes;
    uint64_t sent;
    struct buffer *buffer;
};

static void respond_text(struct http_request *req, unsigned status, const char *text)
{
    struct http_response response = { .status = status };
    char *copy = arena_strndup(&req->arena, text, strlen(text));
    http_respond_whole(req, &response, (struct http_part){ slice_of(copy, strlen(text)), NULL });
}

static void on_gone(struct http_request *req)
{
    struct work *work = req->user;
    atomic_fetch_add(&work->f->closed, 1);
}

static void on_piece(void *data, struct http_request *req, const struct http_piece *piece)
{
    struct work *work = data;
    if (piece->code != ERRC_OK) {
        atomic_store(&work->f->last_code, (int)piece->code);
        respond_text(req, 400, "bad body");
        return;
    }
    for (size_t i = 0; i < piece->data.len; i += 977) {
        ASSERT(piece->data.data[i] == 'x');
    }
    work->bytes += piece->data.len;
    atomic_fetch_add(&work->f->body_bytes, piece->data.len);
    if (piece->data.len > atomic_load(&work->f->max_piece)) {
        atomic_store(&work->f->max_piece, (unsigned)piece->data.len);
    }
    if (!piece->is_end) {
        http_body_read(req, on_piece, work);
        return;
    }
    char text[64];
    (void)snprintf(text, sizeof(text), "got %llu", (unsigned long long)work->bytes);
    respond_text(req, 200, text);
}

static void send_more(struct work *work, struct http_request *req);

static void on_written(void *data, struct http_request *req, enum errc code)
{
    struct work *work = data;
    if (code != ERRC_OK) {
        atomic_store(&work->f->last_code, (int)code);
        buffer_unref(work->buffer);
        http_request_release(req);
        return;
    }
    send_more(work, req);
}

static void send_more(struct work *work, struct http_request *req)
{
    if (work->sent == BIG_BYTES) {
        buffer_unref(work->buffer);
        http_body_end(req);
        http_request_release(req);
        return;
    }
    struct http_part part = { buffer_slice(work->buffer), work->buffer };
    work->sent += part.bytes.len;
    atomic_fetch_add(&work->f->body_bytes, part.bytes.len);
    http_body_write(req, &part, 1, on_written, work);
}

static void respond_big(struct work *work, struct http_request *req, int64_t length)
{
    struct http_response response = { .status = 200, .content_length = length };
    work->buffer = buffer_new(PIECE_BYTES);
    memset(work->buffer->data, 'y', PIECE_BYTES);
    work->buffer->len = PIECE_BYTES;
    http_respond(req, &response);
    send_more(work, req);
}

static void on_half_written(void *data, struct http_request *req, enum errc code)
{
    (void)data;
    (void)code;
    http_request_release(req); /* unfinished: the connection is cut */
}

static void on_request(void *data, struct http_request *req)
{
    struct fixture *f = data;
    struct work *work = arena_zalloc(&req->arena, sizeof(*work));
    work->f = f;
    req->user = work;
    req->on_closed = on_gone;
    atomic_fetch_add(&f->requests, 1);
    if (slice_equal_str(req->target, "/big")) {
        respond_big(work, req, BIG_BYTES);
    } else if (slice_equal_str(req->target, "/big-chunked")) {
        respond_big(work, req, HTTP_LENGTH_UNKNOWN);
    } else if (slice_equal_str(req->target, "/half")) {
        struct http_response response = { .status = 200, .content_length = 100 };
        struct http_part part = { slice_str("0123456789"), NULL };
        http_respond(req, &response);
        http_body_write(req, &part, 1, on_half_written, NULL);
    } else if (slice_equal_str(req->target, "/refuse")) {
        respond_text(req, 403, "refused");
    } else if (slice_equal_str(req->method, "PUT")) {
        http_body_read(req, on_piece, work);
    } else {
        respond_text(req, 200, (char *)arena_strndup(&req->arena, req->target.data, req->target.len));
    }
}

static int start(void **state)
{
    struct fixture *f = mem_zalloc(sizeof(*f));
    struct http_front_options options = {
        .head_deadline_ms = 1000, .body_deadline_ms = 800, .idle_deadline_ms = 1500, .drain_deadline_ms = 300
    };
    fixture_start(f, on_request, &options);
    *state = f;
    return 0;
}

static int stop(void **state)
{
    struct fixture *f = *state;
    fixture_stop(f, 2000);
    assert_int_equal(buffer_live_bytes(), 0);
    buffer_trim();
    mem_free(f);
    return 0;
}

static char reply[1 << 20];

/* ---- tests ---- */

static void test_answers_in_order(void **state)
{
    bool eof;
    static const char text[] = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPUT /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nxxx"
                               "GET /3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /4 HTTP/1.1\r\nHost: a\r\n\r\n";
    client_ask(*state, text, sizeof(text) - 1, reply, sizeof(reply), &eof);
    assert_true(eof);
    assert_int_equal(count_of(reply, "HTTP/1.1 200 OK"), 3);
    const char *first = strstr(reply, "\r\n\r\n/1");
    const char *second = strstr(reply, "\r\n\r\ngot 3");
    const char *third = strstr(reply, "\r\n\r\n/3");
    assert_true(first != NULL && second > first && third > second);
    assert_non_null(strstr(reply, "Server: Cairn\r\n"));
    assert_non_null(strstr(reply, "Date: "));
    assert_null(strstr(reply, "/4"));
}

static void test_one_byte_at_a_time(void **state)
{
    static const char text[] = "PUT /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
                               "3\r\nxxx\r\nA;ext=1\r\nxxxxxxxxxx\r\n0\r\nTrailer: v\r\n\r\n";
    int fd = client_connect(*state);
    for (size_t i = 0; i + 1 < sizeof(text); i++) {
        assert_true(client_send(fd, text + i, 1));
        struct timespec pause = { 0, 500000 };
        (void)nanosleep(&pause, NULL);
    }
    bool eof;
    client_read(fd, reply, sizeof(reply), sizeof(reply), 500, &eof);
    (void)close(fd);
    assert_true(eof);
    assert_non_null(strstr(reply, "\r\n\r\ngot 13"));
}

static void test_chunked_bodies_keep_the_connection(void **state)
{
    static const char text[] = "PUT /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n2\r\nxx\r\n0\r\n\r\n"
                               "GET /next HTTP/1.1\r\nHost: a\r\n\r\n";
    bool eof;
    client_ask(*state, text, sizeof(text) - 1, reply, sizeof(reply), &eof);
    assert_false(eof);
    assert_non_null(strstr(reply, "\r\n\r\ngot 3"));
    assert_non_null(strstr(reply, "\r\n\r\n/next"));
}

static void test_malformed_chunks_end_the_connection(void **state)
{
    static const char text[] = "PUT /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n0\r\n\r\n"
                               "GET /next HTTP/1.1\r\nHost: a\r\n\r\n";
    struct fixture *f = *state;
    bool eof;
    client_ask(f, text, sizeof(text) - 1, reply, sizeof(reply), &eof);
    assert_true(eof);
    assert_non_null(strstr(reply, "HTTP/1.1 400"));
    assert_non_null(strstr(reply, "Connection: close"));
    assert_null(strstr(reply, "/next"));
    assert_int_equal(atomic_load(&f->last_code), ERRC_INVALID);
}

static void test_continue_is_sent_when_the_body_is_wanted(void **state)
{
    bool eof;
    int fd = client_connect(*state);
    client_say(fd, "PUT /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    client_read(fd, reply, sizeof(reply), 25, 1000, &eof);
    assert_string_equal(reply, "HTTP/1.1 100 Continue\r\n\r\n");
    client_say(fd, "xxxxx");
    client_read(fd, reply, sizeof(reply), sizeof(reply), 700, &eof);
    assert_non_null(strstr(reply, "\r\n\r\ngot 5"));
    assert_false(eof);
    client_say(fd, "PUT /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n");
    client_read(fd, reply, sizeof(reply), sizeof(reply), 700, &eof);
    assert_memory_equal(reply, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200", 37);
    assert_false(eof);
    client_say(fd, "PUT /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    client_read(fd, reply, sizeof(reply), sizeof(reply), 1000, &eof);
    assert_true(eof);
    assert_memory_equal(reply, "HTTP/1.1 403", 12);
    (void)close(fd);
    fd = client_connect(*state);
    client_say(fd, "PUT /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n");
    client_read(fd, reply, sizeof(reply), sizeof(reply), 1000, &eof);
    assert_true(eof); /* no 100 was sent: such a client must not use the connection again */
    (void)close(fd);
}

static void test_head_has_no_body(void **state)
{
    static const char text[] = "HEAD /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    bool eof;
    client_ask(*state, text, sizeof(text) - 1, reply, sizeof(reply), &eof);
    assert_non_null(strstr(reply, "Content-Length: 2\r\n\r\nHTTP/1.1 200 OK"));
}

static void test_old_version(void **state)
{
    static const char text[] = "GET /1 HTTP/1.0\r\n\r\n";
    static const char keep[] = "GET /1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    bool eof;
    client_ask(*state, text, sizeof(text) - 1, reply, sizeof(reply), &eof);
    assert_true(eof);
    client_ask(*state, keep, sizeof(keep) - 1, reply, sizeof(reply), &eof);
    assert_false(eof);
    assert_non_null(strstr(reply, "Connection: keep-alive\r\n"));
}

static void test_large_upload(void **state)
{
    struct fixture *f = *state;
    int fd = client_connect(f);
    char *block = mem_alloc(1 << 20);
    memset(block, 'x', 1 << 20);
    client_say(fd, "PUT /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 67108864\r\n\r\n");
    for (unsigned i = 0; i < 64; i++) {
        assert_true(client_send(fd, block, 1 << 20));
    }
    mem_free(block);
    bool eof;
    client_read(fd, reply, sizeof(reply), sizeof(reply), 5000, &eof);
    (void)close(fd);
    assert_non_null(strstr(reply, "\r\n\r\ngot 67108864"));
    assert_true(atomic_load(&f->max_piece) > 64 * 1024); /* big reads */
    assert_true(atomic_load(&f->max_piece) <= HTTP_PIECE_BYTES_MAX);
}

static void read_big(void **state, const char *target, size_t framing_min)
{
    struct fixture *f = *state;
    char text[100];
    int fd = client_connect(f);
    (void)snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", target);
    client_say(fd, text);
    size_t total = 0;
    bool eof = false;
    while (!eof) {
        size_t got = client_read(fd, reply, sizeof(reply), sizeof(reply), 5000, &eof);
        assert_true(got > 0 || eof);
        total += got;
    }
    (void)close(fd);
    assert_true(total >= BIG_BYTES + framing_min);
    assert_true(total < BIG_BYTES + framing_min + 4096);
}

static void test_large_downloads(void **state)
{
    read_big(state, "/big", 100);
    read_big(state, "/big-chunked", 100 + BIG_BYTES / PIECE_BYTES * 9 + 5);
}

/* The handler is held back when the client does not read, and cut off when it never does. */
static void test_slow_reader(void **state)
{
    struct fixture *f = *state;
    int small = 4096;
    int fd = client_connect(f);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    client_say(fd, "GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
    struct timespec pause = { 0, 150000000 };
    (void)nanosleep(&pause, NULL);
    assert_true(atomic_load(&f->body_bytes) < BIG_BYTES / 4);
    assert_true(buffer_live_bytes() <= PIECE_BYTES);
    uint64_t begin = now_ms();
    while (atomic_load(&f->closed) == 0 && now_ms() < begin + 8000) {
        (void)nanosleep(&pause, NULL);
    }
    assert_int_equal(atomic_load(&f->closed), 1);
    (void)nanosleep(&pause, NULL);
    assert_int_equal(atomic_load(&f->last_code), ERRC_CANCELED);
    (void)close(fd);
}

static void test_unfinished_response_is_cut(void **state)
{
    static const char text[] = "GET /half HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n";
    bool eof;
    client_ask(*state, text, sizeof(text) - 1, reply, sizeof(reply), &eof);
    assert_true(eof);
    assert_null(strstr(reply, "/2"));
}

/* A refusal reaches a client that is still sending; what it sends on is bounded. */
static void test_refusal_of_an_upload(void **state)
{
    struct fixture *f = *state;
    int fd = client_connect(f);
    char block[4096];
    memset(block, 'x', sizeof(block));
    client_say(fd, "PUT /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n");
    for (unsigned i = 0; i < 16; i++) { /* within the bytes that are drained */
        assert_true(client_send(fd, block, sizeof(block)));
    }
    bool eof;
    client_read(fd, reply, sizeof(reply), sizeof(reply), 1000, &eof);
    assert_true(eof);
    assert_memory_equal(reply, "HTTP/1.1 403", 12);
    assert_non_null(strstr(reply, "Connection: close\r\n"));
    size_t sent = 0;
    while (sent < (32u << 20) && client_send(fd, block, sizeof(block))) {
        sent += sizeof(block);
    }
    assert_true(sent < (32u << 20));
    (void)close(fd);
}

static void test_small_unread_body_keeps_the_connection(void **state)
{
    static const char text[] = "PUT /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nGET GET /2 HTTP/1.1\r\nHost: a\r\n\r\n";
    bool eof;
    client_ask(*state, text, sizeof(text) - 1, reply, sizeof(reply), &eof);
    assert_false(eof);
    assert_non_null(strstr(reply, "HTTP/1.1 403"));
    assert_non_null(strstr(reply, "\r\n\r\n/2"));
}

static void test_head_deadline(void **state)
{
    struct fixture *f = *state;
    bool eof;
    uint64_t begin = now_ms();
    int fd = client_connect(f);
    client_say(fd, "GET / HTTP/1.1\r\nHo");
    client_read(fd, reply, sizeof(reply), sizeof(reply), 5000, &eof);
    (void)close(fd);
    assert_memory_equal(reply, "HTTP/1.1 408", 12);
    assert_true(now_ms() - begin >= 900);
    assert_int_equal(atomic_load(&f->last_bad), HTTP_BAD_HEAD_TIMEOUT);
}

static void test_body_deadline(void **state)
{
    struct fixture *f = *state;
    bool eof;
    int fd = client_connect(f);
    client_say(fd, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nxxx");
    client_read(fd, reply, sizeof(reply), sizeof(reply), 5000, &eof);
    (void)close(fd);
    assert_true(eof);
    assert_memory_equal(reply, "HTTP/1.1 400", 12);
    assert_int_equal(atomic_load(&f->last_code), ERRC_TIMEOUT);
}

static void test_body_cut_short(void **state)
{
    struct fixture *f = *state;
    bool eof;
    int fd = client_connect(f);
    client_say(fd, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nxxx");
    (void)shutdown(fd, SHUT_WR);
    client_read(fd, reply, sizeof(reply), sizeof(reply), 5000, &eof);
    (void)close(fd);
    assert_memory_equal(reply, "HTTP/1.1 400", 12);
    assert_int_equal(atomic_load(&f->last_code), ERRC_CANCELED);
}

/* An answer to somebody whose connection was reset before it began is given up at once, not at the deadline of 800 ms. */
static void test_reset_client_is_not_waited_for(void **state)
{
    struct fixture *f = *state;
    struct linger at_once = { .l_onoff = 1, .l_linger = 0 };
    struct http_front_stats stats = { .connections_open = 1 };
    struct timespec pause = { 0, 5000000 };
    int fd = client_connect(f);
    client_say(fd, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nxxx");
    while (atomic_load(&f->body_bytes) < 3) {
        (void)nanosleep(&pause, NULL);
    }
    uint64_t begin = now_ms();
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    (void)close(fd);
    while (stats.connections_open > 0 && now_ms() < begin + 600) {
        (void)nanosleep(&pause, NULL);
        http_front_stats(f->front, &stats);
    }
    assert_int_equal(stats.connections_open, 0);
    assert_int_equal(atomic_load(&f->last_code), ERRC_CANCELED); /* and the handler was told */
}

static void test_half_closed_client_is_answered(void **state)
{
    bool eof;
    int fd = client_connect(*state);
    client_say(fd, "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
    (void)shutdown(fd, SHUT_WR);
    client_read(fd, reply, sizeof(reply), sizeof(reply), 5000, &eof);
    (void)close(fd);
    assert_true(eof);
    assert_int_equal(count_of(reply, "HTTP/1.1 200"), 2);
}

static void test_idle_deadline(void **state)
{
    bool eof;
    int fd = client_connect(*state);
    uint64_t begin = now_ms();
    assert_int_equal(client_read(fd, reply, sizeof(reply), 1, 4000, &eof), 0);
    assert_true(eof);
    assert_true(now_ms() - begin >= 1400);
    (void)close(fd);
}

static void test_port_in_use(void **state)
{
    struct fixture *f = *state;
    struct http_front_options options = { .env = env_real(), .loops = f->loops, .loop_count = 1,
                                          .address = "127.0.0.1", .port = f->port };
    struct http_front *other;
    struct error e = ERROR_INIT;
    assert_int_equal(http_front_start(&options, &other, &e), ERRC_EXISTS);
}

/* Requests in flight finish; the idle are closed; new ones are refused. */
static void test_drain(void **state)
{
    struct fixture *f = *state;
    bool eof;
    int idle = client_connect(f);
    int busy = client_connect(f);
    client_say(busy, "PUT /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nxx");
    struct timespec pause = { 0, 50000000 };
    (void)nanosleep(&pause, NULL);
    http_front_drain(f->front, 3000, fixture_on_drained, f);
    assert_int_equal(client_read(idle, reply, sizeof(reply), 1, 1000, &eof), 0);
    assert_true(eof);
    client_say(busy, "xxx");
    client_read(busy, reply, sizeof(reply), sizeof(reply), 1000, &eof);
    assert_true(eof);
    assert_non_null(strstr(reply, "got 5"));
    assert_non_null(strstr(reply, "Connection: close"));
    (void)close(busy);
    (void)close(idle);
    assert_int_equal(sem_wait(&f->drained), 0);
    struct http_front_stats stats;
    http_front_stats(f->front, &stats);
    assert_int_equal(stats.connections_open, 0);
    assert_int_equal(stats.requests_active, 0);
    loop_destroy(f->loops[0]);
    http_front_destroy(f->front);
    mem_free(f);
}

#define FRONT_TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FRONT_TEST(test_answers_in_order),
        FRONT_TEST(test_one_byte_at_a_time),
        FRONT_TEST(test_chunked_bodies_keep_the_connection),
        FRONT_TEST(test_malformed_chunks_end_the_connection),
        FRONT_TEST(test_continue_is_sent_when_the_body_is_wanted),
        FRONT_TEST(test_head_has_no_body),
        FRONT_TEST(test_old_version),
        FRONT_TEST(test_large_upload),
        FRONT_TEST(test_large_downloads),
        FRONT_TEST(test_slow_reader),
        FRONT_TEST(test_unfinished_response_is_cut),
        FRONT_TEST(test_refusal_of_an_upload),
        FRONT_TEST(test_small_unread_body_keeps_the_connection),
        FRONT_TEST(test_head_deadline),
        FRONT_TEST(test_body_deadline),
        FRONT_TEST(test_body_cut_short),
        FRONT_TEST(test_reset_client_is_not_waited_for),
        FRONT_TEST(test_half_closed_client_is_answered),
        FRONT_TEST(test_idle_deadline),
        FRONT_TEST(test_port_in_use),
        cmocka_unit_test_setup(test_drain, start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
