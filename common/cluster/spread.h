/*
 * spread - how many shards of one extent may stand in one zone, one rack, one node.
 *
 * Places (disks, or positions of a group) carry numbers of the zone, rack and node that they are in. From a set of
 * places and a number of shards follow the tightest caps with which the shards still find room:
 *   1. at most m in a zone if that can be, else at most m in a rack, else in a node (losing the domain loses nothing);
 *   2. one for each domain, from the zone down, where that can be;
 *   3. else as few as can be, from the zone down.
 * Each rule holds within the ones before it. As racks lie in zones and nodes in racks, places that are taken in any order
 * while the caps allow it always end with as many as there is room for: no choice made early can spoil a later one.
 *
 * Pure functions: no state, no clock, no randomness.
 */
#ifndef COMMON_CLUSTER_SPREAD_H
#define COMMON_CLUSTER_SPREAD_H

#include <stdbool.h>
#include <stdint.h>

#define SPREAD_DOMAINS_MAX 256 /* numbers of a level are below it */

enum spread_level { SPREAD_ZONE, SPREAD_RACK, SPREAD_NODE, SPREAD_LEVELS };

struct spread_place {
    uint16_t domain[SPREAD_LEVELS]; /* places of one rack are of one zone, those of one node of one rack */
};

struct spread_caps {
    uint16_t cap[SPREAD_LEVELS];
};

/* How many places of each domain are taken. */
struct spread_taken {
    uint16_t count[SPREAD_LEVELS][SPREAD_DOMAINS_MAX];
};

/* A set of places, as a bit mask over `places`: at most 64 of them are looked at. */
struct spread_caps spread_caps_of(const struct spread_place *places, unsigned count, uint64_t members, unsigned shards,
                                  unsigned m);
/* The same over all of an array of any length. */
struct spread_caps spread_caps_all(const struct spread_place *places, unsigned count, unsigned shards, unsigned m);

void spread_begin(struct spread_taken *taken);
bool spread_fits(const struct spread_taken *taken, const struct spread_caps *caps, const struct spread_place *place);
void spread_take(struct spread_taken *taken, const struct spread_place *place);
void spread_give(struct spread_taken *taken, const struct spread_place *place);
/* Most places taken in one domain of the level. */
unsigned spread_most(const struct spread_taken *taken, enum spread_level level);

#endif
