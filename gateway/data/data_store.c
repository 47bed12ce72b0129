#include "gateway/data/data_store.h"

#include "common/base/assert.h"
#include "common/rpc/node_messages.h"

struct data_config data_config_default(void)
{
    return (struct data_config){
        .inline_bytes_max = 8u << 10,
        .copies_bytes_max = 64u << 10,
        .put_bytes_max = 128u << 10,
        .write_window_bytes = 4u << 20,
        .read_window_bytes = 4u << 20,
        .write_budget_bytes = 384u << 20,
        .read_budget_bytes = 256u << 20,
        .call_timeout_ms = 20000,
        .gone_call_ms = 2000,
        .hedge_ms_min = 20,
        .verify_encode = true,
    };
}

void data_store_init(struct data_store *store, struct env *env, const struct data_config *config,
                     struct metadata_client *meta, struct session *session, struct cluster_map *map)
{
    ASSERT(config->inline_bytes_max <= INLINE_BYTES_MAX);
    ASSERT(config->put_bytes_max <= SHARD_PUT_BYTES_MAX);
    ASSERT(config->copies_bytes_max <= CELL_BYTES_MAX);
    store->env = env;
    store->config = *config;
    store->meta = meta;
    store->session = session;
    store->map = map;
    store->repair = NULL;
    store->shard_failed = NULL;
    data_budget_init(&store->write_budget, config->write_budget_bytes);
    data_budget_init(&store->read_budget, config->read_budget_bytes);
    atomic_init(&store->read_latency_ns, 0);
    atomic_init(&store->reads_decoded, 0);
    atomic_init(&store->reads_hedged, 0);
    atomic_init(&store->extents_degraded, 0);
}
