/*
 *   SLEEPING -> (ASKING THE NODE) -> TELLING THE VOTER -> SLEEPING        once a second, on `completions` (cluster_duty.h)
 *
 * A storage node says how its disks are; a gateway learns in the answer that the map has changed.
 */
#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/rpc/rpc_schema.h"
#include "server/cluster.h"
#include "server/cluster_duty.h"

#define BEAT_MS 1000
#define BEAT_TIMEOUT_NS UINT64_C(5000000000)

struct cluster_heartbeat {
    struct server *server;
    struct cluster_duty duty;
    struct enc disks, head;
    struct rpc_call call;
    uint64_t started_ms;
};

static void health_take(struct server *server, const struct node_heartbeat_reply *reply)
{
    struct cluster_map_disk *disks = mem_zalloc(NODE_DISKS_MAX * sizeof(*disks));
    unsigned count = cluster_map_disks(server->map, disks, NODE_DISKS_MAX);
    for (unsigned i = 0; i < count && i < NODE_DISKS_MAX; i++) {
        bool away = false;
        for (uint32_t a = 0; a < reply->away_count; a++) {
            away = away || disk_id_equal(reply->away[a], disks[i].id);
        }
        cluster_map_disk_state(server->map, disks[i].id, away ? DISK_ABSENT : DISK_ONLINE, 0, 0);
    }
    mem_free(disks);
}

static void on_told(struct rpc_call *call)
{
    struct cluster_heartbeat *beat = call->data;
    struct server *server = beat->server;
    struct node_heartbeat_reply *reply = mem_zalloc(sizeof(*reply));
    if (call->status == ERRC_OK && server->map != NULL &&
        node_heartbeat_reply_decode(enc_slice(&call->reply), reply) == ERRC_OK) {
        health_take(server, reply);
        if (reply->map_revision > cluster_map_revision(server->map)) {
            cluster_map_refresh(server->map, NULL, NULL);
        }
    }
    mem_free(reply);
    rpc_call_release(call);
    cluster_duty_sleep(&beat->duty, BEAT_MS);
}

static void tell(struct cluster_heartbeat *beat)
{
    struct server *server = beat->server;
    const struct node_heartbeat message = {
        .address = slice_str(server->cluster->identity.address), .started_ms = beat->started_ms,
        .version = slice_str(CAIRN_VERSION), .disks = enc_slice(&beat->disks),
    };
    enc_reset(&beat->head);
    node_heartbeat_encode(&beat->head, &message);
    beat->call = (struct rpc_call){ .method = RPC_NODE_HEARTBEAT, .head = enc_slice(&beat->head),
                                    .deadline_ns = env_now_ns(server->env) + BEAT_TIMEOUT_NS,
                                    .reply_to = server->completions, .done = on_told, .data = beat };
    rpc_call_start(rpc_client_channel(server->cluster->voter), &beat->call);
}

static void on_disks(struct rpc_call *call)
{
    struct cluster_heartbeat *beat = call->data;
    enc_reset(&beat->disks);
    if (call->status == ERRC_OK) {
        enc_raw(&beat->disks, call->reply.data, call->reply.len);
    }
    rpc_call_release(call);
    tell(beat);
}

static void beat_work(struct cluster_duty *duty)
{
    struct cluster_heartbeat *beat = container_of(duty, struct cluster_heartbeat, duty);
    struct server *server = beat->server;
    if (server->node == NULL) {
        tell(beat);
        return;
    }
    const struct node_disk_status all = { 0 };
    enc_reset(&beat->head);
    node_disk_status_encode(&beat->head, &all);
    beat->call = (struct rpc_call){ .method = RPC_NODE_DISK_STATUS, .head = enc_slice(&beat->head),
                                    .reply_to = server->completions, .done = on_disks, .data = beat };
    rpc_call_start(node_channel(server->node), &beat->call);
}

void cluster_heartbeat_start(struct server *server)
{
    struct cluster_heartbeat *beat = mem_zalloc(sizeof(*beat));
    beat->server = server;
    beat->started_ms = env_wall_ms(server->env);
    cluster_duty_init(&beat->duty, server->completions, beat_work);
    server->cluster->heartbeat = beat;
    cluster_duty_begin(&beat->duty);
}

void cluster_heartbeat_stop(struct server *server)
{
    struct cluster_heartbeat *beat = server->cluster->heartbeat;
    if (beat == NULL) {
        return;
    }
    cluster_duty_stop(&beat->duty);
    server->cluster->heartbeat = NULL;
    enc_free(&beat->disks);
    enc_free(&beat->head);
    mem_free(beat);
}
