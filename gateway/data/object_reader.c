/*
 *   OPEN -> ENDED | FAILED
 *
 * Three offsets of the object move to the right: `at` (handed out), `planned` (units made) and `end`. Units are read
 * side by side and handed out in order. The plan stops at the window, at the budget, and where the references known
 * so far end; then more are asked for. Only a reader without any unit waits for the budget: what is read ahead is taken
 * where there is room, so whoever waits has nothing to hand out.
 */
#include "gateway/data/object_reader.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "gateway/data/read_unit.h"

#define UNIT_BYTES_MAX (2u << 20)     /* data of one unit */
#define TICK_MS 10
#define LOCATE_RETRIES_MAX 50         /* ticks that an unknown group is waited for while the map is refreshed */
#define MORE_ARENA_BYTES (1u << 20)

struct object_reader {
    struct data_store *store;
    struct object_reader_params params;
    uint64_t at, planned, end;        /* offsets of the object */
    struct meta_data_extent *extents;
    uint32_t extent_count;
    uint32_t extent_next;             /* holds `planned` */
    uint64_t extents_until;
    struct list units;                /* in order */
    uint64_t unit_bytes;              /* data of all units: read ahead */
    struct read_unit *pending;        /* planned, waits for the budget */
    enum errc status;
    struct error error;
    bool waits;                       /* on_ready is owed */
    bool ready_posted;
    struct task ready_task;
    struct data_budget_wait budget_wait;
    bool waits_for_budget;
    struct timer tick_timer;
    unsigned locate_retries;
    bool locating;                    /* the next extent's group is unknown: tried again at the tick */
    struct session_read pin;
    struct meta_query more;
    bool more_busy;
    struct meta_op more_op;
    struct arena more_arena;
    struct list retired;              /* pages of references that units still point into */
    bool ended;
};

/* One page of references; units borrow its extents. */
struct extents_page {
    struct list node;
    struct meta_data_extent extents[];
};

static void reader_plan(struct object_reader *reader);
static void reader_free(struct object_reader *reader);

static void reader_wake(struct object_reader *reader)
{
    if (reader->waits && !reader->ready_posted) {
        reader->ready_posted = true;
        executor_post(reader->params.executor, &reader->ready_task);
    }
}

static void reader_fail(struct object_reader *reader, enum errc code, const char *what)
{
    if (reader->status == ERRC_OK) {
        reader->status = code;
        (void)error_set(&reader->error, code, "read of an object at %llu: %s", /* kept in the reader */
                        (unsigned long long)reader->at, what);
    }
}

static struct read_unit *unit_head(const struct object_reader *reader)
{
    return list_empty(&reader->units) ? NULL : container_of(reader->units.next, struct read_unit, node);
}

/* Something is there for next(): bytes or the end of the stream. */
static bool reader_has_news(const struct object_reader *reader)
{
    const struct read_unit *head = unit_head(reader);
    return head != NULL ? head->state != UNIT_READING : reader->status != ERRC_OK || reader->at == reader->end;
}

static void reader_look(struct object_reader *reader)
{
    if (reader_has_news(reader)) {
        reader_wake(reader);
    }
}

static void ready_run(struct task *task)
{
    struct object_reader *reader = container_of(task, struct object_reader, ready_task);
    reader->ready_posted = false;
    if (reader->ended) {
        reader_free(reader);
    } else if (reader->waits) {
        reader->waits = false;
        reader->params.on_ready(reader->params.data);
    }
}

/* ---- references ---- */

static void page_add(struct object_reader *reader, const struct meta_data_extent *extents, uint32_t count)
{
    struct extents_page *page = mem_alloc(sizeof(*page) + count * sizeof(page->extents[0]));
    if (count > 0) {
        memcpy(page->extents, extents, count * sizeof(page->extents[0]));
    }
    list_append(&reader->retired, &page->node);
    reader->extents = page->extents;
    reader->extent_count = count;
    reader->extent_next = 0;
}

