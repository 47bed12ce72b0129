/*
 * The audit: finds nothing in a sound state (fixture_close() asks it after every other test too), and each kind of
 * damage, whatever the window. Damage is done to the map behind the machine's back.
 */
#include "metadata/key.h"
#include "metadata/machine_audit.h"
#include "metadata/record.h"
#include "tests/lib/machine_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define EXTENTS 12

struct world {
    struct fixture f;
    uint64_t bucket;
    struct extent extents[EXTENTS];
    char kinds[1024];
};

static void on_found(void *data, const char *kind, const char *text)
{
    struct world *w = data;
    assert_true(text[0] != '\0');
    size_t at = strlen(w->kinds);
    assert_true(at + strlen(kind) + 2 < sizeof(w->kinds));
    (void)snprintf(w->kinds + at, sizeof(w->kinds) - at, "%s ", kind);
}

static const char *audit(struct world *w, uint32_t window)
{
    struct audit_counts counts;
    struct error e = ERROR_INIT;
    const struct machine_audit config = { .found = on_found, .data = w, .window = window };
    w->kinds[0] = '\0';
    assert_int_equal(machine_audit(w->f.kv, &config, &counts, &e), ERRC_OK);
    assert_int_equal(counts.index, w->f.index);
    return w->kinds;
}

static void raw(struct world *w, const struct key *key, const struct enc *value)
{
    struct error e = ERROR_INIT;
    const struct kv_vt *vt = w->f.kv->vt;
    struct kv_batch *batch = vt->batch_create(w->f.kv);
    if (value != NULL) {
        vt->batch_put(batch, key_slice(key), enc_slice(value));
    } else {
        vt->batch_delete(batch, key_slice(key));
    }
    assert_int_equal(vt->write(w->f.kv, batch, &e), ERRC_OK);
    vt->batch_destroy(batch);
}

static void raw_get(struct world *w, const struct key *key, struct enc *value)
{
    struct error e = ERROR_INIT;
    enc_reset(value);
    assert_int_equal(w->f.kv->vt->get(w->f.kv, key_slice(key), false, value, &e), ERRC_OK);
}

/* Twelve extents in as many versions, four of them to be repaired, two inline versions, one of them noncurrent. */
static int open_world(void **state)
{
    static struct world w;
    memset(&w, 0, sizeof(w));
    fixture_open(&w.f);
    w.bucket = fixture_bucket(&w.f, "bucket", META_VERSIONING_ENABLED);
    for (unsigned i = 0; i < EXTENTS; i++) {
        char name[8] = { 'k', (char)('a' + i), '\0' };
        w.extents[i] = fixture_extent(&w.f, 1000000);
        w.extents[i].missing = i % 3 == 0 ? 1u << i % 6 : 0;
        struct extent_ref ref = { w.extents[i].id, 0, 1000000 };
        struct meta_command cmd = fixture_put_inline(&w.f, w.bucket, slice_str(name), SLICE_EMPTY);
        cmd.object_put.row.size = 1000000;
        cmd.object_put.body = (struct meta_body){ .data_kind = META_DATA_EXTENTS, .ref_count = 1, .refs = &ref };
        cmd.object_put.session = w.f.session;
        cmd.object_put.extent_count = 1;
        cmd.object_put.extents = &w.extents[i];
        assert_int_equal(fixture_apply(&w.f, &cmd).outcome, META_OK);
    }
    (void)fixture_put(&w.f, w.bucket, "inline", "one");
    (void)fixture_put(&w.f, w.bucket, "inline", "two!");
    *state = &w;
    return 0;
}

static int close_world(void **state)
{
    struct world *w = *state;
    fixture_close_damaged(&w->f);
    return 0;
}

static void a_sound_state_is_clean(void **state)
{
    static const uint32_t windows[] = { 0, 1, 2, 5, EXTENTS, EXTENTS + 1 };
    for (size_t i = 0; i < sizeof(windows) / sizeof(windows[0]); i++) {
        assert_string_equal(audit(*state, windows[i]), "");
    }
}

static void a_wrong_bucket_counter(void **state)
{
    struct world *w = *state;
    struct key key;
    struct bucket_counts counts;
    struct enc value = ENC_INIT;
    key_table_u64(&key, TABLE_BUCKET_COUNTS, w->bucket);
    raw_get(w, &key, &value);
    assert_int_equal(record_counts_decode(enc_slice(&value), &counts), ERRC_OK);
    counts.bytes += 1;
    record_counts_encode(&value, &counts);
    raw(w, &key, &value);
    assert_string_equal(audit(w, 0), "counter_wrong ");
    enc_free(&value);
}

