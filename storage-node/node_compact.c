/*
 * Compaction of a log segment: copy what lives, make it durable, let the index point at the copies, delete
 * the segment (node_care). One segment at a time. Steps and crashes: README.md.
 */
#include "storage-node/node_disk.h"

#include "common/base/assert.h"
#include "common/base/bytes.h"
#include "common/base/mem.h"

#define COMPACT_LIVE_PERCENT_MAX 50       /* a segment that is fuller stays */
#define COMPACT_LIVE_PERCENT_MAX_FULL 90  /* unless the disk is full */

struct move {
    struct log_op log;
    struct compaction *compaction;
    uint8_t *tombstones;                  /* of a FREE record: those that are still needed */
};

struct compaction {
    struct node_disk *disk;
    struct segment *segment;
    uint64_t offset;                      /* next frame */
    struct buffer *frame;                 /* borrowed by the moves under way */
    struct move *moves;                   /* of this frame */
    unsigned move_count;
    atomic_uint under_way;
    atomic_bool failed;
};

static void compact_frame(struct node_disk *disk, void *data);

static void compact_end(struct compaction *c)
{
    buffer_unref(c->frame);
    mem_free(c->moves);
    c->disk->care.compaction = NULL;
    atomic_fetch_sub(&c->disk->pending, 1);
    mem_free(c);
}

/* Something in the segment does not match: it stays as it is, for the readers to see. */
static void compact_damaged(struct compaction *c, const struct record *record)
{
    static const struct extent_id unknown;
    disk_report_corrupt(c->disk, record != NULL ? record->header.extent : unknown,
                        record != NULL ? record->header.index : 0);
    atomic_store(&c->segment->damaged, true);
    atomic_store(&c->failed, true);
}

/* Log executor. */
static void on_moved(struct log_op *log, enum errc rc, struct error *e)
{
    struct move *move = container_of(log, struct move, log);
    struct compaction *c = move->compaction;
    (void)e; /* told by the disk's state; the segment is simply tried again later */
    if (rc != ERRC_OK) {
        atomic_store(&c->failed, true);
    }
    mem_free(move->tombstones);
    move->tombstones = NULL;
    if (atomic_fetch_sub(&c->under_way, 1) == 1) {
        disk_post(c->disk, c->disk->care_executor, compact_frame, c);
    }
}

/* A tombstone is needed as long as the segment of the record that it kills exists. */
static bool move_tombstones(struct compaction *c, const struct record *record, struct move *move)
{
    size_t count = record->meta.len / TOMBSTONE_BYTES;
    size_t kept = 0;
    move->tombstones = mem_alloc(record->meta.len + 1);
    for (size_t i = 0; i < count; i++) {
        const uint8_t *tombstone = record->meta.data + i * TOMBSTONE_BYTES;
        uint64_t killed = load_le64(tombstone + SHARD_NAME_BYTES);
        if (killed != c->segment->number && segments_find(c->disk->segments, killed) != NULL) {
            memcpy(move->tombstones + kept * TOMBSTONE_BYTES, tombstone, TOMBSTONE_BYTES);
            kept++;
        }
    }
    move->log.moved.meta = slice_of(move->tombstones, kept * TOMBSTONE_BYTES);
    if (kept == 0) {
        mem_free(move->tombstones);
        move->tombstones = NULL;
    }
    return kept > 0;
}

/* Whether the index points at this very record. */
static bool record_lives(struct compaction *c, const struct record *record)
{
    struct shard_name name = { .extent = record->header.extent, .index = record->header.index };
    struct index_entry entry;
    struct enc memory = ENC_INIT;
    struct error e = ERROR_INIT;
    enum errc rc = index_get(c->disk, &name, false, &memory, &entry, &e);
    bool lives = rc == ERRC_OK && entry.log_segment == c->segment->number && entry.log_offset == record->offset;
    enc_free(&memory);
    if (rc != ERRC_OK && rc != ERRC_NOT_FOUND) {
        (void)disk_fault(c->disk, rc, &e, FAULT_INDEX);
        atomic_store(&c->failed, true);
    }
    return lives;
}

static void compact_record(struct compaction *c, const struct record *record)
{
    struct move *move = &c->moves[c->move_count];
    *move = (struct move){ .compaction = c };
    move->log.kind = LOG_MOVE;
    move->log.done = on_moved;
    move->log.moved = *record;
    move->log.moved.header.source_segment = c->segment->number;
    if (record->header.type == RECORD_FREE) {
        c->move_count += move_tombstones(c, record, move) ? 1 : 0;
        return;
    }
    struct shard_meta meta;
    if (!record_lives(c, record)) {
        return;
    }
    if (record_check(record, &meta) != ERRC_OK) {
        compact_damaged(c, record);
        return;
    }
    c->move_count++;
}

/* Reads the next frame; false at the end, or after a failure. */
static bool compact_read(struct compaction *c, struct frame_header *ret)
{
    uint8_t head[FRAME_HEADER_BYTES];
    size_t len = 0;
    struct error e = ERROR_INIT;
    struct env *env = c->disk->env;
    uint64_t end = atomic_load(&c->segment->sealed_end);
    if (c->offset + FRAME_HEADER_BYTES > end) {
        return false;
    }
    enum errc rc = env->vt->pread(env, c->segment->file, head, sizeof(head), c->offset, &len, &e);
    if (rc == ERRC_OK && (len < sizeof(head) || frame_header_decode(head, ret) != ERRC_OK ||
                          ret->salt != c->segment->salt || c->offset + ret->frame_bytes > end)) {
        compact_damaged(c, NULL);
        return false;
    }
    if (rc == ERRC_OK) {
        buffer_unref(c->frame);
        c->frame = buffer_new(ret->frame_bytes);
        rc = env->vt->pread(env, c->segment->file, c->frame->data, ret->frame_bytes, c->offset, &len, &e);
    }
    if (rc != ERRC_OK) {
        (void)disk_fault(c->disk, rc, &e, "compaction");
        atomic_store(&c->failed, true);
        return false;
    }
    c->frame->len = len;
    return true;
}

