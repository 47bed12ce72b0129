/*
 * cluster_layout - the placement groups of a cluster, planned by common/cluster/layout.h from its map and put into it.
 *
 * Which disk takes new data, keeps what it has, or leaves follows from the states of disk and node in the map, and from
 * whether the node is heard of. Groups are put one by one, each by compare-and-set on its epoch: a crash between two leaves
 * a map that is whole, and the next plan goes on from there.
 * Thread: any that may block; one plan at a time.
 */
#ifndef SERVER_CLUSTER_LAYOUT_H
#define SERVER_CLUSTER_LAYOUT_H

#include "common/cluster/layout.h"
#include "common/rpc/metadata_messages.h"

struct server;

/* The map as a plan's input. Borrows it. */
struct cluster_layout {
    const struct meta_cluster_reply *map;
    struct layout_disk *disks;     /* as map->disks */
    unsigned disk_count;
    struct layout_class classes[8];
    unsigned class_count;
    struct layout_group *groups;   /* the first ones as map->groups; those of no class and no fitting width are left out */
    unsigned group_count;
};

/* Takes the map's groups over; those without a class that are as wide as one get it. The classes are the one of new buckets and
 * those that have groups. cluster_layout_done() in any case. */
void cluster_layout_init(struct cluster_layout *layout, struct server *server, const struct meta_cluster_reply *map);
void cluster_layout_done(struct cluster_layout *layout);
/* Gives that class groups where it has none. LIMIT: the plan holds no more classes, or no more groups. */
MUST_CHECK enum errc cluster_layout_class(struct server *server, const struct meta_cluster_reply *map, struct layout_class class,
                                          struct error *e);
/* enum layout_standing of a disk of the map. */
uint8_t cluster_layout_standing(struct server *server, const struct meta_cluster_reply *map, const struct meta_disk *disk);
/* Plans without changing the map. */
MUST_CHECK enum errc cluster_layout_plan(struct cluster_layout *layout, struct layout_report *ret_report, struct error *e);
/*
 * Plans and puts what changes. `always`: also where every disk that takes data is in a group and none that leaves is a primary
 * (a voter that starts need not plan again). *ret_changed: groups put.
 */
MUST_CHECK enum errc cluster_layout_settle(struct server *server, const struct meta_cluster_reply *map, bool always,
                                           unsigned *ret_changed, struct error *e);

#endif
