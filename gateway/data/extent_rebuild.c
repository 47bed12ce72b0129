#include "gateway/data/extent_rebuild.h"

#include "common/base/assert.h"
#include "common/base/crc32c.h"
#include "common/base/mem.h"
#include "common/cluster/placement.h"
#include "common/rpc/rpc_schema.h"
#include "gateway/data/read_unit.h"
#include "gateway/data/shard_call.h"
#include "gateway/data/write_batch.h"

#define COPY_STRIPES_MAX BATCH_CELLS_MAX
#define TICK_MS 50
#define HEDGE_NS UINT64_C(1000000000)

enum rebuild_state {
    REBUILD_STATING, REBUILD_ADOPTING, REBUILD_CLEARING, REBUILD_OPENING, REBUILD_COPYING, REBUILD_COMMITTING, REBUILD_CHECKING,
    REBUILD_PUBLISHING, REBUILD_OVER,
};

struct extent_rebuild {
    struct data_store *store;
    struct extent_rebuild_params params;
    enum rebuild_state state;
    struct extent_rebuild_result result;
    bool recode;                         /* whole second set in the class's code */
    bool adopt_only;                     /* more than m are marked */
    uint8_t before[CODE_SHARDS_MAX];     /* positions when it began: adopted shards change params.extent */
    struct extent after;
    struct geometry geometry;            /* of `after` */
    uint32_t targets;                    /* shards of `after` to be made */
    uint32_t adopted;                    /* marked missing, but found whole on their disk: nothing to be made */
    struct cluster_map_shard where[CODE_SHARDS_MAX];   /* of `after` */
    struct cluster_map_shard sources[CODE_SHARDS_MAX]; /* of the extent as it is */
    unsigned stat_next;
    struct shard_header header;          /* from STAT; owner's key in `key` */
    uint8_t *key;
    struct enc footer;
    struct list calls;
    unsigned pending;
    enum errc call_status;               /* first bad answer of the step */
    bool named;                          /* new shards may be on disks */
    struct read_unit *unit;
    uint32_t next_stripe;                /* of `after`, in COPYING and CHECKING; of the source where recoded: by bytes */
    uint64_t next_offset;                /* recode: stored bytes read so far */
    struct write_batch *batch;
    uint8_t *crcs[CODE_SHARDS_MAX];      /* of what was written: 4 bytes a cell */
    struct timer timer;
    uint64_t resume_ns;                  /* throttle */
    bool waits_to_resume;
    struct meta_op op;
    uint64_t map_revision;               /* that `after` was placed by */
    bool publish_again;                  /* at the next tick */
    bool canceled;
    struct task step_task;
    bool step_posted;
};

static void rebuild_step(struct extent_rebuild *r);

static unsigned count_of(const struct extent *extent)
{
    return (unsigned)extent->code.k + extent->code.m;
}

static bool too_small(const struct extent *extent)
{
    return meta_extent_smaller(extent);
}

bool extent_rebuild_lost(const struct extent *extent)
{
    return (unsigned)__builtin_popcount(extent->missing) > extent->code.m;
}

bool extent_rebuild_wanted(const struct extent *extent)
{
    return extent->missing != 0 || too_small(extent);
}

/* Forgets the new shards: open ones are aborted, stored ones freed. */
static void targets_drop(struct extent_rebuild *r)
{
    for (unsigned i = 0; i < count_of(&r->after); i++) {
        if ((r->targets >> i & 1) != 0) {
            struct shard_call *call = shard_call_new(r->store, r->params.executor, RPC_NODE_SHARD_ABORT, &r->where[i], i,
                                                     NULL, NULL);
            struct node_shard_name name = { call->disk, r->after.id, (uint8_t)i };
            node_shard_name_encode(&call->head, &name);
            shard_call_start(call, r->where[i].channel);
        }
    }
    shard_call_free_shards(r->store, r->params.executor, r->after.id, r->targets, r->where);
}

static void rebuild_end(struct extent_rebuild *r, enum errc status, const char *what)
{
    if (r->state == REBUILD_OVER) {
        return;
    }
    if (status != ERRC_OK && r->named && r->state != REBUILD_PUBLISHING) {
        targets_drop(r);
    }
    r->state = REBUILD_OVER;
    r->result.status = status;
    if (status != ERRC_OK) {
        (void)error_set(&r->result.error, status, "rebuild of an extent: %s", what); /* kept in the result */
    }
}

static void step_run(struct task *task)
{
    struct extent_rebuild *r = container_of(task, struct extent_rebuild, step_task);
    r->step_posted = false;
    rebuild_step(r);
}

