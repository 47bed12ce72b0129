/*
 * background_test - rebuild, repair, garbage collection, orphan sweep and suspects, on the fakes of data_world.
 * After every job the object is read in full and compared; nothing that a record names may ever be freed.
 */
#include "gateway/data/extent_rebuild.h"
#include "gateway/data/gc_worker.h"
#include "gateway/data/orphan_sweep.h"
#include "gateway/data/repair_worker.h"
#include "gateway/data/suspect_queue.h"
#include "tests/lib/data_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct data_world world;
static struct written object;
static struct executor *executor;

static void open_world(unsigned disks)
{
    struct data_config config = data_config_default();
    config.inline_bytes_max = 100;
    config.copies_bytes_max = 1000;
    data_world_open(&world, disks, &config);
    executor = &world.env.executor.executor;
}

static void write_known(uint64_t length, uint64_t seed)
{
    world_write(&world, 4, 2, length, seed, &object);
    assert_int_equal(object.status, ERRC_OK);
    for (unsigned i = 0; i < object.extent_count; i++) {
        fake_meta_add(&world.meta_service, &object.extents[i].extent);
    }
}

/* Reads with the records as they are now. */
static void check_now(uint64_t seed)
{
    uint64_t got = 0;
    for (unsigned i = 0; i < object.extent_count; i++) {
        struct extent *now = fake_meta_extent(&world.meta_service, object.extents[i].extent.id);
        assert_non_null(now);
        object.extents[i].extent = *now;
    }
    assert_int_equal(world_read(&world, &object, 0, object.length, seed, &got), ERRC_OK);
}

static struct extent *record(void)
{
    return fake_meta_extent(&world.meta_service, object.extents[0].extent.id);
}

struct outcome {
    bool over;
    struct extent_rebuild_result result;
};

static void on_rebuilt(void *data, const struct extent_rebuild_result *result)
{
    struct outcome *outcome = data;
    outcome->over = true;
    outcome->result = *result;
}

static bool is_over(void *data)
{
    return ((struct outcome *)data)->over;
}

static enum errc rebuild(struct outcome *outcome)
{
    struct extent_rebuild_params params = { .executor = executor, .extent = *record(), .done = on_rebuilt, .data = outcome };
    *outcome = (struct outcome){ .over = false };
    (void)extent_rebuild_start(&world.store, &params);
    assert_true(turn_env_run(&world.env, is_over, outcome, 600000));
    (void)turn_env_drain(&world.env);
    return outcome->result.status;
}

static void missing_shards_come_back(void **state)
{
    (void)state;
    static const uint64_t lengths[] = { 777, 60000, 3000001, 20000000 };
    for (size_t l = 0; l < 4; l++) {
        unsigned shards = l == 0 ? 3 : 6;
        for (unsigned a = 0; a < shards; a++) {
            for (unsigned b = a; b < (l == 3 ? a + 1 : shards); b++) {
                struct outcome outcome;
                open_world(6);
                write_known(lengths[l], 5);
                struct extent *e = record();
                assert_true(fake_node_drop(&world.node, e->id, a));
                if (b != a) {
                    assert_true(fake_node_corrupt(&world.node, e->id, b, 100));
                }
                e->missing = 1u << a | 1u << b;
                assert_int_equal(rebuild(&outcome), ERRC_OK);
                assert_int_equal(record()->missing, 0);
                assert_int_equal(fake_node_shards(&world.node), shards);
                assert_false(outcome.result.has_retired);
                /* The new shards are good: all others may go. */
                struct slice footer;
                assert_true(fake_node_has(&world.node, e->id, a, &footer));
                assert_true(slice_equal_str(footer, "footer"));
                unsigned suspects = world.suspects;
                check_now(5);
                assert_int_equal(world.suspects, suspects);
                data_world_close(&world);
            }
        }
    }
}

