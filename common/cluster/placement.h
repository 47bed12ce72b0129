/*
 * placement - which disks form a group, and which of a group's disks an extent's shards go to.
 *
 * Pure functions: disks are numbers 0..n-1 of the caller's order, no state, no clock, no randomness.
 *
 * Groups: with as many disks as the code is wide there is one. With more, n / gcd(n, width) windows of `width`
 * neighbours on the ring of disks, each beginning where the one before ends: every disk is in equally many,
 * and no set of groups that uses all disks evenly with such windows is smaller (few distinct sets lose less data when
 * several disks fail together).
 *
 * Shards: the group's usable disks, rotated by a hash of the extent's id, so that data and parity spread.
 *
 * Groups of a class (common/cluster/layout.h) have primary positions and spares: shards go to the primaries, and where
 * some cannot be written to spares, so that no failure domain has more shards than spread.h allows for what is usable.
 */
#ifndef COMMON_CLUSTER_PLACEMENT_H
#define COMMON_CLUSTER_PLACEMENT_H

#include "common/base/error.h"
#include "common/base/extent.h"
#include "common/cluster/spread.h"

#define PLACEMENT_DISKS_MAX 256
#define PLACEMENT_GROUP_DISKS_MAX 64 /* = GROUP_DISKS_MAX of the metadata messages */

struct placement_group {
    uint8_t disk_count;
    uint16_t disks[PLACEMENT_GROUP_DISKS_MAX]; /* by position */
};

/* Groups needed for n disks; width is cut to n. */
unsigned placement_group_count(unsigned disk_count, unsigned width);
/* Group number `index` of them. */
struct placement_group placement_group_at(unsigned disk_count, unsigned width, unsigned index);

/*
 * The code for a new extent of class k+m when `usable` disks of its group can be written.
 *
 * All of it where k + m fit. Otherwise the widest k' + m' that is wholly written: m' as near to m as k' >= m' allows,
 * k' at most k. At least one parity (4 of 4+2: 2+2, 5: 3+2, 3: 2+1, 2: 1+1).
 * Errors  UNAVAILABLE no such code: fewer than two disks, or fewer than k for a class without parity.
 */
MUST_CHECK enum errc placement_code(unsigned k, unsigned m, unsigned usable, uint8_t *ret_k, uint8_t *ret_m);

/* A hash of the id, equal on every machine for ever. */
uint64_t placement_hash(struct extent_id id);
/* Position in the group for each of `shards` shards: the usable positions (bit mask) in rotated order. There must be
 * at least `shards` of them. */
void placement_positions(struct extent_id id, unsigned disk_count, uint64_t usable, unsigned shards,
                         uint8_t ret_positions[CODE_SHARDS_MAX]);

/* A group of a class. */
struct placement_view {
    uint8_t disk_count, m;
    uint64_t primary;
    const struct spread_place *places; /* by position */
};
/* As placement_positions(), for a group of a class: usable primaries first, caps kept. At least `shards` are usable.
 * Cost: a few steps for each shard if it takes all primaries, and they are usable; else some microseconds. */
void placement_spread(struct extent_id id, const struct placement_view *group, uint64_t usable, unsigned shards,
                      uint8_t ret_positions[CODE_SHARDS_MAX]);
/*
 * Positions for `wanted` more shards of an extent that has others at `held`: primaries first, caps kept where that can
 * be with what is held, and as evenly as can be where it can't. For shards that are lost, and for shards that are to
 * leave positions which are no primaries any more. Returns how many were found.
 */
unsigned placement_mend(struct extent_id id, const struct placement_view *group, uint64_t usable, uint64_t held,
                        unsigned wanted, uint8_t ret_positions[CODE_SHARDS_MAX]);
/* Does one node, rack or zone of several hold more than m of these shards? Bits by spread_level. */
unsigned placement_crowded(const struct placement_view *group, const uint8_t *positions, unsigned shards);

/* One group as a writer sees it. */
struct placement_candidate {
    uint8_t disk_count;
    uint64_t usable;           /* bit by position: can be written */
    uint64_t free_bytes_min;   /* of the usable disks; 0: unknown */
    bool writable;             /* the map's flag */
};
/* The group for an extent: among those that give the strongest code the id's hash draws two, and the one with more
 * room wins. UNAVAILABLE: none gives any code. */
MUST_CHECK enum errc placement_choose(struct extent_id id, unsigned k, unsigned m,
                                      const struct placement_candidate *groups, unsigned group_count,
                                      unsigned *ret_group);

#endif
