#include "server/fsck_parts.h"

#include "common/base/mem.h"
#include "metadata/machine_audit.h"
#include "metadata/voter.h"
#include "server/server.h"

#include <time.h>

static const struct {
    const char *kind;
    const char *todo;
} todos[] = {
    { "counter_wrong", "numbers shown are wrong, data is not: send 'cairn support bundle' with a report" },
    { "reference_wrong", "with too few recorded, a delete may free data in use: stop deleting, and restore the metadata" },
    { "reference_dangling", "the object named cannot be read whole: restore it, or the metadata, from a backup" },
    { "index_wrong", "repair or collection does not see this extent: send 'cairn support bundle' with a report" },
    { "manifest_wrong", "a part cannot be read, or its space is not freed: send 'cairn support bundle' with a report" },
    { "version_wrong", "a version cannot be read: restore it, or the metadata, from a backup" },
    { "row_orphan", "a row that nothing leads to: no harm, send 'cairn support bundle' with a report" },
    { "disk_unreachable", "its shards were not looked at: bring the disk or its node back, then run fsck again" },
    { "extent_nowhere", "its placement group is unknown: restore the metadata from a backup" },
    { "shard_absent", "repair was told and rebuilds it: run fsck again when 'cairn status' shows nothing degraded" },
    { "shard_stray", "a copy under way, or what one left behind: run fsck again in some minutes; reads do not use it" },
    { "shard_orphan", "a session that ended left it: the sweep frees it within 10 minutes, or after the disk is back" },
    { "shard_forgotten", "written after the backup that the metadata was rebuilt from: 'cairn metadata salvage' brings objects back" },
    { "placement_crowded", "losing one failure domain would make it unreadable: see 'cairn durability', and add a domain or wait for repair" },
};

static const char *todo_of(const char *kind)
{
    for (size_t i = 0; i < sizeof(todos) / sizeof(todos[0]); i++) {
        if (strcmp(todos[i].kind, kind) == 0) {
            return todos[i].todo;
        }
    }
    return "send 'cairn support bundle' with a report";
}

void fsck_found(struct fsck *fsck, const char *kind, const char *text)
{
    (void)pthread_mutex_lock(&fsck->lock);
    json_int_t before = json_integer_value(json_object_get(fsck->by_kind, kind));
    (void)json_object_set_new(fsck->by_kind, kind, json_integer(before + 1));
    if (fsck->finding_count++ < FSCK_FINDINGS_MAX) {
        (void)json_array_append_new(fsck->findings,
                                    json_pack("{s:s,s:s,s:s}", "kind", kind, "text", text, "todo", todo_of(kind)));
    }
    (void)pthread_mutex_unlock(&fsck->lock);
}

void fsck_pause(struct fsck *fsck, unsigned seconds)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += seconds;
    (void)pthread_mutex_lock(&fsck->lock);
    int rc = 0;
    while (rc == 0 && !atomic_load(&fsck->cancel)) {
        rc = pthread_cond_timedwait(&fsck->wake, &fsck->lock, &until);
    }
    (void)pthread_mutex_unlock(&fsck->lock);
}

bool fsck_stopped(struct fsck *fsck)
{
    return atomic_load(&fsck->cancel);
}

static void on_audit_found(void *data, const char *kind, const char *text)
{
    fsck_found(data, kind, text);
}

static void phase_begin(struct fsck *fsck, const char *phase)
{
    (void)pthread_mutex_lock(&fsck->lock);
    fsck->phase = phase;
    (void)pthread_mutex_unlock(&fsck->lock);
    atomic_store(&fsck->done, 0);
    atomic_store(&fsck->total, 0);
}

static void checked_set(struct fsck *fsck, const struct audit_counts *counts)
{
    (void)pthread_mutex_lock(&fsck->lock);
    json_decref(fsck->checked);
    fsck->checked = json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "metadata_index", (json_int_t)counts->index, "rows",
                              (json_int_t)counts->rows, "buckets", (json_int_t)counts->buckets, "versions",
                              (json_int_t)counts->versions, "extents", (json_int_t)counts->extents, "references",
                              (json_int_t)counts->references, "manifests", (json_int_t)counts->manifests, "gc_items",
                              (json_int_t)counts->gc_items);
    (void)pthread_mutex_unlock(&fsck->lock);
}

static void run_end(struct fsck *fsck, enum errc rc, const struct error *e)
{
    (void)pthread_mutex_lock(&fsck->lock);
    fsck->state = rc == ERRC_OK ? FSCK_DONE : FSCK_FAILED;
    fsck->error = *e;
    fsck->ended_ms = env_wall_ms(fsck->server->env);
    (void)pthread_mutex_unlock(&fsck->lock);
}

