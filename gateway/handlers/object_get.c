/*
 * GET and HEAD.
 *
 *   ASKED --(suffix range or part: its place is known now)--> ASKED_AGAIN --+
 *     |                                                                     v
 *     +--> conditions -> range -> HEAD or nothing or inline: answered; else READING <-> SENDING -> end
 *
 * The head is sent with the first bytes in hand, so that data that can't be had is still a 503; after it
 * the only way out is to cut the connection. The session pins the index of the answer until the reader
 * has taken over, so that nothing that it needs is freed meanwhile.
 */
#include "gateway/handlers/object_record.h"
#include "gateway/handlers/operations.h"

#include "common/base/assert.h"
#include "gateway/data/object_reader.h"
#include "gateway/s3/s3_multipart.h"
#include "gateway/s3/s3_range.h"

#define WHOLE (1ull << 62)   /* longer than any object */
#define SEND_PARTS_MAX 16    /* pieces of one write */
#define CHECK_MS 1000        /* of a client that takes bytes slowly */
#define SLOW_BYTES (64u << 10) /* as of uploads: less than this in each of so many checks is slow (object_writer.c) */
#define SLOW_CHECKS_MAX 5
#define GET_TRIES_MAX 3      /* after that a 503: the client's retry starts over */

struct get_state {
    bool has_version;
    struct meta_version_ref version;
    struct slice range_text;     /* empty: no Range */
    uint32_t part_number;        /* 0: none */
    struct s3_overrides overrides;
    struct s3_conditions conditions;
    bool checksum_mode;
    bool wants_data;
    bool asked_data;             /* the first query asked for it */

    struct meta_object_reply reply; /* its slices live as long as the request */
    struct s3_range range;
    bool is_partial;

    struct session_read pin;
    bool pinned;
    struct object_reader *reader;
    bool reading;                /* on_ready is due */
    bool writing;                /* on_written is due */
    bool at_end;                 /* everything has been given to HTTP, or will be by the write under way */
    bool started;                /* the head is out */
    uint64_t sent;
    struct timer check_timer;    /* while a reader is open */
    struct request *request;     /* of check_timer */
    uint64_t acked;              /* at the last check */
    unsigned slow_checks;        /* in a row */
    unsigned tries;              /* starts over after an overwrite in between */
};

static void get_unpin(struct request *r, struct get_state *state)
{
    if (state->pinned) {
        session_read_end(request_store(r)->session, &state->pin);
        state->pinned = false;
    }
}

static void get_cleanup(struct request *r)
{
    struct get_state *state = r->state;
    if (state->reader != NULL) {
        timer_stop(r->executor, &state->check_timer);
        object_reader_close(state->reader);
        state->reader = NULL;
    }
    get_unpin(r, state);
}

/* ---- refusals ---- */

static void marker_headers(struct request *r, const struct meta_row *row)
{
    request_header_str(r, "x-amz-delete-marker", "true");
    request_header_version(r, "x-amz-version-id", row->seq, row->nonce, row->null_version);
}

static void get_refuse(struct request *r, struct get_state *state)
{
    const struct meta_object_reply *reply = &state->reply;
    bool marker = reply->row.delete_marker && (reply->outcome == META_NO_KEY || reply->outcome == META_OK);
    if (marker) {
        marker_headers(r, &reply->row);
    }
    if (marker && state->has_version) {
        request_header_time(r, "Last-Modified", reply->row.mtime_ms);
        request_header_str(r, "Allow", "DELETE");
        (void)s3_fail(&r->err, S3_ERROR_METHOD_NOT_ALLOWED, NULL); /* returns the code that was given */
        s3_error_add(&r->err, "Method", r->s3.method);
        s3_error_add(&r->err, "ResourceType", slice_str("DeleteMarker"));
        request_fail(r);
        return;
    }
    request_fail_outcome(r, marker ? META_NO_KEY : (enum meta_outcome)reply->outcome);
}

static void get_refuse_part(struct request *r, uint32_t count, uint32_t wanted)
{
    char *actual = arena_format(&r->scratch, "%u", count);
    char *asked = arena_format(&r->scratch, "%u", wanted);
    ASSERT(actual != NULL && asked != NULL);
    (void)s3_fail(&r->err, S3_ERROR_INVALID_PART_NUMBER, NULL); /* returns the code that was given */
    s3_error_add(&r->err, "ActualPartCount", slice_str(actual));
    s3_error_add(&r->err, "PartNumberRequested", slice_str(asked));
    request_fail(r);
}

