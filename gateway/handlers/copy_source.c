#include "gateway/handlers/copy_source.h"

#include "common/base/assert.h"
#include "gateway/handlers/object_record.h"
#include "gateway/handlers/write_class.h"

#define SOURCE_RESTARTS_MAX 3 /* after that a 503: the client's retry starts over */

/* ---- the request ---- */

enum s3_error copy_source_read(struct request *r, struct copy_source *source, bool with_range)
{
    struct slice text;
    if (s3_copy_source_read(&r->s3, &source->from, &r->err) != S3_ERROR_NONE ||
        s3_expected_owner_check(&r->s3, "x-amz-source-expected-bucket-owner", request_config(r)->account, &r->err) !=
            S3_ERROR_NONE) {
        return r->err.code;
    }
    if (source->from.version_id.len > 0 &&
        object_version_parse(r, source->from.version_id, &source->has_version, &source->version) != S3_ERROR_NONE) {
        return r->err.code;
    }
    if (with_range && s3_value_get(&r->s3, "x-amz-copy-source-range", &text)) {
        if (!s3_range_parse_copy(text, &source->range)) {
            return s3_fail_argument(&r->err, "The x-amz-copy-source-range value must be of the form bytes=first-last.",
                                    "x-amz-copy-source-range", text);
        }
        source->has_range = true;
    }
    s3_conditions_read(&r->s3, "x-amz-copy-source-", &source->conditions);
    return S3_ERROR_NONE;
}

/* ---- the record ---- */

static void source_absent(struct request *r, const struct copy_source *source)
{
    enum meta_outcome outcome = (enum meta_outcome)source->reply.outcome;
    bool marker = source->reply.row.delete_marker && (outcome == META_OK || outcome == META_NO_KEY);
    r->err = (struct s3_error_info)S3_ERROR_INFO_INIT;
    if (marker && source->has_version) {
        request_fail_with(r, S3_ERROR_INVALID_REQUEST, "The source of a copy request may not refer to a delete marker by version id.");
    } else if (outcome == META_NO_BUCKET) {
        (void)s3_fail(&r->err, S3_ERROR_NO_SUCH_BUCKET, NULL); /* returns the code that was given */
        s3_error_add(&r->err, "BucketName", source->from.bucket);
        request_fail(r);
    } else if (marker || outcome == META_NO_KEY) {
        (void)s3_fail(&r->err, S3_ERROR_NO_SUCH_KEY, NULL); /* returns the code that was given */
        s3_error_add(&r->err, "Key", source->from.key);
        request_fail(r);
    } else {
        request_fail_outcome(r, outcome);
    }
}

/* False, and answered, when the source may not be copied so. */
static bool source_fits(struct request *r, struct copy_source *source)
{
    const struct meta_row *row = &source->reply.row;
    const char *failed = NULL;
    if (source->reply.outcome != META_OK || row->delete_marker) {
        source_absent(r, source);
        return false;
    }
    if (s3_condition_copy_source(&source->conditions, row->etag, row->mtime_ms, r->wall_ms, &failed) !=
        S3_CONDITION_PASS) {
        (void)s3_fail(&r->err, S3_ERROR_PRECONDITION_FAILED, NULL); /* returns the code that was given */
        s3_error_add(&r->err, "Condition", slice_str(failed != NULL ? failed : ""));
        request_fail(r);
        return false;
    }
    if (!source->has_range) {
        source->range = (struct s3_range){ 0, row->size };
    } else if (source->range.offset >= row->size || source->range.len > row->size - source->range.offset) {
        request_fail_with(r, S3_ERROR_INVALID_REQUEST, "The specified copy range goes beyond the end of the source.");
        return false;
    }
    if (source->range.len > COPY_BYTES_MAX) {
        request_fail_with(r, S3_ERROR_INVALID_REQUEST,
                          "The specified copy source is larger than the maximum allowable size for a copy source: 5368709120");
        return false;
    }
    return true;
}

/* ---- its references ---- */

static bool extents_grow(struct request *r, struct copy_source *source, uint32_t more)
{
    uint32_t wanted = source->extent_count + more;
    if (wanted > EXTENT_REFS_MAX) {
        return false;
    }
    if (wanted <= source->extent_capacity) {
        return true;
    }
    uint32_t capacity = 2 * wanted < EXTENT_REFS_MAX ? 2 * wanted : EXTENT_REFS_MAX;
    struct meta_data_extent *extents = request_zalloc(r, capacity * sizeof(*extents));
    if (source->extent_count > 0) {
        memcpy(extents, source->extents, source->extent_count * sizeof(*extents));
    }
    source->extents = extents;
    source->extent_capacity = capacity;
    return true;
}

