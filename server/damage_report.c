#include "server/damage_report.h"

#include "common/base/env.h"
#include "common/base/mem.h"
#include "common/rpc/cluster_messages.h"
#include "common/rpc/rpc_schema.h"

#include <pthread.h>
#include <string.h>

#define TELL_NS UINT64_C(5000000000)

struct damage_report {
    struct env *env;
    struct executor *completions;
    pthread_mutex_t lock;          /* of what follows */
    struct node_damaged shards[DAMAGE_MAX];
    unsigned count;
    /* on completions */
    bool telling;
    unsigned told;                 /* the first ones of `shards`, under way */
    struct enc head;
    struct rpc_call call;
    void (*done)(void *data);
    void *done_data;
};

struct damage_report *damage_report_create(struct env *env, struct executor *completions)
{
    struct damage_report *report = mem_zalloc(sizeof(*report));
    report->env = env;
    report->completions = completions;
    (void)pthread_mutex_init(&report->lock, NULL);
    return report;
}

static bool is_same(const struct node_damaged *a, const struct node_damaged *b)
{
    return a->index == b->index && extent_id_equal(a->extent, b->extent) && disk_id_equal(a->disk, b->disk);
}

void damage_report_add(struct damage_report *report, struct disk_id disk, struct extent_id extent, uint8_t index)
{
    const struct node_damaged found = { disk, extent, index };
    (void)pthread_mutex_lock(&report->lock);
    bool known = false;
    for (unsigned i = 0; i < report->count && !known; i++) {
        known = is_same(&report->shards[i], &found);
    }
    if (!known && report->count < DAMAGE_MAX) {
        report->shards[report->count++] = found;
    }
    (void)pthread_mutex_unlock(&report->lock);
}

/* An answer other than OK: no leader, or an older program. They wait for the next heartbeat that a leader answers. */
static void on_told(struct rpc_call *call)
{
    struct damage_report *report = call->data;
    (void)pthread_mutex_lock(&report->lock);
    if (call->status == ERRC_OK) {
        report->count -= report->told;
        memmove(report->shards, report->shards + report->told, report->count * sizeof(report->shards[0]));
    }
    (void)pthread_mutex_unlock(&report->lock);
    rpc_call_release(call);
    report->telling = false;
    report->done(report->done_data);
}

bool damage_report_tell(struct damage_report *report, struct rpc_channel *channel, void (*done)(void *data), void *data)
{
    if (report->telling) {
        return false;
    }
    struct node_damage *message = mem_zalloc(sizeof(*message));
    (void)pthread_mutex_lock(&report->lock);
    message->count = report->count < NODE_DAMAGE_MAX ? report->count : NODE_DAMAGE_MAX;
    memcpy(message->shards, report->shards, message->count * sizeof(message->shards[0]));
    (void)pthread_mutex_unlock(&report->lock);
    report->told = message->count;
    report->telling = message->count > 0;
    if (report->telling) {
        enc_reset(&report->head);
        node_damage_encode(&report->head, message);
        report->done = done;
        report->done_data = data;
        report->call = (struct rpc_call){ .method = RPC_NODE_DAMAGE, .head = enc_slice(&report->head),
                                          .deadline_ns = env_now_ns(report->env) + TELL_NS, .reply_to = report->completions,
                                          .done = on_told, .data = report };
        rpc_call_start(channel, &report->call);
    }
    mem_free(message);
    return report->told > 0;
}

void damage_report_destroy(struct damage_report *report)
{
    if (report != NULL) {
        enc_free(&report->head);
        (void)pthread_mutex_destroy(&report->lock);
        mem_free(report);
    }
}
