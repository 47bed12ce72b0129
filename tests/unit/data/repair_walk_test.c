/*
 * repair_walk_test - what a walk moves and marks, on the fakes of data_world: six nodes of two disks, one group of class 4+2
 * whose primaries are the first disks. After each walk every object is read in full, and no disk has what no record names.
 */
#include "gateway/data/repair_worker.h"
#include "tests/lib/data_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define OBJECTS 5

static struct data_world world;
static struct written objects[OBJECTS];
static struct repair_worker *worker;
static bool stopped;
static unsigned failures;

static void run_for(uint64_t ms)
{
    (void)turn_env_run(&world.env, NULL, NULL, ms);
}

static void map_changed(void)
{
    world.meta_service.map_changes++;
    cluster_map_refresh(world.map, NULL, NULL);
    run_for(100);
}

static void on_failed(void *data, const struct extent *extent, const struct error *reason)
{
    (void)data;
    (void)extent;
    assert_true(reason->text[0] != '\0');
    failures++;
}

static void on_stopped(void *data)
{
    (void)data;
    stopped = true;
}

static void commit(unsigned object)
{
    for (unsigned e = 0; e < objects[object].extent_count; e++) {
        fake_meta_add(&world.meta_service, &objects[object].extents[e].extent);
    }
}

/* The objects from `committed` on are written, but metadata do not have them yet. */
static void open_world_but(unsigned committed)
{
    struct data_config config = data_config_default();
    static const uint64_t lengths[OBJECTS] = { 60000, 3000001, 20000000, 100001, 500000 };
    data_world_open(&world, 12, &config);
    struct fake_meta *meta = &world.meta_service;
    for (unsigned i = 0; i < 12; i++) {
        meta->disks[i].node = (struct node_id){ { (uint8_t)(1 + i / 2) } };
    }
    meta->groups[0].class_k = 4;
    meta->groups[0].class_m = 2;
    meta->groups[0].primary = 0x555;
    map_changed();
    for (unsigned i = 0; i < OBJECTS; i++) {
        world_write(&world, 4, 2, lengths[i], i, &objects[i]);
        assert_int_equal(objects[i].status, ERRC_OK);
        if (i < committed) {
            commit(i);
        }
    }
    const struct repair_worker_config repair = { .store = &world.store, .executor = &world.env.executor.executor,
                                                 .on_failed = on_failed };
    failures = 0;
    worker = repair_worker_start(&repair);
    run_for(5000);
}

static void open_world(void)
{
    open_world_but(OBJECTS);
}

static void close_world(void)
{
    stopped = false;
    repair_worker_stop(worker, on_stopped, NULL);
    run_for(1000);
    assert_true(stopped);
    data_world_close(&world);
}

/* Shards at a position of the group, of all extents. */
static unsigned standing_at(unsigned position)
{
    unsigned count = 0;
    for (unsigned i = 0; i < world.meta_service.extent_count; i++) {
        const struct extent *e = &world.meta_service.extents[i];
        for (unsigned s = 0; s < (unsigned)e->code.k + e->code.m; s++) {
            count += e->position[s] == position;
        }
    }
    return count;
}

static void check_all(void)
{
    unsigned shards = 0;
    for (unsigned i = 0; i < OBJECTS; i++) {
        uint64_t got = 0;
        for (unsigned e = 0; e < objects[i].extent_count; e++) {
            const struct extent *now = fake_meta_extent(&world.meta_service, objects[i].extents[e].extent.id);
            assert_int_equal(now->missing, 0);
            objects[i].extents[e].extent = *now;
            shards += (unsigned)now->code.k + now->code.m;
        }
        assert_int_equal(world_read(&world, &objects[i], 0, objects[i].length, i, &got), ERRC_OK);
        assert_int_equal(got, objects[i].length);
    }
    assert_int_equal(fake_node_shards(&world.node), shards);
    assert_int_equal(world.suspects, 0);
}

