#include "gateway/data/extent_writer.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/base/plant.h"
#include "common/cluster/placement.h"
#include "common/rpc/rpc_schema.h"
#include "gateway/data/shard_call.h"
#include "gateway/data/write_batch.h"

#define ATTEMPTS_MAX 3
#define AVOID_MAX (ATTEMPTS_MAX * CODE_SHARDS_MAX)

enum shard_state { SHARD_IDLE, SHARD_OPENING, SHARD_OPEN, SHARD_CLOSING, SHARD_DURABLE, SHARD_FAILED };

struct shard_writer {
    enum shard_state state;
    enum errc status;          /* of FAILED */
    unsigned writes;           /* SHARD_WRITE under way */
    bool named;                /* the node has been told of it */
};

struct extent_writer {
    struct data_store *store;
    struct extent_writer_params params;
    enum extent_writer_state state;
    struct error error;
    struct extent extent;      /* grows into the result */
    uint64_t map_revision;     /* that it was placed by */
    struct geometry geometry;
    struct cluster_map_shard where[CODE_SHARDS_MAX];
    struct shard_writer shards[CODE_SHARDS_MAX];
    struct list calls;         /* of this attempt, under way */
    struct list batches;       /* oldest first; the last may be filling */
    struct write_batch *filling;
    uint32_t batch_cells;
    bool by_put;               /* one SHARD_PUT a shard */
    bool keeps_data;           /* one batch holds it all until the end */
    bool dropped;              /* a batch of this attempt is gone: its data are with its shards alone */
    uint64_t filled;           /* bytes pushed */
    bool finishing;            /* footer is given */
    struct enc footer;
    unsigned attempts;
    struct disk_id avoid[AVOID_MAX];
    unsigned avoid_count;
    struct list earlier;          /* batches of the attempt before, until copied: all that was filled, in order */
    struct geometry earlier_geometry;
    uint64_t earlier_filled;
    bool all_full;                /* every shard that failed in it failed for lack of space */
    struct session_id_wait id_wait;
    struct data_budget_wait budget_wait;
    bool waits_for_id, waits_for_budget;
    bool budget_held;          /* granted, not yet a batch */
    bool ended, discard;
};

static void writer_step(struct extent_writer *writer);
static void writer_free(struct extent_writer *writer);

static unsigned shard_count(const struct extent_writer *writer)
{
    return (unsigned)writer->extent.code.k + writer->extent.code.m;
}

static void writer_changed(struct extent_writer *writer)
{
    if (!writer->ended) {
        writer->params.on_change(writer->params.data);
    }
}

static void writer_fail(struct extent_writer *writer, enum errc code, const char *what)
{
    if (writer->state != EXTENT_FAILED) {
        writer->state = EXTENT_FAILED;
        (void)error_set(&writer->error, code, "write of an extent: %s", what); /* kept in the writer */
    }
}

/* ---- batches ---- */

static void batch_drop(struct extent_writer *writer, struct write_batch *batch)
{
    if (batch == writer->filling) {
        writer->filling = NULL;
    }
    data_budget_give(&writer->store->write_budget, batch->budget_bytes);
    writer->params.window->used_bytes -= batch->budget_bytes;
    write_batch_free(batch);
}

static void batch_add(struct extent_writer *writer, uint64_t budget_bytes)
{
    uint32_t stripe = (uint32_t)(writer->filled / ((uint64_t)writer->geometry.code.k * writer->geometry.code.cell_bytes));
    struct write_batch *batch = write_batch_new(&writer->geometry, stripe, writer->batch_cells);
    batch->budget_bytes = budget_bytes;
    list_append(&writer->batches, &batch->node);
    writer->filling = batch;
}

static void budget_granted(struct task *task)
{
    struct extent_writer *writer =
        container_of(container_of(task, struct data_budget_wait, task), struct extent_writer, budget_wait);
    writer->waits_for_budget = false;
    writer->budget_held = true;
    if (writer->ended) {
        writer_free(writer);
        return;
    }
    writer_step(writer);
    writer_changed(writer);
}

