/*
 *   ASKING (one page of the queue) -> FREEING (one call a disk) -> REPORTING (GC_DONE) -> ASKING | SLEEPING
 *                                  -> EXPANDING (an item of kind 2, step by step) -> ASKING
 */
#include "gateway/data/gc_worker.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/base/plant.h"
#include "gateway/data/free_round.h"

#define PAGE_ITEMS 256
#define IDLE_MS_DEFAULT 1000
#define PAGE_ARENA_BYTES (2u << 20)

struct item_state {
    uint64_t seq;
    struct free_item free;
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
    struct free_round round;
    struct item_state items[PAGE_ITEMS];
    unsigned item_count;
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

static void round_report(void *data)
{
    struct gc_worker *worker = data;
    struct meta_command command = { .type = META_CMD_GC_DONE };
    uint32_t count = 0;
    for (unsigned i = 0; i < worker->item_count; i++) {
        if (free_round_freed(&worker->round, &worker->items[i].free)) {
            worker->done_seqs[count++] = worker->items[i].seq;
        }
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

/* False: no room in this round. */
static bool round_add(struct gc_worker *worker, const struct meta_gc_item *item)
{
    struct item_state *state = &worker->items[worker->item_count];
    state->seq = item->seq;
    if (!free_round_add(&worker->round, &item->extent, UINT32_MAX, &state->free)) {
        return false; /* names added so far only free early what is to be freed anyway */
    }
    worker->item_count++;
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
    free_round_begin(&worker->round, worker->config.store, worker->config.executor);
    worker->item_count = 0;
    worker->last_page = op->gc.count < PAGE_ITEMS;
    for (uint32_t i = 0; i < op->gc.count; i++) {
        const struct meta_gc_item *item = &op->gc.items[i];
        /* A read answered at the very index may have seen the state before the end of that entry. */
        if (horizon <= item->index && !PLANT(PLANT_GC_IGNORES_READS)) {
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
        free_round_run(&worker->round, round_report, worker);
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
    struct gc_worker *worker = container_of(container_of(task, struct timer, task), struct gc_worker, timer);
    if (worker->config.may != NULL && !worker->config.may(worker->config.may_data)) {
        worker_sleep(worker, worker->config.idle_ms);
    } else {
        worker_ask(worker);
    }
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
