/* When a placement counts as degraded or crowded: by the disks that are up. */
#include "server/placement_judge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define DISKS 12

/* Three zones of two nodes of two disks: disk i is in zone i / 4, node i / 2. */
struct world {
    struct meta_disk disks[DISKS];
    struct meta_group group;
    struct meta_cluster_reply map;
    bool up[DISKS];
    char zones[3][4];
};

static struct disk_id disk_id_of(unsigned number)
{
    struct disk_id id = { { (uint8_t)(number + 1) } };
    return id;
}

static bool is_up(void *data, struct disk_id disk)
{
    const struct world *w = data;
    return w->up[disk.bytes[0] - 1];
}

static void world_init(struct world *w)
{
    *w = (struct world){ .map = { .disk_count = DISKS, .disks = w->disks, .group_count = 1, .groups = &w->group } };
    w->group.disk_count = DISKS;
    for (unsigned i = 0; i < DISKS; i++) {
        (void)snprintf(w->zones[i / 4], sizeof(w->zones[0]), "z%u", i / 4);
        w->disks[i] = (struct meta_disk){ .id = disk_id_of(i), .node = { { (uint8_t)(1 + i / 2) } },
                                          .state = META_DISK_IN, .zone = slice_str(w->zones[i / 4]) };
        w->group.disks[i] = disk_id_of(i);
        w->up[i] = true;
    }
}

static enum placement_verdict judge(struct world *w, uint8_t k, uint8_t m, const uint8_t *positions)
{
    struct placement_judge judge;
    struct extent extent = { .code = { .k = k, .m = m } };
    memcpy(extent.position, positions, (size_t)k + m);
    placement_judge_init(&judge, &w->map, is_up, w);
    enum placement_verdict verdict = placement_judge_extent(&judge, &w->group, &extent);
    assert_int_equal(placement_judge_extent(&judge, &w->group, &extent), verdict); /* its caps are remembered */
    placement_judge_done(&judge);
    return verdict;
}

static void four_plus_two_in_three_zones(void **state)
{
    struct world w;
    (void)state;
    world_init(&w);
    assert_int_equal(judge(&w, 4, 2, (const uint8_t[]){ 0, 2, 4, 6, 8, 10 }), PLACEMENT_GOOD);
    assert_int_equal(judge(&w, 4, 2, (const uint8_t[]){ 0, 1, 4, 6, 8, 10 }), PLACEMENT_DEGRADED); /* two on a node */
    assert_int_equal(judge(&w, 4, 2, (const uint8_t[]){ 0, 1, 2, 6, 8, 10 }), PLACEMENT_CROWDED);  /* three in a zone */
    for (unsigned i = 8; i < DISKS; i++) {
        w.up[i] = false; /* two zones are up: three in one of them is all that can be */
    }
    assert_int_equal(judge(&w, 4, 2, (const uint8_t[]){ 0, 1, 2, 4, 6, 7 }), PLACEMENT_GOOD);
    w.up[4] = w.up[5] = w.up[6] = false; /* five disks: there is no better place now */
    assert_int_equal(judge(&w, 4, 2, (const uint8_t[]){ 0, 1, 2, 3, 4, 5 }), PLACEMENT_GOOD);
}

static void copies_in_three_zones(void **state)
{
    struct world w;
    (void)state;
    world_init(&w);
    assert_int_equal(judge(&w, 1, 2, (const uint8_t[]){ 0, 5, 9 }), PLACEMENT_GOOD);
    assert_int_equal(judge(&w, 1, 2, (const uint8_t[]){ 0, 2, 9 }), PLACEMENT_DEGRADED);
    assert_int_equal(judge(&w, 1, 2, (const uint8_t[]){ 0, 1, 2 }), PLACEMENT_CROWDED);
    for (unsigned i = 4; i < DISKS; i++) {
        w.disks[i].state = META_DISK_REMOVED; /* one zone is left */
    }
    assert_int_equal(judge(&w, 1, 2, (const uint8_t[]){ 0, 1, 2 }), PLACEMENT_GOOD);
}

static void one_node_has_no_domains(void **state)
{
    struct world w;
    (void)state;
    world_init(&w);
    for (unsigned i = 0; i < DISKS; i++) {
        w.disks[i].zone = SLICE_EMPTY;
        w.disks[i].node = (struct node_id){ { 1 } };
    }
    assert_int_equal(judge(&w, 4, 2, (const uint8_t[]){ 0, 1, 2, 3, 4, 5 }), PLACEMENT_GOOD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(four_plus_two_in_three_zones),
        cmocka_unit_test(copies_in_three_zones),
        cmocka_unit_test(one_node_has_no_domains),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
