/*
 *   SLEEPING -> (ASKING THE NODE) -> TELLING THE VOTERS -> SLEEPING       once a second, on `completions` (cluster_duty.h)
 *
 * Every voter is told, each for itself: one that leads tomorrow must have heard today, and one that does not answer must not
 * keep the others waiting.
 *
 * A storage node says how its disks are, and tells the leader behind that what it has found damaged; a gateway learns in the
 * leader's answer that the map has changed, and all learn where the voters are.
 */
#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/rpc/rpc_schema.h"
#include "server/cluster.h"
#include "server/cluster_duty.h"
#include "server/cluster_voters.h"
#include "server/damage_report.h"

#define BEAT_MS 1000
#define BEAT_TIMEOUT_NS UINT64_C(5000000000)

/* One voter is told. */
struct tale {
    struct cluster_heartbeat *beat;
    struct rpc_channel *channel;   /* NULL: this place is free */
    struct rpc_call call;
    struct enc head;
};

struct cluster_heartbeat {
    struct server *server;
    struct cluster_duty duty;
    struct enc disks, head;
    struct rpc_call call;          /* to the node */
    uint64_t started_ms;
    struct tale tales[CLUSTER_LINKS_MAX];
    unsigned told;                 /* tales without an answer, and the damage that is being told */
    bool stopping;                 /* the last answer wakes `stopped` */
    struct task stop_task;
    struct waiter stopped;
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

static void answer_take(struct server *server, const struct node_heartbeat_reply *reply)
{
    if (reply->leads) {
        cluster_voters_take(server, reply->voters, reply->voter_count);
    } else {
        cluster_voters_add(server, reply->voters, reply->voter_count);
    }
    if (reply->leads && server->map != NULL) {
        health_take(server, reply);
        if (reply->map_revision > cluster_map_revision(server->map)) {
            cluster_map_refresh(server->map, NULL, NULL);
        }
    }
}

static void told_less(void *data)
{
    struct cluster_heartbeat *beat = data;
    beat->told--;
    if (beat->stopping && beat->told == 0) {
        waiter_wake(&beat->stopped, ERRC_OK);
    }
}

static void on_told(struct rpc_call *call)
{
    struct tale *tale = call->data;
    struct cluster_heartbeat *beat = tale->beat;
    struct damage_report *damage = beat->server->cluster->damage;
    struct node_heartbeat_reply *reply = mem_zalloc(sizeof(*reply));
    if (call->status == ERRC_OK && node_heartbeat_reply_decode(enc_slice(&call->reply), reply) == ERRC_OK) {
        answer_take(beat->server, reply);
        if (reply->leads && damage != NULL && !beat->stopping && damage_report_tell(damage, tale->channel, told_less, beat)) {
            beat->told++;
        }
    }
    mem_free(reply);
    rpc_call_release(call);
    tale->channel = NULL;
    told_less(beat);
}

/* A place for the voter behind that channel; NULL: it has not answered the last time yet. */
static struct tale *tale_for(struct cluster_heartbeat *beat, struct rpc_channel *channel)
{
    struct tale *free = NULL;
    for (unsigned i = 0; i < CLUSTER_LINKS_MAX; i++) {
        if (beat->tales[i].channel == channel) {
            return NULL;
        }
        free = beat->tales[i].channel == NULL ? &beat->tales[i] : free;
    }
    return free;
}

static void tell(struct cluster_heartbeat *beat)
{
    struct server *server = beat->server;
    struct metadata_voter voters[CLUSTER_VOTERS_MAX];
    unsigned count = cluster_voters_list(server, voters);
    const struct node_heartbeat message = {
        .address = slice_str(server->cluster->identity.address), .started_ms = beat->started_ms,
        .version = slice_str(CAIRN_VERSION), .disks = enc_slice(&beat->disks),
    };
    for (unsigned i = 0; i < count; i++) {
        struct tale *tale = tale_for(beat, voters[i].channel);
        if (tale == NULL) {
            continue;
        }
        tale->beat = beat;
        tale->channel = voters[i].channel;
        enc_reset(&tale->head);
        node_heartbeat_encode(&tale->head, &message);
        tale->call = (struct rpc_call){ .method = RPC_NODE_HEARTBEAT, .head = enc_slice(&tale->head),
                                        .deadline_ns = env_now_ns(server->env) + BEAT_TIMEOUT_NS,
                                        .reply_to = server->completions, .done = on_told, .data = tale };
        beat->told++;
        rpc_call_start(tale->channel, &tale->call);
    }
    cluster_duty_sleep(&beat->duty, BEAT_MS);
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

static void stop_there(struct task *task)
{
    struct cluster_heartbeat *beat = container_of(task, struct cluster_heartbeat, stop_task);
    beat->stopping = true;
    if (beat->told == 0) {
        waiter_wake(&beat->stopped, ERRC_OK);
    }
}

void cluster_heartbeat_stop(struct server *server)
{
    struct cluster_heartbeat *beat = server->cluster->heartbeat;
    if (beat == NULL) {
        return;
    }
    cluster_duty_stop(&beat->duty);
    waiter_init(&beat->stopped);
    beat->stop_task.run = stop_there;
    executor_post(server->completions, &beat->stop_task);
    (void)waiter_wait(&beat->stopped); /* always OK */
    server->cluster->heartbeat = NULL;
    enc_free(&beat->disks);
    enc_free(&beat->head);
    for (unsigned i = 0; i < CLUSTER_LINKS_MAX; i++) {
        enc_free(&beat->tales[i].head);
    }
    mem_free(beat);
}
