/*
 * The steps of the start of each role of a cluster, and their end. What a crash at each leaves: server/README.md.
 */
#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/io/certificate.h"
#include "common/io/log.h"
#include "common/rpc/rpc_schema.h"
#include "server/cluster.h"
#include "server/cluster_voters.h"
#include "server/damage_report.h"
#include "server/server_disks.h"
#include "server/server_steps.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CALL_TIMEOUT_MS 30000
#define PORT_GRACE_MS 10000
#define ANSWER_ARENA_BYTES (4u << 20)
#define CLASS_K_DEFAULT 4
#define CLASS_M_DEFAULT 2

/* ---- all roles ---- */

static enum errc step_probe(struct server *server, struct error *e)
{
    const struct server_options *options = &server->options;
    enum errc rc = ERRC_OK;
    if (options->command == SERVER_GATEWAY) {
        rc = server_address_probe(&options->s3_listen, e);
    }
    bool serves_admin = options->command == SERVER_METADATA || options->command == SERVER_GATEWAY; /* not `cluster init` */
    if (rc == ERRC_OK && serves_admin) {
        rc = server_address_probe(&options->admin_listen, e);
    }
    return rc == ERRC_OK && options->listen.port != 0 ? server_address_probe(&options->listen, e) : rc;
}

static enum errc step_out_loop(struct server *server, struct error *e)
{
    struct cluster *cluster = server->cluster;
    enum errc rc = loop_create(server->env, "rpc-out", &cluster->out_loop, e);
    return rc == ERRC_OK ? loop_start(cluster->out_loop, e) : rc;
}

struct port_open {
    struct server *server;
    enum errc rc;
    struct error *e;
};

static void port_open_there(void *data)
{
    struct port_open *open = data;
    struct server *server = open->server;
    struct cluster *cluster = server->cluster;
    char address[SERVER_ADDRESS_TEXT_BYTES];
    server_address_text(&server->options.listen, address);
    const struct rpc_server_config config = { .env = server->env, .loop = cluster->in_loop, .tls = cluster->tls,
                                              .cluster = cluster->identity.cluster, .node = cluster->identity.node };
    open->rc = rpc_server_open(&config, address, &cluster->port, open->e);
    if (open->rc != ERRC_OK) {
        return;
    }
    if (server->voter != NULL) {
        cluster_service_init(server);
        rpc_server_route(cluster->port, RPC_META_PROPOSE, RPC_RAFT_MEMBER, voter_channel(server->voter));
        rpc_server_route(cluster->port, RPC_CLUSTER_JOIN, RPC_NODE_DAMAGE, &cluster->service);
    } else {
        cluster_node_service_init(server);
        rpc_server_route(cluster->port, RPC_NODE_SHARD_PUT, RPC_NODE_DISK_STATUS, node_channel(server->node));
        rpc_server_route(cluster->port, RPC_ADMIN_REQUEST, RPC_ADMIN_REQUEST, &cluster->service);
    }
}

/* The port of the other processes; whatever serves is there already. A port on a loop without a thread could never be stopped:
 * it is opened where its loop runs, in one task, so that no connection is taken before all routes are there. */
static enum errc step_port(struct server *server, struct error *e)
{
    struct cluster *cluster = server->cluster;
    struct port_open open = { .server = server, .e = e };
    enum errc rc = loop_create(server->env, "rpc-in", &cluster->in_loop, e);
    rc = rc == ERRC_OK ? loop_start(cluster->in_loop, e) : rc;
    if (rc == ERRC_OK) {
        wait_run(loop_executor(cluster->in_loop), port_open_there, &open);
        rc = open.rc;
    }
    return rc;
}

/* Where metadata is, for those who are not there. */
static enum errc step_voter_client(struct server *server, struct error *e)
{
    struct cluster *cluster = server->cluster;
    const struct identity *identity = &cluster->identity;
    if (identity->voter_count == 0) {
        return error_set(e, ERRC_CORRUPT, "'%s/identity' names no voter", server->options.data);
    }
    cluster_voters_begin(server);
    struct metadata_voter voters[CLUSTER_VOTERS_MAX];
    if (cluster_voters_list(server, voters) == 0) {
        return error_set(e, ERRC_CORRUPT, "'%s/identity' names no voter but itself", server->options.data);
    }
    metadata_client_init(&server->meta, voters[0].channel, server->env, CALL_TIMEOUT_MS);
    cluster_voters_follow(server);
    return ERRC_OK;
}

/* A gateway that starts while no voter answers waits for one: it would only be started again and again. A signal ends the
 * process meanwhile (start_watch.h). */
static enum errc step_voter_await(struct server *server, struct error *e)
{
    const struct meta_query query = { .type = META_QRY_CLUSTER };
    for (bool said = false;; said = true) {
        struct arena arena;
        struct meta_op op;
        struct error story = ERROR_INIT;
        arena_init(&arena, ANSWER_ARENA_BYTES);
        enum errc rc = wait_query(&server->meta, server->completions, &arena, &op, &query, &story);
        meta_op_release(&op);
        arena_done(&arena);
        if (rc != ERRC_UNAVAILABLE && rc != ERRC_TIMEOUT) {
            return rc == ERRC_OK ? rc : error_set(e, rc, "%s", story.text);
        }
        if (!said) {
            LOG_WARN(log_event("waits_for_metadata"), log_error_of(&story));
        }
        (void)sleep(1);
    }
}