static void a_smaller_code_is_brought_to_its_class(void **state)
{
    (void)state;
    static const uint64_t lengths[] = { 60000, 3000001, 20000000 };
    for (size_t l = 0; l < 3; l++) {
        for (unsigned up = 2; up < 6; up++) {
            struct outcome outcome;
            open_world(6);
            for (unsigned i = up; i < 6; i++) {
                cluster_map_disk_state(world.map, fake_disk_id(i), DISK_FENCED, 0, 0);
            }
            write_known(lengths[l], 5);
            struct extent before = *record();
            assert_int_equal(rebuild(&outcome), ERRC_UNAVAILABLE); /* no disks: nothing is touched */
            assert_int_equal(fake_node_shards(&world.node), up);
            for (unsigned i = up; i < 6; i++) {
                cluster_map_disk_state(world.map, fake_disk_id(i), DISK_ONLINE, 0, 0);
            }
            assert_int_equal(rebuild(&outcome), ERRC_OK);
            assert_true(outcome.result.has_retired);
            assert_int_equal(record()->code.k, 4);
            assert_int_equal(record()->code.m, 2);
            assert_int_equal(fake_node_shards(&world.node), 6 + up); /* the first set is still there */
            for (unsigned i = 0; i < (unsigned)before.code.k + before.code.m; i++) {
                assert_true(record()->position[i] != before.position[i]);
            }
            uint64_t got = 0;
            assert_int_equal(world_read(&world, &object, 0, object.length, 5, &got), ERRC_OK); /* a read of before */
            check_now(5);
            data_world_close(&world);
        }
    }
}

static void shards_that_came_back_whole_are_adopted(void **state)
{
    (void)state;
    struct outcome outcome;
    open_world(6);
    write_known(3000001, 5);
    unsigned opens = world.node.opens;
    record()->missing = 1u << 4;
    assert_int_equal(rebuild(&outcome), ERRC_OK);
    assert_int_equal(record()->missing, 0);
    assert_int_equal(world.node.opens, opens);
    record()->missing = 1u << 4 | 1u << 1;
    assert_true(fake_node_corrupt(&world.node, record()->id, 1, 5));
    assert_int_equal(rebuild(&outcome), ERRC_OK);
    assert_int_equal(world.node.opens, opens + 1);
    assert_int_equal(record()->missing, 0);
    check_now(5);
    assert_int_equal(world.suspects, 0);
    data_world_close(&world);
}

static void a_lost_race_leaves_nothing_and_hurts_nothing(void **state)
{
    (void)state;
    struct outcome outcome;
    open_world(6);
    write_known(3000001, 5);
    assert_true(fake_node_drop(&world.node, record()->id, 1));
    record()->missing = 2;
    struct extent_rebuild_params params = { .executor = executor, .extent = *record(), .done = on_rebuilt, .data = &outcome };
    outcome = (struct outcome){ .over = false };
    (void)extent_rebuild_start(&world.store, &params);
    record()->epoch += 5;
    assert_true(turn_env_run(&world.env, is_over, &outcome, 600000));
    (void)turn_env_drain(&world.env);
    assert_int_equal(outcome.result.status, ERRC_CONFLICT);
    assert_int_equal(fake_node_shards(&world.node), 5);
    check_now(5);
    data_world_close(&world);
}

static void turn_once(void)
{
    struct task *task = world.env.first;
    world.env.first = task->next;
    world.env.last = world.env.first == NULL ? NULL : world.env.last;
    task->run(task);
}

/* Two shards are lost, two are marked and yet whole: all that is left is needed. A disk that has no time to look at its
 * marked shard has not said that it is gone. */
