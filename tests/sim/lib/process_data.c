/* What gateways and background workers are made of: client, session, cluster map, data store (process_sim.h). */
#include "tests/sim/lib/process_sim.h"

#include "common/base/assert.h"
#include "common/base/list.h"
#include "common/base/mem.h"

#include <string.h>

#define LINGER_MS 12000 /* frees that were sent and not waited for end within this */

struct step {
    struct task task;
    struct data_sim *d;
};

static void step_run(struct data_sim *d, void (*run)(struct task *task))
{
    struct step *step = mem_zalloc(sizeof(*step));
    step->d = d;
    step->task.run = run;
    executor_post(d->process.home, &step->task);
}

static struct data_sim *step_take(struct task *task)
{
    struct step *step = container_of(task, struct step, task);
    struct data_sim *d = step->d;
    mem_free(step);
    return d;
}

/* ---- begin ---- */

static void workers_start(struct data_sim *d)
{
    const struct gc_worker_config gc = { .store = &d->store, .executor = d->process.home, .idle_ms = 500 };
    const struct repair_worker_config repair = { .store = &d->store, .executor = d->process.home, .idle_ms = 500 };
    const struct orphan_sweep_config sweep = { .store = &d->store, .executor = d->process.home,
                                               .node = process_sim_node(d->process.host), .interval_ms = 5000 };
    d->gc = gc_worker_start(&gc);
    d->repair = repair_worker_start(&repair);
    d->sweep = orphan_sweep_start(&sweep);
}

static void on_refreshed(void *data, enum errc status)
{
    struct data_sim *d = data;
    if (status != ERRC_OK) {
        cluster_map_refresh(d->map, on_refreshed, d);
        return;
    }
    const struct suspect_queue_config suspects = { .store = &d->store, .executor = d->process.home };
    d->suspects = suspect_queue_start(&suspects);
    d->store.repair = suspect_queue_hook(d->suspects);
    if (d->with_workers) {
        workers_start(d);
    }
    d->ready = true;
}

static void on_session(void *data, enum errc status)
{
    struct data_sim *d = data;
    ASSERT(status == ERRC_OK);
    cluster_map_refresh(d->map, on_refreshed, d);
}

static void run_begin(struct task *task)
{
    struct data_sim *d = step_take(task);
    session_open(d->session, on_session, d);
}

static void voters_connect(struct data_sim *d, unsigned voters)
{
    struct process_sim *p = &d->process;
    struct metadata_voter list[PROCESS_SIM_VOTERS];
    for (unsigned i = 0; i < voters; i++) {
        list[i] = (struct metadata_voter){ process_sim_node(i), net_sim_channel(p->net, p->host, p->life, i) };
    }
    metadata_client_init(&d->meta, list[0].channel, p->env, d->with_workers ? 20000 : 2500);
    metadata_client_voters(&d->meta, list, voters, NULL, NULL);
}

struct data_sim *data_sim_open(struct net_sim *net, unsigned host, struct env *env, unsigned voters, unsigned nodes,
                               bool with_workers)
{
    struct data_sim *d = mem_zalloc(sizeof(*d));
    struct process_sim *p = &d->process;
    struct data_config data = data_config_default();
    p->net = net;
    p->host = host;
    p->life = net_sim_life(net, host);
    p->env = env;
    p->home = env->vt->executor_create(env, "loop", 1);
    d->with_workers = with_workers;
    voters_connect(d, voters);
    const struct session_config session = { env, p->home, &d->meta, process_sim_node(host), 1000 };
    const struct cluster_map_config map = { .env = env, .executor = p->home, .meta = &d->meta,
                                              .cluster = process_sim_cluster() };
    d->session = session_create(&session);
    d->map = cluster_map_create(&map);
    for (unsigned i = 0; i < nodes; i++) {
        cluster_map_set_node(d->map, process_sim_node(voters + i), net_sim_channel(net, host, p->life, voters + i));
    }
    data.copies_bytes_max = 20000;
    data.put_bytes_max = 20000;
    data_store_init(&d->store, env, &data, &d->meta, d->session, d->map);
    step_run(d, run_begin);
    return d;
}

/* ---- end ---- */

static void run_gone(struct task *task)
{
    struct data_sim *d = container_of(container_of(task, struct timer, task), struct data_sim, linger);
    session_destroy(d->session);
    cluster_map_destroy(d->map);
    metadata_client_done(&d->meta);
    d->process.closed = true;
}

static void on_session_closed(void *data, enum errc status)
{
    struct data_sim *d = data;
    (void)status;
    d->linger.task.run = run_gone;
    timer_start(d->process.home, &d->linger, LINGER_MS);
}

static void part_stopped(void *data)
{
    struct data_sim *d = data;
    if (--d->stopping == 0) {
        session_close(d->session, on_session_closed, d);
    }
}

static void run_end(struct task *task)
{
    struct data_sim *d = step_take(task);
    d->stopping = d->with_workers ? 4 : 1;
    d->store.repair = NULL;
    if (d->with_workers) {
        gc_worker_stop(d->gc, part_stopped, d);
        repair_worker_stop(d->repair, part_stopped, d);
        orphan_sweep_stop(d->sweep, part_stopped, d);
    }
    suspect_queue_stop(d->suspects, part_stopped, d);
}

void data_sim_close(struct data_sim *d)
{
    ASSERT(d->ready);
    metadata_client_hurry(&d->meta, env_now_ns(d->process.env) + 2000000000u);
    step_run(d, run_end);
}
