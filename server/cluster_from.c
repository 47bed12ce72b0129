/*
 * `cairn cluster init --from DIR...`: the data set of a `cairn server` becomes a cluster's. Offline.
 *
 * The DIRs keep their shards and become disks of a storage node; the metadata that is mirrored on them moves to the first
 * voter's --data, whole: buckets, keys, codes, open uploads and sessions are what they were.
 *
 * | # | step                                                        | a crash behind it leaves                         | and then |
 * | 1 | keys and certificates in --data (cluster_identity.c)        | a server that is as it was                       | again    |
 * | 2 | the server's own voter makes a checkpoint of all it has     | the same                                         | again    |
 * | 3 | its files, verified, in --data/metadata/rebuild             | the same                                         | again    |
 * | 4 | in each DIR: metadata/moved-to, then metadata renamed to    | a data set that no server starts: some or all of | again with the |
 * |   | metadata-moved                                              | its metadata is named otherwise                  | same --data |
 * | 5 | the voter's state (metadata/voter_rebuild.h)                | a voter without identity                         | the same: 6 |
 * | 6 | --data/identity                                             | done                                             | -        |
 *
 * Between 4 and 5 the DIRs have the only metadata: the next try names it back first, and begins again. `moved-to` says which
 * --data may do that, so that no second voter is ever made of metadata that has moved.
 */
#include "common/base/env_replace.h"
#include "common/base/mem.h"
#include "common/rpc/rpc_schema.h"
#include "metadata/checkpoint.h"
#include "metadata/snapshot_message.h"
#include "metadata/voter_rebuild.h"
#include "server/cluster.h"
#include "server/server_steps.h"
#include "server/text_file.h"
#include "server/wait.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define MOVED_NAME "metadata-moved"
#define NOTE_NAME "moved-to"
#define NOTE_FORMAT 1
#define CHECKPOINT_WAIT_NS UINT64_C(300000000000) /* a large state is copied as files */
#define CHECKPOINT_PAUSE_NS 50000000
#define CALL_NS UINT64_C(30000000000)

static bool is_there(struct env *env, const char *dir, const char *name)
{
    struct env_stat stat;
    char *path = mem_format("%s/%s", dir, name);
    bool there = env->vt->stat_path(env, path, &stat, NULL) == ERRC_OK;
    mem_free(path);
    return there;
}

enum errc cluster_from_refuse(struct env *env, const struct data_dirs *dirs, struct error *e)
{
    for (unsigned i = 0; i < dirs->count; i++) {
        const struct data_dir *dir = &dirs->dirs[i];
        if (dir->kind == DATA_DIR_KNOWN && is_there(env, dir->path, MOVED_NAME)) {
            return error_set(e, ERRC_INVALID, "'%s' became a cluster's disk by 'cairn cluster init --from', and its metadata has "
                             "moved: 'cairn storage-node' serves it now", dir->path);
        }
    }
    return ERRC_OK;
}

/* ---- step 4 ---- */

static enum errc dir_rename(struct env *env, const char *dir, const char *source, const char *target, struct error *e)
{
    char *from = mem_format("%s/%s", dir, source);
    char *to = mem_format("%s/%s", dir, target);
    enum errc rc = env->vt->rename(env, from, to, e);
    rc = rc == ERRC_OK ? env->vt->fsync_dir(env, dir, e) : rc;
    mem_free(to);
    mem_free(from);
    return rc;
}

/* Which voter the metadata goes to. */
static enum errc note_write(struct server *server, const char *folder, struct error *e)
{
    char text[TEXT_FILE_BYTES_MAX];
    char node[ID_HEX_BYTES];
    id_hex(server->node_id.bytes, node);
    int len = snprintf(text, sizeof(text), "# This metadata has moved to a voter of a cluster.\nformat=%d\nnode=%s\n", NOTE_FORMAT, node);
    return env_file_replace(server->env, folder, NOTE_NAME, slice_of(text, text_file_seal(text, (size_t)len)), e);
}

static enum errc dirs_move(struct server *server, struct error *e)
{
    enum errc rc = ERRC_OK;
    for (unsigned i = 0; rc == ERRC_OK && i < server->dirs.count; i++) {
        const char *dir = server->dirs.dirs[i].path;
        if (is_there(server->env, dir, "metadata")) {
            char *folder = mem_format("%s/metadata", dir);
            rc = note_write(server, folder, e);
            rc = rc == ERRC_OK ? dir_rename(server->env, dir, "metadata", MOVED_NAME, e) : rc;
            mem_free(folder);
        }
    }
    return rc;
}

