/*
 * What a voter does for the other processes: lets them join, renews their certificates, hears their heartbeats.
 *
 * Calls come on the port's loop and must not block there: a join goes on when its command has been decided, on
 * `completions`. Heartbeats live in memory: who is silent is asked for nothing, and nothing is decided from silence.
 */
#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/io/certificate.h"
#include "common/io/log.h"
#include "common/rpc/rpc_schema.h"
#include "server/admin_forward.h"
#include "server/cluster.h"
#include "server/server_background.h"

#include <stdio.h>
#include <string.h>

#define MAP_ARENA_BYTES (4u << 20) /* a limit: a group of the map alone is 1 KiB */

/* ---- joining ---- */

struct join {
    struct server *server;
    struct rpc_call *call;
    struct cluster_join message; /* borrows call->head */
    struct meta_op op;
};

static enum errc certificate_make(struct server *server, const struct certificate_identity *identity, struct slice csr,
                                  char **ret_certificate, struct error *e)
{
    struct cluster *cluster = server->cluster;
    char *request = mem_strndup((const char *)csr.data, csr.len);
    enum errc rc = certificate_issue(cluster->ca_pem, cluster->ca_key_pem, request, identity, ret_certificate, e);
    mem_free(request);
    return rc;
}

/* Under the guard; borrows the texts. */
static void voters_fill(const struct cluster *cluster, struct cluster_voter *voters, uint32_t *ret_count)
{
    for (unsigned i = 0; i < cluster->identity.voter_count; i++) {
        voters[i].node = cluster->identity.voters[i].node;
        voters[i].address = slice_str(cluster->identity.voters[i].address);
    }
    *ret_count = cluster->identity.voter_count;
}

static void reply_fill(struct server *server, const char *certificate, uint8_t role, bool joins, struct enc *ret_reply)
{
    struct cluster *cluster = server->cluster;
    char credentials[TEXT_FILE_BYTES_MAX];
    struct cluster_join_reply reply = { .cluster = cluster->identity.cluster, .certificate = slice_str(certificate),
                                        .ca = slice_str(cluster->ca_pem) };
    if (joins && role == ROLE_METADATA) {
        reply.ca_key = slice_str(cluster->ca_key_pem);
    }
    if (joins && (role == ROLE_METADATA || role == ROLE_GATEWAY)) {
        reply.credentials = slice_of(credentials, credentials_print(&server->credentials, credentials));
    }
    (void)pthread_mutex_lock(&cluster->guard);
    voters_fill(cluster, reply.voters, &reply.voter_count);
    cluster_join_reply_encode(ret_reply, &reply);
    (void)pthread_mutex_unlock(&cluster->guard);
    mem_wipe(credentials, sizeof(credentials));
}

static const char *refusal_text(uint8_t outcome)
{
    switch ((enum meta_outcome)outcome) {
    case META_TOKEN_UNKNOWN:
        return "the token is unknown to this cluster";
    case META_TOKEN_EXPIRED:
        return "the token has expired";
    case META_TOKEN_USED:
        return "the token was used by another process";
    case META_TOKEN_ROLE:
        return "the token is for another role";
    case META_NODE_TAKEN:
        return "another process has this node id";
    case META_NODE_REMOVED:
        return "this node was removed from the cluster: join with an empty --data";
    default:
        return "the metadata service refused it";
    }
}

static void join_end(struct join *join, enum errc status)
{
    struct rpc_call *call = join->call;
    if (status != ERRC_OK) {
        LOG_WARN(log_event("join_refused"), log_text("peer", call->peer != NULL ? call->peer->address : ""),
                 log_error_of(&call->error));
    }
    meta_op_release(&join->op);
    mem_free(join);
    rpc_call_finish(call, status);
}