static void more_done(struct meta_op *op)
{
    struct object_reader *reader = op->data;
    reader->more_busy = false;
    if (reader->ended) {
        reader_free(reader);
        return;
    }
    if (op->status != ERRC_OK) {
        reader_fail(reader, ERRC_UNAVAILABLE, "the metadata service did not answer");
    } else if (op->object.outcome != META_OK || op->object.extent_count == 0 ||
               op->object.extents_until <= reader->planned) {
        reader_fail(reader, ERRC_CORRUPT, "references of the object end too early");
    } else {
        page_add(reader, op->object.extents, op->object.extent_count);
        reader->extents_until = op->object.extents_until;
    }
    meta_op_release(op);
    arena_done(&reader->more_arena);
    reader_plan(reader);
    reader_look(reader);
}

static void more_ask(struct object_reader *reader)
{
    reader->more_busy = true;
    reader->more.type = META_QRY_EXTENTS;
    reader->more.want_body = false;
    reader->more.want_data = true;
    reader->more.range_first = reader->planned;
    reader->more.range_length = reader->end - reader->planned;
    arena_init(&reader->more_arena, MORE_ARENA_BYTES);
    meta_op_init(&reader->more_op, reader->params.executor, &reader->more_arena, more_done, reader);
    meta_query(reader->store->meta, &reader->more_op, &reader->more);
}

/* ---- units ---- */

static void unit_changed(void *data)
{
    struct object_reader *reader = data;
    reader_look(reader);
}

static bool tick_needed(const struct object_reader *reader)
{
    bool reading = false;
    list_for_each(node, &reader->units) {
        reading |= container_of(node, struct read_unit, node)->state == UNIT_READING;
    }
    return reading || reader->locating;
}

static void tick_run(struct task *task)
{
    struct object_reader *reader =
        container_of(container_of(task, struct timer, task), struct object_reader, tick_timer);
    uint64_t now_ns = env_now_ns(reader->store->env);
    uint64_t hedge_ns = reader->store->config.hedge_ms_min * UINT64_C(1000000);
    uint64_t slow_ns = 4 * atomic_load_explicit(&reader->store->read_latency_ns, memory_order_relaxed);
    hedge_ns = slow_ns > hedge_ns ? slow_ns : hedge_ns;
    list_for_each(node, &reader->units) {
        read_unit_tick(container_of(node, struct read_unit, node), now_ns, hedge_ns);
    }
    reader->locating = false;
    reader_plan(reader);
    reader_look(reader);
}

static void tick_arm(struct object_reader *reader)
{
    if (tick_needed(reader) && !reader->tick_timer.armed && !reader->ended) {
        timer_start(reader->params.executor, &reader->tick_timer, TICK_MS);
    }
}

static void unit_begin(struct object_reader *reader, struct read_unit *unit)
{
    reader->pending = NULL;
    list_append(&reader->units, &unit->node);
    read_unit_start(unit);
}

static void unit_drop(struct object_reader *reader, struct read_unit *unit)
{
    data_budget_give(&reader->store->read_budget, unit->budget_bytes);
    reader->unit_bytes -= unit->end - unit->first;
    read_unit_free(unit);
}

static void budget_granted(struct task *task)
{
    struct object_reader *reader =
        container_of(container_of(task, struct data_budget_wait, task), struct object_reader, budget_wait);
    reader->waits_for_budget = false;
    if (reader->ended) {
        data_budget_give(&reader->store->read_budget, reader->budget_wait.bytes);
        reader_free(reader);
        return;
    }
    unit_begin(reader, reader->pending);
    reader_plan(reader);
    reader_look(reader);
}

/* Bytes of the next unit: to the end of a stripe, at most UNIT_BYTES_MAX of data and READ_CALL_BYTES_MAX of a shard. */
static uint64_t unit_length(const struct extent_code *code, uint64_t offset, uint64_t left)
{
    uint64_t stripe_bytes = (uint64_t)code->k * code->cell_bytes;
    uint64_t stripes = UNIT_BYTES_MAX / stripe_bytes;
    uint64_t stripes_max = READ_CALL_BYTES_MAX / code->cell_bytes;
    stripes = stripes > stripes_max ? stripes_max : stripes;
    stripes = stripes == 0 ? 1 : stripes;
    uint64_t length = (offset / stripe_bytes + stripes) * stripe_bytes - offset;
    return length < left ? length : left;
}