static void a_marked_shard_stays_until_it_is_known_to_be_lost(void **state)
{
    (void)state;
    struct outcome outcome = { .over = false };
    open_world(6);
    write_known(3000001, 5);
    struct fake_disk *busy = fake_node_disk(&world.node, fake_disk_id(record()->position[1]));
    assert_true(fake_node_drop(&world.node, record()->id, 0));
    assert_true(fake_node_drop(&world.node, record()->id, 2));
    record()->missing = 1u << 1 | 1u << 4;
    busy->fail = ERRC_LIMIT;
    unsigned calls = busy->calls;
    struct extent_rebuild_params params = { .executor = executor, .extent = *record(), .done = on_rebuilt, .data = &outcome };
    (void)extent_rebuild_start(&world.store, &params);
    for (unsigned i = 0; i < 10000 && world.env.first != NULL && busy->calls == calls; i++) {
        turn_once();
    }
    busy->fail = ERRC_OK;
    assert_true(busy->calls > calls);
    assert_true(turn_env_run(&world.env, is_over, &outcome, 600000));
    (void)turn_env_drain(&world.env);
    assert_int_equal(outcome.result.status, ERRC_UNAVAILABLE);
    assert_int_equal(fake_node_shards(&world.node), 4);
    assert_int_equal(rebuild(&outcome), ERRC_OK);
    assert_int_equal(record()->missing, 0);
    check_now(5);
    data_world_close(&world);
}

/* One marked shard is lost, one is whole, and without that one too few are left to make the other. */
static void an_adopted_shard_is_a_source(void **state)
{
    (void)state;
    struct outcome outcome;
    open_world(6);
    write_known(3000001, 5);
    record()->missing = 1u << 0 | 1u << 1;
    assert_true(fake_node_drop(&world.node, record()->id, 0));
    assert_true(fake_node_drop(&world.node, record()->id, 2));
    assert_int_equal(rebuild(&outcome), ERRC_OK);
    assert_int_equal(record()->missing, 0);
    assert_int_equal(fake_node_shards(&world.node), 5);
    check_now(5);
    data_world_close(&world);
}

/* More than m are marked. What is whole after all comes back in its place; what is lost is made again from it. */
static void more_than_m_marks_are_looked_at_again(void **state)
{
    (void)state;
    struct outcome outcome;
    uint64_t got = 0;
    open_world(6);
    write_known(3000001, 5);
    unsigned opens = world.node.opens;
    record()->missing = 0x3f;
    object.extents[0].extent.missing = 0x3f;
    assert_int_equal(world_read(&world, &object, 0, object.length, 5, &got), ERRC_OK); /* no repair is needed to read */
    assert_int_equal(world.suspects, 0);
    assert_true(fake_node_drop(&world.node, record()->id, 0));
    assert_int_equal(rebuild(&outcome), ERRC_OK);
    assert_int_equal(record()->missing, 1);
    assert_int_equal(world.node.opens, opens); /* nothing was written */
    assert_int_equal(rebuild(&outcome), ERRC_OK);
    assert_int_equal(record()->missing, 0);
    check_now(5);
    data_world_close(&world);
}

/* Nothing may be cleared while fewer than k are known to be whole: a disk that does not answer may hold the last one. */
static void more_than_m_losses_change_nothing(void **state)
{
    (void)state;
    struct outcome outcome;
    open_world(6);
    write_known(3000001, 5);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(fake_node_drop(&world.node, record()->id, i));
    }
    record()->missing = 7;
    struct extent before = *record();
    assert_int_equal(rebuild(&outcome), ERRC_CORRUPT);
    assert_int_equal(fake_node_shards(&world.node), 3);
    assert_memory_equal(&before, record(), sizeof(before));
    fake_node_disk(&world.node, fake_disk_id(record()->position[1]))->fail = ERRC_IO;
    assert_int_equal(rebuild(&outcome), ERRC_UNAVAILABLE);
    assert_int_equal(fake_node_shards(&world.node), 3);
    data_world_close(&world);
}

