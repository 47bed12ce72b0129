/*
 *   ASKING (one page of the queue) -> FREEING (one call a disk) -> REPORTING (GC_DONE) -> ASKING | SLEEPING
 *                                  -> EXPANDING (an item of kind 2, step by step) -> ASKING
 */
#include "gateway/data/gc_worker.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/rpc/rpc_schema.h"
#include "gateway/data/shard_call.h"

#define PAGE_ITEMS 256
#define DISK_SLOTS 64               /* disks in one round; the bits of item_state.disks */
#define IDLE_MS_DEFAULT 1000
#define PAGE_ARENA_BYTES (2u << 20)

struct disk_slot {
    struct cluster_map_shard where;
    struct enc names;
    uint32_t count;
    bool failed;
};

struct item_state {
    uint64_t seq;
    uint64_t disks;                 /* slots that must have answered OK */
    bool unknown;                   /* its group is not known here */
};

struct gc_worker {
    struct gc_worker_config config;
    struct timer timer;
    struct meta_op op;
    struct arena arena;
    bool busy;                      /* a call or a round is under way */
    bool stopping;
    void (*stop_done)(void *data);
    void *stop_data;
    uint64_t cursor;                /* seq from which the next page is asked */
    struct disk_slot slots[DISK_SLOTS];
    unsigned slot_count;
    struct item_state items[PAGE_ITEMS];
    unsigned item_count;
    unsigned pending;
    uint64_t done_seqs[PAGE_ITEMS];
    uint64_t expand_seq;
    uint64_t freed;
    bool last_page;
};

static void worker_ask(struct gc_worker *worker);

static void worker_free(struct gc_worker *worker)
{
    void (*done)(void *data) = worker->stop_done;
    void *data = worker->stop_data;
    timer_stop(worker->config.executor, &worker->timer);
    if (worker->op.client != NULL) {
        meta_op_release(&worker->op);
    }
    arena_done(&worker->arena);
    mem_free(worker);
    done(data);
}

static void worker_sleep(struct gc_worker *worker, uint64_t delay_ms)
{
    worker->busy = false;
    if (worker->stopping) {
        worker_free(worker);
        return;
    }
    timer_start(worker->config.executor, &worker->timer, delay_ms);
}

/* The page is dealt with: the next one, or from the front again after a rest. */
static void page_end(struct gc_worker *worker)
{
    bool rest = worker->last_page;
    if (worker->last_page) {
        worker->cursor = 0;
    }
    if (worker->stopping || rest) {
        worker_sleep(worker, worker->config.idle_ms);
    } else {
        worker_ask(worker);
    }
}

static void op_begin(struct gc_worker *worker, void (*done)(struct meta_op *op))
{
    if (worker->op.client != NULL) {
        meta_op_release(&worker->op);
    }
    arena_done(&worker->arena);
    arena_init(&worker->arena, PAGE_ARENA_BYTES);
    meta_op_init(&worker->op, worker->config.executor, &worker->arena, done, worker);
}

/* ---- freeing ---- */

static void report_done(struct meta_op *op)
{
    page_end(op->data); /* an unknown outcome is harmless: the shards are freed again */
}

static void round_report(struct gc_worker *worker)
{
    struct meta_command command = { .type = META_CMD_GC_DONE };
    uint32_t count = 0;
    for (unsigned i = 0; i < worker->item_count; i++) {
        const struct item_state *item = &worker->items[i];
        bool done = !item->unknown;
        for (unsigned s = 0; s < worker->slot_count; s++) {
            done &= !((item->disks >> s & 1) != 0 && worker->slots[s].failed);
        }
        if (done) {
            worker->done_seqs[count++] = item->seq;
        }
    }
    for (unsigned s = 0; s < worker->slot_count; s++) {
        enc_free(&worker->slots[s].names);
    }
    worker->freed += count;
    if (count == 0) {
        page_end(worker);
        return;
    }
    command.gc_done.count = count;
    command.gc_done.seqs = worker->done_seqs;
    op_begin(worker, report_done);
    meta_propose(worker->config.store->meta, &worker->op, &command);
}

static void free_done(struct shard_call *call)
{
    struct gc_worker *worker = call->owner;
    if (call->status != ERRC_OK && call->status != ERRC_NOT_FOUND) {
        worker->slots[call->first_cell].failed = true;
    }
    worker->pending--;
    shard_call_free(call);
    if (worker->pending == 0) {
        round_report(worker);
    }
}

static void round_start(struct gc_worker *worker)
{
    for (unsigned s = 0; s < worker->slot_count; s++) {
        struct disk_slot *slot = &worker->slots[s];
        struct node_shard_free message = { slot->where.disk, slot->count, enc_slice(&slot->names) };
        struct shard_call *call = shard_call_new(worker->config.store, worker->config.executor, RPC_NODE_SHARD_FREE,
                                                 &slot->where, 0, worker, free_done);
        call->first_cell = s; /* which slot */
        node_shard_free_encode(&call->head, &message);
        worker->pending++;
        shard_call_start(call, slot->where.channel);
    }
    if (worker->slot_count == 0) {
        round_report(worker);
    }
}

