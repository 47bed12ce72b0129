/*
 * Large shards: SHARD_OPEN reserves a range of a data segment, SHARD_WRITE streams cells into it, SHARD_COMMIT
 * syncs the segment and hands a COMMIT record to the log. Until that record is durable nothing points at the
 * range; after a crash it is a gap, which the next start punches.
 *
 * The data executor is serial: calls run in the order of arrival; the commits of one round share a sync.
 */
#include "storage-node/node_disk.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/rpc/rpc_schema.h"

#define OPENS_MAX 1024         /* large shards under way on one disk */
#define ROUND_OPS_MAX 64       /* calls of one round */

struct open_shard {
    struct list link;          /* data_state.opens; of no list once committing */
    struct node_disk *disk;
    struct shard_name name;
    uint8_t *head;             /* copy of the SHARD_OPEN message: the header borrows it */
    struct shard_header header;
    uint8_t *crcs;             /* 4 bytes for each cell, as they arrive */
    uint32_t next_cell;
    struct segment *segment;
    uint64_t offset;           /* of the range */
};

static struct open_shard *open_find(struct node_disk *disk, struct extent_id extent, uint8_t index)
{
    struct shard_name name = { .extent = extent, .index = index };
    list_for_each (node, &disk->data.opens) {
        struct open_shard *open = container_of(node, struct open_shard, link);
        if (shard_name_equal(&open->name, &name)) {
            return open;
        }
    }
    return NULL;
}

static void open_free(struct open_shard *open)
{
    list_remove(&open->link);
    mem_free(open->head);
    mem_free(open->crcs);
    mem_free(open);
}

static uint64_t open_range_bytes(const struct open_shard *open)
{
    return align_up(open->header.shard_bytes, DATA_ALIGN);
}

/* Gives the range up. The segment may be deleted once its last open shard has gone. */
static void open_drop(struct open_shard *open)
{
    care_punch(open->disk, open->segment->number, open->offset, open_range_bytes(open));
    atomic_fetch_sub(&open->segment->opens, 1);
    open_free(open);
}

/* ---- open ---- */

/* The active segment with room for the range. */
static enum errc data_room(struct node_disk *disk, uint64_t bytes, struct error *e)
{
    struct segment *active = disk->data.active;
    if (active != NULL && active->end + bytes <= active->size) {
        return ERRC_OK;
    }
    if (active != NULL) {
        /* Gives the rest of the preallocation back: a quarter of the file with shards of 16 MiB. Needs no sync. */
        (void)disk->env->vt->truncate(disk->env, active->file, active->end, NULL);
        atomic_store(&active->sealed_end, active->end);
        atomic_store(&active->sealed, true);
        disk->data.active = NULL;
    }
    uint64_t bytes_min = SEGMENT_HEADER_BYTES + bytes;
    uint64_t wanted = disk->options.segment_bytes > bytes_min ? disk->options.segment_bytes
                                                              : align_up(bytes_min, SEGMENT_BYTES_MIN);
    enum errc rc = segment_make(disk, SEGMENT_DATA, wanted, bytes_min, false, &disk->data.active, e);
    return disk_fault(disk, rc, e, "new segment");
}

static enum errc data_open(struct node_disk *disk, struct node_op *op, struct error *e)
{
    const struct shard_header *header = &op->m.open.header;
    if (open_find(disk, header->extent, header->index) != NULL) {
        return error_set(e, ERRC_EXISTS, "this shard is being written");
    }
    if (disk_state(disk) == DISK_FULL) {
        return error_set(e, ERRC_NO_SPACE, "disk %s is full", disk->path);
    }
    unsigned count = 0;
    list_for_each (node, &disk->data.opens) {
        count++;
    }
    if (count >= OPENS_MAX) {
        return error_set(e, ERRC_LIMIT, "%u shards are being written to %s", count, disk->path);
    }
    uint64_t bytes = align_up(header->shard_bytes, DATA_ALIGN);
    enum errc rc = data_room(disk, bytes, e);
    if (rc != ERRC_OK) {
        if (rc == ERRC_NO_SPACE) {
            disk_set_full(disk, true);
        }
        return rc;
    }
    struct open_shard *open = mem_zalloc(sizeof(*open));
    open->disk = disk;
    open->name = (struct shard_name){ .extent = header->extent, .index = header->index };
    open->head = mem_alloc(op->call->head.len);
    memcpy(open->head, op->call->head.data, op->call->head.len);
    struct node_shard_open message;
    rc = node_shard_open_decode(slice_of(open->head, op->call->head.len), &message);
    ASSERT(rc == ERRC_OK); /* the door has decoded the same bytes */
    open->header = message.header;
    open->crcs = mem_zalloc(4 * (size_t)header->cell_count);
    open->segment = disk->data.active;
    open->offset = open->segment->end;
    open->segment->end += bytes;
    atomic_fetch_add(&open->segment->opens, 1);
    list_append(&disk->data.opens, &open->link);
    return ERRC_OK;
}

