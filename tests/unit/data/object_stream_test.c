/*
 * object_stream_test - what object_writer makes durable, object_reader gives back, whatever is lost in between.
 * Method: fakes of node and metadata service on virtual time (tests/lib/data_world.h); every byte compared.
 */
#include "common/base/mem.h"
#include "tests/lib/data_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdlib.h>

static struct data_world world;
static struct written object;

static struct data_config small_config(void)
{
    struct data_config config = data_config_default();
    config.inline_bytes_max = 100;
    config.copies_bytes_max = 1000;
    return config;
}

static void check_read(uint64_t first, uint64_t length, uint64_t seed)
{
    uint64_t got = 0;
    assert_int_equal(world_read(&world, &object, first, length, seed, &got), ERRC_OK);
    assert_true(got == length);
}

static void round_trip(unsigned k, unsigned m, uint64_t length)
{
    world_write(&world, k, m, length, length, &object);
    assert_int_equal(object.status, ERRC_OK);
    if (length == 0) {
        assert_int_equal(object.kind, META_DATA_NONE);
        return;
    }
    if (length <= 100) {
        assert_int_equal(object.kind, META_DATA_INLINE);
        assert_int_equal(object.inline_len, length);
        for (uint64_t i = 0; i < length; i++) {
            assert_int_equal(object.inline_bytes[i], world_byte(length, i));
        }
        return;
    }
    assert_int_equal(object.kind, META_DATA_EXTENTS);
    struct slice footer;
    const struct extent *last = &object.extents[object.extent_count - 1].extent;
    assert_true(fake_node_has(&world.node, last->id, 0, &footer));
    assert_true(slice_equal_str(footer, "footer"));
    assert_int_equal(last->missing, 0);
    check_read(0, length, length);
    check_read(length - 1, 1, length);
    check_read(length / 3, length - length / 3 - 1 > 5000 ? 5000 : length - length / 3, length);
}

static void every_boundary_round_trips(void **state)
{
    (void)state;
    static const unsigned codes[][2] = { { 1, 0 }, { 1, 1 }, { 2, 1 }, { 3, 2 }, { 4, 2 }, { 8, 4 } };
    for (size_t c = 0; c < sizeof(codes) / sizeof(codes[0]); c++) {
        unsigned k = codes[c][0];
        struct data_config config = small_config();
        data_world_open(&world, k + codes[c][1], &config);
        uint64_t stripe = (uint64_t)k * CELL_BYTES_MAX;
        const uint64_t marks[] = { 1, 100, 1000, k * 64u, CELL_BYTES_MAX, stripe, 2 * stripe, 4 * stripe, 9 * stripe };
        round_trip(k, codes[c][1], 0);
        for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
            for (uint64_t length = marks[i] > 1 ? marks[i] - 1 : 1; length <= marks[i] + 1; length++) {
                round_trip(k, codes[c][1], length);
            }
            for (unsigned disk = 0; disk < FAKE_DISKS; disk++) {
                fake_node_wipe(&world.node, disk); /* memory */
            }
        }
        data_world_close(&world);
    }
}

static void objects_longer_than_an_extent_round_trip(void **state)
{
    (void)state;
    struct data_config config = small_config();
    data_world_open(&world, 6, &config);
    for (uint64_t length = EXTENT_BYTES_MAX - 1ull; length <= EXTENT_BYTES_MAX + 1ull; length++) {
        world_write(&world, 4, 2, length, 5, &object);
        assert_int_equal(object.status, ERRC_OK);
        assert_int_equal(object.extent_count, length > EXTENT_BYTES_MAX ? 2 : 1);
        check_read(0, length, 5);
        check_read(EXTENT_BYTES_MAX - 300000, length - (EXTENT_BYTES_MAX - 300000), 5);
        for (unsigned disk = 0; disk < 6; disk++) {
            fake_node_wipe(&world.node, disk);
        }
    }
    assert_int_equal(world.node.aborts, 0);
    data_world_close(&world);
}

