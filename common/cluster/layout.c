/*
 *   places -> for each class: caps, shares -> groups as they are -> primaries that must go -> new groups -> balance
 *   -> positions and spares -> report
 */
#include "common/cluster/layout.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/cluster/layout_parts.h"

#include <string.h>

#define PRIMARIES_FEWEST 4  /* of a disk on average; below it groups are added */
#define PRIMARIES_WANTED 8

/* ---- domains ---- */

static bool in_one(const struct layout_disk *a, const struct layout_disk *b, unsigned level)
{
    return slice_equal(a->zone, b->zone) && (level < SPREAD_RACK || slice_equal(a->rack, b->rack)) &&
           (level < SPREAD_NODE || node_id_equal(a->node, b->node));
}

bool layout_places(const struct layout_disk *disks, unsigned disk_count, struct spread_place *ret_places)
{
    for (unsigned level = 0; level < SPREAD_LEVELS; level++) {
        unsigned next = 0;
        for (unsigned i = 0; i < disk_count; i++) {
            unsigned j = 0;
            while (j < i && !in_one(&disks[i], &disks[j], level)) {
                j++;
            }
            if (j == i && next == SPREAD_DOMAINS_MAX) {
                return false;
            }
            ret_places[i].domain[level] = j < i ? ret_places[j].domain[level] : (uint16_t)next++;
        }
    }
    return true;
}

/* ---- groups being planned ---- */

bool plan_has(const struct plan_group *group, unsigned disk)
{
    for (unsigned i = 0; i < group->count; i++) {
        if (group->disks[i] == disk) {
            return true;
        }
    }
    return false;
}

void plan_add(struct plan *plan, struct plan_group *group, unsigned disk)
{
    ASSERT(group->count < CODE_SHARDS_MAX);
    group->disks[group->count++] = (uint16_t)disk;
    spread_take(&group->taken, &plan->places[disk]);
    plan->have[disk] += group->group->taken ? 1 : 0;
}

void plan_drop(struct plan *plan, struct plan_group *group, unsigned disk)
{
    unsigned at = 0;
    while (at < group->count && group->disks[at] != disk) {
        at++;
    }
    ASSERT(at < group->count);
    group->disks[at] = group->disks[--group->count];
    spread_give(&group->taken, &plan->places[disk]);
    plan->have[disk] -= group->group->taken ? 1 : 0;
}

/* Differs for every pair, and is the same in every plan. */
static uint64_t pair_hash(const struct plan *plan, const struct plan_group *group, unsigned disk)
{
    struct extent_id id;
    memcpy(id.bytes, plan->disks[disk].id.bytes, ID_BYTES);
    id.bytes[0] ^= (uint8_t)(group - plan->groups);
    return placement_hash(id);
}

static double load(const struct plan *plan, unsigned disk)
{
    return ((double)plan->have[disk] + 1) / (plan->share[disk] + SHARE_EPSILON);
}

/* The disk with the least of its share that the caps allow; disk_count: none. */
static unsigned pick(const struct plan *plan, const struct plan_group *group, const struct spread_caps *caps)
{
    unsigned best = plan->disk_count;
    for (unsigned i = 0; i < plan->disk_count; i++) {
        if (plan->disks[i].standing != LAYOUT_TAKES || plan->disks[i].bytes == 0 || plan_has(group, i) ||
            !spread_fits(&group->taken, caps, &plan->places[i])) {
            continue;
        }
        if (best == plan->disk_count || load(plan, i) < load(plan, best) ||
            (load(plan, i) <= load(plan, best) && pair_hash(plan, group, i) > pair_hash(plan, group, best))) {
            best = i;
        }
    }
    return best;
}

static bool fill(struct plan *plan, struct plan_group *group)
{
    while (group->count < plan->width) {
        unsigned disk = pick(plan, group, &plan->caps);
        disk = disk == plan->disk_count ? pick(plan, group, &plan->caps_now) : disk;
        if (disk == plan->disk_count) {
            return false;
        }
        plan_add(plan, group, disk);
    }
    return true;
}

