/*
 * Heads and chunks that must not pass, and those that must: as functions, and over a real connection,
 * where nothing after an error may be taken for a request.
 */
#include "common/http/http_chunk.h"
#include "common/http/http_head.h"
#include "tests/unit/http/http_fixture.h"

#define GET "GET / HTTP/1.1\r\n"
#define PUT "PUT / HTTP/1.1\r\n"
#define HOST "Host: a\r\n"
#define END "\r\n"
#define CASE(text) { text, sizeof(text) - 1 }

struct sample {
    const char *text;
    size_t len;
};

static const struct sample bad_heads[] = {
    /* both framings, or two of one */
    CASE(PUT HOST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" END),
    CASE(PUT HOST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n" END),
    CASE(PUT HOST "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n" END),
    CASE(PUT HOST "Content-Length: 5\r\nContent-Length: 6\r\n" END),
    CASE(PUT HOST "Content-Length: 5\r\nContent-Length: 5\r\n" END),
    CASE(PUT HOST "Content-Length: 5\r\ncontent-length: 5\r\n" END),
    CASE(PUT HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n" END),
    CASE(PUT HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n" END),
    /* lengths that are not plain digits */
    CASE(PUT HOST "Content-Length: +5\r\n" END),
    CASE(PUT HOST "Content-Length: -5\r\n" END),
    CASE(PUT HOST "Content-Length: 5, 5\r\n" END),
    CASE(PUT HOST "Content-Length: 5,5\r\n" END),
    CASE(PUT HOST "Content-Length: 5 5\r\n" END),
    CASE(PUT HOST "Content-Length: 0x5\r\n" END),
    CASE(PUT HOST "Content-Length: 5.0\r\n" END),
    CASE(PUT HOST "Content-Length: 5e1\r\n" END),
    CASE(PUT HOST "Content-Length: 1_000\r\n" END),
    CASE(PUT HOST "Content-Length: \r\n" END),
    CASE(PUT HOST "Content-Length:\r\n" END),
    CASE(PUT HOST "Content-Length: five\r\n" END),
    CASE(PUT HOST "Content-Length: \"5\"\r\n" END),
    CASE(PUT HOST "Content-Length: 5;\r\n" END),
    CASE(PUT HOST "Content-Length: 9223372036854775808\r\n" END),
    CASE(PUT HOST "Content-Length: 18446744073709551616\r\n" END),
    CASE(PUT HOST "Content-Length: 99999999999999999999999999999999\r\n" END),
    CASE(PUT HOST "Content-Length: 5\0\r\n" END),
    CASE(PUT HOST "Content-Length: \x0b" "5\r\n" END),
    /* transfer codings that are not exactly `chunked` */
    CASE(PUT HOST "Transfer-Encoding: Chunked\r\n" END),
    CASE(PUT HOST "Transfer-Encoding: CHUNKED\r\n" END),
    CASE(PUT HOST "Transfer-Encoding: xchunked\r\n" END),
    CASE(PUT HOST "Transfer-Encoding: chunked, chunked\r\n" END),
    CASE(PUT HOST "Transfer-Encoding: gzip, chunked\r\n" END),
    CASE(PUT HOST "Transfer-Encoding: chunked, identity\r\n" END),
    CASE(PUT HOST "Transfer-Encoding: identity\r\n" END),
    CASE(PUT HOST "Transfer-Encoding: gzip\r\n" END),
    CASE(PUT HOST "Transfer-Encoding: \"chunked\"\r\n" END),
    CASE(PUT HOST "Transfer-Encoding: chunked;q=1\r\n" END),
    CASE(PUT HOST "Transfer-Encoding: ,chunked\r\n" END),
    CASE(PUT HOST "Transfer-Encoding: chunked,\r\n" END),
    CASE(PUT HOST "Transfer-Encoding:\r\n" END),
    CASE(PUT HOST "Transfer-Encoding: \x0b" "chunked\r\n" END),
    CASE(PUT HOST "Transfer-Encoding: chunked\x0c\r\n" END),
    CASE(PUT HOST "Transfer-Encoding: chun\tked\r\n" END),
    CASE("PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n" END),
    CASE("PUT / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n" END),
    /* names */
    CASE(PUT HOST "Content-Length : 5\r\n" END),
    CASE(PUT HOST "Transfer-Encoding : chunked\r\n" END),
    CASE(PUT HOST "Transfer-Encoding\t: chunked\r\n" END),
    CASE(PUT HOST "Transfer-Encoding\x0b: chunked\r\n" END),
    CASE(PUT HOST "Transfer Encoding: chunked\r\n" END),
    CASE(PUT HOST "X(: v\r\n" END),
    CASE(PUT HOST "X\x80: v\r\n" END),
    CASE(PUT HOST "X\0Y: v\r\n" END),
    CASE(PUT HOST ": v\r\n" END),
    CASE(PUT HOST "no colon\r\n" END),
    CASE(PUT HOST "nocolon\r\n" END),
    /* folded lines */
    CASE(GET HOST "X: a\r\n b\r\n" END),
    CASE(GET HOST "X: a\r\n\tb\r\n" END),
    CASE(GET " X: a\r\n" HOST END),
    CASE(GET HOST "Transfer-Encoding:\r\n chunked\r\n" END),
    CASE(GET HOST "Content-Length:\r\n 5\r\n" END),
    CASE(GET HOST "X: a\r\n \r\n" END),
    /* line ends */
    CASE("GET / HTTP/1.1\nHost: a\r\n\r\n"),
    CASE("GET / HTTP/1.1\r\nHost: a\n\r\n"),
    CASE("GET / HTTP/1.1\r\nHost: a\r\n\n"),
    CASE("GET / HTTP/1.1\nHost: a\n\n"),
    CASE(GET HOST "X: a\nTransfer-Encoding: chunked\r\n" END),
    CASE(GET HOST "X: a\rTransfer-Encoding: chunked\r\n" END),
    CASE(GET HOST "X: a\r\r\n" END),
    CASE("GET / HTTP/1.1\r\r\nHost: a\r\n\r\n"),
    /* values */
    CASE(GET HOST "X: a\0b\r\n" END),
    CASE(GET HOST "X: a\x01\r\n" END),
    CASE(GET HOST "X: a\x1f\r\n" END),
    CASE(GET HOST "X: a\x7f\r\n" END),
    CASE(GET HOST "X: a\x08\r\n" END),
    /* Host */
    CASE(GET END),
    CASE(GET "X: y\r\n" END),
    CASE(GET HOST HOST END),
    CASE(GET HOST "host: b\r\n" END),
    CASE(GET "Host:\r\n" END),
    CASE(GET "Host: a b\r\n" END),
    CASE(GET "Host: a,b\r\n" END),
    CASE(GET "Host: a/b\r\n" END),
    CASE(GET "Host: u@a\r\n" END),
    CASE(GET "Host: a\xc3\xa9\r\n" END),
    CASE("GET / HTTP/1.0\r\n" HOST HOST END),
    /* request line */
    CASE("GET  / HTTP/1.1\r\n" HOST END),
    CASE("GET /  HTTP/1.1\r\n" HOST END),
    CASE(" GET / HTTP/1.1\r\n" HOST END),
    CASE("GET / a HTTP/1.1\r\n" HOST END),
    CASE("GET /\ta HTTP/1.1\r\n" HOST END),
    CASE("GET /\0 HTTP/1.1\r\n" HOST END),
    CASE("GET /\x7f HTTP/1.1\r\n" HOST END),
    CASE("G\0T / HTTP/1.1\r\n" HOST END),
    CASE("G(T / HTTP/1.1\r\n" HOST END),
    CASE("GET\t/ HTTP/1.1\r\n" HOST END),
    CASE("GET /\r\n" HOST END),
    CASE("GET\r\n" HOST END),
    CASE("GET / HTTP/1.1 \r\n" HOST END),
    CASE("GET / HTTP/1.11\r\n" HOST END),
    CASE("GET / HTTP/11\r\n" HOST END),
    CASE("GET / http/1.1\r\n" HOST END),
    CASE("GET / HTTP/1.\r\n" HOST END),
    CASE("AVERYLONGMETHODTHATNOBODYWOULDEVERUSE / HTTP/1.1\r\n" HOST END),
    CASE("\r\n\r\nGET / HTTP/1.1\r\n" HOST END),
    CASE(PUT HOST "Content-Length: 5\r\nExpect: something\r\n" END),
};

static const struct sample good_heads[] = {
    CASE(GET HOST END),
    CASE(GET "Host: a.b:9000\r\n" END),
    CASE(GET "Host: [::1]:9000\r\n" END),
    CASE(GET "hOsT:a\r\n" END),
    CASE(GET "Host: \t a \t\r\n" END),
    CASE("GET / HTTP/1.0\r\n" END),
    CASE("GET http://a/b HTTP/1.1\r\n" HOST END),
    CASE("OPTIONS * HTTP/1.1\r\n" HOST END),
    CASE("GET /\xc3\xa9 HTTP/1.1\r\n" HOST END),
    CASE(GET HOST "X: \xc3\xa9\t!\r\n" END),
    CASE(GET HOST "X:\r\n" END),
    CASE(PUT HOST "Content-Length: 0\r\n" END),
    CASE(PUT HOST "Content-Length: 00005\r\n" END),
    CASE(PUT HOST "Content-Length: 999999999999999999\r\n" END),
    CASE(PUT HOST "Transfer-Encoding: chunked\r\n" END),
    CASE(PUT HOST "Content-Length: 5\r\nExpect: 100-Continue\r\n" END),
};

static const struct sample bad_chunks[] = {
    CASE("5\nxxxxx\r\n0\r\n\r\n"), CASE("5\r\nxxxxx\n0\r\n\r\n"), CASE("5\r\nxxxxx0\r\n\r\n"), CASE("5\r\r\nxxxxx"),
    CASE("0x5\r\nxxxxx"), CASE("+5\r\nxxxxx"), CASE("-5\r\nxxxxx"), CASE(" 5\r\nxxxxx"), CASE("5 \r\nxxxxx"),
    CASE("\r\n5\r\nxxxxx"), CASE("g\r\n"), CASE(";a=b\r\n"), CASE("5\r\nxxxxxx\r\n"), CASE("1000000000000000\r\n"),
    CASE("00000000000000005\r\n"), CASE("5;a\0b\r\nxxxxx"), CASE("5;a\nxxxxx"), CASE("5;a\rb\r\nxxxxx"),
    CASE("0\r\n\n"), CASE("0\n\r\n"), CASE("0\r\nbad trailer\r\n\r\n"), CASE("0\r\n: v\r\n\r\n"),
    CASE("0\r\n folded: v\r\n\r\n"), CASE("0\r\nname: a\nb: c\r\n\r\n"), CASE("0\r\nname : v\r\n\r\n"),
};

static enum head_result parse(const struct sample *sample, struct http_head *head)
{
    size_t scanned = 0;
    size_t len = 0;
    enum head_result result = http_head_find(slice_of(sample->text, sample->len), &scanned, &len);
    return result == HEAD_OK ? http_head_parse(slice_of(sample->text, len), head) : result;
}

static void test_bad_heads(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad_heads) / sizeof(bad_heads[0]); i++) {
        struct http_head head;
        enum head_result result = parse(&bad_heads[i], &head);
        if (result != HEAD_BAD) {
            fail_msg("case %zu gives %d: %s", i, (int)result, bad_heads[i].text);
        }
    }
}

static void test_good_heads(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good_heads) / sizeof(good_heads[0]); i++) {
        struct http_head head;
        enum head_result result = parse(&good_heads[i], &head);
        if (result != HEAD_OK) {
            fail_msg("case %zu gives %d: %s", i, (int)result, good_heads[i].text);
        }
    }
}

