/*
 * The door: finds the disk of a call, decodes and checks the message, and hands it to the part of the disk
 * that serves it. Life cycle of disks and callbacks run on the home executor.
 */
#include "storage-node/node.h"

#include "common/base/assert.h"
#include "common/base/bytes.h"
#include "common/base/crc32c.h"
#include "common/base/mem.h"
#include "common/rpc/rpc_schema.h"
#include "storage-node/node_disk.h"

#include <stdio.h>

#define TICK_MS 1000
#define CLOSE_TICK_MS 5
#define RESERVE_PERCENT_MAX 50
#define SEGMENT_BYTES_MAX (1ull << 40)

struct node {
    struct rpc_channel channel;
    struct node_config config;
    _Atomic(struct node_disk *) disks[NODE_DISKS_MAX];
    atomic_uint events;            /* callbacks on their way to home */
    struct task start;             /* home: starts the ticking */
    struct timer tick;             /* home */
    struct node_disk *removed;     /* home: without threads and files; a late caller may hold one */
    bool closing;                  /* home */
    struct task close_task;
    void (*close_done)(void *data);
    void *close_data;
};

/* ---- callbacks ---- */

struct node_event {
    struct task task;
    struct node *node;
    struct disk_id disk;
    bool corrupt;
    enum disk_state state;
    char reason[DISK_REASON_BYTES];
    struct extent_id extent;
    uint8_t index;
};

static void event_run(struct task *task)
{
    struct node_event *event = container_of(task, struct node_event, task);
    const struct node_callbacks *callbacks = &event->node->config.callbacks;
    if (event->corrupt && callbacks->on_corrupt != NULL) {
        callbacks->on_corrupt(callbacks->data, event->disk, event->extent, event->index);
    }
    if (!event->corrupt && callbacks->on_disk_state != NULL) {
        callbacks->on_disk_state(callbacks->data, event->disk, event->state, event->reason);
    }
    atomic_fetch_sub(&event->node->events, 1);
    mem_free(event);
}

static void event_post(struct node_event *event, struct node_disk *disk)
{
    event->task.run = event_run;
    event->node = disk->node;
    event->disk = disk->id;
    atomic_fetch_add(&disk->node->events, 1);
    executor_post(disk->node->config.home, &event->task);
}

void node_tell_state(struct node_disk *disk, enum disk_state state, const char *reason)
{
    struct node_event *event = mem_zalloc(sizeof(*event));
    event->state = state;
    (void)snprintf(event->reason, sizeof(event->reason), "%s", reason);
    event_post(event, disk);
}

void node_tell_corrupt(struct node_disk *disk, struct extent_id extent, uint8_t index)
{
    struct node_event *event = mem_zalloc(sizeof(*event));
    event->corrupt = true;
    event->extent = extent;
    event->index = index;
    event_post(event, disk);
}

/* ---- calls ---- */

static struct node_disk *node_disk_find(struct node *node, struct disk_id id)
{
    for (unsigned i = 0; i < NODE_DISKS_MAX; i++) {
        struct node_disk *disk = atomic_load(&node->disks[i]);
        if (disk != NULL && disk_id_equal(disk->id, id)) {
            return disk;
        }
    }
    return NULL;
}

void node_op_finish(struct node_op *op, enum errc rc)
{
    struct node_disk *disk = op->disk;
    struct rpc_call *call = op->call;
    atomic_fetch_sub(op->reading ? &disk->read_queue_bytes : &disk->write_queue_bytes, op->queue_bytes);
    if (rc != ERRC_OK && op->error.code != ERRC_OK) {
        call->error = op->error;
        call->error.code = rc;
    }
    mem_free(op);
    rpc_call_finish(call, rc);
    atomic_fetch_sub(&disk->pending, 1);
}

static void call_refuse(struct rpc_call *call, enum errc rc, const char *why)
{
    (void)error_set(&call->error, rc, "%s", why);
    rpc_call_finish(call, rc);
}

