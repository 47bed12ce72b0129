/*
 *   SLEEPING -> ASKING THE NODE -> ASKING METADATA -> ASKING FOR THE UPKEEP -> SLEEPING       (a stop waits for the question under way)
 */
#include "server/server_poll.h"

#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/rpc/rpc_schema.h"
#include "server/cluster.h"
#include "server/dir_change.h"
#include "server/server.h"

#define POLL_MS 3000
#define UPKEEP_ARENA_BYTES 4096

struct server_poll {
    struct server *server;
    struct executor *executor;
    struct timer timer;
    struct enc head;
    struct rpc_call call;
    struct meta_op op;
    struct arena arena;            /* of the upkeep's answer */
    void (*on_upkeep)(void *data, struct upkeep upkeep);
    void *on_upkeep_data;
    bool asking;
    bool stopping;
    void (*stop_done)(void *data);
    void *stop_data;
    pthread_mutex_t lock;          /* of view */
    struct server_poll_view view;
};

static void poll_free(struct server_poll *poll)
{
    void (*done)(void *data) = poll->stop_done;
    void *data = poll->stop_data;
    timer_stop(poll->executor, &poll->timer);
    enc_free(&poll->head);
    (void)pthread_mutex_destroy(&poll->lock);
    mem_free(poll);
    done(data);
}

static void poll_sleep(struct server_poll *poll)
{
    poll->asking = false;
    if (poll->stopping) {
        poll_free(poll);
    } else {
        timer_start(poll->executor, &poll->timer, POLL_MS);
    }
}

static void on_upkeep(struct meta_op *op)
{
    struct server_poll *poll = op->data;
    if (op->status == ERRC_OK && !poll->stopping) {
        poll->on_upkeep(poll->on_upkeep_data, upkeep_of(&op->setting));
    }
    meta_op_release(op);
    arena_done(&poll->arena);
    poll_sleep(poll);
}

static void on_meta(struct meta_op *op)
{
    struct server_poll *poll = op->data;
    bool answered = op->status == ERRC_OK;
    if (answered) {
        (void)pthread_mutex_lock(&poll->lock);
        poll->view.has_meta = true;
        poll->view.meta = op->service_status;
        (void)pthread_mutex_unlock(&poll->lock);
    }
    meta_op_release(op);
    if (poll->stopping || !answered) { /* a second question would wait as long as the first */
        poll_sleep(poll);
        return;
    }
    const struct meta_query query = upkeep_query();
    arena_init(&poll->arena, UPKEEP_ARENA_BYTES);
    meta_op_init(&poll->op, poll->executor, &poll->arena, on_upkeep, poll);
    meta_query(&poll->server->meta, &poll->op, &query);
}

/* The state is asked again: it may have changed since the node wrote its answer, and then the map was told. */
static void disks_take(struct server_poll *poll, const struct node_disk_status_reply *reply)
{
    struct server *server = poll->server;
    (void)pthread_mutex_lock(&poll->lock);
    poll->view.disk_count = reply->count;
    for (uint32_t i = 0; i < reply->count; i++) {
        struct node_disk_status_entry *entry = &poll->view.disks[i];
        *entry = reply->entries[i];
        entry->path = SLICE_EMPTY;
        entry->reason = SLICE_EMPTY;
        cluster_map_disk_state(server->map, entry->disk, (uint8_t)node_disk_state(server->node, entry->disk),
                               entry->total_bytes, entry->free_bytes);
    }
    (void)pthread_mutex_unlock(&poll->lock);
}

static void meta_ask(struct server_poll *poll)
{
    const struct meta_query query = { .type = META_QRY_STATUS };
    meta_op_init(&poll->op, poll->executor, NULL, on_meta, poll);
    meta_query(&poll->server->meta, &poll->op, &query);
}

static void on_node(struct rpc_call *call)
{
    struct server_poll *poll = call->data;
    server_dirs_look(poll->server);
    struct node_disk_status_reply *reply = mem_zalloc(sizeof(*reply));
    if (call->status == ERRC_OK && node_disk_status_reply_decode(enc_slice(&call->reply), reply) == ERRC_OK) {
        disks_take(poll, reply);
    }
    mem_free(reply);
    rpc_call_release(call);
    if (poll->stopping) {
        poll_sleep(poll);
        return;
    }
    meta_ask(poll);
}

/* A voter has no node: its view is what nodes said in their heartbeats. */
static void poll_heard(struct server_poll *poll)
{
    struct node_disk_status_reply *reply = mem_zalloc(sizeof(*reply));
    struct enc text = ENC_INIT;
    cluster_voters_read(poll->server);
    cluster_map_refresh(poll->server->map, NULL, NULL); /* another voter may have changed it */
    cluster_silence_judge(poll->server);
    cluster_health_follow(poll->server);
    cluster_topology_kick(poll->server); /* disks that are away too long are noticed by nobody's word */
    cluster_disks(poll->server, reply, &text);
    (void)pthread_mutex_lock(&poll->lock);
    poll->view.disk_count = reply->count;
    for (uint32_t i = 0; i < reply->count; i++) {
        poll->view.disks[i] = reply->entries[i];
        poll->view.disks[i].path = SLICE_EMPTY;
        poll->view.disks[i].reason = SLICE_EMPTY;
    }
    (void)pthread_mutex_unlock(&poll->lock);
    mem_free(reply);
    enc_free(&text);
}

static void poll_ask(struct task *task)
{
    struct server_poll *poll = container_of(task, struct server_poll, timer.task);
    poll->asking = true;
    if (poll->server->node == NULL) {
        poll_heard(poll);
        meta_ask(poll);
        return;
    }
    poll->call = (struct rpc_call){ .method = RPC_NODE_DISK_STATUS, .head = enc_slice(&poll->head),
                                    .reply_to = poll->executor, .done = on_node, .data = poll };
    rpc_call_start(node_channel(poll->server->node), &poll->call);
}

struct server_poll *server_poll_start(struct server *server, void (*on_upkeep_told)(void *data, struct upkeep upkeep), void *data)
{
    struct server_poll *poll = mem_zalloc(sizeof(*poll));
    const struct node_disk_status all = { 0 };
    poll->server = server;
    poll->on_upkeep = on_upkeep_told;
    poll->on_upkeep_data = data;
    poll->executor = server->completions;
    poll->timer.task.run = poll_ask;
    (void)pthread_mutex_init(&poll->lock, NULL);
    poll->head = (struct enc)ENC_INIT;
    node_disk_status_encode(&poll->head, &all);
    poll_ask(&poll->timer.task);
    return poll;
}

void server_poll_copy(struct server_poll *poll, struct server_poll_view *ret_view)
{
    if (poll == NULL) {
        *ret_view = (struct server_poll_view){ .has_meta = false };
        return;
    }
    (void)pthread_mutex_lock(&poll->lock);
    *ret_view = poll->view;
    (void)pthread_mutex_unlock(&poll->lock);
}

void server_poll_stop(struct server_poll *poll, void (*done)(void *data), void *data)
{
    poll->stop_done = done;
    poll->stop_data = data;
    poll->stopping = true;
    if (!poll->asking) {
        poll_free(poll);
    }
}
