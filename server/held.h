/* held - what stands on some disks, counted from the records: how much must move before they may go. Blocks; on admin_jobs. */
#ifndef SERVER_HELD_H
#define SERVER_HELD_H

#include "common/base/error.h"
#include "common/rpc/metadata_messages.h"

struct server;

struct held {
    const struct meta_cluster_reply *map;
    const struct disk_id *disks;
    unsigned disk_count;
    /* counted */
    uint64_t extents, shards, bytes;
    uint64_t unsafe; /* extents that have fewer than k shards in service without these disks */
    unsigned widest; /* shards of the widest extent that stands there */
};

/* Looks at every extent of the groups that have one of the disks. */
MUST_CHECK enum errc held_count(struct server *server, struct held *held, struct error *e);
/*
 * After held_count(): would what stands on these disks find places without them, and new buckets disks enough? 200; 409 and why: fewer
 * disks would take shards than the widest extent there, or the code of new buckets, has, so that what is drained would wait for
 * ever. Only disks in service, of nodes that take, count. A storage class that nothing there is in hinders nothing.
 */
unsigned places_suffice(struct server *server, const struct held *held, struct error *e);

#endif
