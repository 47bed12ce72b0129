#include "server/server_background.h"

#include "common/base/hex.h"
#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/io/log.h"
#include "gateway/data/gc_worker.h"
#include "gateway/data/orphan_sweep.h"
#include "gateway/data/repair_worker.h"
#include "gateway/data/suspect_queue.h"
#include "server/server.h"

#define RATE_WINDOW_NS 5000000000u
#define FAILED_WINDOW_NS UINT64_C(60000000000)
#define FAILED_LINES 5

struct server_background {
    struct server *server;
    struct executor *executor; /* `server` */
    struct gc_worker *gc;
    struct repair_worker *repair;
    struct orphan_sweep *sweep;
    struct suspect_queue *suspects;
    struct server_poll *poll;
    uint64_t failed_since_ns;  /* of the window in which failures are logged */
    unsigned failed_lines;
    /* repair rate, measured by whoever asks for progress: the admin executor and the admin loop */
    pthread_mutex_t rate_lock;
    uint64_t rate_since_ns, rate_repaired, rate_moved_bytes;
    double rate, moved_rate;
    double moved_rate_seen;        /* the last one that was not 0 */
    struct upkeep upkeep;      /* as last told */
};

/* A message for the executor. */
struct notice {
    struct task task;
    struct server_background *background;
};

static void workers_kick(struct server_background *background)
{
    if (background->repair != NULL) {
        repair_worker_kick(background->repair);
        gc_worker_kick(background->gc);
    }
}

static void notice_run(struct task *task)
{
    struct notice *notice = container_of(task, struct notice, task);
    workers_kick(notice->background);
    mem_free(notice);
}

/* A shard was marked missing: on the executor. */
static void on_missing(void *data)
{
    struct server_background *background = data;
    if (background->repair != NULL) {
        repair_worker_kick(background->repair);
    }
}

/* On the executor. Some lines a minute: a disk that is away fails every extent alike. */
static void on_repair_failed(void *data, const struct extent *extent, const struct error *reason)
{
    struct server_background *background = data;
    uint64_t now_ns = env_now_ns(background->server->env);
    char id[ID_HEX_BYTES];
    if (now_ns - background->failed_since_ns >= FAILED_WINDOW_NS) {
        background->failed_since_ns = now_ns;
        background->failed_lines = 0;
    }
    background->failed_lines++;
    if (background->failed_lines <= FAILED_LINES) {
        id_hex(extent->id.bytes, id);
        LOG_WARN(log_event("repair_failed"), log_text("extent", id), log_u64("missing", extent->missing), log_error_of(reason),
                 log_text("note", background->failed_lines == FAILED_LINES ? "further ones of this minute are not logged" : ""));
    }
}

/* On the executor. A worker that is told to go on looks at once: so it is told of changes only. */
static void upkeep_take(void *data, struct upkeep upkeep)
{
    struct server_background *background = data;
    if (background->repair != NULL && upkeep.rebalance_stopped != background->upkeep.rebalance_stopped) {
        repair_worker_balance(background->repair, !upkeep.rebalance_stopped);
    }
    if (background->repair != NULL && upkeep.repair_paused != background->upkeep.repair_paused) {
        repair_worker_pause(background->repair, upkeep.repair_paused);
    }
    background->upkeep = upkeep;
}

struct upkeep_notice {
    struct task task;
    struct server_background *background;
    struct upkeep upkeep;
};

static void upkeep_run(struct task *task)
{
    struct upkeep_notice *notice = container_of(task, struct upkeep_notice, task);
    upkeep_take(notice->background, notice->upkeep);
    mem_free(notice);
}

struct start_workers {
    struct task task;
    struct server_background *background;
    struct waiter waiter;
};

/* One collector and one repairer in a cluster. What two would do at once is done once all the same: every change is a
 * compare-and-set. */
static bool leads(void *data)
{
    return voter_leads(((struct server *)data)->voter);
}

/* The workers belong to the executor from their first moment. */
static void workers_start(struct task *task)
{
    struct start_workers *start = container_of(task, struct start_workers, task);
    struct server_background *background = start->background;
    struct server *server = background->server;
    const struct gc_worker_config gc = { .store = &server->store, .executor = background->executor, .may = leads,
                                         .may_data = server };
    const struct repair_worker_config repair = { .store = &server->store, .executor = background->executor, .may = leads,
                                                 .may_data = server, .on_failed = on_repair_failed, .data = background };
    const struct orphan_sweep_config sweep = { .store = &server->store, .executor = background->executor,
                                               .node = server->node_id };
    const struct suspect_queue_config suspects = { .store = &server->store, .executor = background->executor,
                                                   .on_missing = on_missing, .data = background };
    if (server->voter != NULL) {
        background->gc = gc_worker_start(&gc);
        background->repair = repair_worker_start(&repair);
        background->upkeep.repair_paused = true; /* until the metadata say otherwise */
        repair_worker_pause(background->repair, true);
        background->poll = server_poll_start(server, upkeep_take, background);
    }
    background->sweep = orphan_sweep_start(&sweep);
    background->suspects = suspect_queue_start(&suspects);
    server->store.repair = suspect_queue_hook(background->suspects); /* before the first reader */
    waiter_wake(&start->waiter, ERRC_OK);
}