static void get_refuse_range(struct request *r, struct get_state *state)
{
    char text[S3_CONTENT_RANGE_BYTES];
    (void)s3_range_format(NULL, state->reply.row.size, text); /* the length is not needed */
    request_header_str(r, "Content-Range", text);
    char *size = arena_format(&r->scratch, "%llu", (unsigned long long)state->reply.row.size);
    ASSERT(size != NULL);
    (void)s3_fail(&r->err, S3_ERROR_INVALID_RANGE, NULL); /* returns the code that was given */
    s3_error_add(&r->err, "RangeRequested", state->range_text);
    s3_error_add(&r->err, "ActualObjectSize", slice_str(size));
    request_fail(r);
}

/* ---- the head of the answer ---- */

static void version_header(struct request *r, const struct get_state *state)
{
    const struct meta_row *row = &state->reply.row;
    if (state->reply.bucket.versioning != META_VERSIONING_UNSET) {
        request_header_version(r, "x-amz-version-id", row->seq, row->nonce, row->null_version);
    }
}

/* A checksum of the whole is not sent with a part of the data: a client would check the one against the other. */
static void checksum_headers(struct request *r, const struct get_state *state)
{
    const struct meta_object_reply *reply = &state->reply;
    struct checksum_value value;
    if (!state->checksum_mode) {
        return;
    }
    checksum_from_meta(&reply->body.checksum, &value);
    if (state->part_number == 0 || reply->parts_count == 0) {
        if (state->range_text.len == 0 || !state->is_partial) {
            request_header_checksum(r, &value);
        }
        return;
    }
    if (value.type == CHECKSUM_COMPOSITE) {
        struct checksum_value part;
        checksum_from_meta(&reply->part_checksum, &part);
        if (part.kind != CHECKSUM_NONE) {
            char text[CHECKSUM_TEXT_BYTES];
            part.type = CHECKSUM_FULL_OBJECT; /* the text of a part has no -N */
            (void)checksum_format(&part, text); /* the length is not needed */
            request_header_str(r, checksum_header(part.kind), text);
            request_header_str(r, "x-amz-checksum-type", checksum_type_name(CHECKSUM_COMPOSITE));
        }
    }
}

static void get_headers(struct request *r, const struct get_state *state)
{
    const struct meta_object_reply *reply = &state->reply;
    request_header_etag(r, reply->row.etag);
    request_header_time(r, "Last-Modified", reply->row.mtime_ms);
    request_header_str(r, "Accept-Ranges", "bytes");
    version_header(r, state);
    object_headers_write(r, &reply->row, &reply->body, &state->overrides);
    checksum_headers(r, state);
    if (state->part_number != 0 && reply->parts_count > 0) {
        request_header_u64(r, "x-amz-mp-parts-count", reply->parts_count);
    }
    if (state->is_partial) {
        char text[S3_CONTENT_RANGE_BYTES];
        (void)s3_range_format(&state->range, reply->row.size, text); /* the length is not needed */
        request_header_str(r, "Content-Range", text);
    }
}

static void get_start(struct request *r, struct get_state *state)
{
    ASSERT(!state->started);
    state->started = true;
    get_headers(r, state);
    request_reply_start(r, state->is_partial ? 206 : 200, state->range.len);
}

/* 304: what a cache needs and no more. */
static void get_not_modified(struct request *r, const struct get_state *state)
{
    struct meta_pair pair;
    request_header_etag(r, state->reply.row.etag);
    request_header_time(r, "Last-Modified", state->reply.row.mtime_ms);
    version_header(r, state);
    for (size_t at = 0; meta_pairs_next(state->reply.body.headers, &at, &pair);) {
        if (slice_equal_str(pair.name, "Cache-Control") || slice_equal_str(pair.name, "Expires")) {
            (void)request_header_named(r, pair.name, pair.value); /* checked when it came in */
        }
    }
    request_reply_empty(r, 304);
}

/* ---- data from the nodes ---- */

static void get_pump(struct request *r, struct get_state *state);

