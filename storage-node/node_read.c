/*
 * Reads: the calling thread tries the index cache and the page cache first; what is not in memory goes to the
 * disk's readers. No cell is handed out before its checksum was compared with the one in the index, and the
 * first cells of a small shard only together with the record header that names it.
 */
#include "storage-node/node_disk.h"

#include "common/base/assert.h"
#include "common/base/crc32c.h"
#include "common/base/mem.h"
#include "common/base/plant.h"
#include "common/rpc/rpc_schema.h"

#define READ_BUFFER_BYTES (1u << 20)
#define JOINT_READ_BYTES_MAX (64u << 10) /* up to here header and cells are read at once */
#define RELOCATED_RETRIES_MAX 4          /* compaction moved the record while it was being read */
#define LIST_LIMIT_MAX 10000

static enum errc file_read(struct node_disk *disk, struct env_file *file, void *target, size_t len,
                           uint64_t offset, bool nowait, struct error *e)
{
    size_t got = 0;
    enum errc rc = nowait ? disk->env->vt->pread_nowait(disk->env, file, target, len, offset, &got)
                          : disk->env->vt->pread(disk->env, file, target, len, offset, &got, e);
    if (nowait && rc != ERRC_OK) {
        return ERRC_WOULD_BLOCK; /* the readers find out what it is */
    }
    if (rc == ERRC_OK && got < len) {
        return nowait ? ERRC_WOULD_BLOCK : error_set(e, ERRC_CORRUPT, "segment file is too short");
    }
    return rc;
}

/* The record at the entry's place is that of this shard. */
static enum errc record_matches(const struct shard_name *name, const struct index_entry *entry,
                                const struct segment *segment, const uint8_t *bytes, struct error *e)
{
    struct record_header header;
    enum errc rc = record_header_decode(bytes, &header);
    if (rc != ERRC_OK || header.salt != segment->salt || !extent_id_equal(header.extent, name->extent) ||
        header.index != name->index || header.body_bytes != entry->body_bytes ||
        header.meta_bytes != entry->meta_bytes) {
        return error_set(e, ERRC_CORRUPT, "the record header is not that of this shard");
    }
    return ERRC_OK;
}

struct shard_place {
    struct node_disk *disk;
    struct shard_name name;
    struct index_entry entry;
    struct segment *log;        /* of the record */
    struct segment *cells;      /* where the cells lie */
    uint64_t cells_offset;
    bool nowait;
};

static enum errc place_find(struct shard_place *place, struct enc *memory, struct error *e)
{
    enum errc rc = index_get(place->disk, &place->name, place->nowait, memory, &place->entry, e);
    if (rc == ERRC_NOT_FOUND) {
        return place->nowait ? rc : error_set(e, rc, "no such shard on %s", place->disk->path);
    }
    if (rc != ERRC_OK) {
        return rc == ERRC_WOULD_BLOCK ? rc : disk_fault(place->disk, rc, e, FAULT_INDEX);
    }
    place->log = segments_find(place->disk->segments, place->entry.log_segment);
    place->cells = place->entry.large ? segments_find(place->disk->segments, place->entry.data_segment)
                                      : place->log;
    place->cells_offset = place->entry.large ? place->entry.data_offset
                                             : place->entry.log_offset + RECORD_HEADER_BYTES;
    if (place->log == NULL || place->cells == NULL) {
        return error_set(e, ERRC_CORRUPT, "the shard's segment is missing on %s", place->disk->path);
    }
    return ERRC_OK;
}