/* ---- write ---- */

static size_t payload_bytes(const struct rpc_call *call)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < call->payload_count; i++) {
        bytes += call->payloads[i]->len;
    }
    return bytes;
}

static enum errc write_check_cells(const struct open_shard *open, const struct node_op *op, struct error *e)
{
    const struct node_shard_write *message = &op->m.write;
    uint32_t count = (uint32_t)(message->cell_crcs.len / 4);
    uint32_t checked = 0;
    for (unsigned i = 0; i < op->call->payload_count; i++) {
        struct slice bytes = buffer_slice(op->call->payloads[i]);
        uint32_t cell_bytes = open->header.code.cell_bytes;
        uint32_t cells = (uint32_t)((bytes.len + cell_bytes - 1) / cell_bytes);
        if (checked + cells > count || (bytes.len % cell_bytes != 0 && i + 1 < op->call->payload_count)) {
            return error_set(e, ERRC_INVALID, "payload buffers of a write must hold whole cells");
        }
        if (cells_verify(bytes, slice_skip(message->cell_crcs, 4 * (size_t)checked), cell_bytes, cells) != cells) {
            return error_set(e, ERRC_CORRUPT, "a cell does not match its checksum");
        }
        checked += cells;
    }
    return checked == count ? ERRC_OK : error_set(e, ERRC_INVALID, "cells are missing");
}

static enum errc write_check(const struct open_shard *open, const struct node_op *op, struct error *e)
{
    uint32_t count = (uint32_t)(op->m.write.cell_crcs.len / 4);
    uint32_t cell_count = open->header.cell_count;
    if (op->m.write.first_cell != open->next_cell || count == 0 || count > cell_count - open->next_cell) {
        return error_set(e, ERRC_INVALID, "cells %u+%u are not the next of this shard (%u)",
                         op->m.write.first_cell, count, open->next_cell);
    }
    uint64_t wanted = (uint64_t)(count - 1) * open->header.code.cell_bytes +
                      shard_cell_bytes(open->header.code.cell_bytes, cell_count, open->header.shard_bytes,
                                       open->next_cell + count - 1);
    if (payload_bytes(op->call) != wanted) {
        return error_set(e, ERRC_INVALID, "payload has not the length of %u cells", count);
    }
    return write_check_cells(open, op, e);
}

/* With O_DIRECT all but the last buffer must be whole blocks; the end is padded in a block of its own. */
static bool write_direct_fits(const struct open_shard *open, const struct rpc_call *call, uint64_t offset)
{
    if (open->segment->direct == NULL || offset % DATA_ALIGN != 0) {
        return false;
    }
    for (unsigned i = 0; i < call->payload_count; i++) {
        bool last = i + 1 == call->payload_count;
        if ((uintptr_t)call->payloads[i]->data % DATA_ALIGN != 0 ||
            (!last && call->payloads[i]->len % DATA_ALIGN != 0)) {
            return false;
        }
    }
    return true;
}

