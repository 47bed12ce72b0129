/* Goal: the pure bits of the handlers: code mappings, markers of listings, the access line, latency buckets. */
#include "gateway/handlers/handlers.h"
#include "gateway/handlers/listing_rows.h"
#include "gateway/handlers/request_end.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void inner_codes_are_never_client_errors(void **state)
{
    (void)state;
    for (int code = ERRC_OK + 1; code < ERRC_COUNT; code++) {
        assert_true(s3_error_status(inner_errc_to_s3((enum errc)code)) >= 500);
    }
    assert_int_equal(s3_error_status(inner_errc_to_s3(ERRC_UNAVAILABLE)), 503);
    assert_int_equal(s3_error_status(inner_errc_to_s3(ERRC_NO_SPACE)), 507);
    assert_string_equal(s3_error_code(inner_errc_to_s3(ERRC_LIMIT)), "SlowDown");
}

static void every_outcome_has_a_code(void **state)
{
    (void)state;
    assert_int_equal(outcome_to_s3(META_OK), S3_ERROR_NONE);
    for (int outcome = META_OK + 1; outcome <= META_INVALID; outcome++) {
        assert_int_not_equal(outcome_to_s3((enum meta_outcome)outcome), S3_ERROR_NONE);
    }
    assert_int_equal(outcome_to_s3(META_NO_UPLOAD), S3_ERROR_NO_SUCH_UPLOAD);
    assert_int_equal(s3_error_status(outcome_to_s3(META_STALE)), 503);
}

static void markers_inside_a_group_leave_it_out(void **state)
{
    (void)state;
    const struct {
        const char *marker, *prefix, *delimiter, *from;
        bool inclusive;
    } cases[] = {
        { "", "", "/", "", false },
        { "a", "", "/", "a", false },
        { "a/", "", "/", "a0", true },
        { "a/b", "", "/", "a0", true },
        { "a/b", "", "", "a/b", false },
        { "a/b", "a/", "/", "a/b", false },
        { "a/b/c", "a/", "/", "a/b0", true },
    };
    struct arena arena;
    arena_init(&arena, 1 << 16);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct listing_start start = listing_start_after(&arena, slice_str(cases[i].marker), slice_str(cases[i].prefix),
                                                         slice_str(cases[i].delimiter));
        assert_true(slice_equal_str(start.marker, cases[i].from));
        assert_int_equal(start.inclusive, cases[i].inclusive);
        assert_false(start.nothing);
    }
    assert_true(listing_start_past(&arena, slice_of("\xff\xff", 2)).nothing);
    arena_done(&arena);
}

static void latency_buckets_double_and_end_in_infinity(void **state)
{
    (void)state;
    for (size_t i = 1; i + 1 < GATEWAY_LATENCY_BUCKETS; i++) {
        assert_true(gateway_latency_bound_us(i) == 2 * gateway_latency_bound_us(i - 1));
    }
    assert_true(gateway_latency_bound_us(GATEWAY_LATENCY_BUCKETS - 1) == UINT64_MAX);
}

static void checksums_of_records_round_trip(void **state)
{
    (void)state;
    struct checksum_value value = { .kind = CHECKSUM_CRC32, .type = CHECKSUM_COMPOSITE, .part_count = 3,
                                    .bytes = { 1, 2, 3, 4 } };
    struct checksum_value back;
    struct meta_checksum stored = checksum_to_meta(&value);
    checksum_from_meta(&stored, &back);
    assert_true(checksum_equal(&value, &back));
    assert_int_equal(back.type, CHECKSUM_COMPOSITE);
    assert_int_equal(back.part_count, 3);
    stored.algorithm = CHECKSUM_KIND_COUNT; /* of a newer program: left out, not misread */
    checksum_from_meta(&stored, &back);
    assert_int_equal(back.kind, CHECKSUM_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inner_codes_are_never_client_errors),
        cmocka_unit_test(every_outcome_has_a_code),
        cmocka_unit_test(markers_inside_a_group_leave_it_out),
        cmocka_unit_test(latency_buckets_double_and_end_in_infinity),
        cmocka_unit_test(checksums_of_records_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
