/*
 * free_round - frees shards of many extents with one call to each disk, and tells afterwards of which all are gone.
 *
 *   free_round_begin -> free_round_add ... -> free_round_run -> done: free_round_freed of each item
 *
 * Thread: its executor (serial). Memory: the owner's; no call is under way after done.
 */
#ifndef GATEWAY_DATA_FREE_ROUND_H
#define GATEWAY_DATA_FREE_ROUND_H

#include "gateway/data/data_store.h"

#define FREE_ROUND_DISKS 64 /* in one round; the bits of free_item.disks */

struct free_disk {
    struct cluster_map_shard where;
    struct enc names;
    uint32_t count;
    bool failed;
};

struct free_round {
    struct data_store *store;
    struct executor *executor;
    struct free_disk disks[FREE_ROUND_DISKS];
    unsigned disk_count;
    unsigned pending;
    void (*done)(void *data);
    void *data;
};

struct free_item {
    uint64_t disks;         /* that must have answered OK */
    bool unknown;           /* its group is not known here: a newer map is asked for */
};

void free_round_begin(struct free_round *round, struct data_store *store, struct executor *executor);
/* Adds the shards of these bits. False: no room in this round; what was added of it is freed all the same. */
bool free_round_add(struct free_round *round, const struct extent *extent, uint32_t shards, struct free_item *ret_item);
/* done on the executor, inside this call where there is nobody to call. */
void free_round_run(struct free_round *round, void (*done)(void *data), void *data);
bool free_round_freed(const struct free_round *round, const struct free_item *item);

#endif
