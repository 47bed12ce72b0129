/*
 * data_store - what the readers and writers of one process share: clients, limits, the memory budget.
 *
 * Filled in by the program that composes the roles; nothing here is global.
 * Thread: fields are fixed before the first stream; the budget is safe from any thread.
 */
#ifndef GATEWAY_DATA_DATA_STORE_H
#define GATEWAY_DATA_DATA_STORE_H

#include "gateway/data/cluster_map.h"
#include "gateway/data/data_budget.h"
#include "gateway/data/metadata_client.h"
#include "gateway/data/session.h"

struct data_config {
    uint32_t inline_bytes_max;    /* objects up to here ride in the metadata record; at most INLINE_BYTES_MAX */
    uint32_t copies_bytes_max;    /* objects up to here are 1+m whole copies */
    uint32_t put_bytes_max;       /* shards up to here go by one SHARD_PUT; at most SHARD_PUT_BYTES_MAX */
    uint32_t write_window_bytes;  /* data of one upload not yet taken by the nodes */
    uint32_t read_window_bytes;   /* read ahead of one download */
    uint64_t write_budget_bytes;  /* buffers of all uploads together */
    uint64_t read_budget_bytes;   /* of all downloads: apart, or copies (which are both) could wait for one another */
    uint32_t call_timeout_ms;     /* of one call to a node */
    uint32_t gone_call_ms;        /* of one call of a write, once its disk is gone (cluster_map_disk_gone) */
    uint32_t hedge_ms_min;        /* parity is asked for no earlier than this after a slow shard */
    bool verify_encode;           /* decode a random k-subset after each encode and compare (erasure/README.md) */
};

/* Sensible values for every field (docs/CONFIGURATION.md). */
struct data_config data_config_default(void);

/* A shard was found lost (NOT_FOUND on a disk in service) or corrupt while reading; called on the reader's executor. */
struct data_repair_hook {
    void (*suspect)(struct data_repair_hook *hook, const struct extent *extent, unsigned shard, enum errc why);
};

struct data_store {
    struct env *env;
    struct data_config config;
    struct metadata_client *meta;
    struct session *session;
    struct cluster_map *map;
    struct data_budget write_budget, read_budget;
    struct data_repair_hook *repair; /* may be NULL */
    /* A call to a disk has failed, for the log; on the caller's executor. May be NULL. */
    void (*shard_failed)(void *data, struct disk_id disk, const struct rpc_call *call);
    void *shard_failed_data;
    _Atomic uint64_t read_latency_ns; /* moving average of shard reads: the hedge delay grows from it */
    _Atomic uint64_t reads_decoded;   /* stripes that needed parity: metrics */
    _Atomic uint64_t reads_hedged;
    _Atomic uint64_t extents_degraded; /* written with a shard missing or in a smaller code */
};

void data_store_init(struct data_store *store, struct env *env, const struct data_config *config,
                     struct metadata_client *meta, struct session *session, struct cluster_map *map);

#endif
