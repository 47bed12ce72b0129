/*
 * fake_node - an in-memory storage node behind an rpc_channel, with faults to order.
 *
 * Checks what a real node checks (checksums on arrival, order of cells, immutability) and counts. One thread.
 */
#ifndef TESTS_LIB_FAKE_NODE_H
#define TESTS_LIB_FAKE_NODE_H

#include "common/base/list.h"
#include "common/rpc/node_messages.h"
#include "common/rpc/rpc.h"

#define FAKE_DISKS 16

struct fake_disk {
    struct disk_id id;
    enum errc fail;            /* every call ends so */
    unsigned fail_after;       /* with `fail`: after so many more calls; 0 at once */
    bool hangs;                /* answers wait for fake_node_release() */
    unsigned limit_next;       /* so many reads answer LIMIT first */
    struct list shards;
    unsigned calls;
};

struct fake_node {
    struct rpc_channel channel; /* first */
    struct executor *executor;
    struct fake_disk disks[FAKE_DISKS];
    struct list hung;           /* calls */
    unsigned puts, opens, commits, reads, frees, aborts;
    uint64_t cells_read;
};

void fake_node_init(struct fake_node *node, struct executor *executor);
void fake_node_done(struct fake_node *node);
struct disk_id fake_disk_id(unsigned disk);
struct fake_disk *fake_node_disk(struct fake_node *node, struct disk_id disk);
void fake_node_release(struct fake_node *node);  /* hung calls are served now */
/* The extent's shards are open ones from now on, as a gateway that died before their commit leaves them. Returns how many. */
unsigned fake_node_reopen(struct fake_node *node, struct extent_id extent);
unsigned fake_node_shards(const struct fake_node *node); /* durable, on all disks */
unsigned fake_node_open_shards(const struct fake_node *node);
/* False: no such durable shard. */
bool fake_node_corrupt(struct fake_node *node, struct extent_id extent, unsigned index, uint64_t at);
bool fake_node_drop(struct fake_node *node, struct extent_id extent, unsigned index);
bool fake_node_has(const struct fake_node *node, struct extent_id extent, unsigned index, struct slice *ret_footer);
/* On how many disks a shard of that name stands. */
unsigned fake_node_copies(const struct fake_node *node, struct extent_id extent, unsigned index);
void fake_node_wipe(struct fake_node *node, unsigned disk);

#endif
