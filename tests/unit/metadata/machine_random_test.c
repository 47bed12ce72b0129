/*
 * Random operations against a model: versions, counters against a recount, listings against brute force,
 * and equal logs make equal maps. Seeded; a failure prints the seed.
 */
#include "common/base/bytes.h"
#include "metadata/key.h"
#include "tests/lib/kv_memory.h"
#include "tests/lib/machine_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define KEYS 60
#define VERSIONS_MAX 8000
#define OPERATIONS 10000

struct version {
    unsigned key;
    uint64_t seq, nonce, size;
    bool marker, null_version, live;
    struct extent_id extent; /* zero: inline */
};

struct model {
    struct fixture f;
    uint64_t bucket;
    enum meta_versioning versioning;
    struct version versions[VERSIONS_MAX]; /* in order of seq */
    unsigned count;
    char keys[KEYS][12];
    uint64_t random;
    bool check;      /* list against the model now and then */
};

static unsigned below(struct model *m, unsigned n)
{
    return (unsigned)(fixture_random(&m->random) >> 33) % n;
}

/* Short keys over a small alphabet that has zero bytes, delimiters and ff. */
static void keys_make(struct model *m)
{
    static const char alphabet[] = { 'a', 'b', '/', '\0', '\x01', '\xff' };
    for (unsigned i = 0; i < KEYS; i++) {
        unsigned len = 1 + below(m, 6);
        m->keys[i][0] = (char)len;
        for (unsigned j = 0; j < len; j++) {
            m->keys[i][1 + j] = alphabet[below(m, sizeof(alphabet))];
        }
        for (unsigned k = 0; k < i; k++) {
            if (memcmp(m->keys[k], m->keys[i], len + 1) == 0) {
                i--; /* again: keys differ */
                break;
            }
        }
    }
}

static struct slice key_at(const struct model *m, unsigned i)
{
    return slice_of(m->keys[i] + 1, (size_t)m->keys[i][0]);
}

static struct version *current(struct model *m, unsigned key)
{
    for (unsigned i = m->count; i-- > 0;) {
        if (m->versions[i].live && m->versions[i].key == key) {
            return &m->versions[i];
        }
    }
    return NULL;
}

static void null_kill(struct model *m, unsigned key)
{
    for (unsigned i = 0; i < m->count; i++) {
        if (m->versions[i].key == key && m->versions[i].null_version) {
            m->versions[i].live = false;
        }
    }
}

static void push(struct model *m, unsigned key, const struct meta_result *result, uint64_t size, bool marker,
                 struct extent_id extent)
{
    assert_true(m->count < VERSIONS_MAX);
    bool null_version = m->versioning != META_VERSIONING_ENABLED;
    assert_int_equal(result->null_version, null_version);
    if (null_version) {
        null_kill(m, key);
    }
    m->versions[m->count++] = (struct version){ key, result->seq, result->nonce, size, marker, null_version, true,
                                                extent };
}

static void op_put(struct model *m)
{
    static const uint8_t bytes[32];
    unsigned key = below(m, KEYS);
    struct meta_command cmd = fixture_put_inline(&m->f, m->bucket, key_at(m, key), slice_of(bytes, below(m, 32)));
    struct meta_result result = fixture_apply(&m->f, &cmd);
    assert_int_equal(result.outcome, META_OK);
    push(m, key, &result, cmd.object_put.row.size, false, (struct extent_id){ { 0 } });
}

/* New extent, or a copy that shares one of a live version. */
static void op_put_extent(struct model *m)
{
    unsigned key = below(m, KEYS);
    struct extent extent = fixture_extent(&m->f, 1 + below(m, 5000000));
    extent.missing = below(m, 4) == 0 ? 1u << below(m, 6) : 0;
    extent.class_k = (uint8_t)(4 + below(m, 2));
    struct extent_ref ref = { extent.id, 0, extent.logical_bytes };
    struct meta_command cmd = fixture_put_inline(&m->f, m->bucket, key_at(m, key), SLICE_EMPTY);
    struct meta_object_put *put = &cmd.object_put;
    put->body = (struct meta_body){ .data_kind = META_DATA_EXTENTS, .ref_count = 1, .refs = &ref };
    put->session = m->f.session;
    put->extent_count = 1;
    put->extents = &extent;
    unsigned source = m->count > 0 ? below(m, m->count) : 0;
    const struct version *shared = &m->versions[source];
    if (m->count > 0 && shared->live && !extent_id_is_zero(shared->extent)) {
        ref = (struct extent_ref){ shared->extent, 0, shared->size };
        put->extent_count = 0;
    }
    put->row.size = ref.length;
    struct meta_result result = fixture_apply(&m->f, &cmd);
    assert_int_equal(result.outcome, META_OK);
    push(m, key, &result, ref.length, false, ref.extent);
}

