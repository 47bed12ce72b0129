/*
 *   submit -> waiting -> flush: gather -> prepare -> roll? -> append -> fdatasync -> index -> done
 *
 * The log executor is serial, so whatever arrives while one frame is being synced waits in its queue and
 * shares the next frame. No frame holds two operations on one name.
 */
#include "storage-node/node_disk.h"

#include "common/base/assert.h"
#include "common/base/bytes.h"
#include "common/base/crc32c.h"
#include "common/base/mem.h"
#include "common/base/plant.h"

#define FRAME_OPS_MAX 256
#define FRAME_GATHER_BYTES (4u << 20) /* no further operation joins a frame of this length */
#define COPY_BYTES_MAX (16u << 10)    /* shorter payloads are copied rather than made a part of their own */
#define ZERO_AHEAD_BYTES (1u << 20)   /* blocks turned from preallocated to written at once, */
#define ZERO_AHEAD_FRAME_MAX (64u << 10) /* while frames are this short: README.md "Measured" */
#define NAME_SLOTS 4096               /* at least twice the names of a frame */
#define NAMES_PER_FRAME_MAX 2000

/* ---- names of one frame ---- */

struct name_set {
    struct shard_name names[NAME_SLOTS];
    bool used[NAME_SLOTS];
    unsigned count;
};

/* Slot of the name, or the free one where it belongs. */
static uint32_t name_set_slot(const struct name_set *set, const struct shard_name *name)
{
    uint32_t slot = crc32c(name, SHARD_NAME_BYTES) % NAME_SLOTS;
    while (set->used[slot] && !shard_name_equal(&set->names[slot], name)) {
        slot = (slot + 1) % NAME_SLOTS;
    }
    return slot;
}

static bool name_set_has(const struct name_set *set, const struct shard_name *name)
{
    return set->used[name_set_slot(set, name)];
}

/* False if it is there already. */
static bool name_set_add(struct name_set *set, const struct shard_name *name)
{
    uint32_t slot = name_set_slot(set, name);
    if (set->used[slot]) {
        return false;
    }
    set->used[slot] = true;
    set->names[slot] = *name;
    set->count++;
    return true;
}

static struct shard_name name_at(struct slice names, size_t stride, size_t i)
{
    struct shard_name name;
    memcpy(name.extent.bytes, names.data + i * stride, ID_BYTES);
    name.index = names.data[i * stride + ID_BYTES];
    return name;
}

static unsigned op_name_count(const struct log_op *op)
{
    if (op->kind == LOG_NOTE) {
        return 0;
    }
    if (op->kind == LOG_FREE) {
        return (unsigned)(op->names.len / SHARD_NAME_BYTES);
    }
    bool tombstones = op->kind == LOG_MOVE && op->moved.header.type == RECORD_FREE;
    return tombstones ? 0 : 1; /* copied tombstones change nothing */
}

static struct shard_name op_name(const struct log_op *op, unsigned i)
{
    if (op->kind == LOG_FREE) {
        return name_at(op->names, SHARD_NAME_BYTES, i);
    }
    struct shard_name name;
    if (op->kind == LOG_MOVE) {
        name = (struct shard_name){ .extent = op->moved.header.extent, .index = op->moved.header.index };
    } else {
        name = (struct shard_name){ .extent = op->meta->header.extent, .index = op->meta->header.index };
    }
    return name;
}

/* False when the operation must wait for the next frame. */
static bool names_claim(struct name_set *set, const struct log_op *op)
{
    unsigned count = op_name_count(op);
    if (set->count + count > NAMES_PER_FRAME_MAX && set->count > 0) {
        return false;
    }
    for (unsigned i = 0; i < count; i++) {
        struct shard_name name = op_name(op, i);
        if (name_set_has(set, &name)) {
            return false;
        }
    }
    for (unsigned i = 0; i < count; i++) {
        struct shard_name name = op_name(op, i);
        (void)name_set_add(set, &name); /* one request may name a shard twice: prepare_free() sees to that */
    }
    return true;
}

/* ---- index ---- */

