/*
 * The map that the voter makes from what nodes say, and the clients that every process makes from the map.
 *
 * A disk that a known node has and the map does not is put into it; one that the map has at a silent node moves. Groups are
 * planned (cluster_layout.h) when nothing has changed for SETTLE_NS, so that nodes that start together land in the same groups.
 */
#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/io/log.h"
#include "server/cluster.h"
#include "server/cluster_layout.h"
#include "server/cluster_voters.h"
#include "server/cluster_watch.h"
#include "server/server_background.h"

#include <stdio.h>
#include <string.h>

#define SETTLE_NS UINT64_C(3000000000)
#define MAP_ARENA_BYTES (4u << 20)
#define TAKE_OVER_AGAIN_NS UINT64_C(5000000000) /* after a refusal: judging looks at every extent of the disk's groups */
#define REFUSAL_LOG_NS UINT64_C(60000000000)

/* ---- clients ---- */

/* NULL: there is no room for one more. */
static struct cluster_peer *peer_add(struct server *server, const struct meta_node *node)
{
    struct cluster *cluster = server->cluster;
    if (cluster->peer_count == CLUSTER_NODES_MAX) {
        LOG_ERROR(log_event("too_many_nodes"), log_slice("name", node->name));
        return NULL;
    }
    struct cluster_peer *peer = &cluster->peers[cluster->peer_count++];
    *peer = (struct cluster_peer){ .node = node->id };
    (void)snprintf(peer->address, sizeof(peer->address), "%.*s", (int)node->address.len, (const char *)node->address.data);
    const struct rpc_client_config config = {
        .env = server->env, .loop = cluster->out_loop, .tls = cluster->tls, .address = peer->address,
        .cluster = cluster->identity.cluster, .self = cluster->identity.node, .role = ROLE_STORAGE_NODE, .node = node->id,
    };
    peer->client = rpc_client_create(&config);
    return peer;
}

/* The node is reached where the map has it, also if it was there once before. */
static void peer_follow(struct server *server, const struct meta_node *node)
{
    struct cluster *cluster = server->cluster;
    struct cluster_peer *peer = NULL;
    for (unsigned i = 0; i < cluster->peer_count; i++) {
        struct cluster_peer *other = &cluster->peers[i];
        if (node_id_equal(other->node, node->id)) {
            peer = slice_equal_str(node->address, other->address) ? other : peer;
            other->current = false;
        }
    }
    peer = peer != NULL ? peer : peer_add(server, node);
    if (peer != NULL) {
        peer->current = true;
        cluster_map_set_node(server->map, node->id, rpc_client_channel(peer->client));
    }
}

bool cluster_peer_is_at(const struct cluster *cluster, struct node_id node, const char *address)
{
    for (unsigned i = 0; i < cluster->peer_count; i++) {
        if (cluster->peers[i].current && node_id_equal(cluster->peers[i].node, node)) {
            return strcmp(cluster->peers[i].address, address) == 0;
        }
    }
    return false;
}

struct rpc_channel *cluster_node_channel(struct cluster *cluster, struct node_id node)
{
    struct rpc_channel *channel = NULL;
    (void)pthread_mutex_lock(&cluster->guard);
    for (unsigned i = 0; i < cluster->peer_count; i++) {
        if (cluster->peers[i].current && node_id_equal(cluster->peers[i].node, node)) {
            channel = rpc_client_channel(cluster->peers[i].client);
        }
    }
    (void)pthread_mutex_unlock(&cluster->guard);
    return channel;
}

/* all: there are no others. */
static void voters_follow(struct server *server, const struct meta_cluster_reply *map, bool all)
{
    struct cluster_voter voters[CLUSTER_VOTERS_MAX];
    unsigned count = 0;
    for (uint32_t i = 0; i < map->node_count && count < CLUSTER_VOTERS_MAX; i++) {
        if (map->nodes[i].role == ROLE_METADATA && map->nodes[i].state != META_NODE_REMOVED_FOR_EVER) {
            voters[count++] = (struct cluster_voter){ map->nodes[i].id, map->nodes[i].address };
        }
    }
    if (all) {
        cluster_voters_take(server, voters, count);
    } else {
        cluster_voters_add(server, voters, count);
    }
}

void cluster_voters_read(struct server *server)
{
    const struct meta_query query = { .type = META_QRY_CLUSTER };
    struct meta_cluster_reply map;
    struct enc head = ENC_INIT;
    struct enc reply = ENC_INIT;
    struct arena arena;
    arena_init(&arena, MAP_ARENA_BYTES);
    meta_query_encode(&head, &query);
    if (voter_query_own(server->voter, enc_slice(&head), &reply, NULL) == ERRC_OK &&
        meta_cluster_reply_decode(enc_slice(&reply), &arena, &map) == ERRC_OK) {
        voters_follow(server, &map, false); /* just started, it may not know yet who joined: the leader may be that one */
    }
    arena_done(&arena);
    enc_free(&reply);
    enc_free(&head);
}

