/*
 *   SLEEPING -> (ASKING THE NODE) -> TELLING THE VOTER -> SLEEPING        once a second, on `completions`
 *
 * A storage node says how its disks are; a gateway learns in the answer that the map has changed.
 */
#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/rpc/rpc_schema.h"
#include "server/cluster.h"

#define BEAT_MS 1000
#define BEAT_TIMEOUT_NS UINT64_C(5000000000)

struct cluster_heartbeat {
    struct server *server;
    struct timer timer;
    struct enc disks, head;
    struct rpc_call call;
    uint64_t started_ms;
    bool busy, stopping;
    struct task stop_task;
    struct waiter stopped;
};

static void beat_sleep(struct cluster_heartbeat *beat)
{
    beat->busy = false;
    if (beat->stopping) {
        waiter_wake(&beat->stopped, ERRC_OK);
    } else {
        timer_start(beat->server->completions, &beat->timer, BEAT_MS);
    }
}

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
    beat_sleep(beat);
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

static void beat_run(struct task *task)
{
    struct cluster_heartbeat *beat = container_of(task, struct cluster_heartbeat, timer.task);
    struct server *server = beat->server;
    beat->busy = true;
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

static void start_there(void *data)
{
    struct cluster_heartbeat *beat = data;
    timer_start(beat->server->completions, &beat->timer, 0);
}

void cluster_heartbeat_start(struct server *server)
{
    struct cluster_heartbeat *beat = mem_zalloc(sizeof(*beat));
    beat->server = server;
    beat->started_ms = env_wall_ms(server->env);
    beat->timer.task.run = beat_run;
    server->cluster->heartbeat = beat;
    wait_run(server->completions, start_there, beat);
}

static void stop_there(struct task *task)
{
    struct cluster_heartbeat *beat = container_of(task, struct cluster_heartbeat, stop_task);
    beat->stopping = true;
    timer_stop(beat->server->completions, &beat->timer);
    if (!beat->busy) {
        waiter_wake(&beat->stopped, ERRC_OK);
    }
}

void cluster_heartbeat_stop(struct server *server)
{
    struct cluster_heartbeat *beat = server->cluster->heartbeat;
    if (beat == NULL) {
        return;
    }
    waiter_init(&beat->stopped);
    beat->stop_task.run = stop_there;
    executor_post(server->completions, &beat->stop_task);
    (void)waiter_wait(&beat->stopped); /* always OK */
    server->cluster->heartbeat = NULL;
    enc_free(&beat->disks);
    enc_free(&beat->head);
    mem_free(beat);
}
