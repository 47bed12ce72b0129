/*
 * Fuzz target: a request target with every reader that takes texts from it: routing, listing
 * parameters, tokens, ranges, dates, copy sources. Encoding what was decoded must decode to the same.
 */
#include "gateway/s3/s3_condition.h"
#include "gateway/s3/s3_headers.h"
#include "gateway/s3/s3_listing.h"
#include "gateway/s3/s3_range.h"
#include "gateway/s3/s3_time.h"
#include "gateway/s3/s3_uri.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void any_outcome(enum s3_error code)
{
    (void)code;
}

static void check_round_trip(struct arena *arena, struct slice text)
{
    struct enc out = ENC_INIT;
    struct slice back;
    s3_uri_encode(&out, text, false);
    if (s3_uri_decode_arena(arena, enc_slice(&out), true, &back) == ERRC_OK && !slice_equal(back, text)) {
        abort();
    }
    enc_free(&out);
}

static void check_values(struct arena *arena, struct slice text)
{
    struct s3_range range;
    struct s3_position position;
    uint64_t ms;
    const uint8_t key[S3_TOKEN_KEY_BYTES] = { 0 };
    (void)s3_range_resolve(text, 100, &range); /* every outcome is fine */
    (void)s3_range_parse_copy(text, &range);
    (void)s3_time_parse_http(text, &ms);
    (void)s3_time_parse_iso(text, &ms);
    (void)s3_time_parse_basic(text, &ms);
    (void)s3_etag_matches(text, slice_str("e"));
    (void)s3_token_decode(arena, key, slice_str("b"), text, &position);
    struct s3_header header = { slice_str("x-amz-copy-source"), text };
    struct s3_request request = { .arena = arena, .headers = &header, .header_count = 1 };
    struct s3_copy_source source;
    struct s3_object_headers headers;
    if (s3_copy_source_read(&request, &source, NULL) == S3_ERROR_NONE && (source.bucket.len == 0 || source.key.len == 0)) {
        abort();
    }
    header.name = slice_str("x-amz-meta-a");
    if (s3_object_headers_read(&request, &headers, NULL) == S3_ERROR_NONE && headers.meta_count == 1) {
        struct slice out;
        (void)s3_meta_header_value(arena, headers.meta[0].value, &out);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const methods[] = { "GET", "PUT", "POST", "DELETE", "HEAD" };
    struct s3_config config = { .base_domains = NULL };
    struct arena arena;
    for (size_t m = 0; m < 5; m++) {
        struct s3_request request = { .method = slice_str(methods[m]), .target = slice_of(data, size),
                                      .host = slice_str("localhost") };
        struct s3_list_params params;
        arena_init(&arena, 1u << 20);
        if (s3_request_parse(&request, &config, &arena, NULL) == S3_ERROR_NONE) {
            any_outcome(s3_list_params_read(&request, &params, NULL)); /* its errors are fine too */
        }
        for (size_t i = 0; i < request.param_count && m == 0; i++) {
            check_round_trip(&arena, request.params[i].value);
            check_values(&arena, request.params[i].value);
        }
        arena_done(&arena);
    }
    arena_init(&arena, 1u << 20);
    check_values(&arena, slice_of(data, size));
    arena_done(&arena);
    return 0;
}
