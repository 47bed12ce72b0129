#include "server/salvage_parts.h"

#include "common/base/list.h"
#include "common/base/mem.h"
#include "server/server.h"

#define TEXT_ARENA_BYTES (1u << 30) /* keys and footers of all extents */

bool salvage_stopped(const struct salvage_walk *walk)
{
    return atomic_load(&walk->salvage->cancel);
}

static void walk_free(struct salvage_walk *walk)
{
    arena_done(&walk->texts);
    arena_done(&walk->arena);
    enc_free(&walk->map_bytes);
    mem_free(walk->extents);
    mem_free(walk->shards);
    mem_free(walk->sessions);
    mem_free(walk->disks);
    mem_free(walk);
}

static enum errc run(struct salvage *salvage, struct error *e)
{
    struct salvage_walk *walk = mem_zalloc(sizeof(*walk));
    *walk = (struct salvage_walk){ .salvage = salvage, .server = salvage->server, .e = e };
    arena_init(&walk->arena, SALVAGE_ARENA_BYTES);
    arena_init(&walk->texts, TEXT_ARENA_BYTES);
    enum errc rc = salvage_shards(walk);
    uint64_t away = atomic_load(&salvage->counts.disks_away);
    if (rc == ERRC_OK && away > 0 && (!salvage->partial || salvage->discard)) {
        rc = error_set(e, ERRC_UNAVAILABLE, "%llu disks are away, and may have the rest of an object: bring them back%s",
                       (unsigned long long)away, salvage->discard ? "" : ", or say --partial if they are lost");
    }
    rc = rc == ERRC_OK ? salvage_objects(walk) : rc;
    rc = rc == ERRC_OK && salvage->discard ? salvage_discard(walk) : rc;
    walk_free(walk);
    return rc;
}

static void run_task(struct task *task)
{
    struct salvage *salvage = container_of(task, struct salvage, task);
    struct error e = ERROR_INIT;
    enum errc rc = run(salvage, &e);
    (void)pthread_mutex_lock(&salvage->lock);
    salvage->state = rc == ERRC_OK ? SALVAGE_DONE : SALVAGE_FAILED;
    salvage->error = e;
    salvage->ended_ms = env_wall_ms(salvage->server->env);
    (void)pthread_mutex_unlock(&salvage->lock);
}

static void counts_clear(struct salvage_counts *counts)
{
    atomic_store(&counts->disks_away, 0);
    atomic_store(&counts->shards, 0);
    atomic_store(&counts->extents, 0);
    atomic_store(&counts->objects, 0);
    atomic_store(&counts->bytes, 0);
    atomic_store(&counts->part_extents, 0);
    atomic_store(&counts->lone_extents, 0);
    atomic_store(&counts->refused, 0);
    atomic_store(&counts->discarded, 0);
}

bool salvage_start(struct salvage *salvage, bool partial, bool discard)
{
    (void)pthread_mutex_lock(&salvage->lock);
    bool begins = salvage->state != SALVAGE_RUNNING;
    if (begins) {
        counts_clear(&salvage->counts);
        salvage->state = SALVAGE_RUNNING;
        salvage->partial = partial;
        salvage->discard = discard;
        salvage->run++;
        salvage->started_ms = env_wall_ms(salvage->server->env);
        error_clear(&salvage->error);
        salvage->task.run = run_task;
        executor_post(salvage->executor, &salvage->task);
    }
    (void)pthread_mutex_unlock(&salvage->lock);
    return begins;
}

static void count_add(json_t *json, const char *name, const _Atomic uint64_t *count)
{
    (void)json_object_set_new(json, name, json_integer((json_int_t)atomic_load(count)));
}

json_t *salvage_answer(struct salvage *salvage)
{
    static const char *const states[] = { "none", "running", "done", "failed" };
    const struct salvage_counts *counts = &salvage->counts;
    (void)pthread_mutex_lock(&salvage->lock);
    bool failed = salvage->state == SALVAGE_FAILED;
    json_t *json = json_pack("{s:I,s:s,s:I,s:I,s:b}", "run", (json_int_t)salvage->run, "state", states[salvage->state], "started_ms",
                             (json_int_t)salvage->started_ms, "ended_ms",
                             (json_int_t)(salvage->state == SALVAGE_RUNNING ? 0 : salvage->ended_ms), "discard",
                             salvage->discard ? 1 : 0);
    (void)json_object_set_new(json, "error", failed ? json_string(salvage->error.text) : json_null());
    (void)pthread_mutex_unlock(&salvage->lock);
    count_add(json, "disks_away", &counts->disks_away);
    count_add(json, "shards", &counts->shards);
    count_add(json, "extents", &counts->extents);
    count_add(json, "objects_back", &counts->objects);
    count_add(json, "bytes_back", &counts->bytes);
    count_add(json, "part_extents", &counts->part_extents);
    count_add(json, "lone_extents", &counts->lone_extents);
    count_add(json, "objects_refused", &counts->refused);
    count_add(json, "sessions_discarded", &counts->discarded);
    return json;
}

struct salvage *salvage_create(struct server *server)
{
    struct salvage *salvage = mem_zalloc(sizeof(*salvage));
    salvage->server = server;
    salvage->executor = server->env->vt->executor_create(server->env, "salvage", 1);
    (void)pthread_mutex_init(&salvage->lock, NULL);
    return salvage;
}

void salvage_destroy(struct salvage *salvage)
{
    if (salvage == NULL) {
        return;
    }
    atomic_store(&salvage->cancel, true);
    executor_destroy(salvage->executor); /* waits for the run */
    (void)pthread_mutex_destroy(&salvage->lock);
    mem_free(salvage);
}
