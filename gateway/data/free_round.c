#include "gateway/data/free_round.h"

#include "common/rpc/rpc_schema.h"
#include "gateway/data/shard_call.h"

void free_round_begin(struct free_round *round, struct data_store *store, struct executor *executor)
{
    round->store = store;
    round->executor = executor;
    round->disk_count = 0;
    round->pending = 0;
}

static int disk_for(struct free_round *round, const struct cluster_map_shard *where)
{
    for (unsigned d = 0; d < round->disk_count; d++) {
        if (disk_id_equal(round->disks[d].where.disk, where->disk)) {
            return round->disks[d].count < NODE_FREE_MAX ? (int)d : -1;
        }
    }
    if (round->disk_count == FREE_ROUND_DISKS) {
        return -1;
    }
    round->disks[round->disk_count] = (struct free_disk){ .where = *where };
    return (int)round->disk_count++;
}

bool free_round_add(struct free_round *round, const struct extent *extent, uint32_t shards, struct free_item *ret_item)
{
    struct cluster_map_shard where[CODE_SHARDS_MAX];
    *ret_item = (struct free_item){ .disks = 0 };
    if (cluster_map_locate(round->store->map, extent, where) != ERRC_OK) {
        cluster_map_refresh(round->store->map, NULL, NULL);
        ret_item->unknown = true;
        return true;
    }
    for (unsigned i = 0; i < (unsigned)extent->code.k + extent->code.m; i++) {
        if ((shards >> i & 1) == 0 || where[i].removed) {
            continue;
        }
        int at = disk_for(round, &where[i]);
        if (at < 0) {
            return false;
        }
        enc_raw(&round->disks[at].names, extent->id.bytes, ID_BYTES);
        enc_u8(&round->disks[at].names, (uint8_t)i);
        round->disks[at].count++;
        ret_item->disks |= UINT64_C(1) << (unsigned)at;
    }
    return true;
}

static void round_end(struct free_round *round)
{
    for (unsigned d = 0; d < round->disk_count; d++) {
        enc_free(&round->disks[d].names);
    }
    round->done(round->data);
}

static void disk_done(struct shard_call *call)
{
    struct free_round *round = call->owner;
    if (call->status != ERRC_OK && call->status != ERRC_NOT_FOUND) {
        round->disks[call->first_cell].failed = true;
    }
    round->pending--;
    shard_call_free(call);
    if (round->pending == 0) {
        round_end(round);
    }
}

void free_round_run(struct free_round *round, void (*done)(void *data), void *data)
{
    round->done = done;
    round->data = data;
    for (unsigned d = 0; d < round->disk_count; d++) {
        struct free_disk *disk = &round->disks[d];
        struct node_shard_free message = { disk->where.disk, disk->count, enc_slice(&disk->names) };
        struct shard_call *call = shard_call_new(round->store, round->executor, RPC_NODE_SHARD_FREE, &disk->where, 0, round,
                                                 disk_done);
        call->first_cell = d; /* which disk */
        node_shard_free_encode(&call->head, &message);
        round->pending++;
        shard_call_start(call, disk->where.channel);
    }
    if (round->disk_count == 0) {
        round_end(round);
    }
}

bool free_round_freed(const struct free_round *round, const struct free_item *item)
{
    bool freed = !item->unknown;
    for (unsigned d = 0; d < round->disk_count; d++) {
        freed &= !((item->disks >> d & 1) != 0 && round->disks[d].failed);
    }
    return freed;
}
