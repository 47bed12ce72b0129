/*
 *   SESSIONS -> (close own leftovers) -> for each closed session, for each disk:
 *   LIST OPENS -> EXIST -> ABORT ... -> LIST -> EXIST -> FREE -> LIST ... -> next disk, next session -> sleep
 */
#include "gateway/data/orphan_sweep.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/base/plant.h"
#include "common/rpc/rpc_schema.h"
#include "gateway/data/shard_call.h"

#define SESSIONS_MAX 4096
#define NAME_BYTES (ID_BYTES + 1)
#define LIST_LIMIT NODE_FREE_MAX    /* so that one page is freed by one call */
#define INTERVAL_MS_DEFAULT (10u * 60 * 1000)
#define SWEEP_ARENA_BYTES (4u << 20)

struct swept_session {
    uint64_t id;
    bool open;                      /* a leftover of this node, to be closed */
    bool clean;                     /* every disk was seen to its end */
};

struct orphan_sweep {
    struct orphan_sweep_config config;
    struct timer timer;
    struct meta_op op;
    struct arena arena;
    bool busy, stopping;
    void (*stop_done)(void *data);
    void *stop_data;
    struct swept_session *sessions; /* of this pass */
    unsigned session_count, session_at;
    uint64_t *done_ids;             /* clean in an earlier pass: not listed again by this process */
    unsigned done_count;
    struct cluster_map_disk disks[NODE_DISKS_MAX];
    unsigned disk_count, disk_at;
    struct extent_id from;          /* of the next page */
    bool opens;                     /* first the shards that were begun and never committed */
    uint32_t abort_at;              /* of the names */
    bool page_more;
    uint8_t names[LIST_LIMIT * NAME_BYTES];
    uint32_t name_count;
    uint64_t freed, passes;
    uint64_t sessions_from;         /* of the next page of sessions; one page a pass */
};

static void sweep_next(struct orphan_sweep *sweep);

static void sweep_free(struct orphan_sweep *sweep)
{
    void (*done)(void *data) = sweep->stop_done;
    void *data = sweep->stop_data;
    timer_stop(sweep->config.executor, &sweep->timer);
    if (sweep->op.client != NULL) {
        meta_op_release(&sweep->op);
    }
    arena_done(&sweep->arena);
    mem_free(sweep->sessions);
    mem_free(sweep->done_ids);
    mem_free(sweep);
    done(data);
}

static void sweep_sleep(struct orphan_sweep *sweep)
{
    sweep->busy = false;
    if (sweep->stopping) {
        sweep_free(sweep);
        return;
    }
    timer_start(sweep->config.executor, &sweep->timer, sweep->config.interval_ms);
}

static void op_begin(struct orphan_sweep *sweep, void (*done)(struct meta_op *op))
{
    if (sweep->op.client != NULL) {
        meta_op_release(&sweep->op);
    }
    arena_done(&sweep->arena);
    arena_init(&sweep->arena, SWEEP_ARENA_BYTES);
    meta_op_init(&sweep->op, sweep->config.executor, &sweep->arena, done, sweep);
}

static struct swept_session *session_now(struct orphan_sweep *sweep)
{
    return &sweep->sessions[sweep->session_at];
}

static struct extent_id session_first_id(uint64_t session)
{
    struct extent_id id = { { 0 } };
    store_be64(id.bytes, session);
    return id;
}

static void disk_begin(struct orphan_sweep *sweep, unsigned disk_at)
{
    sweep->disk_at = disk_at;
    sweep->opens = true;
    sweep->page_more = false;
    sweep->from = session_first_id(session_now(sweep)->id);
}

/* The disk could not be seen to its end: the session is looked at again in the next pass. */
static void disk_skip(struct orphan_sweep *sweep)
{
    session_now(sweep)->clean = false;
    disk_begin(sweep, sweep->disk_at + 1);
    sweep_next(sweep);
}

static void page_next(struct orphan_sweep *sweep)
{
    if (sweep->opens) { /* one page has them all */
        sweep->opens = false;
    } else if (!sweep->page_more) {
        disk_begin(sweep, sweep->disk_at + 1);
    }
    sweep_next(sweep);
}