/* The reference that holds `planned`, or NULL with the reader failed or waiting for more. */
static const struct meta_data_extent *extent_at_plan(struct object_reader *reader)
{
    while (reader->extent_next < reader->extent_count) {
        const struct meta_data_extent *here = &reader->extents[reader->extent_next];
        if (here->object_offset > reader->planned) {
            break;
        }
        if (reader->planned - here->object_offset < here->length) {
            if (here->offset > here->extent.stored_bytes || here->length > here->extent.stored_bytes - here->offset) {
                break;
            }
            return here;
        }
        reader->extent_next++;
    }
    if (reader->extent_next < reader->extent_count || reader->params.more == NULL ||
        reader->planned < reader->extents_until) {
        reader_fail(reader, ERRC_CORRUPT, "its references do not cover it");
    } else if (!reader->more_busy) {
        more_ask(reader);
    }
    return NULL;
}

static void unit_plan(struct object_reader *reader, const struct read_unit *unit)
{
    reader->planned = unit->end;
    reader->unit_bytes += unit->end - unit->first;
}

/* False: nothing more can be planned now. */
static bool plan_unit(struct object_reader *reader)
{
    const struct meta_data_extent *here = extent_at_plan(reader);
    if (here == NULL) {
        return false;
    }
    struct read_unit *unit = NULL;
    enum errc rc = read_unit_new(reader->store, reader->params.executor, &here->extent, unit_changed, reader, &unit);
    if (rc == ERRC_NOT_FOUND && reader->locate_retries++ < LOCATE_RETRIES_MAX) {
        cluster_map_refresh(reader->store->map, NULL, NULL);
        reader->locating = true;
        return false;
    }
    if (rc != ERRC_OK) {
        reader_fail(reader, rc == ERRC_NOT_FOUND ? ERRC_UNAVAILABLE : rc, "an extent cannot be located");
        return false;
    }
    reader->locate_retries = 0;
    uint64_t in_ref = reader->planned - here->object_offset;
    uint64_t left = here->length - in_ref;
    left = left < reader->end - reader->planned ? left : reader->end - reader->planned;
    uint64_t length = unit_length(&here->extent.code, here->offset + in_ref, left);
    read_unit_want_range(unit, here->offset + in_ref, length);
    unit->first = reader->planned;
    unit->end = reader->planned + length;
    unit->budget_bytes = read_unit_bytes(unit);
    if (!list_empty(&reader->units)) {
        if (!data_budget_try(&reader->store->read_budget, unit->budget_bytes)) {
            read_unit_free(unit);
            return false;
        }
        unit_plan(reader, unit);
        unit_begin(reader, unit);
        return true;
    }
    unit_plan(reader, unit);
    reader->pending = unit;
    reader->budget_wait.executor = reader->params.executor;
    reader->budget_wait.task.run = budget_granted;
    if (!data_budget_take(&reader->store->read_budget, unit->budget_bytes, &reader->budget_wait)) {
        reader->waits_for_budget = true;
        return false;
    }
    unit_begin(reader, unit);
    return true;
}

static void reader_plan(struct object_reader *reader)
{
    if (reader->status == ERRC_OK && reader->planned < reader->end && !session_read_alive(reader->store->session, &reader->pin)) {
        reader_fail(reader, ERRC_UNAVAILABLE, "the session is gone");
    }
    while (reader->status == ERRC_OK && reader->planned < reader->end && !reader->waits_for_budget &&
           !reader->more_busy && !reader->locating &&
           (list_empty(&reader->units) || reader->unit_bytes < reader->store->config.read_window_bytes) &&
           plan_unit(reader)) {
    }
    tick_arm(reader);
}

/* ---- doors ---- */