enum errc index_get(struct node_disk *disk, const struct shard_name *name, bool cached_only,
                    struct enc *memory, struct index_entry *ret, struct error *e)
{
    struct index_key key = index_key_shard(name);
    enc_reset(memory);
    unsigned call = cached_only ? WATCH_CALLS : watch_begin(&disk->watch);
    enum errc rc = disk->kv->vt->get(disk->kv, index_key_slice(&key), cached_only, memory, e);
    watch_end(&disk->watch, call);
    if (rc != ERRC_OK) {
        return rc;
    }
    rc = index_entry_decode(enc_slice(memory), ret);
    return rc == ERRC_OK ? rc : error_set(e, rc, "index entry of %s", disk->path);
}

static void index_put_segment(struct node_disk *disk, const struct segment *segment)
{
    struct index_segment stats = {
        .kind = segment->kind,
        .sealed = atomic_load(&segment->sealed),
        .clean = segment->clean,
        .compacting = atomic_load(&segment->compacting),
        .end = atomic_load(&segment->sealed_end),
        .live_bytes = atomic_load(&segment->live_bytes),
        .live_count = atomic_load(&segment->live_count),
        .tombstones = atomic_load(&segment->tombstones),
    };
    struct index_key key = index_key_segment(segment->number);
    enc_reset(&disk->log.value2);
    index_segment_encode(&disk->log.value2, &stats);
    disk->kv->vt->batch_put(disk->log.batch, index_key_slice(&key), enc_slice(&disk->log.value2));
}

enum errc log_index_commit(struct node_disk *disk, struct error *e)
{
    struct log_state *log = &disk->log;
    while (disk->segments->touched != NULL) {
        struct segment *segment = disk->segments->touched;
        disk->segments->touched = segment->next_touched;
        segment->touched = false;
        index_put_segment(disk, segment);
    }
    log->position.next_segment = atomic_load(&disk->segments->next);
    struct index_key key = index_key_position();
    enc_reset(&log->value2);
    index_position_encode(&log->value2, &log->position);
    disk->kv->vt->batch_put(log->batch, index_key_slice(&key), enc_slice(&log->value2));
    unsigned call = watch_begin(&disk->watch);
    enum errc rc = disk->kv->vt->write(disk->kv, log->batch, e);
    watch_end(&disk->watch, call);
    disk->kv->vt->batch_clear(log->batch);
    /* No room either is a fault: the frame is durable and counted, and a later batch would step over what this one
     * lost. Out of service, the next start replays the frame. */
    rc = rc == ERRC_NO_SPACE ? ERRC_IO : rc;
    return disk_fault(disk, rc, e, FAULT_INDEX);
}

/* Takes an entry out of the counters, and its range out of the ranges in use. */
static void apply_forget(struct node_disk *disk, const struct index_entry *entry, bool free_range)
{
    segment_account(disk->segments, entry->log_segment, -(int64_t)index_entry_log_bytes(entry), -1);
    atomic_fetch_sub(&disk->shard_count, 1);
    if (!entry->large) {
        return;
    }
    int64_t range = (int64_t)index_entry_data_bytes(entry);
    segment_account(disk->segments, entry->data_segment, -range, -1);
    if (free_range) {
        struct index_key key = index_key_range(entry->data_segment, entry->data_offset);
        disk->kv->vt->batch_delete(disk->log.batch, index_key_slice(&key));
        struct segment *segment = segments_find(disk->segments, entry->data_segment);
        if (segment != NULL) {
            segment->clean = false;
        }
    }
}