/* ---- one page of one disk ---- */

static struct shard_call *call_new(struct orphan_sweep *sweep, uint16_t method, void (*done)(struct shard_call *call),
                                   struct rpc_channel **ret_channel)
{
    struct cluster_map_shard where = { .disk = sweep->disks[sweep->disk_at].id };
    *ret_channel = NULL;
    if (cluster_map_channel(sweep->config.store->map, where.disk, ret_channel) != ERRC_OK) {
        *ret_channel = NULL; /* ends with UNAVAILABLE */
    }
    return shard_call_new(sweep->config.store, sweep->config.executor, method, &where, 0, sweep, done);
}

static void free_done(struct shard_call *call)
{
    struct orphan_sweep *sweep = call->owner;
    bool ok = call->status == ERRC_OK;
    shard_call_free(call);
    if (ok) {
        sweep->freed += sweep->name_count;
        page_next(sweep);
    } else {
        disk_skip(sweep);
    }
}

static void abort_next(struct orphan_sweep *sweep);

static void abort_done(struct shard_call *call)
{
    struct orphan_sweep *sweep = call->owner;
    enum errc status = call->status;
    shard_call_free(call);
    if (status != ERRC_OK && status != ERRC_NOT_FOUND) { /* gone meanwhile: another sweep was there */
        disk_skip(sweep);
        return;
    }
    sweep->freed += status == ERRC_OK;
    sweep->abort_at++;
    abort_next(sweep);
}

/* Nobody will commit them: their session is closed, and its commands are refused. */
static void abort_next(struct orphan_sweep *sweep)
{
    if (sweep->abort_at == sweep->name_count || sweep->stopping) {
        page_next(sweep);
        return;
    }
    const uint8_t *name = sweep->names + (size_t)sweep->abort_at * NAME_BYTES;
    struct rpc_channel *channel;
    struct shard_call *call = call_new(sweep, RPC_NODE_SHARD_ABORT, abort_done, &channel);
    struct node_shard_name message = { .disk = call->disk, .index = name[ID_BYTES] };
    memcpy(message.extent.bytes, name, ID_BYTES);
    node_shard_name_encode(&call->head, &message);
    shard_call_start(call, channel);
}

static void exist_done(struct meta_op *op)
{
    struct orphan_sweep *sweep = op->data;
    if (op->status != ERRC_OK || op->exist.bitmap.len * 8 < sweep->name_count) {
        disk_skip(sweep);
        return;
    }
    uint32_t orphans = 0;
    for (uint32_t i = 0; i < sweep->name_count; i++) {
        if ((op->exist.bitmap.data[i / 8] >> (i % 8) & 1) == 0) {
            memmove(sweep->names + (size_t)orphans * NAME_BYTES, sweep->names + (size_t)i * NAME_BYTES, NAME_BYTES);
            orphans++;
        }
    }
    sweep->name_count = orphans;
    if (orphans == 0 || sweep->stopping) {
        page_next(sweep);
        return;
    }
    if (sweep->opens) {
        sweep->abort_at = 0;
        abort_next(sweep);
        return;
    }
    struct rpc_channel *channel;
    struct shard_call *call = call_new(sweep, RPC_NODE_SHARD_FREE, free_done, &channel);
    struct node_shard_free message = { call->disk, orphans, slice_of(sweep->names, (size_t)orphans * NAME_BYTES) };
    node_shard_free_encode(&call->head, &message);
    shard_call_start(call, channel);
}

static void exist_ask(struct orphan_sweep *sweep)
{
    struct enc ids = ENC_INIT;
    for (uint32_t i = 0; i < sweep->name_count; i++) {
        enc_raw(&ids, sweep->names + (size_t)i * NAME_BYTES, ID_BYTES);
    }
    struct meta_query query = { .type = META_QRY_EXTENTS_EXIST, .ids = enc_slice(&ids) };
    op_begin(sweep, exist_done);
    meta_query(sweep->config.store->meta, &sweep->op, &query);
    enc_free(&ids);
}