static void join_decided(struct meta_op *op)
{
    struct join *join = op->data;
    struct rpc_call *call = join->call;
    struct server *server = join->server;
    const struct certificate_identity identity = cluster_certificate_identity(server, join->message.node, join->message.role);
    char *certificate = NULL;
    if (op->status != ERRC_OK) {
        join_end(join, error_set(&call->error, op->status, "%s",
                                 op->error.code != ERRC_OK ? op->error.text : errc_text(op->status)));
        return;
    }
    if (op->result.outcome != META_OK) {
        join_end(join, error_set(&call->error, ERRC_DENIED, "%s", refusal_text(op->result.outcome)));
        return;
    }
    enum errc rc = certificate_make(server, &identity, join->message.csr, &certificate, &call->error);
    if (rc == ERRC_OK) {
        LOG_INFO(log_event("node_joined"), log_slice("name", join->message.name),
                 log_text("role", cluster_role_name(join->message.role)), log_slice("address", join->message.address));
        reply_fill(server, certificate, join->message.role, true, &call->reply);
    }
    mem_free(certificate);
    join_end(join, rc);
}

/* The id is made from the key (cluster_identity.c): nobody takes another's. */
static enum errc join_check(const struct join *join, uint8_t ret_key_hash[SHA256_BYTES], struct error *e)
{
    const struct cluster_join *message = &join->message;
    char *request = mem_strndup((const char *)message->csr.data, message->csr.len);
    enum errc rc = certificate_request_key_hash(request, ret_key_hash, e);
    mem_free(request);
    if (rc != ERRC_OK) {
        return rc;
    }
    if (memcmp(message->node.bytes, ret_key_hash, ID_BYTES) != 0) {
        return error_set(e, ERRC_DENIED, "the node id is not that of the key");
    }
    if (message->role != ROLE_STORAGE_NODE && message->role != ROLE_GATEWAY && message->role != ROLE_METADATA) {
        return error_set(e, ERRC_DENIED, "no process joins in this role");
    }
    return ERRC_OK;
}

static void on_join(struct server *server, struct rpc_call *call)
{
    struct join *join = mem_zalloc(sizeof(*join));
    struct meta_command command = { .type = META_CMD_TOKEN_USE };
    struct meta_token_use *use = &command.token_use;
    join->server = server;
    join->call = call;
    if (cluster_join_decode(call->head, &join->message) != ERRC_OK) {
        join_end(join, error_set(&call->error, ERRC_CORRUPT, "the request to join makes no sense"));
        return;
    }
    enum errc rc = join_check(join, use->node.key_hash, &call->error);
    if (rc != ERRC_OK) {
        join_end(join, rc);
        return;
    }
    memcpy(use->id, join->message.token_id.data, sizeof(use->id));
    sha256_once(join->message.token_secret.data, join->message.token_secret.len, use->secret_hash);
    use->now_ms = env_wall_ms(server->env);
    use->node.id = join->message.node;
    use->node.role = join->message.role;
    use->node.state = META_NODE_IN;
    use->node.address = join->message.address;
    use->node.name = join->message.name;
    use->node.zone = join->message.zone;
    use->node.rack = join->message.rack;
    meta_op_init(&join->op, server->completions, NULL, join_decided, join);
    meta_propose(&server->meta, &join->op, &command);
}

/* ---- renewal ---- */

struct renewal {
    struct server *server;
    struct rpc_call *call;
    char *request;
    uint8_t key_hash[SHA256_BYTES];
    struct arena arena;
    struct meta_op op;
};

static void renewal_end(struct renewal *renewal, enum errc status)
{
    struct rpc_call *call = renewal->call;
    if (status != ERRC_OK) {
        LOG_WARN(log_event("renewal_refused"), log_text("peer", call->peer != NULL ? call->peer->address : ""),
                 log_error_of(&call->error));
    }
    meta_op_release(&renewal->op);
    arena_done(&renewal->arena);
    mem_free(renewal->request);
    mem_free(renewal);
    rpc_call_finish(call, status);
}