/* True: there is a batch to fill. */
static bool batch_ready(struct extent_writer *writer)
{
    struct write_window *window = writer->params.window;
    if (writer->filling != NULL) {
        return true;
    }
    if (writer->waits_for_budget) {
        return false;
    }
    uint32_t stripe = (uint32_t)(writer->filled / ((uint64_t)writer->geometry.code.k * writer->geometry.code.cell_bytes));
    uint64_t bytes = write_batch_bytes(&writer->geometry, stripe, writer->batch_cells);
    if (!writer->budget_held) {
        /* One batch may always be there, so that a window smaller than a batch does not stop the stream. */
        if (window->used_bytes > 0 && window->used_bytes + bytes > window->limit_bytes * 2) {
            return false;
        }
        window->used_bytes += bytes;
        writer->budget_wait.executor = writer->params.executor;
        writer->budget_wait.task.run = budget_granted;
        if (!data_budget_take(&writer->store->write_budget, bytes, &writer->budget_wait)) {
            writer->waits_for_budget = true;
            return false;
        }
    }
    writer->budget_held = false;
    batch_add(writer, bytes);
    return true;
}

/* ---- calls ---- */

static void shard_fail(struct extent_writer *writer, unsigned shard, enum errc status)
{
    struct shard_writer *s = &writer->shards[shard];
    if (s->state != SHARD_FAILED) {
        s->state = SHARD_FAILED;
        s->status = status;
    }
}

/* A batch that every shard has taken or given up on is no longer needed, unless it is kept for another attempt. */
static void batches_trim(struct extent_writer *writer)
{
    uint32_t gone = 0;
    for (unsigned i = 0; i < shard_count(writer); i++) {
        gone |= (uint32_t)(writer->shards[i].state == SHARD_FAILED) << i;
    }
    uint32_t all = (uint32_t)((1u << shard_count(writer)) - 1);
    for (struct list *node = writer->batches.next; node != &writer->batches;) {
        struct write_batch *batch = container_of(node, struct write_batch, node);
        node = node->next;
        if (!writer->keeps_data && write_batch_full(batch) && ((batch->answered | gone) & all) == all) {
            batch_drop(writer, batch);
            writer->dropped = true;
        }
    }
}

/* The batch may be gone: dropped because the shard had failed by an earlier call, or with the stream. */
static void batch_answered(struct extent_writer *writer, uint32_t first_stripe, unsigned shard)
{
    list_for_each(node, &writer->batches) {
        struct write_batch *batch = container_of(node, struct write_batch, node);
        if (batch->first_stripe == first_stripe) {
            batch->answered |= 1u << shard;
        }
    }
}

static void shard_answered(struct extent_writer *writer, const struct shard_call *call)
{
    struct shard_writer *s = &writer->shards[call->shard];
    if (call->call.method == RPC_NODE_SHARD_WRITE) {
        ASSERT(s->writes > 0);
        s->writes--;
        batch_answered(writer, call->first_cell, call->shard);
    }
    if (call->status != ERRC_OK) {
        shard_fail(writer, call->shard, call->status);
    } else if (s->state == SHARD_OPENING) {
        s->state = SHARD_OPEN;
    } else if (s->state == SHARD_CLOSING && call->call.method != RPC_NODE_SHARD_WRITE) {
        s->state = SHARD_DURABLE;
    }
}

static void call_done(struct shard_call *call)
{
    struct extent_writer *writer = call->owner;
    shard_answered(writer, call);
    shard_call_free(call);
    if (writer->ended) {
        writer_free(writer);
        return;
    }
    writer_step(writer);
    writer_changed(writer);
}

static struct shard_call *call_new(struct extent_writer *writer, uint16_t method, unsigned shard)
{
    struct shard_call *call = shard_call_new(writer->store, writer->params.executor, method, &writer->where[shard], shard,
                                             writer, call_done);
    list_append(&writer->calls, &call->node);
    writer->shards[shard].named = true;
    return call;
}

