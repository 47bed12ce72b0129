#include "gateway/handlers/handler_request.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "gateway/handlers/gateway_state.h"
#include "gateway/handlers/request_end.h"
#include "gateway/s3/s3_range.h"
#include "gateway/s3/s3_time.h"

#include <inttypes.h>
#include <stdio.h>

#define REPLY_HEADERS_FIRST 32

const struct gateway_config *request_config(const struct request *r)
{
    return &r->gateway->config;
}

const struct block_cipher *request_cipher(const struct request *r)
{
    return r->gateway->cipher;
}

struct data_store *request_store(const struct request *r)
{
    return r->gateway->config.store;
}

void *request_try_zalloc(struct request *r, size_t bytes)
{
    return arena_zalloc(&r->scratch, bytes);
}

void *request_zalloc(struct request *r, size_t bytes)
{
    void *memory = arena_zalloc(&r->scratch, bytes);
    ASSERT(memory != NULL);
    return memory;
}

/* ---- waiting ---- */

void request_hold(struct request *r)
{
    r->pending++;
}

void request_resume(struct request *r)
{
    ASSERT(r->pending > 0);
    r->pending--;
}

static void call_done(struct meta_op *op)
{
    struct request_call *call = op->data;
    struct request *r = call->request;
    call->pending = false;
    request_resume(r);
    call->next(r);
}

static struct request_call *call_new(struct request *r, request_step *next)
{
    struct request_call *call = request_zalloc(r, sizeof(*call));
    call->request = r;
    call->next = next;
    call->older = r->calls;
    call->pending = true;
    r->calls = call;
    meta_op_init(&call->op, r->executor, &r->scratch, call_done, call);
    request_hold(r);
    return call;
}

struct request_call *request_query(struct request *r, const struct meta_query *query, request_step *next)
{
    struct request_call *call = call_new(r, next);
    meta_query(request_store(r)->meta, &call->op, query);
    return call;
}

struct request_call *request_propose(struct request *r, const struct meta_command *command, request_step *next)
{
    struct request_call *call = call_new(r, next);
    meta_propose(request_store(r)->meta, &call->op, command);
    return call;
}

bool request_call_failed(struct request *r, const struct request_call *call)
{
    ASSERT(!call->pending);
    if (call->op.status == ERRC_OK) {
        return false;
    }
    request_fail_errc(r, call->op.status, &call->op.error);
    return true;
}

void request_call_release(struct request *r, struct request_call *call)
{
    ASSERT(r->calls == call);
    ASSERT(!call->pending);
    meta_op_release(&call->op);
    r->calls = call->older;
}

/* ---- headers of the answer ---- */

static bool header_value_fits(struct slice value)
{
    for (size_t i = 0; i < value.len; i++) {
        uint8_t c = value.data[i];
        if (c == 0x7f || (c < 0x20 && c != '\t')) {
            return false;
        }
    }
    return true;
}

static bool header_name_fits(struct slice name)
{
    for (size_t i = 0; i < name.len; i++) {
        if (name.data[i] <= ' ' || name.data[i] >= 0x7f || name.data[i] == ':') {
            return false;
        }
    }
    return name.len > 0;
}

static void headers_grow(struct request *r)
{
    size_t capacity = r->header_capacity == 0 ? REPLY_HEADERS_FIRST : 2 * r->header_capacity;
    struct http_header *headers = request_zalloc(r, capacity * sizeof(*headers));
    if (r->header_count > 0) {
        memcpy(headers, r->headers, r->header_count * sizeof(*headers));
    }
    r->headers = headers;
    r->header_capacity = capacity;
}

bool request_header(struct request *r, const char *name, struct slice value)
{
    return request_header_named(r, slice_str(name), value);
}