/* For the same key (the node id is made from it), and to nodes that the map has and that were not removed. */
static void renewal_mapped(struct meta_op *op)
{
    struct renewal *renewal = op->data;
    struct server *server = renewal->server;
    struct rpc_call *call = renewal->call;
    const struct certificate_identity identity = cluster_certificate_identity(server, call->peer->node, call->peer->role);
    char *certificate = NULL;
    enum errc rc = op->status;
    if (rc != ERRC_OK) {
        (void)error_set(&call->error, rc, "%s", op->error.code != ERRC_OK ? op->error.text : errc_text(rc));
    }
    rc = rc == ERRC_OK ? cluster_renew_allowed(&op->cluster, identity.node, identity.role, renewal->key_hash, &call->error) : rc;
    rc = rc == ERRC_OK ? certificate_make(server, &identity, slice_str(renewal->request), &certificate, &call->error) : rc;
    if (rc == ERRC_OK) {
        reply_fill(server, certificate, identity.role, false, &call->reply);
    }
    mem_free(certificate);
    renewal_end(renewal, rc);
}

static void on_renew(struct server *server, struct rpc_call *call)
{
    const struct meta_query query = { .type = META_QRY_CLUSTER };
    struct cluster_renew message;
    struct renewal *renewal = mem_zalloc(sizeof(*renewal));
    renewal->server = server;
    renewal->call = call;
    arena_init(&renewal->arena, MAP_ARENA_BYTES);
    if (call->peer == NULL || cluster_renew_decode(call->head, &message) != ERRC_OK) {
        renewal_end(renewal, error_set(&call->error, ERRC_CORRUPT, "the request to renew makes no sense"));
        return;
    }
    renewal->request = mem_strndup((const char *)message.csr.data, message.csr.len);
    enum errc rc = certificate_request_key_hash(renewal->request, renewal->key_hash, &call->error);
    if (rc != ERRC_OK) {
        renewal_end(renewal, rc);
        return;
    }
    meta_op_init(&renewal->op, server->completions, &renewal->arena, renewal_mapped, renewal);
    meta_query(&server->meta, &renewal->op, &query);
}

/* ---- heartbeats ---- */

static struct cluster_heard *heard_get(struct cluster *cluster, struct node_id node)
{
    for (unsigned i = 0; i < cluster->heard_count; i++) {
        if (node_id_equal(cluster->heard[i].node, node)) {
            return &cluster->heard[i];
        }
    }
    if (cluster->heard_count == CLUSTER_NODES_MAX) {
        return NULL;
    }
    struct cluster_heard *heard = &cluster->heard[cluster->heard_count++];
    *heard = (struct cluster_heard){ .node = node };
    return heard;
}

static void text_take(char *target, size_t capacity, struct slice text)
{
    (void)snprintf(target, capacity, "%.*s", (int)text.len, (const char *)text.data);
}

/* The voter's own copy of the map's disks; mem_free() it. */
static struct cluster_map_disk *disks_copy(struct server *server, unsigned *ret_count)
{
    struct cluster_map_disk *disks = mem_zalloc(NODE_DISKS_MAX * sizeof(*disks));
    unsigned count = cluster_map_disks(server->map, disks, NODE_DISKS_MAX);
    *ret_count = count < NODE_DISKS_MAX ? count : NODE_DISKS_MAX;
    return disks;
}

static const struct node_disk_status_entry *entry_find(const struct node_disk_status_reply *word, struct disk_id disk)
{
    for (uint32_t i = 0; i < word->count; i++) {
        if (disk_id_equal(word->entries[i].disk, disk)) {
            return &word->entries[i];
        }
    }
    return NULL;
}

static bool in_service(uint8_t state)
{
    return state == DISK_ONLINE || state == DISK_FULL;
}

/* What the node says of its disks, for placement and repair; a disk of its own that it does not name is away. A disk that is
 * another node's by the map stays that one's until the map says otherwise. */