static void step_post(struct extent_rebuild *r)
{
    if (!r->step_posted) {
        r->step_posted = true;
        executor_post(r->params.executor, &r->step_task);
    }
}

/* ---- the plan ---- */

/* Missing shards in the same code: at their position, or a free one of the group where that disk is away. */
static bool plan_missing(struct extent_rebuild *r, const struct cluster_map_shard *group, unsigned group_count)
{
    uint64_t used = 0;
    for (unsigned i = 0; i < count_of(&r->after); i++) {
        if (r->after.position[i] >= group_count) {
            return false;
        }
        used |= UINT64_C(1) << r->after.position[i];
    }
    for (unsigned i = 0; i < count_of(&r->after); i++) {
        if ((r->params.extent.missing >> i & 1) == 0) {
            continue;
        }
        for (unsigned p = 0; p < group_count && !group[r->after.position[i]].writable; p++) {
            if (group[p].writable && (used >> p & 1) == 0) {
                used |= UINT64_C(1) << p;
                r->after.position[i] = (uint8_t)p;
            }
        }
        if (group[r->after.position[i]].writable) {
            r->targets |= 1u << i;
            r->after.missing &= ~(1u << i);
        }
    }
    return r->targets != 0;
}

static bool positions_differ(const struct extent *extent)
{
    uint64_t seen = 0;
    for (unsigned i = 0; i < count_of(extent); i++) {
        seen |= UINT64_C(1) << extent->position[i];
    }
    return (unsigned)__builtin_popcountll(seen) == count_of(extent);
}

/* In a group of a class: missing shards, and those of `move` that find a better place, or any where they `must` leave. */
static bool plan_mend_try(struct extent_rebuild *r, const struct cluster_map_shard *group, uint32_t move)
{
    const struct extent *old = &r->params.extent;
    uint8_t positions[CODE_SHARDS_MAX];
    uint32_t found = 0;
    r->after = *old;
    r->targets = 0;
    if (cluster_map_mend(r->store->map, old, old->missing | move, &found, positions) != ERRC_OK) {
        return false;
    }
    for (unsigned i = 0; i < count_of(old); i++) {
        bool missing = (old->missing >> i & 1) != 0;
        bool better = (found >> i & 1) != 0 && positions[i] != old->position[i] &&
                      (group[positions[i]].primary || (r->params.leaving >> i & 1) != 0);
        if ((found >> i & 1) != 0 && (missing || better)) {
            r->after.position[i] = positions[i];
            r->after.missing &= ~(1u << i);
            r->targets |= 1u << i;
        }
    }
    return r->targets != 0 && positions_differ(&r->after); /* one that stays may stand where another was to go */
}

static bool plan_mend(struct extent_rebuild *r, const struct cluster_map_shard *group)
{
    uint32_t move = r->params.leaving | r->params.misplaced;
    return plan_mend_try(r, group, move) || plan_mend_try(r, group, r->params.leaving) || plan_mend_try(r, group, 0);
}

/* Positions for a second set, in an order in which no index stays on its disk. */
static bool plan_apart(struct extent_rebuild *r, const uint8_t *positions, unsigned count, unsigned shift)
{
    const struct extent *old = &r->params.extent;
    for (unsigned i = 0; i < count; i++) {
        r->after.position[i] = positions[(i + shift) % count];
        if (i < count_of(old) && r->after.position[i] == old->position[i]) {
            return false;
        }
    }
    return true;
}

static bool plan_recode(struct extent_rebuild *r)
{
    const struct extent *old = &r->params.extent;
    unsigned k = old->code.matrix == MATRIX_COPIES && old->code.k == 1 && old->class_k == 1 ? 1 : old->class_k;
    unsigned count = k + old->class_m;
    uint8_t positions[CODE_SHARDS_MAX];
    if (cluster_map_spread(r->store->map, old, count, positions) != ERRC_OK) {
        return false;
    }
    bool apart = false;
    for (unsigned shift = 0; shift < count && !apart; shift++) {
        apart = plan_apart(r, positions, count, shift);
    }
    r->after.code = geometry_code(old->stored_bytes, k, old->class_m);
    r->after.missing = 0;
    r->targets = (uint32_t)((1u << count) - 1);
    r->recode = true;
    return apart;
}

