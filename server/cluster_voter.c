/*
 * `cairn metadata`: this process's voter among the others.
 *
 * The first voter's data is made by `cairn cluster init`. Another one joins (cluster_identity.c), brings the state from the
 * voter that leads (metadata/voter_snapshot.c), starts, and asks to be a stand-by; a crash between leaves it to do the rest
 * at its next start. `cairn metadata promote` makes it a voter.
 */
#include "common/base/mem.h"
#include "common/io/log.h"
#include "common/rpc/rpc_schema.h"
#include "metadata/voter_member.h"
#include "server/cluster.h"
#include "server/cluster_voters.h"
#include "server/server_steps.h"
#include "server/wait.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define CALL_TIMEOUT_MS 30000
#define MEMBER_TIMEOUT_NS UINT64_C(10000000000)
#define FIRST_RAFT_ID 1

static struct voter_dir voter_dir_of(const struct server *server)
{
    struct voter_dir dir = { .path = server->options.data }; /* the log's folder is named like its voter */
    memcpy(dir.disk.bytes, server->node_id.bytes, ID_BYTES);
    return dir;
}

uint64_t cluster_raft_id(struct node_id node)
{
    uint64_t id = load_le64(node.bytes);
    return id > FIRST_RAFT_ID ? id : id + 2; /* the first voter's is not made from its node's */
}

static struct rpc_channel *peer_channel(void *data, const char *node)
{
    return cluster_voter_channel(data, node);
}

/* Borrows dir and node. */
static struct voter_config config_of(struct server *server, bool bootstrap, const struct voter_dir *dir, const char *node)
{
    static const struct voter_peers peers = { peer_channel };
    return (struct voter_config){
        .env = server->env, .kv_factory = kv_factory_rocksdb(), .executor = server->meta_executor,
        .query_pool = server->query_pool, .cluster = server->dirs.cluster, .dir_count = 1, .dirs = dir,
        .mirrors_wanted = 1, .bootstrap = bootstrap, .on_event = server_on_voter_event,
        .peers = &peers, .peers_data = server, .node = node,
    };
}

enum errc cluster_voter_recover(struct server *server, bool commit, struct voter_recovery *ret, struct error *e)
{
    const struct voter_dir dir = voter_dir_of(server);
    char node[ID_HEX_BYTES];
    id_hex(server->node_id.bytes, node);
    const struct voter_config config = config_of(server, false, &dir, node);
    return voter_recover(&config, commit, ret, e);
}

enum errc cluster_voter_open(struct server *server, bool bootstrap, struct error *e)
{
    const struct voter_dir dir = voter_dir_of(server);
    char node[ID_HEX_BYTES];
    id_hex(server->node_id.bytes, node);
    const struct voter_config config = config_of(server, bootstrap, &dir, node);
    enum errc rc = voter_open(&config, &server->voter, e);
    if (rc == ERRC_OK) {
        metadata_client_init(&server->meta, voter_channel(server->voter), server->env, CALL_TIMEOUT_MS);
        cluster_voters_follow(server);
    }
    return rc;
}

/* ---- bringing the state here ---- */

static void wait_second(void)
{
    const struct timespec second = { .tv_sec = 1 };
    (void)nanosleep(&second, NULL); /* SIGTERM ends the process: server/start_watch.h */
}

struct seed_wait {
    struct waiter waiter;
    struct error error;
};

static void on_seeded(void *data, enum errc rc, const struct error *e)
{
    struct seed_wait *wait = data;
    wait->error = *e;
    waiter_wake(&wait->waiter, rc);
}

static enum errc seed_from(struct server *server, struct rpc_channel *channel, struct error *e)
{
    struct seed_wait wait = { .error = ERROR_INIT };
    const struct voter_seed_config config = {
        .env = server->env, .executor = server->meta_executor, .channel = channel, .cluster = server->dirs.cluster,
        .dir = voter_dir_of(server), .raft_id = cluster_raft_id(server->node_id), .done = on_seeded, .data = &wait,
    };
    waiter_init(&wait.waiter);
    voter_seed_start(&config);
    enum errc rc = waiter_wait(&wait.waiter);
    return rc == ERRC_OK ? rc : error_set(e, rc, "the metadata cannot be brought here: %s", wait.error.text);
}

static bool state_is_there(struct server *server)
{
    struct env_stat stat;
    char *path = mem_format("%s/metadata/state", server->options.data);
    bool there = server->env->vt->stat_path(server->env, path, &stat, NULL) == ERRC_OK;
    mem_free(path);
    return there;
}

