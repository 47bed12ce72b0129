/*
 * layout_test - groups keep the failure domain rules, follow the sizes of disks, and change little when disks come and go.
 * Method: random topologies (2..30 nodes, 1..12 disks each, 1..5 zones, unequal sizes) with a fixed seed, every default
 * code; each plan is checked by counting, and changed by one disk or node.
 */
#include "common/base/mem.h"
#include "common/cluster/layout.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include <string.h>

#define ROUNDS 60
#define NAMES 16

static const struct layout_class codes[] = { { 1, 1 }, { 2, 1 }, { 1, 2 }, { 4, 2 }, { 6, 3 }, { 8, 4 } };
#define CODES (sizeof(codes) / sizeof(codes[0]))

static uint64_t seed;
static unsigned draw(unsigned below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)(seed % below);
}

struct world {
    struct layout_disk disks[LAYOUT_DISKS_MAX];
    struct spread_place places[LAYOUT_DISKS_MAX];
    unsigned disk_count, node_count, zone_count;
    uint64_t next_id;
    struct layout_group groups[LAYOUT_GROUPS_MAX];
    unsigned group_count;
    struct layout_report report;
    char zones[NAMES][4];
};

static struct world *world_new(void)
{
    struct world *w = mem_zalloc(sizeof(*w));
    for (unsigned i = 0; i < NAMES; i++) {
        (void)snprintf(w->zones[i], sizeof(w->zones[i]), "z%u", i);
    }
    return w;
}

static void disk_add(struct world *w, unsigned node, uint64_t bytes)
{
    struct layout_disk *disk = &w->disks[w->disk_count++];
    *disk = (struct layout_disk){ .bytes = bytes, .standing = LAYOUT_TAKES };
    disk->zone = slice_str(w->zones[node % w->zone_count]);
    disk->rack = slice_str(w->zones[node / w->zone_count % 2]);
    store_le64(disk->id.bytes, ++w->next_id);
    store_le64(disk->node.bytes, node + 1);
}

static void node_add(struct world *w, unsigned disks, bool unequal)
{
    for (unsigned i = 0; i < disks; i++) {
        disk_add(w, w->node_count, unequal ? (1 + draw(4)) * UINT64_C(4000000000000) : UINT64_C(4000000000000));
    }
    w->node_count++;
}

static struct world *world_random(void)
{
    struct world *w = world_new();
    unsigned nodes = 2 + draw(29);
    bool equal = draw(3) == 0;
    unsigned disks = 1 + draw(12);
    w->zone_count = 1 + draw(5);
    for (unsigned i = 0; i < nodes; i++) {
        node_add(w, equal ? disks : 1 + draw(12), !equal && draw(2) == 0);
    }
    return w;
}

static void plan(struct world *w, struct layout_class class)
{
    struct error e = ERROR_INIT;
    assert_int_equal(layout_plan(w->disks, w->disk_count, &class, 1, w->groups, &w->group_count, LAYOUT_GROUPS_MAX,
                                 &w->report, &e), ERRC_OK);
    assert_true(layout_places(w->disks, w->disk_count, w->places));
}

/* What a coordinator does with a plan: numbers the new groups, and data stands where primaries are. */
static void carry_out(struct world *w)
{
    for (unsigned i = 0; i < w->group_count; i++) {
        struct layout_group *group = &w->groups[i];
        group->id = i + 1;
        group->epoch += group->changed ? 1 : 0;
        group->changed = false;
        group->occupied = group->primary; /* the moves are done */
        group->place_bytes = 1000000;
    }
}

static void group_check(const struct world *w, const struct layout_group *group, struct layout_class class)
{
    unsigned width = (unsigned)class.k + class.m;
    assert_int_equal(__builtin_popcountll(group->primary), width);
    for (unsigned i = 0; i < group->count; i++) {
        assert_true(group->disks[i] < w->disk_count);
        for (unsigned j = 0; j < i; j++) {
            assert_int_not_equal(group->disks[i], group->disks[j]);
        }
        assert_true((group->primary >> i & 1) == 0 || w->disks[group->disks[i]].standing != LAYOUT_LEAVES);
    }
    assert_true(group->count == 64 || (group->primary >> group->count) == 0);
    struct layout_score score = layout_score(w->disks, w->places, w->disk_count, group);
    assert_int_equal(score.falls_short, 0);
    struct spread_caps caps = spread_caps_all(w->places, w->disk_count, width, class.m);
    for (unsigned level = 0; level < SPREAD_LEVELS; level++) {
        assert_true(score.most[level] <= caps.cap[level]);
    }
}

/* Every primary of every disk within one of its share is the planner's aim: `stuck` counts what is not. */
static unsigned world_check(const struct world *w, struct layout_class class)
{
    for (unsigned i = 0; i < w->group_count; i++) {
        group_check(w, &w->groups[i], class);
    }
    return w->report.over + w->report.under;
}