static void get_sent(void *data, struct http_request *http, enum errc code)
{
    (void)http;
    struct request *r = data;
    struct get_state *state = r->state;
    state->writing = false;
    if (code != ERRC_OK) {
        request_cut(r); /* the client left, or takes nothing any more */
        return;
    }
    get_pump(r, state);
}

static void get_ready(void *data)
{
    struct request *r = data;
    struct get_state *state = r->state;
    state->reading = false;
    get_pump(r, state);
}

static void get_broken(struct request *r, struct get_state *state, enum errc code)
{
    struct error story = *object_reader_error(state->reader);
    if (state->started) {
        request_cause_errc(r, code, &story);
        request_cut(r);
        return;
    }
    request_fail_errc(r, code, &story);
}

static void parts_drop(struct http_part *parts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        buffer_unref(parts[i].buffer);
    }
}

/* Gathers what is at hand: OK with fewer than SEND_PARTS_MAX pieces is the end. */
static enum errc parts_gather(struct get_state *state, struct http_part *parts, size_t *ret_count)
{
    enum errc code = ERRC_OK;
    *ret_count = 0;
    while (*ret_count < SEND_PARTS_MAX && !state->at_end) {
        struct slice bytes;
        struct buffer *buffer;
        code = object_reader_next(state->reader, &bytes, &buffer);
        if (code != ERRC_OK) {
            break;
        }
        if (bytes.len == 0) {
            state->at_end = true;
            break;
        }
        parts[(*ret_count)++] = (struct http_part){ bytes, buffer };
        state->sent += bytes.len;
    }
    return code;
}

/* Runs when neither the reader's nor HTTP's callback is due. Both may be at once: what is at hand is sent
 * while the reader waits for more. */
static void get_pump(struct request *r, struct get_state *state)
{
    struct http_part parts[SEND_PARTS_MAX];
    size_t count;
    if (state->reading || state->writing) {
        return;
    }
    enum errc code = parts_gather(state, parts, &count);
    if (code != ERRC_OK && code != ERRC_WOULD_BLOCK) {
        parts_drop(parts, count);
        get_broken(r, state, code);
        return;
    }
    state->reading = code == ERRC_WOULD_BLOCK;
    if (count > 0) {
        if (!state->started) {
            get_start(r, state);
        }
        state->writing = true;
        http_body_write(r->http, parts, count, get_sent, r);
        parts_drop(parts, count); /* HTTP has its own references */
    } else if (state->at_end) {
        ASSERT(state->sent == state->range.len);
        request_finish(r);
    }
}

/* The memory of all downloads is bounded. Clients that hardly take what they asked for must not keep it while others have
 * nothing to send: as with slow uploads, they are cut, but only then. */
static void get_check(struct task *task)
{
    struct get_state *state = container_of(container_of(task, struct timer, task), struct get_state, check_timer);
    struct request *r = state->request;
    uint64_t acked = http_acked_bytes(r->http);
    bool slow = state->writing && acked - state->acked < SLOW_BYTES;
    state->slow_checks = slow ? state->slow_checks + 1 : 0;
    state->acked = acked;
    if (state->slow_checks >= SLOW_CHECKS_MAX && data_budget_pressed(&request_store(r)->read_budget)) {
        request_cut(r);
        return;
    }
    timer_start(r->executor, &state->check_timer, CHECK_MS);
}

static void get_read(struct request *r, struct get_state *state)
{
    struct meta_object_reply *reply = &state->reply;
    struct meta_query more = {
        .type = META_QRY_EXTENTS,
        .bucket_id = reply->bucket.id,
        .key = r->s3.key,
        .has_version = true,
        .version = { .seq = reply->row.seq, .nonce = reply->row.nonce },
        .want_data = true,
    };
    struct object_reader_params params = {
        .session = state->pin.session,
        .executor = r->executor,
        .first = state->range.offset,
        .length = state->range.len,
        .index = reply->index,
        .extent_count = reply->extent_count,
        .extents = reply->extents,
        .extents_until = reply->extents_until,
        .more = &more,
        .on_ready = get_ready,
        .data = r,
    };
    state->reader = object_reader_open(request_store(r), &params);
    state->request = r;
    state->check_timer.task.run = get_check;
    timer_start(r->executor, &state->check_timer, CHECK_MS);
    get_unpin(r, state); /* the reader has its own */
    get_pump(r, state);
}