static void small_objects_are_copies_and_one_put_each(void **state)
{
    (void)state;
    struct data_config config = small_config();
    data_world_open(&world, 6, &config);
    world_write(&world, 4, 2, 900, 1, &object);
    assert_int_equal(object.extents[0].extent.code.matrix, MATRIX_COPIES);
    assert_int_equal(world.node.puts, 3);
    check_read(0, 900, 1);
    assert_int_equal(world.node.reads, 1);
    world_write(&world, 4, 2, 50000, 2, &object);
    assert_int_equal(object.extents[0].extent.code.k, 4);
    assert_int_equal(world.node.puts, 9);
    assert_int_equal(world.node.opens, 0);
    data_world_close(&world);
}

static void a_range_touches_only_its_cells(void **state)
{
    (void)state;
    struct data_config config = small_config();
    data_world_open(&world, 6, &config);
    world_write(&world, 4, 2, 10u << 20, 3, &object);
    check_read(5u << 20, 100, 3);
    assert_int_equal(world.node.cells_read, 1);
    world.node.reads = 0;
    check_read(0, 10u << 20, 3);
    assert_int_equal(world.node.reads, 20); /* 20 stripes, four at a time, of four shards */
    data_world_close(&world);
}

static void every_loss_of_two_shards_is_read_through(void **state)
{
    (void)state;
    for (unsigned mode = 0; mode < 3; mode++) {
        for (unsigned a = 0; a < 6; a++) {
            for (unsigned b = a; b < 6; b++) {
                struct data_config config = small_config();
                data_world_open(&world, 6, &config);
                world_write(&world, 4, 2, 3000001, 9, &object);
                struct extent *e = &object.extents[0].extent;
                const unsigned lost[2] = { a, b };
                for (unsigned i = 0; i < (a == b ? 1u : 2u); i++) {
                    if (mode == 0) {
                        assert_true(fake_node_drop(&world.node, e->id, lost[i]));
                    } else if (mode == 1) {
                        assert_true(fake_node_corrupt(&world.node, e->id, lost[i], 200000u * (i + 1) + 77));
                    } else {
                        world.node.disks[e->position[lost[i]]].fail = ERRC_UNAVAILABLE;
                    }
                }
                check_read(0, 3000001, 9);
                check_read(1000000, 1000000, 9);
                assert_true(mode == 2 || a >= 4 || world.suspects > 0);
                data_world_close(&world);
            }
        }
    }
}

static void too_much_loss_ends_the_stream_with_the_reason(void **state)
{
    (void)state;
    struct data_config config = small_config();
    uint64_t got = 0;
    data_world_open(&world, 6, &config);
    world_write(&world, 4, 2, 3000001, 9, &object);
    const struct extent *e = &object.extents[0].extent;
    for (unsigned i = 0; i < 3; i++) {
        world.node.disks[e->position[i]].fail = ERRC_IO;
    }
    assert_int_equal(world_read(&world, &object, 0, 3000001, 9, &got), ERRC_UNAVAILABLE);
    assert_int_equal(got, 0);
    for (unsigned i = 0; i < 3; i++) {
        world.node.disks[e->position[i]].fail = ERRC_OK;
        cluster_map_disk_state(world.map, fake_disk_id(e->position[i]), DISK_ABSENT, 0, 0);
        cluster_map_disk_state(world.map, fake_disk_id(e->position[i]), DISK_ONLINE, 0, 0); /* only a change is news */
    }
    check_read(0, 3000001, 9); /* all is back */
    for (unsigned i = 0; i < 3; i++) {
        assert_true(fake_node_corrupt(&world.node, e->id, i, 5));
    }
    assert_int_equal(world_read(&world, &object, 0, 3000001, 9, &got), ERRC_CORRUPT);
    data_world_close(&world);
}

static void copies_survive_the_loss_of_m(void **state)
{
    (void)state;
    for (unsigned keep = 0; keep < 3; keep++) {
        struct data_config config = small_config();
        data_world_open(&world, 6, &config);
        world_write(&world, 4, 2, 777, 4, &object);
        for (unsigned i = 0; i < 3; i++) {
            if (i != keep) {
                assert_true(fake_node_drop(&world.node, object.extents[0].extent.id, i));
            }
        }
        check_read(0, 777, 4);
        check_read(100, 1, 4);
        data_world_close(&world);
    }
}