/* Reads cells [first, first + count) into buffers of whole cells and checks them. */
static enum errc cells_read_one(const struct shard_place *place, uint32_t first, uint32_t count,
                                struct buffer **ret, struct error *e)
{
    const struct index_entry *entry = &place->entry;
    uint64_t start = (uint64_t)first * entry->cell_bytes;
    size_t len = (size_t)((uint64_t)(count - 1) * entry->cell_bytes +
                          shard_cell_bytes(entry->cell_bytes, entry->cell_count, entry->shard_bytes,
                                           first + count - 1));
    bool header = !entry->large && first == 0;
    bool joint = header && len <= JOINT_READ_BYTES_MAX;
    size_t skip = joint ? RECORD_HEADER_BYTES : 0;
    uint8_t head[RECORD_HEADER_BYTES];
    struct buffer *buffer = buffer_new(len + skip);
    enum errc rc = file_read(place->disk, place->cells->file, buffer->data, len + skip,
                             place->cells_offset + start - skip, place->nowait, e);
    if (rc == ERRC_OK && joint) {
        memcpy(head, buffer->data, sizeof(head));
        memmove(buffer->data, buffer->data + skip, len);
    } else if (rc == ERRC_OK && header) {
        rc = file_read(place->disk, place->cells->file, head, sizeof(head), entry->log_offset, place->nowait, e);
    }
    buffer->len = len;
    if (rc == ERRC_OK && header) {
        rc = record_matches(&place->name, entry, place->log, head, e);
    }
    if (rc == ERRC_OK && cells_verify(buffer_slice(buffer), slice_skip(entry->cell_crcs, 4 * (size_t)first),
                                      entry->cell_bytes, count) != count &&
        !PLANT(PLANT_CHECKSUM_NOT_CHECKED)) {
        rc = error_set(e, ERRC_CORRUPT, "a stored cell does not match its checksum on %s", place->disk->path);
    }
    if (rc != ERRC_OK) {
        buffer_unref(buffer);
        return rc;
    }
    *ret = buffer;
    return ERRC_OK;
}

static enum errc read_cells(struct node_op *op, const struct shard_place *place, struct error *e)
{
    const struct node_shard_read *message = &op->m.read;
    const struct index_entry *entry = &place->entry;
    struct rpc_call *call = op->call;
    if (message->cell_count == 0 || message->first_cell >= entry->cell_count ||
        message->cell_count > entry->cell_count - message->first_cell) {
        return error_set(e, ERRC_INVALID, "cells %u+%u of a shard of %u", message->first_cell,
                         message->cell_count, entry->cell_count);
    }
    uint32_t per_buffer = READ_BUFFER_BYTES / entry->cell_bytes > 0 ? READ_BUFFER_BYTES / entry->cell_bytes : 1;
    if ((message->cell_count + per_buffer - 1) / per_buffer > RPC_PAYLOADS_MAX) {
        return error_set(e, ERRC_INVALID, "more than %u MiB in one read", RPC_PAYLOADS_MAX);
    }
    enum errc rc = ERRC_OK;
    for (uint32_t done = 0; done < message->cell_count && rc == ERRC_OK; done += per_buffer) {
        uint32_t left = message->cell_count - done;
        rc = cells_read_one(place, message->first_cell + done, left < per_buffer ? left : per_buffer,
                            &call->reply_payloads[call->reply_payload_count], e);
        call->reply_payload_count += rc == ERRC_OK ? 1 : 0;
    }
    if (rc != ERRC_OK) {
        while (call->reply_payload_count > 0) {
            buffer_unref(call->reply_payloads[--call->reply_payload_count]);
        }
        return rc;
    }
    struct node_shard_read_reply reply = {
        .cell_crcs = slice_of(entry->cell_crcs.data + 4 * (size_t)message->first_cell,
                              4 * (size_t)message->cell_count),
        .cell_bytes = entry->cell_bytes,
        .shard_cell_count = entry->cell_count,
    };
    node_shard_read_reply_encode(&call->reply, &reply);
    return ERRC_OK;
}

/* Whether a shard that looked damaged has only moved or gone while it was being read. */
static bool place_changed(const struct shard_place *place)
{
    struct enc memory = ENC_INIT;
    struct index_entry now;
    enum errc rc = index_get(place->disk, &place->name, false, &memory, &now, NULL);
    bool changed = rc == ERRC_NOT_FOUND || (rc == ERRC_OK && !index_entry_same_place(&now, &place->entry));
    enc_free(&memory);
    return changed;
}