static int slot_for(struct gc_worker *worker, const struct cluster_map_shard *where)
{
    for (unsigned s = 0; s < worker->slot_count; s++) {
        if (disk_id_equal(worker->slots[s].where.disk, where->disk)) {
            return worker->slots[s].count < NODE_FREE_MAX ? (int)s : -1;
        }
    }
    if (worker->slot_count == DISK_SLOTS) {
        return -1;
    }
    worker->slots[worker->slot_count] = (struct disk_slot){ .where = *where };
    return (int)worker->slot_count++;
}

/* False: no room in this round. */
static bool round_add(struct gc_worker *worker, const struct meta_gc_item *item)
{
    struct cluster_map_shard where[CODE_SHARDS_MAX];
    struct item_state state = { .seq = item->seq };
    if (cluster_map_locate(worker->config.store->map, &item->extent, where) != ERRC_OK) {
        cluster_map_refresh(worker->config.store->map, NULL, NULL);
        state.unknown = true;
        worker->items[worker->item_count++] = state;
        return true;
    }
    for (unsigned i = 0; i < (unsigned)item->extent.code.k + item->extent.code.m; i++) {
        if (where[i].removed) {
            continue;
        }
        int slot = slot_for(worker, &where[i]);
        if (slot < 0) {
            return false; /* names added so far only free early what is to be freed anyway */
        }
        enc_raw(&worker->slots[slot].names, item->extent.id.bytes, ID_BYTES);
        enc_u8(&worker->slots[slot].names, (uint8_t)i);
        worker->slots[slot].count++;
        state.disks |= UINT64_C(1) << (unsigned)slot;
    }
    worker->items[worker->item_count++] = state;
    return true;
}

/* ---- expanding ---- */

static void expand_ask(struct gc_worker *worker);

static void expand_done(struct meta_op *op)
{
    struct gc_worker *worker = op->data;
    if (op->status != ERRC_OK) {
        worker_sleep(worker, worker->config.idle_ms);
    } else if (op->result.outcome == META_OK && op->result.detail != 0 && !worker->stopping) {
        expand_ask(worker);
    } else {
        page_end(worker);
    }
}

static void expand_ask(struct gc_worker *worker)
{
    struct meta_command command = { .type = META_CMD_GC_EXPAND };
    command.gc_expand.seq = worker->expand_seq;
    op_begin(worker, expand_done);
    meta_propose(worker->config.store->meta, &worker->op, &command);
}

/* ---- pages ---- */

static void page_done(struct meta_op *op)
{
    struct gc_worker *worker = op->data;
    if (op->status != ERRC_OK || worker->stopping) {
        worker_sleep(worker, worker->config.idle_ms);
        return;
    }
    uint64_t horizon = session_horizon(worker->config.store->session);
    uint64_t expand = 0;
    worker->slot_count = 0;
    worker->item_count = 0;
    worker->last_page = op->gc.count < PAGE_ITEMS;
    for (uint32_t i = 0; i < op->gc.count; i++) {
        const struct meta_gc_item *item = &op->gc.items[i];
        /* A read answered at the very index may have seen the state before the end of that entry. */
        if (horizon <= item->index) {
            worker->last_page = true;
            break;
        }
        if (item->kind == 2) {
            if (worker->item_count == 0) {
                expand = item->seq;
                worker->cursor = item->seq + 1;
            }
            worker->last_page = false;
            break;
        }
        if (!round_add(worker, item)) {
            worker->last_page = false;
            break;
        }
        worker->cursor = item->seq + 1;
    }
    if (expand != 0) {
        worker->expand_seq = expand;
        expand_ask(worker);
    } else {
        round_start(worker);
    }
}

static void worker_ask(struct gc_worker *worker)
{
    struct meta_query query = { .type = META_QRY_GC, .from = worker->cursor, .limit = PAGE_ITEMS };
    worker->busy = true;
    op_begin(worker, page_done);
    meta_query(worker->config.store->meta, &worker->op, &query);
}

static void timer_run(struct task *task)
{
    worker_ask(container_of(container_of(task, struct timer, task), struct gc_worker, timer));
}

struct gc_worker *gc_worker_start(const struct gc_worker_config *config)
{
    struct gc_worker *worker = mem_zalloc(sizeof(*worker));
    worker->config = *config;
    if (worker->config.idle_ms == 0) {
        worker->config.idle_ms = IDLE_MS_DEFAULT;
    }
    worker->timer.task.run = timer_run;
    timer_start(config->executor, &worker->timer, 0);
    return worker;
}

void gc_worker_kick(struct gc_worker *worker)
{
    if (!worker->busy && !worker->stopping) {
        timer_start(worker->config.executor, &worker->timer, 0);
    }
}

void gc_worker_stop(struct gc_worker *worker, void (*done)(void *data), void *data)
{
    ASSERT(!worker->stopping);
    worker->stopping = true;
    worker->stop_done = done;
    worker->stop_data = data;
    if (!worker->busy) {
        worker_free(worker);
    }
}

uint64_t gc_worker_freed(const struct gc_worker *worker)
{
    return worker->freed;
}
