/*
 * Goal: the promises of common/base/kv.h hold for RocksDB: order, bounds, atomic batches, durability at
 * flush only, checkpoints that stand alone, cached reads that never block, damage that is reported; and blobs are
 * rewritten for garbage only.
 */
#include "common/base/kv.h"
#include "common/base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_BYTES 256

struct fixture {
    char dir[64];
    char path[PATH_BYTES];
    struct kv *kv;
};

static void fixture_open_blobs(struct fixture *f, size_t blob_min_bytes)
{
    struct kv_options options = { .cache_bytes = 1u << 20, .memtable_bytes = 1u << 20, .create = true,
                                  .blob_min_bytes = blob_min_bytes };
    struct error e = ERROR_INIT;
    assert_int_equal(kv_factory_rocksdb()->open(kv_factory_rocksdb(), f->path, &options, &f->kv, &e), ERRC_OK);
}

static void fixture_open(struct fixture *f)
{
    fixture_open_blobs(f, 0);
}

static void fixture_init_blobs(struct fixture *f, size_t blob_min_bytes)
{
    (void)snprintf(f->dir, sizeof(f->dir), "/tmp/cairn-kv-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    (void)snprintf(f->path, sizeof(f->path), "%s/kv", f->dir);
    fixture_open_blobs(f, blob_min_bytes);
}

static void fixture_init(struct fixture *f)
{
    fixture_init_blobs(f, 0);
}

static void fixture_done(struct fixture *f)
{
    if (f->kv != NULL) {
        f->kv->vt->close(f->kv);
    }
    char command[PATH_BYTES];
    (void)snprintf(command, sizeof(command), "rm -rf %s", f->dir);
    assert_int_equal(system(command), 0);
}

static void put(struct kv *kv, const char *key, const char *value)
{
    struct kv_batch *batch = kv->vt->batch_create(kv);
    kv->vt->batch_put(batch, slice_str(key), slice_str(value));
    assert_int_equal(kv->vt->write(kv, batch, NULL), ERRC_OK);
    kv->vt->batch_destroy(batch);
}

static enum errc get(struct kv *kv, const char *key, bool cached_only, char *text, size_t text_bytes)
{
    struct enc value = ENC_INIT;
    enum errc rc = kv->vt->get(kv, slice_str(key), cached_only, &value, NULL);
    assert_true(value.len < text_bytes);
    memcpy(text, value.len > 0 ? value.data : (const uint8_t *)"", value.len);
    text[value.len] = '\0';
    enc_free(&value);
    return rc;
}

static void batches_are_atomic_and_visible(void **state)
{
    (void)state;
    struct fixture f = { .kv = NULL };
    fixture_init(&f);
    struct kv_batch *batch = f.kv->vt->batch_create(f.kv);
    f.kv->vt->batch_put(batch, slice_str("a"), slice_str("1"));
    f.kv->vt->batch_put(batch, slice_str("b"), slice_str(""));
    f.kv->vt->batch_delete(batch, slice_str("a"));
    assert_true(f.kv->vt->batch_bytes(batch).len > 0);
    char text[64];
    assert_int_equal(get(f.kv, "b", false, text, sizeof(text)), ERRC_NOT_FOUND);
    assert_int_equal(f.kv->vt->write(f.kv, batch, NULL), ERRC_OK);
    f.kv->vt->batch_destroy(batch);
    assert_int_equal(get(f.kv, "a", false, text, sizeof(text)), ERRC_NOT_FOUND);
    assert_int_equal(get(f.kv, "b", false, text, sizeof(text)), ERRC_OK);
    assert_string_equal(text, "");
    fixture_done(&f);
}

static void iteration_is_ordered_and_bounded(void **state)
{
    (void)state;
    struct fixture f = { .kv = NULL };
    fixture_init(&f);
    put(f.kv, "c", "3");
    put(f.kv, "a", "1");
    put(f.kv, "b", "2");
    put(f.kv, "d", "4");
    struct kv_iterator *it = f.kv->vt->iterate(f.kv, slice_str("b"), slice_str("d"));
    put(f.kv, "bb", "later"); /* the view is that of the start */
    assert_false(f.kv->vt->iterator_valid(it)); /* before the first seek */
    char seen[16] = "";
    for (f.kv->vt->iterator_seek(it, slice_str("a")); f.kv->vt->iterator_valid(it); f.kv->vt->iterator_next(it)) {
        struct slice key = f.kv->vt->iterator_key(it);
        size_t at = strlen(seen);
        memcpy(seen + at, key.data, key.len);
        seen[at + key.len] = '\0';
    }
    assert_int_equal(f.kv->vt->iterator_error(it, NULL), ERRC_OK);
    assert_string_equal(seen, "bc");
    f.kv->vt->iterator_seek_for_prev(it, slice_str("bzz"));
    assert_true(f.kv->vt->iterator_valid(it));
    assert_true(slice_equal_str(f.kv->vt->iterator_key(it), "b"));
    f.kv->vt->iterator_destroy(it);
    it = f.kv->vt->iterate(f.kv, slice_str("c"), slice_str("b"));
    f.kv->vt->iterator_seek(it, slice_str("a"));
    assert_false(f.kv->vt->iterator_valid(it));
    assert_int_equal(f.kv->vt->iterator_error(it, NULL), ERRC_OK);
    f.kv->vt->iterator_destroy(it);
    fixture_done(&f);
}

static void delete_range_leaves_the_end(void **state)
{
    (void)state;
    struct fixture f = { .kv = NULL };
    fixture_init(&f);
    put(f.kv, "a", "1");
    put(f.kv, "b", "2");
    put(f.kv, "c", "3");
    struct kv_batch *batch = f.kv->vt->batch_create(f.kv);
    f.kv->vt->batch_delete_range(batch, slice_str("a"), slice_str("c"));
    assert_int_equal(f.kv->vt->write(f.kv, batch, NULL), ERRC_OK);
    f.kv->vt->batch_destroy(batch);
    char text[64];
    assert_int_equal(get(f.kv, "a", false, text, sizeof(text)), ERRC_NOT_FOUND);
    assert_int_equal(get(f.kv, "c", false, text, sizeof(text)), ERRC_OK);
    fixture_done(&f);
}

static void copy_tree(const char *source, const char *target)
{
    char command[2 * PATH_BYTES + 32];
    (void)snprintf(command, sizeof(command), "cp -a %s %s", source, target);
    assert_int_equal(system(command), 0);
}

/* A copy of the folder taken while the map is open is what a crash leaves. */
static void a_crash_keeps_what_was_flushed_only(void **state)
{
    (void)state;
    struct fixture f = { .kv = NULL };
    fixture_init(&f);
    put(f.kv, "durable", "1");
    assert_int_equal(f.kv->vt->flush(f.kv, NULL), ERRC_OK);
    put(f.kv, "volatile", "2");
    struct fixture crashed = { .kv = NULL };
    (void)snprintf(crashed.path, sizeof(crashed.path), "%s/crashed", f.dir);
    copy_tree(f.path, crashed.path);
    fixture_open(&crashed);
    char text[64];
    assert_int_equal(get(crashed.kv, "durable", false, text, sizeof(text)), ERRC_OK);
    assert_int_equal(get(crashed.kv, "volatile", false, text, sizeof(text)), ERRC_NOT_FOUND);
    crashed.kv->vt->close(crashed.kv);
    fixture_done(&f);
}

static void a_checkpoint_holds_all_and_stands_alone(void **state)
{
    (void)state;
    struct fixture f = { .kv = NULL };
    fixture_init(&f);
    put(f.kv, "k", "1");
    struct fixture copy = { .kv = NULL };
    (void)snprintf(copy.path, sizeof(copy.path), "%s/checkpoint", f.dir);
    assert_int_equal(f.kv->vt->checkpoint(f.kv, copy.path, NULL), ERRC_OK);
    put(f.kv, "k", "2");
    f.kv->vt->close(f.kv);
    assert_int_equal(kv_factory_rocksdb()->destroy(kv_factory_rocksdb(), f.path, NULL), ERRC_OK);
    f.kv = NULL;
    fixture_open(&copy);
    char text[64];
    assert_int_equal(get(copy.kv, "k", false, text, sizeof(text)), ERRC_OK);
    assert_string_equal(text, "1");
    copy.kv->vt->close(copy.kv);
    fixture_done(&f);
}

static void a_cached_read_does_not_go_to_the_disk(void **state)
{
    (void)state;
    struct fixture f = { .kv = NULL };
    fixture_init(&f);
    put(f.kv, "k", "1");
    assert_int_equal(f.kv->vt->flush(f.kv, NULL), ERRC_OK);
    f.kv->vt->close(f.kv);
    fixture_open(&f); /* a cold cache */
    char text[64];
    assert_int_equal(get(f.kv, "k", true, text, sizeof(text)), ERRC_WOULD_BLOCK);
    assert_int_equal(get(f.kv, "k", false, text, sizeof(text)), ERRC_OK);
    assert_int_equal(get(f.kv, "k", true, text, sizeof(text)), ERRC_OK);
    assert_string_equal(text, "1");
    fixture_done(&f);
}

/* Flips one bit in the middle of every table file. */
static unsigned damage_tables(const char *path)
{
    unsigned damaged = 0;
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        size_t len = strlen(entry->d_name);
        if (len < 4 || strcmp(entry->d_name + len - 4, ".sst") != 0) {
            continue;
        }
        char file[2 * PATH_BYTES];
        (void)snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
        int fd = open(file, O_RDWR);
        assert_true(fd >= 0);
        uint8_t byte = 0;
        assert_int_equal(pread(fd, &byte, 1, 10), 1);
        byte ^= 1;
        assert_int_equal(pwrite(fd, &byte, 1, 10), 1);
        (void)close(fd);
        damaged++;
    }
    (void)closedir(dir);
    return damaged;
}

