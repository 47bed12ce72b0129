/*
 * Goal: many calls at once are all answered and share syncs. With NODE_SPEED_DIR=folder it is a measurement:
 * larger counts, figures on standard output (storage-node/README.md "Measured").
 */
#include "common/base/bytes.h"
#include "common/base/crc32c.h"
#include "common/base/mem.h"
#include "common/rpc/rpc_schema.h"
#include "tests/lib/node_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define CELL_BYTES (128u << 10)
#define CELLS_MAX 8

struct speed {
    struct node_fixture f;
    uint32_t bytes;
    uint64_t end;                      /* first id that is not asked for */
    bool reading;
    atomic_uint_fast64_t next, done, failed;
};

struct lane {                          /* one caller: its next call starts when the last was answered */
    struct rpc_call call;
    struct enc head;
    struct buffer *payload;
    struct speed *speed;
};

static void lane_next(struct lane *lane);

static void on_lane_done(struct rpc_call *call)
{
    struct lane *lane = call->data;
    struct speed *speed = lane->speed;
    if (call->status != ERRC_OK) {
        atomic_fetch_add(&speed->failed, 1);
    }
    rpc_call_release(call);
    lane_next(lane);
    atomic_fetch_add(&speed->done, 1);
}

static void lane_put(struct lane *lane, const struct test_shard *shard)
{
    uint8_t crcs[4 * CELLS_MAX];
    struct node_shard_put message = {
        .disk = lane->speed->f.client.disk,
        .header = test_shard_header(&lane->speed->f.client, shard),
    };
    for (uint32_t i = 0; i < message.header.cell_count; i++) {
        uint32_t at = i * shard->cell_bytes;
        uint32_t len = shard->bytes - at < shard->cell_bytes ? shard->bytes - at : shard->cell_bytes;
        store_le32(crcs + 4 * (size_t)i, crc32c(lane->payload->data + at, len));
    }
    message.cell_crcs = slice_of(crcs, 4 * (size_t)message.header.cell_count);
    node_shard_put_encode(&lane->head, &message);
    lane->call.method = RPC_NODE_SHARD_PUT;
    lane->call.payloads[0] = lane->payload;
    lane->call.payload_count = 1;
}

static void lane_read(struct lane *lane, const struct test_shard *shard)
{
    struct node_shard_read message = {
        .disk = lane->speed->f.client.disk,
        .extent = test_extent(shard->id),
        .index = (uint8_t)(shard->id % 6),
        .cell_count = (shard->bytes + shard->cell_bytes - 1) / shard->cell_bytes,
    };
    node_shard_read_encode(&lane->head, &message);
    lane->call.method = RPC_NODE_SHARD_READ;
}

static void lane_next(struct lane *lane)
{
    struct speed *speed = lane->speed;
    struct test_shard shard = {
        .id = atomic_fetch_add(&speed->next, 1),
        .bytes = speed->bytes,
        .cell_bytes = speed->bytes < CELL_BYTES ? speed->bytes : CELL_BYTES,
    };
    if (shard.id >= speed->end) {
        return;
    }
    memset(&lane->call, 0, sizeof(lane->call));
    enc_reset(&lane->head);
    if (speed->reading) {
        lane_read(lane, &shard);
    } else {
        lane_put(lane, &shard);
    }
    lane->call.head = enc_slice(&lane->head);
    lane->call.reply_to = speed->f.home;
    lane->call.done = on_lane_done;
    lane->call.data = lane;
    rpc_call_start(node_channel(speed->f.client.node), &lane->call);
}

static double seconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Ids [first, first + count) from `callers` lanes; returns the number of syncs. */
static uint64_t run(struct speed *speed, bool reading, unsigned callers, uint64_t first, uint64_t count,
                    uint32_t bytes)
{
    speed->reading = reading;
    speed->bytes = bytes;
    speed->end = first + count;
    atomic_store(&speed->next, first);
    atomic_store(&speed->done, 0);
    struct lane *lanes = mem_zalloc(callers * sizeof(*lanes));
    uint64_t syncs = node_client_status(&speed->f.client).fsync_count;
    for (unsigned i = 0; i < callers; i++) {
        lanes[i].speed = speed;
        lanes[i].payload = buffer_new(bytes);
        lanes[i].payload->len = bytes;
        memset(lanes[i].payload->data, (int)i, bytes);
    }
    double start = seconds();
    for (unsigned i = 0; i < callers; i++) {
        lane_next(&lanes[i]);
    }
    while (atomic_load(&speed->done) < count) {
        struct timespec pause = { .tv_nsec = 100000 };
        (void)nanosleep(&pause, NULL);
    }
    double elapsed = seconds() - start;
    syncs = node_client_status(&speed->f.client).fsync_count - syncs;
    if (getenv("NODE_SPEED_DIR") != NULL) {
        printf("%s %7u bytes, %2u callers: %8.0f/s, %7.1f MiB/s, %llu syncs\n", reading ? "read" : "put ", bytes,
               callers, (double)count / elapsed, (double)count * bytes / elapsed / 1048576,
               (unsigned long long)syncs);
    }
    for (unsigned i = 0; i < callers; i++) {
        buffer_unref(lanes[i].payload);
        enc_free(&lanes[i].head);
    }
    mem_free(lanes);
    return syncs;
}

static void callers_share_syncs(void **state)
{
    (void)state;
    const char *folder = getenv("NODE_SPEED_DIR");
    uint64_t scale = folder != NULL ? 40 : 1;
    struct speed *speed = mem_zalloc(sizeof(*speed));
    node_fixture_init(&speed->f, folder != NULL ? folder : "/tmp", NULL);
    speed->f.options.segment_bytes = folder != NULL ? 64u << 20 : 4u << 20;
    assert_int_equal(node_fixture_start(&speed->f), DISK_ONLINE);
    assert_true(run(speed, false, 1, 1, 100 * scale, 4096) >= 100 * scale);
    assert_true(run(speed, false, 16, 100000, 1000 * scale, 4096) < 1000 * scale);
    assert_true(run(speed, false, 64, 200000, 2000 * scale, 4096) < 1500 * scale);
    (void)run(speed, false, 4, 400000, 20 * scale, 1u << 20);
    (void)run(speed, true, 1, 100000, 1000 * scale, 4096);
    (void)run(speed, true, 32, 100000, 1000 * scale, 4096);
    (void)run(speed, true, 4, 400000, 20 * scale, 1u << 20);
    assert_int_equal(atomic_load(&speed->failed), 0);
    node_fixture_done(&speed->f);
    mem_free(speed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(callers_share_syncs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
