#include "tests/lib/data_world.h"

#include "common/base/assert.h"
#include "common/base/mem.h"

#include <stdlib.h>

#define LIMIT_MS 120000

uint8_t world_byte(uint64_t seed, uint64_t offset)
{
    uint64_t x = (offset >> 3) * UINT64_C(0x9e3779b97f4a7c15) + seed * UINT64_C(0xc4ceb9fe1a85ec53);
    x ^= x >> 29;
    return (uint8_t)((x * UINT64_C(0xff51afd7ed558ccd)) >> (8 * (offset & 7)));
}

static void on_done(void *data, enum errc status)
{
    *(enum errc *)data = status;
}

static bool is_set(void *data)
{
    return *(enum errc *)data != ERRC_COUNT;
}

static void on_suspect(struct data_repair_hook *hook, const struct extent *extent, unsigned shard, enum errc why)
{
    (void)extent;
    (void)shard;
    (void)why;
    container_of(hook, struct data_world, hook)->suspects++;
}

static void must_end_ok(struct data_world *world, enum errc *status)
{
    ASSERT(turn_env_run(&world->env, is_set, status, LIMIT_MS));
    ASSERT(*status == ERRC_OK);
}

void data_world_open(struct data_world *world, unsigned disks, const struct data_config *config)
{
    memset(world, 0, sizeof(*world));
    turn_env_init(&world->env);
    struct executor *executor = &world->env.executor.executor;
    fake_node_init(&world->node, executor);
    fake_meta_init(&world->meta_service, executor);
    fake_meta_disks(&world->meta_service, disks);
    metadata_client_init(&world->meta, &world->meta_service.channel, &world->env.env, 5000);
    struct session_config session = { &world->env.env, executor, &world->meta, { { 1 } }, 1000 };
    world->session = session_create(&session);
    struct cluster_map_config map = { .env = &world->env.env, .executor = executor, .meta = &world->meta,
                                      .cluster = { { 9 } }, .local = &world->node.channel };
    world->map = cluster_map_create(&map);
    data_store_init(&world->store, &world->env.env, config, &world->meta, world->session, world->map);
    world->hook.suspect = on_suspect;
    world->store.repair = &world->hook;
    enum errc status = ERRC_COUNT;
    session_open(world->session, on_done, &status);
    must_end_ok(world, &status);
    status = ERRC_COUNT;
    cluster_map_refresh(world->map, on_done, &status);
    must_end_ok(world, &status);
}

void data_world_close(struct data_world *world)
{
    enum errc status = ERRC_COUNT;
    ASSERT(turn_env_run(&world->env, NULL, NULL, 100));
    ASSERT(data_budget_used(&world->store.write_budget) == 0);
    ASSERT(data_budget_used(&world->store.read_budget) == 0);
    ASSERT(session_oldest_read(world->session) == UINT64_MAX);
    session_close(world->session, on_done, &status);
    must_end_ok(world, &status);
    session_destroy(world->session);
    cluster_map_destroy(world->map);
    turn_env_done(&world->env);
    fake_node_done(&world->node);
    buffer_trim();
    ASSERT(buffer_live_bytes() == 0);
}

/* ---- writing ---- */

static void writer_result(void *data, const struct object_writer_result *result)
{
    struct world_writer *w = data;
    struct written *out = w->result;
    out->status = result->status;
    out->kind = result->data_kind;
    out->length = w->length;
    out->session = result->session;
    out->extent_count = result->extent_count;
    out->finished = true;
    ASSERT(result->extent_count <= 32);
    uint64_t at = 0;
    for (uint32_t i = 0; i < result->extent_count; i++) {
        out->extents[i] = (struct meta_data_extent){ result->extents[i], result->refs[i].offset, result->refs[i].length,
                                                     at };
        at += result->refs[i].length;
    }
    if (result->status == ERRC_OK && result->data_kind == META_DATA_INLINE) {
        memcpy(out->inline_bytes, result->inline_bytes.data, result->inline_bytes.len);
        out->inline_len = result->inline_bytes.len;
    }
}