/* Only the voter that leads gives it, after it has made a checkpoint: asked until one does. */
static enum errc seed_settle(struct server *server, struct error *e)
{
    enum errc rc = state_is_there(server) ? ERRC_OK : ERRC_UNAVAILABLE;
    struct error story = ERROR_INIT;
    for (bool said = false; rc == ERRC_UNAVAILABLE || rc == ERRC_TIMEOUT; said = true) {
        struct metadata_voter voters[CLUSTER_VOTERS_MAX];
        unsigned count = cluster_voters_list(server, voters);
        if (count == 0) {
            return error_set(e, ERRC_NOT_FOUND, "'%s' has no metadata, and no voter is known that could give it",
                             server->options.data);
        }
        for (unsigned i = 0; i < count && rc != ERRC_OK; i++) {
            error_clear(&story);
            rc = seed_from(server, voters[i].channel, &story);
        }
        if (rc != ERRC_OK && !said) {
            LOG_INFO(log_event("waits_for_metadata"), log_error_of(&story));
        }
        if (rc != ERRC_OK) {
            wait_second();
        }
    }
    return rc == ERRC_OK ? rc : error_set(e, rc, "%s", story.text);
}

enum errc cluster_step_voter(struct server *server, struct error *e)
{
    cluster_voters_begin(server);
    enum errc rc = seed_settle(server, e);
    return rc == ERRC_OK ? cluster_voter_open(server, false, e) : rc;
}

/* ---- members ---- */

static enum errc member_ask(struct server *server, struct rpc_channel *channel, const struct member_request *request,
                            struct error *e)
{
    struct enc head = ENC_INIT;
    member_request_encode(&head, request);
    struct rpc_call call = { .method = RPC_RAFT_MEMBER, .head = enc_slice(&head),
                             .deadline_ns = env_now_ns(server->env) + MEMBER_TIMEOUT_NS };
    enum errc rc = wait_call(channel, server->completions, &call);
    if (rc != ERRC_OK) {
        (void)error_set(e, rc, "%s", call.error.code != ERRC_OK ? call.error.text : errc_text(rc));
    }
    rpc_call_release(&call);
    enc_free(&head);
    return rc;
}

/* Only the leader's answer counts: a voter that does not lead says UNAVAILABLE. */
enum errc cluster_member_change(struct server *server, const struct member_request *request, struct error *e)
{
    struct metadata_voter voters[CLUSTER_VOTERS_MAX + 1];
    unsigned count = cluster_voters_list(server, voters);
    enum errc rc = ERRC_UNAVAILABLE;
    voters[count++] = (struct metadata_voter){ server->node_id, voter_channel(server->voter) };
    for (unsigned i = 0; i < count && (rc == ERRC_UNAVAILABLE || rc == ERRC_TIMEOUT); i++) {
        error_clear(e);
        if (voter_leads(server->voter) && i + 1 < count) {
            continue; /* it is this one */
        }
        rc = member_ask(server, voters[i].channel, request, e);
    }
    return rc;
}

static void on_handed_over(void *data)
{
    waiter_wake(data, ERRC_OK);
}

void cluster_hand_over(struct server *server)
{
    struct waiter waiter;
    (void)pthread_mutex_lock(&server->cluster->yield_guard);
    waiter_init(&waiter);
    voter_hand_over(server->voter, on_handed_over, &waiter);
    (void)waiter_wait(&waiter); /* always OK */
    (void)pthread_mutex_unlock(&server->cluster->yield_guard);
}

static bool is_member(struct server *server)
{
    struct voter_status *status = mem_zalloc(sizeof(*status));
    bool member = false;
    voter_status(server->voter, status);
    for (unsigned i = 0; i < status->member_count; i++) {
        member = member || status->members[i].self;
    }
    mem_free(status);
    return member;
}

/* The port is open: the others can reach this voter. */
enum errc cluster_step_member(struct server *server, struct error *e)
{
    struct member_request request = { .change = MEMBER_ADD, .id = cluster_raft_id(server->node_id) };
    struct error story = ERROR_INIT;
    id_hex(server->node_id.bytes, request.node);
    enum errc rc = is_member(server) ? ERRC_OK : ERRC_UNAVAILABLE;
    for (bool said = false; rc == ERRC_UNAVAILABLE || rc == ERRC_TIMEOUT; said = true) {
        error_clear(&story);
        rc = cluster_member_change(server, &request, &story);
        if (rc != ERRC_OK && !said) {
            LOG_INFO(log_event("waits_for_metadata"), log_error_of(&story));
        }
        if (rc != ERRC_OK) {
            wait_second();
        }
    }
    return rc == ERRC_OK ? rc : error_set(e, rc, "the voters do not take this one: %s", story.text);
}