/* Was it moved for this voter? */
static enum errc note_check(struct server *server, const char *dir, struct error *e)
{
    char text[TEXT_FILE_BYTES_MAX + 1];
    struct node_id node;
    char *path = mem_format("%s/" MOVED_NAME "/" NOTE_NAME, dir);
    enum errc rc = text_file_read(server->env, path, NOTE_FORMAT, text, e);
    if (rc == ERRC_OK && (!text_file_hex(text, "node", node.bytes, ID_BYTES) || !node_id_equal(node, server->node_id))) {
        rc = error_set(e, ERRC_EXISTS, "the metadata of '%s' has moved already, to another --data than '%s'", dir,
                       server->options.data);
    }
    mem_free(path);
    return rc;
}

/* What a try before has moved. `done`: its voter is made; else the metadata is named back. */
static enum errc moved_settle(struct server *server, bool done, struct error *e)
{
    enum errc rc = ERRC_OK;
    for (unsigned i = 0; rc == ERRC_OK && i < server->dirs.count; i++) {
        const char *dir = server->dirs.dirs[i].path;
        if (is_there(server->env, dir, MOVED_NAME)) {
            rc = note_check(server, dir, e);
            rc = rc == ERRC_OK && !done ? dir_rename(server->env, dir, MOVED_NAME, "metadata", e) : rc;
        }
    }
    return rc;
}

static bool moved_any(struct server *server)
{
    bool any = false;
    for (unsigned i = 0; i < server->dirs.count; i++) {
        any = any || is_there(server->env, server->dirs.dirs[i].path, MOVED_NAME);
    }
    return any;
}

/* ---- the server's data set ---- */

enum errc cluster_from_look(struct server *server, struct error *e)
{
    const struct server_options *options = &server->options;
    const char *paths[SERVER_DIRS_MAX];
    unsigned count = 0;
    if (options->from == NULL) {
        return ERRC_OK;
    }
    if (options->dir_count == SERVER_DIRS_MAX) {
        return error_set(e, ERRC_INVALID, "more than %d directories", SERVER_DIRS_MAX);
    }
    paths[count++] = options->from;
    for (unsigned i = 0; i < options->dir_count; i++) {
        paths[count++] = options->dirs[i];
    }
    enum errc rc = data_dirs_open(server->env, paths, count, &server->dirs, e);
    for (unsigned i = 0; rc == ERRC_OK && i < count; i++) {
        const struct data_dir *dir = &server->dirs.dirs[i];
        if (dir->kind != DATA_DIR_KNOWN) {
            rc = error_set(e, ERRC_INVALID, "'%s' is no directory of a data set of 'cairn server'%s%s", dir->path,
                           dir->kind == DATA_DIR_UNREADABLE ? ": " : "", dir->kind == DATA_DIR_UNREADABLE ? dir->problem.text : "");
        }
    }
    return rc == ERRC_OK ? server_credentials_find(server, e) : rc;
}

static enum errc source_open(struct server *server, struct voter **ret_voter, struct error *e)
{
    struct voter_dir dirs[SERVER_DIRS_MAX];
    for (unsigned i = 0; i < server->dirs.count; i++) {
        dirs[i] = (struct voter_dir){ server->dirs.dirs[i].disk, server->dirs.dirs[i].path };
    }
    const struct voter_config config = {
        .env = server->env, .kv_factory = kv_factory_rocksdb(), .executor = server->meta_executor,
        .query_pool = server->query_pool, .cluster = server->dirs.cluster, .dir_count = server->dirs.count, .dirs = dirs,
        .on_event = server_on_voter_event,
    };
    return voter_open(&config, ret_voter, e);
}

static void on_closed(void *data)
{
    waiter_wake(data, ERRC_OK);
}

static void source_close(struct voter *source)
{
    struct waiter waiter;
    waiter_init(&waiter);
    voter_close(source, on_closed, &waiter);
    (void)waiter_wait(&waiter); /* always OK */
}

/* To be asked for one is what makes a leader make a checkpoint; the answer, which is for other voters, comes too early. */
static enum errc checkpoint_want(struct server *server, struct voter *source, struct error *e)
{
    const struct snapshot_request request = { .kind = SNAPSHOT_DESCRIBE };
    struct enc head = ENC_INIT;
    snapshot_request_encode(&head, &request);
    struct rpc_call call = { .method = RPC_RAFT_SNAPSHOT_READ, .head = enc_slice(&head),
                             .deadline_ns = env_now_ns(server->env) + CALL_NS };
    enum errc rc = wait_call(voter_channel(source), server->completions, &call);
    if (rc != ERRC_OK && rc != ERRC_UNAVAILABLE) {
        (void)error_set(e, rc, "no checkpoint can be made: %s", call.error.code != ERRC_OK ? call.error.text : errc_text(rc));
    }
    rpc_call_release(&call);
    enc_free(&head);
    return rc == ERRC_UNAVAILABLE ? ERRC_OK : rc;
}

