/*
 *   pass:  RETIRED (free first sets, page by page) -> SWEEPS (mark what replaced disks held) -> QUEUE page by page:
 *          for each extent: RECORD (fetched again) -> REBUILD -> next
 *          -> a run of the WALK (repair_walk.h) -> sleep
 */
#include "gateway/data/repair_worker.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "gateway/data/data_lock.h"
#include "gateway/data/extent_rebuild.h"
#include "gateway/data/free_round.h"

#define IDLE_MS_DEFAULT 2000
#define IDLE_MS_MAX 60000 /* after passes that could do nothing; a kick looks at once */
#define IDLE_MS_WALKING 10000 /* at most, while a walk has something left to be tried again */
#define PAGE_EXTENTS 256
#define PAGE_ARENA_BYTES (4u << 20)
#define LOST_TRIED_MAX 64 /* extents with more than m shards marked that one pass looks at: each costs reads of all of them */
#define RETIRED_PAGE 256
#define RETIRED_PAGES_MAX 16 /* in one pass: sets whose disks are away must not hold up repairs */

struct repair_worker {
    struct repair_worker_config config;
    struct timer timer;
    struct meta_op op;
    struct arena arena;
    bool busy, stopping;
    bool kicked;                   /* while busy: another pass at once */
    uint64_t idle_ms;              /* grows over useless passes */
    void (*stop_done)(void *data);
    void *stop_data;
    struct extent page[PAGE_EXTENTS];
    unsigned page_count, page_at;
    bool last_page;
    bool useful;                   /* something was repaired in this pass */
    uint64_t from_rank;
    struct extent_id from_id;
    struct extent_id lost_after;   /* those with more than m marked are tried in turn, over the passes */
    unsigned lost_tried;           /* in this pass */
    struct extent_rebuild *rebuild;
    struct extent rebuilding;
    struct repair_walk *walk;
    bool walking;                  /* a run is under way */
    bool paused;
    struct free_round round;       /* of first sets */
    uint64_t retired_seqs[RETIRED_PAGE];
    struct free_item retired[RETIRED_PAGE];
    uint32_t retired_count;
    uint64_t retired_from;         /* seq of the next page; over the passes, from the start again at the end */
    unsigned retired_pages;        /* in this pass */
    bool retired_last;             /* no page follows */
    bool retired_waits;            /* for a read to end: the next pass is near */
    struct data_lock lock;
    struct repair_progress progress; /* guarded */
};

static void page_next(struct repair_worker *worker);
static void page_ask(struct repair_worker *worker);

static void worker_free(struct repair_worker *worker)
{
    void (*done)(void *data) = worker->stop_done;
    void *data = worker->stop_data;
    timer_stop(worker->config.executor, &worker->timer);
    if (worker->op.client != NULL) {
        meta_op_release(&worker->op);
    }
    arena_done(&worker->arena);
    repair_walk_free(worker->walk);
    mem_free(worker);
    done(data);
}

static void worker_sleep(struct repair_worker *worker)
{
    worker->busy = false;
    if (worker->stopping) {
        worker_free(worker);
        return;
    }
    uint64_t delay_ms = worker->kicked ? 0 : worker->idle_ms;
    worker->kicked = false;
    timer_start(worker->config.executor, &worker->timer, delay_ms);
}

static void op_begin(struct repair_worker *worker, void (*done)(struct meta_op *op))
{
    if (worker->op.client != NULL) {
        meta_op_release(&worker->op);
    }
    arena_done(&worker->arena);
    arena_init(&worker->arena, PAGE_ARENA_BYTES);
    meta_op_init(&worker->op, worker->config.executor, &worker->arena, done, worker);
}

/* ---- the queue ---- */

static void failure_tell(struct repair_worker *worker, const struct extent *extent, const struct extent_rebuild_result *result)
{
    bool failed = result->status != ERRC_OK && result->status != ERRC_CONFLICT && result->status != ERRC_CANCELED;
    if (failed && worker->config.on_failed != NULL) {
        worker->config.on_failed(worker->config.data, extent, &result->error);
    }
}

