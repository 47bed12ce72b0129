/*
 *   OPEN -> FINISHING -> DONE          any -> FAILED
 *
 * The stream is cut into extents; the one being filled is the last of the array, those before it are being stored. An
 * object of one extent waits for finish() and its footer; extents that are not the last are finished as they fill.
 */
#include "gateway/data/object_writer.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "gateway/data/extent_writer.h"

#define CHECK_MS 1000
/* A stream that brings less than this in each of so many checks is slow; while others wait for memory it is given up. */
#define SLOW_BYTES (64u << 10)
#define SLOW_CHECKS_MAX 5

struct object_writer {
    struct data_store *store;
    struct object_writer_params params;
    char *key;                        /* params.owner.key */
    enum errc status;
    uint64_t pushed;                  /* bytes */
    struct enc inline_bytes;
    bool is_inline;
    struct write_window window;
    uint32_t extent_count;            /* of the whole object */
    uint32_t begun;                   /* extents with a writer, or done with it */
    struct extent_writer **writers;   /* extent_count */
    struct extent *extents;
    struct extent_ref *refs;
    bool waits;                       /* a short push: on_ready is owed */
    bool finishing;
    bool reported;
    struct enc footer;
    void (*done)(void *data, const struct object_writer_result *result);
    struct object_writer_result result;
    struct task ready_task;           /* for on_ready and done, never inside a call */
    bool ready_posted;
    struct timer check_timer;
    bool ended;
    uint64_t checked;                 /* `pushed` at the last check */
    unsigned slow_checks;             /* in a row */
};

static uint64_t extent_bytes_at(const struct object_writer *writer, uint32_t index)
{
    uint64_t first = (uint64_t)index * EXTENT_BYTES_MAX;
    uint64_t left = writer->params.length - first;
    return left < EXTENT_BYTES_MAX ? left : EXTENT_BYTES_MAX;
}

static void writer_wake(struct object_writer *writer)
{
    if (!writer->ready_posted) {
        writer->ready_posted = true;
        executor_post(writer->params.executor, &writer->ready_task);
    }
}

static void writer_fail(struct object_writer *writer, enum errc code, const struct error *cause)
{
    if (writer->status != ERRC_OK) {
        return;
    }
    writer->status = code;
    if (cause != NULL && cause->code != ERRC_OK) {
        writer->result.error = *cause;
    } else {
        (void)error_set(&writer->result.error, code, "write of an object"); /* kept in the result */
    }
    writer_wake(writer);
}

/* All extents durable, or the end for a reason. */
static bool writer_over(const struct object_writer *writer)
{
    if (writer->status != ERRC_OK) {
        return true;
    }
    for (uint32_t i = 0; i < writer->extent_count; i++) {
        if (i >= writer->begun || writer->writers[i] == NULL ||
            extent_writer_state(writer->writers[i]) != EXTENT_DONE) {
            return false;
        }
    }
    return true;
}

static void result_fill(struct object_writer *writer)
{
    struct object_writer_result *result = &writer->result;
    result->status = writer->status;
    if (writer->status != ERRC_OK) {
        return;
    }
    if (writer->params.length == 0) {
        result->data_kind = META_DATA_NONE;
    } else if (writer->is_inline) {
        result->data_kind = META_DATA_INLINE;
        result->inline_bytes = enc_slice(&writer->inline_bytes);
    } else {
        result->data_kind = META_DATA_EXTENTS;
        result->session = load_be64(extent_writer_extent(writer->writers[0])->id.bytes);
        result->map_revision = UINT64_MAX;
        result->extent_count = writer->extent_count;
        for (uint32_t i = 0; i < writer->extent_count; i++) {
            uint64_t revision = extent_writer_map_revision(writer->writers[i]);
            writer->extents[i] = *extent_writer_extent(writer->writers[i]);
            writer->refs[i] = (struct extent_ref){ writer->extents[i].id, 0, writer->extents[i].logical_bytes };
            result->map_revision = revision < result->map_revision ? revision : result->map_revision;
            if (load_be64(writer->extents[i].id.bytes) != result->session) {
                result->status = error_set(&result->error, ERRC_UNAVAILABLE, "the session ended during a write");
            }
        }
        result->extents = writer->extents;
        result->refs = writer->refs;
    }
}