static struct shard_header header_of(const struct extent_writer *writer, unsigned shard)
{
    return (struct shard_header){
        .cluster = cluster_map_cluster(writer->store->map),
        .extent = writer->extent.id,
        .index = (uint8_t)shard,
        .code = writer->extent.code,
        .logical_bytes = writer->extent.logical_bytes,
        .stored_bytes = writer->extent.stored_bytes,
        .cell_count = writer->geometry.stripe_count,
        .shard_bytes = (uint32_t)writer->geometry.shard_bytes,
        .owner = writer->params.owner,
    };
}

static void shard_open(struct extent_writer *writer, unsigned shard)
{
    struct shard_call *call = call_new(writer, RPC_NODE_SHARD_OPEN, shard);
    struct node_shard_open message = { .disk = call->disk, .header = header_of(writer, shard) };
    node_shard_open_encode(&call->head, &message);
    writer->shards[shard].state = SHARD_OPENING;
    shard_call_start(call, writer->where[shard].channel);
}

static void shard_put(struct extent_writer *writer, unsigned shard, const struct write_batch *batch)
{
    struct shard_call *call = call_new(writer, RPC_NODE_SHARD_PUT, shard);
    struct node_shard_put message = {
        .disk = call->disk,
        .header = header_of(writer, shard),
        .cell_crcs = slice_of(batch->crcs[shard], (size_t)batch->stripe_count * 4),
        .footer = enc_slice(&writer->footer),
    };
    node_shard_put_encode(&call->head, &message);
    shard_call_payload(call, batch->buffers[shard]);
    writer->shards[shard].state = SHARD_CLOSING;
    shard_call_start(call, writer->where[shard].channel);
}

static void shard_write(struct extent_writer *writer, unsigned shard, struct write_batch *batch)
{
    struct shard_call *call = call_new(writer, RPC_NODE_SHARD_WRITE, shard);
    struct node_shard_write message = {
        .disk = call->disk,
        .extent = writer->extent.id,
        .index = (uint8_t)shard,
        .first_cell = batch->first_stripe,
        .cell_crcs = slice_of(batch->crcs[shard], (size_t)batch->stripe_count * 4),
    };
    node_shard_write_encode(&call->head, &message);
    shard_call_payload(call, batch->buffers[shard]);
    call->first_cell = batch->first_stripe;
    call->call.order = load_be64(writer->extent.id.bytes + 8) + 1; /* cells are taken in order */
    batch->sent |= 1u << shard;
    writer->shards[shard].writes++;
    shard_call_start(call, writer->where[shard].channel);
}

static void shard_commit(struct extent_writer *writer, unsigned shard)
{
    struct shard_call *call = call_new(writer, RPC_NODE_SHARD_COMMIT, shard);
    struct node_shard_commit message = {
        .disk = call->disk,
        .extent = writer->extent.id,
        .index = (uint8_t)shard,
        .footer = enc_slice(&writer->footer),
    };
    node_shard_commit_encode(&call->head, &message);
    writer->shards[shard].state = SHARD_CLOSING;
    shard_call_start(call, writer->where[shard].channel);
}

/* ---- the attempt ---- */