/* Marked shards whose own disk is there: they are looked at in their places. */
static bool plan_adopt(struct extent_rebuild *r, const struct cluster_map_shard *group, unsigned group_count)
{
    for (unsigned i = 0; i < count_of(&r->after); i++) {
        unsigned position = r->after.position[i];
        if ((r->after.missing >> i & 1) != 0 && position < group_count && group[position].readable) {
            r->targets |= 1u << i;
        }
    }
    r->adopt_only = true;
    r->state = REBUILD_ADOPTING;
    return r->targets != 0;
}

/* False: nothing can be done now. */
static bool plan_make(struct extent_rebuild *r, const struct cluster_map_shard *group, unsigned group_count)
{
    if (extent_rebuild_lost(&r->params.extent)) {
        return plan_adopt(r, group, group_count);
    }
    if (too_small(&r->params.extent) && plan_recode(r)) {
        return true;
    }
    r->recode = false;
    if (plan_mend(r, group)) {
        return true;
    }
    r->after = r->params.extent;
    r->targets = 0;
    return r->after.missing != 0 && plan_missing(r, group, group_count);
}

bool extent_rebuild_possible(struct data_store *store, const struct extent *extent, uint32_t leaving, uint32_t misplaced)
{
    struct cluster_map_shard group[GROUP_DISKS_MAX];
    unsigned group_count = cluster_map_group(store->map, extent->group, group);
    struct extent_rebuild trial = { .store = store, .params = { .extent = *extent, .leaving = leaving, .misplaced = misplaced },
                                    .after = *extent };
    return group_count == 0 || plan_make(&trial, group, group_count); /* unknown here: trying refreshes the map */
}

static void rebuild_plan(struct extent_rebuild *r)
{
    struct cluster_map_shard group[GROUP_DISKS_MAX];
    struct geometry before;
    r->after = r->params.extent;
    memcpy(r->before, r->after.position, sizeof(r->before));
    r->map_revision = cluster_map_revision(r->store->map);
    unsigned group_count = cluster_map_group(r->store->map, r->after.group, group);
    if (geometry_init(&before, r->after.stored_bytes, &r->after.code) != ERRC_OK) {
        rebuild_end(r, ERRC_CORRUPT, "its record makes no sense");
        return;
    }
    if (cluster_map_locate(r->store->map, &r->params.extent, r->sources) != ERRC_OK) {
        cluster_map_refresh(r->store->map, NULL, NULL);
        rebuild_end(r, ERRC_UNAVAILABLE, "its group is unknown here");
        return;
    }
    if (!plan_make(r, group, group_count) || cluster_map_locate(r->store->map, &r->after, r->where) != ERRC_OK) {
        rebuild_end(r, ERRC_UNAVAILABLE, "no disks for the new shards");
        return;
    }
    if (geometry_init(&r->geometry, r->after.stored_bytes, &r->after.code) != ERRC_OK) {
        rebuild_end(r, ERRC_CORRUPT, "its class makes no sense");
        return;
    }
    for (unsigned i = 0; i < count_of(&r->after); i++) {
        r->crcs[i] = mem_zalloc((size_t)r->geometry.stripe_count * 4);
    }
}

/* ---- calls ---- */

static void call_done(struct shard_call *call)
{
    struct extent_rebuild *r = call->owner;
    bool harmless = call->call.method == RPC_NODE_SHARD_FREE && call->status == ERRC_NOT_FOUND;
    if (call->status != ERRC_OK && !harmless && r->call_status == ERRC_OK) {
        r->call_status = call->status;
    }
    r->pending--;
    shard_call_free(call);
    if (r->pending == 0) {
        step_post(r);
    }
}

static struct shard_call *call_new(struct extent_rebuild *r, uint16_t method, unsigned shard)
{
    struct shard_call *call =
        shard_call_new(r->store, r->params.executor, method, &r->where[shard], shard, r, call_done);
    list_append(&r->calls, &call->node);
    r->pending++;
    return call;
}

static void stat_done(struct shard_call *call)
{
    struct extent_rebuild *r = call->owner;
    struct node_shard_stat_reply reply;
    r->pending--;
    if (call->status == ERRC_OK && node_shard_stat_reply_decode(enc_slice(&call->call.reply), &reply) == ERRC_OK &&
        extent_id_equal(reply.header.extent, r->params.extent.id)) {
        r->header = reply.header;
        r->key = (uint8_t *)mem_strndup((const char *)reply.header.owner.key.data, reply.header.owner.key.len);
        r->header.owner.key.data = r->key;
        enc_raw(&r->footer, reply.footer.data, reply.footer.len);
        r->state = r->recode ? REBUILD_CLEARING : REBUILD_ADOPTING;
    }
    shard_call_free(call);
    step_post(r);
}