/* Only what lies in the range and beyond what is there already; a stretch is cut at the range's ends. */
static void extent_add(struct copy_source *source, const struct meta_data_extent *in)
{
    uint64_t begin = source->range.offset;
    uint64_t end = source->range.offset + source->range.len;
    if (source->extent_count > 0) {
        const struct meta_data_extent *last = &source->extents[source->extent_count - 1];
        begin = last->object_offset + last->length;
    }
    uint64_t first = in->object_offset > begin ? in->object_offset : begin;
    uint64_t past = in->object_offset + in->length < end ? in->object_offset + in->length : end;
    if (first >= past) {
        return;
    }
    struct meta_data_extent *out = &source->extents[source->extent_count++];
    *out = *in;
    out->offset = in->offset + (first - in->object_offset);
    out->object_offset = first;
    out->length = past - first;
}

static void source_gathered(struct request *r, struct copy_source *source)
{
    source->refs = request_zalloc(r, (source->extent_count + 1) * sizeof(*source->refs));
    uint64_t total = 0;
    for (uint32_t i = 0; i < source->extent_count; i++) {
        const struct meta_data_extent *extent = &source->extents[i];
        source->refs[i] = (struct extent_ref){ extent->extent.id, extent->offset, extent->length };
        total += extent->length;
    }
    if (total != source->range.len) {
        request_fail_with(r, S3_ERROR_INTERNAL_ERROR, "The source's references do not cover its bytes.");
        return;
    }
    source->next(r);
}

static void source_asked_more(struct request *r);

/* Takes one answer; asks for the rest, or goes on. */
static void source_take(struct request *r, struct copy_source *source, const struct meta_object_reply *reply)
{
    uint64_t end = source->range.offset + source->range.len;
    if (!extents_grow(r, source, reply->extent_count)) {
        request_fail_with(r, S3_ERROR_INVALID_REQUEST, "The source is in too many pieces to be copied in one request.");
        return;
    }
    for (uint32_t i = 0; i < reply->extent_count; i++) {
        extent_add(source, &reply->extents[i]);
    }
    if (reply->extents_until >= end || reply->extent_count == 0) {
        source_gathered(r, source);
        return;
    }
    const struct meta_row *row = &source->reply.row;
    struct meta_query query = {
        .type = META_QRY_EXTENTS,
        .bucket_id = source->reply.bucket.id,
        .key = source->from.key,
        .has_version = true,
        .version = { .seq = row->seq, .nonce = row->nonce },
        .want_data = true,
        .range_first = reply->extents_until,
        .range_length = end - reply->extents_until,
    };
    (void)request_query(r, &query, source_asked_more); /* found again as r->calls */
}

static void source_asked_more(struct request *r)
{
    struct copy_source *source = r->state;
    const struct request_call *call = r->calls;
    if (request_call_failed(r, call)) {
        return;
    }
    uint8_t outcome = call->op.object.outcome;
    bool replaced = !source->has_version && (outcome == META_NO_VERSION || outcome == META_NO_KEY);
    if (replaced && source->restarts < SOURCE_RESTARTS_MAX) {
        source->restarts++; /* an overwrite came in between: what is current now is the source */
        copy_source_ask(r, source, source->next);
        return;
    }
    if (outcome != META_OK) {
        source->reply.outcome = replaced ? (uint8_t)META_STALE : outcome;
        source_absent(r, source);
        return;
    }
    source_take(r, source, &call->op.object);
}

static void source_asked(struct request *r)
{
    struct copy_source *source = r->state;
    const struct request_call *call = r->calls;
    if (request_call_failed(r, call)) {
        return;
    }
    source->reply = call->op.object;
    session_read_at(request_store(r)->session, &source->pin, source->reply.index);
    if (!source_fits(r, source)) {
        return;
    }
    if (source->range.len == 0) {
        source->next(r);
    } else if (source->reply.inline_bytes.len > 0) {
        source->inline_bytes = source->reply.inline_bytes;
        if (source->inline_bytes.len == source->range.len) {
            source->next(r);
        } else {
            request_fail_with(r, S3_ERROR_INTERNAL_ERROR, "The source's record does not hold its bytes.");
        }
    } else {
        source_take(r, source, &source->reply);
    }
}

void copy_source_ask(struct request *r, struct copy_source *source, request_step *next)
{
    ASSERT(r->state == source);
    source->next = next;
    source->extent_count = 0;
    source->inline_bytes = SLICE_EMPTY;
    if (!source->pinned) {
        session_read_begin(request_store(r)->session, &source->pin);
        source->pinned = true;
    }
    struct meta_query query = {
        .type = META_QRY_OBJECT,
        .bucket = source->from.bucket,
        .key = source->from.key,
        .has_version = source->has_version,
        .version = source->version,
        .want_body = true,
        .want_data = true,
        .range_first = source->has_range ? source->range.offset : 0,
        .range_length = source->has_range ? source->range.len : COPY_BYTES_MAX,
    };
    (void)request_query(r, &query, source_asked); /* found again as r->calls */
}

/* ---- its bytes, read once ---- */

static void hash_update(struct copy_source *source, struct slice bytes)
{
    digest_update(&source->md5_digest, bytes.data, bytes.len);
    checksum_update(&source->sum, bytes.data, bytes.len);
    source->hashed_bytes += bytes.len;
}