static enum errc op_decode(struct node_op *op, struct disk_id *ret_disk)
{
    struct slice head = op->call->head;
    enum errc rc;
    switch (op->call->method) {
    case RPC_NODE_SHARD_PUT:
        rc = node_shard_put_decode(head, &op->m.put);
        *ret_disk = op->m.put.disk;
        return rc;
    case RPC_NODE_SHARD_OPEN:
        rc = node_shard_open_decode(head, &op->m.open);
        *ret_disk = op->m.open.disk;
        return rc;
    case RPC_NODE_SHARD_WRITE:
        rc = node_shard_write_decode(head, &op->m.write);
        *ret_disk = op->m.write.disk;
        return rc;
    case RPC_NODE_SHARD_COMMIT:
        rc = node_shard_commit_decode(head, &op->m.commit);
        *ret_disk = op->m.commit.disk;
        return rc;
    case RPC_NODE_SHARD_ABORT:
    case RPC_NODE_SHARD_STAT:
    case RPC_NODE_SHARD_VERIFY:
        rc = node_shard_name_decode(head, &op->m.name);
        *ret_disk = op->m.name.disk;
        return rc;
    case RPC_NODE_SHARD_READ:
        rc = node_shard_read_decode(head, &op->m.read);
        *ret_disk = op->m.read.disk;
        return rc;
    case RPC_NODE_SHARD_FREE:
        rc = node_shard_free_decode(head, &op->m.free);
        *ret_disk = op->m.free.disk;
        return rc;
    case RPC_NODE_SHARD_LIST:
    case RPC_NODE_SHARD_OPENS:
        rc = node_shard_list_decode(head, &op->m.list);
        *ret_disk = op->m.list.disk;
        return rc;
    default:
        return ERRC_UNSUPPORTED;
    }
}

static uint64_t call_payload_bytes(const struct rpc_call *call)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < call->payload_count; i++) {
        bytes += call->payloads[i]->len;
    }
    return bytes;
}

/* Every cell of the payload matches its checksum; cells may run over the borders of buffers. */
static bool payload_matches(const struct rpc_call *call, const struct shard_header *header, struct slice crcs)
{
    uint32_t cell = 0;
    uint32_t crc = 0;
    uint32_t left = shard_cell_bytes(header->code.cell_bytes, header->cell_count, header->shard_bytes, 0);
    for (unsigned i = 0; i < call->payload_count; i++) {
        struct slice bytes = buffer_slice(call->payloads[i]);
        while (bytes.len > 0 && cell < header->cell_count) {
            size_t part = bytes.len < left ? bytes.len : left;
            crc = crc32c_update(crc, bytes.data, part);
            bytes = slice_skip(bytes, part);
            left -= (uint32_t)part;
            if (left > 0) {
                continue;
            }
            if (crc != load_le32(crcs.data + 4 * (size_t)cell)) {
                return false;
            }
            cell++;
            crc = 0;
            left = cell < header->cell_count ? shard_cell_bytes(header->code.cell_bytes, header->cell_count,
                                                                header->shard_bytes, cell)
                                             : 0;
        }
    }
    return cell == header->cell_count;
}

static enum errc op_check_header(const struct node_op *op, const struct shard_header *header, struct error *e)
{
    if (!cluster_id_equal(header->cluster, op->disk->cluster)) {
        return error_set(e, ERRC_INVALID, "a shard of another cluster");
    }
    return ERRC_OK;
}

static enum errc op_check(const struct node_op *op, struct error *e)
{
    if (op->call->method == RPC_NODE_SHARD_OPEN) {
        return op_check_header(op, &op->m.open.header, e);
    }
    if (op->call->method != RPC_NODE_SHARD_PUT) {
        return ERRC_OK;
    }
    const struct shard_header *header = &op->m.put.header;
    if (header->shard_bytes > SHARD_PUT_BYTES_MAX || call_payload_bytes(op->call) != header->shard_bytes) {
        return error_set(e, ERRC_INVALID, "payload of %llu bytes for a shard of %u",
                         (unsigned long long)call_payload_bytes(op->call), header->shard_bytes);
    }
    if (!payload_matches(op->call, header, op->m.put.cell_crcs)) {
        return error_set(e, ERRC_CORRUPT, "a cell does not match its checksum");
    }
    return op_check_header(op, header, e);
}

