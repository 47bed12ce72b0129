/*
 * cluster_watch - what a voter makes of disks that are gone: given up after a wait, taken over by an empty one.
 *
 * A disk that is out of service for --repair-wait (10 minutes), and whose node is not in maintenance, becomes OUT: what it
 * holds is rebuilt elsewhere. It is IN again as soon as it is back. Where half of the storage nodes or more are silent,
 * that is no loss of disks but of power or network, and nothing is given up without the operator's word.
 * Thread: admin_jobs.
 */
#ifndef SERVER_CLUSTER_WATCH_H
#define SERVER_CLUSTER_WATCH_H

#include "common/base/error.h"
#include "common/rpc/metadata_messages.h"

struct server;

/* A disk that does not serve, as the watch sees it. */
struct cluster_watch_view {
    bool away;
    bool given_up;                 /* OUT: rebuilt elsewhere */
    bool maintenance;              /* of its node: it is waited for */
    uint64_t away_s;
    uint64_t left_s;               /* until it is given up, unless many are silent; 0 also where it is not going to be */
};
struct cluster_watch_view cluster_watch_see(struct server *server, const struct meta_cluster_reply *map,
                                            const struct meta_disk *disk);
/* Half of the storage nodes or more are silent: nothing is given up by itself. */
bool cluster_watch_many_silent(struct server *server, const struct meta_cluster_reply *map);
/* Looks at every disk of the map; `at_once`: without wait and whatever is silent. Returns how many changed their state. */
unsigned cluster_watch_disks(struct server *server, const struct meta_cluster_reply *map, bool at_once);
/*
 * May an empty disk take the places of this one, whose contents are so given up? CONFLICT: a stripe would be left with fewer
 * shards in service than it needs, so the old contents may still be needed.
 */
MUST_CHECK enum errc cluster_watch_replaceable(struct server *server, const struct meta_cluster_reply *map, struct disk_id old,
                                               struct error *e);
/* Puts the disk into the map in another state (enum meta_disk_state). */
MUST_CHECK enum errc cluster_disk_state_put(struct server *server, const struct meta_disk *disk, uint8_t state, struct error *e);

#endif