static void a_new_primary_gets_its_shards(void **state)
{
    (void)state;
    open_world();
    unsigned before = standing_at(4);
    assert_true(before > 0 && standing_at(5) == 0);
    world.meta_service.groups[0].primary = 0x555 ^ 0x30; /* position 5 for 4, of the same node */
    map_changed();
    repair_worker_kick(worker);
    run_for(60000);
    assert_int_equal(standing_at(4), 0);
    assert_int_equal(standing_at(5), before);
    check_all();
    assert_int_equal(repair_worker_progress(worker).walk.moved_shards, before);
    assert_false(repair_worker_progress(worker).walk.walking);
    close_world();
}

/* A gateway that has not heard of the new map places by the old one, and commits when the walk has been there. */
static void what_is_committed_behind_the_walk_is_found(void **state)
{
    (void)state;
    open_world_but(OBJECTS - 2);
    world.meta_service.groups[0].primary = 0x555 ^ 0x30;
    map_changed();
    repair_worker_kick(worker);
    run_for(20000);
    assert_int_equal(standing_at(4), 0);
    assert_int_equal(repair_worker_progress(worker).walk.walks, 2); /* of the start, and of the change */
    commit(OBJECTS - 2);
    commit(OBJECTS - 1);
    unsigned late = standing_at(4);
    assert_true(late > 0);
    run_for(2 * 60000); /* no change, no kick */
    assert_int_equal(standing_at(4), 0);
    check_all();
    uint64_t walks = repair_worker_progress(worker).walk.walks;
    run_for(30 * 60000);
    assert_int_equal(repair_worker_progress(worker).walk.walks, walks); /* once more, not again and again */
    close_world();
}

static void no_balance_moves_only_what_leaves(void **state)
{
    (void)state;
    open_world();
    unsigned before = standing_at(4);
    repair_worker_balance(worker, false);
    world.meta_service.groups[0].primary = 0x555 ^ 0x30;
    map_changed();
    repair_worker_kick(worker);
    run_for(60000);
    assert_int_equal(standing_at(4), before);
    world.meta_service.disks[4].state = META_DISK_DRAINING;
    map_changed();
    repair_worker_kick(worker);
    run_for(60000);
    assert_int_equal(standing_at(4), 0);
    assert_int_equal(standing_at(5), before);
    check_all();
    close_world();
}

/* No plan was made yet: the spares take the shards, and give them back when the disk is as before. */
static void a_leaving_primary_is_emptied_onto_spares(void **state)
{
    (void)state;
    open_world();
    unsigned before = standing_at(4);
    world.meta_service.disks[4].state = META_DISK_DRAINING;
    map_changed();
    repair_worker_kick(worker);
    run_for(60000);
    assert_int_equal(standing_at(4), 0);
    unsigned on_spares = 0;
    for (unsigned i = 1; i < 12; i += 2) {
        on_spares += standing_at(i);
    }
    assert_true(on_spares > 0 && on_spares <= before); /* small objects have fewer shards than there are primaries */
    check_all();
    world.meta_service.disks[4].state = META_DISK_IN;
    map_changed();
    repair_worker_kick(worker);
    run_for(60000);
    assert_int_equal(standing_at(4), on_spares);
    check_all();
    close_world();
}

static void a_silent_disk_is_given_up_only_when_it_is_out(void **state)
{
    (void)state;
    open_world();
    unsigned before = standing_at(4);
    cluster_map_disk_state(world.map, fake_disk_id(4), DISK_ABSENT, 0, 0);
    repair_worker_kick(worker);
    run_for(60000);
    assert_int_equal(standing_at(4), before);
    assert_int_equal(world.meta_service.missing_proposals, 0);
    fake_node_wipe(&world.node, 4);
    world.meta_service.disks[4].state = META_DISK_OUT;
    map_changed();
    repair_worker_kick(worker);
    run_for(60000);
    assert_int_equal(standing_at(4), 0);
    assert_true(world.meta_service.missing_proposals > 0);
    check_all();
    close_world();
}

