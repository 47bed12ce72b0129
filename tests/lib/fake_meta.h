/*
 * fake_meta - the part of the metadata service that the data path talks to, in memory, with faults to order.
 */
#ifndef TESTS_LIB_FAKE_META_H
#define TESTS_LIB_FAKE_META_H

#include "common/rpc/metadata_messages.h"
#include "common/rpc/rpc.h"

#define FAKE_EXTENTS 64
#define FAKE_GC 64
#define FAKE_SESSIONS 8

struct fake_meta {
    struct rpc_channel channel; /* first */
    struct executor *executor;
    uint64_t index;
    enum errc fail;             /* with fail_next: the status of that many calls */
    unsigned fail_next;
    uint64_t next_session;
    struct meta_session sessions[FAKE_SESSIONS];
    unsigned session_count;
    unsigned disk_count, group_count;
    struct meta_disk disks[64];
    struct meta_group groups[16];
    unsigned map_changes;       /* to be raised with every change of disks and groups */
    struct extent extents[FAKE_EXTENTS];
    unsigned extent_count;
    struct meta_gc_item gc[FAKE_GC];
    unsigned gc_count;
    struct meta_gc_item retired[FAKE_GC]; /* what META_QRY_RETIRED answers from */
    unsigned retired_count;
    unsigned expands_left;      /* steps that an item of kind 2 takes */
    unsigned missing_proposals, repaired, stale;
    struct meta_data_extent more[FAKE_EXTENTS]; /* what META_QRY_EXTENTS answers from */
    unsigned more_count;
    unsigned lose_next_repaired; /* applied, but answered with TIMEOUT */
    uint64_t renew_oldest;
};

void fake_meta_init(struct fake_meta *meta, struct executor *executor);
/* disks fake_disk_id(0..n-1), one group of all of them, id 7. */
void fake_meta_disks(struct fake_meta *meta, unsigned count);
struct extent *fake_meta_extent(struct fake_meta *meta, struct extent_id id);
void fake_meta_add(struct fake_meta *meta, const struct extent *extent);

#endif