/* Counts the call in its queue; false when that is full. */
static bool op_enqueue(struct node_op *op)
{
    struct node_disk *disk = op->disk;
    uint64_t bytes = op->call->head.len + call_payload_bytes(op->call);
    op->reading = op->call->method == RPC_NODE_SHARD_READ || op->call->method == RPC_NODE_SHARD_STAT ||
                  op->call->method == RPC_NODE_SHARD_VERIFY || op->call->method == RPC_NODE_SHARD_LIST;
    if (op->call->method == RPC_NODE_SHARD_READ) {
        /* the shard's cell length is not known yet: the most that it can be, up to one reply's worth */
        uint64_t most = (uint64_t)op->m.read.cell_count * CELL_BYTES_MAX;
        bytes += most < SHARD_PUT_BYTES_MAX ? most : SHARD_PUT_BYTES_MAX;
    }
    op->queue_bytes = bytes;
    uint64_t before =
        atomic_fetch_add(op->reading ? &disk->read_queue_bytes : &disk->write_queue_bytes, bytes);
    return before == 0 || before + bytes <= disk->options.queue_bytes_max;
}

static void op_dispatch(struct node_op *op)
{
    switch (op->call->method) {
    case RPC_NODE_SHARD_PUT:
        log_put(op);
        break;
    case RPC_NODE_SHARD_FREE:
        log_free(op);
        break;
    case RPC_NODE_SHARD_OPEN:
    case RPC_NODE_SHARD_WRITE:
    case RPC_NODE_SHARD_COMMIT:
    case RPC_NODE_SHARD_ABORT:
    case RPC_NODE_SHARD_OPENS:
        data_submit(op);
        break;
    case RPC_NODE_SHARD_READ:
        read_start(op);
        break;
    default:
        read_submit(op);
        break;
    }
}

static void op_start(struct node_op *op)
{
    struct node_disk *disk = op->disk;
    atomic_fetch_add(&disk->pending, 1); /* before the flag is looked at: closing waits for pending */
    if (atomic_load(&disk->closing) || !disk_readable(disk)) {
        node_op_finish(op, disk_refusal(disk, &op->error));
        return;
    }
    if (!op_enqueue(op)) {
        node_op_finish(op, error_set(&op->error, ERRC_LIMIT, "too much is waiting for %s", disk->path));
        return;
    }
    enum errc rc = op_check(op, &op->error);
    if (rc != ERRC_OK) {
        node_op_finish(op, rc);
        return;
    }
    op_dispatch(op);
}

/* ---- status ---- */

static void status_entry(struct node_disk *disk, struct node_disk_status_entry *entry)
{
    enum disk_state state = disk_state(disk);
    uint64_t pass = atomic_load(&disk->scrub_pass_wall_ms);
    uint64_t now = env_wall_ms(disk->env);
    *entry = (struct node_disk_status_entry){
        .disk = disk->id,
        .state = (uint8_t)state,
        .path = slice_str(disk->path),
        .reason = state == DISK_FENCED ? slice_str(disk->reason) : SLICE_EMPTY,
        .total_bytes = atomic_load(&disk->total_bytes),
        .free_bytes = atomic_load(&disk->free_bytes),
        .shard_count = atomic_load(&disk->shard_count),
        .write_queue_bytes = atomic_load(&disk->write_queue_bytes),
        .fsync_count = atomic_load(&disk->fsync_count),
        .scrub_age_ms = pass == 0 ? UINT64_MAX : (now > pass ? now - pass : 0),
    };
    unsigned slot = grace_enter(disk->segments);
    for (struct segment *segment = segments_next(disk->segments, 1); segment != NULL;
         segment = segments_next(disk->segments, segment->number + 1)) {
        uint64_t live = atomic_load(&segment->live_bytes);
        uint64_t end = atomic_load(&segment->sealed_end);
        entry->used_bytes += live;
        /* Freed ranges of data segments are punched at once; a log segment keeps its dead bytes. */
        entry->dead_bytes += segment->kind == SEGMENT_LOG && end > live ? end - live : 0;
    }
    grace_leave(disk->segments, slot);
}

