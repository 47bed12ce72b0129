/*
 * Goal: a write that was cut short is told from damage. A torn tail disappears; a flipped bit is refilled from another
 * mirror or refused, and never makes the log silently shorter.
 *
 * Method: every byte of small logs, on a simulated disk; every change of files failing once.
 */
#include "common/base/mem.h"
#include "metadata/mirror.h"
#include "tests/lib/voter_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#define SEGMENT_PATH "/d0/metadata/log-0000000000000001"
#define COMMANDS 4

/* ---- the mirror alone ---- */

struct small_log {
    struct env_sim *sim;
    struct env *env;
    struct mirror mirror;
    uint32_t chain;
    uint64_t next;
    uint64_t end[16]; /* offset behind each record */
};

static void mirror_restart(struct small_log *log)
{
    struct cluster_id cluster = { { 1 } };
    struct disk_id disk = { { 2 } };
    mirror_done(&log->mirror);
    mirror_init(&log->mirror, log->env, cluster, disk, "/d0");
}

static void record_append(struct small_log *log, const char *data)
{
    struct enc record = ENC_INIT;
    uint32_t seed = log->chain;
    log->chain = log_record_encode(&record, log->mirror.cluster, log->next, 1, 1, log->next, seed, slice_str(data));
    assert_int_equal(mirror_append(&log->mirror, enc_slice(&record), log->next, seed, NULL), ERRC_OK);
    enc_free(&record);
    log->end[log->next] = log->mirror.segment_end;
    log->next++;
}

static void small_log_open(struct small_log *log)
{
    *log = (struct small_log){ .sim = env_sim_create(3, 64u << 20), .next = 1 };
    log->env = env_sim_env(log->sim);
    assert_int_equal(log->env->vt->mkdir(log->env, "/d0", NULL), ERRC_OK);
    mirror_restart(log);
    assert_int_equal(mirror_create(&log->mirror, NULL), ERRC_OK);
    record_append(log, "first record");
    record_append(log, "second");
    record_append(log, "the third and last record of this log");
}

static void small_log_close(struct small_log *log)
{
    mirror_done(&log->mirror);
    env_sim_destroy(log->sim);
}

static void file_change(struct env *env, const char *path, uint64_t offset, const uint8_t *bytes, size_t len)
{
    struct env_file *file = NULL;
    const struct iovec part = { (void *)(uintptr_t)bytes, len };
    assert_int_equal(env->vt->open(env, path, 0, &file, NULL), ERRC_OK);
    assert_int_equal(env->vt->pwritev(env, file, &part, 1, offset, NULL), ERRC_OK);
    assert_int_equal(env->vt->fdatasync(env, file, NULL), ERRC_OK);
    env->vt->close(env, file);
}

static uint8_t file_byte(struct env *env, const char *path, uint64_t offset)
{
    struct env_file *file = NULL;
    uint8_t byte = 0;
    size_t len = 0;
    assert_int_equal(env->vt->open(env, path, ENV_OPEN_READ, &file, NULL), ERRC_OK);
    assert_int_equal(env->vt->pread(env, file, &byte, 1, offset, &len, NULL), ERRC_OK);
    env->vt->close(env, file);
    return byte;
}

static void file_flip(struct env *env, const char *path, uint64_t offset, unsigned bit)
{
    uint8_t byte = (uint8_t)(file_byte(env, path, offset) ^ (1u << bit));
    file_change(env, path, offset, &byte, 1);
}

static uint64_t file_size(struct env *env, const char *path)
{
    struct env_stat stat;
    return env->vt->stat_path(env, path, &stat, NULL) == ERRC_OK ? stat.size : 0;
}

static void file_cut(struct env *env, const char *path, uint64_t size)
{
    struct env_file *file = NULL;
    assert_int_equal(env->vt->open(env, path, 0, &file, NULL), ERRC_OK);
    assert_int_equal(env->vt->truncate(env, file, size, NULL), ERRC_OK);
    env->vt->close(env, file);
}

static void torn_is_cut_off(struct small_log *log)
{
    struct log_contents contents;
    mirror_restart(log);
    assert_int_equal(mirror_log_load(&log->mirror, &contents, NULL), ERRC_OK);
    assert_int_equal(contents.count, 2);
    assert_int_equal(contents.first_index, 1);
    assert_true(slice_equal_str(contents.entries[1].data, "second"));
    log->chain = contents.chain;
    log->next = 3;
    log_contents_free(&contents);
    record_append(log, "another third"); /* the log goes on */
    record_append(log, "and a fourth");
    mirror_restart(log);
    assert_int_equal(mirror_log_load(&log->mirror, &contents, NULL), ERRC_OK);
    assert_int_equal(contents.count, 4);
    assert_true(slice_equal_str(contents.entries[2].data, "another third"));
    log_contents_free(&contents);
}