struct server_background *background_start(struct server *server)
{
    struct server_background *background = mem_zalloc(sizeof(*background));
    background->server = server;
    background->executor = server->completions;
    (void)pthread_mutex_init(&background->rate_lock, NULL);
    background->rate_since_ns = env_now_ns(server->env);
    struct start_workers start = { .task.run = workers_start, .background = background };
    waiter_init(&start.waiter);
    executor_post(background->executor, &start.task);
    (void)waiter_wait(&start.waiter); /* always OK */
    return background;
}

void background_disk_changed(struct server_background *background, struct disk_id disk, bool usable)
{
    (void)disk; /* repair and collection look at the whole map */
    if (usable) {
        background_look(background);
    }
}

void background_look(struct server_background *background)
{
    struct notice *notice = mem_zalloc(sizeof(*notice));
    notice->task.run = notice_run;
    notice->background = background;
    executor_post(background->executor, &notice->task);
}

void background_upkeep(struct server_background *background, struct upkeep upkeep)
{
    struct upkeep_notice *notice = mem_zalloc(sizeof(*notice));
    *notice = (struct upkeep_notice){ .task.run = upkeep_run, .background = background, .upkeep = upkeep };
    executor_post(background->executor, &notice->task);
}

void background_shard_corrupt(struct server_background *background, struct disk_id disk, struct extent_id extent,
                              uint8_t index)
{
    if (!extent_id_is_zero(extent)) {
        suspect_queue_report(background->suspects, extent, index, disk);
    }
}

void background_view(struct server_background *background, struct server_poll_view *ret_view)
{
    server_poll_copy(background != NULL ? background->poll : NULL, ret_view);
}

void background_progress(struct server_background *background, struct background_progress *ret_progress)
{
    if (background->repair == NULL) {
        *ret_progress = (struct background_progress){ .swept_shards = orphan_sweep_freed(background->sweep) };
        return;
    }
    struct repair_progress repair = repair_worker_progress(background->repair);
    uint64_t now = env_now_ns(background->server->env);
    (void)pthread_mutex_lock(&background->rate_lock);
    if (now - background->rate_since_ns >= RATE_WINDOW_NS) {
        double seconds = (double)(now - background->rate_since_ns) / 1e9;
        background->rate = (double)(repair.repaired - background->rate_repaired) / seconds;
        background->moved_rate = (double)(repair.walk.moved_bytes - background->rate_moved_bytes) / seconds;
        background->moved_rate_seen = background->moved_rate > 0 ? background->moved_rate : background->moved_rate_seen;
        background->rate_since_ns = now;
        background->rate_repaired = repair.repaired;
        background->rate_moved_bytes = repair.walk.moved_bytes;
    }
    double rate = background->rate;
    double moved_rate = background->moved_rate;
    double moved_rate_seen = background->moved_rate_seen;
    (void)pthread_mutex_unlock(&background->rate_lock);
    *ret_progress = (struct background_progress){
        .rebuilt_extents = repair.repaired, .rebuilt_bytes = repair.bytes_written, .failed_extents = repair.failed,
        .extents_per_second = rate, .freed_extents = gc_worker_freed(background->gc),
        .swept_shards = orphan_sweep_freed(background->sweep), .repair_paused = repair.paused, .walk = repair.walk,
        .moved_bytes_per_second = moved_rate, .moved_bytes_per_second_seen = moved_rate_seen,
    };
}

/* ---- stop ---- */

struct stop_workers {
    struct task task;
    struct server_background *background;
    struct waiter waiter;
    unsigned left;
};

static void on_all_stopped(void *data)
{
    struct stop_workers *stop = data;
    waiter_wake(&stop->waiter, ERRC_OK);
}

/* The workers report suspects too, so their queue ends last. */
static void on_stopped(void *data)
{
    struct stop_workers *stop = data;
    if (--stop->left == 0) {
        stop->background->server->store.repair = NULL;
        suspect_queue_stop(stop->background->suspects, on_all_stopped, stop);
    }
}

static void workers_stop(struct task *task)
{
    struct stop_workers *stop = container_of(task, struct stop_workers, task);
    struct server_background *background = stop->background;
    stop->left = background->repair != NULL ? 4 : 1;
    if (background->repair != NULL) {
        gc_worker_stop(background->gc, on_stopped, stop);
        repair_worker_stop(background->repair, on_stopped, stop);
        server_poll_stop(background->poll, on_stopped, stop);
    }
    orphan_sweep_stop(background->sweep, on_stopped, stop);
}

void background_stop(struct server_background *background)
{
    if (background == NULL) {
        return;
    }
    struct stop_workers stop = { .task.run = workers_stop, .background = background };
    waiter_init(&stop.waiter);
    executor_post(background->executor, &stop.task);
    (void)waiter_wait(&stop.waiter); /* always OK */
    (void)pthread_mutex_destroy(&background->rate_lock);
    mem_free(background);
}