static void ready_run(struct task *task)
{
    struct object_writer *writer = container_of(task, struct object_writer, ready_task);
    writer->ready_posted = false;
    if (writer->ended) {
        mem_free(writer);
        return;
    }
    if (writer->waits) {
        writer->waits = false;
        writer->params.on_ready(writer->params.data);
        return; /* which may have ended the writer, or pushed and finished: the next turn looks again */
    }
    if (writer->finishing && !writer->reported && writer_over(writer)) {
        writer->reported = true;
        timer_stop(writer->params.executor, &writer->check_timer);
        result_fill(writer);
        writer->done(writer->params.data, &writer->result);
    }
}

static void extent_changed(void *data)
{
    struct object_writer *writer = data;
    for (uint32_t i = 0; i < writer->begun; i++) {
        if (extent_writer_state(writer->writers[i]) == EXTENT_FAILED) {
            const struct error *cause = extent_writer_error(writer->writers[i]);
            writer_fail(writer, cause->code, cause);
        }
    }
    if (writer->waits || (writer->finishing && writer_over(writer))) {
        writer_wake(writer);
    }
}

/* Gives up what a slow client's stream holds: many of them would otherwise keep everybody else's uploads waiting. */
static void writer_evict(struct object_writer *writer)
{
    struct error cause = ERROR_INIT;
    (void)error_set(&cause, ERRC_LIMIT, "a slow upload gave way to others"); /* kept in the result */
    writer_fail(writer, ERRC_LIMIT, &cause);
    for (uint32_t i = 0; i < writer->begun; i++) {
        extent_writer_end(writer->writers[i], true);
    }
    writer->begun = 0;
}

static bool writer_is_slow(struct object_writer *writer)
{
    bool slow = !writer->finishing && !writer->waits && writer->status == ERRC_OK &&
                writer->pushed < writer->params.length && writer->pushed - writer->checked < SLOW_BYTES;
    writer->slow_checks = slow ? writer->slow_checks + 1 : 0;
    writer->checked = writer->pushed;
    return writer->slow_checks >= SLOW_CHECKS_MAX && writer->window.used_bytes > 0;
}

static void check_run(struct task *task)
{
    struct object_writer *writer =
        container_of(container_of(task, struct timer, task), struct object_writer, check_timer);
    for (uint32_t i = 0; i < writer->begun; i++) {
        extent_writer_check(writer->writers[i]);
    }
    timer_start(writer->params.executor, &writer->check_timer, CHECK_MS);
    if (writer_is_slow(writer) && data_budget_pressed(&writer->store->write_budget)) {
        writer_evict(writer);
    }
    extent_changed(writer);
}

/* Small objects have a code of their own with the same tolerance: whole copies, one sync and one disk for a read. */
uint8_t object_writer_k(const struct data_store *store, uint64_t bytes, uint8_t class_k, uint8_t class_m)
{
    return bytes <= store->config.copies_bytes_max && class_m > 0 ? 1 : class_k;
}

static void extent_begin(struct object_writer *writer)
{
    uint32_t index = writer->begun;
    struct extent_writer_params params = {
        .executor = writer->params.executor,
        .window = &writer->window,
        .bytes = extent_bytes_at(writer, index),
        .k = object_writer_k(writer->store, extent_bytes_at(writer, index), writer->params.class_k, writer->params.class_m),
        .m = writer->params.class_m,
        .width = (uint8_t)(writer->params.class_k + writer->params.class_m),
        .owner = writer->params.owner,
        .on_change = extent_changed,
        .data = writer,
    };
    params.owner.session = session_number(writer->store->session);
    params.owner.object_offset += (uint64_t)index * EXTENT_BYTES_MAX;
    writer->writers[index] = extent_writer_new(writer->store, &params);
    writer->begun++;
    if (index + 1 < writer->extent_count) {
        extent_writer_finish(writer->writers[index], SLICE_EMPTY);
    } else if (writer->finishing) {
        extent_writer_finish(writer->writers[index], enc_slice(&writer->footer));
    }
}

static void writer_begin(struct object_writer *writer)
{
    uint64_t length = writer->params.length;
    bool is_small = length <= writer->store->config.inline_bytes_max && !writer->params.never_inline;
    if (length == 0 || is_small) {
        writer->is_inline = true;
        return;
    }
    uint64_t count = (length + EXTENT_BYTES_MAX - 1) / EXTENT_BYTES_MAX;
    if (count > EXTENT_REFS_MAX) {
        writer_fail(writer, ERRC_INVALID, NULL);
        return;
    }
    writer->extent_count = (uint32_t)count;
    writer->writers = mem_zalloc(count * sizeof(struct extent_writer *));
    writer->extents = mem_zalloc(count * sizeof(struct extent));
    writer->refs = mem_zalloc(count * sizeof(struct extent_ref));
    timer_start(writer->params.executor, &writer->check_timer, CHECK_MS);
    extent_begin(writer);
    extent_changed(writer); /* it may have failed at once */
}