static void a_flipped_bit_is_reported(void **state)
{
    (void)state;
    struct fixture f = { .kv = NULL };
    fixture_init(&f);
    put(f.kv, "key", "value");
    assert_int_equal(f.kv->vt->flush(f.kv, NULL), ERRC_OK);
    f.kv->vt->close(f.kv);
    assert_int_equal(damage_tables(f.path), 1);
    fixture_open(&f);
    char text[64];
    assert_int_equal(get(f.kv, "key", false, text, sizeof(text)), ERRC_CORRUPT);
    fixture_done(&f);
}

static void a_missing_map_is_not_made_unasked(void **state)
{
    (void)state;
    struct fixture f = { .kv = NULL };
    fixture_init(&f);
    struct kv_options options = { .create = false };
    struct kv *kv = NULL;
    struct error e = ERROR_INIT;
    char path[PATH_BYTES];
    (void)snprintf(path, sizeof(path), "%s/none", f.dir);
    assert_int_equal(kv_factory_rocksdb()->open(kv_factory_rocksdb(), path, &options, &kv, &e), ERRC_NOT_FOUND);
    assert_null(kv);
    fixture_done(&f);
}

#define BLOB_KEYS 200u
#define BLOB_BYTES 8192u

/* A value for each of the keys first, first + step, ...; then they are durable. */
static void blobs_put(struct kv *kv, unsigned first, unsigned step)
{
    static uint8_t value[BLOB_BYTES];
    for (unsigned i = 0; i < BLOB_KEYS; i++) {
        char key[32];
        (void)snprintf(key, sizeof(key), "%08u", first + i * step);
        for (unsigned at = 0; at < BLOB_BYTES; at++) {
            value[at] = (uint8_t)((i * 2654435761u + at * 40503u) >> 7);
        }
        struct kv_batch *batch = kv->vt->batch_create(kv);
        kv->vt->batch_put(batch, slice_str(key), slice_of(value, sizeof(value)));
        assert_int_equal(kv->vt->write(kv, batch, NULL), ERRC_OK);
        kv->vt->batch_destroy(batch);
    }
    assert_int_equal(kv->vt->flush(kv, NULL), ERRC_OK);
}