static void disks_note(struct server *server, struct node_id node, const struct cluster_map_disk *disks, unsigned count,
                       const struct node_disk_status_reply *word)
{
    for (unsigned i = 0; i < count; i++) {
        const struct node_disk_status_entry *entry = entry_find(word, disks[i].id);
        if (disks[i].in_map && node_id_equal(disks[i].node, node)) {
            cluster_map_disk_state(server->map, disks[i].id, entry != NULL ? entry->state : DISK_ABSENT,
                                   entry != NULL ? entry->total_bytes : 0, entry != NULL ? entry->free_bytes : 0);
        }
    }
}

/* Has the node a disk in service that the map does not have, or has elsewhere? */
static bool disks_are_news(struct node_id node, const struct cluster_map_disk *disks, unsigned count,
                           const struct node_disk_status_reply *word)
{
    for (uint32_t i = 0; i < word->count; i++) {
        unsigned at = 0;
        while (at < count && !disk_id_equal(disks[at].id, word->entries[i].disk)) {
            at++;
        }
        bool mapped = at < count && disks[at].in_map;
        bool settled = mapped && (disks[at].map_state == META_DISK_REMOVED ||
                                  (disks[at].map_state != META_DISK_OUT && node_id_equal(disks[at].node, node)));
        if (in_service(word->entries[i].state) && !settled) {
            return true;
        }
    }
    return false;
}

/* A storage node's word, under the guard. True: the map wants to be looked at. */
static bool word_take(struct server *server, struct node_id node, const struct node_heartbeat *message)
{
    struct cluster *cluster = server->cluster;
    struct node_disk_status_reply *word = mem_zalloc(sizeof(*word));
    char address[CLUSTER_ADDRESS_BYTES_MAX + 1];
    unsigned count;
    struct cluster_map_disk *disks = disks_copy(server, &count);
    text_take(address, sizeof(address), message->address);
    if (message->disks.len > 0 && node_disk_status_reply_decode(message->disks, word) != ERRC_OK) {
        word->count = 0;
    }
    disks_note(server, node, disks, count, word);
    bool news = disks_are_news(node, disks, count, word) || !cluster_peer_is_at(cluster, node, address) ||
                cluster->disks_changed_ns != 0;
    mem_free(disks);
    mem_free(word);
    return news;
}

/* Under the guard. A voter that was stopped, or cut off from the nodes, has heard nothing and must not say so when it leads:
 * nodes have their time from where it began to. */
static void lead_note(struct server *server)
{
    struct cluster *cluster = server->cluster;
    bool leads = voter_leads(server->voter);
    if (leads && !cluster->led) {
        cluster->started_ns = env_now_ns(server->env);
    }
    cluster->led = leads;
}

/* Under the guard. */
static bool node_silent(const struct cluster *cluster, struct node_id node, uint64_t now_ns)
{
    uint64_t since_ns = cluster->started_ns;
    for (unsigned i = 0; i < cluster->heard_count; i++) {
        if (node_id_equal(cluster->heard[i].node, node) && cluster->heard[i].at_ns > since_ns) {
            since_ns = cluster->heard[i].at_ns;
        }
    }
    return since_ns != 0 && now_ns - since_ns >= CLUSTER_SILENT_NS;
}

bool cluster_node_silent(struct server *server, struct node_id node)
{
    struct cluster *cluster = server->cluster;
    (void)pthread_mutex_lock(&cluster->guard);
    lead_note(server);
    bool silent = node_silent(cluster, node, env_now_ns(server->env));
    (void)pthread_mutex_unlock(&cluster->guard);
    return silent;
}

/* Under the guard, so that a heartbeat that comes meanwhile is not undone. Only by the leader, as nobody asks another. */
static void silence_judge(struct server *server)
{
    unsigned count;
    struct cluster_map_disk *disks = disks_copy(server, &count);
    lead_note(server);
    uint64_t now_ns = env_now_ns(server->env); /* not before where it began to lead */
    for (unsigned i = 0; i < count; i++) {
        bool there = !disks[i].in_map || disks[i].state == DISK_ABSENT || !node_silent(server->cluster, disks[i].node, now_ns);
        if (server->cluster->led && !there) {
            cluster_map_disk_state(server->map, disks[i].id, DISK_ABSENT, 0, 0);
        }
    }
    mem_free(disks);
}