/* ---- primaries that must go ---- */

/* Keeps what the caps allow, disks with little load first. Returns how many primaries it took away. */
static unsigned prune(struct plan *plan, struct plan_group *group)
{
    uint16_t before[CODE_SHARDS_MAX];
    unsigned count = group->count;
    memcpy(before, group->disks, sizeof(before));
    for (unsigned i = 1; i < count; i++) { /* by load */
        for (unsigned j = i; j > 0 && load(plan, before[j]) < load(plan, before[j - 1]); j--) {
            uint16_t swap = before[j];
            before[j] = before[j - 1];
            before[j - 1] = swap;
        }
    }
    for (unsigned i = 0; i < count; i++) {
        plan_drop(plan, group, before[i]);
    }
    for (unsigned i = 0; i < count; i++) {
        if (plan->disks[before[i]].standing != LAYOUT_LEAVES &&
            spread_fits(&group->taken, &plan->caps, &plan->places[before[i]])) {
            plan_add(plan, group, before[i]);
        }
    }
    return count - group->count;
}

/* A group that cannot be filled stays as it was: data on a disk that leaves is better than none. */
static unsigned mend(struct plan *plan, struct plan_group *group)
{
    struct plan_group before = *group;
    unsigned gone = prune(plan, group);
    if (!fill(plan, group)) {
        while (group->count > 0) {
            plan_drop(plan, group, group->disks[group->count - 1]);
        }
        for (unsigned i = 0; i < before.count; i++) {
            plan_add(plan, group, before.disks[i]);
        }
    }
    return gone;
}

/* ---- from and to the caller's groups ---- */

static enum errc group_read(struct plan *plan, struct layout_group *from, struct plan_group *to, struct error *e)
{
    *to = (struct plan_group){ .group = from };
    if (from->count > PLACEMENT_GROUP_DISKS_MAX || (unsigned)__builtin_popcountll(from->primary) != plan->width) {
        return error_set(e, ERRC_INVALID, "group %u of class %u+%u has %d primaries", from->id, from->class_k,
                         from->class_m, __builtin_popcountll(from->primary));
    }
    for (unsigned i = 0; i < 64; i++) {
        bool primary = (from->primary >> i & 1) != 0;
        if ((primary && i >= from->count) || (i < from->count && from->disks[i] >= plan->disk_count)) {
            return error_set(e, ERRC_INVALID, "group %u has no disk at position %u", from->id, i);
        }
        if (primary) {
            plan_add(plan, to, from->disks[i]);
        }
    }
    return ERRC_OK;
}

/* The disk's position, a new one if it has none; 64: no room. */
static unsigned position_of(struct layout_group *group, unsigned disk, uint64_t wanted)
{
    unsigned empty = PLACEMENT_GROUP_DISKS_MAX;
    for (unsigned i = 0; i < group->count; i++) {
        if (group->disks[i] == disk) {
            return i;
        }
        if (((group->occupied | group->primary | wanted) >> i & 1) == 0 && empty == PLACEMENT_GROUP_DISKS_MAX) {
            empty = i;
        }
    }
    if (group->count < PLACEMENT_GROUP_DISKS_MAX) {
        empty = group->count++;
    }
    if (empty < PLACEMENT_GROUP_DISKS_MAX) {
        group->disks[empty] = (uint16_t)disk;
        group->changed = true;
    }
    return empty;
}

/* Returns how many primaries are on another disk than before. */
static unsigned primaries_write(const struct plan_group *from)
{
    struct layout_group *group = from->group;
    struct layout_group trial = *group;
    uint64_t primary = 0;
    for (unsigned i = 0; i < from->count; i++) {
        unsigned at = position_of(&trial, from->disks[i], primary);
        if (at == PLACEMENT_GROUP_DISKS_MAX) {
            return 0; /* positions have to be emptied first: the group stays */
        }
        primary |= UINT64_C(1) << at;
    }
    unsigned moved = from->is_new ? 0 : (unsigned)__builtin_popcountll(primary & ~group->primary);
    trial.changed = trial.changed || primary != group->primary;
    trial.occupied |= trial.id == 0 ? 0 : group->primary;
    trial.primary = primary;
    *group = trial;
    return moved;
}