static void stat_ask(struct extent_rebuild *r)
{
    const struct extent *extent = &r->params.extent;
    while (r->stat_next < count_of(extent) && (extent->missing >> r->stat_next & 1) != 0) {
        r->stat_next++;
    }
    if (r->stat_next >= count_of(extent)) {
        rebuild_end(r, ERRC_UNAVAILABLE, "no shard of it answers");
        return;
    }
    unsigned shard = r->stat_next++;
    struct shard_call *call = shard_call_new(r->store, r->params.executor, RPC_NODE_SHARD_STAT, &r->sources[shard],
                                             shard, r, stat_done);
    struct node_shard_name name = { call->disk, extent->id, (uint8_t)shard };
    node_shard_name_encode(&call->head, &name);
    list_append(&r->calls, &call->node);
    r->pending++;
    shard_call_start(call, r->sources[shard].channel);
}

/* Of an extent with more than m marked: the marks of what was found whole go, and nothing else changes. */
static void adopted_publish(struct extent_rebuild *r)
{
    r->targets = 0;
    r->after.missing = r->params.extent.missing & ~r->adopted;
    if (r->adopted == 0) {
        rebuild_end(r, r->call_status != ERRC_OK ? ERRC_UNAVAILABLE : ERRC_CORRUPT, "more shards are lost than its code bears");
    } else {
        r->call_status = ERRC_OK; /* one that can't be asked stays marked */
        r->state = REBUILD_PUBLISHING;
    }
}

/* What was found whole is a source for the rest. */
static void adopted_take(struct extent_rebuild *r)
{
    r->targets &= ~r->adopted;
    r->params.extent.missing &= ~r->adopted;
    for (unsigned i = 0; i < count_of(&r->after); i++) {
        if ((r->adopted >> i & 1) != 0) {
            r->params.extent.position[i] = r->after.position[i];
        }
    }
}

/* A disk that was away and came back whole: its shard is read and checked by its node, and is of this very code. */
static void adopt_done(struct shard_call *call)
{
    struct extent_rebuild *r = call->owner;
    struct node_shard_stat_reply reply;
    if (call->status == ERRC_OK && node_shard_stat_reply_decode(enc_slice(&call->call.reply), &reply) == ERRC_OK &&
        extent_id_equal(reply.header.extent, r->after.id) && reply.header.index == call->shard &&
        reply.header.stored_bytes == r->after.stored_bytes && reply.header.code.matrix == r->after.code.matrix &&
        reply.header.code.k == r->after.code.k && reply.header.code.m == r->after.code.m &&
        reply.header.code.cell_bytes == r->after.code.cell_bytes) {
        r->adopted |= 1u << call->shard;
    } else if (call->status != ERRC_OK && call->status != ERRC_NOT_FOUND && call->status != ERRC_CORRUPT &&
               r->call_status == ERRC_OK) {
        r->call_status = call->status; /* not known to be gone or wrong: it may be needed, and is not cleared */
    }
    r->pending--;
    shard_call_free(call);
    if (r->pending == 0 && r->adopt_only) {
        adopted_publish(r);
        step_post(r);
    } else if (r->pending == 0) {
        adopted_take(r);
        r->state = r->targets == 0 ? REBUILD_PUBLISHING : REBUILD_CLEARING;
        step_post(r);
    }
}

static void adopt_ask(struct extent_rebuild *r)
{
    for (unsigned i = 0; i < count_of(&r->after); i++) {
        if ((r->targets >> i & 1) == 0) {
            continue;
        }
        struct shard_call *call = shard_call_new(r->store, r->params.executor, RPC_NODE_SHARD_VERIFY, &r->where[i], i, r,
                                                 adopt_done);
        struct node_shard_name name = { call->disk, r->after.id, (uint8_t)i };
        node_shard_name_encode(&call->head, &name);
        list_append(&r->calls, &call->node);
        r->pending++;
        shard_call_start(call, r->where[i].channel);
    }
}

