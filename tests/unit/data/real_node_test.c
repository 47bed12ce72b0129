/*
 * real_node_test - the streams over the real storage node: six folders, real files and threads.
 * Method: one serial executor plays the loop thread; the test's thread waits for flags. Every byte compared.
 */
#include "common/base/assert.h"
#include "common/base/mem.h"
#include "gateway/data/extent_rebuild.h"
#include "gateway/data/object_reader.h"
#include "gateway/data/object_writer.h"
#include "gateway/data/shard_call.h"
#include "storage-node/node.h"
#include "storage-node/superblock.h"
#include "tests/lib/fake_meta.h"
#include "tests/lib/fake_node.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include <cmocka.h>

#define DISKS 6

static struct {
    char root[64];
    struct env *env;
    struct executor *home, *loop;
    struct node *node;
    atomic_uint online;
    struct fake_meta meta_service;
    struct metadata_client meta;
    struct session *session;
    struct cluster_map *map;
    struct data_store store;
    atomic_bool flag;
    struct task task;
    /* the stream under way */
    struct object_writer *writer;
    struct object_reader *reader;
    const uint8_t *bytes;
    uint64_t length, at, first;
    enum errc status;
    uint32_t extent_count;
    struct meta_data_extent extents[16];
    struct extent_rebuild_result rebuilt;
} w;

static uint8_t *pattern;

static void pause_ms(long ms)
{
    struct timespec t = { 0, ms * 1000000 };
    (void)nanosleep(&t, NULL); /* woken early it is asked again */
}

static void wait_flag(void)
{
    for (unsigned i = 0; i < 600000 && !atomic_load(&w.flag); i++) {
        pause_ms(i < 2000 ? 0 : 1);
    }
    assert_true(atomic_load(&w.flag));
}

static void on_loop(void (*run)(struct task *task))
{
    atomic_store(&w.flag, false);
    w.task.run = run;
    executor_post(w.loop, &w.task);
    wait_flag();
}

static void on_disk_state(void *data, struct disk_id disk, enum disk_state state, const char *reason)
{
    (void)data;
    (void)disk;
    (void)reason;
    if (state == DISK_ONLINE) {
        atomic_fetch_add(&w.online, 1);
    }
}

static void on_corrupt(void *data, struct disk_id disk, struct extent_id extent, uint8_t index)
{
    (void)data;
    (void)disk;
    (void)extent;
    (void)index;
}

static void on_status(void *data, enum errc status)
{
    (void)data;
    w.status = status;
    atomic_store(&w.flag, true);
}

static void run_session_open(struct task *task)
{
    (void)task;
    session_open(w.session, on_status, NULL);
}

static void run_refresh(struct task *task)
{
    (void)task;
    cluster_map_refresh(w.map, on_status, NULL);
}

static void run_session_close(struct task *task)
{
    (void)task;
    session_close(w.session, on_status, NULL);
}