static bool position_usable(const struct plan *plan, const struct layout_group *group, unsigned position)
{
    return plan->disks[group->disks[position]].standing != LAYOUT_LEAVES;
}

static bool group_has_disk(const struct layout_group *group, unsigned disk)
{
    for (unsigned i = 0; i < group->count; i++) {
        if (group->disks[i] == disk) {
            return true;
        }
    }
    return false;
}

/* Of two disks the one whose domains the group uses less, from the zone down; then the one that is a spare less often. */
static bool better_spare(const struct plan *plan, const struct spread_taken *taken, const unsigned *spares, unsigned a,
                         unsigned b)
{
    for (int level = SPREAD_NODE; level >= 0; level--) {
        unsigned in_a = taken->count[level][plan->places[a].domain[level]];
        unsigned in_b = taken->count[level][plan->places[b].domain[level]];
        if (in_a != in_b) {
            return in_a < in_b;
        }
    }
    return (double)spares[a] * (double)plan->disks[b].bytes < (double)spares[b] * (double)plan->disks[a].bytes;
}

static void spares_write(const struct plan *plan, struct layout_group *group, unsigned *spares)
{
    struct spread_taken taken;
    unsigned usable = 0;
    spread_begin(&taken);
    for (unsigned i = 0; i < group->count; i++) {
        if (position_usable(plan, group, i)) {
            spread_take(&taken, &plan->places[group->disks[i]]);
            usable++;
        }
    }
    while (usable < 2 * plan->width) {
        unsigned best = plan->disk_count;
        for (unsigned i = 0; i < plan->disk_count; i++) {
            if (plan->disks[i].standing == LAYOUT_TAKES && plan->disks[i].bytes > 0 && !group_has_disk(group, i) &&
                (best == plan->disk_count || better_spare(plan, &taken, spares, i, best))) {
                best = i;
            }
        }
        if (best == plan->disk_count || group->count == PLACEMENT_GROUP_DISKS_MAX) {
            return;
        }
        group->disks[group->count++] = (uint16_t)best;
        group->changed = true;
        spread_take(&taken, &plan->places[best]);
        spares[best]++;
        usable++;
    }
}

/* ---- one class ---- */

static bool of_class(const struct layout_group *group, struct layout_class class)
{
    return group->class_k == class.k && group->class_m == class.m;
}

static void caps_set(struct plan *plan)
{
    struct spread_place *places = mem_zalloc(sizeof(*places) * (plan->disk_count + 1));
    unsigned takes = 0;
    unsigned stays = 0;
    for (unsigned i = 0; i < plan->disk_count; i++) {
        if (plan->disks[i].standing != LAYOUT_LEAVES && plan->disks[i].bytes > 0) {
            places[stays++] = plan->places[i];
        }
    }
    plan->caps = spread_caps_all(places, stays, plan->width, plan->m);
    for (unsigned i = 0; i < plan->disk_count; i++) {
        if (plan->disks[i].standing == LAYOUT_TAKES && plan->disks[i].bytes > 0) {
            places[takes++] = plan->places[i];
        }
    }
    plan->caps_now = takes >= plan->width ? spread_caps_all(places, takes, plan->width, plan->m) : plan->caps;
    mem_free(places);
}

static unsigned takers(const struct layout_disk *disks, unsigned count)
{
    unsigned found = 0;
    for (unsigned i = 0; i < count; i++) {
        found += disks[i].standing == LAYOUT_TAKES && disks[i].bytes > 0 ? 1 : 0;
    }
    return found;
}