static void run_task(struct task *task)
{
    struct fsck *fsck = container_of(task, struct fsck, task);
    struct error e = ERROR_INIT;
    struct audit_counts counts;
    const struct machine_audit audit = { .cancel = &fsck->cancel, .done_rows = &fsck->done, .total_rows = &fsck->total,
                                         .found = on_audit_found, .data = fsck };
    phase_begin(fsck, "metadata");
    enum errc rc = voter_audit(fsck->server->voter, &audit, &counts, &e);
    if (rc == ERRC_OK) {
        checked_set(fsck, &counts);
        phase_begin(fsck, "shards");
        rc = fsck_shards(fsck, &e);
    }
    run_end(fsck, rc, &e);
}

static void results_clear(struct fsck *fsck)
{
    json_decref(fsck->findings);
    json_decref(fsck->by_kind);
    json_decref(fsck->checked);
    fsck->findings = json_array();
    fsck->by_kind = json_object();
    fsck->checked = json_object();
    fsck->finding_count = 0;
    error_clear(&fsck->error);
    atomic_store(&fsck->shards, 0);
    atomic_store(&fsck->open_session_shards, 0);
    atomic_store(&fsck->gc_shards, 0);
}

bool fsck_start(struct fsck *fsck)
{
    (void)pthread_mutex_lock(&fsck->lock);
    bool begins = fsck->state != FSCK_RUNNING;
    if (begins) {
        results_clear(fsck);
        fsck->state = FSCK_RUNNING;
        fsck->phase = "metadata";
        fsck->run++;
        fsck->started_ms = env_wall_ms(fsck->server->env);
        fsck->task.run = run_task;
        executor_post(fsck->executor, &fsck->task);
    }
    (void)pthread_mutex_unlock(&fsck->lock);
    return begins;
}

json_t *fsck_answer(struct fsck *fsck)
{
    static const char *const states[] = { "none", "running", "done", "failed" };
    (void)pthread_mutex_lock(&fsck->lock);
    json_t *json = json_pack("{s:I,s:s,s:I,s:I}", "run", (json_int_t)fsck->run, "state", states[fsck->state], "started_ms",
                             (json_int_t)fsck->started_ms, "ended_ms",
                             (json_int_t)(fsck->state == FSCK_RUNNING ? 0 : fsck->ended_ms));
    if (fsck->state == FSCK_RUNNING) {
        (void)json_object_set_new(json, "phase", json_string(fsck->phase));
        (void)json_object_set_new(json, "phase_done", json_integer((json_int_t)atomic_load(&fsck->done)));
        (void)json_object_set_new(json, "phase_total", json_integer((json_int_t)atomic_load(&fsck->total)));
    } else if (fsck->state != FSCK_NONE) {
        bool done = fsck->state == FSCK_DONE;
        (void)json_object_set_new(json, "clean", json_boolean(done && fsck->finding_count == 0));
        (void)json_object_set_new(json, "error", done ? json_null() : json_string(fsck->error.text));
    }
    (void)json_object_set_new(json, "finding_count", json_integer((json_int_t)fsck->finding_count));
    (void)json_object_set_new(json, "findings_by_kind", json_deep_copy(fsck->by_kind));
    (void)json_object_set_new(json, "findings", fsck->state == FSCK_RUNNING ? json_array() : json_deep_copy(fsck->findings));
    json_t *checked = json_deep_copy(fsck->checked);
    (void)json_object_set_new(checked, "shards", json_integer((json_int_t)atomic_load(&fsck->shards)));
    (void)json_object_set_new(checked, "shards_of_open_sessions",
                              json_integer((json_int_t)atomic_load(&fsck->open_session_shards)));
    (void)json_object_set_new(checked, "shards_to_be_freed", json_integer((json_int_t)atomic_load(&fsck->gc_shards)));
    (void)json_object_set_new(json, "checked", checked);
    (void)pthread_mutex_unlock(&fsck->lock);
    return json;
}

struct fsck *fsck_create(struct server *server)
{
    struct fsck *fsck = mem_zalloc(sizeof(*fsck));
    fsck->server = server;
    fsck->executor = server->env->vt->executor_create(server->env, "fsck", 1);
    (void)pthread_mutex_init(&fsck->lock, NULL);
    (void)pthread_cond_init(&fsck->wake, NULL);
    results_clear(fsck);
    return fsck;
}

void fsck_destroy(struct fsck *fsck)
{
    if (fsck == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&fsck->lock);
    atomic_store(&fsck->cancel, true);
    (void)pthread_cond_broadcast(&fsck->wake);
    (void)pthread_mutex_unlock(&fsck->lock);
    executor_destroy(fsck->executor); /* waits for the run */
    json_decref(fsck->findings);
    json_decref(fsck->by_kind);
    json_decref(fsck->checked);
    (void)pthread_cond_destroy(&fsck->wake);
    (void)pthread_mutex_destroy(&fsck->lock);
    mem_free(fsck);
}
