/*
 * Start of a disk: what the index knows is a prefix of what the log says; the rest is replayed.
 *
 *   load segments -> open index -> counters -> replay frames behind the position -> seal the tail -> gaps
 *
 * A frame that does not hold at the very end of the last segment was never acknowledged: the tail is torn,
 * and the segment is sealed there. A frame that does not hold anywhere else was: that is damage. What can be
 * read of it is kept, what cannot is reported, and replay goes on behind it.
 */
#include "storage-node/node_disk.h"

#include "common/base/assert.h"
#include "common/base/bytes.h"
#include "common/base/hex.h"
#include "common/base/mem.h"

#define SEGMENT_NAME_BYTES 20 /* 16 hex digits and ".seg" */
#define UNUSED_CHECK_BYTES (64u << 10)

struct number_list {
    uint64_t *numbers;
    size_t count, capacity;
};

static bool segment_number(const char *name, uint64_t *ret)
{
    uint8_t bytes[8];
    if (strlen(name) != SEGMENT_NAME_BYTES || strcmp(name + 16, ".seg") != 0) {
        return false;
    }
    for (unsigned i = 0; i < 8; i++) {
        int high = hex_digit(name[2 * i]);
        int low = hex_digit(name[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        bytes[i] = (uint8_t)(high * 16 + low);
    }
    *ret = load_be64(bytes);
    return *ret != 0 && *ret / SEGMENT_TABLE_CHUNK < SEGMENT_TABLE_CHUNKS;
}

static void on_name(void *data, const char *name)
{
    struct number_list *list = data;
    uint64_t number = 0;
    if (!segment_number(name, &number)) {
        return; /* not ours */
    }
    if (list->count == list->capacity) {
        list->capacity = list->capacity > 0 ? 2 * list->capacity : 64;
        list->numbers = mem_realloc(list->numbers, list->capacity * sizeof(*list->numbers));
    }
    list->numbers[list->count++] = number;
}

/* ---- segments ---- */

/* Nothing but zeros behind the header, to the end: the first shards of a segment may have been freed and punched. */
static bool file_unused(struct node_disk *disk, struct env_file *file)
{
    uint8_t *bytes = mem_zalloc(UNUSED_CHECK_BYTES);
    uint64_t offset = SEGMENT_HEADER_BYTES;
    size_t len = UNUSED_CHECK_BYTES;
    bool unused = true;
    while (unused && len == UNUSED_CHECK_BYTES) {
        unused = disk->env->vt->pread(disk->env, file, bytes, UNUSED_CHECK_BYTES, offset, &len, NULL) == ERRC_OK;
        for (size_t i = 0; i < len && unused; i++) {
            unused = bytes[i] == 0;
        }
        offset += len;
    }
    mem_free(bytes);
    return unused;
}

/* True if nothing was ever written behind the header: the file was being made when the machine stopped. */
static bool segment_unused(struct node_disk *disk, uint64_t number)
{
    char *path = segment_path(disk, number);
    struct env_file *file = NULL;
    bool unused = false;
    if (disk->env->vt->open(disk->env, path, ENV_OPEN_READ, &file, NULL) == ERRC_OK) {
        unused = file_unused(disk, file);
        disk->env->vt->close(disk->env, file);
    }
    mem_free(path);
    return unused;
}

static enum errc replay_load_segment(struct node_disk *disk, uint64_t number, struct error *e)
{
    struct segment *segment = NULL;
    struct error why = ERROR_INIT;
    enum errc rc = segment_load(disk, number, &segment, &why);
    if (rc == ERRC_OK) {
        segments_insert(disk->segments, segment);
        return ERRC_OK;
    }
    if (rc == ERRC_CORRUPT && segment_unused(disk, number)) {
        return segment_unlink(disk, number, e);
    }
    return error_set(e, rc, "%s", why.text);
}

static enum errc replay_load_segments(struct node_disk *disk, struct error *e)
{
    struct number_list list = { .count = 0 };
    enum errc rc = disk->env->vt->list(disk->env, disk->segments_path, on_name, &list, e);
    for (size_t i = 0; i < list.count && rc == ERRC_OK; i++) {
        rc = replay_load_segment(disk, list.numbers[i], e);
        if (list.numbers[i] >= atomic_load(&disk->segments->next)) {
            atomic_store(&disk->segments->next, list.numbers[i] + 1);
        }
    }
    mem_free(list.numbers);
    return rc;
}

/* ---- index ---- */

static bool index_condemned(struct node_disk *disk)
{
    char *path = mem_format("%s/%s", disk->path, INDEX_CONDEMNED_NAME);
    struct env_stat stat;
    bool found = disk->env->vt->stat_path(disk->env, path, &stat, NULL) == ERRC_OK;
    mem_free(path);
    return found;
}

static enum errc index_pardon(struct node_disk *disk, struct error *e)
{
    char *path = mem_format("%s/%s", disk->path, INDEX_CONDEMNED_NAME);
    enum errc rc = disk->kv->vt->flush(disk->kv, e);
    if (rc == ERRC_OK) {
        rc = disk->env->vt->unlink(disk->env, path, e);
    }
    mem_free(path);
    return rc == ERRC_OK ? disk->env->vt->fsync_dir(disk->env, disk->path, e) : rc;
}

/* A damaged index is thrown away: the log describes all that is in it. The mark comes before the first file goes, so that
 * what a crash leaves of the index is never taken for a whole one. */
static enum errc index_open(struct node_disk *disk, bool *condemned, struct error *e)
{
    struct kv_options options = {
        .cache_bytes = disk->options.index_cache_bytes,
        .memtable_bytes = disk->options.index_memtable_bytes,
        .create = true,
        .background_threads = 2,
    };
    struct kv_factory *factory = disk->kv_factory;
    struct error why = ERROR_INIT;
    enum errc rc = *condemned ? ERRC_CORRUPT : factory->open(factory, disk->index_path, &options, &disk->kv, &why);
    if (rc == ERRC_CORRUPT) {
        rc = *condemned ? ERRC_OK : disk_condemn_index(disk, e);
        if (rc != ERRC_OK) {
            return rc;
        }
        *condemned = true;
        rc = factory->destroy(factory, disk->index_path, e);
        if (rc != ERRC_OK) {
            return rc;
        }
        error_clear(&why);
        rc = factory->open(factory, disk->index_path, &options, &disk->kv, &why);
    }
    if (rc != ERRC_OK) {
        return error_set(e, rc, "%s", why.text);
    }
    disk->log.batch = disk->kv->vt->batch_create(disk->kv);
    return disk->env->vt->fsync_dir(disk->env, disk->path, e);
}

static enum errc index_load_value(struct node_disk *disk, struct index_key key, struct error *e)
{
    enc_reset(&disk->log.value);
    enum errc rc = disk->kv->vt->get(disk->kv, index_key_slice(&key), false, &disk->log.value, e);
    if (rc == ERRC_NOT_FOUND) {
        error_clear(e);
    }
    return rc;
}

static enum errc index_load_position(struct node_disk *disk, struct error *e)
{
    enum errc rc = index_load_value(disk, index_key_position(), e);
    if (rc == ERRC_OK) {
        rc = index_position_decode(enc_slice(&disk->log.value), &disk->log.position);
    }
    if (rc != ERRC_OK && rc != ERRC_NOT_FOUND) {
        return rc;
    }
    if (disk->log.position.next_segment > atomic_load(&disk->segments->next)) {
        atomic_store(&disk->segments->next, disk->log.position.next_segment);
    }
    rc = index_load_value(disk, index_key_scrub(), e);
    if (rc == ERRC_OK) {
        rc = index_scrub_decode(enc_slice(&disk->log.value), &disk->care.scrub);
        atomic_store(&disk->scrub_pass_wall_ms, disk->care.scrub.pass_wall_ms);
    }
    return rc == ERRC_NOT_FOUND ? ERRC_OK : rc;
}

static void index_load_segment(struct node_disk *disk, struct slice key, const struct index_segment *stats)
{
    uint64_t number = load_be64(key.data + 1);
    struct segment *segment = segments_find(disk->segments, number);
    if (segment == NULL) {
        disk->kv->vt->batch_delete(disk->log.batch, key); /* its file is gone */
        return;
    }
    atomic_store(&segment->live_bytes, stats->live_bytes);
    atomic_store(&segment->live_count, stats->live_count);
    atomic_store(&segment->tombstones, stats->tombstones);
    atomic_store(&segment->compacting, stats->compacting);
    segment->clean = stats->clean;
    if (stats->sealed) {
        atomic_store(&segment->sealed_end, stats->end);
    }
    if (segment->kind == SEGMENT_LOG) {
        atomic_fetch_add(&disk->shard_count, stats->live_count);
    }
}

static enum errc index_load_segments(struct node_disk *disk, struct error *e)
{
    struct index_key end = index_key_end('s');
    struct kv_iterator *it = disk->kv->vt->iterate(disk->kv, slice_str("s"), index_key_slice(&end));
    enum errc rc = ERRC_OK;
    for (disk->kv->vt->iterator_seek(it, slice_str("s")); rc == ERRC_OK && disk->kv->vt->iterator_valid(it);
         disk->kv->vt->iterator_next(it)) {
        struct slice key = disk->kv->vt->iterator_key(it);
        struct index_segment stats;
        rc = key.len == 9 ? index_segment_decode(disk->kv->vt->iterator_value(it), &stats) : ERRC_CORRUPT;
        if (rc == ERRC_OK) {
            index_load_segment(disk, key, &stats);
        } else {
            (void)error_set(e, rc, "counters in %s", disk->index_path);
        }
    }
    if (rc == ERRC_OK) {
        rc = disk->kv->vt->iterator_error(it, e);
    }
    disk->kv->vt->iterator_destroy(it);
    return rc;
}

/* ---- frames ---- */

struct replay {
    struct node_disk *disk;
    struct segment *segment;
    bool last;             /* of the log segments: its tail may be torn */
    uint64_t offset;
    bool sealed;
    uint8_t *bytes;        /* of one frame or hole */
    size_t capacity;
};

static enum errc replay_read(struct replay *r, uint64_t offset, size_t len, struct slice *ret, struct error *e)
{
    if (len > r->capacity) {
        r->bytes = mem_realloc(r->bytes, len);
        r->capacity = len;
    }
    size_t got = 0;
    enum errc rc = r->disk->env->vt->pread(r->disk->env, r->segment->file, r->bytes, len, offset, &got, e);
    *ret = slice_of(r->bytes, got);
    return rc;
}

/* Whether `bytes` begin with a frame header that may follow what was read so far. */
static enum errc replay_header(const struct replay *r, const uint8_t *bytes, uint64_t offset,
                               struct frame_header *ret)
{
    enum errc rc = frame_header_decode(bytes, ret);
    if (rc != ERRC_OK) {
        return rc;
    }
    bool fits = ret->salt == r->segment->salt && ret->segment == r->segment->number &&
                ret->seq > r->disk->log.position.seq && offset + ret->frame_bytes <= r->segment->size;
    return fits ? ERRC_OK : ERRC_CORRUPT;
}

/* Offset of the first whole frame header at or behind `from`; 0: none. */
static enum errc replay_find(struct replay *r, uint64_t from, uint64_t *ret, struct error *e)
{
    *ret = 0;
    if (from >= r->segment->size) {
        return ERRC_OK;
    }
    struct slice bytes;
    enum errc rc = replay_read(r, from, (size_t)(r->segment->size - from), &bytes, e);
    for (size_t at = 0; rc == ERRC_OK && at + FRAME_HEADER_BYTES <= bytes.len; at += FRAME_ALIGN) {
        struct frame_header header;
        if (replay_header(r, bytes.data + at, from + at, &header) == ERRC_OK) {
            *ret = from + at;
            break;
        }
    }
    return rc;
}

/* Everything in the frame holds. */
static bool frame_whole(const struct replay *r, struct slice frame, const struct frame_header *header)
{
    size_t at = FRAME_HEADER_BYTES;
    if (frame.len != header->frame_bytes) {
        return false;
    }
    for (uint32_t i = 0; i < header->record_count; i++) {
        struct record record;
        struct shard_meta meta;
        if (record_read(slice_of(frame.data, header->used_bytes), r->offset, r->segment->salt, &at, &record) !=
                ERRC_OK ||
            record.header.frame_seq != header->seq) {
            return false;
        }
        if (record.header.type != RECORD_FREE && record_check(&record, &meta) != ERRC_OK) {
            return false;
        }
    }
    return at == header->used_bytes;
}

static enum errc replay_record(struct replay *r, const struct record *record, struct error *e)
{
    return log_apply(r->disk, &record->header, record->meta, r->segment, record->offset, false, e);
}

/* Damage: every record that can still be made out is kept, and all that was lost is reported. Cells that do
 * not match stay in the index, so that readers are told CORRUPT and not NOT_FOUND. */
static enum errc replay_salvage(struct replay *r, struct slice bytes, uint64_t offset, struct error *e)
{
    static const struct extent_id unknown;
    size_t at = 0;
    bool lost = true; /* the frame header or a record between */
    enum errc rc = ERRC_OK;
    while (rc == ERRC_OK && at + RECORD_HEADER_BYTES <= bytes.len) {
        struct record record;
        struct shard_meta meta;
        size_t next = at;
        if (record_read(bytes, offset, r->segment->salt, &next, &record) != ERRC_OK) {
            at += RECORD_ALIGN;
            lost = true;
            continue;
        }
        if (record.header.type != RECORD_FREE && record_check(&record, &meta) != ERRC_OK) {
            disk_report_corrupt(r->disk, record.header.extent, record.header.index);
        }
        rc = replay_record(r, &record, e);
        if (rc == ERRC_OK) {
            rc = log_index_commit(r->disk, e); /* records of a hole may name one shard twice */
        }
        at = next;
    }
    if (lost) {
        disk_report_corrupt(r->disk, unknown, 0);
    }
    return rc;
}

static enum errc replay_frame(struct replay *r, struct slice frame, const struct frame_header *header,
                              struct error *e)
{
    size_t at = FRAME_HEADER_BYTES;
    enum errc rc = ERRC_OK;
    for (uint32_t i = 0; i < header->record_count && rc == ERRC_OK; i++) {
        struct record record;
        rc = record_read(slice_of(frame.data, header->used_bytes), r->offset, r->segment->salt, &at, &record);
        ASSERT(rc == ERRC_OK); /* frame_whole() has read it */
        rc = replay_record(r, &record, e);
    }
    return rc;
}

static enum errc replay_advance(struct replay *r, uint64_t offset, uint64_t seq, struct error *e)
{
    struct log_state *log = &r->disk->log;
    r->offset = offset;
    log->position.segment = r->segment->number;
    log->position.offset = offset;
    log->position.seq = seq;
    return log_index_commit(r->disk, e);
}

/* The bytes at the offset are no frame, or a frame that does not hold. */
static enum errc replay_broken(struct replay *r, uint64_t frame_end, bool *ret_tail, struct error *e)
{
    uint64_t next = 0;
    enum errc rc = replay_find(r, frame_end, &next, e);
    if (rc != ERRC_OK) {
        return rc;
    }
    *ret_tail = next == 0 && r->last;
    if (*ret_tail) {
        return ERRC_OK;
    }
    uint64_t end = next != 0 ? next : r->segment->size;
    struct slice bytes;
    rc = replay_read(r, r->offset, (size_t)(end - r->offset), &bytes, e);
    if (rc == ERRC_OK) {
        rc = replay_salvage(r, bytes, r->offset, e);
    }
    return rc == ERRC_OK ? replay_advance(r, end, r->disk->log.position.seq, e) : rc;
}

/* One frame. *ret_end: nothing follows. */
static enum errc replay_step(struct replay *r, bool *ret_end, struct error *e)
{
    struct slice bytes;
    struct frame_header header;
    enum errc rc = replay_read(r, r->offset, FRAME_HEADER_BYTES, &bytes, e);
    if (rc != ERRC_OK) {
        return rc;
    }
    if (bytes.len < FRAME_HEADER_BYTES && r->offset >= r->segment->size) {
        *ret_end = true;
        return ERRC_OK;
    }
    rc = bytes.len == FRAME_HEADER_BYTES ? replay_header(r, bytes.data, r->offset, &header) : ERRC_CORRUPT;
    if (rc == ERRC_FORMAT) {
        return error_set(e, rc, "%s: a newer program wrote the log", r->disk->path);
    }
    if (rc != ERRC_OK) {
        return replay_broken(r, r->offset + FRAME_ALIGN, ret_end, e);
    }
    rc = replay_read(r, r->offset, header.frame_bytes, &bytes, e);
    if (rc != ERRC_OK) {
        return rc;
    }
    if (!frame_whole(r, bytes, &header)) {
        return replay_broken(r, r->offset + header.frame_bytes, ret_end, e);
    }
    r->sealed = (header.flags & FRAME_SEAL) != 0;
    *ret_end = r->sealed;
    rc = replay_frame(r, bytes, &header, e);
    return rc == ERRC_OK ? replay_advance(r, r->offset + header.frame_bytes, header.seq, e) : rc;
}

static enum errc replay_segment(struct node_disk *disk, struct segment *segment, bool last, struct error *e)
{
    const struct index_position *position = &disk->log.position;
    uint64_t sealed_end = atomic_load(&segment->sealed_end);
    struct replay r = { .disk = disk, .segment = segment, .last = last, .offset = SEGMENT_HEADER_BYTES };
    if (segment->number < position->segment) {
        if (sealed_end == 0) { /* it was about to be deleted, or stands behind an index that was rebuilt */
            atomic_store(&segment->sealed_end, segment->size);
        }
        return ERRC_OK;
    }
    if (segment->number == position->segment) {
        r.offset = position->offset;
        r.sealed = sealed_end != 0 && r.offset >= sealed_end;
    }
    bool end = r.sealed;
    enum errc rc = ERRC_OK;
    while (rc == ERRC_OK && !end) {
        rc = replay_step(&r, &end, e);
    }
    mem_free(r.bytes);
    if (rc != ERRC_OK) {
        return rc;
    }
    segment->end = r.offset;
    if (last && !r.sealed) {
        disk->log.active = segment;
        return log_seal(disk, segment, e);
    }
    atomic_store(&segment->sealed_end, r.offset);
    segment_touch(disk->segments, segment);
    return ERRC_OK;
}

static struct segment *replay_next_log(struct node_disk *disk, uint64_t from)
{
    struct segment *segment = segments_next(disk->segments, from);
    while (segment != NULL && segment->kind != SEGMENT_LOG) {
        segment = segments_next(disk->segments, segment->number + 1);
    }
    return segment;
}

static enum errc replay_log(struct node_disk *disk, struct error *e)
{
    struct segment *segment = replay_next_log(disk, 1);
    enum errc rc = ERRC_OK;
    while (segment != NULL && rc == ERRC_OK) {
        struct segment *next = replay_next_log(disk, segment->number + 1);
        rc = replay_segment(disk, segment, next == NULL, e);
        segment = next;
    }
    return rc;
}

/* ---- ranges of data segments that belong to no shard: uploads that were cut short, holes not yet punched ---- */

/* To the first key, or with NULL to the next. */
static void gaps_move(struct node_disk *disk, struct kv_iterator *it, const struct index_key *first)
{
    unsigned call = watch_begin(&disk->watch);
    if (first != NULL) {
        disk->kv->vt->iterator_seek(it, index_key_slice(first));
    } else {
        disk->kv->vt->iterator_next(it);
    }
    watch_end(&disk->watch, call);
}

static void gaps_punch(struct node_disk *disk, void *data)
{
    struct segment *segment = data;
    struct index_key first = index_key_range(segment->number, 0);
    struct index_key end = index_key_range(segment->number + 1, 0);
    const struct kv_vt *vt = disk->kv->vt;
    struct kv_iterator *it = vt->iterate(disk->kv, index_key_slice(&first), index_key_slice(&end));
    uint64_t at = SEGMENT_HEADER_BYTES;
    for (gaps_move(disk, it, &first); vt->iterator_valid(it); gaps_move(disk, it, NULL)) {
        struct slice key = vt->iterator_key(it);
        struct slice value = vt->iterator_value(it);
        if (key.len != 17 || value.len < 8) {
            break;
        }
        uint64_t offset = load_be64(key.data + 9);
        if (offset > at) {
            care_punch(disk, segment->number, at, offset - at);
        }
        at = offset + load_le64(value.data);
    }
    bool whole = vt->iterator_error(it, NULL) == ERRC_OK && !vt->iterator_valid(it);
    if (whole && segment->size > at) {
        care_punch(disk, segment->number, at, segment->size - at);
    }
    vt->iterator_destroy(it);
    if (whole && disk_state(disk) != DISK_FENCED) { /* what was preallocated behind the end goes back, too; not needed */
        (void)disk->env->vt->truncate(disk->env, segment->file, segment->size > at ? segment->size : at, NULL);
    }
}

static void replay_gaps(struct node_disk *disk)
{
    for (struct segment *segment = segments_next(disk->segments, 1); segment != NULL;
         segment = segments_next(disk->segments, segment->number + 1)) {
        if (segment->kind == SEGMENT_DATA) {
            atomic_store(&segment->sealed_end, segment->size);
            if (!segment->clean) {
                disk_post(disk, disk->care_executor, gaps_punch, segment);
            }
        }
    }
}

static enum errc replay_index(struct node_disk *disk, struct error *e)
{
    enum errc rc = index_load_position(disk, e);
    if (rc == ERRC_OK) {
        rc = index_load_segments(disk, e);
    }
    if (rc == ERRC_OK) {
        rc = replay_log(disk, e);
    }
    return rc == ERRC_OK ? log_index_commit(disk, e) : rc;
}

enum errc replay_disk(struct node_disk *disk, struct error *e)
{
    enum errc rc = replay_load_segments(disk, e);
    bool condemned = index_condemned(disk);
    if (rc == ERRC_OK) {
        rc = index_open(disk, &condemned, e);
    }
    if (rc == ERRC_OK) {
        rc = replay_index(disk, e);
        if (rc == ERRC_CORRUPT) {
            disk_fence(disk, e, FAULT_INDEX);
        }
    }
    if (rc == ERRC_OK && condemned) {
        rc = index_pardon(disk, e);
    }
    if (rc == ERRC_OK) {
        replay_gaps(disk);
    }
    return rc;
}
