#include "gateway/data/metadata_client.h"

#include "common/base/assert.h"
#include "common/base/list.h"
#include "common/rpc/rpc_schema.h"
#include "gateway/data/metadata_failover.h"

#include <string.h>

#define KIND_COMMAND 0
#define KIND_RENEW 0xff

void metadata_client_init(struct metadata_client *client, struct rpc_channel *channel, struct env *env,
                          uint64_t timeout_ms)
{
    client->channel = channel;
    client->failover = NULL;
    client->env = env;
    client->timeout_ms = timeout_ms;
    atomic_init(&client->index_seen, 0);
}

void metadata_client_voters(struct metadata_client *client, const struct metadata_voter *voters, unsigned count,
                            void (*on_unknown)(void *data, const struct meta_leader *leader), void *data)
{
    if (client->failover == NULL) {
        client->failover = failover_create(client->env);
    }
    failover_voters(client->failover, voters, count, on_unknown, data);
}

void metadata_client_hurry(struct metadata_client *client, uint64_t end_ns)
{
    if (client->failover != NULL) {
        failover_hurry(client->failover, end_ns);
    }
}

void metadata_client_done(struct metadata_client *client)
{
    failover_destroy(client->failover);
    client->failover = NULL;
}

void meta_op_init(struct meta_op *op, struct executor *executor, struct arena *arena,
                  void (*done)(struct meta_op *op), void *data)
{
    memset(op, 0, sizeof(*op));
    op->executor = executor;
    op->arena = arena;
    op->done = done;
    op->data = data;
}

/* Answers arrive on many threads and out of order: only ever up. */
static void index_saw(struct metadata_client *client, uint64_t index)
{
    uint64_t seen = atomic_load_explicit(&client->index_seen, memory_order_relaxed);
    while (index > seen && !atomic_compare_exchange_weak(&client->index_seen, &seen, index)) {
    }
}

static enum errc renew_decode(struct meta_op *op, struct slice reply)
{
    struct dec dec = dec_of(reply);
    op->session_horizon = dec_u64(&dec);
    uint64_t applied = dec_u64(&dec);
    if (!dec_done(&dec)) {
        return ERRC_CORRUPT;
    }
    index_saw(op->client, applied);
    return ERRC_OK;
}

static enum errc query_decode(struct meta_op *op, struct slice r)
{
    switch ((enum meta_query_type)op->kind) {
    case META_QRY_BUCKET:
    case META_QRY_BUCKETS:       return meta_buckets_reply_decode(r, op->arena, &op->buckets);
    case META_QRY_OBJECT:
    case META_QRY_EXTENTS:       return meta_object_reply_decode(r, op->arena, &op->object);
    case META_QRY_LIST:
    case META_QRY_LIST_VERSIONS: return meta_list_reply_decode(r, op->arena, &op->list);
    case META_QRY_LIST_UPLOADS:
    case META_QRY_UPLOAD:        return meta_uploads_reply_decode(r, op->arena, &op->uploads);
    case META_QRY_LIST_PARTS:    return meta_parts_reply_decode(r, op->arena, &op->parts);
    case META_QRY_EXTENT:        return meta_extent_reply_decode(r, op->arena, &op->extent);
    case META_QRY_EXTENTS_EXIST: return meta_exist_reply_decode(r, op->arena, &op->exist);
    case META_QRY_RETIRED:
    case META_QRY_GC:            return meta_gc_reply_decode(r, op->arena, &op->gc);
    case META_QRY_GROUP_EXTENTS:
    case META_QRY_EXTENT_ROWS:
    case META_QRY_REPAIR:        return meta_repair_reply_decode(r, op->arena, &op->repair);
    case META_QRY_SESSIONS:      return meta_sessions_reply_decode(r, op->arena, &op->sessions);
    case META_QRY_CLUSTER:       return meta_cluster_reply_decode(r, op->arena, &op->cluster);
    case META_QRY_IDENTITIES:    return meta_identities_reply_decode(r, op->arena, &op->identities);
    case META_QRY_SETTING:       return meta_setting_reply_decode(r, op->arena, &op->setting);
    case META_QRY_TOKENS:        return meta_tokens_reply_decode(r, op->arena, &op->tokens);
    case META_QRY_STATUS:        return meta_status_decode(r, op->arena, &op->service_status);
    }
    return ERRC_INVALID;
}

