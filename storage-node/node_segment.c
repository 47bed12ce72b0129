#include "storage-node/node_segment.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "storage-node/node_disk.h"

#define SEGMENT_FALLBACK_BYTES (1u << 20) /* a smaller preallocation is tried down to this */

struct segments *segments_create(void)
{
    struct segments *segments = mem_zalloc(sizeof(*segments));
    atomic_store(&segments->next, 1);
    return segments;
}

void segments_destroy(struct env *env, struct segments *segments)
{
    for (size_t c = 0; c < SEGMENT_TABLE_CHUNKS; c++) {
        struct segment_chunk *chunk = atomic_load(&segments->chunks[c]);
        for (size_t i = 0; chunk != NULL && i < SEGMENT_TABLE_CHUNK; i++) {
            segment_free(env, atomic_load(&chunk->entries[i]));
        }
        mem_free(chunk);
    }
    mem_free(segments);
}

struct segment *segments_find(struct segments *segments, uint64_t number)
{
    if (number / SEGMENT_TABLE_CHUNK >= SEGMENT_TABLE_CHUNKS) {
        return NULL;
    }
    struct segment_chunk *chunk = atomic_load(&segments->chunks[number / SEGMENT_TABLE_CHUNK]);
    return chunk == NULL ? NULL : atomic_load(&chunk->entries[number % SEGMENT_TABLE_CHUNK]);
}

struct segment *segments_next(struct segments *segments, uint64_t number)
{
    uint64_t end = atomic_load(&segments->next);
    while (number < end) {
        if (atomic_load(&segments->chunks[number / SEGMENT_TABLE_CHUNK]) == NULL) {
            number = (number / SEGMENT_TABLE_CHUNK + 1) * SEGMENT_TABLE_CHUNK;
            continue;
        }
        struct segment *segment = segments_find(segments, number);
        if (segment != NULL) {
            return segment;
        }
        number++;
    }
    return NULL;
}

/* The log and the data executor may both be the first in a chunk. */
static struct segment_chunk *segments_chunk(struct segments *segments, uint64_t number)
{
    _Atomic(struct segment_chunk *) *place = &segments->chunks[number / SEGMENT_TABLE_CHUNK];
    struct segment_chunk *chunk = atomic_load(place);
    if (chunk == NULL) {
        struct segment_chunk *fresh = mem_zalloc(sizeof(*fresh));
        if (atomic_compare_exchange_strong(place, &chunk, fresh)) {
            return fresh;
        }
        mem_free(fresh);
    }
    return chunk;
}

void segments_insert(struct segments *segments, struct segment *segment)
{
    ASSERT(segment->number / SEGMENT_TABLE_CHUNK < SEGMENT_TABLE_CHUNKS);
    struct segment_chunk *chunk = segments_chunk(segments, segment->number);
    ASSERT(atomic_load(&chunk->entries[segment->number % SEGMENT_TABLE_CHUNK]) == NULL);
    atomic_store(&chunk->entries[segment->number % SEGMENT_TABLE_CHUNK], segment);
}

/* The end of its compaction, noted in the same batch, may have touched it. */
static void segment_untouch(struct segments *segments, struct segment *segment)
{
    struct segment **place = &segments->touched;
    while (*place != NULL && *place != segment) {
        place = &(*place)->next_touched;
    }
    if (*place == segment) {
        *place = segment->next_touched;
        segment->touched = false;
    }
}

void segments_remove(struct segments *segments, struct segment *segment)
{
    ASSERT(segments_find(segments, segment->number) == segment);
    segment_untouch(segments, segment);
    struct segment_chunk *chunk = atomic_load(&segments->chunks[segment->number / SEGMENT_TABLE_CHUNK]);
    atomic_store(&chunk->entries[segment->number % SEGMENT_TABLE_CHUNK], NULL);
}

unsigned grace_enter(struct segments *segments)
{
    while (true) {
        unsigned epoch = atomic_load(&segments->epoch);
        atomic_fetch_add(&segments->active[epoch & 1], 1);
        if (atomic_load(&segments->epoch) == epoch) {
            return epoch & 1;
        }
        atomic_fetch_sub(&segments->active[epoch & 1], 1);
    }
}