/* Under the guard. Nobody takes a call of a node that was removed. */
static void removed_bar(struct cluster *cluster, const struct meta_cluster_reply *map)
{
    struct node_id *removed = mem_alloc((map->node_count + 1) * sizeof(*removed));
    unsigned count = 0;
    for (uint32_t i = 0; i < map->node_count; i++) {
        if (map->nodes[i].state == META_NODE_REMOVED_FOR_EVER) {
            removed[count++] = map->nodes[i].id;
        }
    }
    if (cluster->port != NULL && !cluster->port_ended) {
        rpc_server_bar(cluster->port, removed, count);
    }
    mem_free(removed);
}

void cluster_nodes_take(void *data, const struct meta_cluster_reply *map)
{
    struct server *server = data;
    struct cluster *cluster = server->cluster;
    (void)pthread_mutex_lock(&cluster->guard);
    bool newest = map->revision >= cluster->peers_revision;
    cluster->peers_revision = newest ? map->revision : cluster->peers_revision;
    for (uint32_t i = 0; newest && i < map->node_count; i++) {
        if (map->nodes[i].role == ROLE_STORAGE_NODE && map->nodes[i].state != META_NODE_REMOVED_FOR_EVER) {
            peer_follow(server, &map->nodes[i]);
        }
    }
    if (newest) {
        removed_bar(cluster, map);
    }
    (void)pthread_mutex_unlock(&cluster->guard);
    if (newest) {
        voters_follow(server, map, true);
    }
}

/* ---- the voter's map ---- */

static enum errc propose(struct server *server, const struct meta_command *command, const char *what)
{
    struct meta_op op;
    struct error e = ERROR_INIT;
    enum errc rc = wait_propose(&server->meta, server->completions, &op, command, &e);
    if (rc == ERRC_OK && op.result.outcome != META_OK) {
        rc = error_set(&e, ERRC_CONFLICT, "outcome %u", op.result.outcome);
    }
    if (rc != ERRC_OK) {
        LOG_WARN(log_event("topology_not_changed"), log_text("what", what), log_error_of(&e));
    }
    meta_op_release(&op);
    return rc;
}

/* Once a minute: the node says it each second. */
static void refusal_log(struct server *server, const struct meta_node *node, const struct node_disk_status_entry *entry)
{
    struct cluster *cluster = server->cluster;
    uint64_t now_ns = env_now_ns(server->env);
    if (cluster->refused_logged_ns == 0 || now_ns - cluster->refused_logged_ns >= REFUSAL_LOG_NS) {
        cluster->refused_logged_ns = now_ns;
        LOG_ERROR(log_event("disk_refused"), log_slice("node", node->name), log_slice("path", entry->path),
                  log_text("reason", "the disk is another node's, which is not silent"));
    }
}

/* Does any node say that it has the disk? */
static bool disk_heard(struct cluster *cluster, struct disk_id id)
{
    struct node_disk_status_reply *word = mem_zalloc(sizeof(*word));
    bool heard = false;
    (void)pthread_mutex_lock(&cluster->guard);
    for (unsigned i = 0; i < cluster->heard_count && !heard; i++) {
        if (cluster->heard[i].disks.len > 0 && node_disk_status_reply_decode(enc_slice(&cluster->heard[i].disks), word) == ERRC_OK) {
            for (uint32_t d = 0; d < word->count; d++) {
                heard = heard || disk_id_equal(word->entries[d].disk, id);
            }
        }
    }
    (void)pthread_mutex_unlock(&cluster->guard);
    mem_free(word);
    return heard;
}

/* The disk that the node had at this path and that nobody has any more. NULL: none. */
static const struct meta_disk *disk_before(struct server *server, const struct meta_cluster_reply *map, const struct meta_node *node,
                                           struct slice path)
{
    for (uint32_t i = 0; i < map->disk_count; i++) {
        const struct meta_disk *disk = &map->disks[i];
        if (disk->state != META_DISK_REMOVED && node_id_equal(disk->node, node->id) && slice_equal(disk->path, path) &&
            !disk_heard(server->cluster, disk->id)) {
            return disk;
        }
    }
    return NULL;
}