static void test_other_versions(void **state)
{
    static const struct sample samples[] = { CASE("GET / HTTP/2.0\r\n" HOST END), CASE("GET / HTTP/1.2\r\n" HOST END),
                                             CASE("GET / HTTP/0.9\r\n" HOST END),
                                             CASE("PRI * HTTP/2.0\r\n\r\n") };
    (void)state;
    for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
        struct http_head head;
        assert_int_equal(parse(&samples[i], &head), HEAD_BAD_VERSION);
    }
}

/* Every cut of the input gives the same data. */
static enum chunk_result decode(const struct sample *sample, size_t step, uint64_t *ret_data, size_t *ret_used)
{
    struct http_chunk chunk = { 0 };
    enum chunk_result result = CHUNK_MORE;
    size_t at = 0;
    size_t end = 0;
    *ret_data = 0;
    while (end < sample->len && result != CHUNK_END && result != CHUNK_BAD) {
        end = end + step < sample->len ? end + step : sample->len;
        do {
            size_t used = 0;
            struct slice data;
            result = http_chunk_next(&chunk, slice_of(sample->text + at, end - at), &used, &data);
            at += used;
            *ret_data += data.len;
        } while (result == CHUNK_DATA);
    }
    *ret_used = at;
    return result;
}

static void test_chunks(void **state)
{
    static const struct sample good = CASE("5;name=value\r\nabcde\r\n00A\r\n0123456789\r\n0\r\nTrailer: v\r\n\r\nGET");
    uint64_t data;
    size_t used;
    (void)state;
    for (size_t step = 1; step <= good.len; step++) {
        assert_int_equal(decode(&good, step, &data, &used), CHUNK_END);
        assert_int_equal(data, 15);
        assert_int_equal(used, good.len - 3);
    }
    for (size_t i = 0; i < sizeof(bad_chunks) / sizeof(bad_chunks[0]); i++) {
        for (size_t step = 1; step <= 3; step++) {
            if (decode(&bad_chunks[i], step, &data, &used) != CHUNK_BAD) {
                fail_msg("chunk case %zu passes: %s", i, bad_chunks[i].text);
            }
        }
    }
}