/* Another gateway's repair of the same extent was published first, with one shard at the same place and one at another. */
static void a_lost_race_spares_the_shards_of_the_winner(void **state)
{
    (void)state;
    struct outcome outcome = { .over = false };
    open_world(7);
    write_known(3000001, 5);
    struct extent_id id = record()->id;
    uint32_t used = 0;
    for (unsigned i = 0; i < 6; i++) {
        used |= 1u << record()->position[i];
    }
    uint8_t spare = (uint8_t)__builtin_ctz(~used);
    assert_true(spare < 7);
    assert_true(fake_node_drop(&world.node, id, 1));
    record()->missing = 1u << 1 | 1u << 4;
    struct extent_rebuild_params params = { .executor = executor, .extent = *record(), .done = on_rebuilt, .data = &outcome };
    (void)extent_rebuild_start(&world.store, &params);
    record()->epoch += 1;
    record()->missing = 0;
    record()->position[4] = spare;
    assert_true(turn_env_run(&world.env, is_over, &outcome, 600000));
    (void)turn_env_drain(&world.env);
    struct slice footer;
    assert_int_equal(outcome.result.status, ERRC_CONFLICT);
    assert_true(fake_node_has(&world.node, id, 1, &footer));
    check_now(5);
    data_world_close(&world);
}

static void a_cancel_at_every_step_hurts_nothing(void **state)
{
    (void)state;
    for (unsigned steps = 0; steps < 120; steps += 3) {
        struct outcome outcome = { .over = false };
        open_world(6);
        write_known(3000001, 5);
        assert_true(fake_node_drop(&world.node, record()->id, 1));
        record()->missing = 2;
        struct extent_rebuild_params params = { .executor = executor, .extent = *record(), .done = on_rebuilt,
                                                .data = &outcome };
        struct extent_rebuild *r = extent_rebuild_start(&world.store, &params);
        for (unsigned i = 0; i < steps && world.env.first != NULL && !outcome.over; i++) {
            turn_once();
        }
        if (!outcome.over) {
            extent_rebuild_cancel(r);
        }
        assert_true(turn_env_run(&world.env, is_over, &outcome, 600000));
        (void)turn_env_drain(&world.env);
        assert_int_equal(fake_node_open_shards(&world.node), 0);
        check_now(5);
        data_world_close(&world);
    }
}

static void a_lost_answer_of_the_publication_is_asked_again(void **state)
{
    (void)state;
    struct outcome outcome;
    open_world(6);
    write_known(60000, 5);
    assert_true(fake_node_drop(&world.node, record()->id, 1));
    record()->missing = 2;
    world.meta_service.lose_next_repaired = 1;
    assert_int_equal(rebuild(&outcome), ERRC_OK);
    assert_int_equal(world.meta_service.stale, 1);
    assert_int_equal(fake_node_shards(&world.node), 6);
    check_now(5);
    data_world_close(&world);
}

/* ---- workers ---- */

static void on_stopped(void *data)
{
    *(bool *)data = true;
}

static void run_for(uint64_t ms)
{
    (void)turn_env_run(&world.env, NULL, NULL, ms);
}

static void the_worker_repairs_all_there_is(void **state)
{
    (void)state;
    bool stopped = false;
    open_world(6);
    write_known(3000001, 5);
    assert_true(fake_node_drop(&world.node, record()->id, 0));
    record()->missing = 1;
    struct repair_worker_config config = { .store = &world.store, .executor = executor };
    struct repair_worker *worker = repair_worker_start(&config);
    run_for(5000);
    assert_int_equal(record()->missing, 0);
    for (unsigned i = 2; i < 6; i++) {
        cluster_map_disk_state(world.map, fake_disk_id(i), DISK_FENCED, 0, 0);
    }
    world.meta_service.extent_count = 0;
    for (unsigned disk = 0; disk < 6; disk++) {
        fake_node_wipe(&world.node, disk);
    }
    write_known(2000000, 6);
    assert_int_equal(record()->code.k, 1);
    for (unsigned i = 2; i < 6; i++) {
        cluster_map_disk_state(world.map, fake_disk_id(i), DISK_ONLINE, 0, 0);
    }
    struct session_read pin;
    session_read_begin(world.session, &pin); /* a download that began before */
    run_for(10000);
    assert_int_equal(record()->code.k, 4);
    assert_int_equal(fake_node_shards(&world.node), 8);
    session_read_end(world.session, &pin);
    run_for(10000);
    assert_int_equal(fake_node_shards(&world.node), 6); /* the first set went with its last reader */
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(fake_node_copies(&world.node, record()->id, i), 1);
    }
    check_now(6);
    struct repair_progress progress = repair_worker_progress(worker);
    assert_int_equal(progress.repaired, 2);
    assert_true(progress.idle);
    repair_worker_stop(worker, on_stopped, &stopped);
    run_for(1000);
    assert_true(stopped);
    data_world_close(&world);
}

