#include "tests/sim/lib/kv_sim.h"

#include "common/base/assert.h"
#include "common/base/bytes.h"
#include "common/base/crc32c.h"
#include "common/base/list.h"
#include "common/base/mem.h"

#define MAP_NAME "map"
#define OP_PUT 1
#define OP_DELETE 2
#define OP_DELETE_RANGE 3

struct pair {
    struct slice key, value; /* owned: one block for both */
    uint8_t *block;
};

struct map {
    struct pair *pairs;      /* sorted */
    size_t count, capacity;
};

struct kv_sim {
    struct kv kv;
    struct kv_sim_factory *factory;
    char *path;
    struct map map;
};

struct kv_batch {
    struct enc ops;
};

struct kv_iterator {
    struct map map;          /* a copy, within the bounds */
    size_t at;
};

static struct kv_sim *sim_of(struct kv *kv)
{
    return container_of(kv, struct kv_sim, kv);
}

/* ---- the map ---- */

/* Index of the first key >= key. */
static size_t map_find(const struct map *map, struct slice key)
{
    size_t low = 0;
    size_t high = map->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (slice_compare(map->pairs[middle].key, key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool map_has(const struct map *map, size_t at, struct slice key)
{
    return at < map->count && slice_equal(map->pairs[at].key, key);
}

static void map_remove(struct map *map, size_t at)
{
    mem_free(map->pairs[at].block);
    memmove(&map->pairs[at], &map->pairs[at + 1], (map->count - at - 1) * sizeof(*map->pairs));
    map->count--;
}

static void map_put(struct map *map, struct slice key, struct slice value)
{
    struct pair pair = { .block = mem_alloc(key.len + value.len + 1) };
    memcpy(pair.block, key.data, key.len);
    if (value.len > 0) {
        memcpy(pair.block + key.len, value.data, value.len);
    }
    pair.key = slice_of(pair.block, key.len);
    pair.value = slice_of(pair.block + key.len, value.len);
    size_t at = map_find(map, key);
    if (map_has(map, at, key)) {
        mem_free(map->pairs[at].block);
        map->pairs[at] = pair;
        return;
    }
    if (map->count == map->capacity) {
        map->capacity = map->capacity > 0 ? 2 * map->capacity : 64;
        map->pairs = mem_realloc(map->pairs, map->capacity * sizeof(*map->pairs));
    }
    memmove(&map->pairs[at + 1], &map->pairs[at], (map->count - at) * sizeof(*map->pairs));
    map->pairs[at] = pair;
    map->count++;
}

static void map_free(struct map *map)
{
    for (size_t i = 0; i < map->count; i++) {
        mem_free(map->pairs[i].block);
    }
    mem_free(map->pairs);
    *map = (struct map){ .count = 0 };
}

/* ---- files: crc32c, count, then key and value of each pair ---- */

static enum errc map_write(struct env *env, const struct map *map, const char *path, struct error *e)
{
    struct enc enc = ENC_INIT;
    enc_u32(&enc, 0);
    enc_uint(&enc, map->count);
    for (size_t i = 0; i < map->count; i++) {
        enc_bytes(&enc, map->pairs[i].key);
        enc_bytes(&enc, map->pairs[i].value);
    }
    store_le32(enc.data, crc32c(enc.data + 4, enc.len - 4));
    struct env_file *file = NULL;
    enum errc rc = env->vt->open(env, path, ENV_OPEN_CREATE | ENV_OPEN_TRUNCATE, &file, e);
    if (rc == ERRC_OK) {
        struct iovec part = { .iov_base = enc.data, .iov_len = enc.len };
        rc = env->vt->pwritev(env, file, &part, 1, 0, e);
        if (rc == ERRC_OK) {
            rc = env->vt->fdatasync(env, file, e);
        }
        env->vt->close(env, file);
    }
    enc_free(&enc);
    return rc;
}

static enum errc map_parse(struct map *map, struct slice bytes)
{
    struct dec dec = dec_of(bytes);
    uint32_t crc = dec_u32(&dec);
    if (dec.failed || crc != crc32c(bytes.data + 4, bytes.len - 4)) {
        return ERRC_CORRUPT;
    }
    uint64_t count = dec_uint(&dec);
    for (uint64_t i = 0; i < count && !dec.failed; i++) {
        struct slice key = dec_bytes(&dec);
        struct slice value = dec_bytes(&dec);
        map_put(map, key, value);
    }
    return dec_done(&dec) ? ERRC_OK : ERRC_CORRUPT;
}

static enum errc map_load(struct env *env, struct map *map, const char *path, struct error *e)
{
    struct env_file *file = NULL;
    struct env_stat stat;
    enum errc rc = env->vt->open(env, path, ENV_OPEN_READ, &file, e);
    if (rc != ERRC_OK) {
        return rc;
    }
    rc = env->vt->stat_file(env, file, &stat, e);
    uint8_t *bytes = rc == ERRC_OK ? mem_alloc(stat.size + 4) : NULL;
    size_t len = 0;
    if (rc == ERRC_OK) {
        rc = env->vt->pread(env, file, bytes, stat.size, 0, &len, e);
    }
    if (rc == ERRC_OK) {
        rc = map_parse(map, slice_of(bytes, len));
        if (rc != ERRC_OK) {
            (void)error_set(e, rc, "map '%s'", path);
        }
    }
    mem_free(bytes);
    env->vt->close(env, file);
    return rc;
}

static enum errc sim_flush(struct kv *kv, struct error *e)
{
    struct kv_sim *sim = sim_of(kv);
    struct env *env = sim->factory->env;
    char *fresh = mem_format("%s/%s.new", sim->path, MAP_NAME);
    char *path = mem_format("%s/%s", sim->path, MAP_NAME);
    enum errc rc = map_write(env, &sim->map, fresh, e);
    if (rc == ERRC_OK) {
        rc = env->vt->rename(env, fresh, path, e);
    }
    if (rc == ERRC_OK) {
        rc = env->vt->fsync_dir(env, sim->path, e);
    }
    mem_free(fresh);
    mem_free(path);
    return rc;
}

/* ---- the interface ---- */

static uint64_t sim_random(struct kv_sim *sim)
{
    uint64_t value;
    env_random(sim->factory->env, &value, sizeof(value));
    return value;
}

static void sim_close(struct kv *kv)
{
    struct kv_sim *sim = sim_of(kv);
    map_free(&sim->map);
    mem_free(sim->path);
    mem_free(sim);
}

static enum errc sim_get(struct kv *kv, struct slice key, bool cached_only, struct enc *ret_value,
                         struct error *e)
{
    struct kv_sim *sim = sim_of(kv);
    const char *unreadable = sim->factory->unreadable;
    if (unreadable != NULL && strncmp(sim->path, unreadable, strlen(unreadable)) == 0) {
        return error_set(e, ERRC_IO, "%s: unreadable", sim->path);
    }
    if (cached_only && sim_random(sim) % 4 == 0) {
        return ERRC_WOULD_BLOCK;
    }
    size_t at = map_find(&sim->map, key);
    if (!map_has(&sim->map, at, key)) {
        return ERRC_NOT_FOUND;
    }
    enc_raw(ret_value, sim->map.pairs[at].value.data, sim->map.pairs[at].value.len);
    return ERRC_OK;
}

static struct kv_batch *sim_batch_create(struct kv *kv)
{
    (void)kv;
    return mem_zalloc(sizeof(struct kv_batch));
}

static void sim_batch_destroy(struct kv_batch *batch)
{
    if (batch != NULL) {
        enc_free(&batch->ops);
        mem_free(batch);
    }
}

static void sim_batch_clear(struct kv_batch *batch)
{
    enc_reset(&batch->ops);
}

static void batch_add(struct kv_batch *batch, uint8_t op, struct slice key, struct slice value)
{
    enc_u8(&batch->ops, op);
    enc_bytes(&batch->ops, key);
    enc_bytes(&batch->ops, value);
}

static void sim_batch_put(struct kv_batch *batch, struct slice key, struct slice value)
{
    batch_add(batch, OP_PUT, key, value);
}

static void sim_batch_delete(struct kv_batch *batch, struct slice key)
{
    batch_add(batch, OP_DELETE, key, SLICE_EMPTY);
}

static void sim_batch_delete_range(struct kv_batch *batch, struct slice first, struct slice end)
{
    batch_add(batch, OP_DELETE_RANGE, first, end);
}

static struct slice sim_batch_bytes(struct kv_batch *batch)
{
    return enc_slice(&batch->ops);
}

static void map_apply(struct map *map, uint8_t op, struct slice key, struct slice value)
{
    size_t at = map_find(map, key);
    if (op == OP_PUT) {
        map_put(map, key, value);
    } else if (op == OP_DELETE && map_has(map, at, key)) {
        map_remove(map, at);
    } else if (op == OP_DELETE_RANGE) {
        while (at < map->count && slice_compare(map->pairs[at].key, value) < 0) {
            map_remove(map, at);
        }
    }
}

static enum errc sim_write(struct kv *kv, struct kv_batch *batch, struct error *e)
{
    struct kv_sim *sim = sim_of(kv);
    struct dec dec = dec_of(enc_slice(&batch->ops));
    while (dec_left(&dec) > 0) {
        uint8_t op = dec_u8(&dec);
        struct slice key = dec_bytes(&dec);
        struct slice value = dec_bytes(&dec);
        map_apply(&sim->map, op, key, value);
    }
    ASSERT(!dec.failed);
    unsigned one_in = sim->factory->flush_one_in;
    return one_in > 0 && sim_random(sim) % one_in == 0 ? sim_flush(kv, e) : ERRC_OK;
}

static struct kv_iterator *sim_iterate(struct kv *kv, struct slice first, struct slice end)
{
    struct kv_sim *sim = sim_of(kv);
    struct kv_iterator *it = mem_zalloc(sizeof(*it));
    for (size_t i = map_find(&sim->map, first); i < sim->map.count; i++) {
        const struct pair *pair = &sim->map.pairs[i];
        if (end.len > 0 && slice_compare(pair->key, end) >= 0) {
            break;
        }
        map_put(&it->map, pair->key, pair->value);
    }
    it->at = it->map.count; /* on no key */
    return it;
}

static void sim_iterator_seek(struct kv_iterator *it, struct slice key)
{
    it->at = map_find(&it->map, key);
}

static void sim_iterator_seek_for_prev(struct kv_iterator *it, struct slice key)
{
    it->at = map_find(&it->map, key);
    if (!map_has(&it->map, it->at, key)) {
        it->at = it->at > 0 ? it->at - 1 : it->map.count;
    }
}

static void sim_iterator_next(struct kv_iterator *it)
{
    ASSERT(it->at < it->map.count);
    it->at++;
}

static bool sim_iterator_valid(struct kv_iterator *it)
{
    return it->at < it->map.count;
}

static struct slice sim_iterator_key(struct kv_iterator *it)
{
    return it->map.pairs[it->at].key;
}

static struct slice sim_iterator_value(struct kv_iterator *it)
{
    return it->map.pairs[it->at].value;
}

static enum errc sim_iterator_error(struct kv_iterator *it, struct error *e)
{
    (void)it;
    (void)e;
    return ERRC_OK;
}

static void sim_iterator_destroy(struct kv_iterator *it)
{
    if (it != NULL) {
        map_free(&it->map);
        mem_free(it);
    }
}

static enum errc sim_checkpoint(struct kv *kv, const char *path, struct error *e)
{
    struct kv_sim *sim = sim_of(kv);
    struct env *env = sim->factory->env;
    enum errc rc = sim_flush(kv, e);
    if (rc == ERRC_OK) {
        rc = env->vt->mkdir(env, path, e);
    }
    char *file = mem_format("%s/%s", path, MAP_NAME);
    if (rc == ERRC_OK) {
        rc = map_write(env, &sim->map, file, e);
    }
    mem_free(file);
    return rc;
}

static uint64_t sim_disk_bytes(struct kv *kv)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < sim_of(kv)->map.count; i++) {
        bytes += sim_of(kv)->map.pairs[i].key.len + sim_of(kv)->map.pairs[i].value.len;
    }
    return bytes;
}

static const struct kv_vt sim_vt = {
    .close = sim_close,
    .get = sim_get,
    .batch_create = sim_batch_create,
    .batch_destroy = sim_batch_destroy,
    .batch_clear = sim_batch_clear,
    .batch_put = sim_batch_put,
    .batch_delete = sim_batch_delete,
    .batch_delete_range = sim_batch_delete_range,
    .batch_bytes = sim_batch_bytes,
    .write = sim_write,
    .iterate = sim_iterate,
    .iterator_seek = sim_iterator_seek,
    .iterator_seek_for_prev = sim_iterator_seek_for_prev,
    .iterator_next = sim_iterator_next,
    .iterator_valid = sim_iterator_valid,
    .iterator_key = sim_iterator_key,
    .iterator_value = sim_iterator_value,
    .iterator_error = sim_iterator_error,
    .iterator_destroy = sim_iterator_destroy,
    .checkpoint = sim_checkpoint,
    .disk_bytes = sim_disk_bytes,
    .flush = sim_flush,
};

static enum errc sim_open(struct kv_factory *base, const char *path, const struct kv_options *options,
                          struct kv **ret_kv, struct error *e)
{
    struct kv_sim_factory *factory = container_of(base, struct kv_sim_factory, factory);
    struct kv_sim *sim = mem_zalloc(sizeof(*sim));
    sim->kv.vt = &sim_vt;
    sim->factory = factory;
    sim->path = mem_strdup(path);
    char *file = mem_format("%s/%s", path, MAP_NAME);
    struct error why = ERROR_INIT;
    enum errc rc = map_load(factory->env, &sim->map, file, &why);
    mem_free(file);
    if (rc == ERRC_NOT_FOUND && options->create) {
        rc = factory->env->vt->mkdir(factory->env, path, NULL);
        rc = rc == ERRC_EXISTS ? ERRC_OK : rc;
    }
    if (rc != ERRC_OK) {
        sim_close(&sim->kv);
        return error_set(e, rc, "open map '%s'", path);
    }
    *ret_kv = &sim->kv;
    return ERRC_OK;
}

static enum errc sim_destroy(struct kv_factory *base, const char *path, struct error *e)
{
    struct env *env = container_of(base, struct kv_sim_factory, factory)->env;
    char *file = mem_format("%s/%s", path, MAP_NAME);
    (void)env->vt->unlink(env, file, NULL); /* either may be missing */
    mem_free(file);
    file = mem_format("%s/%s.new", path, MAP_NAME);
    (void)env->vt->unlink(env, file, NULL);
    mem_free(file);
    enum errc rc = env->vt->rmdir(env, path, NULL);
    return rc == ERRC_OK || rc == ERRC_NOT_FOUND ? ERRC_OK : error_set(e, rc, "delete map '%s'", path);
}

void kv_sim_factory_init(struct kv_sim_factory *factory, struct env *env, unsigned flush_one_in)
{
    *factory = (struct kv_sim_factory){
        .factory = { .open = sim_open, .destroy = sim_destroy },
        .env = env,
        .flush_one_in = flush_one_in,
    };
}