static enum errc write_cells(struct open_shard *open, const struct rpc_call *call, uint64_t offset,
                             struct error *e)
{
    struct iovec iov[RPC_PAYLOADS_MAX + 1];
    unsigned count = 0;
    bool direct = write_direct_fits(open, call, offset);
    struct buffer *tail = NULL;
    for (unsigned i = 0; i < call->payload_count; i++) {
        size_t len = call->payloads[i]->len;
        size_t whole = direct ? len / DATA_ALIGN * DATA_ALIGN : len;
        if (whole > 0) {
            iov[count++] = (struct iovec){ .iov_base = call->payloads[i]->data, .iov_len = whole };
        }
        if (whole < len) {
            tail = buffer_new(DATA_ALIGN);
            memset(tail->data, 0, DATA_ALIGN);
            memcpy(tail->data, call->payloads[i]->data + whole, len - whole);
            iov[count++] = (struct iovec){ .iov_base = tail->data, .iov_len = DATA_ALIGN };
        }
    }
    struct env *env = open->disk->env;
    enum errc rc = env->vt->pwritev(env, direct ? open->segment->direct : open->segment->file, iov, count,
                                    offset, e);
    buffer_unref(tail);
    return rc;
}

static enum errc data_write(struct node_disk *disk, struct node_op *op, struct error *e)
{
    const struct node_shard_write *message = &op->m.write;
    struct open_shard *open = open_find(disk, message->extent, message->index);
    if (open == NULL) {
        return error_set(e, ERRC_NOT_FOUND, "this shard is not open");
    }
    enum errc rc = write_check(open, op, e);
    if (rc != ERRC_OK) {
        return rc;
    }
    uint64_t offset = open->offset + (uint64_t)open->next_cell * open->header.code.cell_bytes;
    rc = write_cells(open, op->call, offset, e);
    if (rc == ERRC_NO_SPACE) {
        disk_set_full(disk, true);
    }
    if (rc != ERRC_OK) {
        return disk_fault(disk, rc, e, "data write");
    }
    memcpy(open->crcs + 4 * (size_t)open->next_cell, message->cell_crcs.data, message->cell_crcs.len);
    open->next_cell += (uint32_t)(message->cell_crcs.len / 4);
    return ERRC_OK;
}

/* ---- commit and abort ---- */

static enum errc data_abort(struct node_disk *disk, struct node_op *op, struct error *e)
{
    struct open_shard *open = open_find(disk, op->m.name.extent, op->m.name.index);
    if (open == NULL) {
        return error_set(e, ERRC_NOT_FOUND, "this shard is not open");
    }
    open_drop(open);
    return ERRC_OK;
}

/* Names of the open shards in a range of extents, in no order; there are at most OPENS_MAX. */
static enum errc data_list(struct node_disk *disk, struct node_op *op)
{
    const struct node_shard_list *message = &op->m.list;
    struct node_shard_list_reply reply = { .count = 0 };
    struct enc names = ENC_INIT;
    list_for_each (node, &disk->data.opens) {
        const struct open_shard *open = container_of(node, struct open_shard, link);
        bool inside = memcmp(open->name.extent.bytes, message->first.bytes, ID_BYTES) >= 0 &&
                      (extent_id_is_zero(message->end) || memcmp(open->name.extent.bytes, message->end.bytes, ID_BYTES) < 0);
        reply.more = reply.more || (inside && reply.count == message->limit);
        if (inside && reply.count < message->limit) {
            enc_raw(&names, open->name.extent.bytes, ID_BYTES);
            enc_u8(&names, open->name.index);
            reply.count++;
        }
    }
    reply.names = enc_slice(&names);
    node_shard_list_reply_encode(&op->call->reply, &reply);
    enc_free(&names);
    return ERRC_OK;
}

static enum errc data_commit_check(struct node_disk *disk, struct node_op *op, struct error *e)
{
    struct open_shard *open = open_find(disk, op->m.commit.extent, op->m.commit.index);
    if (open == NULL) {
        return error_set(e, ERRC_NOT_FOUND, "this shard is not open");
    }
    if (open->next_cell != open->header.cell_count) {
        return error_set(e, ERRC_INVALID, "%u of %u cells were written", open->next_cell,
                         open->header.cell_count);
    }
    list_remove(&open->link);
    op->open = open;
    return ERRC_OK;
}

/* Log executor: the record is durable, or nothing was stored. */
static void on_committed(struct log_op *log, enum errc rc, struct error *e)
{
    struct node_op *op = container_of(log, struct node_op, log);
    struct open_shard *open = op->open;
    if (rc != ERRC_OK || !log->in_frame) {
        open_drop(open);
    } else {
        atomic_fetch_sub(&open->segment->opens, 1);
        open_free(open);
    }
    if (rc != ERRC_OK) {
        op->error = *e;
    }
    node_op_finish(op, rc);
}