static void op_delete(struct model *m)
{
    unsigned key = below(m, KEYS);
    struct meta_command cmd = { .type = META_CMD_OBJECT_DELETE };
    cmd.object_delete = (struct meta_object_delete){ .bucket_id = m->bucket, .key = key_at(m, key), .nonce = 5,
                                                     .mtime_ms = ++m->f.clock_ms };
    struct meta_result result = fixture_apply(&m->f, &cmd);
    assert_int_equal(result.outcome, META_OK);
    if (m->versioning != META_VERSIONING_UNSET) {
        push(m, key, &result, 0, true, (struct extent_id){ { 0 } });
    } else if (current(m, key) != NULL) {
        current(m, key)->live = false;
    }
}

static void op_delete_version(struct model *m)
{
    if (m->count == 0) {
        return;
    }
    struct version *version = &m->versions[below(m, m->count)];
    struct meta_command cmd = { .type = META_CMD_OBJECT_DELETE };
    cmd.object_delete = (struct meta_object_delete){ .bucket_id = m->bucket, .key = key_at(m, version->key),
                                                     .has_version = true };
    cmd.object_delete.version = (struct meta_version_ref){ .seq = version->seq, .nonce = version->nonce };
    if (version->null_version && version->live) {
        cmd.object_delete.version = (struct meta_version_ref){ .null_version = true };
    }
    struct meta_result result = fixture_apply(&m->f, &cmd);
    assert_int_equal(result.outcome, META_OK);
    assert_int_equal(result.seq, version->live ? version->seq : 0);
    version->live = false;
}

static void op_versioning(struct model *m)
{
    m->versioning = below(m, 2) == 0 ? META_VERSIONING_ENABLED : META_VERSIONING_SUSPENDED;
    struct meta_command cmd = { .type = META_CMD_BUCKET_VERSIONING };
    cmd.bucket_versioning = (struct meta_bucket_versioning){ slice_str("bucket"), (uint8_t)m->versioning };
    assert_int_equal(fixture_apply(&m->f, &cmd).outcome, META_OK);
}

static void op_gc(struct model *m)
{
    struct meta_gc_reply gc = fixture_gc(&m->f);
    uint64_t seqs[100];
    uint32_t count = gc.count < 100 ? gc.count : 100;
    for (uint32_t i = 0; i < count; i++) {
        seqs[i] = gc.items[i].seq;
    }
    struct meta_command cmd = { .type = META_CMD_GC_DONE };
    cmd.gc_done = (struct meta_gc_done){ count, seqs };
    assert_int_equal(fixture_apply(&m->f, &cmd).value, count);
}

/* ---- the model's answers ---- */

struct expected {
    uint8_t key[16];
    size_t key_len;
    bool is_prefix, latest;
    uint64_t seq;
};

static int expected_order(const void *a, const void *b)
{
    const struct expected *x = a;
    const struct expected *y = b;
    int order = slice_compare(slice_of(x->key, x->key_len), slice_of(y->key, y->key_len));
    return order != 0 ? order : (x->seq < y->seq) - (x->seq > y->seq);
}

static void expect(struct expected *list, unsigned *count, struct slice key, bool is_prefix, bool latest, uint64_t seq)
{
    for (unsigned i = 0; is_prefix && i < *count; i++) {
        if (list[i].is_prefix && slice_equal(slice_of(list[i].key, list[i].key_len), key)) {
            return;
        }
    }
    struct expected *row = &list[(*count)++];
    *row = (struct expected){ .key_len = key.len, .is_prefix = is_prefix, .latest = latest, .seq = seq };
    memcpy(row->key, key.data, key.len);
}

static bool after_marker(const struct meta_query *query, struct slice key, uint64_t seq)
{
    if (query->marker.len == 0) {
        return true;
    }
    int order = slice_compare(key, query->marker);
    if (order == 0 && query->marker_seq != 0 && seq != 0) {
        return query->marker_inclusive ? seq <= query->marker_seq : seq < query->marker_seq;
    }
    return order > 0 || (order == 0 && query->marker_inclusive);
}