static enum errc apply_free(struct node_disk *disk, const struct record_header *header, struct slice meta,
                            struct error *e)
{
    (void)header;
    size_t count = meta.len / TOMBSTONE_BYTES;
    for (size_t i = 0; i < count; i++) {
        struct shard_name name = name_at(meta, TOMBSTONE_BYTES, i);
        struct index_entry entry;
        enum errc rc = index_get(disk, &name, false, &disk->log.value, &entry, e);
        if (rc == ERRC_NOT_FOUND) {
            error_clear(e);
            continue; /* a copied tombstone, or one applied before */
        }
        if (rc != ERRC_OK) {
            return disk_fault(disk, rc, e, FAULT_INDEX);
        }
        if (entry.log_segment > load_le64(meta.data + i * TOMBSTONE_BYTES + SHARD_NAME_BYTES)) {
            continue; /* repair has written the name again since, and this is a copy of the tombstone */
        }
        apply_forget(disk, &entry, true);
        struct index_key key = index_key_shard(&name);
        disk->kv->vt->batch_delete(disk->log.batch, index_key_slice(&key));
        if (entry.large && disk_readable(disk)) { /* at the start the gaps are punched once all is replayed */
            care_punch(disk, entry.data_segment, entry.data_offset, index_entry_data_bytes(&entry));
        }
    }
    return ERRC_OK;
}

static void apply_put(struct node_disk *disk, const struct record_header *header, const struct shard_meta *meta,
                      const struct segment *segment, uint64_t offset)
{
    struct shard_name name = { .extent = header->extent, .index = header->index };
    struct index_entry entry = {
        .log_segment = segment->number,
        .log_offset = offset,
        .body_bytes = header->body_bytes,
        .meta_bytes = header->meta_bytes,
        .cell_bytes = meta->header.code.cell_bytes,
        .cell_count = meta->header.cell_count,
        .shard_bytes = meta->header.shard_bytes,
        .large = header->type == RECORD_COMMIT,
        .data_segment = header->data_segment,
        .data_offset = header->data_offset,
        .cell_crcs = meta->cell_crcs,
    };
    struct log_state *log = &disk->log;
    enc_reset(&log->value);
    index_entry_encode(&log->value, &entry);
    struct index_key key = index_key_shard(&name);
    disk->kv->vt->batch_put(log->batch, index_key_slice(&key), enc_slice(&log->value));
    segment_account(disk->segments, segment->number, (int64_t)index_entry_log_bytes(&entry), 1);
    atomic_fetch_add(&disk->shard_count, 1);
    if (!entry.large) {
        return;
    }
    segment_account(disk->segments, entry.data_segment, (int64_t)index_entry_data_bytes(&entry), 1);
    struct index_key range = index_key_range(entry.data_segment, entry.data_offset);
    enc_reset(&log->value);
    enc_u64(&log->value, index_entry_data_bytes(&entry));
    enc_raw(&log->value, name.extent.bytes, ID_BYTES);
    enc_u8(&log->value, name.index);
    disk->kv->vt->batch_put(log->batch, index_key_slice(&range), enc_slice(&log->value));
}

enum errc log_apply(struct node_disk *disk, const struct record_header *header, struct slice meta,
                    const struct segment *segment, uint64_t offset, bool known_absent, struct error *e)
{
    if (header->source_segment != 0) {
        struct segment *source = segments_find(disk->segments, header->source_segment);
        if (source != NULL && !atomic_load(&source->compacting)) {
            atomic_store(&source->compacting, true);
            segment_touch(disk->segments, source);
        }
    }
    if (header->type == RECORD_FREE) {
        struct segment *own = segments_find(disk->segments, segment->number);
        ASSERT(own != NULL);
        atomic_fetch_add(&own->tombstones, meta.len / TOMBSTONE_BYTES);
        segment_touch(disk->segments, own);
        return apply_free(disk, header, meta, e);
    }
    struct shard_meta decoded;
    enum errc rc = shard_meta_decode(meta, &decoded);
    if (rc != ERRC_OK) {
        return error_set(e, rc, "record at %llu of segment %llu", (unsigned long long)offset,
                         (unsigned long long)segment->number);
    }
    if (!known_absent) {
        struct shard_name name = { .extent = header->extent, .index = header->index };
        struct index_entry old;
        rc = index_get(disk, &name, false, &disk->log.value, &old, e);
        if (rc == ERRC_OK) {
            apply_forget(disk, &old, false);
        } else if (rc != ERRC_NOT_FOUND) {
            return disk_fault(disk, rc, e, FAULT_INDEX);
        }
        error_clear(e);
    }
    apply_put(disk, header, &decoded, segment, offset);
    return ERRC_OK;
}

