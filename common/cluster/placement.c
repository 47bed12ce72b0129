#include "common/cluster/placement.h"

#include "common/base/assert.h"

static unsigned gcd(unsigned a, unsigned b)
{
    while (b != 0) {
        unsigned rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

unsigned placement_group_count(unsigned disk_count, unsigned width)
{
    ASSERT(disk_count >= 1);
    ASSERT(width >= 1 && width <= PLACEMENT_GROUP_DISKS_MAX);
    return width >= disk_count ? 1 : disk_count / gcd(disk_count, width);
}

struct placement_group placement_group_at(unsigned disk_count, unsigned width, unsigned index)
{
    ASSERT(index < placement_group_count(disk_count, width));
    ASSERT(disk_count <= UINT16_MAX);
    struct placement_group group = { .disk_count = (uint8_t)(width < disk_count ? width : disk_count) };
    for (unsigned i = 0; i < group.disk_count; i++) {
        group.disks[i] = (uint16_t)(((uint64_t)index * width + i) % disk_count);
    }
    return group;
}

enum errc placement_code(unsigned k, unsigned m, unsigned usable, uint8_t *ret_k, uint8_t *ret_m)
{
    ASSERT(k >= 1 && k <= CODE_K_MAX);
    ASSERT(m <= CODE_M_MAX);
    if (usable < k + m) {
        if (m == 0 || usable < 2) {
            return ERRC_UNAVAILABLE;
        }
        unsigned parity = m < usable / 2 ? m : usable / 2;
        k = k < usable - parity ? k : usable - parity;
        m = m < usable - k ? m : usable - k;
    }
    ASSERT(k + m <= usable);
    *ret_k = (uint8_t)k;
    *ret_m = (uint8_t)m;
    return ERRC_OK;
}

static uint64_t mix(uint64_t x)
{
    x ^= x >> 33;
    x *= UINT64_C(0xff51afd7ed558ccd);
    x ^= x >> 33;
    x *= UINT64_C(0xc4ceb9fe1a85ec53);
    return x ^ x >> 33;
}

uint64_t placement_hash(struct extent_id id)
{
    return mix(load_le64(id.bytes) ^ mix(load_le64(id.bytes + 8)));
}

void placement_positions(struct extent_id id, unsigned disk_count, uint64_t usable, unsigned shards,
                         uint8_t ret_positions[CODE_SHARDS_MAX])
{
    ASSERT(disk_count >= 1 && disk_count <= PLACEMENT_GROUP_DISKS_MAX);
    ASSERT(shards <= CODE_SHARDS_MAX);
    unsigned start = (unsigned)(placement_hash(id) % disk_count);
    unsigned found = 0;
    for (unsigned i = 0; i < disk_count && found < shards; i++) {
        unsigned position = (start + i) % disk_count;
        if ((usable >> position & 1) != 0) {
            ret_positions[found++] = (uint8_t)position;
        }
    }
    ASSERT(found == shards);
}

/* The nth position of `order` is the next to look at: primaries in rotated order, then the others likewise. */
static unsigned order_by_hash(struct extent_id id, const struct placement_view *group, uint64_t usable,
                              uint8_t order[PLACEMENT_GROUP_DISKS_MAX])
{
    unsigned start = (unsigned)(placement_hash(id) % group->disk_count);
    unsigned found = 0;
    for (unsigned pass = 0; pass < 2; pass++) {
        uint64_t wanted = usable & (pass == 0 ? group->primary : ~group->primary);
        for (unsigned i = 0; i < group->disk_count && wanted != 0; i++) {
            unsigned position = start + i < group->disk_count ? start + i : start + i - group->disk_count;
            if ((wanted >> position & 1) != 0) {
                order[found++] = (uint8_t)position;
                wanted &= ~(UINT64_C(1) << position);
            }
        }
    }
    return found;
}

void placement_spread(struct extent_id id, const struct placement_view *group, uint64_t usable, unsigned shards,
                      uint8_t ret_positions[CODE_SHARDS_MAX])
{
    uint8_t order[PLACEMENT_GROUP_DISKS_MAX];
    unsigned primaries = (unsigned)__builtin_popcountll(usable & group->primary);
    unsigned count = order_by_hash(id, group, usable, order);
    ASSERT(shards <= CODE_SHARDS_MAX && shards <= count);
    if (primaries == shards && (usable & group->primary) == group->primary) {
        memcpy(ret_positions, order, shards); /* the plan of the groups has seen to the domains */
        return;
    }
    struct spread_taken taken;
    struct spread_caps caps = spread_caps_of(group->places, group->disk_count, usable, shards, group->m);
    unsigned found = 0;
    spread_begin(&taken);
    for (unsigned i = 0; i < count && found < shards; i++) {
        if (spread_fits(&taken, &caps, &group->places[order[i]])) {
            spread_take(&taken, &group->places[order[i]]);
            ret_positions[found++] = order[i];
        }
    }
    ASSERT(found == shards); /* spread.h: any order finds room */
}

static bool emptier(const struct spread_taken *taken, const struct spread_place *a, const struct spread_place *b)
{
    for (int level = SPREAD_NODE; level >= 0; level--) {
        if (taken->count[level][a->domain[level]] != taken->count[level][b->domain[level]]) {
            return taken->count[level][a->domain[level]] < taken->count[level][b->domain[level]];
        }
    }
    return false;
}

/* What the caps leave no room for goes where fewest are. Returns the place in `order`; count: none is left. */
static unsigned emptiest(const struct placement_view *group, const struct spread_taken *taken, const uint8_t *order,
                         unsigned count, uint64_t used)
{
    unsigned best = count;
    for (unsigned i = 0; i < count; i++) {
        if ((used >> order[i] & 1) == 0 &&
            (best == count || emptier(taken, &group->places[order[i]], &group->places[order[best]]))) {
            best = i;
        }
    }
    return best;
}

unsigned placement_mend(struct extent_id id, const struct placement_view *group, uint64_t usable, uint64_t held,
                        unsigned wanted, uint8_t ret_positions[CODE_SHARDS_MAX])
{
    uint8_t order[PLACEMENT_GROUP_DISKS_MAX];
    struct spread_taken taken;
    unsigned count = order_by_hash(id, group, usable & ~held, order);
    unsigned room = count < wanted ? count : wanted;
    unsigned found = 0;
    uint64_t used = 0;
    if (room == 0) {
        return 0;
    }
    struct spread_caps caps = spread_caps_of(group->places, group->disk_count, usable | held,
                                             (unsigned)__builtin_popcountll(held) + room, group->m);
    spread_begin(&taken);
    for (unsigned i = 0; i < group->disk_count; i++) {
        if ((held >> i & 1) != 0) {
            spread_take(&taken, &group->places[i]);
        }
    }
    for (unsigned i = 0; i < count && found < room; i++) {
        if (spread_fits(&taken, &caps, &group->places[order[i]])) {
            spread_take(&taken, &group->places[order[i]]);
            used |= UINT64_C(1) << order[i];
            ret_positions[found++] = order[i];
        }
    }
    while (found < room) {
        unsigned next = emptiest(group, &taken, order, count, used);
        ASSERT(next < count);
        spread_take(&taken, &group->places[order[next]]);
        used |= UINT64_C(1) << order[next];
        ret_positions[found++] = order[next];
    }
    return found;
}

unsigned placement_crowded(const struct placement_view *group, const uint8_t *positions, unsigned shards)
{
    struct spread_taken taken;
    unsigned levels = 0;
    spread_begin(&taken);
    for (unsigned i = 0; i < shards; i++) {
        spread_take(&taken, &group->places[positions[i]]);
    }
    for (unsigned level = 0; level < SPREAD_LEVELS; level++) {
        bool several = false;
        for (unsigned i = 1; i < group->disk_count; i++) {
            several = several || group->places[i].domain[level] != group->places[0].domain[level];
        }
        levels |= (several && spread_most(&taken, (enum spread_level)level) > group->m ? 1u : 0u) << level;
    }
    return levels;
}

/* Orders codes: more tolerated losses first, then wider. 0: none. */
static unsigned strength(const struct placement_candidate *group, unsigned k, unsigned m)
{
    uint8_t real_k = 0;
    uint8_t real_m = 0;
    unsigned usable = (unsigned)__builtin_popcountll(group->usable);
    if (!group->writable || placement_code(k, m, usable, &real_k, &real_m) != ERRC_OK) {
        return 0;
    }
    return (real_m + 1u) * 256 + real_k;
}

/* Index of the nth group of strength `best`. */
static unsigned nth_of_strength(const struct placement_candidate *groups, unsigned group_count, unsigned k, unsigned m,
                                unsigned best, unsigned nth)
{
    for (unsigned i = 0; i < group_count; i++) {
        if (strength(&groups[i], k, m) == best && nth-- == 0) {
            return i;
        }
    }
    UNREACHABLE();
}

enum errc placement_choose(struct extent_id id, unsigned k, unsigned m, const struct placement_candidate *groups,
                           unsigned group_count, unsigned *ret_group)
{
    unsigned best = 0;
    unsigned best_count = 0;
    for (unsigned i = 0; i < group_count; i++) {
        unsigned here = strength(&groups[i], k, m);
        if (here > best) {
            best = here;
            best_count = 0;
        }
        best_count += here == best;
    }
    if (best == 0) {
        return ERRC_UNAVAILABLE;
    }
    uint64_t hash = mix(placement_hash(id) + 1);
    unsigned a = nth_of_strength(groups, group_count, k, m, best, (unsigned)(hash % best_count));
    unsigned b = nth_of_strength(groups, group_count, k, m, best, (unsigned)((hash >> 32) % best_count));
    *ret_group = groups[b].free_bytes_min > groups[a].free_bytes_min ? b : a;
    return ERRC_OK;
}