/* Says once a minute why an empty disk is not used yet. */
static bool takes_over(struct server *server, const struct meta_cluster_reply *map, const struct meta_disk *old)
{
    struct cluster *cluster = server->cluster;
    struct error e = ERROR_INIT;
    uint64_t now_ns = env_now_ns(server->env);
    if (now_ns < cluster->take_over_again_ns) {
        return false;
    }
    enum errc rc = cluster_watch_replaceable(server, map, old->id, &e);
    cluster->take_over_again_ns = rc != ERRC_OK ? now_ns + TAKE_OVER_AGAIN_NS : 0;
    if (rc != ERRC_OK && (cluster->taken_over_logged_ns == 0 || now_ns - cluster->taken_over_logged_ns >= REFUSAL_LOG_NS)) {
        cluster->taken_over_logged_ns = now_ns;
        LOG_ERROR(log_event("empty_disk_waits"), log_slice("path", old->path), log_error_of(&e));
    }
    return rc == ERRC_OK;
}

/* A disk in service that the map does not have, or has at a node that is silent: that node joined anew with an empty
 * --data, or its disks were carried elsewhere; or at none that there is: they were a `cairn server`'s (cluster_from.c). Places
 * in groups stay the disk's. */
static bool disk_wanted(struct server *server, const struct meta_cluster_reply *map, const struct meta_disk *known,
                        const struct meta_node *node, const struct node_disk_status_entry *entry)
{
    if (entry->state != DISK_ONLINE && entry->state != DISK_FULL) {
        return false;
    }
    if (known == NULL) {
        return true;
    }
    if (known->state == META_DISK_REMOVED || node_id_equal(known->node, node->id)) {
        return false;
    }
    if (meta_cluster_node(map, known->node) != NULL && !cluster_node_silent(server, known->node)) {
        refusal_log(server, node, entry);
        return false;
    }
    return true;
}

/* An empty disk where another one was takes its places: one a look, since the next one is judged by the map after it. */
static unsigned disks_put(struct server *server, const struct meta_cluster_reply *map, const struct meta_node *node,
                          const struct node_disk_status_reply *disks)
{
    unsigned put = 0;
    for (uint32_t i = 0; i < disks->count; i++) {
        const struct node_disk_status_entry *entry = &disks->entries[i];
        const struct meta_disk *known = meta_cluster_disk(map, entry->disk);
        if (!disk_wanted(server, map, known, node, entry)) {
            continue;
        }
        const struct meta_disk *before = known == NULL ? disk_before(server, map, node, entry->path) : NULL;
        if (before != NULL && (put > 0 || !takes_over(server, map, before))) {
            continue;
        }
        struct meta_command command = {
            .type = META_CMD_DISK_PUT,
            .disk_put.disk = { .id = entry->disk, .node = node->id, .state = known != NULL ? known->state : META_DISK_IN,
                               .bytes = entry->total_bytes, .path = entry->path, .zone = node->zone, .rack = node->rack },
        };
        if (before != NULL) {
            command.disk_put.disk.replaces = before->id;
        }
        if (propose(server, &command, "a disk") == ERRC_OK) {
            LOG_INFO(log_event(before != NULL ? "disk_taken_over" : known != NULL ? "disk_moves" : "disk_joins"),
                     log_slice("node", node->name), log_slice("path", entry->path));
            put++;
            if (before != NULL) {
                return put;
            }
        }
    }
    return put;
}

/* One node's word, copied out of the guard. */
static bool heard_copy(struct cluster *cluster, unsigned index, struct cluster_heard *ret)
{
    (void)pthread_mutex_lock(&cluster->guard);
    bool there = index < cluster->heard_count;
    if (there) {
        *ret = cluster->heard[index];
        ret->disks = (struct enc)ENC_INIT;
        enc_raw(&ret->disks, cluster->heard[index].disks.data, cluster->heard[index].disks.len);
    }
    (void)pthread_mutex_unlock(&cluster->guard);
    return there;
}

/* A node that listens elsewhere now is found there. */
static void address_follow(struct server *server, const struct meta_node *node, const struct cluster_heard *heard)
{
    if (heard->address[0] != '\0' && !slice_equal_str(node->address, heard->address)) {
        struct meta_command command = { .type = META_CMD_NODE_PUT, .node_put.node = *node };
        command.node_put.node.address = slice_str(heard->address);
        (void)propose(server, &command, "a node's address"); /* logged; the next heartbeat tries again */
    }
}

static unsigned nodes_take_in(struct server *server, const struct meta_cluster_reply *map)
{
    struct node_disk_status_reply *disks = mem_zalloc(sizeof(*disks));
    struct cluster_heard heard;
    unsigned put = 0;
    for (unsigned i = 0; put == 0 && heard_copy(server->cluster, i, &heard); i++) {
        const struct meta_node *node = meta_cluster_node(map, heard.node);
        if (node != NULL && heard.role == ROLE_STORAGE_NODE && heard.disks.len > 0 &&
            node_disk_status_reply_decode(enc_slice(&heard.disks), disks) == ERRC_OK) {
            address_follow(server, node, &heard);
            put += disks_put(server, map, node, disks);
        }
        enc_free(&heard.disks);
    }
    mem_free(disks);
    return put;
}

