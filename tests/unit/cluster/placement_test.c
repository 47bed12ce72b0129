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

/* Nodes and disks in every shape: neighbours come from as many nodes as there are, and zones take turns. */
static void neighbours_stand_far_apart(void **state)
{
    (void)state;
    for (unsigned nodes = 1; nodes <= 9; nodes++) {
        for (unsigned disks = 1; disks <= 4; disks++) {
            for (unsigned zones = 1; zones <= nodes && zones <= 3; zones++) {
                struct placement_disk all[36];
                uint16_t order[36];
                bool seen[36] = { false };
                unsigned count = nodes * disks;
                for (unsigned i = 0; i < count; i++) { /* all disks of a node together, as they come from a map */
                    static const char *const names[] = { "a", "b", "c" };
                    all[i] = (struct placement_disk){ .node = { { (uint8_t)(i / disks + 1) } },
                                                      .zone = slice_str(names[i / disks % zones]) };
                }
                placement_order(all, count, order);
                for (unsigned i = 0; i < count; i++) {
                    assert_false(seen[order[i]]);
                    seen[order[i]] = true;
                }
                /* Every round of `nodes` disks takes one of each node. */
                for (unsigned i = 0; i < count && nodes % zones == 0; i++) {
                    for (unsigned j = i / nodes * nodes; j < i; j++) {
                        assert_false(node_id_equal(all[order[i]].node, all[order[j]].node));
                    }
                    assert_true(i == 0 || zones == 1 || !slice_equal(all[order[i]].zone, all[order[i - 1]].zone));
                }
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups_use_every_disk_equally_often),
        cmocka_unit_test(codes_shrink_as_promised),
        cmocka_unit_test(every_code_fits_and_keeps_parity),
        cmocka_unit_test(positions_are_usable_different_and_spread),
        cmocka_unit_test(the_strongest_group_is_chosen),
        cmocka_unit_test(neighbours_stand_far_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