static void groups_keep_the_rules_and_follow_sizes(void **state)
{
    (void)state;
    seed = 20260101;
    unsigned stuck = 0;
    unsigned primaries = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct world *w = world_random();
        for (unsigned c = 0; c < CODES; c++) {
            w->group_count = 0;
            plan(w, codes[c]);
            if ((unsigned)codes[c].k + codes[c].m > w->disk_count) {
                assert_int_equal(w->report.classes_without, 1);
                assert_int_equal(w->group_count, 0);
                continue;
            }
            assert_true(w->group_count > 0 && w->group_count <= LAYOUT_CLASS_GROUPS_MAX);
            assert_int_equal(w->report.moved, 0);
            stuck += world_check(w, codes[c]);
            primaries += w->report.primaries;
            carry_out(w);
            plan(w, codes[c]); /* nothing has changed: nothing is planned */
            assert_int_equal(w->report.moved + w->report.groups_new + w->report.groups_changed, 0);
        }
        mem_free(w);
    }
    print_message("shares: %u of %u primaries off\n", stuck, primaries);
    assert_true(stuck * 100 <= primaries); /* one in a hundred */
}

struct moves { unsigned moved, least, plans; double worst; };

static void moves_add(struct moves *moves, const struct layout_report *report)
{
    moves->moved += report->moved;
    moves->least += report->moved_min;
    moves->plans++;
    if (report->moved_min >= 4 && (double)report->moved / report->moved_min > moves->worst) {
        moves->worst = (double)report->moved / report->moved_min;
    }
    assert_int_equal(report->bytes_moved, report->moved * UINT64_C(1000000));
}

static void moves_check(const char *what, const struct moves *moves)
{
    print_message("%s: %u primaries moved, at least %u, worst plan %.2f times\n", what, moves->moved, moves->least,
                  moves->worst);
    assert_true(moves->least > 0);
    assert_true(moves->moved * 10 <= moves->least * 13);
}

static void changes_move_little(void **state)
{
    (void)state;
    struct moves disk_in = { 0 };
    struct moves disk_out = { 0 };
    struct moves node_in = { 0 };
    struct moves node_out = { 0 };
    seed = 77;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct world *w = world_random();
        struct layout_class class = codes[round % CODES];
        if (w->disk_count > (unsigned)class.k + class.m + 14 && w->disk_count + 16 < LAYOUT_DISKS_MAX) {
            plan(w, class);
            carry_out(w);
            disk_add(w, draw(w->node_count), UINT64_C(8000000000000));
            plan(w, class);
            (void)world_check(w, class);
            moves_add(&disk_in, &w->report);
            carry_out(w);
            w->disks[draw(w->disk_count)].standing = LAYOUT_LEAVES;
            plan(w, class);
            moves_add(&disk_out, &w->report);
            carry_out(w);
            node_add(w, 4, false);
            plan(w, class);
            moves_add(&node_in, &w->report);
            carry_out(w);
            for (unsigned i = 0; i < w->disk_count; i++) {
                w->disks[i].standing = load_le64(w->disks[i].node.bytes) == 1 ? LAYOUT_LEAVES : w->disks[i].standing;
            }
            plan(w, class);
            moves_add(&node_out, &w->report);
        }
        mem_free(w);
    }
    moves_check("a disk joins", &disk_in);
    moves_check("a disk leaves", &disk_out);
    moves_check("a node joins", &node_in);
    moves_check("a node leaves", &node_out);
}

/* Six nodes with two disks, 4+2: groups reach over all of them, so that four nodes still take whole extents. */
static void six_nodes_less_two(void **state)
{
    (void)state;
    struct world *w = world_new();
    w->zone_count = 3;
    for (unsigned i = 0; i < 6; i++) {
        node_add(w, 2, false);
    }
    plan(w, (struct layout_class){ 4, 2 });
    assert_int_equal(world_check(w, (struct layout_class){ 4, 2 }), 0);
    for (unsigned g = 0; g < w->group_count; g++) {
        const struct layout_group *group = &w->groups[g];
        struct layout_score score = layout_score(w->disks, w->places, w->disk_count, group);
        assert_int_equal(group->count, 12);
        assert_int_equal(score.most[SPREAD_NODE], 1);
        assert_int_equal(score.most[SPREAD_ZONE], 2);
        assert_int_equal(score.exposed, 0);
    }
    carry_out(w);
    node_add(w, 2, false); /* a seventh node takes its share and no more is moved */
    plan(w, (struct layout_class){ 4, 2 });
    print_message("a seventh node: %u of %u primaries moved, at least %u\n", w->report.moved, w->report.primaries,
                  w->report.moved_min);
    assert_int_equal(w->report.moved, w->report.moved_min);
    mem_free(w);
}

/* Four nodes had to hold two shards each of some; with six it is one each: groups of before are brought to the rules. */
static void groups_follow_when_domains_come(void **state)
{
    (void)state;
    struct world *w = world_new();
    const struct layout_class class = { 4, 2 };
    w->zone_count = 1;
    for (unsigned i = 0; i < 4; i++) {
        node_add(w, 3, false);
    }
    plan(w, class);
    (void)world_check(w, class);
    assert_int_equal(layout_score(w->disks, w->places, w->disk_count, &w->groups[0]).most[SPREAD_NODE], 2);
    carry_out(w);
    unsigned before = w->group_count;
    node_add(w, 3, false);
    node_add(w, 3, false);
    assert_true(layout_places(w->disks, w->disk_count, w->places));
    assert_int_equal(layout_score(w->disks, w->places, w->disk_count, &w->groups[0]).falls_short, 1u << SPREAD_NODE);
    plan(w, class);
    assert_int_equal(world_check(w, class), 0);
    assert_true(w->report.moved >= 2 * before && w->report.moved_min >= 2 * before); /* two of each group had to */
    assert_true(w->report.moved <= w->report.moved_min * 13 / 10);
    mem_free(w);
}