static void a_hung_disk_is_hedged_with_parity(void **state)
{
    (void)state;
    struct data_config config = small_config();
    data_world_open(&world, 6, &config);
    world_write(&world, 4, 2, 3000001, 9, &object);
    uint64_t before_ns = world.env.now_ns;
    world.node.disks[object.extents[0].extent.position[1]].hangs = true;
    check_read(0, 3000001, 9);
    assert_true(world.env.now_ns - before_ns < UINT64_C(1000000000));
    assert_true(atomic_load(&world.store.reads_hedged) > 0);
    fake_node_release(&world.node);
    data_world_close(&world);
}

static void a_full_node_is_asked_again(void **state)
{
    (void)state;
    struct data_config config = small_config();
    data_world_open(&world, 6, &config);
    world_write(&world, 4, 2, 3000001, 9, &object);
    for (unsigned i = 0; i < 6; i++) {
        world.node.disks[i].limit_next = 3;
    }
    check_read(0, 3000001, 9);
    assert_int_equal(world.suspects, 0);
    data_world_close(&world);
}

static void disks_that_are_out_are_avoided_by_a_smaller_code(void **state)
{
    (void)state;
    static const unsigned want[7][2] = { { 0, 0 }, { 0, 0 }, { 1, 1 }, { 2, 1 }, { 2, 2 }, { 3, 2 }, { 4, 2 } };
    for (unsigned up = 6; up >= 1; up--) {
        struct data_config config = small_config();
        data_world_open(&world, 6, &config);
        for (unsigned i = up; i < 6; i++) {
            cluster_map_disk_state(world.map, fake_disk_id(i), DISK_FENCED, 0, 0);
        }
        world_write(&world, 4, 2, 2000000, 9, &object);
        if (up == 1) {
            assert_int_equal(object.status, ERRC_UNAVAILABLE);
        } else {
            const struct extent *e = &object.extents[0].extent;
            assert_int_equal(object.status, ERRC_OK);
            assert_int_equal(e->code.k, want[up][0]);
            assert_int_equal(e->code.m, want[up][1]);
            assert_int_equal(e->class_k, 4);
            assert_int_equal(e->class_m, 2);
            assert_int_equal(e->missing, 0);
            check_read(0, 2000000, 9);
        }
        data_world_close(&world);
    }
}

static void a_disk_that_fails_midway_is_left_out_or_avoided(void **state)
{
    (void)state;
    /* One of six fails after n calls, for every n, at a small and a large size. */
    for (unsigned size = 0; size < 3; size++) {
        uint64_t length = size == 0 ? 900 : size == 1 ? 40000 : 5000000;
        for (unsigned after = 0; after < 6; after++) {
            struct data_config config = small_config();
            data_world_open(&world, 6, &config);
            world.node.disks[2].fail = ERRC_IO;
            world.node.disks[2].fail_after = after;
            world_write(&world, 4, 2, length, 11, &object);
            assert_int_equal(object.status, ERRC_OK);
            const struct extent *e = &object.extents[0].extent;
            assert_true(__builtin_popcount(e->missing) <= 1);
            assert_true(e->missing == 0 || e->position[__builtin_ctz(e->missing)] == 2);
            check_read(0, length, 11);
            data_world_close(&world);
        }
    }
}