static void status_call(struct node *node, struct rpc_call *call)
{
    struct node_disk_status message;
    if (node_disk_status_decode(call->head, &message) != ERRC_OK) {
        call_refuse(call, ERRC_CORRUPT, "not a status message");
        return;
    }
    struct node_disk_status_reply *reply = mem_zalloc(sizeof(*reply));
    for (unsigned i = 0; i < NODE_DISKS_MAX; i++) {
        struct node_disk *disk = atomic_load(&node->disks[i]);
        if (disk != NULL && (disk_id_is_zero(message.disk) || disk_id_equal(message.disk, disk->id))) {
            status_entry(disk, &reply->entries[reply->count++]);
        }
    }
    bool found = reply->count > 0 || disk_id_is_zero(message.disk);
    if (found) {
        node_disk_status_reply_encode(&call->reply, reply);
        rpc_call_finish(call, ERRC_OK);
    } else {
        call_refuse(call, ERRC_NOT_FOUND, "this node has no such disk");
    }
    mem_free(reply);
}

static void channel_call(struct rpc_channel *channel, struct rpc_call *call)
{
    struct node *node = container_of(channel, struct node, channel);
    if (call->method == RPC_NODE_DISK_STATUS) {
        status_call(node, call);
        return;
    }
    struct node_op *op = mem_zalloc(sizeof(*op));
    struct disk_id id = { { 0 } };
    op->call = call;
    enum errc rc = op_decode(op, &id);
    if (rc == ERRC_OK) {
        op->disk = node_disk_find(node, id);
        rc = op->disk == NULL ? ERRC_UNAVAILABLE : ERRC_OK;
    }
    if (rc == ERRC_OK) {
        op_start(op);
        return;
    }
    mem_free(op);
    call_refuse(call, rc, rc == ERRC_UNAVAILABLE ? "this node has no such disk" : "not a message of a storage node");
}

static const struct rpc_channel_vt channel_vt = { .call = channel_call };

/* ---- life cycle, on home ---- */

static void disk_check_hang(struct node_disk *disk)
{
    if (watch_hangs(&disk->watch, disk->options.hang_ms * 1000000ull)) {
        struct error e = ERROR_INIT;
        (void)error_set(&e, ERRC_TIMEOUT, "a call of the disk takes longer than %llu ms",
                        (unsigned long long)disk->options.hang_ms);
        disk_fence(disk, &e, "hang");
    }
}

static void disk_watch(struct node_disk *disk)
{
    disk_check_hang(disk);
    if (!atomic_exchange(&disk->care_posted, true)) {
        atomic_fetch_add(&disk->pending, 1);
        disk->care.tick.run = care_tick;
        executor_post(disk->care_executor, &disk->care.tick);
    }
}

/* True when nothing of the disk is open any more. */
static bool disk_wind_down(struct node_disk *disk)
{
    if (!atomic_exchange(&disk->closing, true)) {
        scrub_set(disk, 0);
    }
    if (!disk->close_posted && atomic_load(&disk->opened) && atomic_load(&disk->pending) == 0) {
        disk->close_posted = true;
        disk_close_start(disk);
    }
    return atomic_load(&disk->closed);
}

/* A disk that returned is opened anew, in its old place. */
static struct node_disk *disk_next_life(struct node *node, const struct node_disk *disk)
{
    const struct node_disk_config config = { .id = disk->id, .path = disk->path, .options = disk->options };
    return disk_create(node, &node->config, &config);
}

static bool node_tick_disk(struct node *node, unsigned slot, struct node_disk *disk)
{
    disk->removed = disk->removed || atomic_load(&disk->returned);
    if (!node->closing && !disk->removed) {
        if (atomic_load(&disk->opened)) {
            disk_watch(disk);
        }
        return false;
    }
    if (!disk_wind_down(disk)) {
        if (atomic_load(&disk->opened)) {
            disk_check_hang(disk); /* or nothing would say what the stop waits for */
        }
        return true;
    }
    atomic_store(&disk->state, DISK_ABSENT);
    disk_end_threads(disk); /* they have nothing left to do: this does not block */
    disk->next_removed = node->removed;
    node->removed = disk;
    if (atomic_exchange(&disk->returned, false) && !node->closing) { /* node_disk_remove() takes the flag away */
        struct node_disk *next = disk_next_life(node, disk);
        atomic_store(&node->disks[slot], next);
        disk_open_start(next);
        return false;
    }
    atomic_store(&node->disks[slot], NULL);
    if (!node->closing) {
        node_tell_state(disk, DISK_ABSENT, "removed");
    }
    return false;
}