static int world_open(void **state)
{
    (void)state;
    static char paths[DISKS][80];
    struct node_disk_config disks[DISKS];
    memset(disks, 0, sizeof(disks));
    (void)snprintf(w.root, sizeof(w.root), "%s/cairn-data-XXXXXX", P_tmpdir);
    ASSERT(mkdtemp(w.root) != NULL);
    w.env = env_real();
    for (unsigned i = 0; i < DISKS; i++) {
        struct superblock superblock = { .cluster = { { 9 } }, .disk = fake_disk_id(i) };
        (void)snprintf(paths[i], sizeof(paths[i]), "%s/%u", w.root, i);
        int made = mkdir(paths[i], 0700);
        ASSERT(made == 0);
        enum errc rc = superblock_write(w.env, paths[i], &superblock, NULL);
        ASSERT(rc == ERRC_OK);
        disks[i].id = fake_disk_id(i);
        disks[i].path = paths[i];
    }
    w.home = w.env->vt->executor_create(w.env, "home", 1);
    w.loop = w.env->vt->executor_create(w.env, "loop", 1);
    struct node_config config = { .env = w.env, .kv_factory = kv_factory_rocksdb(), .home = w.home, .cluster = { { 9 } },
                                  .callbacks = { on_disk_state, on_corrupt, NULL }, .disk_count = DISKS, .disks = disks };
    struct error e = ERROR_INIT;
    enum errc opened = node_open(&config, &w.node, &e);
    ASSERT(opened == ERRC_OK);
    for (unsigned i = 0; i < 10000 && atomic_load(&w.online) < DISKS; i++) {
        pause_ms(1);
    }
    ASSERT(atomic_load(&w.online) == DISKS);
    fake_meta_init(&w.meta_service, w.loop);
    fake_meta_disks(&w.meta_service, DISKS);
    metadata_client_init(&w.meta, &w.meta_service.channel, w.env, 5000);
    struct session_config session = { w.env, w.loop, &w.meta, { { 1 } }, 1000 };
    w.session = session_create(&session);
    struct cluster_map_config map = { .env = w.env, .executor = w.loop, .meta = &w.meta, .cluster = { { 9 } },
                                      .local = node_channel(w.node) };
    w.map = cluster_map_create(&map);
    struct data_config data = data_config_default();
    data_store_init(&w.store, w.env, &data, &w.meta, w.session, w.map);
    on_loop(run_session_open);
    on_loop(run_refresh);
    ASSERT(w.status == ERRC_OK);
    return 0;
}

static void on_node_closed(void *data)
{
    (void)data;
    atomic_store(&w.flag, true);
}

static int world_close(void **state)
{
    (void)state;
    pause_ms(50); /* frees in the background */
    on_loop(run_session_close);
    pause_ms(20);
    session_destroy(w.session);
    cluster_map_destroy(w.map);
    atomic_store(&w.flag, false);
    node_close(w.node, on_node_closed, NULL);
    wait_flag();
    executor_destroy(w.loop);
    executor_destroy(w.home);
    char command[128];
    (void)snprintf(command, sizeof(command), "rm -rf %s", w.root);
    int rc = system(command);
    ASSERT(rc == 0);
    return 0;
}

/* ---- streams ---- */

static void on_written(void *data, const struct object_writer_result *result)
{
    (void)data;
    w.status = result->status;
    w.extent_count = result->extent_count;
    uint64_t at = 0;
    for (uint32_t i = 0; i < result->extent_count; i++) {
        w.extents[i] = (struct meta_data_extent){ result->extents[i], 0, result->refs[i].length, at };
        at += result->refs[i].length;
    }
    if (result->status == ERRC_OK) {
        object_writer_keep(w.writer);
    } else {
        object_writer_discard(w.writer);
    }
    atomic_store(&w.flag, true);
}

static void on_push(void *data)
{
    (void)data;
    while (w.at < w.length) {
        size_t len = w.length - w.at < 65536 ? (size_t)(w.length - w.at) : 65536;
        size_t taken = object_writer_push(w.writer, slice_of(w.bytes + w.at, len));
        w.at += taken;
        if (taken < len) {
            return;
        }
    }
    object_writer_finish(w.writer, slice_str("footer"), on_written);
}

static void run_write(struct task *task)
{
    (void)task;
    struct object_writer_params params = { .executor = w.loop, .length = w.length, .class_k = 4, .class_m = 2,
                                           .owner = { .bucket_id = 1, .key = slice_str("k") }, .on_ready = on_push };
    w.at = 0;
    w.writer = object_writer_open(&w.store, &params);
    on_push(NULL);
}

static void on_pull(void *data)
{
    (void)data;
    for (;;) {
        struct slice bytes;
        struct buffer *buffer = NULL;
        enum errc rc = object_reader_next(w.reader, &bytes, &buffer);
        if (rc == ERRC_WOULD_BLOCK) {
            return;
        }
        if (rc == ERRC_OK && bytes.len > 0) {
            if (memcmp(bytes.data, w.bytes + w.first + w.at, bytes.len) != 0) {
                abort(); /* a wrong byte left the reader */
            }
            w.at += bytes.len;
            buffer_unref(buffer);
            continue;
        }
        w.status = rc;
        object_reader_close(w.reader);
        atomic_store(&w.flag, true);
        return;
    }
}