static void rebuild_done(void *data, const struct extent_rebuild_result *result)
{
    struct repair_worker *worker = data;
    failure_tell(worker, &worker->rebuilding, result);
    worker->rebuild = NULL;
    data_lock_take(&worker->lock);
    worker->progress.repaired += result->status == ERRC_OK;
    worker->progress.failed += result->status != ERRC_OK && result->status != ERRC_CONFLICT;
    worker->progress.bytes_read += result->bytes_read;
    worker->progress.bytes_written += result->bytes_written;
    data_lock_give(&worker->lock);
    worker->useful |= result->status == ERRC_OK;
    worker->retired_waits |= result->has_retired;
    page_next(worker);
}

static void record_done(struct meta_op *op)
{
    struct repair_worker *worker = op->data;
    if (worker->stopping || op->status != ERRC_OK || op->extent.outcome != META_OK ||
        !extent_rebuild_wanted(&op->extent.extent)) {
        page_next(worker);
        return;
    }
    struct extent_rebuild_params params = {
        .executor = worker->config.executor,
        .extent = op->extent.extent,
        .bytes_per_second = worker->config.bytes_per_second,
        .done = rebuild_done,
        .data = worker,
    };
    worker->rebuilding = params.extent;
    worker->rebuild = extent_rebuild_start(worker->config.store, &params);
}

static void moved(void *data, const struct extent *extent, const struct extent_rebuild_result *result)
{
    struct repair_worker *worker = data;
    failure_tell(worker, extent, result);
    worker->retired_waits |= result->has_retired;
}

static void pass_end(struct repair_worker *worker)
{
    struct repair_walk_counts walk = repair_walk_counts(worker->walk);
    data_lock_take(&worker->lock);
    worker->progress.passes++;
    worker->progress.idle = !worker->useful;
    worker->progress.walk = walk;
    data_lock_give(&worker->lock);
    if (worker->lost_tried < LOST_TRIED_MAX) { /* all behind the mark were looked at: from the start again */
        worker->lost_after = (struct extent_id){ { 0 } };
    }
    bool rests = !worker->useful && !worker->retired_waits;
    worker->idle_ms = !rests ? worker->config.idle_ms : worker->idle_ms * 2 < IDLE_MS_MAX ? worker->idle_ms * 2 : IDLE_MS_MAX;
    if (walk.walking && worker->idle_ms > IDLE_MS_WALKING) {
        worker->idle_ms = IDLE_MS_WALKING;
    }
    worker_sleep(worker);
}

static void walk_over(void *data, bool more, bool useful)
{
    struct repair_worker *worker = data;
    worker->walking = false;
    worker->useful |= useful;
    worker->kicked |= more;
    pass_end(worker);
}

static void walk_begin(struct repair_worker *worker)
{
    if (worker->stopping) {
        pass_end(worker);
        return;
    }
    worker->walking = true;
    repair_walk_run(worker->walk);
}

/* Each pass looks at some extents with more than m marks, and goes on behind them the next time. */
static bool lost_is_due(struct repair_worker *worker, const struct extent *extent)
{
    if (worker->lost_tried >= LOST_TRIED_MAX || memcmp(extent->id.bytes, worker->lost_after.bytes, ID_BYTES) <= 0) {
        return false;
    }
    worker->lost_tried++;
    worker->lost_after = extent->id;
    return true;
}

static bool is_due(struct repair_worker *worker, const struct extent *extent)
{
    return extent_rebuild_possible(worker->config.store, extent, 0, 0) &&
           (!extent_rebuild_lost(extent) || lost_is_due(worker, extent));
}

static void page_next(struct repair_worker *worker)
{
    if (worker->stopping || worker->paused) {
        worker_sleep(worker);
        return;
    }
    /* What there are no disks for is passed over without a call: there may be very many of them. */
    while (worker->page_at < worker->page_count && !is_due(worker, &worker->page[worker->page_at])) {
        worker->from_rank = meta_repair_rank(&worker->page[worker->page_at]);
        worker->from_id = worker->page[worker->page_at++].id;
        data_lock_take(&worker->lock);
        worker->progress.waiting++;
        data_lock_give(&worker->lock);
    }
    if (worker->page_at < worker->page_count) {
        const struct extent *extent = &worker->page[worker->page_at++];
        struct meta_query query = { .type = META_QRY_EXTENT, .extent = extent->id };
        worker->from_rank = meta_repair_rank(extent);
        worker->from_id = extent->id;
        op_begin(worker, record_done);
        meta_query(worker->config.store->meta, &worker->op, &query);
    } else if (worker->last_page) {
        walk_begin(worker);
    } else {
        page_ask(worker);
    }
}

