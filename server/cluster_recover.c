/*
 * `cairn metadata recover`: the majority of the voters is lost for good, and one that is left goes on alone. Offline.
 *
 * | # | step                                              | a crash behind it leaves                  | and then            |
 * | 1 | the log gets a change of members (voter_recover)  | a sole voter that still looks for others  | again: the same     |
 * | 2 | `identity` names this voter only                  | a sole voter; the map has the others      | again, or `remove`  |
 * | 3 | the other voters are removed in the map           | done                                      |                     |
 */
#include "common/base/mem.h"
#include "metadata/voter.h"
#include "server/cluster.h"
#include "server/wait.h"

#include <stdio.h>
#include <string.h>

#define MAP_ARENA_BYTES (4u << 20)

enum errc cluster_voter_data_take(struct server *server, struct error *e)
{
    struct cluster *cluster = server->cluster;
    const char *data = server->options.data;
    enum errc rc = identity_lock(server->env, data, &cluster->lock, e);
    rc = rc == ERRC_OK ? identity_read(server->env, data, &cluster->identity, e) : rc;
    if (rc == ERRC_OK && cluster->identity.role != ROLE_METADATA) {
        rc = error_set(e, ERRC_INVALID, "'%s' belongs to a %s, not to a voter", data, cluster_role_name(cluster->identity.role));
    }
    server->dirs.cluster = cluster->identity.cluster;
    server->node_id = cluster->identity.node;
    return rc;
}

enum errc cluster_voter_alone(struct server *server, struct error *e)
{
    struct identity *identity = &server->cluster->identity;
    identity->voter_count = 1;
    identity->voters[0].node = identity->node;
    memcpy(identity->voters[0].address, identity->address, sizeof(identity->address));
    return identity_write(server->env, server->options.data, identity, e);
}

static enum errc node_remove(struct server *server, const struct meta_node *node, struct error *e)
{
    struct meta_command command = { .type = META_CMD_NODE_PUT, .node_put.node = *node };
    struct meta_op op;
    command.node_put.node.state = META_NODE_REMOVED_FOR_EVER;
    enum errc rc = wait_propose(&server->meta, server->completions, &op, &command, e);
    meta_op_release(&op);
    return rc;
}

static enum errc others_remove(struct server *server, struct error *e)
{
    const struct meta_query query = { .type = META_QRY_CLUSTER };
    struct arena arena;
    struct meta_op op;
    arena_init(&arena, MAP_ARENA_BYTES);
    enum errc rc = wait_query(&server->meta, server->completions, &arena, &op, &query, e);
    for (uint32_t i = 0; rc == ERRC_OK && i < op.cluster.node_count; i++) {
        const struct meta_node *node = &op.cluster.nodes[i];
        if (node->role == ROLE_METADATA && node->state != META_NODE_REMOVED_FOR_EVER &&
            !node_id_equal(node->id, server->node_id)) {
            (void)printf("Removed from the cluster: %.*s\n", (int)node->name.len, (const char *)node->name.data);
            rc = node_remove(server, node, e);
        }
    }
    meta_op_release(&op);
    arena_done(&arena);
    return rc;
}

enum errc cluster_step_recover(struct server *server, struct error *e)
{
    bool commit = server->options.accepts_data_loss;
    struct voter_recovery found;
    enum errc rc = cluster_voter_data_take(server, e);
    rc = rc == ERRC_OK ? cluster_voter_recover(server, commit, &found, e) : rc;
    if (rc == ERRC_OK) {
        (void)printf("The log of '%s' goes to term %llu, index %llu.\n", server->options.data, (unsigned long long)found.term,
                     (unsigned long long)found.last_index);
    }
    if (rc == ERRC_OK && !commit) {
        return error_set(e, ERRC_INVALID, "nothing was changed: if no voter that is left has a greater term or index, and the "
                         "majority is lost for good, say --i-accept-data-loss");
    }
    rc = rc == ERRC_OK ? cluster_voter_alone(server, e) : rc;
    rc = rc == ERRC_OK ? cluster_voter_open(server, false, e) : rc;
    return rc == ERRC_OK ? others_remove(server, e) : rc;
}

void cluster_recover_print(const struct server *server)
{
    const struct identity *identity = &server->cluster->identity;
    (void)printf("Voter '%s' goes on alone. Delete the data of the voters that were lost; they must never run again.\n"
                 "Start it:  cairn metadata --data %s --listen %s\n"
                 "Then let other voters join: 'cairn token create --role metadata', 'cairn metadata promote'.\n",
                 identity->name, server->options.data, identity->address);
}