static unsigned model_list(struct model *m, const struct meta_query *query, struct expected *list)
{
    unsigned count = 0;
    bool all = query->type == META_QRY_LIST_VERSIONS;
    for (unsigned i = 0; i < m->count; i++) {
        const struct version *v = &m->versions[i];
        struct slice key = key_at(m, v->key);
        bool latest = current(m, v->key) == v;
        if (!v->live || (!all && (!latest || v->marker)) || !slice_starts(key, query->prefix)) {
            continue;
        }
        struct slice rest = slice_skip(key, query->prefix.len);
        const uint8_t *at = query->delimiter.len == 0 || rest.len == 0
                                ? NULL : memmem(rest.data, rest.len, query->delimiter.data, query->delimiter.len);
        if (at != NULL) {
            struct slice prefix = slice_of(key.data, (size_t)(at - key.data) + query->delimiter.len);
            if (after_marker(query, prefix, 0)) {
                expect(list, &count, prefix, true, false, 0);
            }
        } else if (after_marker(query, key, all ? v->seq : 0)) {
            expect(list, &count, key, false, latest, v->seq);
        }
    }
    qsort(list, count, sizeof(*list), expected_order);
    return count;
}

static void check_list(struct model *m)
{
    static struct expected list[VERSIONS_MAX];
    static const char *const delimiters[] = { "", "/", "a", "b/", "\xff" };
    struct meta_list_reply reply;
    struct slice some = key_at(m, below(m, KEYS));
    struct meta_query query = {
        .type = below(m, 2) == 0 ? META_QRY_LIST : META_QRY_LIST_VERSIONS,
        .bucket_id = m->bucket,
        .prefix = slice_of(some.data, below(m, 3) == 0 ? below(m, (unsigned)some.len + 1) : 0),
        .delimiter = slice_str(delimiters[below(m, 5)]),
        .limit = below(m, 4) == 0 ? below(m, 10) : 1000,
        .marker_inclusive = below(m, 3) == 0,
    };
    if (below(m, 2) == 0) {
        struct slice marker = key_at(m, below(m, KEYS));
        query.marker = slice_of(marker.data, 1 + below(m, (unsigned)marker.len));
        if (query.type == META_QRY_LIST_VERSIONS && below(m, 2) == 0 && m->count > 0) {
            const struct version *version = &m->versions[below(m, m->count)];
            query.marker = key_at(m, version->key);
            query.marker_seq = version->seq;
        }
    }
    unsigned count = model_list(m, &query, list);
    assert_int_equal(meta_list_reply_decode(fixture_query(&m->f, &query), &m->f.arena, &reply), ERRC_OK);
    assert_int_equal(reply.count, count < query.limit ? count : query.limit);
    assert_int_equal(reply.truncated, query.limit > 0 && count > query.limit);
    for (uint32_t i = 0; i < reply.count; i++) {
        const struct meta_list_entry *entry = &reply.entries[i];
        assert_true(slice_equal(entry->key, slice_of(list[i].key, list[i].key_len)));
        assert_int_equal(entry->is_prefix, list[i].is_prefix);
        assert_int_equal(entry->latest, list[i].latest);
        assert_int_equal(entry->is_prefix ? 0 : entry->row.seq, list[i].seq);
    }
}

/* ---- counters against a recount of the map ---- */

static size_t table_count(struct model *m, enum key_table table)
{
    uint8_t byte = (uint8_t)table;
    return kv_memory_count_prefix(m->f.kv, slice_of(&byte, 1));
}

static void recount_extents(struct model *m, struct meta_status *ret)
{
    struct meta_query query = { .type = META_QRY_GROUP_EXTENTS, .from = 1 };
    for (;;) {
        struct meta_repair_reply reply;
        assert_int_equal(meta_repair_reply_decode(fixture_query(&m->f, &query), &m->f.arena, &reply), ERRC_OK);
        for (uint32_t i = 0; i < reply.count; i++) {
            const struct extent *extent = &reply.extents[i];
            bool full = extent->missing == 0 && !meta_extent_smaller(extent);
            unsigned references = 0;
            for (unsigned v = 0; v < m->count; v++) {
                references += m->versions[v].live && extent_id_equal(m->versions[v].extent, extent->id) ? 1 : 0;
            }
            assert_int_equal(extent->references, references);
            ret->extents++;
            ret->extents_full += full ? 1 : 0;
            ret->extents_smaller += !full && extent->missing == 0 ? 1 : 0;
            ret->extents_missing[0] += extent->missing != 0 ? 1 : 0;
            ret->stripes += meta_extent_stripes(extent);
            ret->stripes_degraded += full ? 0 : meta_extent_stripes(extent);
        }
        if (reply.count == 0) {
            return;
        }
        query.extent = reply.extents[reply.count - 1].id;
    }
}