/* ---- building a frame ---- */

static void parts_add(struct log_state *log, const uint8_t *data, size_t offset, size_t len)
{
    if (len == 0) {
        return;
    }
    struct log_part *last = log->part_count > 0 ? &log->parts[log->part_count - 1] : NULL;
    if (data == NULL && last != NULL && last->data == NULL && last->offset + last->len == offset) {
        last->len += len;
        return;
    }
    if (log->part_count == log->part_capacity) {
        log->part_capacity = log->part_capacity > 0 ? 2 * log->part_capacity : 64;
        log->parts = mem_realloc(log->parts, log->part_capacity * sizeof(*log->parts));
        log->iov = mem_realloc(log->iov, log->part_capacity * sizeof(*log->iov));
    }
    log->parts[log->part_count++] = (struct log_part){ .data = data, .offset = offset, .len = len };
}

static uint8_t *stage(struct log_state *log, size_t len)
{
    size_t offset = log->staging.len;
    uint8_t *bytes = enc_reserve(&log->staging, len);
    parts_add(log, NULL, offset, len);
    return bytes;
}

static void stage_copy(struct log_state *log, struct slice bytes)
{
    if (bytes.len > 0) {
        memcpy(stage(log, bytes.len), bytes.data, bytes.len);
    }
}

static void stage_pad(struct log_state *log, uint64_t from, uint64_t alignment)
{
    size_t len = (size_t)(align_up(from, alignment) - from);
    if (len > 0) {
        memset(stage(log, len), 0, len);
    }
}

static void stage_body(struct log_state *log, struct slice bytes)
{
    if (bytes.len <= COPY_BYTES_MAX) {
        stage_copy(log, bytes);
    } else {
        parts_add(log, bytes.data, 0, bytes.len);
    }
}

/* An existing shard of the same name: the same bytes again are fine, others are not. */
static enum errc prepare_existing(const struct log_op *op, const struct index_entry *entry, struct error *e)
{
    if (slice_equal(entry->cell_crcs, op->meta->cell_crcs) && entry->shard_bytes == op->meta->header.shard_bytes &&
        entry->cell_bytes == op->meta->header.code.cell_bytes) {
        return ERRC_OK;
    }
    return error_set(e, ERRC_EXISTS, "other bytes are stored under this shard's name");
}

/* PUT and COMMIT. Leaves in_frame false when there is nothing to write. */
static enum errc prepare_shard(struct node_disk *disk, struct log_op *op, struct enc *meta, struct error *e)
{
    struct shard_name name = op_name(op, 0);
    struct index_entry entry;
    if (op->kind == LOG_PUT && disk_state(disk) == DISK_FULL) {
        return error_set(e, ERRC_NO_SPACE, "disk %s is full", disk->path);
    }
    enum errc rc = index_get(disk, &name, false, &disk->log.value, &entry, e);
    if (rc == ERRC_OK) {
        return prepare_existing(op, &entry, e);
    }
    if (rc != ERRC_NOT_FOUND) {
        return disk_fault(disk, rc, e, FAULT_INDEX);
    }
    error_clear(e);
    shard_meta_encode(meta, op->meta);
    op->header = (struct record_header){
        .type = op->kind == LOG_PUT ? RECORD_SHARD : RECORD_COMMIT,
        .extent = name.extent,
        .index = name.index,
        .body_bytes = op->kind == LOG_PUT ? op->meta->header.shard_bytes : 0,
        .data_segment = op->data_segment,
        .data_offset = op->data_offset,
    };
    op->in_frame = true;
    return ERRC_OK;
}

