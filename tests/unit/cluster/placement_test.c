/*
 * placement_test - groups use disks evenly, codes shrink as promised, shards spread.
 * Method: tables for the promised codes, exhaustive loops for the properties.
 */
#include "common/cluster/placement.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct extent_id id_of(uint64_t counter)
{
    struct extent_id id;
    store_be64(id.bytes, 7);
    store_be64(id.bytes + 8, counter);
    return id;
}

static void groups_use_every_disk_equally_often(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= 40; n++) {
        for (unsigned width = 1; width <= 22; width++) {
            unsigned uses[64] = { 0 };
            unsigned count = placement_group_count(n, width);
            assert_true(count >= 1 && count <= n);
            assert_true(n != width || count == 1);
            for (unsigned g = 0; g < count; g++) {
                struct placement_group group = placement_group_at(n, width, g);
                assert_int_equal(group.disk_count, width < n ? width : n);
                uint64_t seen = 0;
                for (unsigned i = 0; i < group.disk_count; i++) {
                    assert_true(group.disks[i] < n);
                    assert_false(seen >> group.disks[i] & 1);
                    seen |= UINT64_C(1) << group.disks[i];
                    uses[group.disks[i]]++;
                }
            }
            for (unsigned i = 1; i < n; i++) {
                assert_int_equal(uses[i], uses[0]);
            }
        }
    }
}

static void codes_shrink_as_promised(void **state)
{
    (void)state;
    static const struct { unsigned k, m, usable, want_k, want_m; } table[] = {
        { 4, 2, 6, 4, 2 }, { 4, 2, 7, 4, 2 }, { 4, 2, 5, 3, 2 }, { 4, 2, 4, 2, 2 }, { 4, 2, 3, 2, 1 }, { 4, 2, 2, 1, 1 },
        { 8, 4, 11, 7, 4 }, { 8, 4, 8, 4, 4 }, { 8, 4, 5, 3, 2 }, { 1, 1, 2, 1, 1 }, { 2, 1, 2, 1, 1 }, { 1, 2, 2, 1, 1 },
        { 1, 4, 4, 1, 3 }, { 1, 0, 1, 1, 0 }, { 1, 0, 5, 1, 0 },
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        uint8_t k = 0;
        uint8_t m = 0;
        assert_int_equal(placement_code(table[i].k, table[i].m, table[i].usable, &k, &m), ERRC_OK);
        assert_int_equal(k, table[i].want_k);
        assert_int_equal(m, table[i].want_m);
    }
    uint8_t k = 0;
    uint8_t m = 0;
    assert_int_equal(placement_code(4, 2, 1, &k, &m), ERRC_UNAVAILABLE);
    assert_int_equal(placement_code(4, 2, 0, &k, &m), ERRC_UNAVAILABLE);
    assert_int_equal(placement_code(1, 0, 0, &k, &m), ERRC_UNAVAILABLE);
}

static void every_code_fits_and_keeps_parity(void **state)
{
    (void)state;
    for (unsigned k = 1; k <= CODE_K_MAX; k++) {
        for (unsigned m = 1; m <= CODE_M_MAX; m++) {
            for (unsigned usable = 2; usable <= 24; usable++) {
                uint8_t real_k = 0;
                uint8_t real_m = 0;
                assert_int_equal(placement_code(k, m, usable, &real_k, &real_m), ERRC_OK);
                assert_true(real_k >= 1 && real_m >= 1);
                assert_true(real_k <= k && real_m <= m);
                unsigned fits = usable < k + m ? usable : k + m;
                assert_int_equal(real_k + real_m, fits); /* as wide as can be */
            }
        }
    }
}

static void positions_are_usable_different_and_spread(void **state)
{
    (void)state;
    unsigned first[6] = { 0 };
    for (uint64_t i = 0; i < 6000; i++) {
        uint8_t positions[CODE_SHARDS_MAX];
        placement_positions(id_of(i), 6, 0x3f, 6, positions);
        uint64_t seen = 0;
        for (unsigned s = 0; s < 6; s++) {
            seen |= UINT64_C(1) << positions[s];
        }
        assert_true(seen == 0x3f);
        first[positions[0]]++;
        placement_positions(id_of(i), 6, 0x2d, 4, positions);
        for (unsigned s = 0; s < 4; s++) {
            assert_true(0x2d >> positions[s] & 1);
        }
    }
    for (unsigned i = 0; i < 6; i++) {
        assert_in_range(first[i], 850, 1150);
    }
}

