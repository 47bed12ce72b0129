/*
 * Queries while commands are applied, over RocksDB: a version that is never deleted is found wherever it
 * stands, bytes and extents belong to the row they come with, and a page of versions is one state.
 */
#include "common/base/bytes.h"
#include "tests/lib/machine_fixture.h"

#include <errno.h>
#include <ftw.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#define ROUNDS 4000

struct shared {
    struct fixture f;
    uint64_t bucket;
    struct meta_version_ref pinned;
    atomic_bool stop;
    atomic_uint wrong;
    atomic_ulong queries;
};

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    return remove(path);
}

static void report(struct shared *s, const char *what)
{
    (void)fprintf(stderr, "wrong: %s\n", what);
    atomic_fetch_add(&s->wrong, 1);
}

/* The reply of one query, decoded in `arena`. */
static struct slice ask(struct shared *s, const struct meta_query *query, struct enc *reply)
{
    struct error e = ERROR_INIT;
    struct enc bytes = ENC_INIT;
    enc_reset(reply);
    meta_query_encode(&bytes, query);
    if (machine_query(s->f.machine, enc_slice(&bytes), false, reply, &e) != ERRC_OK) {
        report(s, e.text);
    }
    enc_free(&bytes);
    atomic_fetch_add(&s->queries, 1);
    return enc_slice(reply);
}

/* Every inline body here is the 8 bytes of its row's nonce. */
static void check_object(struct shared *s, const struct meta_query *query, struct enc *bytes)
{
    struct arena arena;
    struct meta_object_reply reply;
    arena_init(&arena, 1u << 20);
    if (meta_object_reply_decode(ask(s, query, bytes), &arena, &reply) != ERRC_OK || reply.outcome != META_OK) {
        report(s, "object not found");
    } else if (reply.row.etag.len == 0) { /* extents: as long as the row says */
        if (reply.extent_count != 1 || reply.extents[0].extent.logical_bytes != reply.row.size) {
            report(s, "extent of another version");
        }
    } else if (reply.inline_bytes.len != 8 || load_le64(reply.inline_bytes.data) != reply.row.nonce) {
        report(s, "bytes of another version");
    }
    arena_done(&arena);
}

static void check_versions(struct shared *s, struct enc *bytes)
{
    struct arena arena;
    struct meta_list_reply reply;
    struct meta_query query = { .type = META_QRY_LIST_VERSIONS, .bucket_id = s->bucket, .limit = 1000 };
    unsigned pinned = 0;
    arena_init(&arena, 8u << 20);
    if (meta_list_reply_decode(ask(s, &query, bytes), &arena, &reply) != ERRC_OK) {
        report(s, "list does not decode");
        reply.count = 0;
    }
    for (uint32_t i = 0; i < reply.count; i++) {
        const struct meta_list_entry *entry = &reply.entries[i];
        bool first = i == 0 || !slice_equal(reply.entries[i - 1].key, entry->key);
        if (entry->latest != first || (!first && reply.entries[i - 1].row.seq <= entry->row.seq)) {
            report(s, "versions of two states on a page");
        }
        pinned += entry->row.seq == s->pinned.seq ? 1 : 0;
    }
    if (pinned != 1) {
        report(s, "a version shown twice or not at all");
    }
    arena_done(&arena);
}

static void *read_on(void *data)
{
    struct shared *s = data;
    struct enc bytes = ENC_INIT;
    struct meta_query hot = { .type = META_QRY_OBJECT, .bucket = slice_str("bucket"), .key = slice_str("hot"),
                              .want_body = true, .want_data = true, .range_length = UINT64_MAX };
    struct meta_query extent = hot;
    struct meta_query pinned = hot;
    extent.key = slice_str("extent");
    pinned.key = slice_str("pinned");
    pinned.has_version = true;
    pinned.version = s->pinned;
    while (!atomic_load(&s->stop)) {
        check_object(s, &hot, &bytes);
        check_object(s, &pinned, &bytes);
        check_object(s, &extent, &bytes);
        check_versions(s, &bytes);
    }
    enc_free(&bytes);
    return NULL;
}