static void writer_place(struct extent_writer *writer)
{
    struct extent_writer_params *p = &writer->params;
    struct cluster_map_placement placed;
    enum errc rc = cluster_map_place(writer->store->map, writer->extent.id, p->k, p->m, p->width, writer->avoid,
                                     writer->avoid_count, &placed);
    if (rc != ERRC_OK || (p->whole_class && placed.smaller)) {
        bool full = writer->all_full || rc == ERRC_NO_SPACE;
        writer_fail(writer, full ? ERRC_NO_SPACE : ERRC_UNAVAILABLE, full ? "the disks are full" : "too few disks can be written");
        return;
    }
    struct extent *extent = &writer->extent;
    extent->code = geometry_code(p->bytes, placed.k, placed.m);
    extent->logical_bytes = p->bytes;
    extent->stored_bytes = p->bytes;
    extent->group = placed.group;
    writer->map_revision = placed.revision;
    extent->epoch = 1;
    extent->class_k = p->k;
    extent->class_m = p->m;
    extent->references = 1;
    for (unsigned i = 0; i < shard_count(writer); i++) {
        extent->position[i] = placed.shards[i].position;
        writer->where[i] = placed.shards[i];
        writer->shards[i] = (struct shard_writer){ .state = SHARD_IDLE };
    }
    rc = geometry_init(&writer->geometry, p->bytes, &extent->code);
    ASSERT(rc == ERRC_OK);
    writer->batch_cells = write_batch_cells(&writer->geometry, p->window->limit_bytes);
    writer->keeps_data = writer->batch_cells >= writer->geometry.stripe_count;
    writer->dropped = false;
    writer->by_put = writer->keeps_data && writer->geometry.shard_bytes <= writer->store->config.put_bytes_max;
    writer->state = EXTENT_FILLING;
    for (unsigned i = 0; !writer->by_put && i < shard_count(writer); i++) {
        shard_open(writer, i);
    }
}

static void id_arrived(struct session_id_wait *wait)
{
    struct extent_writer *writer = wait->data;
    writer->waits_for_id = false;
    if (writer->ended) {
        writer_free(writer);
        return;
    }
    writer->extent.id = wait->id;
    if (wait->status != ERRC_OK) {
        writer_fail(writer, ERRC_UNAVAILABLE, "no session");
    } else {
        writer_place(writer);
    }
    writer_step(writer);
    writer_changed(writer);
}

static void writer_name(struct extent_writer *writer)
{
    writer->state = EXTENT_NAMING;
    writer->attempts++;
    writer->id_wait.executor = writer->params.executor;
    writer->id_wait.done = id_arrived;
    writer->id_wait.data = writer;
    enum errc rc = session_take_id(writer->store->session, &writer->extent.id, &writer->id_wait);
    if (rc == ERRC_OK) {
        writer_place(writer);
    } else if (rc == ERRC_WOULD_BLOCK) {
        writer->waits_for_id = true;
    } else {
        writer_fail(writer, ERRC_UNAVAILABLE, "no session");
    }
}

/* Tells the nodes to forget what this attempt left with them. */
static void attempt_free_shards(struct extent_writer *writer)
{
    uint32_t named = 0;
    for (unsigned i = 0; i < shard_count(writer); i++) {
        struct shard_writer *s = &writer->shards[i];
        if (s->named && !writer->by_put && s->state != SHARD_DURABLE) {
            struct shard_call *call = shard_call_new(writer->store, writer->params.executor, RPC_NODE_SHARD_ABORT,
                                                     &writer->where[i], i, NULL, NULL);
            struct node_shard_name name = { .disk = call->disk, .extent = writer->extent.id, .index = (uint8_t)i };
            node_shard_name_encode(&call->head, &name);
            shard_call_start(call, writer->where[i].channel);
        }
        /* Also after an abort: a commit may have been done whose answer was an error. */
        named |= (uint32_t)s->named << i;
    }
    shard_call_free_shards(writer->store, writer->params.executor, writer->extent.id, named, writer->where);
}

static void earlier_drop(struct extent_writer *writer)
{
    while (!list_empty(&writer->earlier)) {
        batch_drop(writer, container_of(writer->earlier.next, struct write_batch, node));
    }
}