static unsigned groups_wanted(unsigned disk_count, unsigned width, unsigned now)
{
    unsigned wanted = (disk_count * PRIMARIES_WANTED + width - 1) / width;
    wanted = wanted < LAYOUT_CLASS_GROUPS_MAX ? wanted : LAYOUT_CLASS_GROUPS_MAX;
    bool few = now == 0 || now * width < disk_count * PRIMARIES_FEWEST;
    return few && wanted > now ? wanted : now;
}

static enum errc groups_gather(struct plan *plan, struct layout_class class, struct layout_group *groups, unsigned count,
                               unsigned *ret_taken, struct error *e)
{
    unsigned taken = 0;
    for (unsigned i = 0; i < count; i++) {
        if (of_class(&groups[i], class)) {
            enum errc rc = group_read(plan, &groups[i], &plan->groups[plan->group_count], e);
            if (rc != ERRC_OK) {
                return rc;
            }
            plan->group_count++;
            taken += groups[i].taken ? 1 : 0;
        }
    }
    *ret_taken = taken;
    return ERRC_OK;
}

static void minimum_add(const struct plan *plan, const unsigned *have_before, unsigned new_groups, unsigned forced,
                        struct layout_report *report)
{
    unsigned lack = 0;
    for (unsigned i = 0; i < plan->disk_count; i++) {
        unsigned wanted = plan_share_floor(plan, i);
        lack += wanted > have_before[i] ? wanted - have_before[i] : 0;
    }
    lack = lack > new_groups * plan->width ? lack - new_groups * plan->width : 0;
    unsigned least = lack > forced ? lack : forced;
    report->moved_min += least;
    report->bytes_moved_min += least * plan->mean_bytes;
}

static void class_report(const struct plan *plan, struct layout_report *report)
{
    for (unsigned i = 0; i < plan->disk_count; i++) {
        unsigned have = plan->have[i];
        unsigned most = plan_share_ceil(plan, i);
        unsigned least = plan_share_floor(plan, i);
        report->primaries += have;
        report->over += have > most ? have - most : 0;
        report->under += have < least ? least - have : 0;
    }
}

static uint64_t mean_bytes(const struct plan *plan)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < plan->group_count; i++) {
        sum += plan->groups[i].group->place_bytes;
    }
    return plan->group_count > 0 ? sum / plan->group_count : 0;
}

static enum errc class_groups(struct plan *plan, struct layout_class class, struct layout_group *groups, unsigned *count,
                              unsigned room, struct layout_report *report, struct error *e)
{
    unsigned taken = 0;
    unsigned forced = 0;
    unsigned spares[LAYOUT_DISKS_MAX] = { 0 };
    unsigned have_before[LAYOUT_DISKS_MAX];
    enum errc rc = groups_gather(plan, class, groups, *count, &taken, e);
    if (rc != ERRC_OK) {
        return rc;
    }
    unsigned wanted = groups_wanted(takers(plan->disks, plan->disk_count), plan->width, taken);
    if (taken == 0 && *count == room) {
        return error_set(e, ERRC_LIMIT, "more than %u placement groups", room);
    }
    wanted = wanted - taken < room - *count ? wanted : taken + room - *count; /* fewer do: other classes have theirs */
    plan->mean_bytes = mean_bytes(plan);
    memcpy(have_before, plan->have, sizeof(have_before));
    plan_shares(plan, wanted);
    for (unsigned i = 0; i < plan->group_count; i++) {
        forced += mend(plan, &plan->groups[i]);
    }
    for (unsigned i = taken; i < wanted; i++) {
        struct plan_group *group = &plan->groups[plan->group_count];
        groups[*count] = (struct layout_group){ .class_k = class.k, .class_m = class.m, .taken = true, .changed = true };
        *group = (struct plan_group){ .group = &groups[*count], .is_new = true };
        if (!fill(plan, group)) {
            return error_set(e, ERRC_INTERNAL, "no disk fits a new group");
        }
        (*count)++;
        plan->group_count++;
        report->groups_new++;
    }
    plan_balance(plan);
    for (unsigned i = 0; i < plan->group_count; i++) {
        struct plan_group *group = &plan->groups[i];
        unsigned moved = primaries_write(group);
        report->moved += moved;
        report->bytes_moved += moved * group->group->place_bytes;
        spares_write(plan, group->group, spares);
        report->groups_changed += group->group->changed && !group->is_new ? 1 : 0;
    }
    minimum_add(plan, have_before, wanted - taken, forced, report);
    class_report(plan, report);
    return ERRC_OK;
}