static void node_end(struct node *node)
{
    void (*done)(void *data) = node->close_done;
    void *data = node->close_data;
    while (node->removed != NULL) {
        struct node_disk *disk = node->removed;
        node->removed = disk->next_removed;
        disk_destroy(disk);
    }
    mem_free(node);
    done(data);
}

static void node_tick(struct task *task)
{
    struct node *node = container_of(task, struct node, tick.task);
    bool winding = false;
    bool disks = false;
    for (unsigned i = 0; i < NODE_DISKS_MAX; i++) {
        struct node_disk *disk = atomic_load(&node->disks[i]);
        if (disk != NULL) {
            winding = node_tick_disk(node, i, disk) || winding;
            disks = disks || atomic_load(&node->disks[i]) != NULL;
        }
    }
    if (node->closing && !disks && atomic_load(&node->events) == 0) {
        node_end(node);
        return;
    }
    timer_start(node->config.home, &node->tick, winding || node->closing ? CLOSE_TICK_MS : TICK_MS);
}

static void node_start_run(struct task *task)
{
    struct node *node = container_of(task, struct node, start);
    node->tick.task.run = node_tick;
    node->tick.executor = node->config.home;
    timer_start(node->config.home, &node->tick, TICK_MS);
}

static void node_close_run(struct task *task)
{
    struct node *node = container_of(task, struct node, close_task);
    node->closing = true;
    timer_stop(node->config.home, &node->tick);
    timer_start(node->config.home, &node->tick, 0);
}

/* ---- the public door ---- */

static enum errc disk_config_check(const struct node_disk_config *config, struct error *e)
{
    const struct node_disk_options *options = &config->options;
    if (disk_id_is_zero(config->id) || config->path == NULL) {
        return error_set(e, ERRC_INVALID, "a disk needs an id and a path");
    }
    if (options->reserve_percent > RESERVE_PERCENT_MAX) {
        return error_set(e, ERRC_INVALID, "a reserve of %u%% is more than %u%%", options->reserve_percent,
                         RESERVE_PERCENT_MAX);
    }
    if (options->segment_bytes != 0 &&
        (options->segment_bytes < SEGMENT_BYTES_MIN || options->segment_bytes > SEGMENT_BYTES_MAX ||
         options->segment_bytes % DATA_ALIGN != 0)) {
        return error_set(e, ERRC_INVALID, "a segment of %llu bytes is not possible",
                         (unsigned long long)options->segment_bytes);
    }
    return ERRC_OK;
}

enum errc node_disk_add(struct node *node, const struct node_disk_config *config, struct error *e)
{
    enum errc rc = disk_config_check(config, e);
    if (rc != ERRC_OK) {
        return rc;
    }
    if (node_disk_find(node, config->id) != NULL) {
        return error_set(e, ERRC_EXISTS, "disk %s is here already", config->path);
    }
    struct node_disk *disk = disk_create(node, &node->config, config);
    for (unsigned i = 0; i < NODE_DISKS_MAX; i++) {
        struct node_disk *empty = NULL;
        if (atomic_compare_exchange_strong(&node->disks[i], &empty, disk)) {
            disk_open_start(disk);
            return ERRC_OK;
        }
    }
    atomic_store(&disk->closed, true);
    disk_destroy(disk);
    return error_set(e, ERRC_LIMIT, "more than %u disks", NODE_DISKS_MAX);
}

static void remove_run(struct task *task)
{
    struct node_disk *disk = container_of(task, struct node_disk, remove_task);
    disk->removed = true;
    struct node *node = disk->node;
    atomic_fetch_sub(&node->events, 1);
    timer_stop(node->config.home, &node->tick);
    timer_start(node->config.home, &node->tick, 0);
}