static void the_strongest_group_is_chosen(void **state)
{
    (void)state;
    struct placement_candidate groups[3] = {
        { .disk_count = 6, .usable = 0x1f, .writable = true },
        { .disk_count = 6, .usable = 0x3f, .writable = true, .free_bytes_min = 10 },
        { .disk_count = 6, .usable = 0x3f, .writable = false },
    };
    for (uint64_t i = 0; i < 100; i++) {
        unsigned group = 9;
        assert_int_equal(placement_choose(id_of(i), 4, 2, groups, 3, &group), ERRC_OK);
        assert_int_equal(group, 1);
    }
    groups[2].writable = true;
    groups[2].free_bytes_min = 1000;
    unsigned picked[3] = { 0 };
    for (uint64_t i = 0; i < 400; i++) {
        unsigned group = 9;
        assert_int_equal(placement_choose(id_of(i), 4, 2, groups, 3, &group), ERRC_OK);
        picked[group]++;
    }
    assert_int_equal(picked[0], 0);
    assert_true(picked[2] > picked[1] && picked[1] > 0); /* the roomier more often, not always */
    groups[0].usable = groups[1].usable = groups[2].usable = 1;
    unsigned group = 9;
    assert_int_equal(placement_choose(id_of(1), 4, 2, groups, 3, &group), ERRC_UNAVAILABLE);
}

/* ---- groups of a class ---- */

static uint64_t seed = 99991;

static unsigned draw(unsigned below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)(seed % below);
}

/* Six nodes with two disks each in three zones: primaries are the first disks, spares the second ones. */
static const struct spread_place six_nodes[12] = {
    { { 0, 0, 0 } }, { { 1, 1, 1 } }, { { 2, 2, 2 } }, { { 0, 0, 3 } }, { { 1, 1, 4 } }, { { 2, 2, 5 } },
    { { 0, 0, 0 } }, { { 1, 1, 1 } }, { { 2, 2, 2 } }, { { 0, 0, 3 } }, { { 1, 1, 4 } }, { { 2, 2, 5 } },
};
static const struct placement_view six = { 12, 2, 0x3f, six_nodes };

static unsigned most_in(const struct placement_view *group, const uint8_t *positions, unsigned shards, unsigned level)
{
    struct spread_taken taken;
    spread_begin(&taken);
    for (unsigned i = 0; i < shards; i++) {
        spread_take(&taken, &group->places[positions[i]]);
    }
    return spread_most(&taken, (enum spread_level)level);
}

static void all_primaries_while_all_is_well(void **state)
{
    (void)state;
    unsigned first[6] = { 0 };
    for (uint64_t i = 0; i < 600; i++) {
        uint8_t positions[CODE_SHARDS_MAX];
        uint64_t seen = 0;
        placement_spread(id_of(i), &six, 0xfff, 6, positions);
        for (unsigned s = 0; s < 6; s++) {
            seen |= UINT64_C(1) << positions[s];
        }
        assert_int_equal(seen, 0x3f);
        first[positions[0]]++;
        placement_spread(id_of(i), &six, 0xfff, 3, positions); /* copies of a small object: one for each zone */
        assert_int_equal(most_in(&six, positions, 3, SPREAD_ZONE), 1);
        assert_int_equal(placement_crowded(&six, positions, 3), 0);
    }
    for (unsigned i = 0; i < 6; i++) {
        assert_true(first[i] > 20);
    }
}

static void two_nodes_down_take_spares_of_the_others(void **state)
{
    (void)state;
    for (unsigned a = 0; a < 6; a++) {
        for (unsigned b = 0; b < a; b++) {
            uint64_t usable = 0xfff & ~((UINT64_C(0x41) << a) | (UINT64_C(0x41) << b));
            for (uint64_t i = 0; i < 50; i++) {
                uint8_t positions[CODE_SHARDS_MAX];
                placement_spread(id_of(i), &six, usable, 6, positions);
                for (unsigned s = 0; s < 6; s++) {
                    assert_true(usable >> positions[s] & 1);
                }
                assert_true(most_in(&six, positions, 6, SPREAD_NODE) <= 2);
                assert_true(a % 3 == b % 3 || most_in(&six, positions, 6, SPREAD_ZONE) <= 2);
                assert_int_equal(placement_crowded(&six, positions, 6), a % 3 == b % 3 ? 1u << SPREAD_ZONE | 1u << SPREAD_RACK : 0);
            }
        }
    }
}