/* One call about each target. */
static void targets_call(struct extent_rebuild *r, uint16_t method)
{
    for (unsigned i = 0; i < count_of(&r->after); i++) {
        if ((r->targets >> i & 1) == 0) {
            continue;
        }
        struct shard_call *call = call_new(r, method, i);
        if (method == RPC_NODE_SHARD_FREE) {
            uint8_t name[ID_BYTES + 1];
            memcpy(name, r->after.id.bytes, ID_BYTES);
            name[ID_BYTES] = (uint8_t)i;
            struct node_shard_free message = { call->disk, 1, slice_of(name, sizeof(name)) };
            node_shard_free_encode(&call->head, &message);
        } else if (method == RPC_NODE_SHARD_OPEN) {
            struct node_shard_open message = { call->disk, r->header };
            message.header.index = (uint8_t)i;
            message.header.code = r->after.code;
            message.header.cell_count = r->geometry.stripe_count;
            message.header.shard_bytes = (uint32_t)r->geometry.shard_bytes;
            node_shard_open_encode(&call->head, &message);
        } else {
            struct node_shard_commit message = { call->disk, r->after.id, (uint8_t)i, enc_slice(&r->footer) };
            node_shard_commit_encode(&call->head, &message);
        }
        shard_call_start(call, r->where[i].channel);
    }
}

static void target_write(struct extent_rebuild *r, unsigned shard, uint32_t first, uint32_t cells, struct buffer *buffer)
{
    struct shard_call *call = call_new(r, RPC_NODE_SHARD_WRITE, shard);
    struct node_shard_write message = {
        call->disk, r->after.id, (uint8_t)shard, first, slice_of(r->crcs[shard] + (size_t)first * 4, (size_t)cells * 4)
    };
    node_shard_write_encode(&call->head, &message);
    shard_call_payload(call, buffer);
    r->result.bytes_written += buffer->len;
    shard_call_start(call, r->where[shard].channel);
}

/* ---- copying ---- */

static void unit_changed(void *data)
{
    step_post(data);
}

static void unit_drop(struct extent_rebuild *r)
{
    if (r->unit != NULL) {
        read_unit_free(r->unit);
        r->unit = NULL;
    }
}

static bool unit_begin(struct extent_rebuild *r, const struct extent *extent)
{
    enum errc rc = read_unit_new(r->store, r->params.executor, extent, unit_changed, r, &r->unit);
    if (rc != ERRC_OK) {
        rebuild_end(r, rc == ERRC_NOT_FOUND ? ERRC_UNAVAILABLE : rc, "an extent cannot be located");
    }
    return rc == ERRC_OK;
}

static void unit_run(struct extent_rebuild *r)
{
    read_unit_start(r->unit);
    if (r->unit->state != UNIT_READING) {
        step_post(r);
    }
}

static uint32_t run_end(const struct extent_rebuild *r)
{
    uint32_t cells = READ_CALL_BYTES_MAX / r->geometry.code.cell_bytes;
    cells = cells > COPY_STRIPES_MAX ? COPY_STRIPES_MAX : cells;
    uint32_t left = r->geometry.stripe_count - r->next_stripe;
    return r->next_stripe + (cells < left ? cells : left);
}

/* Asks for what the next write needs: the missing cells themselves, or the data of the next stripes. */
static void copy_read(struct extent_rebuild *r)
{
    if (!unit_begin(r, &r->params.extent)) {
        return;
    }
    if (r->recode) {
        uint64_t left = r->params.extent.stored_bytes - r->next_offset;
        uint64_t stripe = (uint64_t)r->unit->geometry.code.k * r->unit->geometry.code.cell_bytes;
        uint64_t length = stripe * (READ_CALL_BYTES_MAX / r->unit->geometry.code.cell_bytes);
        length = length > (2u << 20) ? (2u << 20) / stripe * stripe : length;
        length = length == 0 ? stripe : length;
        read_unit_want_range(r->unit, r->next_offset, length < left ? length : left);
    } else {
        for (unsigned i = 0; i < count_of(&r->after); i++) {
            if ((r->targets >> i & 1) != 0) {
                read_unit_want(r->unit, i, r->next_stripe, run_end(r));
            }
        }
    }
    r->result.bytes_read += read_unit_bytes(r->unit);
    unit_run(r);
}

/* The decoded cells of the missing shards go out as they are. */
static void copy_write_missing(struct extent_rebuild *r)
{
    uint32_t first = r->next_stripe;
    uint32_t end = run_end(r);
    for (unsigned i = 0; i < count_of(&r->after); i++) {
        if ((r->targets >> i & 1) == 0) {
            continue;
        }
        struct buffer *buffer = NULL;
        uint64_t bytes = 0;
        for (uint32_t stripe = first; stripe < end; stripe++) {
            struct slice cell = read_unit_cell(r->unit, i, stripe, &buffer);
            store_le32(r->crcs[i] + (size_t)stripe * 4, crc32c(cell.data, cell.len));
            bytes += cell.len;
        }
        ASSERT(buffer->len == bytes);
        target_write(r, i, first, end - first, buffer);
    }
    r->next_stripe = end;
}