void cluster_silence_judge(struct server *server)
{
    (void)pthread_mutex_lock(&server->cluster->guard);
    silence_judge(server);
    (void)pthread_mutex_unlock(&server->cluster->guard);
}

/* So that a gateway need not find out for itself, by calls that fail. */
static void away_fill(struct server *server, struct node_heartbeat_reply *reply)
{
    unsigned count;
    struct cluster_map_disk *disks = disks_copy(server, &count);
    for (unsigned i = 0; i < count && reply->away_count < CLUSTER_AWAY_MAX; i++) {
        if (disks[i].map_state != META_DISK_REMOVED && !in_service(disks[i].state)) {
            reply->away[reply->away_count++] = disks[i].id;
        }
    }
    mem_free(disks);
}

/* Notes what a process says. LIMIT: there is no room for one more. */
static enum errc heartbeat_take(struct server *server, const struct rpc_peer *peer, const struct node_heartbeat *message,
                                bool *ret_kick)
{
    struct cluster *cluster = server->cluster;
    (void)pthread_mutex_lock(&cluster->guard);
    struct cluster_heard *heard = heard_get(cluster, peer->node);
    if (heard != NULL) {
        heard->role = peer->role;
        heard->at_ns = env_now_ns(server->env);
        text_take(heard->address, sizeof(heard->address), message->address);
        text_take(heard->version, sizeof(heard->version), message->version);
        enc_reset(&heard->disks);
        enc_raw(&heard->disks, message->disks.data, message->disks.len);
        *ret_kick = peer->role == ROLE_STORAGE_NODE && word_take(server, peer->node, message);
        silence_judge(server);
    }
    (void)pthread_mutex_unlock(&cluster->guard);
    return heard != NULL ? ERRC_OK : ERRC_LIMIT;
}

static enum errc beat(struct server *server, struct rpc_call *call)
{
    struct node_heartbeat message;
    bool kick = false;
    if (call->peer == NULL || node_heartbeat_decode(call->head, &message) != ERRC_OK) {
        return error_set(&call->error, ERRC_CORRUPT, "the heartbeat makes no sense");
    }
    if (heartbeat_take(server, call->peer, &message, &kick) != ERRC_OK) {
        return error_set(&call->error, ERRC_LIMIT, "more than %d processes", CLUSTER_NODES_MAX);
    }
    if (kick) {
        cluster_topology_kick(server);
    }
    cluster_health_follow(server);
    struct node_heartbeat_reply *reply = mem_zalloc(sizeof(*reply));
    reply->map_revision = cluster_map_revision(server->map);
    reply->leads = voter_leads(server->voter);
    if (call->peer->role == ROLE_GATEWAY && reply->leads) {
        away_fill(server, reply);
    }
    (void)pthread_mutex_lock(&server->cluster->guard);
    voters_fill(server->cluster, reply->voters, &reply->voter_count);
    node_heartbeat_reply_encode(&call->reply, reply);
    (void)pthread_mutex_unlock(&server->cluster->guard);
    mem_free(reply);
    return ERRC_OK;
}

/* Each is looked at once more before it is rebuilt. */
static enum errc damage_take(struct server *server, struct rpc_call *call)
{
    struct node_damage *message = mem_zalloc(sizeof(*message));
    struct server_background *background = atomic_load(&server->background);
    enum errc rc = node_damage_decode(call->head, message);
    if (rc != ERRC_OK) {
        (void)error_set(&call->error, rc, "the report of damage makes no sense");
    } else if (background == NULL || !voter_leads(server->voter)) {
        rc = error_set(&call->error, ERRC_UNAVAILABLE, "this voter does not lead");
    }
    for (uint32_t i = 0; rc == ERRC_OK && i < message->count; i++) {
        background_shard_corrupt(background, message->shards[i].disk, message->shards[i].extent, message->shards[i].index);
    }
    mem_free(message);
    return rc;
}