/* Three disks of 4+2 are gone for good, as far as is known: nothing is marked, and their return heals all. */
static void more_than_m_are_not_marked(void **state)
{
    (void)state;
    open_world();
    for (unsigned i = 0; i < 6; i += 2) {
        cluster_map_disk_state(world.map, fake_disk_id(i), DISK_ABSENT, 0, 0);
        world.meta_service.disks[i].state = META_DISK_OUT;
    }
    map_changed();
    repair_worker_kick(worker);
    run_for(30000);
    for (unsigned i = 0; i < world.meta_service.extent_count; i++) {
        const struct extent *e = &world.meta_service.extents[i];
        assert_true((unsigned)__builtin_popcount(e->missing) <= e->code.m);
    }
    assert_true(repair_worker_progress(worker).walk.walking);
    for (unsigned i = 0; i < 6; i += 2) {
        cluster_map_disk_state(world.map, fake_disk_id(i), DISK_ONLINE, 0, 0);
        world.meta_service.disks[i].state = META_DISK_IN;
    }
    map_changed();
    repair_worker_kick(worker);
    run_for(60000);
    check_all();
    close_world();
}

static void what_fails_is_told_and_tried_again(void **state)
{
    (void)state;
    open_world();
    unsigned before = standing_at(4);
    fake_node_disk(&world.node, fake_disk_id(5))->fail = ERRC_IO;
    world.meta_service.groups[0].primary = 0x555 ^ 0x30;
    map_changed();
    repair_worker_kick(worker);
    run_for(30000);
    assert_true(failures > 0);
    assert_int_equal(standing_at(4), before);
    fake_node_disk(&world.node, fake_disk_id(5))->fail = ERRC_OK;
    run_for(120000);
    assert_int_equal(standing_at(5), before);
    check_all();
    close_world();
}

static void a_pause_holds_everything(void **state)
{
    (void)state;
    open_world();
    unsigned before = standing_at(4);
    repair_worker_pause(worker, true);
    world.meta_service.groups[0].primary = 0x555 ^ 0x30;
    map_changed();
    repair_worker_kick(worker);
    run_for(60000);
    assert_int_equal(standing_at(4), before);
    assert_true(repair_worker_progress(worker).paused);
    repair_worker_pause(worker, false);
    run_for(60000);
    assert_int_equal(standing_at(5), before);
    check_all();
    close_world();
}

/* Stopped at any moment, all is readable, and the next worker brings it to its end. */
static void a_stop_at_any_moment_hurts_nothing(void **state)
{
    (void)state;
    for (uint64_t ms = 0; ms < 400; ms += 7) {
        open_world();
        world.meta_service.groups[0].primary = 0x555 ^ 0x30;
        map_changed();
        repair_worker_kick(worker);
        run_for(ms);
        stopped = false;
        repair_worker_stop(worker, on_stopped, NULL);
        run_for(5000);
        assert_true(stopped);
        const struct repair_worker_config again = { .store = &world.store, .executor = &world.env.executor.executor };
        worker = repair_worker_start(&again);
        run_for(60000);
        assert_int_equal(standing_at(4), 0);
        for (unsigned i = 0; i < OBJECTS; i++) {
            uint64_t got = 0;
            for (unsigned e = 0; e < objects[i].extent_count; e++) {
                objects[i].extents[e].extent = *fake_meta_extent(&world.meta_service, objects[i].extents[e].extent.id);
            }
            assert_int_equal(world_read(&world, &objects[i], 0, objects[i].length, i, &got), ERRC_OK);
        }
        close_world();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_primary_gets_its_shards),
        cmocka_unit_test(what_is_committed_behind_the_walk_is_found),
        cmocka_unit_test(no_balance_moves_only_what_leaves),
        cmocka_unit_test(a_leaving_primary_is_emptied_onto_spares),
        cmocka_unit_test(a_silent_disk_is_given_up_only_when_it_is_out),
        cmocka_unit_test(more_than_m_are_not_marked),
        cmocka_unit_test(what_fails_is_told_and_tried_again),
        cmocka_unit_test(a_pause_holds_everything),
        cmocka_unit_test(a_stop_at_any_moment_hurts_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