struct object_reader *object_reader_open(struct data_store *store, const struct object_reader_params *params)
{
    ASSERT(params->on_ready != NULL);
    struct object_reader *reader = mem_zalloc(sizeof(*reader));
    reader->store = store;
    reader->params = *params;
    reader->at = reader->planned = params->first;
    reader->end = params->first + params->length;
    reader->extents_until = params->extents_until;
    list_init(&reader->units);
    list_init(&reader->retired);
    reader->ready_task.run = ready_run;
    reader->tick_timer.task.run = tick_run;
    if (params->more != NULL) {
        reader->more = *params->more;
        reader->more.bucket = SLICE_EMPTY; /* by id: the name is not ours to keep */
        reader->more.key = slice_of(mem_strndup((const char *)params->more->key.data, params->more->key.len),
                                    params->more->key.len);
    }
    page_add(reader, params->extents, params->extent_count);
    session_read_begin_at(store->session, &reader->pin, params->index);
    if (params->session > 0) {
        reader->pin.session = params->session; /* nothing is safer for having been pinned anew */
    }
    reader_plan(reader);
    return reader;
}

/* The stored offset, in its extent, of the byte at reader->at. */
static uint64_t head_offset(const struct object_reader *reader, const struct read_unit *unit)
{
    const struct meta_data_extent *ref = container_of(unit->extent, struct meta_data_extent, extent);
    return ref->offset + (reader->at - ref->object_offset);
}

static void head_finish(struct object_reader *reader)
{
    unit_drop(reader, unit_head(reader));
    reader_plan(reader);
}

enum errc object_reader_next(struct object_reader *reader, struct slice *ret_bytes, struct buffer **ret_buffer)
{
    ASSERT(!reader->waits || reader->ready_posted);
    reader->waits = false;
    struct read_unit *head = unit_head(reader);
    if (reader->at == reader->end) {
        *ret_bytes = SLICE_EMPTY;
        *ret_buffer = NULL;
        return ERRC_OK;
    }
    if (head != NULL && head->state == UNIT_FAILED) {
        reader_fail(reader, head->status, head->status == ERRC_UNAVAILABLE ? "too few disks answer"
                                                                           : "too few good shards");
        return reader->status;
    }
    if (head == NULL || head->state == UNIT_READING) {
        if (head == NULL && reader->status != ERRC_OK) {
            return reader->status;
        }
        reader->waits = true;
        return ERRC_WOULD_BLOCK;
    }
    uint64_t left = head->end - reader->at;
    struct geometry_piece piece = geometry_piece_at(&head->geometry, head_offset(reader, head), left);
    struct buffer *buffer = NULL;
    struct slice cell = read_unit_cell(head, piece.cell, piece.stripe, &buffer);
    *ret_bytes = slice_of(cell.data + piece.offset, piece.length);
    *ret_buffer = buffer_ref(buffer);
    reader->at += piece.length;
    if (reader->at == head->end) {
        head_finish(reader);
    }
    return ERRC_OK;
}

const struct error *object_reader_error(const struct object_reader *reader)
{
    return &reader->error;
}

/* The last act, when nothing of the reader is in anybody else's hands. */
static void reader_free(struct object_reader *reader)
{
    if (reader->ready_posted || reader->waits_for_budget || reader->more_busy) {
        return;
    }
    while (!list_empty(&reader->retired)) {
        mem_free(container_of(list_pop(&reader->retired), struct extents_page, node));
    }
    if (reader->more_op.client != NULL) {
        meta_op_release(&reader->more_op);
        arena_done(&reader->more_arena);
    }
    mem_free((void *)(uintptr_t)reader->more.key.data);
    mem_free(reader);
}

void object_reader_close(struct object_reader *reader)
{
    ASSERT(!reader->ended);
    reader->ended = true;
    timer_stop(reader->params.executor, &reader->tick_timer);
    session_read_end(reader->store->session, &reader->pin);
    while (!list_empty(&reader->units)) {
        unit_drop(reader, unit_head(reader));
    }
    if (reader->pending != NULL) {
        read_unit_free(reader->pending);
        reader->pending = NULL;
    }
    if (reader->waits_for_budget && data_budget_cancel(&reader->store->read_budget, &reader->budget_wait)) {
        reader->waits_for_budget = false;
    }
    reader_free(reader);
}