static void test_floods_are_bounded(void **state)
{
    struct http_chunk chunk = { 0 };
    struct slice data;
    size_t used;
    (void)state;
    for (unsigned i = 0; i < 1000; i++) { /* one byte of data for ten of extensions */
        enum chunk_result result = http_chunk_next(&chunk, slice_str("1;aaaaaaaaaa\r\n"), &used, &data);
        if (result == CHUNK_BAD) {
            assert_in_range(i, 80, 110);
            break;
        }
        assert_int_equal(http_chunk_next(&chunk, slice_str("x\r\n"), &used, &data), CHUNK_DATA);
        assert_int_equal(http_chunk_next(&chunk, slice_str("\r\n"), &used, &data), CHUNK_MORE);
        assert_true(i < 999);
    }
    chunk = (struct http_chunk){ 0 };
    assert_int_equal(http_chunk_next(&chunk, slice_str("0\r\n"), &used, &data), CHUNK_MORE);
    enum chunk_result result = CHUNK_MORE;
    for (unsigned i = 0; i < 10000 && result == CHUNK_MORE; i++) {
        result = http_chunk_next(&chunk, slice_str("a: b\r\n"), &used, &data);
    }
    assert_int_equal(result, CHUNK_BAD);
}

/* ---- over a connection ---- */

