#include "common/cluster/spread.h"

#include "common/base/assert.h"

#include <string.h>

/* The places that count: those of the mask, or all. */
struct members {
    const struct spread_place *places;
    unsigned count;
    bool all;
    uint64_t mask;
};

static bool is_member(const struct members *set, unsigned i)
{
    return set->all || (set->mask >> i & 1) != 0;
}

void spread_begin(struct spread_taken *taken)
{
    memset(taken, 0, sizeof(*taken));
}

bool spread_fits(const struct spread_taken *taken, const struct spread_caps *caps, const struct spread_place *place)
{
    for (unsigned level = 0; level < SPREAD_LEVELS; level++) {
        if (taken->count[level][place->domain[level]] >= caps->cap[level]) {
            return false;
        }
    }
    return true;
}

void spread_take(struct spread_taken *taken, const struct spread_place *place)
{
    for (unsigned level = 0; level < SPREAD_LEVELS; level++) {
        ASSERT(place->domain[level] < SPREAD_DOMAINS_MAX);
        taken->count[level][place->domain[level]]++;
    }
}

void spread_give(struct spread_taken *taken, const struct spread_place *place)
{
    for (unsigned level = 0; level < SPREAD_LEVELS; level++) {
        ASSERT(taken->count[level][place->domain[level]] > 0);
        taken->count[level][place->domain[level]]--;
    }
}

unsigned spread_most(const struct spread_taken *taken, enum spread_level level)
{
    unsigned most = 0;
    for (unsigned i = 0; i < SPREAD_DOMAINS_MAX; i++) {
        most = taken->count[level][i] > most ? taken->count[level][i] : most;
    }
    return most;
}

/* Is there room for `shards`? */
static bool caps_hold(const struct members *set, const struct spread_caps *caps, unsigned shards)
{
    struct spread_taken taken;
    unsigned found = 0;
    spread_begin(&taken);
    for (unsigned i = 0; i < set->count && found < shards; i++) {
        if (is_member(set, i) && spread_fits(&taken, caps, &set->places[i])) {
            spread_take(&taken, &set->places[i]);
            found++;
        }
    }
    return found == shards;
}

static unsigned domain_count(const struct members *set, unsigned level)
{
    bool seen[SPREAD_DOMAINS_MAX] = { false };
    unsigned count = 0;
    for (unsigned i = 0; i < set->count; i++) {
        if (is_member(set, i)) {
            bool *here = &seen[set->places[i].domain[level]];
            count += *here ? 0 : 1;
            *here = true;
        }
    }
    return count;
}

/* Lowers one cap if the shards still find room. */
static bool cap_try(const struct members *set, struct spread_caps *caps, unsigned level, unsigned cap, unsigned shards)
{
    struct spread_caps trial = *caps;
    if (cap >= caps->cap[level]) {
        return cap == caps->cap[level];
    }
    trial.cap[level] = (uint16_t)cap;
    if (!caps_hold(set, &trial, shards)) {
        return false;
    }
    *caps = trial;
    return true;
}

static struct spread_caps caps_find(const struct members *set, unsigned shards, unsigned m)
{
    struct spread_caps caps;
    unsigned fewest[SPREAD_LEVELS]; /* a cap below it cannot hold */
    ASSERT(shards >= 1);
    for (unsigned level = 0; level < SPREAD_LEVELS; level++) {
        unsigned domains = domain_count(set, level);
        caps.cap[level] = (uint16_t)shards;
        fewest[level] = domains > 0 ? (shards + domains - 1) / domains : shards;
    }
    for (unsigned level = 0; level < SPREAD_LEVELS; level++) {
        if (m >= fewest[level]) {
            (void)cap_try(set, &caps, level, m, shards); /* where it does not hold, the next level may */
        }
    }
    for (unsigned level = 0; level < SPREAD_LEVELS; level++) {
        if (fewest[level] == 1) {
            (void)cap_try(set, &caps, level, 1, shards); /* likewise */
        }
    }
    for (unsigned level = 0; level < SPREAD_LEVELS; level++) {
        unsigned cap = fewest[level];
        while (cap < caps.cap[level] && !cap_try(set, &caps, level, cap, shards)) {
            cap++;
        }
    }
    return caps;
}

struct spread_caps spread_caps_of(const struct spread_place *places, unsigned count, uint64_t mask, unsigned shards,
                                  unsigned m)
{
    const struct members set = { places, count, false, mask };
    ASSERT(count <= 64);
    return caps_find(&set, shards, m);
}

struct spread_caps spread_caps_all(const struct spread_place *places, unsigned count, unsigned shards, unsigned m)
{
    const struct members set = { places, count, true, 0 };
    return caps_find(&set, shards, m);
}
