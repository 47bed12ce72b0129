/*
 * spread_test - caps are the tightest that the rules allow, and any order of taking places fills them.
 * Method: small random topologies against an enumeration of all choices.
 */
#include "common/cluster/spread.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static uint64_t seed = 88172645463325252u;

static unsigned draw(unsigned below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)(seed % below);
}

static unsigned place_random(struct spread_place *places, unsigned limit)
{
    unsigned count = 1 + draw(limit);
    unsigned nodes = 1 + draw(6);
    unsigned racks = 1 + draw(3);
    unsigned zones = 1 + draw(4);
    for (unsigned i = 0; i < count; i++) {
        unsigned node = draw(nodes);
        unsigned zone = node % zones;
        unsigned rack = zone * 8 + node / zones % racks; /* a node's zone and rack follow from its number */
        places[i] = (struct spread_place){ { (uint16_t)zone, (uint16_t)rack, (uint16_t)node } };
    }
    return count;
}

/* Most shards of one domain by level, of one choice. */
static void most_of(const struct spread_place *places, unsigned count, unsigned choice, unsigned ret_most[SPREAD_LEVELS])
{
    struct spread_taken taken;
    spread_begin(&taken);
    for (unsigned i = 0; i < count; i++) {
        if ((choice >> i & 1) != 0) {
            spread_take(&taken, &places[i]);
        }
    }
    for (unsigned level = 0; level < SPREAD_LEVELS; level++) {
        ret_most[level] = spread_most(&taken, (enum spread_level)level);
    }
}

static bool within(const unsigned most[SPREAD_LEVELS], const unsigned caps[SPREAD_LEVELS])
{
    return most[0] <= caps[0] && most[1] <= caps[1] && most[2] <= caps[2];
}

static bool possible(const struct spread_place *places, unsigned count, unsigned shards, const unsigned caps[SPREAD_LEVELS])
{
    for (unsigned choice = 0; choice < 1u << count; choice++) {
        unsigned most[SPREAD_LEVELS];
        if ((unsigned)__builtin_popcount(choice) == shards) {
            most_of(places, count, choice, most);
            if (within(most, caps)) {
                return true;
            }
        }
    }
    return false;
}

/* The rules of spread.h, by trying everything. */
static void caps_by_force(const struct spread_place *places, unsigned count, unsigned shards, unsigned m,
                          unsigned caps[SPREAD_LEVELS])
{
    for (unsigned level = 0; level < SPREAD_LEVELS; level++) {
        caps[level] = shards;
    }
    for (unsigned rule = 0; rule < 3; rule++) {
        for (unsigned level = 0; level < SPREAD_LEVELS; level++) {
            unsigned before = caps[level];
            unsigned from = rule == 0 ? m : 1;
            unsigned to = rule == 0 ? m : rule == 1 ? 1 : before;
            for (unsigned cap = from; cap <= to && cap < before && caps[level] == before && cap > 0; cap++) {
                caps[level] = cap;
                caps[level] = possible(places, count, shards, caps) ? cap : before;
            }
        }
    }
}

static void caps_are_the_tightest(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 1500; round++) {
        struct spread_place places[9];
        unsigned want[SPREAD_LEVELS];
        unsigned count = place_random(places, 9);
        unsigned shards = 1 + draw(count);
        unsigned m = draw(4);
        struct spread_caps caps = spread_caps_all(places, count, shards, m);
        caps_by_force(places, count, shards, m, want);
        for (unsigned level = 0; level < SPREAD_LEVELS; level++) {
            assert_int_equal(caps.cap[level], want[level]);
        }
    }
}

static void any_order_finds_room(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        struct spread_place places[24];
        struct spread_taken taken;
        unsigned count = place_random(places, 24);
        unsigned shards = 1 + draw(count);
        struct spread_caps caps = spread_caps_of(places, count, UINT64_MAX >> (64 - count), shards, draw(5));
        unsigned found = 0;
        spread_begin(&taken);
        for (unsigned i = count; i > 1; i--) {
            unsigned j = draw(i);
            struct spread_place swap = places[i - 1];
            places[i - 1] = places[j];
            places[j] = swap;
        }
        for (unsigned i = 0; i < count && found < shards; i++) {
            if (spread_fits(&taken, &caps, &places[i])) {
                spread_take(&taken, &places[i]);
                found++;
            }
        }
        assert_int_equal(found, shards);
    }
}

static void the_mask_says_which_places_count(void **state)
{
    (void)state;
    const struct spread_place places[4] = { { { 0, 0, 0 } }, { { 0, 0, 0 } }, { { 0, 0, 1 } }, { { 1, 1, 2 } } };
    assert_int_equal(spread_caps_of(places, 4, 0xf, 3, 1).cap[SPREAD_NODE], 1);
    assert_int_equal(spread_caps_of(places, 4, 0xb, 3, 1).cap[SPREAD_NODE], 2);
    assert_int_equal(spread_caps_of(places, 4, 0xc, 2, 1).cap[SPREAD_ZONE], 1);
    assert_int_equal(spread_caps_of(places, 4, 0x7, 2, 1).cap[SPREAD_ZONE], 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(caps_are_the_tightest),
        cmocka_unit_test(any_order_finds_room),
        cmocka_unit_test(the_mask_says_which_places_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