/* Whoever brings an extent to its class may die before the first set is freed: the next one frees it, all of it. */
static void first_sets_outlive_the_worker(void **state)
{
    (void)state;
    bool stopped = false;
    open_world(6);
    for (unsigned i = 2; i < 6; i++) {
        cluster_map_disk_state(world.map, fake_disk_id(i), DISK_FENCED, 0, 0);
    }
    write_known(2000000, 6);
    struct extent before = *record();
    assert_int_equal(before.code.k, 1);
    for (unsigned i = 2; i < 6; i++) {
        cluster_map_disk_state(world.map, fake_disk_id(i), DISK_ONLINE, 0, 0);
    }
    struct session_read pin;
    session_read_begin(world.session, &pin);
    struct repair_worker_config config = { .store = &world.store, .executor = executor };
    struct repair_worker *worker = repair_worker_start(&config);
    run_for(10000);
    assert_int_equal(record()->code.k, 4);
    repair_worker_stop(worker, on_stopped, &stopped);
    run_for(1000);
    assert_true(stopped);
    assert_int_equal(fake_node_shards(&world.node), 8);
    session_read_end(world.session, &pin);
    uint32_t disk = before.position[0];
    world.node.disks[disk].fail = ERRC_UNAVAILABLE;
    worker = repair_worker_start(&config);
    run_for(10000);
    world.node.disks[disk].fail = ERRC_OK;
    assert_int_equal(fake_node_shards(&world.node), 7); /* its disk has not said so: the set stays known */
    assert_int_equal(world.meta_service.retired_count, 1);
    run_for(120000);
    assert_int_equal(fake_node_shards(&world.node), 6);
    assert_int_equal(world.meta_service.retired_count, 0);
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(fake_node_copies(&world.node, record()->id, i), 1);
    }
    check_now(6);
    stopped = false;
    repair_worker_stop(worker, on_stopped, &stopped);
    run_for(1000);
    assert_true(stopped);
    data_world_close(&world);
}

static void a_throttled_repair_takes_its_time(void **state)
{
    (void)state;
    bool stopped = false;
    open_world(6);
    write_known(20000000, 5);
    assert_true(fake_node_drop(&world.node, record()->id, 0));
    record()->missing = 1;
    struct repair_worker_config config = { .store = &world.store, .executor = executor, .bytes_per_second = 1000000 };
    struct repair_worker *worker = repair_worker_start(&config);
    run_for(2000);
    assert_int_equal(record()->missing, 1);
    run_for(60000);
    assert_int_equal(record()->missing, 0);
    repair_worker_stop(worker, on_stopped, &stopped);
    run_for(1000);
    assert_true(stopped);
    data_world_close(&world);
}

static void gc_add(uint64_t seq, uint64_t index, const struct extent *extent)
{
    world.meta_service.gc[world.meta_service.gc_count++] =
        (struct meta_gc_item){ .seq = seq, .index = index, .kind = 1, .extent = *extent };
}