static void batch_send(struct extent_rebuild *r)
{
    struct write_batch *batch = r->batch;
    for (unsigned i = 0; i < count_of(&r->after); i++) {
        memcpy(r->crcs[i] + (size_t)batch->first_stripe * 4, batch->crcs[i], (size_t)batch->stripe_count * 4);
        target_write(r, i, batch->first_stripe, batch->stripe_count, batch->buffers[i]);
    }
    r->next_stripe = batch->first_stripe + batch->stripe_count;
    write_batch_free(batch);
    r->batch = NULL;
}

/* Data of the old set go into batches of the new. */
static void copy_write_recoded(struct extent_rebuild *r)
{
    const struct read_unit *unit = r->unit;
    uint64_t end = r->next_offset;
    for (unsigned i = 0; i < unit->extent->code.k; i++) {
        const struct unit_shard *s = &unit->shards[i];
        uint64_t stripe_end = (uint64_t)s->want_end * unit->geometry.code.k * unit->geometry.code.cell_bytes;
        end = s->want_end > s->want_first && stripe_end > end ? stripe_end : end;
    }
    end = end < r->after.stored_bytes ? end : r->after.stored_bytes;
    while (r->next_offset < end) {
        struct geometry_piece piece = geometry_piece_at(&unit->geometry, r->next_offset, end - r->next_offset);
        struct buffer *buffer = NULL;
        struct slice bytes = read_unit_cell(unit, piece.cell, piece.stripe, &buffer);
        bytes = slice_of(bytes.data + piece.offset, piece.length);
        while (bytes.len > 0) {
            size_t taken = 0;
            if (r->batch == NULL) {
                r->batch = write_batch_new(&r->geometry, r->next_stripe, write_batch_cells(&r->geometry, 4u << 20));
            }
            if (write_batch_fill(r->batch, r->next_offset, bytes, true, &taken) != ERRC_OK) {
                rebuild_end(r, ERRC_INTERNAL, "encoded cells do not decode");
                return;
            }
            r->next_offset += taken;
            bytes = slice_skip(bytes, taken);
            if (write_batch_full(r->batch)) {
                batch_send(r);
            }
        }
    }
}

static void throttle(struct extent_rebuild *r, uint64_t bytes)
{
    if (r->params.bytes_per_second == 0) {
        return;
    }
    uint64_t now_ns = env_now_ns(r->store->env);
    uint64_t from_ns = r->resume_ns > now_ns ? r->resume_ns : now_ns;
    r->resume_ns = from_ns + bytes * 1000 / r->params.bytes_per_second * UINT64_C(1000000);
}

/* ---- checking ---- */

static bool check_cells(struct extent_rebuild *r, uint32_t end)
{
    if (r->unit->decoded) {
        return false;
    }
    for (unsigned i = 0; i < count_of(&r->after); i++) {
        for (uint32_t stripe = r->next_stripe; (r->targets >> i & 1) != 0 && stripe < end; stripe++) {
            struct buffer *buffer = NULL;
            struct slice cell = read_unit_cell(r->unit, i, stripe, &buffer);
            if (crc32c(cell.data, cell.len) != load_le32(r->crcs[i] + (size_t)stripe * 4)) {
                return false;
            }
        }
    }
    return true;
}

static void check_read(struct extent_rebuild *r)
{
    if (!unit_begin(r, &r->after)) {
        return;
    }
    for (unsigned i = 0; i < count_of(&r->after); i++) {
        if ((r->targets >> i & 1) != 0) {
            read_unit_want(r->unit, i, r->next_stripe, run_end(r));
        }
    }
    unit_run(r);
}

/* ---- publishing ---- */

static bool same_places(const struct extent *a, const struct extent *b)
{
    return a->code.k == b->code.k && a->code.m == b->code.m && a->code.cell_bytes == b->code.cell_bytes &&
           a->group == b->group && memcmp(a->position, b->position, count_of(a)) == 0;
}

/* A shard has another place than before. */
static bool moved(const struct extent_rebuild *r)
{
    return r->recode || memcmp(r->before, r->after.position, count_of(&r->after)) != 0;
}

/* Was our proposal applied to this record at some time? Only we move shards and clear bits of `missing`: while all our targets
 * are marked, either it was not, or they were lost again; then dropping them is right too. */
static bool is_ours(const struct extent_rebuild *r, const struct extent *now)
{
    return same_places(now, &r->after) && (moved(r) || (now->missing & (r->targets | r->adopted)) != (r->targets | r->adopted));
}