/* Fills on from one batch of the attempt before. */
static void refill_from(struct extent_writer *writer, const struct write_batch *earlier)
{
    uint32_t after = earlier->first_stripe + earlier->stripe_count;
    uint64_t end = (uint64_t)after * earlier->geometry->code.k * earlier->geometry->code.cell_bytes;
    end = end < writer->earlier_filled ? end : writer->earlier_filled;
    while (writer->state == EXTENT_FILLING && writer->filled < end) {
        if (writer->filling == NULL) {
            uint32_t stripe =
                (uint32_t)(writer->filled / ((uint64_t)writer->geometry.code.k * writer->geometry.code.cell_bytes));
            uint64_t bytes = write_batch_bytes(&writer->geometry, stripe, writer->batch_cells);
            data_budget_force(&writer->store->write_budget, bytes);
            writer->params.window->used_bytes += bytes;
            batch_add(writer, bytes);
        }
        size_t taken = 0;
        struct slice bytes = write_batch_peek(earlier, writer->filled);
        bytes.len = bytes.len < end - writer->filled ? bytes.len : (size_t)(end - writer->filled);
        enum errc rc = write_batch_fill(writer->filling, writer->filled, bytes, writer->store->config.verify_encode, &taken);
        writer->filled += taken;
        if (rc != ERRC_OK) {
            writer_fail(writer, rc, "encoded cells do not decode");
        } else if (write_batch_full(writer->filling)) {
            writer->filling = NULL;
        }
    }
}

/* All data so far are in `earlier`: encode them again in whatever code the new place gives. */
static void attempt_refill(struct extent_writer *writer)
{
    writer->filled = 0;
    while (writer->state == EXTENT_FILLING && !list_empty(&writer->earlier)) {
        struct write_batch *batch = container_of(writer->earlier.next, struct write_batch, node);
        refill_from(writer, batch);
        batch_drop(writer, batch);
    }
    earlier_drop(writer);
    ASSERT(writer->state != EXTENT_FILLING || writer->filled == writer->earlier_filled);
}

static enum errc failure_code(const struct extent_writer *writer)
{
    for (unsigned i = 0; i < shard_count(writer); i++) {
        const struct shard_writer *s = &writer->shards[i];
        if (s->state == SHARD_FAILED && s->status != ERRC_NO_SPACE) {
            return ERRC_UNAVAILABLE;
        }
    }
    return ERRC_NO_SPACE;
}

/* A new id on other disks. The batches that keep the data outlive the geometry they were made for. */
static void attempt_again(struct extent_writer *writer)
{
    for (unsigned i = 0; i < shard_count(writer); i++) {
        if (writer->shards[i].state == SHARD_FAILED) {
            writer->avoid[writer->avoid_count++] = writer->where[i].disk;
        }
    }
    attempt_free_shards(writer);
    if (writer->budget_held) { /* measured for the code of this attempt */
        writer->budget_held = false;
        writer->params.window->used_bytes -= writer->budget_wait.bytes;
        data_budget_give(&writer->store->write_budget, writer->budget_wait.bytes);
    }
    writer->all_full = failure_code(writer) == ERRC_NO_SPACE;
    writer->earlier_geometry = writer->geometry;
    writer->earlier_filled = writer->filled;
    list_move_all(&writer->earlier, &writer->batches);
    list_for_each(node, &writer->earlier) {
        container_of(node, struct write_batch, node)->geometry = &writer->earlier_geometry;
    }
    writer->filling = NULL;
    writer_name(writer);
}

/* ---- progress ---- */

static unsigned shards_needed(const struct extent_writer *writer)
{
    const struct extent_code *code = &writer->extent.code;
    if (PLANT(PLANT_ACK_BELOW_K)) {
        return code->k - 1u;
    }
    if (writer->params.whole_class) {
        return (unsigned)code->k + code->m;
    }
    return code->m > 0 ? code->k + 1u : code->k;
}

static unsigned shards_in(const struct extent_writer *writer, enum shard_state state)
{
    unsigned count = 0;
    for (unsigned i = 0; i < shard_count(writer); i++) {
        count += writer->shards[i].state == state;
    }
    return count;
}