static void check_counters(struct model *m)
{
    struct meta_status expected = { 0 };
    struct meta_status status = fixture_status(&m->f);
    struct meta_bucket bucket = fixture_bucket_get(&m->f, m->bucket);
    for (unsigned i = 0; i < m->count; i++) {
        const struct version *v = &m->versions[i];
        expected.versions += v->live ? 1 : 0;
        expected.bytes += v->live ? v->size : 0;
        expected.objects += v->live && !v->marker && current(m, v->key) == v ? 1 : 0;
    }
    recount_extents(m, &expected);
    assert_int_equal(bucket.objects, expected.objects);
    assert_int_equal(bucket.bytes, expected.bytes);
    assert_int_equal(status.objects, expected.objects);
    assert_int_equal(status.bytes, expected.bytes);
    assert_int_equal(status.versions, expected.versions);
    assert_int_equal(status.versions, table_count(m, TABLE_CURRENT) + table_count(m, TABLE_NONCURRENT));
    assert_int_equal(status.extents, expected.extents);
    assert_int_equal(status.extents, table_count(m, TABLE_EXTENT));
    assert_int_equal(status.extents_full, expected.extents_full);
    assert_int_equal(status.extents_smaller, expected.extents_smaller);
    assert_int_equal(status.extents_missing[0], expected.extents_missing[0]);
    assert_int_equal(status.stripes, expected.stripes);
    assert_int_equal(status.stripes_degraded, expected.stripes_degraded);
    assert_int_equal(status.gc_items, table_count(m, TABLE_GC));
    assert_int_equal(status.extents - status.extents_full, table_count(m, TABLE_REPAIR));
    fixture_audit(&m->f);
}

static void step(struct model *m, unsigned at)
{
    unsigned choice = below(m, 100);
    if (choice < 35) {
        op_put(m);
    } else if (choice < 55) {
        op_put_extent(m);
    } else if (choice < 70) {
        op_delete(m);
    } else if (choice < 96) {
        op_delete_version(m);
    } else if (choice < 98) {
        op_gc(m);
    } else if (at > OPERATIONS / 5) {
        op_versioning(m);
    }
    if (m->check && at % 20 == 0) {
        check_list(m);
    }
    if (m->check && at % 2000 == 1999) {
        check_counters(m);
        fixture_reopen(&m->f);
    }
}

/* The choices do not depend on `check`: they come from a generator of their own. */
static void run(struct model *m, uint64_t seed, bool check)
{
    memset(m, 0, sizeof(*m));
    fixture_open(&m->f);
    m->random = seed;
    m->check = check;
    m->bucket = fixture_bucket(&m->f, "bucket", META_VERSIONING_UNSET);
    keys_make(m);
    for (unsigned i = 0; i < OPERATIONS; i++) {
        m->random = seed * 1000003 + i + 1;
        (void)fixture_random(&m->random);
        step(m, i);
    }
    check_counters(m);
}

static struct model one, two;

static void operations_match_the_model(void **state)
{
    (void)state;
    static const uint64_t seeds[] = { 20260101, 7, 424242 };
    uint8_t a[MACHINE_CHAIN_BYTES], b[MACHINE_CHAIN_BYTES];
    for (unsigned i = 0; i < sizeof(seeds) / sizeof(seeds[0]); i++) {
        print_message("seed %llu\n", (unsigned long long)seeds[i]);
        run(&one, seeds[i], true);
        run(&two, seeds[i], false); /* the same log on a machine that is never read nor reopened */
        machine_chain(one.f.machine, a);
        machine_chain(two.f.machine, b);
        assert_memory_equal(a, b, sizeof(a));
        assert_true(kv_memory_equal(one.f.kv, two.f.kv));
        fixture_put(&two.f, two.bucket, "k", "x");
        machine_chain(two.f.machine, b);
        assert_memory_not_equal(a, b, sizeof(a));
        fixture_close(&one.f);
        fixture_close(&two.f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operations_match_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