static void published(struct extent_rebuild *r)
{
    for (unsigned i = 0; !r->recode && i < count_of(&r->after); i++) {
        r->result.moved_shards += r->before[i] != r->after.position[i];
    }
    r->result.has_retired = moved(r);
    rebuild_end(r, ERRC_OK, "");
}

/* Another repair was faster: its shards may have the names and places of ours. */
static void targets_keep_named(struct extent_rebuild *r, const struct extent *now)
{
    for (unsigned i = 0; i < count_of(now) && i < CODE_SHARDS_MAX; i++) {
        if (now->group == r->after.group && now->position[i] == r->after.position[i] && (now->missing >> i & 1) == 0) {
            r->targets &= ~(1u << i);
        }
    }
}

/* The proposal was stale: because one of ours whose answer was lost came first, or because of somebody else? */
static void record_seen(struct meta_op *op)
{
    struct extent_rebuild *r = op->data;
    r->pending--;
    if (op->status != ERRC_OK) {
        r->publish_again = true; /* stale once more, then asked again */
    } else if (op->extent.outcome == META_OK && is_ours(r, &op->extent.extent)) {
        published(r);
    } else {
        if (op->extent.outcome == META_OK) {
            targets_keep_named(r, &op->extent.extent);
        }
        targets_drop(r);
        rebuild_end(r, ERRC_CONFLICT, "it changed meanwhile");
    }
    step_post(r);
}

static void record_ask(struct extent_rebuild *r)
{
    struct meta_query query = { .type = META_QRY_EXTENT, .extent = r->params.extent.id };
    r->pending++;
    meta_op_release(&r->op);
    meta_op_init(&r->op, r->params.executor, NULL, record_seen, r);
    meta_query(r->store->meta, &r->op, &query);
}

static void publish_done(struct meta_op *op)
{
    struct extent_rebuild *r = op->data;
    r->pending--;
    if (op->status != ERRC_OK) {
        /* It may still be applied: the same proposal is repeated until one answer is known, since nothing may be
         * cleared or begun again while an older one can come true. */
        r->publish_again = true;
    } else if (op->result.outcome == META_OK) {
        published(r);
    } else if (op->result.outcome == META_STALE || op->result.outcome == META_NO_KEY) {
        record_ask(r);
        return;
    } else {
        targets_drop(r);
        rebuild_end(r, ERRC_CONFLICT, "the metadata service refused it");
    }
    step_post(r);
}

static void publish(struct extent_rebuild *r)
{
    struct meta_command command = { .type = META_CMD_EXTENT_REPAIRED };
    command.extent_repaired.id = r->params.extent.id;
    command.extent_repaired.epoch = r->params.extent.epoch;
    command.extent_repaired.after = r->after;
    command.extent_repaired.after.epoch = r->params.extent.epoch + 1;
    command.extent_repaired.map_revision = r->map_revision;
    r->pending++;
    r->publish_again = false;
    meta_op_release(&r->op);
    meta_op_init(&r->op, r->params.executor, NULL, publish_done, r);
    meta_propose(r->store->meta, &r->op, &command);
}

/* ---- steps ---- */

static void rebuild_finish(struct extent_rebuild *r)
{
    timer_stop(r->params.executor, &r->timer);
    unit_drop(r);
    if (r->batch != NULL) {
        write_batch_free(r->batch);
    }
    while (!list_empty(&r->calls)) {
        shard_call_detach(container_of(r->calls.next, struct shard_call, node));
    }
    r->params.done(r->params.data, &r->result);
    for (unsigned i = 0; i < CODE_SHARDS_MAX; i++) {
        mem_free(r->crcs[i]);
    }
    if (r->op.client != NULL) {
        meta_op_release(&r->op);
    }
    enc_free(&r->footer);
    mem_free(r->key);
    mem_free(r);
}

static void copy_step(struct extent_rebuild *r)
{
    if (r->unit != NULL && r->unit->state == UNIT_FAILED) {
        rebuild_end(r, r->unit->status, "too few good shards");
        return;
    }
    if (r->unit != NULL && r->unit->state == UNIT_READY) {
        throttle(r, read_unit_bytes(r->unit));
        if (r->recode) {
            copy_write_recoded(r);
        } else {
            copy_write_missing(r);
        }
        unit_drop(r);
        if (r->pending > 0 || r->state == REBUILD_OVER) {
            return;
        }
    }
    if (r->unit != NULL) {
        return;
    }
    if (r->next_stripe == r->geometry.stripe_count) {
        r->state = REBUILD_COMMITTING;
        targets_call(r, RPC_NODE_SHARD_COMMIT);
    } else if (env_now_ns(r->store->env) < r->resume_ns) {
        r->waits_to_resume = true; /* the timer looks again */
    } else {
        copy_read(r);
    }
}