/* Sends to one shard whatever it is ready for. */
static void shard_advance(struct extent_writer *writer, unsigned shard)
{
    struct shard_writer *s = &writer->shards[shard];
    bool complete = writer->filled == writer->params.bytes;
    if (writer->by_put) {
        if (s->state == SHARD_IDLE && complete && writer->finishing) {
            shard_put(writer, shard, container_of(writer->batches.next, struct write_batch, node));
        }
        return;
    }
    if (s->state != SHARD_OPEN) {
        return;
    }
    bool all_sent = complete;
    list_for_each(node, &writer->batches) {
        struct write_batch *batch = container_of(node, struct write_batch, node);
        if (!write_batch_full(batch)) {
            all_sent = false;
        } else if ((batch->sent >> shard & 1) == 0) {
            shard_write(writer, shard, batch);
        }
    }
    if (all_sent && s->writes == 0 && writer->finishing) {
        shard_commit(writer, shard);
    }
}

static void writer_complete(struct extent_writer *writer)
{
    writer->extent.missing = 0;
    for (unsigned i = 0; i < shard_count(writer); i++) {
        writer->extent.missing |= (uint32_t)(writer->shards[i].state == SHARD_FAILED && !PLANT(PLANT_ACK_BELOW_K)) << i;
    }
    if (writer->extent.missing != 0 || writer->extent.code.k != writer->extent.class_k ||
        writer->extent.code.m != writer->extent.class_m) {
        atomic_fetch_add(&writer->store->extents_degraded, 1);
    }
    writer->state = EXTENT_DONE;
    writer->keeps_data = false;
    batches_trim(writer);
}

/* Whether enough shards can still become durable; if not, begins again or fails. False: the step ends here. */
static bool writer_viable(struct extent_writer *writer)
{
    if (shard_count(writer) - shards_in(writer, SHARD_FAILED) >= shards_needed(writer)) {
        return true;
    }
    if (writer->attempts >= ATTEMPTS_MAX || writer->dropped) {
        writer_fail(writer, failure_code(writer), "too few disks took their shards");
        return false;
    }
    if (list_empty(&writer->calls) && !writer->waits_for_budget) { /* either comes back here when it ends */
        attempt_again(writer);
        return writer->state == EXTENT_FILLING;
    }
    return false;
}

static void writer_step(struct extent_writer *writer)
{
    if (writer->state != EXTENT_FILLING && writer->state != EXTENT_STORING) {
        return;
    }
    if (list_empty(&writer->earlier) && !writer_viable(writer)) {
        return;
    }
    if (!list_empty(&writer->earlier)) {
        attempt_refill(writer);
    }
    if (writer->state == EXTENT_FAILED) {
        return;
    }
    for (unsigned i = 0; i < shard_count(writer); i++) {
        shard_advance(writer, i);
    }
    if (writer->filled == writer->params.bytes && writer->finishing) {
        writer->state = EXTENT_STORING;
    }
    batches_trim(writer);
    if (writer->state == EXTENT_STORING &&
        shards_in(writer, SHARD_DURABLE) + shards_in(writer, SHARD_FAILED) == shard_count(writer)) {
        writer_complete(writer);
    }
}

/* ---- doors ---- */

struct extent_writer *extent_writer_new(struct data_store *store, const struct extent_writer_params *params)
{
    ASSERT(params->bytes >= 1 && params->bytes <= EXTENT_BYTES_MAX);
    ASSERT(params->on_change != NULL);
    struct extent_writer *writer = mem_zalloc(sizeof(*writer));
    writer->store = store;
    writer->params = *params;
    list_init(&writer->calls);
    list_init(&writer->batches);
    list_init(&writer->earlier);
    writer_name(writer);
    return writer;
}

size_t extent_writer_push(struct extent_writer *writer, struct slice bytes)
{
    size_t taken = 0;
    bool filled_some = false;
    while (taken < bytes.len && writer->state == EXTENT_FILLING && writer->filled < writer->params.bytes &&
           batch_ready(writer)) {
        size_t here = 0;
        enum errc rc = write_batch_fill(writer->filling, writer->filled, slice_skip(bytes, taken),
                                        writer->store->config.verify_encode, &here);
        taken += here;
        writer->filled += here;
        if (rc != ERRC_OK) {
            writer_fail(writer, rc, "encoded cells do not decode");
        } else if (write_batch_full(writer->filling)) {
            writer->filling = NULL;
            filled_some = true;
        }
    }
    if (filled_some) {
        writer_step(writer);
    }
    return taken;
}

