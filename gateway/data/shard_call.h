/*
 * shard_call - one call to a storage node about one shard, with memory of its own.
 *
 * A stream may end while its calls are under way: shard_call_detach() leaves the call to itself; it keeps its
 * buffers until the node answers, then frees itself. So a hung disk holds up nobody but its own calls.
 * Failures that say something about the disk are told to the cluster map, every failure to the store's shard_failed.
 * Thread: everything on the executor given.
 */
#ifndef GATEWAY_DATA_SHARD_CALL_H
#define GATEWAY_DATA_SHARD_CALL_H

#include "common/base/list.h"
#include "common/rpc/node_messages.h"
#include "common/rpc/rpc.h"
#include "gateway/data/cluster_map.h"
#include "gateway/data/data_store.h"

struct shard_call {
    struct list node;                          /* the owner's */
    struct rpc_call call;
    struct enc head;
    struct data_store *store;
    struct disk_id disk;
    uint64_t started_ns;
    unsigned shard;                            /* index */
    uint32_t first_cell, cell_count;           /* of reads and writes */
    enum errc status;                          /* of the answer */
    void *owner;                               /* NULL: detached */
    void (*done)(struct shard_call *call);     /* on the owner; the call must then be freed by shard_call_free() */
};

/* Made but not started: the owner fills payloads (shard_call_payload), encodes into head, starts. */
struct shard_call *shard_call_new(struct data_store *store, struct executor *executor, uint16_t method,
                                  const struct cluster_map_shard *where, unsigned shard, void *owner,
                                  void (*done)(struct shard_call *call));
void shard_call_payload(struct shard_call *call, struct buffer *buffer); /* takes a reference of its own */
/* head is encoded. A shard without a channel ends with UNAVAILABLE (later, like every end). */
void shard_call_start(struct shard_call *call, struct rpc_channel *channel);
/* Takes it off the owner's list; done will not run. Only while under way. */
void shard_call_detach(struct shard_call *call);
void shard_call_free(struct shard_call *call);

/* Frees shards in the background: one SHARD_FREE to each disk, once; nobody waits for it. names: shard i of the extent. */
void shard_call_free_shards(struct data_store *store, struct executor *executor, struct extent_id extent,
                            uint32_t shards, const struct cluster_map_shard where[CODE_SHARDS_MAX]);

#endif