static void compact_collect(struct compaction *c, const struct frame_header *header)
{
    size_t at = FRAME_HEADER_BYTES;
    struct slice used = slice_of(c->frame->data, header->used_bytes);
    mem_free(c->moves);
    c->moves = mem_zalloc((header->record_count + 1) * sizeof(*c->moves));
    c->move_count = 0;
    for (uint32_t i = 0; i < header->record_count && !atomic_load(&c->failed); i++) {
        struct record record;
        if (record_read(used, c->offset, c->segment->salt, &at, &record) != ERRC_OK) {
            compact_damaged(c, NULL);
            return;
        }
        compact_record(c, &record);
    }
}

struct compact_finish {
    struct log_op log;
    struct segment *segment;
};

/* Log executor: nothing in the segment is needed any more; node_care deletes it. */
static void finish_note(struct log_op *log, struct kv_batch *batch)
{
    (void)batch; /* the counter is written with the segment's others */
    struct compact_finish *finish = container_of(log, struct compact_finish, log);
    atomic_store(&finish->segment->tombstones, 0);
    segment_touch(log->disk->segments, finish->segment);
}

static void finish_done(struct log_op *log, enum errc rc, struct error *e)
{
    (void)rc; /* the segment is compacted again then */
    (void)e;
    struct node_disk *disk = log->disk;
    mem_free(container_of(log, struct compact_finish, log));
    atomic_fetch_sub(&disk->pending, 1);
}

static void compact_finish(struct compaction *c)
{
    struct compact_finish *finish = mem_zalloc(sizeof(*finish));
    finish->segment = c->segment;
    finish->log.kind = LOG_NOTE;
    finish->log.note = finish_note;
    finish->log.done = finish_done;
    atomic_fetch_add(&c->disk->pending, 1);
    log_submit(c->disk, &finish->log);
}

/* Copies of one frame at a time; called again when all of them are durable. */
static void compact_frame(struct node_disk *disk, void *data)
{
    struct compaction *c = data;
    struct frame_header header;
    c->move_count = 0;
    while (!atomic_load(&c->failed) && disk_readable(disk) && !atomic_load(&disk->closing) &&
           c->move_count == 0) {
        if (!compact_read(c, &header)) {
            break;
        }
        compact_collect(c, &header);
        c->offset += header.frame_bytes;
        if ((header.flags & FRAME_SEAL) != 0) {
            break;
        }
    }
    if (c->move_count > 0 && !atomic_load(&c->failed)) {
        atomic_store(&c->under_way, c->move_count);
        for (unsigned i = 0, count = c->move_count; i < count; i++) {
            log_submit(disk, &c->moves[i].log);
        }
        return;
    }
    for (unsigned i = 0; i < c->move_count; i++) {
        mem_free(c->moves[i].tombstones);
    }
    bool whole = !atomic_load(&c->failed) && c->offset >= atomic_load(&c->segment->sealed_end);
    if (whole && disk_readable(disk)) {
        compact_finish(c);
    }
    compact_end(c);
}

static bool compact_wanted(const struct node_disk *disk, const struct segment *segment)
{
    uint64_t end = atomic_load(&segment->sealed_end);
    uint64_t percent = disk_state(disk) == DISK_FULL ? COMPACT_LIVE_PERCENT_MAX_FULL : COMPACT_LIVE_PERCENT_MAX;
    return segment->kind == SEGMENT_LOG && atomic_load(&segment->sealed) && end != 0 && !segment->dropping &&
           !atomic_load(&segment->damaged) && !segment_dead(segment) &&
           (atomic_load(&segment->compacting) || atomic_load(&segment->live_bytes) < end / 100 * percent);
}

/* One that was begun before comes first: no tombstone may be dropped while stale copies of it exist. */
static struct segment *compact_pick(struct node_disk *disk)
{
    struct segment *best = NULL;
    for (struct segment *segment = segments_next(disk->segments, 1); segment != NULL;
         segment = segments_next(disk->segments, segment->number + 1)) {
        if (!compact_wanted(disk, segment)) {
            continue;
        }
        if (atomic_load(&segment->compacting)) {
            return segment;
        }
        if (best == NULL || atomic_load(&segment->live_bytes) < atomic_load(&best->live_bytes)) {
            best = segment;
        }
    }
    return best;
}

void compact_tick(struct node_disk *disk)
{
    ASSERT(disk->care.compaction == NULL);
    struct segment *segment = compact_pick(disk);
    if (segment == NULL) {
        return;
    }
    struct compaction *c = mem_zalloc(sizeof(*c));
    c->disk = disk;
    c->segment = segment;
    c->offset = SEGMENT_HEADER_BYTES;
    disk->care.compaction = c;
    atomic_fetch_add(&disk->pending, 1); /* until compact_end() */
    disk_post(disk, disk->care_executor, compact_frame, c);
}
