#include "tests/lib/machine_fixture.h"

#include "common/base/assert.h"
#include "common/base/bytes.h"
#include "metadata/machine_audit.h"
#include "tests/lib/kv_memory.h"

#include <stdio.h>
#include <stdlib.h>

static void must(enum errc rc, const struct error *e)
{
    if (rc != ERRC_OK) {
        (void)fprintf(stderr, "%s: %s\n", errc_name(rc), e->text);
    }
    ASSERT(rc == ERRC_OK);
}

void fixture_open(struct fixture *f)
{
    struct error e = ERROR_INIT;
    *f = (struct fixture){ .kv = kv_memory_create(), .next_extent = 1, .clock_ms = 1000000 };
    arena_init(&f->arena, 1u << 30);
    must(machine_open(f->kv, &f->machine, &e), &e);
    struct meta_command cmd = { .type = META_CMD_SESSION_OPEN };
    f->session = fixture_apply(f, &cmd).value;
}

static void on_found(void *data, const char *kind, const char *text)
{
    (void)data;
    (void)fprintf(stderr, "audit: %s: %s\n", kind, text);
    abort();
}

void fixture_audit(struct fixture *f)
{
    struct error e = ERROR_INIT;
    struct audit_counts counts;
    const struct machine_audit audit = { .found = on_found, .window = 7 };
    must(machine_audit(f->kv, &audit, &counts, &e), &e);
}

void fixture_close(struct fixture *f)
{
    fixture_audit(f);
    fixture_close_damaged(f);
}

void fixture_close_damaged(struct fixture *f)
{
    machine_close(f->machine);
    f->kv->vt->close(f->kv);
    arena_done(&f->arena);
    enc_free(&f->command);
    enc_free(&f->result);
}

void fixture_reopen(struct fixture *f)
{
    struct error e = ERROR_INIT;
    machine_close(f->machine);
    must(machine_open(f->kv, &f->machine, &e), &e);
}

struct meta_result fixture_apply(struct fixture *f, const struct meta_command *cmd)
{
    struct error e = ERROR_INIT;
    struct meta_result result;
    enc_reset(&f->command);
    enc_reset(&f->result);
    meta_command_encode(&f->command, cmd);
    f->index++;
    must(machine_apply(f->machine, f->index, 0, enc_slice(&f->command), &f->result, &e), &e);
    must(meta_result_decode(arena_copy(&f->arena, enc_slice(&f->result)), &f->arena, &result), &e);
    ASSERT(result.index == f->index || (cmd->request.number > 0 && result.index < f->index)); /* done before */
    return result;
}

struct slice fixture_query(struct fixture *f, const struct meta_query *query)
{
    struct error e = ERROR_INIT;
    struct enc bytes = ENC_INIT;
    struct enc reply = ENC_INIT;
    meta_query_encode(&bytes, query);
    must(machine_query(f->machine, enc_slice(&bytes), false, &reply, &e), &e);
    struct slice copy = arena_copy(&f->arena, enc_slice(&reply));
    enc_free(&bytes);
    enc_free(&reply);
    return copy;
}

uint64_t fixture_bucket(struct fixture *f, const char *name, enum meta_versioning versioning)
{
    struct meta_command cmd = { .type = META_CMD_BUCKET_CREATE };
    cmd.bucket_create.bucket = (struct meta_bucket){ .name = slice_str(name), .class_k = 4, .class_m = 2,
                                                     .versioning = (uint8_t)versioning };
    struct meta_result result = fixture_apply(f, &cmd);
    ASSERT(result.outcome == META_OK);
    return result.value;
}

struct meta_command fixture_put_inline(struct fixture *f, uint64_t bucket, struct slice key, struct slice bytes)
{
    struct meta_command cmd = { .type = META_CMD_OBJECT_PUT };
    f->clock_ms += 10;
    cmd.object_put = (struct meta_object_put){
        .bucket_id = bucket,
        .key = key,
        .row = { .nonce = f->clock_ms * 7919, .mtime_ms = f->clock_ms, .size = bytes.len, .etag = bytes },
        .body = { .data_kind = META_DATA_INLINE, .inline_bytes = bytes },
    };
    if (bytes.len > ETAG_BYTES_MAX) {
        cmd.object_put.row.etag = slice_of(bytes.data, ETAG_BYTES_MAX);
    }
    return cmd;
}

struct meta_result fixture_put(struct fixture *f, uint64_t bucket, const char *key, const char *bytes)
{
    struct meta_command cmd = fixture_put_inline(f, bucket, slice_str(key), slice_str(bytes));
    return fixture_apply(f, &cmd);
}

struct meta_result fixture_delete(struct fixture *f, uint64_t bucket, const char *key)
{
    struct meta_command cmd = { .type = META_CMD_OBJECT_DELETE };
    f->clock_ms += 10;
    cmd.object_delete = (struct meta_object_delete){
        .bucket_id = bucket, .key = slice_str(key), .nonce = f->clock_ms * 104729, .mtime_ms = f->clock_ms
    };
    return fixture_apply(f, &cmd);
}

struct meta_result fixture_delete_version(struct fixture *f, uint64_t bucket, const char *key,
                                          struct meta_version_ref version)
{
    struct meta_command cmd = { .type = META_CMD_OBJECT_DELETE };
    cmd.object_delete = (struct meta_object_delete){
        .bucket_id = bucket, .key = slice_str(key), .has_version = true, .version = version
    };
    return fixture_apply(f, &cmd);
}

struct extent fixture_extent(struct fixture *f, uint64_t bytes)
{
    struct extent extent = {
        .code = { MATRIX_CAUCHY, 4, 2, 128u << 10 },
        .logical_bytes = bytes,
        .stored_bytes = bytes,
        .group = 1,
        .position = { 0, 1, 2, 3, 4, 5 },
        .class_k = 4,
        .class_m = 2,
    };
    store_be64(extent.id.bytes, f->session);
    store_be64(extent.id.bytes + 8, f->next_extent++);
    return extent;
}

struct meta_object_reply fixture_get(struct fixture *f, const struct meta_query *query)
{
    struct error e = ERROR_INIT;
    struct meta_object_reply reply;
    must(meta_object_reply_decode(fixture_query(f, query), &f->arena, &reply), &e);
    return reply;
}

struct meta_object_reply fixture_head(struct fixture *f, uint64_t bucket, const char *key)
{
    struct meta_query query = { .type = META_QRY_OBJECT, .bucket_id = bucket, .key = slice_str(key),
                                .want_body = true };
    return fixture_get(f, &query);
}

struct meta_status fixture_status(struct fixture *f)
{
    struct error e = ERROR_INIT;
    struct meta_status status;
    struct meta_query query = { .type = META_QRY_STATUS };
    must(meta_status_decode(fixture_query(f, &query), &f->arena, &status), &e);
    return status;
}

struct meta_bucket fixture_bucket_get(struct fixture *f, uint64_t bucket)
{
    struct error e = ERROR_INIT;
    struct meta_buckets_reply reply;
    struct meta_query query = { .type = META_QRY_BUCKET, .bucket_id = bucket };
    must(meta_buckets_reply_decode(fixture_query(f, &query), &f->arena, &reply), &e);
    ASSERT(reply.count == 1);
    return reply.buckets[0];
}

struct meta_gc_reply fixture_gc(struct fixture *f)
{
    struct error e = ERROR_INIT;
    struct meta_gc_reply reply;
    struct meta_query query = { .type = META_QRY_GC };
    must(meta_gc_reply_decode(fixture_query(f, &query), &f->arena, &reply), &e);
    return reply;
}

uint64_t fixture_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1du;
}