enum errc node_disk_remove(struct node *node, struct disk_id id)
{
    struct node_disk *disk = node_disk_find(node, id);
    if (disk == NULL) {
        return ERRC_NOT_FOUND;
    }
    atomic_fetch_add(&disk->pending, 1); /* its threads end once nothing is pending */
    bool is_first = !atomic_exchange(&disk->closing, true);
    bool returned = atomic_exchange(&disk->returned, false); /* it was closing to be opened anew: now it is not */
    if (is_first) {
        scrub_set(disk, 0);
    }
    atomic_fetch_sub(&disk->pending, 1);
    if (!is_first) {
        return returned ? ERRC_OK : ERRC_NOT_FOUND;
    }
    disk->remove_task.run = remove_run;
    atomic_fetch_add(&node->events, 1);
    executor_post(node->config.home, &disk->remove_task);
    return ERRC_OK;
}

enum disk_state node_disk_state(struct node *node, struct disk_id id)
{
    struct node_disk *disk = node_disk_find(node, id);
    return disk == NULL ? DISK_ABSENT : disk_state(disk);
}

enum errc node_scrub_start(struct node *node, struct disk_id id, uint64_t bytes_per_second)
{
    struct node_disk *disk = node_disk_find(node, id);
    if (disk == NULL) {
        return ERRC_NOT_FOUND;
    }
    atomic_fetch_add(&disk->pending, 1); /* before the flag is looked at: its threads end once nothing is pending */
    bool is_here = !atomic_load(&disk->closing);
    if (is_here) {
        scrub_set(disk, bytes_per_second);
    }
    atomic_fetch_sub(&disk->pending, 1);
    return is_here ? ERRC_OK : ERRC_NOT_FOUND;
}

enum errc node_scrub_again(struct node *node, struct disk_id id)
{
    struct node_disk *disk = node_disk_find(node, id);
    if (disk == NULL) {
        return ERRC_NOT_FOUND;
    }
    atomic_fetch_add(&disk->pending, 1); /* as above */
    bool is_here = !atomic_load(&disk->closing);
    if (is_here) {
        scrub_again(disk);
    }
    atomic_fetch_sub(&disk->pending, 1);
    return is_here ? ERRC_OK : ERRC_NOT_FOUND;
}

enum errc node_scrub_view(struct node *node, struct disk_id id, struct node_scrub_view *ret_view)
{
    const struct node_disk *disk = node_disk_find(node, id);
    if (disk == NULL) {
        return ERRC_NOT_FOUND;
    }
    *ret_view = (struct node_scrub_view){
        .pass_wall_ms = atomic_load(&disk->scrub_pass_wall_ms), .shards = atomic_load(&disk->scrub_shards),
        .bytes = atomic_load(&disk->scrub_bytes), .shards_there = atomic_load(&disk->shard_count),
        .damaged = atomic_load(&disk->damage_count),
    };
    return ERRC_OK;
}

enum errc node_open(const struct node_config *config, struct node **ret_node, struct error *e)
{
    if (config->disk_count > NODE_DISKS_MAX) {
        return error_set(e, ERRC_LIMIT, "more than %u disks", NODE_DISKS_MAX);
    }
    for (unsigned i = 0; i < config->disk_count; i++) {
        enum errc rc = disk_config_check(&config->disks[i], e);
        for (unsigned j = 0; j < i && rc == ERRC_OK; j++) {
            if (disk_id_equal(config->disks[i].id, config->disks[j].id)) {
                rc = error_set(e, ERRC_EXISTS, "%s and %s are the same disk", config->disks[i].path,
                               config->disks[j].path);
            }
        }
        if (rc != ERRC_OK) {
            return rc;
        }
    }
    struct node *node = mem_zalloc(sizeof(*node));
    node->channel.vt = &channel_vt;
    node->config = *config;
    node->config.disks = NULL; /* borrowed for this call */
    for (unsigned i = 0; i < config->disk_count; i++) {
        enum errc rc = node_disk_add(node, &config->disks[i], e);
        ASSERT(rc == ERRC_OK); /* checked above */
    }
    node->start.run = node_start_run;
    executor_post(config->home, &node->start);
    *ret_node = node;
    return ERRC_OK;
}

struct rpc_channel *node_channel(struct node *node)
{
    return &node->channel;
}

void node_close(struct node *node, void (*done)(void *data), void *data)
{
    node->close_done = done;
    node->close_data = data;
    node->close_task.run = node_close_run;
    executor_post(node->config.home, &node->close_task);
}
