/*
 * Goal: the promises of common/base/kv.h hold for RocksDB: order, bounds, atomic batches, durability at
 * flush only, checkpoints that stand alone, cached reads that never block, damage that is reported.
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

static void fixture_open(struct fixture *f)
{
    struct kv_options options = { .cache_bytes = 1u << 20, .memtable_bytes = 1u << 20, .create = true };
    struct error e = ERROR_INIT;
    assert_int_equal(kv_factory_rocksdb()->open(kv_factory_rocksdb(), f->path, &options, &f->kv, &e), ERRC_OK);
}

static void fixture_init(struct fixture *f)
{
    (void)snprintf(f->dir, sizeof(f->dir), "/tmp/cairn-kv-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    (void)snprintf(f->path, sizeof(f->path), "%s/kv", f->dir);
    fixture_open(f);
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