static enum errc answer_decode(struct meta_op *op)
{
    struct slice reply = enc_slice(&op->call.reply);
    if (op->kind == KIND_RENEW) {
        return renew_decode(op, reply);
    }
    if (op->kind != KIND_COMMAND) {
        enum errc rc = query_decode(op, reply);
        if (rc == ERRC_OK && (op->kind == META_QRY_OBJECT || op->kind == META_QRY_EXTENTS)) {
            index_saw(op->client, op->object.index);
        } else if (rc == ERRC_OK && op->kind == META_QRY_STATUS) {
            index_saw(op->client, op->service_status.index);
        }
        return rc;
    }
    enum errc rc = meta_result_decode(reply, op->arena, &op->result);
    if (rc == ERRC_OK) {
        index_saw(op->client, op->result.index);
    }
    return rc;
}

static void op_on_reply(struct rpc_call *call)
{
    struct meta_op *op = call->data;
    if (op->client->failover != NULL && failover_again(op->client->failover, op)) {
        return;
    }
    op->status = call->status;
    op->error = call->error;
    if (op->status == ERRC_OK) {
        op->status = answer_decode(op);
        if (op->status != ERRC_OK) {
            (void)error_set(&op->error, op->status, "answer of the metadata service to %s",
                            rpc_method_name(call->method));
        }
    }
    op->done(op);
}

static void op_start(struct metadata_client *client, struct meta_op *op, uint16_t method)
{
    ASSERT(op->done != NULL);
    ASSERT(op->executor != NULL);
    op->client = client;
    memset(&op->call, 0, sizeof(op->call));
    error_clear(&op->error);
    op->call.method = method;
    op->call.head = enc_slice(&op->head);
    op->call.deadline_ns = op->deadline_ns;
    if (op->deadline_ns == 0 && client->timeout_ms > 0) {
        op->call.deadline_ns = env_now_ns(client->env) + client->timeout_ms * UINT64_C(1000000);
    }
    op->call.reply_to = op->executor;
    op->call.done = op_on_reply;
    op->call.data = op;
    if (client->failover != NULL) {
        failover_begin(client->failover, op);
    } else {
        rpc_call_start(client->channel, &op->call);
    }
}

static void refused(struct task *task)
{
    struct meta_op *op = container_of(container_of(task, struct timer, task), struct meta_op, pause);
    op->done(op);
}

/* Too many commands are under way: told later, as every other end. */
static void op_refuse(struct metadata_client *client, struct meta_op *op)
{
    op->client = client;
    error_clear(&op->error);
    op->status = error_set(&op->error, ERRC_LIMIT, "too many metadata commands are under way");
    op->pause.task.run = refused;
    executor_post(op->executor, &op->pause.task);
}

void meta_propose(struct metadata_client *client, struct meta_op *op, const struct meta_command *command)
{
    enc_reset(&op->head);
    op->kind = KIND_COMMAND;
    if (client->failover != NULL) {
        struct meta_command named = *command;
        if (failover_name(client->failover, op, &named.request) != ERRC_OK) {
            op_refuse(client, op);
            return;
        }
        meta_command_encode(&op->head, &named);
    } else {
        meta_command_encode(&op->head, command);
    }
    op_start(client, op, RPC_META_PROPOSE);
}

void meta_query(struct metadata_client *client, struct meta_op *op, const struct meta_query *query)
{
    enc_reset(&op->head);
    meta_query_encode(&op->head, query);
    op->kind = query->type;
    op_start(client, op, RPC_META_QUERY);
}

void meta_session_renew(struct metadata_client *client, struct meta_op *op, uint64_t session, uint64_t oldest)
{
    enc_reset(&op->head);
    enc_u64(&op->head, session);
    enc_u64(&op->head, oldest);
    op->kind = KIND_RENEW;
    op_start(client, op, RPC_META_SESSION_RENEW);
}

void meta_op_release(struct meta_op *op)
{
    rpc_call_release(&op->call);
    enc_free(&op->head);
}