/* Tombstones for those names that exist. Each says which segment holds what it kills. */
static enum errc prepare_free(struct node_disk *disk, struct log_op *op, struct enc *meta, struct error *e)
{
    struct name_set *seen = mem_zalloc(sizeof(*seen));
    enum errc rc = ERRC_OK;
    for (unsigned i = 0; i < op_name_count(op) && (rc == ERRC_OK || rc == ERRC_NOT_FOUND); i++) {
        struct shard_name name = op_name(op, i);
        struct index_entry entry;
        rc = name_set_add(seen, &name) ? index_get(disk, &name, false, &disk->log.value, &entry, e)
                                       : ERRC_NOT_FOUND;
        if (rc != ERRC_OK) {
            continue;
        }
        enc_raw(meta, name.extent.bytes, ID_BYTES);
        enc_u8(meta, name.index);
        enc_u64(meta, entry.log_segment);
    }
    mem_free(seen);
    if (rc != ERRC_OK && rc != ERRC_NOT_FOUND) {
        return disk_fault(disk, rc, e, FAULT_INDEX);
    }
    error_clear(e);
    op->header = (struct record_header){ .type = RECORD_FREE };
    op->in_frame = meta->len > 0;
    return ERRC_OK;
}

/* A copy is made only of what the index still points at. */
static enum errc prepare_move(struct node_disk *disk, struct log_op *op, struct enc *meta, struct error *e)
{
    op->header = op->moved.header;
    op->in_frame = true;
    enc_raw(meta, op->moved.meta.data, op->moved.meta.len);
    if (op->header.type == RECORD_FREE) {
        return ERRC_OK;
    }
    struct shard_name name = op_name(op, 0);
    struct index_entry entry;
    enum errc rc = index_get(disk, &name, false, &disk->log.value, &entry, e);
    if (rc == ERRC_NOT_FOUND) {
        error_clear(e);
        op->in_frame = false;
        return ERRC_OK;
    }
    if (rc == ERRC_OK) {
        op->in_frame = entry.log_segment == op->header.source_segment && entry.log_offset == op->moved.offset;
    }
    return disk_fault(disk, rc, e, FAULT_INDEX);
}

static enum errc op_prepare(struct node_disk *disk, struct log_op *op, struct enc *meta, struct error *e)
{
    if (!disk_readable(disk)) {
        return disk_refusal(disk, e);
    }
    switch (op->kind) {
    case LOG_PUT:
    case LOG_COMMIT:
        return prepare_shard(disk, op, meta, e);
    case LOG_FREE:
        return prepare_free(disk, op, meta, e);
    case LOG_MOVE:
        return prepare_move(disk, op, meta, e);
    case LOG_NOTE:
        return ERRC_OK;
    }
    UNREACHABLE();
}

/* Appends the operation's record to the frame that is being built; offsets are relative to the frame. */
static void op_stage(struct log_state *log, struct log_op *op, struct slice meta, uint64_t *frame_at)
{
    op->offset = *frame_at;
    op->header.meta_bytes = (uint32_t)meta.len;
    op->header.meta_crc = crc32c(meta.data, meta.len);
    size_t header_offset = log->staging.len;
    (void)stage(log, RECORD_HEADER_BYTES); /* encoded when salt and sequence are known */
    if (op->kind == LOG_PUT) {
        for (unsigned i = 0; i < op->payload_count; i++) {
            stage_body(log, buffer_slice(op->payloads[i]));
        }
    } else if (op->kind == LOG_MOVE) {
        stage_body(log, op->moved.body);
    }
    stage_pad(log, op->header.body_bytes, RECORD_ALIGN);
    size_t meta_offset = log->staging.len;
    stage_copy(log, meta);
    stage_pad(log, meta.len, RECORD_ALIGN);
    /* Offsets for now: the staging block may move while it grows. */
    op->meta_bytes = (struct slice){ NULL, meta_offset };
    op->header.frame_seq = header_offset;
    *frame_at += record_bytes(&op->header);
}

/* ---- appending ---- */

struct frame {
    struct log_op *ops;          /* in order */
    unsigned record_count;
    uint64_t used_bytes;
    bool has_put;
};

static void frame_put_header(struct node_disk *disk, uint16_t flags, uint64_t used_bytes,
                             uint32_t record_count, uint8_t *target)
{
    struct frame_header header = {
        .flags = flags,
        .salt = disk->log.active->salt,
        .segment = disk->log.active->number,
        .seq = disk->log.position.seq + 1,
        .frame_bytes = (uint32_t)align_up(used_bytes, FRAME_ALIGN),
        .used_bytes = (uint32_t)used_bytes,
        .record_count = record_count,
    };
    frame_header_encode(&header, target);
}

