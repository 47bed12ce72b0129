/*
 * layout_parts - what layout.c and layout_balance.c share; nobody else includes it.
 */
#ifndef COMMON_CLUSTER_LAYOUT_PARTS_H
#define COMMON_CLUSTER_LAYOUT_PARTS_H

#include "common/cluster/layout.h"

#define SHARE_EPSILON 1e-6

/* A group being planned: its primaries as disks, in no order. */
struct plan_group {
    struct layout_group *group;
    bool is_new;
    uint8_t count;
    uint16_t disks[CODE_SHARDS_MAX];
    struct spread_taken taken;
};

/* The plan of one class. */
struct plan {
    const struct layout_disk *disks;
    unsigned disk_count;
    struct spread_place places[LAYOUT_DISKS_MAX];
    unsigned width, m;
    struct spread_caps caps;      /* of all disks that stay */
    struct spread_caps caps_now;  /* of those that take data: where a disk that keeps its places leaves no other way */
    double share[LAYOUT_DISKS_MAX]; /* primaries that a disk should have */
    unsigned have[LAYOUT_DISKS_MAX];
    uint64_t mean_bytes;          /* that a primary of the groups holds */
    unsigned group_count;
    struct plan_group *groups;
};

bool plan_has(const struct plan_group *group, unsigned disk);
void plan_add(struct plan *plan, struct plan_group *group, unsigned disk);
void plan_drop(struct plan *plan, struct plan_group *group, unsigned disk);

/* layout_balance.c */
void plan_shares(struct plan *plan, unsigned taken_groups); /* fills share */
/* A share in whole primaries. */
unsigned plan_share_floor(const struct plan *plan, unsigned disk);
unsigned plan_share_ceil(const struct plan *plan, unsigned disk);
void plan_balance(struct plan *plan);

#endif
