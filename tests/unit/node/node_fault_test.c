/*
 * Goal: a disk that fails is fenced at the first failure, nothing is acknowledged that failed, and a restart
 * has all that was acknowledged. A full disk refuses writes, goes on to serve reads and frees, and comes back.
 */
#include "common/base/mem.h"
#include "common/rpc/rpc_schema.h"
#include "tests/lib/env_fault.h"
#include "tests/lib/node_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#define SHARDS 12

static struct test_shard shard_of(uint64_t id)
{
    if (id % 4 == 0) {
        return (struct test_shard){ .id = id, .bytes = 300000, .cell_bytes = 64 << 10 };
    }
    return (struct test_shard){ .id = id, .bytes = 90000 + (uint32_t)id, .cell_bytes = 64 << 10 };
}

static enum errc put(struct node_fixture *f, uint64_t id)
{
    struct test_shard shard = shard_of(id);
    return id % 4 == 0 ? node_client_stream(&f->client, &shard, 2) : node_client_put(&f->client, &shard);
}

/* Fails the n-th call of a kind while shards are put; returns whether the call was reached. */
static bool run_with_failure(enum fault_kind kind, uint64_t n)
{
    struct env_fault fault;
    env_fault_init(&fault, env_real(), "/dev/shm/cairn-node-");
    struct node_fixture f;
    node_fixture_init(&f, "/dev/shm", &fault.env);
    f.options.segment_bytes = 256u << 10;
    assert_int_equal(node_fixture_start(&f), DISK_ONLINE);
    env_fault_arm(&fault, kind, n, false, ERRC_IO);
    bool stored[SHARDS + 1] = { false };
    for (uint64_t id = 1; id <= SHARDS; id++) {
        stored[id] = put(&f, id) == ERRC_OK;
    }
    bool reached = atomic_load(&fault.failed) > 0;
    if (reached) {
        assert_int_equal(node_disk_state(f.client.node, f.client.disk), DISK_FENCED);
        assert_false(stored[SHARDS]);
        struct test_shard first = shard_of(1);
        assert_int_equal(node_client_read(&f.client, &first), ERRC_IO);
    }
    env_fault_disarm(&fault);
    node_fixture_stop(&f);
    assert_int_equal(node_fixture_start(&f), DISK_ONLINE);
    for (uint64_t id = 1; id <= SHARDS; id++) {
        struct test_shard shard = shard_of(id);
        enum errc rc = node_client_read(&f.client, &shard);
        assert_true(rc == ERRC_OK || (rc == ERRC_NOT_FOUND && !stored[id]));
    }
    assert_int_equal(atomic_load(&f.client.corrupt_count), 0);
    node_fixture_done(&f);
    return reached;
}

static void every_failure_of_a_kind(enum fault_kind kind, uint64_t at_least)
{
    uint64_t n = 1;
    while (run_with_failure(kind, n)) {
        n++;
        assert_true(n < 200);
    }
    assert_true(n > at_least);
}

static void every_failed_write_fences(void **state)
{
    (void)state;
    every_failure_of_a_kind(FAULT_PWRITE, 12);
}

static void every_failed_sync_fences(void **state)
{
    (void)state;
    every_failure_of_a_kind(FAULT_FDATASYNC, 12);
}

static void every_failed_folder_sync_fences(void **state)
{
    (void)state;
    every_failure_of_a_kind(FAULT_FSYNC_DIR, 3);
}

/* Rebuilds the index with the n-th folder sync failing; returns whether there was one. The next start has all. */
static bool rebuild_with_failure(uint64_t n)
{
    struct env_fault fault;
    env_fault_init(&fault, env_real(), "/dev/shm/cairn-node-");
    struct node_fixture f;
    node_fixture_init(&f, "/dev/shm", &fault.env);
    assert_int_equal(node_fixture_start(&f), DISK_ONLINE);
    for (uint64_t id = 1; id <= SHARDS; id++) {
        assert_int_equal(put(&f, id), ERRC_OK);
    }
    node_fixture_stop(&f);
    char command[200];
    (void)snprintf(command, sizeof(command), "rm %s/index/MANIFEST-*", f.dir);
    assert_int_equal(system(command), 0);
    env_fault_arm(&fault, FAULT_FSYNC_DIR, n, false, ERRC_IO);
    enum disk_state started = node_fixture_start(&f);
    bool reached = atomic_load(&fault.failed) > 0;
    assert_int_equal(started, reached ? DISK_FENCED : DISK_ONLINE);
    env_fault_disarm(&fault);
    node_fixture_stop(&f);
    assert_int_equal(node_fixture_start(&f), DISK_ONLINE);
    for (uint64_t id = 1; id <= SHARDS; id++) {
        struct test_shard shard = shard_of(id);
        assert_int_equal(node_client_read(&f.client, &shard), ERRC_OK);
    }
    node_fixture_done(&f);
    return reached;
}