static enum errc class_plan(struct plan *plan, struct layout_class class, struct layout_group *groups, unsigned *count,
                            unsigned room, struct layout_report *report, struct error *e)
{
    plan->width = (unsigned)class.k + class.m;
    plan->m = class.m;
    plan->group_count = 0;
    memset(plan->have, 0, sizeof(plan->have));
    memset(plan->share, 0, sizeof(plan->share));
    if (takers(plan->disks, plan->disk_count) < plan->width) {
        report->classes_without++; /* groups that there are stay as they are: nowhere to go */
        return ERRC_OK;
    }
    caps_set(plan);
    plan->groups = mem_zalloc((*count + LAYOUT_CLASS_GROUPS_MAX) * sizeof(*plan->groups));
    enum errc rc = class_groups(plan, class, groups, count, room, report, e);
    mem_free(plan->groups);
    return rc;
}

enum errc layout_plan(const struct layout_disk *disks, unsigned disk_count, const struct layout_class *classes,
                      unsigned class_count, struct layout_group *groups, unsigned *count, unsigned room,
                      struct layout_report *ret_report, struct error *e)
{
    struct layout_report report = { 0 };
    struct plan *plan = mem_zalloc(sizeof(*plan));
    enum errc rc = ERRC_OK;
    plan->disks = disks;
    plan->disk_count = disk_count;
    if (disk_count > LAYOUT_DISKS_MAX || !layout_places(disks, disk_count, plan->places)) {
        rc = error_set(e, ERRC_LIMIT, "more disks or nodes than a plan can hold");
    }
    for (unsigned i = 0; rc == ERRC_OK && i < class_count; i++) {
        ASSERT(classes[i].k >= 1 && classes[i].k + classes[i].m <= CODE_SHARDS_MAX);
        rc = class_plan(plan, classes[i], groups, count, room, &report, e);
    }
    mem_free(plan);
    if (rc == ERRC_OK) {
        *ret_report = report;
    }
    return rc;
}

/* ---- score ---- */

struct layout_score layout_score(const struct layout_disk *disks, const struct spread_place *places, unsigned disk_count,
                                 const struct layout_group *group)
{
    struct layout_score score = { { 0 }, 0, 0 };
    struct spread_taken taken;
    struct spread_taken all;
    struct spread_place *stays = mem_zalloc((disk_count + 1) * sizeof(*stays));
    unsigned width = (unsigned)group->class_k + group->class_m;
    unsigned count = 0;
    spread_begin(&taken);
    spread_begin(&all);
    for (unsigned i = 0; i < disk_count; i++) {
        if (disks[i].standing != LAYOUT_LEAVES && disks[i].bytes > 0) {
            stays[count++] = places[i];
            spread_take(&all, &places[i]);
        }
    }
    for (unsigned i = 0; i < group->count; i++) {
        if ((group->primary >> i & 1) != 0) {
            spread_take(&taken, &places[group->disks[i]]);
        }
    }
    struct spread_caps caps = spread_caps_all(stays, count, width, group->class_m);
    for (unsigned level = 0; level < SPREAD_LEVELS; level++) {
        unsigned most = spread_most(&taken, (enum spread_level)level);
        bool several = spread_most(&all, (enum spread_level)level) < count;
        score.most[level] = (uint16_t)most;
        score.falls_short |= (uint8_t)((count >= width && most > caps.cap[level] ? 1u : 0u) << level);
        score.exposed |= (uint8_t)((several && most > group->class_m ? 1u : 0u) << level);
    }
    mem_free(stays);
    return score;
}