void world_writer_pump(struct world_writer *w)
{
    uint8_t *bytes = mem_alloc(w->slice_bytes);
    bool open = !w->finish_called;
    while (open && w->pushed < w->length) {
        size_t len = w->length - w->pushed < w->slice_bytes ? (size_t)(w->length - w->pushed) : w->slice_bytes;
        for (size_t i = 0; i < len; i++) {
            bytes[i] = world_byte(w->seed, w->pushed + i);
        }
        size_t taken = object_writer_push(w->writer, slice_of(bytes, len));
        w->pushed += taken;
        open = taken == len;
    }
    mem_free(bytes);
    if (open && !w->finish_called && w->pushed == w->length) {
        w->finish_called = true;
        object_writer_finish(w->writer, slice_str("footer"), writer_result);
    }
}

static void writer_ready(void *data)
{
    world_writer_pump(data);
}

void world_writer_open(struct world_writer *w, struct data_world *world, unsigned k, unsigned m, uint64_t length,
                       uint64_t seed, struct written *result)
{
    *w = (struct world_writer){ .world = world, .length = length, .seed = seed, .slice_bytes = 100000,
                                .result = result, .k = k, .m = m };
    memset(result, 0, sizeof(*result));
    struct object_writer_params params = {
        .executor = &world->env.executor.executor,
        .length = length,
        .class_k = (uint8_t)k,
        .class_m = (uint8_t)m,
        .owner = { .bucket_id = 3, .key = slice_str("key") },
        .on_ready = writer_ready,
        .data = w,
    };
    w->writer = object_writer_open(&world->store, &params);
}

bool world_writer_finished(void *data)
{
    return ((struct world_writer *)data)->result->finished;
}

void world_write(struct data_world *world, unsigned k, unsigned m, uint64_t length, uint64_t seed,
                 struct written *result)
{
    struct world_writer w;
    world_writer_open(&w, world, k, m, length, seed, result);
    world_writer_pump(&w);
    ASSERT(turn_env_run(&world->env, world_writer_finished, &w, LIMIT_MS));
    if (result->status == ERRC_OK) {
        object_writer_keep(w.writer);
    } else {
        object_writer_discard(w.writer);
    }
    (void)turn_env_drain(&world->env);
}

/* ---- reading ---- */

struct world_reader {
    bool ready;
};

static void reader_ready(void *data)
{
    ((struct world_reader *)data)->ready = true;
}

static bool reader_is_ready(void *data)
{
    return ((struct world_reader *)data)->ready;
}

enum errc world_read(struct data_world *world, const struct written *object, uint64_t first, uint64_t length,
                     uint64_t seed, uint64_t *ret_bytes)
{
    struct world_reader r = { false };
    struct object_reader_params params = {
        .executor = &world->env.executor.executor,
        .first = first,
        .length = length,
        .index = 50,
        .extent_count = object->extent_count,
        .extents = object->extents,
        .extents_until = object->more != NULL ? object->extents[object->extent_count - 1].object_offset +
                                                    object->extents[object->extent_count - 1].length
                                              : object->length,
        .more = object->more,
        .on_ready = reader_ready,
        .data = &r,
    };
    struct object_reader *reader = object_reader_open(&world->store, &params);
    uint64_t got = 0;
    enum errc rc = ERRC_OK;
    for (bool more = true; more;) {
        struct slice bytes;
        struct buffer *buffer = NULL;
        rc = object_reader_next(reader, &bytes, &buffer);
        if (rc == ERRC_WOULD_BLOCK) {
            r.ready = false;
            ASSERT(turn_env_run(&world->env, reader_is_ready, &r, LIMIT_MS));
            continue;
        }
        more = rc == ERRC_OK && bytes.len > 0;
        for (size_t i = 0; more && i < bytes.len; i++) {
            if (bytes.data[i] != world_byte(seed, first + got + i)) {
                abort(); /* a wrong byte left the reader */
            }
        }
        got += more ? bytes.len : 0;
        buffer_unref(buffer);
    }
    ASSERT(IMPLIES(rc == ERRC_OK, got == length));
    object_reader_close(reader);
    (void)turn_env_drain(&world->env);
    *ret_bytes = got;
    return rc;
}