static void two_failures_place_buffered_data_elsewhere(void **state)
{
    (void)state;
    struct data_config config = small_config();
    data_world_open(&world, 6, &config);
    world.node.disks[1].fail = ERRC_IO;
    world.node.disks[4].fail = ERRC_NO_SPACE;
    world_write(&world, 4, 2, 400000, 11, &object);
    assert_int_equal(object.status, ERRC_OK);
    assert_int_equal(object.extents[0].extent.code.k, 2);
    assert_int_equal(object.extents[0].extent.code.m, 2);
    assert_int_equal(fake_node_shards(&world.node), 4); /* those of the first attempt are gone */
    check_read(0, 400000, 11);
    data_world_close(&world);

    /* A long stream whose first batch no shard has taken for good, at each call that may fail. */
    for (unsigned after = 0; after < 2; after++) {
        data_world_open(&world, 6, &config);
        world.node.disks[1].fail = ERRC_IO;
        world.node.disks[1].fail_after = after;
        world.node.disks[4].fail = ERRC_IO;
        world.node.disks[4].fail_after = after;
        world_write(&world, 4, 2, 30000000, 11, &object);
        assert_int_equal(object.status, ERRC_OK);
        assert_int_equal(object.extents[0].extent.code.k, 2);
        assert_int_equal(object.extents[0].extent.missing, 0);
        world.node.disks[1].fail = world.node.disks[4].fail = ERRC_OK;
        assert_int_equal(fake_node_shards(&world.node), 4 * object.extent_count);
        assert_int_equal(fake_node_open_shards(&world.node), 2 * after); /* on disks that failed the abort, too */
        check_read(0, 30000000, 11);
        data_world_close(&world);
    }

    /* One that is past that fails, and leaves nothing. */
    data_world_open(&world, 6, &config);
    world.node.disks[1].fail = ERRC_IO;
    world.node.disks[1].fail_after = 4;
    world.node.disks[4].fail = ERRC_IO;
    world.node.disks[4].fail_after = 5;
    world_write(&world, 4, 2, 30000000, 11, &object);
    assert_int_equal(object.status, ERRC_UNAVAILABLE);
    world.node.disks[1].fail = world.node.disks[4].fail = ERRC_OK;
    assert_int_equal(fake_node_shards(&world.node), 0);
    data_world_close(&world);
}

/* A prefix of any length is pushed when the disks fail: in the middle of a cell, a stripe, a batch. */
static void what_was_pushed_so_far_is_placed_again(void **state)
{
    (void)state;
    struct data_config config = small_config();
    for (uint64_t prefix = 1; prefix < 4500000; prefix = prefix * 2 + prefix / 3 + 17) {
        struct world_writer w;
        data_world_open(&world, 6, &config);
        world.node.disks[0].fail = world.node.disks[5].fail = ERRC_IO;
        world_writer_open(&w, &world, 4, 2, 5000000, 12, &object);
        uint8_t *bytes = mem_alloc(prefix);
        for (uint64_t i = 0; i < prefix; i++) {
            bytes[i] = world_byte(12, i);
        }
        w.pushed = object_writer_push(w.writer, slice_of(bytes, prefix));
        mem_free(bytes);
        (void)turn_env_drain(&world.env); /* the opening of shards 0 and 5 fails, and the rest is placed again */
        world_writer_pump(&w);
        assert_true(turn_env_run(&world.env, world_writer_finished, &w, 60000));
        assert_int_equal(object.status, ERRC_OK);
        assert_int_equal(object.extents[0].extent.code.k, 2);
        object_writer_keep(w.writer);
        world.node.disks[0].fail = world.node.disks[5].fail = ERRC_OK;
        (void)turn_env_drain(&world.env);
        check_read(0, 5000000, 12);
        data_world_close(&world);
    }
}

/* Several streams share little memory while disks fail at any of their calls: each is whole, or an error and nothing. */
static void placing_again_keeps_the_budget(void **state)
{
    (void)state;
    unsigned whole = 0;
    for (unsigned round = 0; round < 48; round++) {
        struct data_config config = small_config();
        struct world_writer w[3];
        struct written results[3];
        config.write_budget_bytes = 9u << 20;
        data_world_open(&world, 6, &config);
        world.node.disks[round % 6].fail = ERRC_IO;
        world.node.disks[round % 6].fail_after = round / 6;
        world.node.disks[(round + 2) % 6].fail = ERRC_UNAVAILABLE;
        world.node.disks[(round + 2) % 6].fail_after = round % 5;
        for (unsigned i = 0; i < 3; i++) {
            world_writer_open(&w[i], &world, 4, 2, 1500000 + 2000003 * i, 20 + i, &results[i]);
            world_writer_pump(&w[i]);
        }
        for (unsigned i = 0; i < 3; i++) {
            assert_true(turn_env_run(&world.env, world_writer_finished, &w[i], 60000));
        }
        world.node.disks[round % 6].fail = world.node.disks[(round + 2) % 6].fail = ERRC_OK;
        for (unsigned i = 0; i < 3; i++) {
            object = results[i];
            if (object.status == ERRC_OK) {
                object_writer_keep(w[i].writer);
                (void)turn_env_drain(&world.env);
                check_read(0, w[i].length, 20 + i);
                whole++;
            } else {
                assert_int_equal(object.status, ERRC_UNAVAILABLE);
                object_writer_discard(w[i].writer);
            }
        }
        data_world_close(&world);
    }
    assert_true(whole > 48); /* of 144 */
    print_message("%u of 144 streams whole\n", whole);
}