static void hash_final(struct request *r, struct copy_source *source, enum checksum_kind kind)
{
    ASSERT(source->hashed_bytes == source->range.len);
    digest_final(&source->md5_digest, source->md5);
    source->checksum = (struct checksum_value){ .kind = kind, .type = CHECKSUM_FULL_OBJECT };
    checksum_final(&source->sum, source->checksum.bytes);
    source->next(r);
}

static void hash_failed(struct request *r, struct copy_source *source, enum errc code)
{
    struct error story = *object_reader_error(source->reader);
    request_fail_errc(r, code, &story);
}

/* False: the writer has not taken all of the piece in hand. */
static bool held_push(struct copy_source *source)
{
    if (source->held_buffer != NULL) {
        source->held = slice_skip(source->held, object_writer_push(source->upload->writer, source->held));
        if (source->held.len > 0) {
            return false;
        }
        buffer_unref(source->held_buffer);
        source->held_buffer = NULL;
    }
    return true;
}

static void piece_take(struct copy_source *source, struct slice bytes, struct buffer *buffer)
{
    hash_update(source, bytes);
    if (source->upload != NULL) {
        source->held = bytes;
        source->held_buffer = buffer;
    } else {
        buffer_unref(buffer);
    }
}

static void hash_pump(void *data)
{
    struct request *r = data;
    struct copy_source *source = r->state;
    while (held_push(source)) { /* else the writer's ready comes back here */
        struct slice bytes;
        struct buffer *buffer;
        if (request_gone(r)) { /* nobody waits for what may be gigabytes of reading */
            request_fail_with(r, S3_ERROR_SERVICE_UNAVAILABLE, NULL);
            return;
        }
        if (source->upload != NULL && object_writer_status(source->upload->writer) != ERRC_OK) { /* it takes all and drops it */
            request_fail_errc(r, object_writer_status(source->upload->writer), NULL);
            return;
        }
        enum errc code = object_reader_next(source->reader, &bytes, &buffer);
        if (code == ERRC_WOULD_BLOCK) {
            return; /* on_ready comes back here */
        }
        if (code != ERRC_OK) {
            hash_failed(r, source, code);
            return;
        }
        if (bytes.len == 0) {
            hash_final(r, source, source->sum.kind);
            return;
        }
        piece_take(source, bytes, buffer);
    }
}

static void rewrite_ready(struct request *r)
{
    hash_pump(r);
}

bool copy_source_shareable(const struct request *r, const struct copy_source *source)
{
    return source->inline_bytes.len > 0 || write_class_fits(r, source->extents, source->extent_count);
}

void copy_source_rewrite(struct request *r, struct copy_source *source, enum checksum_kind kind, struct object_upload *upload,
                         const uint8_t *upload_id, uint16_t part_number, request_step *next)
{
    ASSERT(source->range.len > 0 && source->inline_bytes.len == 0);
    r->body.length = source->range.len;
    object_upload_open(r, upload, upload_id, part_number);
    upload->ready = rewrite_ready;
    source->upload = upload;
    copy_source_hash(r, source, kind, next);
}

void copy_source_hash(struct request *r, struct copy_source *source, enum checksum_kind kind, request_step *next)
{
    ASSERT(r->state == source);
    ASSERT(kind != CHECKSUM_NONE);
    source->next = next;
    source->hashed_bytes = 0;
    digest_init(&source->md5_digest, DIGEST_MD5);
    checksum_init(&source->sum, kind);
    if (source->range.len == 0 || source->inline_bytes.len > 0) {
        hash_update(source, source->inline_bytes);
        hash_final(r, source, kind);
        return;
    }
    struct object_reader_params params = {
        .session = source->pin.session,
        .executor = r->executor,
        .first = source->range.offset,
        .length = source->range.len,
        .index = source->reply.index,
        .extent_count = source->extent_count,
        .extents = source->extents,
        .extents_until = source->range.offset + source->range.len,
        .on_ready = hash_pump,
        .data = r,
    };
    source->reader = object_reader_open(request_store(r), &params);
    hash_pump(r);
}

void copy_source_done(struct request *r, struct copy_source *source)
{
    if (source->held_buffer != NULL) {
        buffer_unref(source->held_buffer);
        source->held_buffer = NULL;
    }
    source->upload = NULL;
    if (source->reader != NULL) {
        object_reader_close(source->reader);
        source->reader = NULL;
    }
    if (source->pinned) {
        session_read_end(request_store(r)->session, &source->pin);
        source->pinned = false;
    }
    digest_done(&source->md5_digest);
    checksum_done(&source->sum);
}

void copy_source_header(struct request *r, const struct copy_source *source)
{
    const struct meta_row *row = &source->reply.row;
    if (source->reply.bucket.versioning != META_VERSIONING_UNSET) {
        request_header_version(r, "x-amz-copy-source-version-id", row->seq, row->nonce, row->null_version);
    }
}