static void run_read(struct task *task)
{
    (void)task;
    struct object_reader_params params = { .executor = w.loop, .first = w.first, .length = w.length, .index = 1,
                                           .extent_count = w.extent_count, .extents = w.extents,
                                           .extents_until = UINT64_MAX, .on_ready = on_pull };
    w.at = 0;
    w.reader = object_reader_open(&w.store, &params);
    on_pull(NULL);
}

static void write_bytes(uint64_t length)
{
    w.length = length;
    on_loop(run_write);
    assert_int_equal(w.status, ERRC_OK);
}

static void read_bytes(uint64_t first, uint64_t length)
{
    w.first = first;
    w.length = length;
    on_loop(run_read);
    assert_int_equal(w.status, ERRC_OK);
    assert_true(w.at == length);
}

static uint32_t drop;

static void run_drop(struct task *task)
{
    (void)task;
    struct cluster_map_shard where[CODE_SHARDS_MAX];
    if (cluster_map_locate(w.map, &w.extents[0].extent, where) == ERRC_OK) {
        shard_call_free_shards(&w.store, w.loop, w.extents[0].extent.id, drop, where);
    }
    atomic_store(&w.flag, true);
}

static void on_rebuilt(void *data, const struct extent_rebuild_result *result)
{
    (void)data;
    w.rebuilt = *result;
    atomic_store(&w.flag, true);
}

static void run_rebuild(struct task *task)
{
    (void)task;
    w.extents[0].extent.missing = drop;
    w.meta_service.extent_count = 0;
    fake_meta_add(&w.meta_service, &w.extents[0].extent);
    struct extent_rebuild_params params = { .executor = w.loop, .extent = w.extents[0].extent, .done = on_rebuilt };
    (void)extent_rebuild_start(&w.store, &params);
}

static const uint64_t lengths[] = { 8193, 30000, 65536, 65537, 500000, 524288, 3000001, 10u << 20 };

static void objects_round_trip(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        write_bytes(lengths[i]);
        assert_int_equal(w.extents[0].extent.missing, 0);
        read_bytes(0, lengths[i]);
        read_bytes(lengths[i] / 2, lengths[i] / 3);
        read_bytes(lengths[i] - 1, 1);
    }
}

static void lost_shards_are_read_through_and_rebuilt(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        write_bytes(lengths[i]);
        drop = i % 2 == 0 ? 3 : 5;
        on_loop(run_drop);
        pause_ms(30);
        read_bytes(0, lengths[i]);
        assert_true(atomic_load(&w.store.reads_decoded) > 0);
        on_loop(run_rebuild);
        assert_int_equal(w.rebuilt.status, ERRC_OK);
        assert_int_equal(w.meta_service.extents[0].missing, 0);
        w.extents[0].extent = w.meta_service.extents[0];
        uint64_t decoded = atomic_load(&w.store.reads_decoded);
        read_bytes(0, lengths[i]);
        assert_true(atomic_load(&w.store.reads_decoded) == decoded);
    }
}

static void one_stream_is_measured(void **state)
{
    (void)state;
    const uint64_t bytes = 32u << 20;
    uint64_t start_ns = env_now_ns(w.env);
    write_bytes(bytes);
    uint64_t written_ns = env_now_ns(w.env);
    read_bytes(0, bytes);
    uint64_t read_ns = env_now_ns(w.env);
    print_message("one stream of 32 MiB, 4+2 in six folders: write %.0f MiB/s, read %.0f MiB/s\n",
                  32e9 / (double)(written_ns - start_ns), 32e9 / (double)(read_ns - written_ns));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_round_trip),
        cmocka_unit_test(lost_shards_are_read_through_and_rebuilt),
        cmocka_unit_test(one_stream_is_measured),
    };
    pattern = mem_alloc(33u << 20);
    uint64_t x = 1;
    for (size_t i = 0; i < 33u << 20; i++) {
        x = x * UINT64_C(6364136223846793005) + 1;
        pattern[i] = (uint8_t)(x >> 56);
    }
    w.bytes = pattern;
    int failed = cmocka_run_group_tests(tests, world_open, world_close);
    mem_free(pattern);
    return failed;
}
