/*
 * geometry_test - properties over many lengths and codes, and one worked example (erasure/README.md).
 * Method: walk every extent piece by piece and check that each stored byte has exactly one place.
 */
#include "erasure/geometry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const unsigned codes[][2] = { { 1, 0 }, { 1, 1 }, { 1, 2 }, { 2, 1 }, { 2, 2 }, { 3, 2 },
                                     { 4, 2 }, { 5, 3 }, { 8, 4 }, { 16, 6 } };

static void check(uint64_t bytes, unsigned k, unsigned m)
{
    struct extent_code code = geometry_code(bytes, k, m);
    struct geometry g;
    assert_int_equal(geometry_init(&g, bytes, &code), ERRC_OK);
    assert_int_equal(code.cell_bytes % CELL_BYTES_UNIT, 0);
    assert_true(code.cell_bytes >= CELL_BYTES_UNIT && code.cell_bytes <= CELL_BYTES_MAX);
    assert_int_equal(g.last_cell_bytes % CELL_BYTES_UNIT, 0);
    assert_true(g.stripe_count >= 1 && g.stripe_count <= 4096);

    uint64_t data = 0;
    uint64_t shard = 0;
    for (uint32_t s = 0; s < g.stripe_count; s++) {
        uint64_t cell = geometry_stripe_cell_bytes(&g, s);
        assert_true(geometry_cell_offset(&g, s) == shard);
        assert_true(geometry_stripe_data_bytes(&g, s) <= cell * k);
        /* Padding is less than one unit for each cell. */
        assert_true(cell * k - geometry_stripe_data_bytes(&g, s) < (uint64_t)k * CELL_BYTES_UNIT);
        data += geometry_stripe_data_bytes(&g, s);
        shard += cell;
    }
    assert_true(data == bytes);
    assert_true(shard == g.shard_bytes);
}

static void check_walk(uint64_t bytes, unsigned k, uint64_t first, uint64_t length)
{
    struct extent_code code = geometry_code(bytes, k, 1);
    struct geometry g;
    assert_int_equal(geometry_init(&g, bytes, &code), ERRC_OK);
    uint64_t at = first;
    while (at < first + length) {
        struct geometry_piece p = geometry_piece_at(&g, at, first + length - at);
        assert_true(p.length > 0);
        assert_true(p.stripe < g.stripe_count && p.cell < k);
        uint32_t cell = geometry_stripe_cell_bytes(&g, p.stripe);
        assert_true(p.offset + p.length <= cell);
        /* The formula of the layout, written the other way round. */
        assert_true((uint64_t)p.stripe * k * code.cell_bytes + (uint64_t)p.cell * cell + p.offset == at);
        at += p.length;
    }
    assert_true(at == first + length);
}

static void lengths_around_every_boundary_have_one_place_for_each_byte(void **state)
{
    (void)state;
    for (size_t c = 0; c < sizeof(codes) / sizeof(codes[0]); c++) {
        unsigned k = codes[c][0];
        uint64_t stripe = (uint64_t)k * CELL_BYTES_MAX;
        const uint64_t marks[] = { 1, k, 64, 64u * k, CELL_BYTES_MAX, stripe, 2 * stripe, 3 * stripe + 77,
                                   EXTENT_BYTES_MAX / 2, EXTENT_BYTES_MAX - 1 };
        for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
            for (uint64_t bytes = marks[i] > 2 ? marks[i] - 2 : 1; bytes <= marks[i] + 1; bytes++) {
                check(bytes, k, codes[c][1]);
                check_walk(bytes, k, 0, bytes);
                check_walk(bytes, k, bytes / 3, bytes - bytes / 3);
                check_walk(bytes, k, bytes - 1, 1);
            }
        }
    }
}

static void random_lengths_hold_the_properties(void **state)
{
    (void)state;
    uint64_t seed = 12345;
    for (unsigned i = 0; i < 5000; i++) {
        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        uint64_t bytes = 1 + (seed >> 20) % (i % 2 == 0 ? EXTENT_BYTES_MAX : 300000);
        unsigned k = 1 + (unsigned)(seed >> 60);
        check(bytes, k, 2);
        check_walk(bytes, k, (seed >> 13) % bytes, 1 + (seed >> 7) % (bytes - (seed >> 13) % bytes));
    }
}

static void worked_example_of_the_readme(void **state)
{
    (void)state;
    struct extent_code code = geometry_code(1000000, 4, 2);
    struct geometry g;
    assert_int_equal(geometry_init(&g, 1000000, &code), ERRC_OK);
    assert_int_equal(code.cell_bytes, 131072);
    assert_int_equal(g.stripe_count, 2);
    assert_int_equal(g.last_cell_bytes, 118976);
    assert_int_equal(g.shard_bytes, 250048);
    struct geometry_piece p = geometry_piece_at(&g, 700000, 100000);
    assert_int_equal(p.stripe, 1);
    assert_int_equal(p.cell, 1);
    assert_int_equal(p.offset, 56736);
    assert_int_equal(p.length, 62240);
}

static void bad_records_are_refused(void **state)
{
    (void)state;
    struct geometry g;
    struct extent_code good = geometry_code(5000, 4, 2);
    assert_int_equal(geometry_init(&g, 0, &good), ERRC_INVALID);
    assert_int_equal(geometry_init(&g, EXTENT_BYTES_MAX + 1ull, &good), ERRC_INVALID);
    struct extent_code bad = good;
    bad.k = 0;
    assert_int_equal(geometry_init(&g, 5000, &bad), ERRC_INVALID);
    bad = good;
    bad.cell_bytes = 100;
    assert_int_equal(geometry_init(&g, 5000, &bad), ERRC_INVALID);
    bad = good;
    bad.m = CODE_M_MAX + 1;
    assert_int_equal(geometry_init(&g, 5000, &bad), ERRC_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lengths_around_every_boundary_have_one_place_for_each_byte),
        cmocka_unit_test(random_lengths_hold_the_properties),
        cmocka_unit_test(worked_example_of_the_readme),
        cmocka_unit_test(bad_records_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
