/*
 * Goal: the figures of `cairn bench` can be believed: quantiles, response framing and comparison of bytes.
 * Method: histograms of known values; responses fed whole and byte by byte; a body with one byte changed.
 */
#include "tools/bench/bench_histogram.h"
#include "tools/bench/bench_options.h"
#include "tools/bench/bench_response.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void histogram_quantiles_are_close_and_never_below(void **state)
{
    (void)state;
    struct bench_histogram *histogram = calloc(1, sizeof(*histogram));
    assert_non_null(histogram);
    for (uint64_t i = 1; i <= 100000; i++) {
        bench_histogram_add(histogram, i * 1000);
    }
    for (unsigned percent = 1; percent <= 99; percent++) {
        uint64_t exact = percent * 1000000ull;
        uint64_t got = bench_histogram_quantile(histogram, percent / 100.0);
        assert_true(got >= exact);
        assert_true(got <= exact + exact / 50);
    }
    assert_true(bench_histogram_quantile(histogram, 1.0) == 100000000u);
    free(histogram);
}

static void histogram_takes_the_largest_value(void **state)
{
    (void)state;
    struct bench_histogram *histogram = calloc(1, sizeof(*histogram));
    assert_non_null(histogram);
    assert_true(bench_histogram_quantile(histogram, 0.5) == 0);
    bench_histogram_add(histogram, UINT64_MAX);
    assert_true(bench_histogram_quantile(histogram, 0.5) == UINT64_MAX);
    free(histogram);
}

/* Feeds `text` in pieces of `step` bytes; returns how many bytes the response used. */
static size_t feed(struct bench_response *response, const char *text, size_t len, size_t step)
{
    size_t total = 0;
    while (total < len && response->state != RESPONSE_DONE) {
        size_t used = 0;
        size_t piece = len - total < step ? len - total : step;
        assert_int_equal(bench_response_feed(response, slice_of(text + total, piece), &used), ERRC_OK);
        total += used;
    }
    return total;
}

static void response_framing_holds_at_every_cut(void **state)
{
    (void)state;
    static const struct {
        enum bench_op op;
        const char *text;
        unsigned status;
        size_t unused; /* bytes after the response */
        uint64_t body;
        uint64_t keys;
        bool close;
    } rows[] = {
        { BENCH_PUT, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, 0, 0, 0, false },
        { BENCH_PUT, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nrest", 200, 4, 0, 0, false },
        { BENCH_GET, "HTTP/1.1 200 OK\r\ncontent-length:5\r\nConnection: close\r\n\r\nhello", 200, 0, 5, 0, true },
        { BENCH_STAT, "HTTP/1.1 200 OK\r\nContent-Length: 4096\r\n\r\n", 200, 0, 0, 0, false },
        { BENCH_DELETE, "HTTP/1.1 204 No Content\r\n\r\n", 204, 0, 0, 0, false },
        { BENCH_LIST, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n<Key>a</Key\r\n8\r\n><<Key>b\r\n0\r\n\r\nX",
          200, 1, 19, 2, false },
        { BENCH_GET, "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nNope", 404, 0, 4, 0, false },
    };
    static struct bench_request request;
    static struct bench_response response;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        size_t len = strlen(rows[i].text);
        for (size_t step = 1; step <= len; step++) {
            request.op = rows[i].op;
            bench_response_init(&response, &request, NULL);
            assert_int_equal(feed(&response, rows[i].text, len, step), len - rows[i].unused);
            assert_int_equal(response.state, RESPONSE_DONE);
            assert_int_equal(response.status, rows[i].status);
            assert_true(response.body_bytes == rows[i].body);
            assert_true(response.keys == rows[i].keys);
            assert_int_equal(response.close, rows[i].close);
        }
    }
    assert_string_equal(response.error, "Nope");
}

static void response_without_a_length_is_refused(void **state)
{
    (void)state;
    static struct bench_request request = { .op = BENCH_GET };
    static struct bench_response response;
    static const char *const texts[] = { "HTTP/1.1 200 OK\r\n\r\nabc", "SSH-2.0-x\r\n\r\n", "HTTP/1.1 999 X\r\n\r\n" };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        size_t used = 0;
        bench_response_init(&response, &request, NULL);
        assert_int_equal(bench_response_feed(&response, slice_str(texts[i]), &used), ERRC_CORRUPT);
    }
}

static void one_wrong_byte_is_seen(void **state)
{
    (void)state;
    static struct bench_request request = { .op = BENCH_GET, .object = 7 };
    static struct bench_response response;
    struct bench_body body;
    char text[4096 + 64];
    bench_body_init(&body);
    for (int wrong = 0; wrong < 2; wrong++) {
        int head = snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nContent-Length: 4096\r\n\r\n");
        memcpy(text + head, bench_body_window(&body, 7, 0, 4096).data, 4096);
        text[head + 4000] = (char)(text[head + 4000] ^ wrong);
        bench_response_init(&response, &request, &body);
        (void)feed(&response, text, (size_t)head + 4096, 1000);
        assert_int_equal(response.state, RESPONSE_DONE);
        assert_int_equal(response.mismatch, wrong == 1);
    }
    bench_body_done(&body);
}

static void options_are_checked(void **state)
{
    (void)state;
    struct bench_options options;
    struct error e = ERROR_INIT;
    (void)setenv("CAIRN_ACCESS_KEY", "access", 1);
    (void)setenv("CAIRN_SECRET_KEY", "secret-key", 1);
    char *good[] = { "bench", "put", "--endpoint", "http://[::1]:9100/", "--size=10MiB", "--duration", "2s" };
    assert_int_equal(bench_options_parse(7, good, &options, &e), ERRC_OK);
    assert_string_equal(options.host, "::1");
    assert_string_equal(options.service, "9100");
    assert_string_equal(options.host_header, "[::1]:9100");
    assert_true(options.object_bytes == 10485760);
    assert_true(options.duration_ms == 2000);
    char *bad[][2] = { { "--size", "6GiB" },      { "--size", "-1" },      { "--endpoint", "https://a" },
                       { "--duration", "5" },     { "--prefix", "a b" },   { "--bucket", "A" },
                       { "--concurrency", "0" },  { "--sign", "no" },      { "--nothing", "x" } };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char *argv[] = { "bench", "get", bad[i][0], bad[i][1] };
        error_clear(&e);
        assert_int_equal(bench_options_parse(4, argv, &options, &e), ERRC_INVALID);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(histogram_quantiles_are_close_and_never_below),
        cmocka_unit_test(histogram_takes_the_largest_value),
        cmocka_unit_test(response_framing_holds_at_every_cut),
        cmocka_unit_test(response_without_a_length_is_refused),
        cmocka_unit_test(one_wrong_byte_is_seen),
        cmocka_unit_test(options_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