static void all_disks_full_is_no_space(void **state)
{
    (void)state;
    struct data_config config = small_config();
    data_world_open(&world, 6, &config);
    for (unsigned i = 0; i < 6; i++) {
        world.node.disks[i].fail = ERRC_NO_SPACE;
    }
    world_write(&world, 4, 2, 30000000, 11, &object);
    assert_int_equal(object.status, ERRC_NO_SPACE);
    data_world_close(&world);
}

static void a_hung_disk_is_given_up_by_a_write(void **state)
{
    (void)state;
    struct data_config config = small_config();
    data_world_open(&world, 6, &config);
    world.node.disks[3].hangs = true;
    world_write(&world, 4, 2, 5000000, 11, &object);
    assert_int_equal(object.status, ERRC_OK);
    assert_int_equal(__builtin_popcount(object.extents[0].extent.missing), 1);
    check_read(0, 5000000, 11);
    fake_node_release(&world.node);
    data_world_close(&world);
}

/* Its node was called silent while a write waited: no need to wait as long as for one that may be slow. */
static void a_disk_that_is_gone_is_given_up_soon(void **state)
{
    (void)state;
    for (unsigned size = 0; size < 2; size++) {
        struct data_config config = small_config();
        struct world_writer w;
        config.call_timeout_ms = 20000;
        config.gone_call_ms = 2000;
        data_world_open(&world, 6, &config);
        world.node.disks[3].hangs = true;
        uint64_t start = env_now_ns(&world.env.env);
        world_writer_open(&w, &world, 4, 2, size == 0 ? 40000 : 5000000, 11, &object);
        world_writer_pump(&w);
        assert_false(turn_env_run(&world.env, world_writer_finished, &w, 3500));
        cluster_map_disk_state(world.map, fake_disk_id(3), DISK_ABSENT, 0, 0);
        assert_true(turn_env_run(&world.env, world_writer_finished, &w, 2000));
        assert_true(env_now_ns(&world.env.env) - start < 6000 * UINT64_C(1000000));
        assert_int_equal(object.status, ERRC_OK);
        assert_int_equal(__builtin_popcount(object.extents[0].extent.missing), 1);
        object_writer_keep(w.writer);
        check_read(0, size == 0 ? 40000 : 5000000, 11);
        fake_node_release(&world.node);
        data_world_close(&world);
    }
}

/* Two nodes of six stop, whichever: an upload of any size goes elsewhere once they are called away. */
static void two_disks_that_are_gone_are_done_without(void **state)
{
    (void)state;
    const uint64_t lengths[] = { 900, 40000, 1900000, 5000000, 20000000 };
    for (unsigned round = 0; round < 15 * 5; round++) {
        struct data_config config = small_config();
        struct world_writer w;
        unsigned first = 0;
        unsigned second = 1;
        for (unsigned i = 0; i < round % 15; i++) { /* the pair of that number */
            second++;
            first += second == 6;
            second = second == 6 ? first + 1 : second;
        }
        config.call_timeout_ms = 20000;
        config.gone_call_ms = 2000;
        data_world_open(&world, 6, &config);
        world.node.disks[first].hangs = world.node.disks[second].hangs = true;
        world_writer_open(&w, &world, 4, 2, lengths[round / 15], 11, &object);
        world_writer_pump(&w);
        (void)turn_env_run(&world.env, world_writer_finished, &w, 3500);
        cluster_map_disk_state(world.map, fake_disk_id(first), DISK_ABSENT, 0, 0);
        cluster_map_disk_state(world.map, fake_disk_id(second), DISK_ABSENT, 0, 0);
        assert_true(turn_env_run(&world.env, world_writer_finished, &w, 3000));
        assert_int_equal(object.status, ERRC_OK);
        object_writer_keep(w.writer);
        (void)turn_env_drain(&world.env);
        check_read(0, w.length, 11);
        fake_node_release(&world.node);
        data_world_close(&world);
    }
}