static void data_commit_log(struct node_op *op)
{
    struct open_shard *open = op->open;
    op->meta = (struct shard_meta){
        .header = open->header,
        .cell_crcs = slice_of(open->crcs, 4 * (size_t)open->header.cell_count),
        .footer = op->m.commit.footer,
    };
    op->log.kind = LOG_COMMIT;
    op->log.meta = &op->meta;
    op->log.data_segment = open->segment->number;
    op->log.data_offset = open->offset;
    op->log.done = on_committed;
    log_submit(open->disk, &op->log);
}

/* Syncs every segment that the commits of this round wrote to, once each. */
static void data_commit_all(struct node_disk *disk, struct node_op *commits)
{
    while (commits != NULL) {
        struct node_op *op = commits;
        struct segment *segment = op->open->segment;
        struct error e = ERROR_INIT;
        enum errc rc = disk->env->vt->fdatasync(disk->env, segment->file, &e);
        atomic_fetch_add(&disk->fsync_count, 1);
        if (rc != ERRC_OK) {
            rc = ERRC_IO;
            disk_fence(disk, &e, "data sync");
        }
        struct node_op **place = &commits;
        while (*place != NULL) {
            struct node_op *each = *place;
            if (each->open->segment != segment) {
                place = &each->next;
                continue;
            }
            *place = each->next;
            if (rc == ERRC_OK) {
                data_commit_log(each);
            } else {
                each->error = e;
                each->error.code = rc;
                open_drop(each->open);
                node_op_finish(each, rc);
            }
        }
    }
}

/* ---- rounds ---- */

static enum errc data_run(struct node_disk *disk, struct node_op *op, struct error *e)
{
    if (!disk_readable(disk)) {
        return disk_refusal(disk, e);
    }
    switch (op->call->method) {
    case RPC_NODE_SHARD_OPEN:
        return data_open(disk, op, e);
    case RPC_NODE_SHARD_WRITE:
        return data_write(disk, op, e);
    case RPC_NODE_SHARD_ABORT:
        return data_abort(disk, op, e);
    case RPC_NODE_SHARD_OPENS:
        return data_list(disk, op);
    case RPC_NODE_SHARD_COMMIT:
        return data_commit_check(disk, op, e);
    default:
        UNREACHABLE();
    }
}

static void data_flush(struct task *task)
{
    struct node_disk *disk = container_of(task, struct node_disk, data.flush);
    struct data_state *data = &disk->data;
    struct node_op *commits = NULL;
    struct node_op **tail = &commits;
    data->flush_posted = false;
    for (unsigned i = 0; i < ROUND_OPS_MAX && data->head != NULL; i++) {
        struct node_op *op = data->head;
        data->head = op->next;
        data->tail = data->head == NULL ? NULL : data->tail;
        op->next = NULL;
        enum errc rc = data_run(disk, op, &op->error);
        if (rc == ERRC_OK && op->open != NULL) {
            *tail = op;
            tail = &op->next;
        } else {
            node_op_finish(op, rc);
        }
    }
    data_commit_all(disk, commits);
    if (data->head != NULL) {
        data->flush_posted = true;
        executor_post(disk->data_executor, &data->flush);
    }
}

static void data_arrive(struct task *task)
{
    struct node_op *op = container_of(task, struct node_op, task);
    struct data_state *data = &op->disk->data;
    op->next = NULL;
    if (data->tail != NULL) {
        data->tail->next = op;
    } else {
        data->head = op;
    }
    data->tail = op;
    if (!data->flush_posted) {
        data->flush_posted = true;
        data->flush.run = data_flush;
        executor_post(op->disk->data_executor, &data->flush);
    }
}

void data_submit(struct node_op *op)
{
    op->task.run = data_arrive;
    executor_post(op->disk->data_executor, &op->task);
}

void data_init(struct node_disk *disk)
{
    list_init(&disk->data.opens);
}

void data_abort_all(struct node_disk *disk)
{
    while (!list_empty(&disk->data.opens)) {
        open_free(container_of(disk->data.opens.next, struct open_shard, link));
    }
}