bool request_header_named(struct request *r, struct slice name, struct slice value)
{
    if (!header_name_fits(name) || !header_value_fits(value)) {
        return false;
    }
    if (r->header_count == r->header_capacity) {
        headers_grow(r);
    }
    struct slice copy = arena_copy(&r->scratch, value);
    ASSERT(IMPLIES(copy.len > 0, copy.data != NULL));
    r->headers[r->header_count++] = (struct http_header){ name, copy };
    return true;
}

void request_header_str(struct request *r, const char *name, const char *value)
{
    bool fits = request_header(r, name, slice_str(value));
    ASSERT(fits);
}

void request_header_u64(struct request *r, const char *name, uint64_t value)
{
    char text[24];
    (void)snprintf(text, sizeof(text), "%" PRIu64, value); /* 20 digits at most */
    request_header_str(r, name, text);
}

void request_header_etag(struct request *r, struct slice bare_etag)
{
    char text[ETAG_BYTES_MAX + 3];
    ASSERT(bare_etag.len <= ETAG_BYTES_MAX);
    text[0] = '"';
    memcpy(text + 1, bare_etag.data, bare_etag.len);
    text[bare_etag.len + 1] = '"';
    bool fits = request_header(r, "ETag", slice_of(text, bare_etag.len + 2));
    ASSERT(fits);
}

void request_header_time(struct request *r, const char *name, uint64_t wall_ms)
{
    char text[S3_TIME_HTTP_BYTES];
    s3_time_http(wall_ms, text);
    request_header_str(r, name, text);
}

void request_header_version(struct request *r, const char *name, uint64_t seq, uint64_t nonce, bool null_version)
{
    char text[VERSION_ID_TEXT_BYTES];
    version_id_encode(r->gateway->cipher, seq, nonce, null_version, text);
    request_header_str(r, name, text);
}

void request_header_checksum(struct request *r, const struct checksum_value *value)
{
    if (value->kind == CHECKSUM_NONE) {
        return;
    }
    char text[CHECKSUM_TEXT_BYTES];
    (void)checksum_format(value, text); /* the length is not needed */
    request_header_str(r, checksum_header(value->kind), text);
    request_header_str(r, "x-amz-checksum-type", checksum_type_name(value->type));
}

struct slice request_version_text(struct request *r, const struct meta_row *row)
{
    char *text = request_zalloc(r, VERSION_ID_TEXT_BYTES);
    version_id_encode(r->gateway->cipher, row->seq, row->nonce, row->null_version, text);
    return slice_str(text);
}

/* ---- checksums of records ---- */

enum checksum_type checksum_type_from_meta(uint8_t algorithm, uint8_t type)
{
    if (algorithm == CHECKSUM_NONE) {
        return CHECKSUM_TYPE_NONE;
    }
    return type == 0 ? CHECKSUM_FULL_OBJECT : CHECKSUM_COMPOSITE;
}

void checksum_from_meta(const struct meta_checksum *in, struct checksum_value *ret)
{
    *ret = (struct checksum_value){ .kind = CHECKSUM_NONE };
    if (in->algorithm == CHECKSUM_NONE || in->algorithm >= CHECKSUM_KIND_COUNT ||
        in->value.len != checksum_bytes((enum checksum_kind)in->algorithm)) {
        return; /* an algorithm that only a newer gateway knows is left out */
    }
    ret->kind = (enum checksum_kind)in->algorithm;
    ret->type = checksum_type_from_meta(in->algorithm, in->type);
    ret->part_count = ret->type == CHECKSUM_COMPOSITE ? in->parts : 0;
    memcpy(ret->bytes, in->value.data, in->value.len);
}

struct meta_checksum checksum_to_meta(const struct checksum_value *in)
{
    if (in->kind == CHECKSUM_NONE) {
        return (struct meta_checksum){ .algorithm = 0 };
    }
    return (struct meta_checksum){
        .algorithm = (uint8_t)in->kind,
        .type = in->type == CHECKSUM_COMPOSITE,
        .parts = (uint16_t)in->part_count,
        .value = slice_of(in->bytes, checksum_bytes(in->kind)),
    };
}