static enum errc read_try(struct node_op *op, bool nowait, struct error *e)
{
    struct shard_place place = {
        .disk = op->disk,
        .name = { .extent = op->m.read.extent, .index = op->m.read.index },
        .nowait = nowait,
    };
    struct enc memory = ENC_INIT;
    enum errc rc = ERRC_OK;
    for (unsigned i = 0; i < RELOCATED_RETRIES_MAX; i++) {
        unsigned slot = grace_enter(op->disk->segments);
        rc = place_find(&place, &memory, e);
        if (rc == ERRC_OK) {
            rc = read_cells(op, &place, e);
        }
        grace_leave(op->disk->segments, slot);
        if (rc != ERRC_CORRUPT || nowait || !place_changed(&place)) {
            break;
        }
        error_clear(e);
    }
    enc_free(&memory);
    return rc;
}

/* Reports damage and fences on what the disk is to blame for. */
static void read_finish(struct node_op *op, enum errc rc, const struct shard_name *name)
{
    if (rc == ERRC_CORRUPT) {
        disk_report_corrupt(op->disk, name->extent, name->index);
    } else if (rc == ERRC_IO) {
        disk_fence(op->disk, &op->error, "read");
    }
    node_op_finish(op, rc);
}

static void read_run(struct task *task)
{
    struct node_op *op = container_of(task, struct node_op, task);
    struct shard_name name = { .extent = op->m.read.extent, .index = op->m.read.index };
    if (!disk_readable(op->disk)) {
        node_op_finish(op, disk_refusal(op->disk, &op->error));
        return;
    }
    read_finish(op, read_try(op, false, &op->error), &name);
}

void read_start(struct node_op *op)
{
    struct error e = ERROR_INIT;
    enum errc rc = read_try(op, true, &e);
    if (rc == ERRC_OK || rc == ERRC_INVALID) {
        op->error = e;
        node_op_finish(op, rc);
        return;
    }
    op->task.run = read_run; /* not in memory, or bad news that deserve a second look */
    executor_post(op->disk->readers, &op->task);
}

/* ---- whole shards ---- */

static enum errc verify_record(struct shard_place *place, struct shard_check *ret, struct error *e)
{
    const struct index_entry *entry = &place->entry;
    uint8_t head[RECORD_HEADER_BYTES];
    struct record_header header;
    enum errc rc = file_read(place->disk, place->log->file, head, sizeof(head), entry->log_offset, false, e);
    if (rc == ERRC_OK) {
        rc = record_matches(&place->name, entry, place->log, head, e);
    }
    if (rc != ERRC_OK) {
        return rc;
    }
    rc = record_header_decode(head, &header);
    ASSERT(rc == ERRC_OK); /* record_matches() has decoded it */
    enc_reset(&ret->memory);
    uint8_t *meta = enc_reserve(&ret->memory, header.meta_bytes);
    rc = file_read(place->disk, place->log->file, meta, header.meta_bytes,
                   entry->log_offset + record_meta_offset(&header), false, e);
    if (rc != ERRC_OK) {
        return rc;
    }
    if (crc32c(meta, header.meta_bytes) != header.meta_crc ||
        shard_meta_decode(enc_slice(&ret->memory), &ret->meta) != ERRC_OK ||
        !extent_id_equal(ret->meta.header.extent, place->name.extent) ||
        ret->meta.header.index != place->name.index || !slice_equal(ret->meta.cell_crcs, entry->cell_crcs)) {
        return error_set(e, ERRC_CORRUPT, "the shard's header does not hold on %s", place->disk->path);
    }
    return ERRC_OK;
}

static enum errc verify_cells(struct shard_place *place, struct error *e)
{
    const struct index_entry *entry = &place->entry;
    uint32_t per_buffer = READ_BUFFER_BYTES / entry->cell_bytes > 0 ? READ_BUFFER_BYTES / entry->cell_bytes : 1;
    enum errc rc = ERRC_OK;
    for (uint32_t done = 0; done < entry->cell_count && rc == ERRC_OK; done += per_buffer) {
        uint32_t left = entry->cell_count - done;
        struct buffer *buffer = NULL;
        rc = cells_read_one(place, done, left < per_buffer ? left : per_buffer, &buffer, e);
        buffer_unref(buffer);
    }
    return rc;
}