static void discard_frees_every_shard_at_every_step(void **state)
{
    (void)state;
    static const uint64_t lengths[] = { 900, 40000, 5000000 };
    for (size_t l = 0; l < 3; l++) {
        for (unsigned steps = 0; steps < 150; steps++) {
            struct data_config config = small_config();
            data_world_open(&world, 6, &config);
            struct world_writer w;
            world_writer_open(&w, &world, 4, 2, lengths[l], 1, &object);
            world_writer_pump(&w);
            for (unsigned i = 0; i < steps && world.env.first != NULL; i++) {
                struct task *task = world.env.first;
                world.env.first = task->next;
                world.env.last = world.env.first == NULL ? NULL : world.env.last;
                task->run(task);
            }
            object_writer_discard(w.writer);
            (void)turn_env_drain(&world.env);
            assert_int_equal(fake_node_shards(&world.node), 0);
            assert_int_equal(fake_node_open_shards(&world.node), 0);
            data_world_close(&world);
        }
    }
}

static void never_ready(void *data)
{
    (void)data;
    abort(); /* nothing was asked for, so nothing is owed */
}

static void a_reader_can_be_closed_at_every_step(void **state)
{
    (void)state;
    for (unsigned steps = 0; steps < 60; steps++) {
        struct data_config config = small_config();
        config.read_budget_bytes = steps % 2 == 0 ? 1u << 20 : 64u << 20;
        data_world_open(&world, 6, &config);
        world_write(&world, 4, 2, 9000000, 1, &object);
        if (steps % 3 == 0) {
            assert_true(fake_node_drop(&world.node, object.extents[0].extent.id, 2));
        }
        struct object_reader_params params = {
            .executor = &world.env.executor.executor, .length = 9000000, .extent_count = 1,
            .extents = object.extents, .extents_until = 9000000, .on_ready = never_ready,
        };
        struct object_reader *reader = object_reader_open(&world.store, &params);
        for (unsigned i = 0; i < steps && world.env.first != NULL; i++) {
            struct task *task = world.env.first;
            world.env.first = task->next;
            world.env.last = world.env.first == NULL ? NULL : world.env.last;
            task->run(task);
        }
        object_reader_close(reader);
        (void)turn_env_drain(&world.env);
        data_world_close(&world);
    }
}

static void a_small_budget_is_shared_by_many_writers(void **state)
{
    (void)state;
    struct data_config config = small_config();
    config.write_budget_bytes = 4u << 20;
    data_world_open(&world, 6, &config);
    static struct written results[8];
    struct world_writer writers[8];
    for (unsigned i = 0; i < 8; i++) {
        world_writer_open(&writers[i], &world, 4, 2, 6000000 + i, i, &results[i]);
    }
    for (unsigned i = 0; i < 8; i++) {
        world_writer_pump(&writers[i]);
        assert_true(data_budget_used(&world.store.write_budget) <= 4u << 20);
        assert_true(i == 0 || writers[i].pushed < writers[i].length);
    }
    for (unsigned i = 0; i < 8; i++) {
        assert_true(turn_env_run(&world.env, world_writer_finished, &writers[i], 60000));
        assert_int_equal(results[i].status, ERRC_OK);
        object_writer_keep(writers[i].writer);
    }
    for (unsigned i = 0; i < 8; i++) {
        uint64_t got = 0;
        assert_int_equal(world_read(&world, &results[i], 0, results[i].length, i, &got), ERRC_OK);
    }
    data_world_close(&world);
}

/* Clients that hardly send hold all the memory there is: they give way as soon as somebody waits for it. */
static void slow_streams_give_way_to_others(void **state)
{
    (void)state;
    struct data_config config = small_config();
    config.write_budget_bytes = 4u << 20;
    data_world_open(&world, 6, &config);
    static struct written slow_result, quick_result;
    struct world_writer slow, quick;
    world_writer_open(&slow, &world, 4, 2, 6000000, 1, &slow_result);
    assert_int_equal(object_writer_push(slow.writer, slice_str("a little")), 8);
    assert_true(data_budget_used(&world.store.write_budget) > 0);
    (void)turn_env_run(&world.env, world_writer_finished, &slow, 20000);
    assert_int_equal(object_writer_status(slow.writer), ERRC_OK); /* nobody needs what it holds */

    world_writer_open(&quick, &world, 4, 2, 6000000, 2, &quick_result);
    world_writer_pump(&quick);
    assert_true(turn_env_run(&world.env, world_writer_finished, &quick, 20000));
    assert_int_equal(quick_result.status, ERRC_OK);
    assert_int_equal(object_writer_status(slow.writer), ERRC_LIMIT);
    object_writer_keep(quick.writer);
    object_writer_discard(slow.writer);
    (void)turn_env_drain(&world.env);
    assert_int_equal(data_budget_used(&world.store.write_budget), 0);
    assert_int_equal(fake_node_open_shards(&world.node), 0);
    data_world_close(&world);
}