static enum errc step_map(struct server *server, struct error *e)
{
    const struct cluster_map_config config = { .env = server->env, .executor = server->completions, .meta = &server->meta,
                                               .cluster = server->dirs.cluster, .on_nodes = cluster_nodes_take,
                                               .on_nodes_data = server };
    server->map = cluster_map_create(&config);
    enum errc rc = server_class_settle(server, e);
    return rc == ERRC_OK ? server_map_await(server, e) : rc;
}

static enum errc step_heartbeat(struct server *server, struct error *e)
{
    (void)e;
    cluster_heartbeat_start(server);
    return ERRC_OK;
}

/* ---- voter ---- */

/* It stands in the map like every process, so that lists show it. */
static enum errc step_voter_register(struct server *server, struct error *e)
{
    const struct identity *identity = &server->cluster->identity;
    struct meta_command command = { .type = META_CMD_NODE_PUT };
    struct meta_node *node = &command.node_put.node;
    struct meta_op op;
    *node = (struct meta_node){ .id = identity->node, .role = ROLE_METADATA, .state = META_NODE_IN,
                                .address = slice_str(identity->address), .name = slice_str(identity->name) };
    enum errc rc = certificate_public_key_hash(server->cluster->certificate_pem, node->key_hash, e);
    if (rc != ERRC_OK) {
        return rc;
    }
    rc = wait_propose(&server->meta, server->completions, &op, &command, e);
    if (rc == ERRC_OK && op.result.outcome == META_NODE_REMOVED) {
        rc = error_set(e, ERRC_DENIED, "this process was removed from the cluster: join with an empty --data");
    } else if (rc == ERRC_OK && op.result.outcome != META_OK) {
        rc = error_set(e, ERRC_CONFLICT, "the voter cannot be put into the map: outcome %u", op.result.outcome);
    }
    meta_op_release(&op);
    return rc;
}

/* From here on other processes may join and be heard. */
static enum errc step_serve(struct server *server, struct error *e)
{
    (void)e;
    atomic_store(&server->cluster->serves, true);
    return ERRC_OK;
}

/* ---- cluster init ---- */

static enum errc step_init_voter(struct server *server, struct error *e)
{
    if (server->options.from != NULL) {
        return cluster_from_move(server, e);
    }
    server->class_k = server->options.has_erasure ? server->options.erasure_k : CLASS_K_DEFAULT;
    server->class_m = server->options.has_erasure ? server->options.erasure_m : CLASS_M_DEFAULT;
    enum errc rc = cluster_voter_open(server, true, e);
    rc = rc == ERRC_OK ? server_class_record(server, e) : rc;
    rc = rc == ERRC_OK ? step_voter_register(server, e) : rc;
    return rc == ERRC_OK ? identity_write(server->env, server->options.data, &server->cluster->identity, e) : rc;
}

/* ---- storage node ---- */

static enum errc step_disks(struct server *server, struct error *e)
{
    const struct server_options *options = &server->options;
    const struct cluster_id cluster = server->cluster->identity.cluster;
    server->cluster->damage = damage_report_create(server->env, server->completions);
    enum errc rc = data_dirs_open(server->env, options->dirs, options->dir_count, &server->dirs, e);
    if (rc != ERRC_OK) {
        return rc;
    }
    if (server->dirs.known_count > 0 && !cluster_id_equal(server->dirs.cluster, cluster)) {
        return error_set(e, ERRC_EXISTS, "the directories belong to another cluster than '%s'", options->data);
    }
    server->dirs.cluster = cluster;
    for (unsigned i = 0; i < server->dirs.count && rc == ERRC_OK; i++) {
        struct data_dir *dir = &server->dirs.dirs[i];
        if (dir->kind == DATA_DIR_EMPTY || dir->kind == DATA_DIR_ABSENT) {
            env_random(server->env, dir->disk.bytes, ID_BYTES);
            rc = data_dir_prepare(server->env, dir, e);
            rc = rc == ERRC_OK ? data_dir_format(server->env, dir, cluster, e) : rc;
        } else if (dir->kind == DATA_DIR_UNREADABLE) {
            LOG_ERROR(log_event("dir_unreadable"), log_text("path", dir->path), log_error_of(&dir->problem));
        }
    }
    return rc;
}

/* ---- the tables ---- */