static void a_wrong_counter_of_the_state(void **state)
{
    struct world *w = *state;
    struct key key;
    struct position_record position;
    struct machine_counters counters;
    struct enc value = ENC_INIT;
    key_begin(&key, TABLE_STATE);
    raw_get(w, &key, &value);
    assert_int_equal(record_state_decode(enc_slice(&value), &position, &counters), ERRC_OK);
    counters.status.extents_missing[0]--;
    counters.status.gc_items++;
    record_state_encode(&value, &position, &counters);
    raw(w, &key, &value);
    assert_string_equal(audit(w, 0), "counter_wrong counter_wrong ");
    enc_free(&value);
}

static void a_wrong_reference_count(void **state)
{
    struct world *w = *state;
    struct key key;
    struct extent extent;
    struct enc value = ENC_INIT;
    key_table_raw(&key, TABLE_EXTENT, w->extents[7].id.bytes, ID_BYTES);
    raw_get(w, &key, &value);
    assert_int_equal(record_extent_decode(enc_slice(&value), &extent), ERRC_OK);
    extent.references = 2;
    record_extent_encode(&value, &extent);
    raw(w, &key, &value);
    for (uint32_t window = 1; window < EXTENTS + 2; window++) {
        assert_string_equal(audit(w, window), "reference_wrong ");
    }
    enc_free(&value);
}

/* Its version's reference dangles, both indexes name it, the state counts it in three counters. */
static void a_lost_extent(void **state)
{
    struct world *w = *state;
    struct key key;
    key_table_raw(&key, TABLE_EXTENT, w->extents[EXTENTS - 1].id.bytes, ID_BYTES);
    raw(w, &key, NULL);
    for (uint32_t window = 1; window < EXTENTS + 2; window++) {
        assert_string_equal(audit(w, window),
                            "reference_dangling index_wrong counter_wrong counter_wrong counter_wrong ");
    }
}

static void a_lost_row_of_an_index(void **state)
{
    struct world *w = *state;
    struct key key;
    struct enc empty = ENC_INIT;
    record_bytes_encode(&empty, SLICE_EMPTY);
    key_begin(&key, TABLE_EXTENT_GROUP);
    key_u32(&key, w->extents[2].group);
    key_raw(&key, w->extents[2].id.bytes, ID_BYTES);
    raw(w, &key, NULL);
    assert_string_equal(audit(w, 0), "index_wrong ");
    raw(w, &key, &empty);
    assert_string_equal(audit(w, 4), "");
    key_begin(&key, TABLE_REPAIR);
    key_u8(&key, meta_repair_rank(&w->extents[3]));
    key_raw(&key, w->extents[3].id.bytes, ID_BYTES);
    raw(w, &key, NULL);
    assert_string_equal(audit(w, 4), "index_wrong ");
    enc_free(&empty);
}

static void a_lost_body(void **state)
{
    struct world *w = *state;
    struct key key;
    struct meta_object_reply object = fixture_head(&w->f, w->bucket, "kb");
    key_version(&key, TABLE_BODY, w->bucket, slice_str("kb"), object.row.seq);
    raw(w, &key, NULL);
    assert_string_equal(audit(w, 0), "reference_wrong version_wrong ");
}

static void a_manifest_of_nobody(void **state)
{
    struct world *w = *state;
    struct key key;
    struct enc value = ENC_INIT;
    const struct manifest_record manifest = { .size = 3, .inline_bytes = slice_str("abc") };
    for (unsigned i = 0; i < 3; i++) {
        uint8_t id[16] = { (uint8_t)(i + 1) };
        key_table_raw(&key, TABLE_MANIFEST, id, sizeof(id));
        record_manifest_encode(&value, &manifest);
        raw(w, &key, &value);
    }
    for (uint32_t window = 0; window < 5; window++) {
        assert_string_equal(audit(w, window), "manifest_wrong manifest_wrong manifest_wrong ");
    }
    enc_free(&value);
}

static void it_stops_when_told(void **state)
{
    struct world *w = *state;
    struct audit_counts counts;
    struct error e = ERROR_INIT;
    atomic_bool cancel = true;
    const struct machine_audit config = { .cancel = &cancel, .found = on_found, .data = w };
    for (unsigned i = 0; i < 1200; i++) {
        (void)fixture_put(&w->f, w->bucket, "again", "x");
    }
    assert_int_equal(machine_audit(w->f.kv, &config, &counts, &e), ERRC_CANCELED);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)
    const struct CMUnitTest tests[] = {
        CASE(a_sound_state_is_clean),  CASE(a_wrong_bucket_counter), CASE(a_wrong_counter_of_the_state),
        CASE(a_wrong_reference_count), CASE(a_lost_extent),          CASE(a_lost_row_of_an_index),
        CASE(a_lost_body),             CASE(a_manifest_of_nobody),   CASE(it_stops_when_told),
    };
#undef CASE
    return cmocka_run_group_tests(tests, NULL, NULL);
}
