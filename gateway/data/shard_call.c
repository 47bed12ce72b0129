#include "gateway/data/shard_call.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/rpc/rpc_schema.h"

struct shard_call *shard_call_new(struct data_store *store, struct executor *executor, uint16_t method,
                                  const struct cluster_map_shard *where, unsigned shard, void *owner,
                                  void (*done)(struct shard_call *call))
{
    struct shard_call *call = mem_zalloc(sizeof(*call));
    list_init(&call->node);
    call->store = store;
    call->disk = where->disk;
    call->shard = shard;
    call->owner = owner;
    call->done = done;
    call->call.method = method;
    call->call.reply_to = executor;
    call->started_ns = env_now_ns(store->env);
    call->call.deadline_ns = call->started_ns + store->config.call_timeout_ms * UINT64_C(1000000);
    return call;
}

void shard_call_payload(struct shard_call *call, struct buffer *buffer)
{
    ASSERT(call->call.payload_count < RPC_PAYLOADS_MAX);
    call->call.payloads[call->call.payload_count++] = buffer_ref(buffer);
}

static void payloads_drop(struct shard_call *call)
{
    for (unsigned i = 0; i < call->call.payload_count; i++) {
        buffer_unref(call->call.payloads[i]);
    }
    call->call.payload_count = 0;
}

void shard_call_free(struct shard_call *call)
{
    list_remove(&call->node);
    payloads_drop(call);
    rpc_call_release(&call->call);
    enc_free(&call->head);
    mem_free(call);
}

static void call_on_done(struct rpc_call *rpc)
{
    struct shard_call *call = rpc->data;
    call->status = rpc->status;
    payloads_drop(call);
    list_remove(&call->node);
    if (call->status != ERRC_OK) {
        cluster_map_disk_failed(call->store->map, call->disk, call->status);
        if (call->store->shard_failed != NULL) {
            call->store->shard_failed(call->store->shard_failed_data, call->disk, rpc);
        }
    }
    if (call->owner == NULL) {
        shard_call_free(call);
    } else {
        call->done(call);
    }
}

void shard_call_start(struct shard_call *call, struct rpc_channel *channel)
{
    call->call.head = enc_slice(&call->head);
    call->call.done = call_on_done;
    call->call.data = call;
    if (channel == NULL) {
        rpc_call_finish(&call->call, ERRC_UNAVAILABLE);
    } else {
        rpc_call_start(channel, &call->call);
    }
}

void shard_call_detach(struct shard_call *call)
{
    list_remove(&call->node);
    call->owner = NULL;
}

void shard_call_free_shards(struct data_store *store, struct executor *executor, struct extent_id extent,
                            uint32_t shards, const struct cluster_map_shard where[CODE_SHARDS_MAX])
{
    for (unsigned i = 0; i < CODE_SHARDS_MAX; i++) {
        if ((shards >> i & 1) == 0) {
            continue;
        }
        uint8_t name[ID_BYTES + 1];
        memcpy(name, extent.bytes, ID_BYTES);
        name[ID_BYTES] = (uint8_t)i;
        struct node_shard_free message = { .disk = where[i].disk, .count = 1, .names = slice_of(name, sizeof(name)) };
        struct shard_call *call = shard_call_new(store, executor, RPC_NODE_SHARD_FREE, &where[i], i, NULL, NULL);
        node_shard_free_encode(&call->head, &message);
        shard_call_start(call, where[i].channel);
    }
}