/* ---- data in the record ---- */

static void get_inline(struct request *r, struct get_state *state)
{
    struct slice bytes = state->reply.inline_bytes;
    if (bytes.len != state->range.len) {
        request_fail_with(r, S3_ERROR_INTERNAL_ERROR, "The record does not hold the bytes that it promises.");
        return;
    }
    get_start(r, state);
    state->at_end = true;
    state->sent = bytes.len;
    state->writing = true;
    struct http_part part = { bytes, NULL }; /* lives until the request ends, after on_written */
    http_body_write(r->http, &part, 1, get_sent, r);
}

/* ---- from the record to the answer ---- */

static void get_answer(struct request *r, struct get_state *state)
{
    if (!state->wants_data || state->range.len == 0) {
        get_start(r, state);
        request_finish(r);
    } else if (state->reply.inline_bytes.len > 0) {
        get_inline(r, state);
    } else {
        get_read(r, state);
    }
}

static void get_ask(struct request *r, struct get_state *state);

/* The version that was current is gone: an overwrite came in between, and another is current now. A key that was
 * there all the time must not be answered with an absence. */
static bool get_starts_over(const struct get_state *state, uint8_t outcome)
{
    return !state->has_version && (outcome == META_NO_VERSION || outcome == META_NO_KEY) &&
           state->tries < GET_TRIES_MAX;
}

/* The place of a suffix range or a part was not known before: ask again, for just this version and range. */
static void get_asked_again(struct request *r)
{
    struct get_state *state = r->state;
    const struct request_call *call = r->calls;
    if (request_call_failed(r, call)) {
        return;
    }
    if (get_starts_over(state, call->op.object.outcome)) {
        state->tries++;
        state->is_partial = false;
        get_unpin(r, state);
        get_ask(r, state);
        return;
    }
    if (call->op.object.outcome != META_OK) {
        request_fail_outcome(r, state->has_version ? (enum meta_outcome)call->op.object.outcome : META_STALE);
        return;
    }
    uint16_t parts_count = state->reply.parts_count;
    struct meta_checksum part_checksum = state->reply.part_checksum;
    state->reply = call->op.object;
    state->reply.parts_count = parts_count;
    state->reply.part_checksum = part_checksum;
    session_read_at(request_store(r)->session, &state->pin, state->reply.index);
    get_answer(r, state);
}

static void get_ask_again(struct request *r, struct get_state *state)
{
    const struct meta_row *row = &state->reply.row;
    struct meta_query query = {
        .type = META_QRY_OBJECT,
        .bucket_id = state->reply.bucket.id,
        .key = r->s3.key,
        .has_version = true,
        .version = { .seq = row->seq, .nonce = row->nonce },
        .want_body = true,
        .want_data = true,
        .range_first = state->range.offset,
        .range_length = state->range.len,
    };
    (void)request_query(r, &query, get_asked_again); /* found again as r->calls */
}

/* False, and answered, where the range can't be had. */
static bool range_choose(struct request *r, struct get_state *state)
{
    struct meta_object_reply *reply = &state->reply;
    if (state->part_number != 0) {
        uint32_t count = reply->parts_count > 0 ? reply->parts_count : 1;
        if (reply->parts_count == 0 && state->part_number > 1) {
            get_refuse_part(r, count, state->part_number);
            return false;
        }
        bool whole = reply->parts_count == 0;
        state->range.offset = whole ? 0 : reply->part_offset;
        state->range.len = whole ? reply->row.size : reply->part_size;
        state->is_partial = reply->row.size > 0;
        return true;
    }
    switch (s3_range_resolve(state->range_text, reply->row.size, &state->range)) {
    case S3_RANGE_WHOLE: return true;
    case S3_RANGE_PART: state->is_partial = true; return true;
    case S3_RANGE_UNSATISFIABLE: break;
    }
    get_refuse_range(r, state);
    return false;
}