void grace_leave(struct segments *segments, unsigned slot)
{
    unsigned before = atomic_fetch_sub(&segments->active[slot], 1);
    ASSERT(before > 0);
}

unsigned grace_flip(struct segments *segments)
{
    return atomic_fetch_add(&segments->epoch, 1) & 1;
}

bool grace_over(struct segments *segments, unsigned slot)
{
    return atomic_load(&segments->active[slot]) == 0;
}

char *segment_path(const struct node_disk *disk, uint64_t number)
{
    return mem_format("%s/%016llx.seg", disk->segments_path, (unsigned long long)number);
}

void segment_free(struct env *env, struct segment *segment)
{
    if (segment == NULL) {
        return;
    }
    if (segment->direct != NULL) {
        env->vt->close(env, segment->direct);
    }
    if (segment->file != NULL) {
        env->vt->close(env, segment->file);
    }
    mem_free(segment);
}

static struct segment *segment_new(uint64_t number, enum segment_kind kind)
{
    struct segment *segment = mem_zalloc(sizeof(*segment));
    segment->number = number;
    segment->kind = (uint8_t)kind;
    segment->end = SEGMENT_HEADER_BYTES;
    return segment;
}

static enum errc segment_format(struct node_disk *disk, struct segment *segment, struct error *e)
{
    env_random(disk->env, &segment->salt, sizeof(segment->salt));
    struct segment_header header = {
        .kind = segment->kind,
        .number = segment->number,
        .salt = segment->salt,
        .cluster = disk->cluster,
        .disk = disk->id,
    };
    uint8_t *block = mem_alloc(SEGMENT_HEADER_BYTES);
    segment_header_encode(&header, block);
    struct iovec part = { .iov_base = block, .iov_len = SEGMENT_HEADER_BYTES };
    enum errc rc = disk->env->vt->pwritev(disk->env, segment->file, &part, 1, 0, e);
    mem_free(block);
    if (rc == ERRC_OK) {
        rc = disk->env->vt->fdatasync(disk->env, segment->file, e);
    }
    return rc == ERRC_OK ? disk->env->vt->fsync_dir(disk->env, disk->segments_path, e) : rc;
}

/* The largest length that leaves the reserve alone, `bytes` at most; 0 when even bytes_min does not fit. */
static uint64_t segment_fit(const struct node_disk *disk, uint64_t bytes, uint64_t bytes_min, bool use_reserve)
{
    uint64_t free_bytes = disk_free_bytes(disk, use_reserve);
    while (bytes > free_bytes && bytes / 2 >= bytes_min && bytes / 2 >= SEGMENT_FALLBACK_BYTES) {
        bytes /= 2;
    }
    if (bytes > free_bytes) {
        bytes = align_up(bytes_min, SEGMENT_BYTES_MIN);
    }
    return bytes <= free_bytes ? bytes : 0;
}

static enum errc segment_make_file(struct node_disk *disk, struct segment *segment, const char *path,
                                   struct error *e)
{
    enum errc rc =
        disk->env->vt->open(disk->env, path, ENV_OPEN_CREATE | ENV_OPEN_EXCLUSIVE, &segment->file, e);
    if (rc != ERRC_OK) {
        return rc;
    }
    struct error ignored = ERROR_INIT;
    rc = disk->env->vt->fallocate(disk->env, segment->file, 0, segment->size, &ignored);
    if (rc != ERRC_OK && rc != ERRC_UNSUPPORTED) {
        return error_set(e, rc, "%s", ignored.text);
    }
    rc = segment_format(disk, segment, e);
    if (rc == ERRC_OK && segment->kind == SEGMENT_DATA && disk->direct) {
        rc = disk->env->vt->open(disk->env, path, ENV_OPEN_DIRECT, &segment->direct, e);
    }
    return rc;
}