static void on_call(struct rpc_channel *channel, struct rpc_call *call)
{
    struct cluster *cluster = container_of(channel, struct cluster, service);
    struct server *server = cluster->server;
    if (!atomic_load(&cluster->serves)) {
        rpc_call_finish(call, error_set(&call->error, ERRC_UNAVAILABLE, "this voter starts"));
        return;
    }
    switch (call->method) {
    case RPC_CLUSTER_JOIN:
        on_join(server, call);
        return;
    case RPC_CLUSTER_RENEW:
        on_renew(server, call);
        return;
    case RPC_NODE_HEARTBEAT:
        rpc_call_finish(call, beat(server, call));
        return;
    case RPC_NODE_DAMAGE:
        rpc_call_finish(call, damage_take(server, call));
        return;
    case RPC_ADMIN_REQUEST:
        admin_forwarded(server, call);
        return;
    default:
        rpc_call_finish(call, error_set(&call->error, ERRC_UNSUPPORTED, "method %u", call->method));
    }
}

void cluster_service_init(struct server *server)
{
    static const struct rpc_channel_vt vt = { on_call };
    struct cluster *cluster = server->cluster;
    cluster->service.vt = &vt;
    (void)pthread_mutex_lock(&cluster->guard);
    cluster->started_ns = env_now_ns(server->env);
    cluster->disks_changed_ns = cluster->started_ns; /* an earlier run may have ended before groups were made */
    (void)pthread_mutex_unlock(&cluster->guard);
}

void cluster_disks(struct server *server, struct node_disk_status_reply *ret_reply, struct enc *ret_text)
{
    struct cluster *cluster = server->cluster;
    uint64_t now_ns = env_now_ns(server->env);
    struct node_disk_status_reply *one = mem_zalloc(sizeof(*one));
    size_t starts[CLUSTER_NODES_MAX];
    unsigned count = 0;
    ret_reply->count = 0;
    (void)pthread_mutex_lock(&cluster->guard);
    for (unsigned i = 0; i < cluster->heard_count; i++) {
        const struct cluster_heard *heard = &cluster->heard[i];
        if (heard->disks.len > 0 && now_ns - heard->at_ns < CLUSTER_SILENT_NS) {
            starts[count++] = ret_text->len;
            enc_raw(ret_text, heard->disks.data, heard->disks.len);
        }
    }
    (void)pthread_mutex_unlock(&cluster->guard);
    for (unsigned i = 0; i < count; i++) {
        size_t end = i + 1 < count ? starts[i + 1] : ret_text->len;
        if (node_disk_status_reply_decode(slice_of(ret_text->data + starts[i], end - starts[i]), one) != ERRC_OK) {
            continue;
        }
        for (uint32_t d = 0; d < one->count && ret_reply->count < NODE_DISKS_MAX; d++) {
            ret_reply->entries[ret_reply->count++] = one->entries[d];
        }
    }
    mem_free(one);
}

uint64_t cluster_heard_age(struct server *server, struct node_id node, char ret_version[IDENTITY_TEXT_BYTES])
{
    struct cluster *cluster = server->cluster;
    uint64_t age = UINT64_MAX;
    ret_version[0] = '\0';
    (void)pthread_mutex_lock(&cluster->guard);
    for (unsigned i = 0; i < cluster->heard_count; i++) {
        if (node_id_equal(cluster->heard[i].node, node)) {
            age = env_now_ns(server->env) - cluster->heard[i].at_ns;
            memcpy(ret_version, cluster->heard[i].version, IDENTITY_TEXT_BYTES);
        }
    }
    (void)pthread_mutex_unlock(&cluster->guard);
    return age;
}