static void garbage_waits_for_readers_and_absent_disks(void **state)
{
    (void)state;
    bool stopped = false;
    open_world(6);
    write_known(3000001, 5);
    struct session_read pin;
    session_read_begin(world.session, &pin);
    gc_add(1, pin.index + 1, record());
    struct gc_worker_config config = { .store = &world.store, .executor = executor, .idle_ms = 500 };
    struct gc_worker *worker = gc_worker_start(&config);
    run_for(3000);
    assert_int_equal(fake_node_shards(&world.node), 6);
    check_now(5);
    session_read_at(world.session, &pin, pin.index + 1); /* of the very entry: may have been before the delete */
    run_for(3000);
    assert_int_equal(fake_node_shards(&world.node), 6);
    world.node.disks[3].fail = ERRC_UNAVAILABLE;
    session_read_end(world.session, &pin);
    run_for(3000);
    assert_int_equal(fake_node_shards(&world.node), 1);
    assert_int_equal(world.meta_service.gc_count, 1);
    world.node.disks[3].fail = ERRC_OK;
    run_for(3000);
    assert_int_equal(fake_node_shards(&world.node), 0);
    assert_int_equal(world.meta_service.gc_count, 0);
    assert_int_equal(gc_worker_freed(worker), 1);
    gc_worker_stop(worker, on_stopped, &stopped);
    run_for(1000);
    assert_true(stopped);
    data_world_close(&world);
}

static void parts_are_expanded_and_many_items_freed(void **state)
{
    (void)state;
    bool stopped = false;
    open_world(6);
    world.meta_service.gc[world.meta_service.gc_count++] = (struct meta_gc_item){ .seq = 1, .index = 1, .kind = 2 };
    world.meta_service.expands_left = 3;
    for (unsigned i = 0; i < 20; i++) {
        world_write(&world, 4, 2, 50000 + i, 5, &object);
        gc_add(2 + i, 1, &object.extents[0].extent);
    }
    struct gc_worker_config config = { .store = &world.store, .executor = executor, .idle_ms = 500 };
    struct gc_worker *worker = gc_worker_start(&config);
    run_for(3000);
    assert_int_equal(world.meta_service.gc_count, 0);
    assert_int_equal(fake_node_shards(&world.node), 0);
    gc_worker_stop(worker, on_stopped, &stopped);
    run_for(1000);
    assert_true(stopped);
    data_world_close(&world);
}

static void orphans_of_closed_sessions_go_and_nothing_else(void **state)
{
    (void)state;
    bool stopped = false;
    open_world(6);
    write_known(60000, 5);                        /* of the live session, in a record */
    world_write(&world, 4, 2, 60000, 6, &object); /* begun, and never committed */
    assert_int_equal(fake_node_reopen(&world.node, object.extents[0].extent.id), 6);
    world_write(&world, 4, 2, 60000, 6, &object); /* of the live session, in none (yet) */
    assert_int_equal(fake_node_shards(&world.node), 12);
    /* Another process's: its numbers are those of a session that this test opens and leaves. */
    uint64_t own = session_number(world.session);
    struct orphan_sweep_config config = { .store = &world.store, .executor = executor, .node = { { 1 } },
                                          .interval_ms = 1000 };
    struct orphan_sweep *sweep = orphan_sweep_start(&config);
    run_for(3000);
    assert_int_equal(fake_node_shards(&world.node), 12);
    assert_int_equal(fake_node_open_shards(&world.node), 6);
    assert_true(orphan_sweep_passes(sweep) > 0);
    orphan_sweep_stop(sweep, on_stopped, &stopped);
    run_for(2000);
    assert_true(stopped);
    /* The next process of the same node: a new session; the old one is a leftover. */
    world.meta_service.sessions[world.meta_service.session_count++] =
        (struct meta_session){ .id = own - 1, .node = { { 1 } }, .open = true };
    struct data_world *w = &world;
    for (unsigned i = 0; i < w->meta_service.session_count; i++) {
        if (w->meta_service.sessions[i].id == own) {
            w->meta_service.sessions[i].open = false; /* closed by somebody: ours is over */
        }
    }
    world.meta_service.fail = ERRC_UNAVAILABLE;
    world.meta_service.fail_next = UINT32_MAX;
    run_for(27000); /* a lease without a renewal */
    assert_false(session_alive(world.session));
    stopped = false;
    sweep = orphan_sweep_start(&config);
    run_for(3000);
    assert_int_equal(fake_node_shards(&world.node), 12); /* without a session of one's own nothing is judged */
    orphan_sweep_stop(sweep, on_stopped, &stopped);
    run_for(2000);
    assert_true(stopped);
    world.meta_service.fail_next = 0;
    run_for(3000); /* the renewal notices: a new session in this process */
    assert_true(session_alive(world.session));
    assert_true(session_number(world.session) > own);
    world.node.disks[0].fail = ERRC_UNAVAILABLE;
    stopped = false;
    sweep = orphan_sweep_start(&config);
    run_for(500);
    assert_int_equal(fake_node_shards(&world.node), 7); /* one shard is out of reach */
    assert_int_equal(fake_node_open_shards(&world.node), 1);
    world.node.disks[0].fail = ERRC_OK;
    run_for(3000);
    assert_int_equal(fake_node_shards(&world.node), 6);
    assert_int_equal(fake_node_open_shards(&world.node), 0);
    assert_int_equal(orphan_sweep_freed(sweep), 12);
    for (unsigned i = 0; i < w->meta_service.session_count; i++) {
        assert_true(w->meta_service.sessions[i].open == (w->meta_service.sessions[i].id == session_number(world.session)));
    }
    orphan_sweep_stop(sweep, on_stopped, &stopped);
    run_for(2000);
    assert_true(stopped);
    data_world_close(&world);
}