static void torn_tail_is_cut_at_every_byte(void **state)
{
    (void)state;
    struct small_log log;
    small_log_open(&log);
    uint64_t first = log.end[2];
    uint64_t last = log.end[3];
    small_log_close(&log);
    for (uint64_t cut = first; cut < last; cut++) {
        for (unsigned zeros = 0; zeros < 2; zeros++) { /* the length did, or did not, reach the disk */
            small_log_open(&log);
            file_cut(log.env, SEGMENT_PATH, cut);
            if (zeros == 1) {
                const uint8_t end = 0;
                file_change(log.env, SEGMENT_PATH, last - 1, &end, 1);
            }
            torn_is_cut_off(&log);
            small_log_close(&log);
        }
    }
}

/* A client's bytes look like a record of a later write, behind the place where its own write was torn. */
static void forged_record_in_a_torn_tail_is_no_evidence(void **state)
{
    (void)state;
    struct small_log log;
    struct cluster_id guessed = { { 77 } };
    struct log_contents contents;
    struct enc forged = ENC_INIT;
    small_log_open(&log);
    (void)log_record_encode(&forged, guessed, 9, 1, 1, 9, 0, slice_str("mine"));
    file_change(log.env, SEGMENT_PATH, log.end[3] + 100, forged.data, forged.len);
    mirror_restart(&log);
    assert_int_equal(mirror_log_load(&log.mirror, &contents, NULL), ERRC_OK);
    assert_int_equal(contents.count, 3);
    log_contents_free(&contents);
    enc_free(&forged);
    small_log_close(&log);
}

static void flip_before_later_records_is_damage(void **state)
{
    (void)state;
    struct small_log log;
    small_log_open(&log);
    uint64_t end = log.end[2];
    small_log_close(&log);
    for (uint64_t at = 0; at < end; at++) {
        struct log_contents contents;
        small_log_open(&log);
        file_flip(log.env, SEGMENT_PATH, at, (unsigned)(at % 8));
        mirror_restart(&log);
        assert_int_equal(mirror_log_load(&log.mirror, &contents, NULL), ERRC_CORRUPT);
        small_log_close(&log);
    }
}

static void missing_log_is_damage(void **state)
{
    (void)state;
    struct log_contents contents;
    struct small_log log;
    small_log_open(&log);
    mirror_restart(&log);
    assert_int_equal(log.env->vt->unlink(log.env, SEGMENT_PATH, NULL), ERRC_OK);
    assert_int_equal(mirror_log_load(&log.mirror, &contents, NULL), ERRC_CORRUPT);
    small_log_close(&log);
}

static void replaced_segment_is_noticed(void **state)
{
    (void)state;
    struct small_log log;
    struct enc record = ENC_INIT;
    small_log_open(&log);
    (void)log_record_encode(&record, log.mirror.cluster, 4, 1, 1, 4, log.chain, slice_str("x"));
    assert_int_equal(log.env->vt->unlink(log.env, SEGMENT_PATH, NULL), ERRC_OK);
    assert_int_equal(mirror_append(&log.mirror, enc_slice(&record), 4, log.chain, NULL), ERRC_NOT_FOUND);
    enc_free(&record);
    small_log_close(&log);
}

static void state_flips_are_noticed(void **state)
{
    (void)state;
    struct small_log log;
    static struct mirror_state written, read;
    small_log_open(&log);
    written = (struct mirror_state){ .cluster = log.mirror.cluster, .generation = 9, .nonce = 5, .term = 2, .vote = 1,
                                     .wanted = 2, .dir_count = 1 };
    written.dirs[0] = (struct mirror_dir){ .disk = log.mirror.disk, .path = "/d0", .is_mirror = true };
    assert_int_equal(mirror_state_write(&log.mirror, &written, NULL), ERRC_OK);
    assert_int_equal(mirror_state_read(&log.mirror, &read, NULL), ERRC_OK);
    assert_int_equal(read.generation, 9);
    assert_true(read.dirs[0].is_mirror);
    assert_false(read.dirs[0].is_counted);
    for (uint64_t at = 0; at < file_size(log.env, "/d0/metadata/state"); at++) {
        file_flip(log.env, "/d0/metadata/state", at, (unsigned)(at % 8));
        assert_int_equal(mirror_state_read(&log.mirror, &read, NULL), ERRC_CORRUPT);
        file_flip(log.env, "/d0/metadata/state", at, (unsigned)(at % 8));
    }
    file_cut(log.env, "/d0/metadata/state", 11);
    assert_int_equal(mirror_state_read(&log.mirror, &read, NULL), ERRC_CORRUPT);
    small_log_close(&log);
}

