/*
 * Checkpoints between voters: pieces of this one's for others, and another's for this one when it is too far behind.
 *
 * An install, and what a crash after each step leaves:
 *   1 fetch      DIR/metadata/incoming: used again; the voter is as it was
 *   2 publish    checkpoint-<index> above the log's end: no start looks at it
 *   3 a generation whose state has install_index: the next start goes on with 4
 *   4 log and store are removed, the checkpoint's entry begins the log
 *   5 a generation with install_index 0: done
 * 4 and 5 are those of a start (voter_start.c): the voter starts again in place.
 */
#include "common/base/assert.h"
#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/rpc/rpc_schema.h"
#include "metadata/checkpoint_fetch.h"
#include "metadata/checkpoint_files.h"
#include "metadata/voter_state.h"

#include <string.h>

#define FETCH_PAUSE_NS UINT64_C(2000000000) /* between two attempts */

/* ---- for others ---- */

static void describe(struct voter *voter, struct rpc_call *call, uint64_t index_min)
{
    const struct voter_entry *entry = window_at(&voter->window, voter->checkpoint.index);
    if (!voter->leading || voter->dead) {
        voter_refuse(voter, call);
        return;
    }
    if (voter->checkpoint.index == 0 || voter->checkpoint.index < index_min || entry == NULL) {
        voter->checkpoint_wanted = voter->checkpoint_wanted > 0 ? voter->checkpoint_wanted : 1;
        rpc_call_finish(call, error_set(&call->error, ERRC_UNAVAILABLE, "a checkpoint is being made"));
        voter_advance(voter);
        return;
    }
    const struct snapshot_description description = {
        .cluster = voter->state.cluster, .index = voter->checkpoint.index, .members = voter->members,
        .entry = { entry->term, entry->type, enc_slice(&entry->data) },
    };
    voter->checkpoint_read_ns = env_now_ns(voter->env);
    snapshot_description_encode(&call->reply, &description);
    rpc_call_finish(call, ERRC_OK);
}

static void on_snapshot_call(struct task *task)
{
    struct rpc_call *call = container_of(task, struct rpc_call, task);
    struct snapshot_request request;
    if (snapshot_request_decode(call->head, &request) == ERRC_OK) { /* it was once before */
        describe(call->service_data, call, request.index);
    } else {
        rpc_call_finish(call, ERRC_CORRUPT);
    }
}

/* Names of the checkpoint's folder only. */
static bool name_is_plain(struct slice name)
{
    return name.len > 0 && name.len < FILE_NAME_BYTES && memchr(name.data, '/', name.len) == NULL &&
           memchr(name.data, '\0', name.len) == NULL && name.data[0] != '.';
}

static enum errc piece_read(struct voter *voter, const struct snapshot_request *request, struct enc *reply,
                            struct error *e)
{
    struct env *env = voter->env;
    struct voter_store *store = voter_store_acquire(voter);
    if (store == NULL) {
        return error_set(e, ERRC_UNAVAILABLE, "the state is not there now");
    }
    char *folder = checkpoint_path(voter->mirrors[store->mirror].mirror.dir, request->index, "");
    char *path = mem_format("%s/%.*s", folder, (int)request->name.len, (const char *)request->name.data);
    struct env_file *file = NULL;
    size_t len = 0;
    enum errc rc = env->vt->open(env, path, ENV_OPEN_READ, &file, e);
    if (rc == ERRC_OK) {
        rc = env->vt->pread(env, file, enc_reserve(reply, request->length), request->length, request->offset, &len, e);
        reply->len = rc == ERRC_OK ? len : 0;
        env->vt->close(env, file);
    }
    mem_free(path);
    mem_free(folder);
    voter_store_release(store);
    return rc;
}

static void on_piece(struct task *task)
{
    struct rpc_call *call = container_of(task, struct rpc_call, task);
    struct voter *voter = call->service_data;
    struct snapshot_request request;
    enum errc rc = snapshot_request_decode(call->head, &request);
    if (rc == ERRC_OK && !name_is_plain(request.name)) {
        rc = ERRC_CORRUPT;
    }
    rc = rc == ERRC_OK ? piece_read(voter, &request, &call->reply, &call->error)
                       : error_set(&call->error, rc, "the request for a checkpoint makes no sense");
    rpc_call_finish(call, rc);
    atomic_fetch_sub(&voter->queries, 1); /* the voter may be gone after this */
}

void voter_on_snapshot_read(struct voter *voter, struct rpc_call *call)
{
    struct snapshot_request request;
    if (snapshot_request_decode(call->head, &request) != ERRC_OK) {
        rpc_call_finish(call, error_set(&call->error, ERRC_CORRUPT, "the request for a checkpoint makes no sense"));
    } else if (request.kind == SNAPSHOT_DESCRIBE) {
        call->task.run = on_snapshot_call;
        executor_post(voter->executor, &call->task);
    } else {
        atomic_fetch_add(&voter->queries, 1);
        atomic_store(&voter->checkpoint_read_ns, env_now_ns(voter->env));
        call->task.run = on_piece;
        executor_post(voter->query_pool, &call->task);
    }
}

