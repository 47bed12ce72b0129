/*
 *   REST -> MARK (groups with disks that are given up) -> MOVE (groups with disks that leave, or spares) -> REST
 *   each: group after group, page after page; for an extent: MARK it, or RECORD (fetched again) -> REBUILD
 */
#include "gateway/data/repair_walk.h"

#include "common/base/mem.h"

#define PAGE_EXTENTS 256
#define WALK_ARENA_BYTES (4u << 20)
#define GROUPS_MAX 256
#define RUN_WORK_MAX 512                          /* marks and pages of a run; a move counts as many */
#define MOVE_WORK 16
#define AGAIN_NS (UINT64_C(3600) * 1000000000)   /* what came to stand wrongly without a change of map or health */
#define LEFT_NS (UINT64_C(10) * 1000000000)      /* what could not be done is tried again */
#define LATE_NS (UINT64_C(30) * 1000000000)      /* what was placed by an older view, and committed behind the walk, is found then */

enum walk_mode { WALK_REST, WALK_MARK, WALK_MOVE };

struct repair_walk {
    struct repair_walk_config config;
    enum walk_mode mode;
    bool balance;
    bool running, canceled;
    uint64_t health;               /* of the map when the walk began */
    uint64_t again_ns;             /* at the latest */
    bool changed;                  /* the walk was begun by a change of map or health */
    bool left;                     /* something could not be done */
    uint32_t groups[GROUPS_MAX];
    unsigned group_count, group_at;
    struct extent_id after;        /* in the group */
    struct extent page[PAGE_EXTENTS];
    unsigned page_count, page_at;
    bool page_last;                /* of the group */
    unsigned work;                 /* left of this run */
    bool useful;
    struct cluster_map_stand stand; /* of the extent in hand */
    struct extent extent;
    struct extent_rebuild *rebuild;
    struct meta_op op;
    struct arena arena;
    struct task task;              /* goes on without growing the stack */
    struct repair_walk_counts counts;
};

static void walk_next(struct repair_walk *walk);

static void walk_post(struct repair_walk *walk)
{
    executor_post(walk->config.executor, &walk->task);
}

static void task_run(struct task *task)
{
    walk_next(container_of(task, struct repair_walk, task));
}

static void op_begin(struct repair_walk *walk, void (*done)(struct meta_op *op))
{
    if (walk->op.client != NULL) {
        meta_op_release(&walk->op);
    }
    arena_done(&walk->arena);
    arena_init(&walk->arena, WALK_ARENA_BYTES);
    meta_op_init(&walk->op, walk->config.executor, &walk->arena, done, walk);
}

static void run_end(struct repair_walk *walk, bool more)
{
    walk->running = false;
    walk->config.over(walk->config.data, more, walk->useful);
}

static void work_take(struct repair_walk *walk, unsigned work)
{
    walk->work -= work < walk->work ? work : walk->work;
}

/* ---- the walk ---- */

static void mode_begin(struct repair_walk *walk, enum walk_mode mode)
{
    walk->mode = mode;
    walk->group_count = cluster_map_groups(walk->config.store->map, walk->groups, GROUPS_MAX);
    walk->group_at = 0;
    walk->after = (struct extent_id){ { 0 } };
    walk->page_count = 0;
    walk->page_at = 0;
    walk->page_last = false;
}

static bool group_matters(const struct repair_walk *walk, uint32_t group)
{
    struct cluster_map_group_stand stand = cluster_map_group_stand(walk->config.store->map, group);
    return walk->mode == WALK_MARK ? stand.lost : stand.lost || stand.leaving || (stand.misplaced && walk->balance);
}