/* False, and answered, when a precondition does not hold. */
static bool conditions_hold(struct request *r, struct get_state *state)
{
    const struct meta_row *row = &state->reply.row;
    const char *failed = NULL;
    switch (s3_condition_read(&state->conditions, row->etag, row->mtime_ms, r->wall_ms, &failed)) {
    case S3_CONDITION_PASS: return true;
    case S3_CONDITION_NOT_MODIFIED: get_not_modified(r, state); return false;
    case S3_CONDITION_FAILED: break;
    }
    (void)s3_fail(&r->err, S3_ERROR_PRECONDITION_FAILED, NULL); /* returns the code that was given */
    s3_error_add(&r->err, "Condition", slice_str(failed != NULL ? failed : ""));
    request_fail(r);
    return false;
}

static void get_asked(struct request *r)
{
    struct get_state *state = r->state;
    const struct request_call *call = r->calls;
    if (request_call_failed(r, call)) {
        return;
    }
    state->reply = call->op.object;
    if (state->pinned) {
        session_read_at(request_store(r)->session, &state->pin, state->reply.index);
    }
    if (state->reply.outcome == META_NO_PART) {
        get_refuse_part(r, state->reply.parts_count, state->part_number);
        return;
    }
    if (state->reply.outcome != META_OK || state->reply.row.delete_marker) {
        get_refuse(r, state);
        return;
    }
    if (!conditions_hold(r, state) || !range_choose(r, state)) {
        return;
    }
    bool has_data = state->asked_data || !state->wants_data || state->range.len == 0;
    if (has_data) {
        get_answer(r, state);
    } else {
        get_ask_again(r, state);
    }
}

/* ---- the request ---- */

/* The stretch to ask for at once, where it can be told without the size: everything, or from a first byte on. */
static bool stretch_guess(struct get_state *state, struct s3_range *ret)
{
    if (state->part_number != 0) {
        return false;
    }
    if (s3_range_resolve(state->range_text, WHOLE, ret) == S3_RANGE_WHOLE) {
        *ret = (struct s3_range){ 0, WHOLE };
        return true;
    }
    return ret->offset < WHOLE / 2; /* else it counts from the end */
}

static void get_ask(struct request *r, struct get_state *state)
{
    struct s3_range stretch = { 0, WHOLE };
    state->asked_data = state->wants_data && stretch_guess(state, &stretch);
    struct meta_query query = {
        .type = META_QRY_OBJECT,
        .bucket = r->s3.bucket,
        .key = r->s3.key,
        .has_version = state->has_version,
        .version = state->version,
        .want_body = true,
        .want_data = state->asked_data,
        .range_first = state->asked_data ? stretch.offset : 0,
        .range_length = state->asked_data ? stretch.len : 0,
        .part_number = (uint16_t)state->part_number,
    };
    if (state->wants_data) {
        session_read_begin(request_store(r)->session, &state->pin);
        state->pinned = true;
    }
    (void)request_query(r, &query, get_asked); /* found again as r->calls */
}

static enum s3_error get_read_head(struct request *r, struct get_state *state)
{
    struct slice mode;
    if (s3_headers_unsupported(&r->s3, &r->err) != S3_ERROR_NONE ||
        object_version_read(r, &state->has_version, &state->version) != S3_ERROR_NONE ||
        s3_overrides_read(&r->s3, &state->overrides, &r->err) != S3_ERROR_NONE) {
        return r->err.code;
    }
    if (!s3_header_get(&r->s3, "range", &state->range_text)) {
        state->range_text = SLICE_EMPTY;
    }
    if (s3_param_get(&r->s3, "partNumber") != NULL) {
        if (s3_part_number_read(&r->s3, &state->part_number, &r->err) != S3_ERROR_NONE) {
            return r->err.code;
        }
        if (state->range_text.len > 0) {
            return s3_fail(&r->err, S3_ERROR_INVALID_REQUEST, "Cannot specify both Range header and partNumber query parameter.");
        }
    }
    state->checksum_mode = s3_value_get(&r->s3, "x-amz-checksum-mode", &mode) && s3_name_equal(mode, "ENABLED");
    s3_conditions_read(&r->s3, "", &state->conditions);
    return S3_ERROR_NONE;
}

void object_get(struct request *r)
{
    struct get_state *state = request_zalloc(r, sizeof(*state));
    r->state = state;
    r->cleanup = get_cleanup;
    state->wants_data = !r->http->is_head;
    if (get_read_head(r, state) != S3_ERROR_NONE) {
        request_fail(r);
        return;
    }
    get_ask(r, state);
}
