/*
 * Shares: bytes divide the primaries among the zones, a zone's among its racks and so on, but a domain gets no more
 * than its cap in every group; what it cannot take goes to the others.
 *
 * Balance: primaries go one by one from disks above their share to disks below it, where the caps of the group allow it;
 * where no such pair is, by way of a third disk.
 */
#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/cluster/layout_parts.h"

#define STEPS_MAX 4096
#define DETOURS_MAX 64

/* ---- shares ---- */

/* Divides `amount` by weight; nobody gets more than its limit. */
static void divide(double amount, const double *weight, const double *limit, unsigned count, double *ret)
{
    bool full[LAYOUT_DISKS_MAX] = { false };
    bool news = true;
    while (news) {
        double weights = 0;
        double rest = amount;
        news = false;
        for (unsigned i = 0; i < count; i++) {
            weights += full[i] ? 0 : weight[i];
            rest -= full[i] ? limit[i] : 0;
        }
        for (unsigned i = 0; i < count; i++) {
            double wanted = weights > 0 ? rest * weight[i] / weights : 0;
            ret[i] = full[i] ? limit[i] : wanted;
            if (!full[i] && wanted > limit[i] + SHARE_EPSILON) {
                full[i] = true;
                news = true;
            }
        }
    }
}

static double weight_of(const struct plan *plan, unsigned disk)
{
    return plan->disks[disk].standing == LAYOUT_LEAVES ? 0 : (double)plan->disks[disk].bytes;
}

/* Sum of weights and room of the disks of one domain; level SPREAD_LEVELS: `number` is a disk. */
struct domain_sum { double weight, limit; };

static struct domain_sum domain_sum(const struct plan *plan, unsigned level, unsigned number, unsigned groups)
{
    struct domain_sum sum = { 0, 0 };
    if (level == SPREAD_LEVELS) {
        double weight = weight_of(plan, number);
        return (struct domain_sum){ weight, weight > 0 ? groups : 0 };
    }
    bool seen[LAYOUT_DISKS_MAX] = { false };
    for (unsigned i = 0; i < plan->disk_count; i++) {
        unsigned child = level + 1 == SPREAD_LEVELS ? i : plan->places[i].domain[level + 1];
        if (plan->places[i].domain[level] == number && !seen[child]) {
            struct domain_sum inner = domain_sum(plan, level + 1, child, groups);
            seen[child] = true;
            sum.weight += inner.weight;
            sum.limit += inner.limit;
        }
    }
    double cap = (double)plan->caps.cap[level] * groups;
    sum.limit = sum.limit < cap ? sum.limit : cap;
    return sum;
}

/* Divides a domain's amount among its children. level -1: the whole. */
static void domain_divide(struct plan *plan, int level, unsigned number, double amount, unsigned groups)
{
    unsigned children[LAYOUT_DISKS_MAX];
    double weight[LAYOUT_DISKS_MAX];
    double limit[LAYOUT_DISKS_MAX];
    double part[LAYOUT_DISKS_MAX];
    bool seen[LAYOUT_DISKS_MAX] = { false };
    unsigned count = 0;
    if (level == SPREAD_LEVELS) {
        plan->share[number] = amount;
        return;
    }
    for (unsigned i = 0; i < plan->disk_count; i++) {
        unsigned child = level + 1 == SPREAD_LEVELS ? i : plan->places[i].domain[level + 1];
        if ((level < 0 || plan->places[i].domain[level] == number) && !seen[child]) {
            struct domain_sum sum = domain_sum(plan, (unsigned)(level + 1), child, groups);
            seen[child] = true;
            weight[count] = sum.weight;
            limit[count] = sum.limit;
            children[count++] = child;
        }
    }
    divide(amount, weight, limit, count, part);
    for (unsigned i = 0; i < count; i++) {
        domain_divide(plan, level + 1, children[i], part[i], groups);
    }
}

unsigned plan_share_floor(const struct plan *plan, unsigned disk)
{
    return (unsigned)(plan->share[disk] + SHARE_EPSILON);
}

unsigned plan_share_ceil(const struct plan *plan, unsigned disk)
{
    unsigned below = plan_share_floor(plan, disk);
    return plan->share[disk] > (double)below + SHARE_EPSILON ? below + 1 : below;
}

void plan_shares(struct plan *plan, unsigned groups)
{
    domain_divide(plan, -1, 0, (double)groups * plan->width, groups);
}

/* ---- balance ---- */

static bool can_move(const struct plan *plan, struct plan_group *group, unsigned from, unsigned to)
{
    if (!group->group->taken || !plan_has(group, from) || plan_has(group, to)) {
        return false;
    }
    spread_give(&group->taken, &plan->places[from]);
    bool fits = spread_fits(&group->taken, &plan->caps, &plan->places[to]);
    spread_take(&group->taken, &plan->places[from]);
    return fits;
}

static uint64_t far_from_mean(const struct plan *plan, const struct plan_group *group)
{
    uint64_t bytes = group->group->place_bytes;
    return bytes > plan->mean_bytes ? bytes - plan->mean_bytes : plan->mean_bytes - bytes;
}

/* A group where `from` can give way to `to`, other than `not_this`: primaries are counted, so one that holds about as much
 * as others do moves the right number of bytes. */