/* Shards of the page's last extent may go on behind it: that extent is left to the next page. */
static void page_take(struct orphan_sweep *sweep, const struct node_shard_list_reply *reply, uint32_t count)
{
    sweep->page_more = count > 0 && reply->more;
    sweep->name_count = count;
    if (count == 0) {
        return;
    }
    memcpy(sweep->names, reply->names.data, (size_t)count * NAME_BYTES);
    const uint8_t *last = sweep->names + (size_t)(count - 1) * NAME_BYTES;
    memcpy(sweep->from.bytes, last, ID_BYTES);
    while (sweep->page_more && sweep->name_count > 0 &&
           memcmp(sweep->names + (size_t)(sweep->name_count - 1) * NAME_BYTES, last, ID_BYTES) == 0) {
        sweep->name_count--;
    }
    if (sweep->name_count == 0) {
        sweep->name_count = count; /* one extent fills the page: no index is beyond it */
        store_be64(sweep->from.bytes + 8, load_be64(sweep->from.bytes + 8) + 1);
    }
}

static void list_done(struct shard_call *call)
{
    struct orphan_sweep *sweep = call->owner;
    struct node_shard_list_reply reply = { 0 };
    bool ok = call->status == ERRC_OK &&
              node_shard_list_reply_decode(enc_slice(&call->call.reply), &reply) == ERRC_OK &&
              reply.count <= LIST_LIMIT && reply.names.len == (size_t)reply.count * NAME_BYTES;
    bool unknown = sweep->opens && call->status == ERRC_UNSUPPORTED; /* an older node has no such list */
    if (sweep->opens) {
        sweep->name_count = ok ? reply.count : 0;
        if (sweep->name_count > 0) {
            memcpy(sweep->names, reply.names.data, (size_t)sweep->name_count * NAME_BYTES);
        }
    } else {
        page_take(sweep, &reply, ok ? reply.count : 0);
    }
    shard_call_free(call);
    if (!ok && !unknown) {
        disk_skip(sweep);
    } else if (sweep->name_count == 0) {
        page_next(sweep);
    } else {
        exist_ask(sweep);
    }
}

static void list_ask(struct orphan_sweep *sweep)
{
    struct rpc_channel *channel;
    uint16_t method = sweep->opens ? RPC_NODE_SHARD_OPENS : RPC_NODE_SHARD_LIST;
    struct shard_call *call = call_new(sweep, method, list_done, &channel);
    struct node_shard_list message = { call->disk, sweep->from, session_first_id(session_now(sweep)->id + 1), LIST_LIMIT };
    node_shard_list_encode(&call->head, &message);
    shard_call_start(call, channel);
}

/* ---- sessions ---- */

static void close_done(struct meta_op *op)
{
    struct orphan_sweep *sweep = op->data;
    if (op->status == ERRC_OK) {
        session_now(sweep)->open = false; /* decided: it is closed now, by us or before */
    } else {
        sweep->session_at++;              /* another time */
        if (sweep->session_at < sweep->session_count) {
            disk_begin(sweep, 0);
        }
    }
    sweep_next(sweep);
}

static void close_ask(struct orphan_sweep *sweep)
{
    struct meta_command command = { .type = META_CMD_SESSION_CLOSE };
    command.session_close.session = session_now(sweep)->id;
    op_begin(sweep, close_done);
    meta_propose(sweep->config.store->meta, &sweep->op, &command);
}

static void session_end(struct orphan_sweep *sweep)
{
    if (session_now(sweep)->clean && sweep->done_count < SESSIONS_MAX) {
        sweep->done_ids[sweep->done_count++] = session_now(sweep)->id;
    }
    sweep->session_at++;
    sweep->disk_at = 0;
    if (sweep->session_at < sweep->session_count) {
        disk_begin(sweep, 0);
    }
}