static void compactions_end(struct kv *kv)
{
    uint64_t before = 0;
    for (unsigned i = 0; i < 100 && before != kv->vt->disk_bytes(kv); i++) {
        before = kv->vt->disk_bytes(kv);
        usleep(100000);
    }
}

/* How many blob files are there, and the number of the oldest. */
static unsigned blob_files(const struct fixture *f, unsigned long *ret_oldest)
{
    DIR *dir = opendir(f->path);
    assert_non_null(dir);
    unsigned count = 0;
    *ret_oldest = ULONG_MAX;
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        char *end = NULL;
        unsigned long number = strtoul(entry->d_name, &end, 10);
        if (strcmp(end, ".blob") == 0) {
            count++;
            *ret_oldest = number < *ret_oldest ? number : *ret_oldest;
        }
    }
    (void)closedir(dir);
    return count;
}

static void new_keys_leave_old_blobs_where_they_are(void **state)
{
    (void)state;
    struct fixture f = { .kv = NULL };
    fixture_init_blobs(&f, 1024);
    unsigned long first = 0;
    unsigned long oldest = 0;
    blobs_put(f.kv, 0, 100); /* every later round falls between these keys: each compaction meets them */
    assert_true(blob_files(&f, &first) >= 1);
    for (unsigned round = 1; round < 40; round++) {
        blobs_put(f.kv, round, 100);
    }
    compactions_end(f.kv);
    (void)blob_files(&f, &oldest);
    assert_int_equal(oldest, first);
    fixture_done(&f);
}

/* A window of keys slides: each file keeps ten live values of two hundred, so none becomes garbage as a whole. */
static void replaced_values_give_their_space_back(void **state)
{
    (void)state;
    const unsigned rounds = 200;
    struct fixture f = { .kv = NULL };
    fixture_init_blobs(&f, 1024);
    for (unsigned round = 0; round < rounds; round++) {
        blobs_put(f.kv, round * 10, 1);
    }
    compactions_end(f.kv);
    uint64_t live = (uint64_t)(rounds * 10 + BLOB_KEYS - 10) * BLOB_BYTES;
    assert_in_range(f.kv->vt->disk_bytes(f.kv), live, 4 * live); /* eighteen times as much was written */
    fixture_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_are_atomic_and_visible),
        cmocka_unit_test(iteration_is_ordered_and_bounded),
        cmocka_unit_test(delete_range_leaves_the_end),
        cmocka_unit_test(a_crash_keeps_what_was_flushed_only),
        cmocka_unit_test(a_checkpoint_holds_all_and_stands_alone),
        cmocka_unit_test(a_cached_read_does_not_go_to_the_disk),
        cmocka_unit_test(a_flipped_bit_is_reported),
        cmocka_unit_test(a_missing_map_is_not_made_unasked),
        cmocka_unit_test(new_keys_leave_old_blobs_where_they_are),
        cmocka_unit_test(replaced_values_give_their_space_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