/* Step 2: one that holds everything. Gives the folder that it is in, DIR/metadata of one of the mirrors. */
static enum errc checkpoint_await(struct server *server, struct voter *source, char **ret_folder, uint64_t *ret_index,
                                  struct error *e)
{
    const struct timespec pause = { 0, CHECKPOINT_PAUSE_NS };
    struct voter_status *status = mem_zalloc(sizeof(*status));
    uint64_t until_ns = env_now_ns(server->env) + CHECKPOINT_WAIT_NS;
    enum errc rc = ERRC_OK;
    voter_status(source, status);
    while (rc == ERRC_OK && status->checkpoint_index < status->commit_index && env_now_ns(server->env) < until_ns) {
        rc = checkpoint_want(server, source, e);
        (void)nanosleep(&pause, NULL);
        voter_status(source, status);
    }
    *ret_index = status->checkpoint_index;
    for (unsigned i = 0; i < status->mirror_count; i++) {
        if (status->mirrors[i].active && *ret_folder == NULL) {
            *ret_folder = mem_format("%s/metadata", status->mirrors[i].path);
        }
    }
    bool whole = status->checkpoint_index >= status->commit_index && *ret_folder != NULL;
    mem_free(status);
    return whole || rc != ERRC_OK ? rc : error_set(e, ERRC_UNAVAILABLE, "the metadata of the directories cannot be copied: see the log");
}

/* ---- the voter ---- */

static void on_removed(void *data, struct slice name)
{
    (void)data;
    (void)name; /* a server has no other voter */
}

static struct voter_rebuild_config rebuild_config(struct server *server, uint64_t term)
{
    struct voter_rebuild_config config = {
        .env = server->env, .kv_factory = kv_factory_rocksdb(), .cluster = server->dirs.cluster,
        .dir.path = server->options.data, .node = server->node_id, .raft_id = cluster_raft_id(server->node_id),
        .term = term, .complete = true, .on_removed = on_removed,
    };
    memcpy(config.dir.disk.bytes, server->node_id.bytes, ID_BYTES);
    return config;
}

/* Steps 2 and 3. */
static enum errc state_bring(struct server *server, uint64_t *ret_term, struct error *e)
{
    struct voter *source = NULL;
    struct checkpoint_info info = { 0, 0 };
    const struct voter_rebuild_config config = rebuild_config(server, 0);
    char *rebuild = voter_rebuild_folder(server->options.data);
    char *target = mem_format("%s/metadata", server->options.data);
    char *folder = NULL;
    uint64_t index = 0;
    enum errc rc = source_open(server, &source, e);
    if (rc == ERRC_OK) {
        rc = checkpoint_await(server, source, &folder, &index, e);
        source_close(source);
    }
    rc = rc == ERRC_OK ? voter_rebuild_begin(server->env, config.cluster, &config.dir, e) : rc;
    rc = rc == ERRC_OK ? checkpoint_prune(server->env, target, 0, e) : rc; /* of a try before */
    rc = rc == ERRC_OK ? checkpoint_copy(server->env, folder, target, index, e) : rc;
    rc = rc == ERRC_OK ? checkpoint_newest(server->env, target, index, &info, e) : rc;
    rc = rc == ERRC_OK ? checkpoint_restore(server->env, target, index, rebuild, e) : rc;
    *ret_term = info.term;
    mem_free(folder);
    mem_free(target);
    mem_free(rebuild);
    return rc;
}

/* Steps 2 to 5. */
static enum errc metadata_move(struct server *server, struct error *e)
{
    uint64_t term = 0;
    enum errc rc = state_bring(server, &term, e);
    rc = rc == ERRC_OK ? dirs_move(server, e) : rc;
    const struct voter_rebuild_config config = rebuild_config(server, term);
    return rc == ERRC_OK ? voter_rebuild(&config, e) : rc;
}

enum errc cluster_from_move(struct server *server, struct error *e)
{
    bool done = is_there(server->env, server->options.data, "metadata/state") && moved_any(server);
    enum errc rc = moved_settle(server, done, e);
    rc = rc == ERRC_OK && !done ? metadata_move(server, e) : rc;
    return rc == ERRC_OK ? identity_write(server->env, server->options.data, &server->cluster->identity, e) : rc;
}

void cluster_from_print(const struct server *server)
{
    const struct identity *identity = &server->cluster->identity;
    char id[ID_HEX_BYTES];
    id_hex(identity->cluster.bytes, id);
    (void)printf("The data set of %u directories is cluster %s now, with the keys and buckets that it had.\n"
                 "No 'cairn server' serves it any more.\n"
                 "Start its voter:  cairn metadata --data %s --listen %s\n"
                 "then its disks:   cairn token create --role storage-node > TOKEN\n"
                 "                  cairn storage-node --data NODE --listen ADDR:PORT --join %s --token-file TOKEN",
                 server->dirs.count, id, server->options.data, identity->address, identity->address);
    for (unsigned i = 0; i < server->dirs.count; i++) {
        (void)printf(" %s", server->dirs.dirs[i].path);
    }
    (void)printf("\nthen a gateway:   cairn token create --role gateway > TOKEN\n"
                 "                  cairn gateway --data GATEWAY --join %s --token-file TOKEN\n", identity->address);
}