enum errc segment_make(struct node_disk *disk, enum segment_kind kind, uint64_t bytes, uint64_t bytes_min,
                       bool use_reserve, struct segment **ret, struct error *e)
{
    ASSERT(bytes_min <= bytes);
    enum errc rc = disk_check_identity(disk, e);
    if (rc == ERRC_OK) {
        rc = disk_check_space(disk, e);
    }
    if (rc != ERRC_OK) {
        return rc;
    }
    bytes = segment_fit(disk, bytes, bytes_min, use_reserve);
    if (bytes == 0) {
        return error_set(e, ERRC_NO_SPACE, "%s has reached its reserve", disk->path);
    }
    struct segment *segment = segment_new(atomic_fetch_add(&disk->segments->next, 1), kind);
    segment->size = bytes;
    char *path = segment_path(disk, segment->number);
    rc = segment_make_file(disk, segment, path, e);
    if (rc != ERRC_OK) {
        (void)disk->env->vt->unlink(disk->env, path, NULL); /* the next start deletes it otherwise */
        segment_free(disk->env, segment);
    } else {
        segments_insert(disk->segments, segment);
        *ret = segment;
    }
    mem_free(path);
    return rc;
}

static enum errc segment_check_header(struct node_disk *disk, struct segment *segment, const char *path,
                                      struct error *e)
{
    uint8_t *block = mem_zalloc(SEGMENT_HEADER_BYTES);
    size_t len = 0;
    struct segment_header header = { .kind = 0 };
    enum errc rc = disk->env->vt->pread(disk->env, segment->file, block, SEGMENT_HEADER_BYTES, 0, &len, e);
    if (rc == ERRC_OK) {
        rc = segment_header_decode(block, &header);
        if (rc != ERRC_OK) {
            (void)error_set(e, rc, "%s: %s segment header", path,
                            rc == ERRC_FORMAT ? "a newer program wrote the" : "damaged");
        }
    }
    mem_free(block);
    if (rc != ERRC_OK) {
        return rc;
    }
    if (header.number != segment->number || !cluster_id_equal(header.cluster, disk->cluster) ||
        !disk_id_equal(header.disk, disk->id)) {
        return error_set(e, ERRC_CORRUPT, "%s is not a segment of this disk", path);
    }
    segment->kind = header.kind;
    segment->salt = header.salt;
    return ERRC_OK;
}

enum errc segment_load(struct node_disk *disk, uint64_t number, struct segment **ret, struct error *e)
{
    struct segment *segment = segment_new(number, SEGMENT_LOG);
    char *path = segment_path(disk, number);
    struct env_stat stat = { .size = 0 };
    enum errc rc = disk->env->vt->open(disk->env, path, 0, &segment->file, e);
    if (rc == ERRC_OK) {
        rc = segment_check_header(disk, segment, path, e);
    }
    if (rc == ERRC_OK) {
        rc = disk->env->vt->stat_file(disk->env, segment->file, &stat, e);
    }
    mem_free(path);
    segment->size = stat.size;
    segment->end = stat.size;
    atomic_store(&segment->sealed, true);
    if (rc != ERRC_OK) {
        segment_free(disk->env, segment);
        return rc;
    }
    *ret = segment;
    return ERRC_OK;
}

enum errc segment_unlink(struct node_disk *disk, uint64_t number, struct error *e)
{
    char *path = segment_path(disk, number);
    enum errc rc = disk->env->vt->unlink(disk->env, path, e);
    mem_free(path);
    return rc == ERRC_OK ? disk->env->vt->fsync_dir(disk->env, disk->segments_path, e) : rc;
}

void segment_touch(struct segments *segments, struct segment *segment)
{
    if (!segment->touched) {
        segment->touched = true;
        segment->next_touched = segments->touched;
        segments->touched = segment;
    }
}

/* After damage to the log a counter may not fit what is left: it stops at zero. */
static void counter_add(atomic_uint_fast64_t *counter, int64_t delta)
{
    uint64_t before = atomic_load_explicit(counter, memory_order_relaxed);
    uint64_t lost = delta < 0 ? (uint64_t)-delta : 0;
    uint64_t after = delta >= 0 ? before + (uint64_t)delta : (lost > before ? 0 : before - lost);
    atomic_store_explicit(counter, after, memory_order_relaxed);
}

void segment_account(struct segments *segments, uint64_t number, int64_t bytes, int64_t count)
{
    struct segment *segment = segments_find(segments, number);
    if (segment == NULL) {
        return;
    }
    counter_add(&segment->live_bytes, bytes);
    counter_add(&segment->live_count, count);
    segment_touch(segments, segment);
}