static void mode_end(struct repair_walk *walk)
{
    if (walk->mode == WALK_MARK) {
        mode_begin(walk, WALK_MOVE);
        run_end(walk, true); /* what was marked comes first */
        return;
    }
    walk->mode = WALK_REST;
    walk->counts.walks++;
    walk->counts.walking = walk->left;
    walk->again_ns = env_now_ns(walk->config.store->env) + (walk->left ? LEFT_NS : walk->changed ? LATE_NS : AGAIN_NS);
    walk->changed = walk->changed && walk->left;
    run_end(walk, false);
}

static void page_done(struct meta_op *op)
{
    struct repair_walk *walk = op->data;
    walk->page_count = 0;
    walk->page_at = 0;
    if (op->status != ERRC_OK) {
        run_end(walk, false); /* from here again */
        return;
    }
    walk->page_last = op->repair.count == 0; /* rows that were deleted meanwhile make a page shorter */
    for (uint32_t i = 0; i < op->repair.count && i < PAGE_EXTENTS; i++) {
        walk->page[walk->page_count++] = op->repair.extents[i];
    }
    walk_post(walk);
}

static void page_ask(struct repair_walk *walk)
{
    const struct meta_query query = { .type = META_QRY_GROUP_EXTENTS, .from = walk->groups[walk->group_at],
                                      .extent = walk->after, .limit = PAGE_EXTENTS };
    work_take(walk, 1);
    op_begin(walk, page_done);
    meta_query(walk->config.store->meta, &walk->op, &query);
}

/* ---- one extent ---- */

static void mark_done(struct meta_op *op)
{
    struct repair_walk *walk = op->data;
    if (op->status == ERRC_OK) {
        walk->useful = true;
        walk->counts.marked += (unsigned)__builtin_popcount(walk->stand.lost & ~walk->extent.missing);
    } else {
        walk->left = true;
    }
    walk_post(walk);
}

static void mark(struct repair_walk *walk)
{
    const struct meta_command command = {
        .type = META_CMD_EXTENT_MISSING,
        .extent_missing = { walk->extent.id, walk->stand.lost & ~walk->extent.missing },
    };
    work_take(walk, 1);
    op_begin(walk, mark_done);
    meta_propose(walk->config.store->meta, &walk->op, &command);
}

static void rebuild_done(void *data, const struct extent_rebuild_result *result)
{
    struct repair_walk *walk = data;
    walk->rebuild = NULL;
    if (result->status == ERRC_OK) {
        walk->useful = true;
        walk->counts.moved_bytes += result->bytes_written;
        walk->counts.moved_shards += result->moved_shards;
    } else {
        walk->left = true;
        walk->counts.failed += result->status != ERRC_CONFLICT && result->status != ERRC_CANCELED;
    }
    walk->config.moved(walk->config.data, &walk->extent, result);
    walk_post(walk);
}

/* Which shards of the extent in hand are to be moved now. */
static uint32_t misplaced_of(const struct repair_walk *walk)
{
    return walk->balance ? walk->stand.misplaced : 0;
}

static void record_done(struct meta_op *op)
{
    struct repair_walk *walk = op->data;
    bool there = op->status == ERRC_OK && op->extent.outcome == META_OK;
    if (there) {
        walk->extent = op->extent.extent;
        walk->stand = cluster_map_stand(walk->config.store->map, &walk->extent);
    }
    bool repair_first = there && extent_rebuild_wanted(&walk->extent);
    walk->left = walk->left || op->status != ERRC_OK || repair_first;
    if (!there || repair_first || (walk->stand.leaving | misplaced_of(walk)) == 0) {
        walk_post(walk);
        return;
    }
    const struct extent_rebuild_params params = {
        .executor = walk->config.executor, .extent = walk->extent, .leaving = walk->stand.leaving,
        .misplaced = misplaced_of(walk), .bytes_per_second = walk->config.bytes_per_second, .done = rebuild_done, .data = walk,
    };
    work_take(walk, MOVE_WORK);
    walk->rebuild = extent_rebuild_start(walk->config.store, &params);
}