static enum errc log_sync(struct node_disk *disk, struct segment *segment, const struct iovec *iov,
                          unsigned count, struct error *e)
{
    enum errc rc = disk->env->vt->pwritev(disk->env, segment->file, iov, count, segment->end, e);
    if (rc == ERRC_NO_SPACE && PLANT(PLANT_FULL_DISK_TAKEN)) {
        error_clear(e);
        rc = ERRC_OK;
    }
    if (rc == ERRC_OK) {
        rc = PLANT(PLANT_SHARD_NOT_SYNCED) ? ERRC_OK : disk->env->vt->fdatasync(disk->env, segment->file, e);
        atomic_fetch_add(&disk->fsync_count, 1);
        if (rc != ERRC_OK && PLANT(PLANT_SYNC_TRIED_AGAIN)) {
            error_clear(e);
            rc = disk->env->vt->fdatasync(disk->env, segment->file, e);
        }
        if (rc == ERRC_NO_SPACE) {
            rc = ERRC_IO; /* pages may be lost: what a failed sync leaves cannot be trusted */
        }
    }
    return disk_fault(disk, rc, e, "log");
}

enum errc log_seal(struct node_disk *disk, struct segment *segment, struct error *e)
{
    ASSERT(segment == disk->log.active);
    uint8_t *bytes = mem_zalloc(FRAME_ALIGN);
    frame_put_header(disk, FRAME_SEAL, FRAME_HEADER_BYTES, 0, bytes);
    struct iovec part = { .iov_base = bytes, .iov_len = FRAME_ALIGN };
    enum errc rc = log_sync(disk, segment, &part, 1, e);
    mem_free(bytes);
    if (rc != ERRC_OK) {
        return rc;
    }
    disk->log.position.seq++;
    segment->end += FRAME_ALIGN;
    disk->log.position.segment = segment->number;
    disk->log.position.offset = segment->end;
    /* Gives the rest of the preallocation back; needs no sync, because the seal says where the end is. */
    (void)disk->env->vt->truncate(disk->env, segment->file, segment->end, NULL);
    atomic_store(&segment->sealed_end, segment->end);
    atomic_store(&segment->sealed, true);
    segment_touch(disk->segments, segment);
    disk->log.active = NULL;
    return ERRC_OK;
}

/* Makes sure that the active segment has room for the frame and a seal. */
static enum errc log_room(struct node_disk *disk, uint64_t bytes, bool use_reserve, struct error *e)
{
    struct segment *active = disk->log.active;
    if (active != NULL && active->end + bytes + FRAME_ALIGN <= active->size) {
        return ERRC_OK;
    }
    if (active != NULL) {
        enum errc rc = log_seal(disk, active, e);
        if (rc != ERRC_OK) {
            return rc;
        }
    }
    uint64_t bytes_min = SEGMENT_HEADER_BYTES + bytes + FRAME_ALIGN;
    uint64_t wanted = disk->options.segment_bytes > bytes_min ? disk->options.segment_bytes
                                                              : align_up(bytes_min, SEGMENT_BYTES_MIN);
    enum errc rc = segment_make(disk, SEGMENT_LOG, wanted, bytes_min, use_reserve, &disk->log.active, e);
    return disk_fault(disk, rc, e, "new segment");
}

static void frame_fix(struct node_disk *disk, struct frame *frame)
{
    struct log_state *log = &disk->log;
    uint8_t *base = log->staging.data;
    frame_put_header(disk, 0, frame->used_bytes, frame->record_count, base);
    for (struct log_op *op = frame->ops; op != NULL; op = op->next) {
        if (!op->in_frame) {
            continue;
        }
        uint8_t *header = base + op->header.frame_seq;
        op->header.frame_seq = log->position.seq + 1;
        op->header.salt = log->active->salt;
        op->meta_bytes = slice_of(base + op->meta_bytes.len, op->header.meta_bytes);
        op->offset += log->active->end;
        record_header_encode(&op->header, header);
    }
    for (unsigned i = 0; i < log->part_count; i++) {
        const struct log_part *part = &log->parts[i];
        const uint8_t *data = part->data != NULL ? part->data : base + part->offset;
        log->iov[i] = (struct iovec){ .iov_base = (void *)(uintptr_t)data, .iov_len = part->len };
    }
}