void extent_writer_finish(struct extent_writer *writer, struct slice footer)
{
    ASSERT(!writer->finishing);
    ASSERT(footer.len <= SHARD_FOOTER_BYTES_MAX);
    enc_raw(&writer->footer, footer.data, footer.len);
    writer->finishing = true;
    writer_step(writer);
}

/* OK, or why the call is not waited for any longer. What it does later is for the repair of the missing shard. */
static enum errc call_overdue(const struct extent_writer *writer, const struct shard_call *call, uint64_t now_ns)
{
    const struct data_config *config = &writer->store->config;
    uint64_t age_ms = (now_ns - call->started_ns) / 1000000u;
    if (age_ms > config->call_timeout_ms) {
        cluster_map_disk_failed(writer->store->map, call->disk, ERRC_TIMEOUT);
        return ERRC_TIMEOUT;
    }
    bool gone = age_ms > config->gone_call_ms && cluster_map_disk_gone(writer->store->map, call->disk);
    return gone ? ERRC_UNAVAILABLE : ERRC_OK;
}

void extent_writer_check(struct extent_writer *writer)
{
    uint64_t now_ns = env_now_ns(writer->store->env);
    bool changed = false;
    for (struct list *node = writer->calls.next; node != &writer->calls;) {
        struct shard_call *call = container_of(node, struct shard_call, node);
        node = node->next;
        enum errc overdue = call_overdue(writer, call, now_ns);
        if (overdue != ERRC_OK) {
            call->status = overdue;
            shard_answered(writer, call);
            shard_call_detach(call);
            changed = true;
        }
    }
    if (changed) {
        writer_step(writer);
    }
}

enum extent_writer_state extent_writer_state(const struct extent_writer *writer)
{
    return writer->state;
}

const struct error *extent_writer_error(const struct extent_writer *writer)
{
    return &writer->error;
}

const struct extent *extent_writer_extent(const struct extent_writer *writer)
{
    ASSERT(writer->state == EXTENT_DONE);
    return &writer->extent;
}

uint64_t extent_writer_map_revision(const struct extent_writer *writer)
{
    ASSERT(writer->state == EXTENT_DONE);
    return writer->map_revision;
}

/* The last act, when nothing of the writer is in anybody else's hands. */
static void writer_free(struct extent_writer *writer)
{
    if (writer->waits_for_id || writer->waits_for_budget || (writer->discard && !list_empty(&writer->calls))) {
        return;
    }
    if (writer->discard && writer->extent.code.k > 0) {
        attempt_free_shards(writer);
    }
    ASSERT(list_empty(&writer->calls));
    if (writer->budget_held) {
        data_budget_give(&writer->store->write_budget, writer->budget_wait.bytes);
    }
    enc_free(&writer->footer);
    mem_free(writer);
}

void extent_writer_end(struct extent_writer *writer, bool discard)
{
    ASSERT(!writer->ended);
    writer->ended = true;
    writer->discard = discard;
    if (writer->waits_for_id && session_cancel_wait(writer->store->session, &writer->id_wait)) {
        writer->waits_for_id = false;
    }
    if (writer->waits_for_budget && data_budget_cancel(&writer->store->write_budget, &writer->budget_wait)) {
        writer->waits_for_budget = false;
    }
    earlier_drop(writer);
    while (!list_empty(&writer->batches)) {
        /* Calls under way hold references of their own to the buffers. */
        batch_drop(writer, container_of(writer->batches.next, struct write_batch, node));
    }
    while (!discard && !list_empty(&writer->calls)) {
        shard_call_detach(container_of(writer->calls.next, struct shard_call, node));
    }
    writer_free(writer);
}