const server_step *cluster_steps(enum server_command command)
{
    static const server_step init[] = { step_probe, server_step_executors, cluster_from_look, cluster_init, step_init_voter, NULL };
    static const server_step recover[] = { server_step_executors, cluster_step_recover, NULL };
    static const server_step rebuild[] = { server_step_executors, cluster_step_rebuild, NULL };
    static const server_step metadata[] = {
        step_probe, server_step_executors, step_out_loop, cluster_identity_start, cluster_step_voter, step_port,
        cluster_step_member, step_voter_register, step_map, server_step_session, cluster_renew_start, step_serve,
        server_step_admin, NULL,
    };
    static const server_step storage_node[] = {
        step_probe, server_step_executors, step_out_loop, cluster_identity_start, step_disks, server_step_node, server_step_scrubs,
        step_voter_client, step_port, cluster_renew_start, step_heartbeat, NULL,
    };
    static const server_step gateway[] = {
        server_step_tls, step_probe, server_step_executors, step_out_loop, cluster_identity_start, step_voter_client,
        step_voter_await, step_map, server_step_session, cluster_renew_start, step_heartbeat, server_step_loops,
        server_step_gateway, server_step_admin, server_step_front, NULL,
    };
    switch (command) {
    case SERVER_CLUSTER_INIT:
        return init;
    case SERVER_METADATA_RECOVER:
        return recover;
    case SERVER_METADATA_REBUILD:
        return rebuild;
    case SERVER_METADATA:
        return metadata;
    case SERVER_STORAGE_NODE:
        return storage_node;
    case SERVER_GATEWAY:
        return gateway;
    case SERVER_ALL:
        break;
    }
    UNREACHABLE();
}

void cluster_banner_print(const struct server *server)
{
    const struct identity *identity = &server->cluster->identity;
    if (server->options.command == SERVER_METADATA_RECOVER) {
        cluster_recover_print(server);
    } else if (server->options.command == SERVER_METADATA_REBUILD) {
        cluster_rebuild_print(server);
    } else if (server->options.command == SERVER_CLUSTER_INIT && server->options.from != NULL) {
        cluster_from_print(server);
    } else if (server->options.command == SERVER_CLUSTER_INIT) {
        char id[ID_HEX_BYTES];
        id_hex(identity->cluster.bytes, id);
        (void)printf("Cairn %s made cluster %s\n", CAIRN_VERSION, id);
        (void)printf("  new buckets use         %u+%u\n", server->class_k, server->class_m);
        (void)printf("  access key              %s\n", server->credentials.access_key);
        if (server->print_keys) {
            (void)printf("  secret key              %s\n"
                         "                          (shown only now; kept in %s/credentials)\n",
                         server->credentials.secret_key, server->options.data);
        }
        (void)printf("Start its voter:  cairn metadata --data %s --listen %s\n", server->options.data, identity->address);
    } else {
        (void)printf("Cairn %s %s '%s' runs%s%s\n", CAIRN_VERSION, server_command_name(server->options.command),
                     identity->name, identity->address[0] != '\0' ? " on " : "", identity->address);
    }
    (void)fflush(stdout);
}

/* ---- end ---- */

static void on_ended(void *data)
{
    waiter_wake(data, ERRC_OK);
}

void cluster_stop_port(struct server *server)
{
    struct cluster *cluster = server->cluster;
    struct waiter waiter;
    if (server->voter != NULL) {
        cluster_hand_over(server);
    }
    cluster_heartbeat_stop(server);
    cluster_renew_stop(server);
    if (cluster->port != NULL) {
        (void)pthread_mutex_lock(&cluster->guard);
        cluster->port_ended = true;
        (void)pthread_mutex_unlock(&cluster->guard);
        waiter_init(&waiter);
        rpc_server_stop(cluster->port, PORT_GRACE_MS, on_ended, &waiter);
        (void)waiter_wait(&waiter); /* always OK */
    }
    (void)pthread_mutex_lock(&cluster->guard);
    cluster->jobs_ended = true; /* heartbeats, polls and refreshes that come later post nothing */
    (void)pthread_mutex_unlock(&cluster->guard);
}

static void client_end(struct rpc_client *client)
{
    struct waiter waiter;
    waiter_init(&waiter);
    rpc_client_destroy(client, on_ended, &waiter);
    (void)waiter_wait(&waiter); /* always OK */
}

static void loop_end(struct loop *loop)
{
    if (loop != NULL) {
        loop_stop(loop);
        loop_destroy(loop);
    }
}

void cluster_clients_end(struct server *server)
{
    struct cluster *cluster = server->cluster;
    for (unsigned i = 0; i < cluster->peer_count; i++) {
        client_end(cluster->peers[i].client);
    }
    cluster_voters_end(server);
}

void cluster_free(struct server *server)
{
    struct cluster *cluster = server->cluster;
    for (unsigned i = 0; i < cluster->heard_count; i++) {
        enc_free(&cluster->heard[i].disks);
    }
    loop_end(cluster->in_loop);
    loop_end(cluster->out_loop);
    rpc_server_destroy(cluster->port);
    damage_report_destroy(cluster->damage);
    tls_context_destroy(cluster->tls);
    certificate_key_free(cluster->key_pem);
    certificate_key_free(cluster->ca_key_pem);
    mem_free(cluster->certificate_pem);
    mem_free(cluster->ca_pem);
    if (cluster->lock != NULL) {
        server->env->vt->close(server->env, cluster->lock);
    }
    (void)pthread_mutex_destroy(&cluster->guard);
    (void)pthread_mutex_destroy(&cluster->yield_guard);
    mem_free(cluster);
    server->cluster = NULL;
}