static void suspects_are_looked_at_twice(void **state)
{
    (void)state;
    bool stopped = false;
    open_world(6);
    write_known(3000001, 5);
    struct suspect_queue_config config = { .store = &world.store, .executor = executor };
    struct suspect_queue *queue = suspect_queue_start(&config);
    world.store.repair = suspect_queue_hook(queue);
    assert_true(fake_node_corrupt(&world.node, record()->id, 2, 10));
    uint64_t got = 0;
    assert_int_equal(world_read(&world, &object, 0, object.length, 5, &got), ERRC_OK);
    run_for(100);
    assert_int_equal(record()->missing, 1u << 2);
    /* Seen on a disk that the record does not name any more: no news. */
    suspect_queue_report(queue, record()->id, 3, fake_disk_id(15));
    suspect_queue_report(queue, (struct extent_id){ { 77 } }, 3, fake_disk_id(1));
    run_for(100);
    assert_int_equal(record()->missing, 1u << 2);
    assert_int_equal(world.meta_service.missing_proposals, 1);
    world.store.repair = &world.hook;
    suspect_queue_stop(queue, on_stopped, &stopped);
    run_for(100);
    assert_true(stopped);
    data_world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(missing_shards_come_back),
        cmocka_unit_test(a_smaller_code_is_brought_to_its_class),
        cmocka_unit_test(shards_that_came_back_whole_are_adopted),
        cmocka_unit_test(a_lost_race_leaves_nothing_and_hurts_nothing),
        cmocka_unit_test(a_marked_shard_stays_until_it_is_known_to_be_lost),
        cmocka_unit_test(an_adopted_shard_is_a_source),
        cmocka_unit_test(more_than_m_marks_are_looked_at_again),
        cmocka_unit_test(more_than_m_losses_change_nothing),
        cmocka_unit_test(a_lost_race_spares_the_shards_of_the_winner),
        cmocka_unit_test(a_cancel_at_every_step_hurts_nothing),
        cmocka_unit_test(a_lost_answer_of_the_publication_is_asked_again),
        cmocka_unit_test(the_worker_repairs_all_there_is),
        cmocka_unit_test(first_sets_outlive_the_worker),
        cmocka_unit_test(a_throttled_repair_takes_its_time),
        cmocka_unit_test(garbage_waits_for_readers_and_absent_disks),
        cmocka_unit_test(parts_are_expanded_and_many_items_freed),
        cmocka_unit_test(orphans_of_closed_sessions_go_and_nothing_else),
        cmocka_unit_test(suspects_are_looked_at_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