/* Whatever is usable: distinct usable positions, within the caps; a mended extent too, where what it holds lets it. */
static void any_usable_set_is_spread(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        struct spread_place places[24];
        unsigned count = 6 + draw(19);
        unsigned nodes = 2 + draw(9);
        unsigned zones = 1 + draw(4);
        for (unsigned i = 0; i < count; i++) {
            unsigned node = draw(nodes);
            places[i] = (struct spread_place){ { (uint16_t)(node % zones), (uint16_t)(node % zones), (uint16_t)node } };
        }
        uint64_t usable = ((uint64_t)draw(1u << 24) | 0x3f) & ((UINT64_C(1) << count) - 1);
        const struct placement_view group = { (uint8_t)count, 2, 0x3f, places };
        uint8_t positions[CODE_SHARDS_MAX];
        unsigned shards = 1 + draw((unsigned)__builtin_popcountll(usable) < 6 ? (unsigned)__builtin_popcountll(usable) : 6);
        placement_spread(id_of(round), &group, usable, shards, positions);
        uint64_t seen = 0;
        for (unsigned s = 0; s < shards; s++) {
            assert_true(usable >> positions[s] & 1);
            assert_false(seen >> positions[s] & 1);
            seen |= UINT64_C(1) << positions[s];
        }
        if (shards < 6 || (usable & 0x3f) != 0x3f) {
            struct spread_caps caps = spread_caps_of(places, count, usable, shards, 2);
            for (unsigned level = 0; level < SPREAD_LEVELS; level++) {
                assert_true(most_in(&group, positions, shards, level) <= caps.cap[level]);
            }
        }
        unsigned lost = draw(shards + 1); /* the first ones are lost, with their disks */
        uint64_t held = 0;
        for (unsigned s = lost; s < shards; s++) {
            held |= UINT64_C(1) << positions[s];
        }
        uint8_t mended[CODE_SHARDS_MAX];
        uint64_t rest = usable & ~(seen & ~held);
        unsigned found = placement_mend(id_of(round), &group, rest, held, lost, mended);
        unsigned room = (unsigned)__builtin_popcountll(rest & ~held);
        assert_int_equal(found, lost < room ? lost : room);
        for (unsigned i = 0; i < found; i++) {
            assert_true((rest & ~held) >> mended[i] & 1);
            held |= UINT64_C(1) << mended[i];
        }
    }
}

static void a_lost_shard_goes_where_its_node_has_none(void **state)
{
    (void)state;
    uint8_t found[CODE_SHARDS_MAX];
    /* Node 0 is gone for good: positions 0 and 6. Its shard goes to a spare of its own zone's other node, for a zone
     * bears two. */
    assert_int_equal(placement_mend(id_of(3), &six, 0xfff & ~0x41u, 0x3e, 1, found), 1);
    assert_int_equal(found[0], 9);
    /* What is held may be crowded already: the emptiest place is taken all the same. */
    assert_int_equal(placement_mend(id_of(3), &six, 0xfff, 0x41 | 0x208, 1, found), 1);
    assert_true(found[0] == 1 || found[0] == 2 || found[0] == 4 || found[0] == 5);
    assert_int_equal(placement_mend(id_of(3), &six, 0, 0x3f, 1, found), 0);
}

/* `cairn server` has made its groups and placed its extents by these for ever: pinned. */
static void what_cairn_server_does_stays(void **state)
{
    (void)state;
    static const uint8_t want[4][6] = { { 7, 0, 1, 2, 3, 5 }, { 5, 6, 7, 0, 1, 2 }, { 2, 3, 5, 6, 7, 0 }, { 3, 5, 6, 7, 0, 1 } };
    for (uint64_t i = 0; i < 4; i++) {
        uint8_t positions[CODE_SHARDS_MAX];
        placement_positions(id_of(i), 8, 0xef, 6, positions);
        assert_memory_equal(positions, want[i], 6);
    }
    const struct placement_group group = placement_group_at(8, 6, 2);
    static const uint16_t disks[6] = { 4, 5, 6, 7, 0, 1 };
    assert_int_equal(placement_group_count(8, 6), 4);
    assert_memory_equal(group.disks, disks, sizeof(disks));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_primaries_while_all_is_well),
        cmocka_unit_test(two_nodes_down_take_spares_of_the_others),
        cmocka_unit_test(any_usable_set_is_spread),
        cmocka_unit_test(a_lost_shard_goes_where_its_node_has_none),
        cmocka_unit_test(what_cairn_server_does_stays),
        cmocka_unit_test(groups_use_every_disk_equally_often),
        cmocka_unit_test(codes_shrink_as_promised),
        cmocka_unit_test(every_code_fits_and_keeps_parity),
        cmocka_unit_test(positions_are_usable_different_and_spread),
        cmocka_unit_test(the_strongest_group_is_chosen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