static void check_step(struct extent_rebuild *r)
{
    if (r->unit != NULL && r->unit->state != UNIT_READING) {
        bool good = r->unit->state == UNIT_READY && check_cells(r, run_end(r));
        unit_drop(r);
        if (!good) {
            rebuild_end(r, ERRC_CORRUPT, "what was written does not read back");
            return;
        }
        r->next_stripe = run_end(r);
    }
    if (r->unit != NULL) {
        return;
    }
    if (r->next_stripe < r->geometry.stripe_count) {
        check_read(r);
    } else {
        r->state = REBUILD_PUBLISHING;
        publish(r);
    }
}

/* Nothing of the step is under way: what comes next. */
static void rebuild_advance(struct extent_rebuild *r)
{
    switch (r->state) {
    case REBUILD_STATING:
        stat_ask(r);
        break;
    case REBUILD_ADOPTING:
        adopt_ask(r);
        break;
    case REBUILD_CLEARING:
        r->named = true;
        r->state = REBUILD_OPENING;
        targets_call(r, RPC_NODE_SHARD_FREE);
        break;
    case REBUILD_OPENING:
        r->state = REBUILD_COPYING;
        targets_call(r, RPC_NODE_SHARD_OPEN);
        break;
    case REBUILD_COPYING:
        copy_step(r);
        break;
    case REBUILD_COMMITTING:
        r->state = REBUILD_CHECKING;
        r->next_stripe = 0;
        check_step(r);
        break;
    case REBUILD_CHECKING:
        check_step(r);
        break;
    case REBUILD_PUBLISHING:
        if (r->op.client == NULL) {
            publish(r); /* all was adopted; later rounds are the timer's */
        }
        break;
    case REBUILD_OVER:
        break;
    }
}

static void rebuild_step(struct extent_rebuild *r)
{
    if (r->canceled && (r->state != REBUILD_PUBLISHING || r->pending == 0)) {
        rebuild_end(r, ERRC_CANCELED, "canceled"); /* while publishing: outcome unknown, nothing is dropped */
    } else if (r->call_status != ERRC_OK && r->state != REBUILD_OVER) {
        rebuild_end(r, r->call_status == ERRC_NO_SPACE ? ERRC_NO_SPACE : ERRC_UNAVAILABLE, "a disk did not take its shard");
    }
    if (r->state != REBUILD_OVER && r->pending == 0) {
        rebuild_advance(r);
    }
    if (r->state == REBUILD_OVER && !r->step_posted) {
        rebuild_finish(r);
    }
}

static void timer_run(struct task *task)
{
    struct extent_rebuild *r = container_of(container_of(task, struct timer, task), struct extent_rebuild, timer);
    uint64_t now_ns = env_now_ns(r->store->env);
    uint64_t limit_ns = r->store->config.call_timeout_ms * UINT64_C(1000000);
    if (r->unit != NULL) {
        read_unit_tick(r->unit, now_ns, HEDGE_NS);
    }
    list_for_each(node, &r->calls) {
        const struct shard_call *call = container_of(node, struct shard_call, node);
        if (now_ns - call->started_ns > limit_ns && r->call_status == ERRC_OK) {
            r->call_status = ERRC_TIMEOUT; /* calls still under way are left to themselves */
        }
    }
    timer_start(r->params.executor, &r->timer, TICK_MS);
    if (r->publish_again && r->state == REBUILD_PUBLISHING && r->pending == 0) {
        publish(r);
    }
    if (r->waits_to_resume || r->call_status != ERRC_OK || (r->unit != NULL && r->unit->state != UNIT_READING)) {
        r->waits_to_resume = false;
        step_post(r);
    }
}

struct extent_rebuild *extent_rebuild_start(struct data_store *store, const struct extent_rebuild_params *params)
{
    ASSERT(params->done != NULL);
    struct extent_rebuild *r = mem_zalloc(sizeof(*r));
    r->store = store;
    r->params = *params;
    list_init(&r->calls);
    r->step_task.run = step_run;
    r->timer.task.run = timer_run;
    rebuild_plan(r);
    timer_start(params->executor, &r->timer, TICK_MS);
    step_post(r);
    return r;
}

void extent_rebuild_cancel(struct extent_rebuild *rebuild)
{
    rebuild->canceled = true;
    step_post(rebuild);
}