/* ---- the voter ---- */

static void written(struct vf *f, unsigned dirs, unsigned wanted)
{
    vf_init(f, 5, dirs, wanted);
    assert_int_equal(vf_open(f, true), ERRC_OK);
    vf_put_many(f, "k", 0, COMMANDS);
    vf_close(f);
    for (unsigned i = 0; i < dirs; i++) { /* the log alone must do */
        vf_dir_remove(f, i, "/metadata/store");
    }
}

static void only_mirror_refuses_or_has_everything(void **state)
{
    (void)state;
    static const char *const files[] = { SEGMENT_PATH, "/d0/metadata/state" };
    unsigned refused = 0;
    for (unsigned file = 0; file < 2; file++) {
        uint64_t size = 1;
        for (uint64_t at = 0; at < size; at++) {
            struct vf f;
            written(&f, 1, 1);
            size = file_size(&f.fault.env, files[file]);
            file_flip(&f.fault.env, files[file], at, (unsigned)(at % 8));
            if (vf_open(&f, false) == ERRC_OK) { /* only the seal was hit */
                assert_true(vf_has_many(&f, "k", 0, COMMANDS));
            } else {
                refused++;
            }
            vf_done(&f);
        }
    }
    assert_true(refused > 300);
}

static void damaged_mirror_is_refilled(void **state)
{
    (void)state;
    static const char *const files[] = { SEGMENT_PATH, "/d0/metadata/state" };
    for (unsigned file = 0; file < 2; file++) {
        uint64_t size = 1;
        for (uint64_t at = 0; at < size; at += 3) {
            struct vf f;
            written(&f, 3, 2);
            size = file_size(&f.fault.env, files[file]);
            file_flip(&f.fault.env, files[file], at, (unsigned)(at % 8));
            vf_restart(&f);
            assert_true(vf_has_many(&f, "k", 0, COMMANDS));
            vf_run_ms(&f, 1500);
            assert_int_equal(vf_status(&f)->replicas_behind, 0);
            vf_done(&f);
        }
    }
}

/* The n-th write, sync, rename or unlink fails once, for every n: nothing acknowledged is lost, with one mirror nothing
 * unwritten is acknowledged. */
static void each_change_fails_once(unsigned dirs, unsigned wanted)
{
    bool reached = true;
    long n = 1;
    for (; reached; n++) {
        struct vf f;
        bool acknowledged[30] = { false };
        vf_init(&f, (uint64_t)n, dirs, wanted);
        f.checkpoint_log_bytes = 1000;
        f.log_segment_bytes = 400;
        assert_int_equal(vf_open(&f, true), ERRC_OK);
        atomic_store(&f.fault.fail_change, atomic_load(&f.fault.changes) + n);
        for (unsigned i = 0; i < 30; i++) {
            char name[32];
            (void)snprintf(name, sizeof(name), "k%u", i);
            acknowledged[i] = vf_put(&f, name, name) == ERRC_OK;
        }
        reached = atomic_load(&f.fault.changes) >= atomic_load(&f.fault.fail_change);
        vf_crash(&f);
        vf_restart(&f);
        for (unsigned i = 0; i < 30; i++) {
            assert_true(!acknowledged[i] || vf_has_many(&f, "k", i, i + 1));
        }
        vf_run_ms(&f, 3000);
        assert_int_equal(vf_status(&f)->replicas_behind, 0);
        vf_done(&f);
    }
    assert_true(n > 60); /* 30 commands, each a write and a sync, and some checkpoints */
}

static void each_change_fails_once_with_one_mirror(void **state)
{
    (void)state;
    each_change_fails_once(1, 1);
}

static void each_change_fails_once_with_three_dirs(void **state)
{
    (void)state;
    each_change_fails_once(3, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(torn_tail_is_cut_at_every_byte),
        cmocka_unit_test(forged_record_in_a_torn_tail_is_no_evidence),
        cmocka_unit_test(flip_before_later_records_is_damage),
        cmocka_unit_test(missing_log_is_damage),
        cmocka_unit_test(replaced_segment_is_noticed),
        cmocka_unit_test(state_flips_are_noticed),
        cmocka_unit_test(only_mirror_refuses_or_has_everything),
        cmocka_unit_test(damaged_mirror_is_refilled),
        cmocka_unit_test(each_change_fails_once_with_one_mirror),
        cmocka_unit_test(each_change_fails_once_with_three_dirs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