static void move(struct repair_walk *walk)
{
    const struct meta_query query = { .type = META_QRY_EXTENT, .extent = walk->extent.id };
    op_begin(walk, record_done);
    meta_query(walk->config.store->meta, &walk->op, &query);
}

/* True: something is under way. Marks that no rebuild could help are not set: the shards may come back. */
static bool extent_take(struct repair_walk *walk, const struct extent *extent)
{
    walk->extent = *extent;
    walk->stand = cluster_map_stand(walk->config.store->map, extent);
    if ((walk->stand.lost & ~extent->missing) != 0) {
        if ((unsigned)__builtin_popcount(walk->stand.lost | extent->missing) <= extent->code.m) {
            mark(walk);
            return true;
        }
        walk->left = true;
        return false;
    }
    uint32_t misplaced = misplaced_of(walk);
    if (walk->mode == WALK_MARK || (walk->stand.leaving | misplaced) == 0) {
        return false;
    }
    bool repair_first = extent_rebuild_wanted(extent);
    bool possible = !repair_first && extent_rebuild_possible(walk->config.store, extent, walk->stand.leaving, misplaced);
    walk->left = walk->left || repair_first || (!possible && walk->stand.leaving != 0);
    if (possible) {
        move(walk);
    }
    return possible;
}

static void walk_next(struct repair_walk *walk)
{
    while (!walk->canceled && walk->work > 0 && walk->page_at < walk->page_count) {
        const struct extent *extent = &walk->page[walk->page_at++];
        walk->after = extent->id;
        if (extent_take(walk, extent)) {
            return;
        }
    }
    if (walk->canceled || walk->work == 0) {
        run_end(walk, true);
        return;
    }
    if (walk->page_last) {
        walk->group_at++;
        walk->after = (struct extent_id){ { 0 } };
        walk->page_last = false;
    }
    while (walk->group_at < walk->group_count && extent_id_is_zero(walk->after) &&
           !group_matters(walk, walk->groups[walk->group_at])) {
        walk->group_at++;
    }
    if (walk->group_at < walk->group_count) {
        page_ask(walk);
    } else {
        mode_end(walk);
    }
}

/* ---- doors ---- */

struct repair_walk *repair_walk_new(const struct repair_walk_config *config)
{
    struct repair_walk *walk = mem_zalloc(sizeof(*walk));
    walk->config = *config;
    walk->balance = true;
    walk->task.run = task_run;
    arena_init(&walk->arena, WALK_ARENA_BYTES);
    return walk;
}

void repair_walk_free(struct repair_walk *walk)
{
    if (walk->op.client != NULL) {
        meta_op_release(&walk->op);
    }
    arena_done(&walk->arena);
    mem_free(walk);
}

void repair_walk_balance(struct repair_walk *walk, bool balance)
{
    if (walk->balance != balance) {
        walk->balance = balance;
        walk->again_ns = 0;
    }
}

/* A change of the map begins again: groups and disks may be others. */
void repair_walk_run(struct repair_walk *walk)
{
    uint64_t health = cluster_map_health(walk->config.store->map);
    walk->running = true;
    walk->canceled = false;
    walk->useful = false;
    walk->work = RUN_WORK_MAX;
    if (health != walk->health || (walk->mode == WALK_REST && env_now_ns(walk->config.store->env) >= walk->again_ns)) {
        walk->changed = walk->changed || health != walk->health;
        walk->health = health;
        walk->left = false;
        walk->counts.walking = true;
        mode_begin(walk, WALK_MARK);
    }
    if (walk->mode == WALK_REST) {
        run_end(walk, false);
    } else {
        walk_post(walk);
    }
}

void repair_walk_cancel(struct repair_walk *walk)
{
    walk->canceled = true;
    if (walk->rebuild != NULL) {
        extent_rebuild_cancel(walk->rebuild);
    }
}

struct repair_walk_counts repair_walk_counts(const struct repair_walk *walk)
{
    return walk->counts;
}