static struct meta_version_ref put_nonce(struct shared *s, const char *key)
{
    uint8_t bytes[8];
    struct meta_command cmd = fixture_put_inline(&s->f, s->bucket, slice_str(key), slice_of(bytes, sizeof(bytes)));
    store_le64(bytes, cmd.object_put.row.nonce);
    struct meta_result result = fixture_apply(&s->f, &cmd);
    assert_int_equal(result.outcome, META_OK);
    return (struct meta_version_ref){ .seq = result.seq, .nonce = result.nonce };
}

static struct meta_version_ref put_extent(struct shared *s, uint64_t bytes)
{
    struct extent extent = fixture_extent(&s->f, bytes);
    struct extent_ref ref = { extent.id, 0, bytes };
    struct meta_command cmd = fixture_put_inline(&s->f, s->bucket, slice_str("extent"), SLICE_EMPTY);
    cmd.object_put.body = (struct meta_body){ .data_kind = META_DATA_EXTENTS, .ref_count = 1, .refs = &ref };
    cmd.object_put.session = s->f.session;
    cmd.object_put.extent_count = 1;
    cmd.object_put.extents = &extent;
    cmd.object_put.row.size = bytes;
    struct meta_result result = fixture_apply(&s->f, &cmd);
    assert_int_equal(result.outcome, META_OK);
    return (struct meta_version_ref){ .seq = result.seq, .nonce = result.nonce };
}

static void write_rounds(struct shared *s)
{
    struct meta_version_ref hot = put_nonce(s, "hot");
    struct meta_version_ref extent = put_extent(s, 1);
    pthread_t thread;
    s->pinned = put_nonce(s, "pinned");
    assert_int_equal(pthread_create(&thread, NULL, read_on, s), 0);
    for (unsigned i = 0; i < ROUNDS || (atomic_load(&s->queries) < 2000 && i < 100 * ROUNDS); i++) {
        struct meta_version_ref next = put_nonce(s, "hot");
        (void)fixture_delete_version(&s->f, s->bucket, "hot", hot);
        hot = next;
        next = put_nonce(s, "pinned"); /* moves the pinned version down, and its delete up again */
        (void)fixture_delete_version(&s->f, s->bucket, "pinned", next);
        next = put_extent(s, 2 + i);
        (void)fixture_delete_version(&s->f, s->bucket, "extent", extent);
        extent = next;
    }
    atomic_store(&s->stop, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

static void queries_see_one_state(void **state)
{
    (void)state;
    static struct shared s;
    struct error e = ERROR_INIT;
    struct kv_factory *factory = kv_factory_rocksdb();
    struct kv_options options = { .cache_bytes = 8u << 20, .memtable_bytes = 1u << 20, .blob_min_bytes = 1024,
                                  .create = true, .background_threads = 1 };
    const char *base = getenv("TMPDIR");
    char folder[256];
    char path[300];
    (void)snprintf(folder, sizeof(folder), "%s/cairn-machine-XXXXXX", base != NULL ? base : "/tmp");
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s/kv", folder);
    s.f = (struct fixture){ .next_extent = 1, .clock_ms = 1000 };
    arena_init(&s.f.arena, 1u << 30);
    assert_int_equal(factory->open(factory, path, &options, &s.f.kv, &e), ERRC_OK);
    assert_int_equal(machine_open(s.f.kv, &s.f.machine, &e), ERRC_OK);
    struct meta_command cmd = { .type = META_CMD_SESSION_OPEN };
    s.f.session = fixture_apply(&s.f, &cmd).value;
    s.bucket = fixture_bucket(&s.f, "bucket", META_VERSIONING_ENABLED);
    write_rounds(&s);
    print_message("%lu queries\n", atomic_load(&s.queries));
    assert_int_equal(atomic_load(&s.wrong), 0);
    fixture_close(&s.f);
    assert_int_equal(nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(queries_see_one_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