static bool ask_map(struct server *server, struct arena *arena, struct meta_op *op)
{
    struct error e = ERROR_INIT;
    const struct meta_query query = { .type = META_QRY_CLUSTER };
    arena_init(arena, MAP_ARENA_BYTES);
    return wait_query(&server->meta, server->completions, arena, op, &query, &e) == ERRC_OK;
}

/* False: to be tried again. */
static bool groups_settle(struct server *server, const struct meta_cluster_reply *map)
{
    struct cluster *cluster = server->cluster;
    struct error e = ERROR_INIT;
    unsigned changed = 0;
    (void)pthread_mutex_lock(&cluster->guard);
    bool always = cluster->plan_wanted;
    cluster->plan_wanted = false;
    (void)pthread_mutex_unlock(&cluster->guard);
    enum errc rc = cluster_layout_settle(server, map, always, &changed, &e);
    if (rc != ERRC_OK) {
        LOG_WARN(log_event("topology_not_changed"), log_text("what", "groups"), log_error_of(&e));
    }
    return rc == ERRC_OK;
}

/* Is it so long since a disk came that groups can be made? */
static bool settled(struct cluster *cluster, uint64_t now_ns)
{
    (void)pthread_mutex_lock(&cluster->guard);
    bool long_ago = cluster->disks_changed_ns != 0 && now_ns - cluster->disks_changed_ns >= SETTLE_NS;
    (void)pthread_mutex_unlock(&cluster->guard);
    return long_ago;
}

static void disks_changed_set(struct cluster *cluster, uint64_t ns)
{
    (void)pthread_mutex_lock(&cluster->guard);
    cluster->disks_changed_ns = ns;
    cluster->plan_wanted = cluster->plan_wanted || ns != 0;
    (void)pthread_mutex_unlock(&cluster->guard);
}

/* Disks that come, go and are given up, then groups. True: the map has changed, or may have. */
static bool map_follow(struct server *server, const struct meta_cluster_reply *map)
{
    struct cluster *cluster = server->cluster;
    uint64_t now_ns = env_now_ns(server->env);
    (void)pthread_mutex_lock(&cluster->guard);
    cluster->topology_posted = false;
    (void)pthread_mutex_unlock(&cluster->guard);
    bool changed = nodes_take_in(server, map) > 0;
    changed = cluster_watch_disks(server, map, false) > 0 || changed;
    bool grouping = !changed && settled(cluster, now_ns);
    if (changed) {
        disks_changed_set(cluster, now_ns);
    } else if (grouping) {
        disks_changed_set(cluster, groups_settle(server, map) ? 0 : now_ns);
    }
    return changed || grouping;
}

static void topology_run(struct task *task)
{
    struct cluster *cluster = container_of(task, struct cluster, topology_task);
    struct server *server = cluster->server;
    struct arena arena;
    struct meta_op op;
    if (!voter_leads(server->voter)) { /* the leader makes the map */
        cluster->away_count = 0;       /* who is away is watched from its lead on */
        (void)pthread_mutex_lock(&cluster->guard);
        cluster->topology_posted = false;
        (void)pthread_mutex_unlock(&cluster->guard);
        cluster_map_refresh(server->map, NULL, NULL);
        return;
    }
    if (ask_map(server, &arena, &op)) {
        if (map_follow(server, &op.cluster) || op.cluster.revision != cluster_map_revision(server->map)) {
            cluster_map_refresh(server->map, NULL, NULL);
        }
    } else {
        (void)pthread_mutex_lock(&cluster->guard);
        cluster->topology_posted = false;
        (void)pthread_mutex_unlock(&cluster->guard);
    }
    meta_op_release(&op);
    arena_done(&arena);
}

void cluster_topology_changed(struct server *server)
{
    disks_changed_set(server->cluster, env_now_ns(server->env));
    cluster_topology_kick(server);
}

void cluster_health_follow(struct server *server)
{
    struct cluster *cluster = server->cluster;
    struct server_background *background = atomic_load(&server->background);
    uint64_t health = cluster_map_health(server->map);
    (void)pthread_mutex_lock(&cluster->guard);
    bool news = background != NULL && health != cluster->health_seen;
    cluster->health_seen = news ? health : cluster->health_seen;
    (void)pthread_mutex_unlock(&cluster->guard);
    if (news) {
        background_look(background);
    }
}

void cluster_topology_kick(struct server *server)
{
    struct cluster *cluster = server->cluster;
    (void)pthread_mutex_lock(&cluster->guard);
    if (!cluster->topology_posted && !cluster->jobs_ended) {
        cluster->topology_posted = true;
        cluster->topology_task.run = topology_run;
        executor_post(server->admin_jobs, &cluster->topology_task); /* under the guard: they are there still */
    }
    (void)pthread_mutex_unlock(&cluster->guard);
}
