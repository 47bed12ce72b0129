/*
 * erasure_codec_test - every loss pattern of every default code gives the lost bytes back; random ones up to 16+6.
 * Method: encode random cells, wipe the lost ones, decode, compare with the originals byte by byte.
 */
#include "erasure/erasure_codec.h"

#include "common/base/mem.h"
#include "erasure/geometry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define CELL 192 /* three units: not a multiple of a vector register's 128 bytes */

static uint64_t seed = 1;

static uint64_t next_random(void)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return seed >> 16;
}

struct stripe {
    uint8_t original[CODE_SHARDS_MAX][CELL];
    uint8_t cells[CODE_SHARDS_MAX][CELL];
    uint8_t *pointers[CODE_SHARDS_MAX];
    const uint8_t *views[CODE_SHARDS_MAX];
    struct extent_code code;
    unsigned total;
};

static void stripe_fill(struct stripe *s, unsigned k, unsigned m)
{
    s->code = geometry_code((uint64_t)k * CELL, k, m);
    s->total = k + m;
    for (unsigned i = 0; i < s->total; i++) {
        s->pointers[i] = s->cells[i];
        s->views[i] = s->cells[i];
        for (unsigned b = 0; i < k && b < CELL; b++) {
            s->cells[i][b] = (uint8_t)next_random();
        }
    }
    codec_encode(&s->code, CELL, s->views, s->pointers + k);
    memcpy(s->original, s->cells, sizeof(s->original));
}

static void lose_and_decode(struct stripe *s, uint32_t lost)
{
    uint32_t all = (uint32_t)((1u << s->total) - 1);
    for (unsigned i = 0; i < s->total; i++) {
        if ((lost >> i & 1) != 0) {
            memset(s->cells[i], 0xEE, CELL);
        }
    }
    assert_int_equal(codec_decode(&s->code, CELL, s->pointers, all & ~lost, lost), ERRC_OK);
    assert_memory_equal(s->cells, s->original, s->total * CELL);
}

static void every_loss_pattern_of_every_default_code(void **state)
{
    (void)state;
    static const unsigned codes[][2] = { { 1, 1 }, { 2, 1 }, { 2, 2 }, { 3, 2 }, { 4, 2 }, { 8, 4 }, { 1, 2 }, { 1, 4 } };
    for (size_t c = 0; c < sizeof(codes) / sizeof(codes[0]); c++) {
        struct stripe s;
        stripe_fill(&s, codes[c][0], codes[c][1]);
        unsigned patterns = 0;
        for (uint32_t lost = 0; lost < 1u << s.total; lost++) {
            if ((unsigned)__builtin_popcount(lost) <= codes[c][1]) {
                lose_and_decode(&s, lost);
                patterns++;
            }
        }
        assert_true(patterns > s.total);
    }
}

static void random_loss_patterns_up_to_16_and_6(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 3000; round++) {
        unsigned k = 1 + (unsigned)(next_random() % CODE_K_MAX);
        unsigned m = 1 + (unsigned)(next_random() % CODE_M_MAX);
        struct stripe s;
        stripe_fill(&s, k, m);
        uint32_t keep = codec_subset(&s.code, next_random());
        lose_and_decode(&s, ((1u << s.total) - 1) & ~keep);
    }
}

static void the_worst_code_survives_every_loss_of_six(void **state)
{
    (void)state;
    /* 10+6 is where a Vandermonde matrix has singular squares: all 8,008 patterns. */
    struct stripe s;
    stripe_fill(&s, 10, 6);
    for (uint32_t lost = 0; lost < 1u << 16; lost++) {
        if (__builtin_popcount(lost) == 6) {
            lose_and_decode(&s, lost);
        }
    }
}

static void too_few_cells_are_unavailable(void **state)
{
    (void)state;
    struct stripe s;
    stripe_fill(&s, 4, 2);
    assert_int_equal(codec_decode(&s.code, CELL, s.pointers, 0x07, 0x38), ERRC_UNAVAILABLE);
    stripe_fill(&s, 1, 2);
    assert_int_equal(codec_decode(&s.code, CELL, s.pointers, 0, 7), ERRC_UNAVAILABLE);
}

static void parity_is_what_it_was_in_the_first_release(void **state)
{
    (void)state;
    /* A changed generator would make stored data undecodable. Data cell i is filled with i + 1. */
    uint8_t cells[6][CELL];
    const uint8_t *views[4];
    uint8_t *parity[2] = { cells[4], cells[5] };
    for (unsigned i = 0; i < 4; i++) {
        memset(cells[i], (int)i + 1, CELL);
        views[i] = cells[i];
    }
    struct extent_code code = geometry_code(4 * CELL, 4, 2);
    codec_encode(&code, CELL, views, parity);
    assert_int_equal(cells[4][0], 0x48);
    assert_int_equal(cells[5][CELL - 1], 0x0f);
}

static void verify_finds_one_wrong_bit_anywhere(void **state)
{
    (void)state;
    struct stripe s;
    stripe_fill(&s, 4, 2);
    for (uint64_t round = 0; round < 64; round++) {
        assert_int_equal(codec_verify(&s.code, CELL, s.views, codec_subset(&s.code, round)), ERRC_OK);
    }
    for (unsigned cell = 0; cell < s.total; cell++) {
        uint8_t *byte = &s.cells[cell][next_random() % CELL];
        *byte ^= 0x10;
        for (uint64_t round = 0; round < 16; round++) {
            assert_int_equal(codec_verify(&s.code, CELL, s.views, codec_subset(&s.code, round)), ERRC_CORRUPT);
        }
        *byte ^= 0x10;
    }
}

static void subsets_have_k_cells_and_all_appear(void **state)
{
    (void)state;
    struct extent_code code = geometry_code(1000, 4, 2);
    bool seen[64] = { false };
    unsigned different = 0;
    for (uint64_t i = 0; i < 2000; i++) {
        uint32_t subset = codec_subset(&code, i);
        assert_int_equal(__builtin_popcount(subset), 4);
        assert_true(subset < 64);
        different += !seen[subset];
        seen[subset] = true;
    }
    assert_int_equal(different, 15);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_loss_pattern_of_every_default_code),
        cmocka_unit_test(random_loss_patterns_up_to_16_and_6),
        cmocka_unit_test(the_worst_code_survives_every_loss_of_six),
        cmocka_unit_test(too_few_cells_are_unavailable),
        cmocka_unit_test(parity_is_what_it_was_in_the_first_release),
        cmocka_unit_test(verify_finds_one_wrong_bit_anywhere),
        cmocka_unit_test(subsets_have_k_cells_and_all_appear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