static void on_request(void *data, struct http_request *req)
{
    struct fixture *f = data;
    atomic_fetch_add(&f->requests, 1);
    http_respond_whole(req, &(struct http_response){ .status = 200 }, (struct http_part){ SLICE_EMPTY, NULL });
}

static void test_nothing_after_an_error_is_a_request(void **state)
{
    static char reply[65536];
    static const char behind[] = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    struct fixture f = { 0 };
    struct http_front_options options = { .drain_deadline_ms = 200, .head_deadline_ms = 1000 };
    (void)state;
    fixture_start(&f, on_request, &options);
    size_t count = sizeof(bad_heads) / sizeof(bad_heads[0]);
    for (size_t i = 0; i < count; i++) {
        bool eof;
        int fd = client_connect(&f);
        (void)client_send(fd, bad_heads[i].text, bad_heads[i].len);
        (void)client_send(fd, behind, sizeof(behind) - 1);
        client_read(fd, reply, sizeof(reply), sizeof(reply), 5000, &eof);
        (void)close(fd);
        if (!eof || strncmp(reply, "HTTP/1.1 400 Bad Request\r\n", 26) != 0 || count_of(reply, "HTTP/1.1") != 1) {
            fail_msg("case %zu (%s): %s", i, bad_heads[i].text, reply);
        }
        assert_non_null(strstr(reply, "Connection: close\r\n\r\n<Error/>"));
    }
    assert_int_equal(atomic_load(&f.requests), 0);
    assert_int_equal(atomic_load(&f.bad), count);
    fixture_stop(&f, 1000);
}

static void test_sizes(void **state)
{
    static char reply[65536];
    struct fixture f = { 0 };
    struct http_front_options options = { .drain_deadline_ms = 200 };
    bool eof;
    (void)state;
    fixture_start(&f, on_request, &options);
    char *text = mem_alloc(70000);
    size_t len = (size_t)snprintf(text, 64, GET HOST "X: ");
    memset(text + len, 'v', 69000); /* 65 KiB and more of header */
    memcpy(text + len + 69000, "\r\n\r\n", 4);
    client_ask(&f, text, len + 69004, reply, sizeof(reply), &eof);
    assert_true(eof);
    assert_memory_equal(reply, "HTTP/1.1 400", 12);
    assert_int_equal(atomic_load(&f.last_bad), HTTP_BAD_HEAD_TOO_LARGE);
    for (unsigned fields = HTTP_HEADERS_MAX; fields <= HTTP_HEADERS_MAX + 1; fields++) {
        len = (size_t)snprintf(text, 64, GET HOST);
        for (unsigned i = 1; i < fields; i++) {
            len += (size_t)snprintf(text + len, 16, "X: v\r\n");
        }
        memcpy(text + len, "\r\n", 2);
        client_ask(&f, text, len + 2, reply, sizeof(reply), &eof);
        assert_int_equal(strncmp(reply, "HTTP/1.1 200", 12) == 0, fields == HTTP_HEADERS_MAX);
    }
    client_ask(&f, "GET / HTTP/2.0\r\n\r\n", 18, reply, sizeof(reply), &eof);
    assert_memory_equal(reply, "HTTP/1.1 505", 12);
    mem_free(text);
    fixture_stop(&f, 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_heads),
        cmocka_unit_test(test_good_heads),
        cmocka_unit_test(test_other_versions),
        cmocka_unit_test(test_chunks),
        cmocka_unit_test(test_floods_are_bounded),
        cmocka_unit_test(test_nothing_after_an_error_is_a_request),
        cmocka_unit_test(test_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