/* ---- for this one ---- */

/* On the voter's executor: the rest is a start in place, when nothing is under way. */
static void on_fetched(struct task *task)
{
    struct voter *voter = container_of(task, struct voter, fetch_task);
    voter->fetching = false;
    voter->fetch_not_before_ns = env_now_ns(voter->env) + FETCH_PAUSE_NS;
    if (voter->fetch_rc != ERRC_OK) {
        voter_event(voter, "metadata_checkpoint_not_fetched", "", voter->fetch_error.text);
    } else if (voter->fetched_index > voter->durable_index || voter->dead) {
        voter->install_wanted = voter->fetched_index;
    }
    voter_advance(voter);
}

/* On the copier. */
static void fetch_done(void *data, enum errc rc, const struct snapshot_description *description, const struct error *e)
{
    struct voter *voter = data;
    voter->fetch_rc = rc;
    voter->fetch_error = *e;
    if (rc == ERRC_OK) {
        voter->fetched_index = description->index;
        voter->fetched_members = description->members;
    }
    voter->fetch_task.run = on_fetched;
    executor_post(voter->executor, &voter->fetch_task);
}

static void fetch_run(struct task *task)
{
    struct voter *voter = container_of(task, struct voter, fetch_task);
    const struct checkpoint_fetch_config config = {
        .env = voter->env, .executor = voter->copier, .channel = voter->fetch_channel, .cluster = voter->state.cluster,
        .metadata_dir = voter->mirrors[voter->store->mirror].mirror.dir, .done = fetch_done, .data = voter,
    };
    checkpoint_fetch_start(&config);
}

void voter_fetch_begin(struct voter *voter, const char *node)
{
    struct rpc_channel *channel = node != NULL ? voter->peers->channel(voter->peers_data, node) : NULL;
    if (voter->fetching || voter->closing || channel == NULL || voter->store == NULL || voter->install_wanted != 0 ||
        voter->checkpointing || voter->joining >= 0 || env_now_ns(voter->env) < voter->fetch_not_before_ns) {
        return;
    }
    voter_event(voter, "metadata_checkpoint_fetched_from", "", node);
    voter->fetching = true;
    voter->fetch_channel = channel;
    voter->fetch_task.run = fetch_run;
    executor_post(voter->copier, &voter->fetch_task);
}

/* ---- before the first start ---- */

struct seed {
    struct voter_seed_config config;
    struct mirror mirror;
};

static enum errc seed_state_write(struct seed *seed, const struct snapshot_description *description, struct error *e)
{
    struct mirror_state *state = mem_zalloc(sizeof(*state));
    *state = (struct mirror_state){ .cluster = seed->config.cluster, .generation = 1, .term = description->entry.term,
                                    .raft_id = seed->config.raft_id, .members = description->members,
                                    .install_index = description->index, .wanted = 1, .dir_count = 1 };
    state->dirs[0].disk = seed->config.dir.disk;
    state->dirs[0].is_mirror = true;
    state->dirs[0].is_counted = true;
    size_t len = strlen(seed->config.dir.path);
    enum errc rc = len < MIRROR_PATH_BYTES ? ERRC_OK : error_set(e, ERRC_LIMIT, "'%s' is too long", seed->config.dir.path);
    if (rc == ERRC_OK) {
        memcpy(state->dirs[0].path, seed->config.dir.path, len + 1);
        env_random(seed->config.env, &state->nonce, sizeof(state->nonce));
        rc = mirror_state_write(&seed->mirror, state, e);
    }
    mem_free(state);
    return rc;
}

static void seed_done(void *data, enum errc rc, const struct snapshot_description *description, const struct error *story)
{
    struct seed *seed = data;
    struct error e = *story;
    rc = rc == ERRC_OK ? seed_state_write(seed, description, &e) : rc;
    seed->config.done(seed->config.data, rc, &e);
    mirror_done(&seed->mirror);
    mem_free(seed);
}

void voter_seed_start(const struct voter_seed_config *config)
{
    struct seed *seed = mem_zalloc(sizeof(*seed));
    struct error e = ERROR_INIT;
    seed->config = *config;
    mirror_init(&seed->mirror, config->env, config->cluster, config->dir.disk, config->dir.path);
    enum errc rc = mirror_create(&seed->mirror, &e);
    if (rc != ERRC_OK) {
        seed_done(seed, rc, NULL, &e);
        return;
    }
    const struct checkpoint_fetch_config fetch = {
        .env = config->env, .executor = config->executor, .channel = config->channel, .cluster = config->cluster,
        .metadata_dir = seed->mirror.dir, .done = seed_done, .data = seed,
    };
    checkpoint_fetch_start(&fetch);
}