static struct plan_group *move_find(const struct plan *plan, unsigned from, unsigned to, const struct plan_group *not_this)
{
    struct plan_group *best = NULL;
    for (unsigned i = 0; i < plan->group_count; i++) {
        struct plan_group *group = &plan->groups[i];
        if (group != not_this && can_move(plan, group, from, to) &&
            (best == NULL || far_from_mean(plan, group) < far_from_mean(plan, best))) {
            best = group;
        }
    }
    return best;
}

static void move(struct plan *plan, struct plan_group *group, unsigned from, unsigned to)
{
    plan_drop(plan, group, from);
    plan_add(plan, group, to);
}

static double excess(const struct plan *plan, unsigned disk)
{
    return (double)plan->have[disk] - plan->share[disk];
}

static double distance(const struct plan *plan, unsigned disk)
{
    return excess(plan, disk) < 0 ? -excess(plan, disk) : excess(plan, disk);
}

static bool may_take(const struct plan *plan, unsigned disk)
{
    return plan->disks[disk].standing == LAYOUT_TAKES;
}

/* Primaries that leave a disk: in order of how much too many it has. */
static unsigned next_giver(const struct plan *plan, const bool *tried)
{
    unsigned best = plan->disk_count;
    for (unsigned i = 0; i < plan->disk_count; i++) {
        if (!tried[i] && excess(plan, i) > SHARE_EPSILON && (best == plan->disk_count || excess(plan, i) > excess(plan, best))) {
            best = i;
        }
    }
    return best;
}

static unsigned next_taker(const struct plan *plan, const bool *tried)
{
    unsigned best = plan->disk_count;
    for (unsigned i = 0; i < plan->disk_count; i++) {
        if (!tried[i] && may_take(plan, i) && excess(plan, i) < -SHARE_EPSILON &&
            (best == plan->disk_count || excess(plan, i) < excess(plan, best))) {
            best = i;
        }
    }
    return best;
}

/* One primary to `to`, from whoever has most too many. */
static bool take_one(struct plan *plan, unsigned to)
{
    bool tried[LAYOUT_DISKS_MAX] = { false };
    for (unsigned from = next_giver(plan, tried); from < plan->disk_count; from = next_giver(plan, tried)) {
        struct plan_group *group = move_find(plan, from, to, NULL);
        if (group != NULL) {
            move(plan, group, from, to);
            return true;
        }
        tried[from] = true;
    }
    return false;
}

static bool give_one(struct plan *plan, unsigned from)
{
    bool tried[LAYOUT_DISKS_MAX] = { false };
    for (unsigned to = next_taker(plan, tried); to < plan->disk_count; to = next_taker(plan, tried)) {
        struct plan_group *group = move_find(plan, from, to, NULL);
        if (group != NULL) {
            move(plan, group, from, to);
            return true;
        }
        tried[to] = true;
    }
    return false;
}

/* from -> third in one group, third -> to in another: the third ends as it was. */
static bool detour(struct plan *plan, unsigned from, unsigned to)
{
    for (unsigned third = 0; third < plan->disk_count; third++) {
        if (third == from || third == to || !may_take(plan, third)) {
            continue;
        }
        struct plan_group *second = move_find(plan, third, to, NULL);
        struct plan_group *first = second == NULL ? NULL : move_find(plan, from, third, second);
        if (first != NULL) {
            move(plan, first, from, third);
            move(plan, second, third, to);
            return true;
        }
    }
    return false;
}

static bool take_by_detour(struct plan *plan, unsigned to)
{
    bool tried[LAYOUT_DISKS_MAX] = { false };
    for (unsigned from = next_giver(plan, tried); from < plan->disk_count; from = next_giver(plan, tried)) {
        if (detour(plan, from, to)) {
            return true;
        }
        tried[from] = true;
    }
    return false;
}

static bool give_by_detour(struct plan *plan, unsigned from)
{
    bool tried[LAYOUT_DISKS_MAX] = { false };
    for (unsigned to = next_taker(plan, tried); to < plan->disk_count; to = next_taker(plan, tried)) {
        if (detour(plan, from, to)) {
            return true;
        }
        tried[to] = true;
    }
    return false;
}

/* The disk furthest from its share, a whole primary or more; disk_count: none that is not stuck. */
static unsigned furthest(const struct plan *plan, const bool *stuck)
{
    unsigned best = plan->disk_count;
    for (unsigned i = 0; i < plan->disk_count; i++) {
        bool lacks = may_take(plan, i) && plan->have[i] < plan_share_floor(plan, i);
        bool exceeds = plan->have[i] > plan_share_ceil(plan, i);
        if (!stuck[i] && (lacks || exceeds) &&
            (best == plan->disk_count || distance(plan, i) > distance(plan, best))) {
            best = i;
        }
    }
    return best;
}

void plan_balance(struct plan *plan)
{
    bool stuck[LAYOUT_DISKS_MAX] = { false };
    unsigned detours = 0;
    for (unsigned step = 0; step < STEPS_MAX; step++) {
        unsigned disk = furthest(plan, stuck);
        if (disk == plan->disk_count) {
            return;
        }
        bool lacks = excess(plan, disk) < 0;
        bool moved = lacks ? take_one(plan, disk) : give_one(plan, disk);
        if (!moved && detours < DETOURS_MAX) {
            detours++;
            moved = lacks ? take_by_detour(plan, disk) : give_by_detour(plan, disk);
        }
        stuck[disk] = !moved;
    }
}