static void a_rebuild_of_the_index_that_fails_is_done_again(void **state)
{
    (void)state;
    uint64_t n = 1;
    while (rebuild_with_failure(n)) {
        n++;
        assert_true(n < 50);
    }
    assert_true(n > 3); /* the segments' folder, the mark, the new index, the mark's end */
}

static void a_failed_read_fences(void **state)
{
    (void)state;
    struct env_fault fault;
    env_fault_init(&fault, env_real(), "/dev/shm/cairn-node-");
    struct node_fixture f;
    node_fixture_init(&f, "/dev/shm", &fault.env);
    assert_int_equal(node_fixture_start(&f), DISK_ONLINE);
    assert_int_equal(put(&f, 1), ERRC_OK);
    env_fault_arm(&fault, FAULT_PREAD, 1, true, ERRC_IO);
    struct test_shard shard = shard_of(1);
    assert_int_equal(node_client_read(&f.client, &shard), ERRC_IO);
    assert_int_equal(node_disk_state(f.client.node, f.client.disk), DISK_FENCED);
    assert_int_equal(put(&f, 2), ERRC_IO);
    env_fault_disarm(&fault);
    assert_int_equal(put(&f, 2), ERRC_IO); /* for good, until a restart */
    node_fixture_done(&f);
}

static void a_full_disk_reads_and_frees(void **state)
{
    (void)state;
    struct env_fault fault;
    env_fault_init(&fault, env_real(), "/dev/shm/cairn-node-");
    struct node_fixture f;
    node_fixture_init(&f, "/dev/shm", &fault.env);
    f.options.segment_bytes = 256u << 10;
    assert_int_equal(node_fixture_start(&f), DISK_ONLINE);
    for (uint64_t id = 1; id <= 6; id++) {
        assert_int_equal(put(&f, id), ERRC_OK);
    }
    env_fault_arm(&fault, FAULT_SPACE, 1, true, ERRC_NO_SPACE);
    enum errc rc = ERRC_OK;
    uint64_t id = 6;
    while (rc == ERRC_OK && id < 100) {
        rc = put(&f, ++id);
    }
    assert_int_equal(rc, ERRC_NO_SPACE);
    assert_int_equal(node_disk_state(f.client.node, f.client.disk), DISK_FULL);
    assert_int_equal(put(&f, 200), ERRC_NO_SPACE);
    assert_int_equal(put(&f, 201), ERRC_NO_SPACE);
    for (uint64_t i = 1; i < id; i++) {
        struct test_shard shard = shard_of(i);
        assert_int_equal(node_client_read(&f.client, &shard), ERRC_OK);
    }
    uint64_t ids[] = { 1, 2, 4 };
    assert_int_equal(node_client_free(&f.client, ids, 3), ERRC_OK);
    struct test_shard freed = shard_of(4);
    assert_int_equal(node_client_read(&f.client, &freed), ERRC_NOT_FOUND);
    atomic_store(&f.client.state, 0);
    env_fault_disarm(&fault);
    assert_int_equal(node_client_wait_state(&f.client), DISK_ONLINE);
    assert_int_equal(put(&f, 202), ERRC_OK);
    node_fixture_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_failed_write_fences),
        cmocka_unit_test(every_failed_sync_fences),
        cmocka_unit_test(every_failed_folder_sync_fences),
        cmocka_unit_test(a_rebuild_of_the_index_that_fails_is_done_again),
        cmocka_unit_test(a_failed_read_fences),
        cmocka_unit_test(a_full_disk_reads_and_frees),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