static void sweep_next(struct orphan_sweep *sweep)
{
    while (sweep->session_at < sweep->session_count && !session_now(sweep)->open &&
           sweep->disk_at >= sweep->disk_count) {
        session_end(sweep);
    }
    if (sweep->session_at >= sweep->session_count || sweep->stopping) {
        sweep->passes += !sweep->stopping;
        sweep_sleep(sweep);
    } else if (session_now(sweep)->open) {
        close_ask(sweep);
    } else if (sweep->disks[sweep->disk_at].map_state == META_DISK_REMOVED) {
        disk_begin(sweep, sweep->disk_at + 1);
        sweep_next(sweep);
    } else {
        list_ask(sweep);
    }
}

static bool already_done(const struct orphan_sweep *sweep, uint64_t id)
{
    for (unsigned i = 0; i < sweep->done_count; i++) {
        if (sweep->done_ids[i] == id) {
            return true;
        }
    }
    return false;
}

static void sessions_done(struct meta_op *op)
{
    struct orphan_sweep *sweep = op->data;
    if (op->status != ERRC_OK || sweep->stopping) {
        sweep_sleep(sweep);
        return;
    }
    uint64_t own = session_number(sweep->config.store->session);
    bool full = op->sessions.count == LIST_ROWS_MAX;
    sweep->sessions_from = full ? op->sessions.sessions[op->sessions.count - 1].id + 1 : 0;
    sweep->session_count = 0;
    for (uint32_t i = 0; i < op->sessions.count && sweep->session_count < SESSIONS_MAX; i++) {
        const struct meta_session *s = &op->sessions.sessions[i];
        bool leftover = s->open && s->id < own && node_id_equal(s->node, sweep->config.node);
        if ((!s->open || leftover || PLANT(PLANT_PURGE_ON_ABSENCE)) && !already_done(sweep, s->id)) {
            sweep->sessions[sweep->session_count++] = (struct swept_session){ s->id, s->open, true };
        }
    }
    sweep->session_at = 0;
    sweep->disk_at = 0;
    sweep->disk_count = cluster_map_disks(sweep->config.store->map, sweep->disks, NODE_DISKS_MAX);
    if (sweep->session_count > 0) {
        disk_begin(sweep, 0);
    }
    sweep_next(sweep);
}

static void timer_run(struct task *task)
{
    struct orphan_sweep *sweep = container_of(container_of(task, struct timer, task), struct orphan_sweep, timer);
    if (!session_alive(sweep->config.store->session)) {
        sweep_sleep(sweep); /* our own number is not known: it must not be taken for a leftover */
        return;
    }
    struct meta_query query = { .type = META_QRY_SESSIONS, .from = sweep->sessions_from, .limit = LIST_ROWS_MAX };
    sweep->busy = true;
    op_begin(sweep, sessions_done);
    meta_query(sweep->config.store->meta, &sweep->op, &query);
}

struct orphan_sweep *orphan_sweep_start(const struct orphan_sweep_config *config)
{
    struct orphan_sweep *sweep = mem_zalloc(sizeof(*sweep));
    sweep->config = *config;
    if (sweep->config.interval_ms == 0) {
        sweep->config.interval_ms = INTERVAL_MS_DEFAULT;
    }
    sweep->sessions = mem_zalloc(SESSIONS_MAX * sizeof(struct swept_session));
    sweep->done_ids = mem_zalloc(SESSIONS_MAX * sizeof(uint64_t));
    sweep->timer.task.run = timer_run;
    timer_start(config->executor, &sweep->timer, 0);
    return sweep;
}

void orphan_sweep_stop(struct orphan_sweep *sweep, void (*done)(void *data), void *data)
{
    ASSERT(!sweep->stopping);
    sweep->stopping = true;
    sweep->stop_done = done;
    sweep->stop_data = data;
    if (!sweep->busy) {
        sweep_free(sweep);
    }
}

uint64_t orphan_sweep_freed(const struct orphan_sweep *sweep)
{
    return sweep->freed;
}

uint64_t orphan_sweep_passes(const struct orphan_sweep *sweep)
{
    return sweep->passes;
}