/* The first write to a preallocated block changes the file's extents, which costs each short frame a journal
 * commit of the file system. Zeros written ahead of the log pay that once for many frames. */
static void frame_zero_ahead(struct log_state *log, uint64_t bytes)
{
    static const uint8_t zeros[ZERO_AHEAD_BYTES];
    struct segment *active = log->active;
    uint64_t end = active->end + bytes;
    if (bytes > ZERO_AHEAD_FRAME_MAX || end <= active->zeroed_end || end >= active->size) {
        return;
    }
    uint64_t ahead = active->size - end < ZERO_AHEAD_BYTES ? active->size - end : ZERO_AHEAD_BYTES;
    parts_add(log, zeros, 0, (size_t)ahead);
    active->zeroed_end = end + ahead;
}

static enum errc frame_append(struct node_disk *disk, struct frame *frame, struct error *e)
{
    struct log_state *log = &disk->log;
    stage_pad(log, frame->used_bytes, FRAME_ALIGN);
    uint64_t bytes = align_up(frame->used_bytes, FRAME_ALIGN);
    enum errc rc = log_room(disk, bytes, !frame->has_put, e);
    if (rc != ERRC_OK) {
        return rc;
    }
    frame_zero_ahead(log, bytes);
    frame_fix(disk, frame);
    rc = log_sync(disk, log->active, log->iov, log->part_count, e);
    log->position.seq++; /* also of a frame that failed: its remains must not pass for the next one */
    if (rc != ERRC_OK) {
        return rc;
    }
    log->active->end += bytes;
    log->position.segment = log->active->number;
    log->position.offset = log->active->end;
    return ERRC_OK;
}

/* ---- the flush ---- */

static void waiting_push(struct log_state *log, struct log_op *op)
{
    op->next = NULL;
    if (log->tail != NULL) {
        log->tail->next = op;
    } else {
        log->head = op;
    }
    log->tail = op;
}

static struct log_op *waiting_pop(struct log_state *log)
{
    struct log_op *op = log->head;
    log->head = op->next;
    if (log->head == NULL) {
        log->tail = NULL;
    }
    op->next = NULL;
    return op;
}

/* Puts a chain back to the front. */
static void waiting_return(struct log_state *log, struct log_op *ops)
{
    struct log_op *last = ops;
    while (last->next != NULL) {
        last = last->next;
    }
    last->next = log->head;
    log->head = ops;
    log->tail = last->next == NULL ? last : log->tail;
}

/* Takes operations from the front of the queue into one frame. */
static void frame_gather(struct node_disk *disk, struct frame *frame)
{
    struct log_state *log = &disk->log;
    struct name_set *names = mem_zalloc(sizeof(*names));
    struct enc meta = ENC_INIT;
    struct log_op **tail = &frame->ops;
    enc_reset(&log->staging);
    log->part_count = 0;
    (void)stage(log, FRAME_HEADER_BYTES);
    frame->used_bytes = FRAME_HEADER_BYTES;
    for (unsigned i = 0; i < FRAME_OPS_MAX && log->head != NULL && frame->used_bytes < FRAME_GATHER_BYTES; i++) {
        if (!names_claim(names, log->head)) {
            break;
        }
        struct log_op *op = waiting_pop(log);
        op->in_frame = false;
        error_clear(&op->error);
        enc_reset(&meta);
        op->rc = op_prepare(disk, op, &meta, &op->error);
        if (op->rc == ERRC_OK && op->in_frame) {
            op_stage(log, op, enc_slice(&meta), &frame->used_bytes);
            frame->record_count++;
            frame->has_put = frame->has_put || op->kind == LOG_PUT;
        } else {
            op->in_frame = false;
        }
        *tail = op;
        tail = &op->next;
    }
    enc_free(&meta);
    mem_free(names);
}