static void fewer_bytes_than_declared_is_no_object(void **state)
{
    (void)state;
    struct data_config config = small_config();
    data_world_open(&world, 6, &config);
    struct world_writer w;
    world_writer_open(&w, &world, 4, 2, 500000, 1, &object);
    w.length = 400000; /* the body ends early */
    world_writer_pump(&w);
    assert_true(turn_env_run(&world.env, world_writer_finished, &w, 60000));
    assert_int_equal(object.status, ERRC_INVALID);
    object_writer_discard(w.writer);
    (void)turn_env_drain(&world.env);
    assert_int_equal(fake_node_shards(&world.node), 0);
    data_world_close(&world);
}

static void further_references_are_asked_for_page_by_page(void **state)
{
    (void)state;
    struct data_config config = small_config();
    data_world_open(&world, 6, &config);
    /* Five references into one extent, out of order, as copies make them. */
    world_write(&world, 4, 2, 1000000, 6, &object);
    struct meta_data_extent whole = object.extents[0];
    for (unsigned i = 0; i < 5; i++) {
        world.meta_service.more[i] = whole;
        world.meta_service.more[i].offset = 200000u * i;
        world.meta_service.more[i].length = 200000;
        world.meta_service.more[i].object_offset = 200000u * i;
    }
    world.meta_service.more_count = 5;
    struct meta_query more = { .bucket_id = 3, .key = slice_str("key") };
    object.extents[0] = world.meta_service.more[0];
    object.more = &more;
    check_read(0, 1000000, 6);
    check_read(150000, 700001, 6);
    uint64_t got = 0;
    world.meta_service.more_count = 4;
    assert_int_equal(world_read(&world, &object, 0, 1000000, 6, &got), ERRC_CORRUPT);
    assert_true(got == 800000);
    object.more = NULL;
    assert_int_equal(world_read(&world, &object, 0, 300000, 6, &got), ERRC_CORRUPT);
    data_world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_boundary_round_trips),
        cmocka_unit_test(objects_longer_than_an_extent_round_trip),
        cmocka_unit_test(small_objects_are_copies_and_one_put_each),
        cmocka_unit_test(a_range_touches_only_its_cells),
        cmocka_unit_test(every_loss_of_two_shards_is_read_through),
        cmocka_unit_test(too_much_loss_ends_the_stream_with_the_reason),
        cmocka_unit_test(copies_survive_the_loss_of_m),
        cmocka_unit_test(a_hung_disk_is_hedged_with_parity),
        cmocka_unit_test(a_full_node_is_asked_again),
        cmocka_unit_test(disks_that_are_out_are_avoided_by_a_smaller_code),
        cmocka_unit_test(a_disk_that_fails_midway_is_left_out_or_avoided),
        cmocka_unit_test(two_failures_place_buffered_data_elsewhere),
        cmocka_unit_test(what_was_pushed_so_far_is_placed_again),
        cmocka_unit_test(placing_again_keeps_the_budget),
        cmocka_unit_test(all_disks_full_is_no_space),
        cmocka_unit_test(a_hung_disk_is_given_up_by_a_write),
        cmocka_unit_test(a_disk_that_is_gone_is_given_up_soon),
        cmocka_unit_test(two_disks_that_are_gone_are_done_without),
        cmocka_unit_test(discard_frees_every_shard_at_every_step),
        cmocka_unit_test(a_reader_can_be_closed_at_every_step),
        cmocka_unit_test(a_small_budget_is_shared_by_many_writers),
        cmocka_unit_test(slow_streams_give_way_to_others),
        cmocka_unit_test(fewer_bytes_than_declared_is_no_object),
        cmocka_unit_test(further_references_are_asked_for_page_by_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