struct object_writer *object_writer_open(struct data_store *store, const struct object_writer_params *params)
{
    ASSERT(params->class_k >= 1 && params->class_k <= CODE_K_MAX);
    ASSERT(params->class_m <= CODE_M_MAX);
    struct object_writer *writer = mem_zalloc(sizeof(*writer));
    writer->store = store;
    writer->params = *params;
    writer->key = mem_strndup((const char *)params->owner.key.data, params->owner.key.len);
    writer->params.owner.key = slice_of(writer->key, params->owner.key.len);
    writer->window.limit_bytes = store->config.write_window_bytes;
    writer->ready_task.run = ready_run;
    writer->check_timer.task.run = check_run;
    writer_begin(writer);
    return writer;
}

static size_t extents_push(struct object_writer *writer, struct slice bytes)
{
    size_t taken = 0;
    while (taken < bytes.len && writer->status == ERRC_OK) {
        uint32_t index = (uint32_t)((writer->pushed + taken) / EXTENT_BYTES_MAX);
        if (index == writer->begun) {
            extent_begin(writer);
        }
        uint64_t room = (uint64_t)index * EXTENT_BYTES_MAX + extent_bytes_at(writer, index) - writer->pushed - taken;
        struct slice part = slice_skip(bytes, taken);
        part.len = part.len < room ? part.len : (size_t)room;
        size_t here = extent_writer_push(writer->writers[index], part);
        taken += here;
        if (extent_writer_state(writer->writers[index]) == EXTENT_FAILED) {
            extent_changed(writer);
        } else if (here < part.len) {
            break;
        }
    }
    return taken;
}

size_t object_writer_push(struct object_writer *writer, struct slice bytes)
{
    ASSERT(!writer->finishing);
    ASSERT(bytes.len <= writer->params.length - writer->pushed);
    if (writer->status == ERRC_OK && writer->is_inline) {
        enc_raw(&writer->inline_bytes, bytes.data, bytes.len);
    }
    size_t taken = bytes.len;
    if (writer->status == ERRC_OK && !writer->is_inline) {
        taken = extents_push(writer, bytes);
    }
    if (writer->status != ERRC_OK) {
        taken = bytes.len;
    }
    writer->pushed += taken;
    writer->waits = taken < bytes.len;
    return taken;
}

enum errc object_writer_status(const struct object_writer *writer)
{
    return writer->status;
}

void object_writer_finish(struct object_writer *writer, struct slice footer,
                          void (*done)(void *data, const struct object_writer_result *result))
{
    ASSERT(!writer->finishing);
    writer->finishing = true;
    writer->waits = false;
    writer->done = done;
    if (writer->status == ERRC_OK && writer->pushed != writer->params.length) {
        writer_fail(writer, ERRC_INVALID, NULL);
    }
    if (writer->status == ERRC_OK && writer->extent_count > 0) {
        enc_raw(&writer->footer, footer.data, footer.len);
        ASSERT(writer->begun == writer->extent_count);
        extent_writer_finish(writer->writers[writer->begun - 1], footer);
        extent_changed(writer);
    }
    if (writer_over(writer)) {
        writer_wake(writer);
    }
}

static void writer_end(struct object_writer *writer, bool discard)
{
    ASSERT(!writer->ended);
    writer->ended = true;
    timer_stop(writer->params.executor, &writer->check_timer);
    for (uint32_t i = 0; i < writer->begun; i++) {
        extent_writer_end(writer->writers[i], discard);
    }
    mem_free(writer->writers);
    mem_free(writer->extents);
    mem_free(writer->refs);
    mem_free(writer->key);
    enc_free(&writer->inline_bytes);
    enc_free(&writer->footer);
    if (!writer->ready_posted) {
        mem_free(writer);
    } /* else ready_run frees it */
}

void object_writer_keep(struct object_writer *writer)
{
    writer_end(writer, false);
}

void object_writer_discard(struct object_writer *writer)
{
    writer_end(writer, true);
}