static void several_classes_at_once(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct error e = ERROR_INIT;
    w->zone_count = 3;
    for (unsigned i = 0; i < 6; i++) {
        node_add(w, 2, false);
    }
    w->groups[0] = (struct layout_group){ .id = 9, .count = 6, .disks = { 0, 1, 2, 3, 4, 5 }, .taken = true };
    w->group_count = 1; /* without a class: nobody's business here */
    const struct layout_class all[] = { { 4, 2 }, { 2, 1 }, { 8, 4 }, { 16, 4 } };
    assert_int_equal(layout_plan(w->disks, w->disk_count, all, 4, w->groups, &w->group_count, LAYOUT_GROUPS_MAX, &w->report,
                                 &e), ERRC_OK);
    unsigned of[4] = { 0 };
    for (unsigned g = 1; g < w->group_count; g++) {
        for (unsigned c = 0; c < 4; c++) {
            of[c] += w->groups[g].class_k == all[c].k && w->groups[g].class_m == all[c].m ? 1 : 0;
        }
    }
    assert_true(of[0] > 0 && of[1] > 0 && of[2] > 0);
    assert_int_equal(of[3], 0);
    assert_int_equal(w->report.classes_without, 1);
    assert_int_equal(w->groups[0].count, 6);
    assert_false(w->groups[0].changed);
    assert_int_equal(layout_plan(w->disks, w->disk_count, all, 3, w->groups, &w->group_count, 4, &w->report, &e), ERRC_OK);
    w->group_count = 1;
    assert_int_equal(layout_plan(w->disks, w->disk_count, all, 3, w->groups, &w->group_count, 4, &w->report, &e), ERRC_LIMIT);
    mem_free(w);
}

/* A position goes to another disk only when nothing stands in it. */
static void positions_are_kept_while_occupied(void **state)
{
    (void)state;
    struct world *w = world_new();
    w->zone_count = 1;
    for (unsigned i = 0; i < 4; i++) {
        node_add(w, 1, false);
    }
    const struct layout_class class = { 2, 1 };
    plan(w, class);
    carry_out(w);
    struct layout_group before[LAYOUT_GROUPS_MAX];
    memcpy(before, w->groups, sizeof(before));
    w->disks[0].standing = LAYOUT_LEAVES;
    plan(w, class);
    for (unsigned g = 0; g < w->group_count; g++) {
        for (unsigned i = 0; i < before[g].count; i++) {
            bool held = (before[g].occupied >> i & 1) != 0;
            assert_true(!held || w->groups[g].disks[i] == before[g].disks[i]);
        }
        assert_true((w->groups[g].occupied & before[g].primary) == before[g].primary); /* until the caller says otherwise */
    }
    mem_free(w);
}

/* Maintenance moves nothing, and no new primary goes there. */
static void maintenance_moves_nothing(void **state)
{
    (void)state;
    struct world *w = world_new();
    w->zone_count = 3;
    for (unsigned i = 0; i < 9; i++) {
        node_add(w, 2, false);
    }
    plan(w, (struct layout_class){ 4, 2 });
    carry_out(w);
    w->disks[0].standing = LAYOUT_KEEPS;
    w->disks[1].standing = LAYOUT_KEEPS;
    plan(w, (struct layout_class){ 4, 2 });
    assert_int_equal(w->report.moved, 0);
    unsigned before[2] = { 0 };
    unsigned after[2] = { 0 };
    for (unsigned g = 0; g < w->group_count; g++) {
        for (unsigned i = 0; i < w->groups[g].count; i++) {
            if ((w->groups[g].primary >> i & 1) != 0 && w->groups[g].disks[i] < 2) {
                before[w->groups[g].disks[i]]++;
            }
        }
    }
    w->disks[4].standing = LAYOUT_LEAVES;
    plan(w, (struct layout_class){ 4, 2 });
    for (unsigned g = 0; g < w->group_count; g++) {
        for (unsigned i = 0; i < w->groups[g].count; i++) {
            if ((w->groups[g].primary >> i & 1) != 0 && w->groups[g].disks[i] < 2) {
                after[w->groups[g].disks[i]]++;
            }
        }
    }
    assert_true(after[0] <= before[0] && after[1] <= before[1]);
    mem_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups_keep_the_rules_and_follow_sizes),
        cmocka_unit_test(changes_move_little),
        cmocka_unit_test(six_nodes_less_two),
        cmocka_unit_test(groups_follow_when_domains_come),
        cmocka_unit_test(several_classes_at_once),
        cmocka_unit_test(positions_are_kept_while_occupied),
        cmocka_unit_test(maintenance_moves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
