/*
 * layout - which disks the placement groups are made of, planned from a list of disks.
 *
 * A group of class k+m has k+m primary positions, where its extents are written while all is well, and spares, which
 * take over where primaries cannot be written. All extents of a group so stand on one set of disks as a rule: the sets
 * are few (copysets: losing several disks at once is unlikely to hit all of one), but every disk is in several, so that many
 * disks help to rebuild it. Rules:
 *   - primaries of a group keep the caps of spread.h that all disks which take data allow: never more than m in one
 *     failure domain where that can be, one for each domain where there are enough;
 *   - a disk is primary in as many groups as its share of all bytes asks for, as far as the caps let it;
 *   - a plan begins with the groups as they are and changes as few primaries as it can: first those of disks that leave and
 *     those that break a cap, then as many as disks with too few lack;
 *   - spares first give a group domains that it has not, then more disks of the ones it has; they hold nothing yet, so
 *     adding them moves nothing.
 * Positions are never given to another disk while extents may stand in them: a disk that becomes primary gets a new
 * position, and the old one stays, as a spare or as one that is being emptied, until the caller says that it is empty.
 * Groups without a class (of `cairn server`) are left as they are.
 *
 * Pure functions, but they allocate: no clock, no randomness; equal input, equal plan.
 */
#ifndef COMMON_CLUSTER_LAYOUT_H
#define COMMON_CLUSTER_LAYOUT_H

#include "common/base/error.h"
#include "common/base/extent.h"
#include "common/cluster/placement.h"
#include "common/cluster/spread.h"

#define LAYOUT_DISKS_MAX 512
#define LAYOUT_GROUPS_MAX 256         /* of all classes */
#define LAYOUT_CLASS_GROUPS_MAX 96    /* of one class */

enum layout_standing {
    LAYOUT_TAKES = 1, /* IN: holds data and takes more */
    LAYOUT_KEEPS,     /* maintenance, or not heard of: keeps its places, takes no new ones */
    LAYOUT_LEAVES,    /* draining or removed: its places go to others */
};

struct layout_disk {
    struct disk_id id;
    struct node_id node;
    struct slice zone, rack;   /* empty: all such disks are in one */
    uint64_t bytes;            /* its weight */
    uint8_t standing;          /* enum layout_standing */
};

struct layout_class { uint8_t k, m; };

struct layout_group {
    uint32_t id;               /* 0: a new one, the caller numbers it */
    uint32_t epoch;            /* as the caller gave it */
    uint8_t class_k, class_m;  /* 0+0: without class */
    uint8_t count;             /* positions */
    uint16_t disks[PLACEMENT_GROUP_DISKS_MAX]; /* indices of the plan's disks */
    uint64_t primary;          /* bits of positions */
    uint64_t occupied;         /* positions where extents stand or may stand */
    uint64_t place_bytes;      /* about what one primary position holds */
    bool changed;              /* by the plan: to be put */
    bool taken;                /* `writable` of the record */
};

struct layout_report {
    unsigned classes_without;  /* classes wider than there are disks: no group */
    unsigned groups_new, groups_changed;
    unsigned primaries;        /* of all groups of a class */
    unsigned moved;            /* primaries that were on another disk before */
    unsigned moved_min;        /* fewest with which every disk could get its share and leaving ones none */
    uint64_t bytes_moved, bytes_moved_min;
    unsigned over, under;      /* primaries above and below the shares (rounded away from them) that stay so */
};

/* Which failure domain rules a group's primaries keep. */
struct layout_score {
    uint16_t most[SPREAD_LEVELS];    /* shards in one domain */
    uint8_t exposed;           /* bit by level: losing one domain loses more than m; only where there are several */
    uint8_t falls_short;       /* bit by level: more in one domain than the disks at hand ask for: degraded placement */
};

/*
 * Changes `groups` (*count of them, room for `room`) to the plan.
 *
 * Errors  LIMIT  more than LAYOUT_DISKS_MAX disks, more domains than SPREAD_DOMAINS_MAX, no room for a class's first group
 *         INVALID a group names a disk that is not there, or no bits of primaries for its class
 * Cost    about disks x groups x width; a second for hundreds of disks
 */
MUST_CHECK enum errc layout_plan(const struct layout_disk *disks, unsigned disk_count, const struct layout_class *classes,
                                 unsigned class_count, struct layout_group *groups, unsigned *count, unsigned room,
                                 struct layout_report *ret_report, struct error *e);
/* Numbers of zones, racks and nodes. False: more domains than SPREAD_DOMAINS_MAX. */
bool layout_places(const struct layout_disk *disks, unsigned disk_count, struct spread_place *ret_places);
/* `places` as layout_places() made them of the same disks. */
struct layout_score layout_score(const struct layout_disk *disks, const struct spread_place *places, unsigned disk_count,
                                 const struct layout_group *group);

#endif