enum errc shard_verify(struct node_disk *disk, const struct shard_name *name, bool cells,
                       struct shard_check *ret, struct index_entry *ret_entry, struct error *e)
{
    struct shard_place place = { .disk = disk, .name = *name };
    struct enc memory = ENC_INIT;
    enum errc rc = ERRC_OK;
    for (unsigned i = 0; i < RELOCATED_RETRIES_MAX; i++) {
        unsigned slot = grace_enter(disk->segments);
        rc = place_find(&place, &memory, e);
        if (rc == ERRC_OK) {
            rc = verify_record(&place, ret, e);
        }
        if (rc == ERRC_OK && cells) {
            rc = verify_cells(&place, e);
        }
        grace_leave(disk->segments, slot);
        if (rc != ERRC_CORRUPT || !place_changed(&place)) {
            break;
        }
        error_clear(e);
    }
    *ret_entry = place.entry;
    ret_entry->cell_crcs = SLICE_EMPTY; /* they lie in memory that ends here */
    enc_free(&memory);
    return rc;
}

/* ---- stat, verify, list ---- */

static void stat_run(struct node_op *op)
{
    struct shard_name name = { .extent = op->m.name.extent, .index = op->m.name.index };
    struct shard_check check = { .memory = ENC_INIT };
    struct index_entry entry;
    bool cells = op->call->method == RPC_NODE_SHARD_VERIFY;
    enum errc rc = shard_verify(op->disk, &name, cells, &check, &entry, &op->error);
    if (rc == ERRC_OK) {
        struct node_shard_stat_reply reply = {
            .header = check.meta.header,
            .footer = check.meta.footer,
            .segment = entry.large ? entry.data_segment : entry.log_segment,
            .offset = entry.large ? entry.data_offset : entry.log_offset,
        };
        node_shard_stat_reply_encode(&op->call->reply, &reply);
    }
    enc_free(&check.memory);
    read_finish(op, rc, &name);
}

static enum errc list_names(struct node_op *op, struct error *e)
{
    const struct node_shard_list *message = &op->m.list;
    const struct kv_vt *vt = op->disk->kv->vt;
    struct shard_name first = { .extent = message->first };
    struct shard_name last = { .extent = message->end };
    struct index_key from = index_key_shard(&first);
    struct index_key end = extent_id_is_zero(message->end) ? index_key_end('x') : index_key_shard(&last);
    uint32_t limit = message->limit < LIST_LIMIT_MAX ? message->limit : LIST_LIMIT_MAX;
    struct node_shard_list_reply reply = { .count = 0 };
    struct enc names = ENC_INIT;
    struct kv_iterator *it = vt->iterate(op->disk->kv, index_key_slice(&from), index_key_slice(&end));
    unsigned call = watch_begin(&op->disk->watch); /* a page of names, at most LIST_LIMIT_MAX */
    vt->iterator_seek(it, index_key_slice(&from));
    for (; vt->iterator_valid(it) && reply.count < limit; vt->iterator_next(it)) {
        struct slice key = vt->iterator_key(it);
        if (key.len == 1 + SHARD_NAME_BYTES) {
            enc_raw(&names, key.data + 1, SHARD_NAME_BYTES);
            reply.count++;
        }
    }
    reply.more = vt->iterator_valid(it);
    enum errc rc = reply.more ? ERRC_OK : vt->iterator_error(it, e);
    vt->iterator_destroy(it);
    watch_end(&op->disk->watch, call);
    if (rc == ERRC_OK) {
        reply.names = enc_slice(&names);
        node_shard_list_reply_encode(&op->call->reply, &reply);
    }
    enc_free(&names);
    return disk_fault(op->disk, rc, e, FAULT_INDEX);
}

static void other_run(struct task *task)
{
    struct node_op *op = container_of(task, struct node_op, task);
    if (!disk_readable(op->disk)) {
        node_op_finish(op, disk_refusal(op->disk, &op->error));
    } else if (op->call->method == RPC_NODE_SHARD_LIST) {
        node_op_finish(op, list_names(op, &op->error));
    } else {
        stat_run(op);
    }
}

void read_submit(struct node_op *op)
{
    op->task.run = other_run;
    executor_post(op->disk->readers, &op->task);
}