static enum errc frame_index(struct node_disk *disk, struct frame *frame, struct error *e)
{
    bool changed = frame->record_count > 0;
    for (struct log_op *op = frame->ops; op != NULL; op = op->next) {
        if (op->in_frame) {
            bool absent = op->kind == LOG_PUT || op->kind == LOG_COMMIT;
            enum errc rc =
                log_apply(disk, &op->header, op->meta_bytes, disk->log.active, op->offset, absent, e);
            if (rc != ERRC_OK) {
                return rc;
            }
        } else if (op->kind == LOG_NOTE && op->rc == ERRC_OK) {
            op->note(op, disk->log.batch);
            changed = true;
        }
    }
    return changed ? log_index_commit(disk, e) : ERRC_OK;
}

static void frame_done(struct frame *frame, enum errc rc, const struct error *e)
{
    struct log_op *op = frame->ops;
    while (op != NULL) {
        struct log_op *next = op->next;
        if (op->rc == ERRC_OK && rc != ERRC_OK && (op->in_frame || op->kind == LOG_NOTE)) {
            op->rc = rc;
            op->error = *e;
        }
        op->done(op, op->rc, &op->error);
        op = next;
    }
}

static void log_flush(struct task *task)
{
    struct node_disk *disk = container_of(task, struct node_disk, log.flush);
    struct log_state *log = &disk->log;
    log->flush_posted = false;
    struct frame frame = { .ops = NULL };
    struct error e = ERROR_INIT;
    enum errc rc = ERRC_OK;
    frame_gather(disk, &frame);
    if (frame.record_count > 0) {
        rc = frame_append(disk, &frame, &e);
    }
    if (rc == ERRC_NO_SPACE) {
        disk_set_full(disk, true);
    }
    if (rc == ERRC_NO_SPACE && frame.has_put) {
        waiting_return(log, frame.ops); /* the puts get NO_SPACE now; frees and copies may use the reserve */
        frame.ops = NULL;
    } else if (rc == ERRC_OK) {
        rc = frame_index(disk, &frame, &e);
    }
    frame_done(&frame, rc, &e);
    if (log->head != NULL && !log->flush_posted) {
        log->flush_posted = true;
        executor_post(disk->log_executor, &log->flush);
    }
    atomic_fetch_sub(&disk->pending, 1);
    if (log->flush_posted) {
        atomic_fetch_add(&disk->pending, 1);
    }
}

static void log_arrive(struct task *task)
{
    struct log_op *op = container_of(task, struct log_op, task);
    struct node_disk *disk = op->disk;
    waiting_push(&disk->log, op);
    if (!disk->log.flush_posted) {
        disk->log.flush_posted = true;
        disk->log.flush.run = log_flush;
        atomic_fetch_add(&disk->pending, 1);
        executor_post(disk->log_executor, &disk->log.flush);
    }
}

void log_submit(struct node_disk *disk, struct log_op *op)
{
    op->disk = disk;
    op->task.run = log_arrive;
    executor_post(disk->log_executor, &op->task);
}

static void on_logged(struct log_op *log, enum errc rc, struct error *e)
{
    struct node_op *op = container_of(log, struct node_op, log);
    if (rc != ERRC_OK) {
        op->error = *e;
    }
    node_op_finish(op, rc);
}

void log_put(struct node_op *op)
{
    op->meta = (struct shard_meta){
        .header = op->m.put.header,
        .cell_crcs = op->m.put.cell_crcs,
        .footer = op->m.put.footer,
    };
    op->log.kind = LOG_PUT;
    op->log.meta = &op->meta;
    op->log.payloads = op->call->payloads;
    op->log.payload_count = op->call->payload_count;
    op->log.done = on_logged;
    log_submit(op->disk, &op->log);
}

void log_free(struct node_op *op)
{
    op->log.kind = LOG_FREE;
    op->log.names = op->m.free.names;
    op->log.done = on_logged;
    log_submit(op->disk, &op->log);
}