static void page_done(struct meta_op *op)
{
    struct repair_worker *worker = op->data;
    worker->page_count = 0;
    worker->page_at = 0;
    worker->last_page = op->status != ERRC_OK || op->repair.count < PAGE_EXTENTS;
    for (uint32_t i = 0; op->status == ERRC_OK && i < op->repair.count && i < PAGE_EXTENTS; i++) {
        worker->page[worker->page_count++] = op->repair.extents[i];
    }
    page_next(worker);
}

static void page_ask(struct repair_worker *worker)
{
    struct meta_query query = { .type = META_QRY_REPAIR, .from = worker->from_rank, .extent = worker->from_id,
                                .limit = PAGE_EXTENTS };
    op_begin(worker, page_done);
    meta_query(worker->config.store->meta, &worker->op, &query);
}

static void queue_begin(struct repair_worker *worker)
{
    worker->from_rank = 0;
    worker->from_id = (struct extent_id){ { 0 } };
    worker->lost_tried = 0;
    worker->useful = false;
    page_ask(worker);
}

/* ---- sweeps of replaced disks ---- */

static void sweep_ask(struct repair_worker *worker);

static void sweep_done(struct meta_op *op)
{
    struct repair_worker *worker = op->data;
    if (worker->stopping || op->status != ERRC_OK) {
        worker_sleep(worker);
        return;
    }
    data_lock_take(&worker->lock);
    worker->progress.marked += op->result.value;
    data_lock_give(&worker->lock);
    sweep_ask(worker); /* the map says where the cursor stands now */
}

static void cluster_done(struct meta_op *op)
{
    struct repair_worker *worker = op->data;
    if (worker->stopping || op->status != ERRC_OK) {
        worker_sleep(worker);
        return;
    }
    cluster_map_install(worker->config.store->map, &op->cluster);
    if (op->cluster.sweep_count == 0) {
        queue_begin(worker);
        return;
    }
    const struct meta_sweep *sweep = &op->cluster.sweeps[0];
    struct meta_command command = { .type = META_CMD_GROUP_SWEEP };
    command.group_sweep.group = sweep->group;
    command.group_sweep.position = sweep->position;
    command.group_sweep.from = sweep->from;
    command.group_sweep.limit = GROUP_SWEEP_MAX;
    op_begin(worker, sweep_done);
    meta_propose(worker->config.store->meta, &worker->op, &command);
}

static void sweep_ask(struct repair_worker *worker)
{
    struct meta_query query = { .type = META_QRY_CLUSTER };
    op_begin(worker, cluster_done);
    meta_query(worker->config.store->meta, &worker->op, &query);
}

/* ---- first sets ----
 *
 * The metadata service remembers them (META_QRY_RETIRED), so that no end of a process forgets them. They are freed here and not by
 * the gc worker because a rebuild may write a shard under the name of one that lay there before: never while one runs. */

static void retired_ask(struct repair_worker *worker);

static void retired_page_end(struct repair_worker *worker)
{
    if (worker->retired_last) {
        worker->retired_from = 0;
    }
    if (worker->stopping) {
        worker_sleep(worker);
    } else if (worker->retired_last || ++worker->retired_pages >= RETIRED_PAGES_MAX) {
        sweep_ask(worker);
    } else {
        retired_ask(worker);
    }
}

static void retired_reported(struct meta_op *op)
{
    retired_page_end(op->data); /* an unknown outcome is harmless: they are freed again, if not named by then */
}

static void retired_freed(void *data)
{
    struct repair_worker *worker = data;
    uint32_t count = 0;
    for (uint32_t i = 0; i < worker->retired_count; i++) {
        if (free_round_freed(&worker->round, &worker->retired[i])) {
            worker->retired_seqs[count++] = worker->retired_seqs[i];
        }
    }
    if (count == 0) {
        retired_page_end(worker);
        return;
    }
    struct meta_command command = { .type = META_CMD_GC_DONE };
    command.gc_done.count = count;
    command.gc_done.seqs = worker->retired_seqs;
    op_begin(worker, retired_reported);
    meta_propose(worker->config.store->meta, &worker->op, &command);
}

static void retired_page(struct meta_op *op)
{
    struct repair_worker *worker = op->data;
    if (worker->stopping || op->status != ERRC_OK) {
        worker->retired_last = true;
        retired_page_end(worker);
        return;
    }
    uint64_t horizon = session_horizon(worker->config.store->session);
    worker->retired_count = 0;
    worker->retired_last = op->gc.count < RETIRED_PAGE;
    free_round_begin(&worker->round, worker->config.store, worker->config.executor);
    for (uint32_t i = 0; i < op->gc.count && i < RETIRED_PAGE; i++) {
        const struct meta_gc_item *item = &op->gc.items[i];
        if (horizon <= item->index) { /* a read may still know it, and all behind */
            worker->retired_waits = true;
            worker->retired_last = true;
            break;
        }
        if (!free_round_add(&worker->round, &item->extent, item->extent.missing, &worker->retired[worker->retired_count])) {
            worker->retired_last = false;
            break;
        }
        worker->retired_seqs[worker->retired_count++] = item->seq;
        worker->retired_from = item->seq + 1;
    }
    free_round_run(&worker->round, retired_freed, worker);
}

static void retired_ask(struct repair_worker *worker)
{
    struct meta_query query = { .type = META_QRY_RETIRED, .from = worker->retired_from, .limit = RETIRED_PAGE };
    op_begin(worker, retired_page);
    meta_query(worker->config.store->meta, &worker->op, &query);
}

static void timer_run(struct task *task)
{
    struct repair_worker *worker = container_of(container_of(task, struct timer, task), struct repair_worker, timer);
    worker->busy = true;
    worker->retired_pages = 0;
    worker->retired_waits = false;
    if (worker->paused || (worker->config.may != NULL && !worker->config.may(worker->config.may_data))) {
        worker_sleep(worker);
    } else {
        retired_ask(worker);
    }
}

/* ---- doors ---- */

struct repair_worker *repair_worker_start(const struct repair_worker_config *config)
{
    struct repair_worker *worker = mem_zalloc(sizeof(*worker));
    worker->config = *config;
    if (worker->config.idle_ms == 0) {
        worker->config.idle_ms = IDLE_MS_DEFAULT;
    }
    worker->idle_ms = worker->config.idle_ms;
    const struct repair_walk_config walk = { .store = config->store, .executor = config->executor,
                                             .bytes_per_second = config->bytes_per_second, .moved = moved,
                                             .over = walk_over, .data = worker };
    worker->walk = repair_walk_new(&walk);
    data_lock_init(&worker->lock);
    worker->timer.task.run = timer_run;
    timer_start(config->executor, &worker->timer, 0);
    return worker;
}

void repair_worker_kick(struct repair_worker *worker)
{
    worker->idle_ms = worker->config.idle_ms;
    worker->kicked = worker->busy;
    if (!worker->busy && !worker->stopping) {
        timer_start(worker->config.executor, &worker->timer, 0);
    }
}

void repair_worker_stop(struct repair_worker *worker, void (*done)(void *data), void *data)
{
    ASSERT(!worker->stopping);
    worker->stopping = true;
    worker->stop_done = done;
    worker->stop_data = data;
    if (!worker->busy) {
        worker_free(worker);
    } else if (worker->rebuild != NULL) {
        extent_rebuild_cancel(worker->rebuild);
    } else if (worker->walking) {
        repair_walk_cancel(worker->walk);
    }
}

void repair_worker_pause(struct repair_worker *worker, bool paused)
{
    data_lock_take(&worker->lock);
    worker->progress.paused = paused;
    data_lock_give(&worker->lock);
    worker->paused = paused;
    if (!paused) {
        repair_worker_kick(worker);
    } else if (worker->walking) {
        repair_walk_cancel(worker->walk);
    }
}

void repair_worker_balance(struct repair_worker *worker, bool balance)
{
    repair_walk_balance(worker->walk, balance);
    repair_worker_kick(worker);
}

struct repair_progress repair_worker_progress(struct repair_worker *worker)
{
    data_lock_take(&worker->lock);
    struct repair_progress progress = worker->progress;
    data_lock_give(&worker->lock);
    return progress;
}
