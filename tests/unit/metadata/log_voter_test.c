/*
 * Goal: a voter answers, survives restarts, and loses nothing that it acknowledged when DIRs fail, vanish or return.
 *
 * Method: one voter on a simulated machine (env_sim, kv_sim) over several DIRs; folders are removed, hidden, or made to
 * fail (dir_fault) at chosen moments.
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

#define JOIN_MS 2000

static void opened(struct vf *f, unsigned dirs, unsigned wanted)
{
    vf_init(f, 7, dirs, wanted);
    enum errc rc = vf_open(f, true);
    if (rc != ERRC_OK) {
        fail_msg("%s", f->error.text);
    }
}

/* ---- ordinary life ---- */

static void voter_answers_what_it_was_told(void **state)
{
    (void)state;
    struct vf f;
    opened(&f, 1, 1);
    assert_false(vf_has(&f, "a", "1"));
    assert_int_equal(vf_put(&f, "a", "1"), ERRC_OK);
    assert_true(vf_has(&f, "a", "1"));
    assert_int_equal(vf_put(&f, "a", "2"), ERRC_OK);
    assert_true(vf_has(&f, "a", "2"));
    vf_done(&f);
}

static void voter_keeps_everything_over_a_restart(void **state)
{
    (void)state;
    struct vf f;
    opened(&f, 3, 2);
    vf_put_many(&f, "k", 0, 50);
    uint64_t generation = vf_status(&f)->generation;
    vf_restart(&f);
    assert_true(vf_has_many(&f, "k", 0, 50));
    assert_true(vf_status(&f)->generation > generation);
    vf_put_many(&f, "k", 50, 60);
    vf_restart(&f);
    assert_true(vf_has_many(&f, "k", 0, 60));
    assert_int_equal(vf_status(&f)->replicas_behind, 0);
    vf_done(&f);
}

/* While one write is under way others gather: far fewer entries than commands. */
static void commands_share_an_entry_while_a_write_is_under_way(void **state)
{
    (void)state;
    static struct vf_put puts[200];
    struct vf f;
    char name[32];
    opened(&f, 3, 3);
    uint64_t before = vf_status(&f)->commit_index;
    for (unsigned i = 0; i < 200; i++) {
        (void)snprintf(name, sizeof(name), "k%u", i);
        vf_put_start(&f, &puts[i], name, name);
    }
    for (unsigned i = 0; i < 200; i++) {
        assert_int_equal(vf_put_wait(&f, &puts[i]), ERRC_OK);
    }
    assert_true(vf_status(&f)->commit_index - before < 100);
    assert_true(vf_has_many(&f, "k", 0, 200));
    vf_done(&f);
}

static void command_larger_than_an_entry_is_refused(void **state)
{
    (void)state;
    struct vf f;
    opened(&f, 1, 1);
    assert_int_equal(vf_put_bytes(&f, "large", LOG_ENTRY_BYTES_MAX), ERRC_LIMIT);
    assert_int_equal(vf_put_bytes(&f, "fits", VOTER_ENTRY_BYTES_MAX + 1000), ERRC_OK);
    assert_int_equal(vf_put(&f, "a", "1"), ERRC_OK);
    vf_done(&f);
}

static void commands_that_wait_are_answered_at_close(void **state)
{
    (void)state;
    static struct vf_put puts[20];
    struct vf f;
    opened(&f, 2, 2);
    for (unsigned i = 0; i < 20; i++) {
        vf_put_start(&f, &puts[i], "k", "v");
    }
    vf_close(&f);
    for (unsigned i = 0; i < 20; i++) {
        enum errc rc = vf_put_wait(&f, &puts[i]);
        assert_true(rc == ERRC_OK || rc == ERRC_UNAVAILABLE);
    }
    vf_done(&f);
}

/* A lone command is followed by a barrier, so that damage to it can be told from a torn write. */
static void last_command_is_sealed_when_idle(void **state)
{
    (void)state;
    struct vf f;
    opened(&f, 1, 1);
    assert_int_equal(vf_put(&f, "a", "1"), ERRC_OK);
    uint64_t index = vf_status(&f)->commit_index;
    vf_run_ms(&f, 1000);
    assert_int_equal(vf_status(&f)->commit_index, index + 1);
    vf_run_ms(&f, 5000);
    assert_int_equal(vf_status(&f)->commit_index, index + 1);
    vf_done(&f);
}

/* ---- mirrors that fail ---- */

static void mirror_that_fails(enum dir_fault_kind kind, enum errc code)
{
    struct vf f;
    opened(&f, 3, 2);
    vf_put_many(&f, "k", 0, 10);
    uint64_t generation = vf_status(&f)->generation;
    dir_fault_set(&f.fault, vf_path(1), kind, code);
    vf_put_many(&f, "k", 10, 20);
    assert_true(vf_event(&f, "metadata_mirror_lost"));
    assert_true(vf_status(&f)->generation > generation);
    vf_run_ms(&f, JOIN_MS); /* the third DIR takes its place */
    assert_int_equal(vf_status(&f)->replicas_behind, 0);
    /* the first one dies too: what the third took over is all there */
    vf_put_many(&f, "k", 20, 25);
    vf_close(&f);
    f.absent[0] = true;
    f.absent[1] = true;
    f.start_without[f.start_without_count++] = vf_path(0);
    f.start_without[f.start_without_count++] = vf_path(1);
    vf_restart(&f);
    assert_true(vf_has_many(&f, "k", 0, 25));
    vf_done(&f);
}

static void mirror_with_io_errors_is_replaced(void **state)
{
    (void)state;
    mirror_that_fails(DIR_FAULT_WRITE, ERRC_IO);
}

static void mirror_whose_sync_fails_is_replaced(void **state)
{
    (void)state;
    mirror_that_fails(DIR_FAULT_SYNC, ERRC_IO);
}

static void mirror_without_space_is_replaced(void **state)
{
    (void)state;
    mirror_that_fails(DIR_FAULT_WRITE, ERRC_NO_SPACE);
}

static void vanished_folder_is_noticed_by_the_next_write(void **state)
{
    (void)state;
    struct vf f;
    opened(&f, 3, 2);
    vf_put_many(&f, "k", 0, 10);
    vf_dir_remove(&f, 1, "");
    assert_int_equal(vf_put(&f, "k10", "k10"), ERRC_OK);
    assert_true(vf_event(&f, "metadata_mirror_lost"));
    vf_run_ms(&f, JOIN_MS);
    assert_int_equal(vf_status(&f)->replicas_behind, 0);
    assert_true(vf_has_many(&f, "k", 0, 11));
    vf_done(&f);
}

static void vanished_metadata_folder_is_noticed_by_the_next_write(void **state)
{
    (void)state;
    struct vf f;
    opened(&f, 2, 2);
    vf_put_many(&f, "k", 0, 10);
    vf_dir_remove(&f, 1, "/metadata");
    assert_int_equal(vf_put(&f, "k10", "k10"), ERRC_OK);
    assert_true(vf_event(&f, "metadata_mirror_lost"));
    assert_int_equal(vf_status(&f)->replicas_behind, 1);
    vf_done(&f);
}

static void reported_disk_leaves_and_its_store_moves(void **state)
{
    (void)state;
    struct vf f;
    opened(&f, 3, 2);
    vf_put_many(&f, "k", 0, 10);
    voter_mirror_failed(f.voter, vf_disk(0), "its storage node fenced it");
    vf_dir_remove(&f, 0, "");
    vf_put_many(&f, "k", 10, 20);
    assert_true(vf_event(&f, "metadata_store_moved"));
    assert_true(vf_has_many(&f, "k", 0, 20));
    vf_run_ms(&f, JOIN_MS);
    assert_int_equal(vf_status(&f)->replicas_behind, 0);
    vf_done(&f);
}

/* Nobody reports it: the store's own writes fail. */
static void store_moves_when_its_dir_fails(void **state)
{
    (void)state;
    struct vf f;
    opened(&f, 3, 3);
    f.kv.flush_one_in = 1; /* every batch is written to the DIR */
    vf_put_many(&f, "k", 0, 10);
    dir_fault_set(&f.fault, "/d0", DIR_FAULT_ALL, ERRC_IO);
    vf_put_many(&f, "k", 10, 20);
    assert_true(vf_event(&f, "metadata_store_moved"));
    assert_true(vf_has_many(&f, "k", 0, 20));
    vf_restart(&f);
    assert_true(vf_has_many(&f, "k", 0, 20));
    vf_done(&f);
}

static void last_mirror_gone_refuses_and_comes_back(void **state)
{
    (void)state;
    struct vf f;
    opened(&f, 2, 2);
    vf_put_many(&f, "k", 0, 10);
    dir_fault_set(&f.fault, "/d0", DIR_FAULT_ALL, ERRC_IO);
    dir_fault_set(&f.fault, "/d1", DIR_FAULT_ALL, ERRC_IO);
    assert_int_equal(vf_put(&f, "lost", "1"), ERRC_TIMEOUT);
    assert_int_equal(vf_put(&f, "refused", "1"), ERRC_UNAVAILABLE);
    vf_run_ms(&f, 10000);
    assert_int_equal(vf_put(&f, "refused", "1"), ERRC_UNAVAILABLE);
    dir_fault_set(&f.fault, "/d0", DIR_FAULT_NONE, ERRC_IO);
    dir_fault_set(&f.fault, "/d1", DIR_FAULT_NONE, ERRC_IO);
    vf_run_ms(&f, 10000);
    assert_true(vf_event(&f, "metadata_available"));
    assert_true(vf_has_many(&f, "k", 0, 10));
    vf_put_many(&f, "k", 10, 20);
    vf_run_ms(&f, JOIN_MS);
    assert_int_equal(vf_status(&f)->replicas_behind, 0);
    vf_restart(&f);
    assert_true(vf_has_many(&f, "k", 0, 20));
    vf_done(&f);
}

static void most_dirs_gone_at_once_refuses_until_they_return(void **state)
{
    (void)state;
    struct vf f;
    opened(&f, 5, 2);
    vf_put_many(&f, "k", 0, 10);
    for (unsigned i = 1; i < 5; i++) {
        vf_dir_hide(&f, i);
    }
    assert_int_equal(vf_put(&f, "k10", "k10"), ERRC_TIMEOUT); /* one of five must not decide */
    assert_true(vf_has_many(&f, "k", 0, 10));
    for (unsigned i = 1; i < 5; i++) {
        vf_dir_unhide(&f, i);
    }
    vf_run_ms(&f, 10000);
    vf_put_many(&f, "k", 10, 20);
    assert_true(vf_has_many(&f, "k", 0, 20));
    vf_done(&f);
}

/* ---- starts ---- */

static void start_with_half_missing_names_them(void **state)
{
    (void)state;
    struct vf f;
    opened(&f, 4, 3);
    vf_put_many(&f, "k", 0, 10);
    vf_close(&f);
    f.absent[1] = true;
    f.absent[3] = true;
    assert_int_equal(vf_open(&f, false), ERRC_UNAVAILABLE);
    assert_non_null(strstr(f.error.text, "/d1"));
    assert_non_null(strstr(f.error.text, "/d3"));
    assert_null(strstr(f.error.text, "/d0"));
    f.start_without[0] = "d1"; /* one is not enough */
    f.start_without_count = 1;
    assert_int_equal(vf_open(&f, false), ERRC_UNAVAILABLE);
    assert_null(strstr(f.error.text, "/d1"));
    f.start_without[1] = "/d3";
    f.start_without_count = 2;
    vf_restart(&f);
    assert_true(vf_has_many(&f, "k", 0, 10));
    vf_put_many(&f, "k", 10, 12);
    f.start_without_count = 0; /* given up once: the next start needs no word */
    vf_restart(&f);
    f.absent[1] = false;
    f.absent[3] = false; /* they come back, with an old generation */
    vf_restart(&f);
    assert_true(vf_has_many(&f, "k", 0, 12));
    vf_run_ms(&f, JOIN_MS);
    assert_int_equal(vf_status(&f)->replicas_behind, 0);
    vf_done(&f);
}

/* Of two, the one that saw the other go may start alone; the other one may not. */
static void start_without_the_one_that_went_on_refuses(void **state)
{
    (void)state;
    struct vf f;
    opened(&f, 2, 2);
    vf_put_many(&f, "k", 0, 10);
    voter_mirror_failed(f.voter, vf_disk(0), "test");
    vf_put_many(&f, "after", 0, 3);
    vf_close(&f);
    f.absent[1] = true;
    assert_int_equal(vf_open(&f, false), ERRC_UNAVAILABLE);
    assert_non_null(strstr(f.error.text, "/d1"));
    f.absent[1] = false;
    f.absent[0] = true;
    vf_restart(&f);
    assert_true(vf_has_many(&f, "after", 0, 3));
    vf_done(&f);
}

/* Whatever two of six are lost, at whatever time. */
static void any_two_of_six_may_be_lost_in_turn(void **state)
{
    (void)state;
    struct vf f;
    opened(&f, 6, 3);
    for (unsigned round = 0; round < 15; round++) {
        unsigned a = round % 6;
        unsigned b = (a + 1 + round / 6) % 6;
        char prefix[16];
        (void)snprintf(prefix, sizeof(prefix), "r%u-", round);
        vf_put_many(&f, prefix, 0, 4);
        vf_close(&f);
        for (unsigned i = 0; i < 6; i++) {
            f.absent[i] = i == a || i == b;
        }
        vf_restart(&f); /* those of the round before are back, and not current yet */
        for (unsigned before = 0; before <= round; before++) {
            (void)snprintf(prefix, sizeof(prefix), "r%u-", before);
            assert_true(vf_has_many(&f, prefix, 0, 4));
        }
        vf_run_ms(&f, JOIN_MS);
        assert_int_equal(vf_status(&f)->replicas_behind, 0);
    }
    vf_done(&f);
}

static void stale_mirror_is_refilled_not_believed(void **state)
{
    (void)state;
    struct vf f;
    opened(&f, 3, 2);
    vf_put_many(&f, "k", 0, 10);
    vf_close(&f);
    vf_dir_hide(&f, 1);
    f.absent[1] = true;
    vf_restart(&f);
    vf_put_many(&f, "k", 10, 20); /* d0 and, once joined, d2 */
    vf_run_ms(&f, JOIN_MS);
    vf_close(&f);
    vf_dir_unhide(&f, 1);
    f.absent[1] = false;
    vf_dir_hide(&f, 0);
    f.absent[0] = true;
    vf_restart(&f); /* d1 is stale, d2 is current */
    assert_true(vf_has_many(&f, "k", 0, 20));
    vf_run_ms(&f, JOIN_MS);
    assert_int_equal(vf_status(&f)->replicas_behind, 0);
    vf_close(&f);
    vf_dir_hide(&f, 2);
    f.absent[2] = true;
    f.start_without[f.start_without_count++] = "/d2";
    vf_restart(&f); /* d1 alone now has all */
    assert_true(vf_has_many(&f, "k", 0, 20));
    vf_done(&f);
}

static void dir_of_another_disk_or_cluster_is_left_alone(void **state)
{
    (void)state;
    struct vf f;
    opened(&f, 3, 2);
    vf_put_many(&f, "k", 0, 5);
    vf_close(&f);
    vf_dir_hide(&f, 0);
    struct env *env = env_sim_env(f.sim);
    assert_int_equal(env->vt->rename(env, "/d2", "/d0", NULL), ERRC_OK); /* wrong metadata where d0 is expected */
    f.absent[2] = true;
    assert_int_equal(vf_open(&f, false), ERRC_UNAVAILABLE);
    assert_true(vf_event(&f, "metadata_state_unusable"));
    vf_done(&f);
}

static void replaced_dir_takes_over(void **state)
{
    (void)state;
    struct vf f;
    opened(&f, 2, 2);
    vf_put_many(&f, "k", 0, 10);
    vf_dir_remove(&f, 1, "");
    vf_put_many(&f, "k", 10, 12);
    assert_int_equal(vf_status(&f)->replicas_behind, 1);
    f.dirs = 3;
    vf_dir_make(&f, 2);
    voter_mirror_replace(f.voter, vf_disk(1), vf_disk(2), vf_path(2));
    vf_run_ms(&f, JOIN_MS);
    assert_int_equal(vf_status(&f)->replicas_behind, 0);
    vf_put_many(&f, "k", 12, 15);
    f.absent[1] = true;
    vf_restart(&f);
    vf_close(&f);
    f.absent[0] = true;
    f.start_without[f.start_without_count++] = "/d0";
    vf_restart(&f);
    assert_true(vf_has_many(&f, "k", 0, 15));
    vf_done(&f);
}

static void dir_that_returns_while_running_joins_again(void **state)
{
    (void)state;
    struct vf f;
    opened(&f, 2, 2);
    vf_put_many(&f, "k", 0, 10);
    vf_dir_hide(&f, 0);
    vf_put_many(&f, "k", 10, 12);
    assert_int_equal(vf_status(&f)->replicas_behind, 1);
    vf_dir_unhide(&f, 0);
    voter_mirror_replace(f.voter, vf_disk(0), vf_disk(0), vf_path(0));
    vf_run_ms(&f, JOIN_MS);
    assert_int_equal(vf_status(&f)->replicas_behind, 0);
    vf_restart(&f);
    assert_true(vf_has_many(&f, "k", 0, 12));
    vf_done(&f);
}

/* ---- checkpoints ---- */

static void filled(struct vf *f, const char *prefix, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "%s%u", prefix, i);
        assert_int_equal(vf_put_bytes(f, name, 60000), ERRC_OK);
    }
}

static void checkpointed(struct vf *f, unsigned dirs, unsigned wanted)
{
    vf_init(f, 11, dirs, wanted);
    f->checkpoint_log_bytes = 1u << 20;
    assert_int_equal(vf_open(f, true), ERRC_OK);
    vf_put_many(f, "k", 0, 20);
    for (unsigned i = 0; i < 24; i++) { /* segments of 16 MiB: enough that the first is cut */
        filled(f, "big", 24);
    }
    vf_run_ms(f, 1000);
    vf_put_many(f, "k", 20, 30);
    assert_true(vf_status(f)->checkpoint_index > 0);
}

static void checkpoint_cuts_the_log_and_restarts(void **state)
{
    (void)state;
    struct vf f;
    char *names[64];
    checkpointed(&f, 3, 2);
    for (unsigned i = 0; i < 2; i++) {
        unsigned count = vf_files(&f, i, "", "log-", names, 64);
        assert_true(count <= 2);
        for (unsigned n = 0; n < count; n++) {
            assert_string_not_equal(strrchr(names[n], '-'), "-0000000000000001");
            mem_free(names[n]);
        }
        count = vf_files(&f, i, "", "checkpoint-", names, 64);
        assert_int_equal(count, 1);
        mem_free(names[0]);
    }
    vf_restart(&f);
    assert_true(vf_has_many(&f, "k", 0, 30));
    vf_done(&f);
}

static void lost_store_comes_back_from_a_checkpoint(void **state)
{
    (void)state;
    struct vf f;
    checkpointed(&f, 4, 2);
    vf_close(&f);
    vf_dir_remove(&f, 0, "/metadata/store");
    vf_restart(&f);
    assert_true(vf_has_many(&f, "k", 0, 30));
    vf_close(&f);
    vf_dir_remove(&f, 0, ""); /* the whole DIR while down */
    f.absent[0] = true;
    vf_restart(&f);
    assert_true(vf_has_many(&f, "k", 0, 30));
    vf_run_ms(&f, JOIN_MS);
    assert_int_equal(vf_status(&f)->replicas_behind, 0);
    vf_dir_remove(&f, 1, ""); /* and another while running */
    voter_mirror_failed(f.voter, vf_disk(1), "gone");
    vf_put_many(&f, "k", 30, 35);
    assert_true(vf_has_many(&f, "k", 0, 35));
    vf_done(&f);
}

static void damaged_checkpoint_is_not_believed(void **state)
{
    (void)state;
    struct vf f;
    char *names[8];
    checkpointed(&f, 2, 2);
    vf_close(&f);
    vf_dir_remove(&f, 0, "/metadata/store");
    assert_int_equal(vf_files(&f, 0, "", "checkpoint-", names, 8), 1);
    char *file = mem_format("%s/map", names[0]);
    assert_true(env_sim_flip(f.sim, file));
    mem_free(file);
    mem_free(names[0]);
    vf_restart(&f); /* d0's does not match its manifest: d1's is taken */
    assert_true(vf_event(&f, "metadata_store_unusable"));
    assert_true(vf_has_many(&f, "k", 0, 30));
    vf_done(&f);
}

static void missing_checkpoint_is_made_anew(void **state)
{
    (void)state;
    struct vf f;
    char *names[8];
    checkpointed(&f, 2, 2);
    vf_close(&f);
    assert_int_equal(vf_files(&f, 1, "", "checkpoint-", names, 8), 1);
    vf_dir_remove(&f, 1, names[0] + strlen(vf_path(1)));
    mem_free(names[0]);
    vf_restart(&f);
    vf_put_many(&f, "k", 30, 31);
    vf_run_ms(&f, 1000);
    vf_close(&f);
    vf_dir_remove(&f, 0, "");
    f.absent[0] = true;
    f.start_without[f.start_without_count++] = "/d0";
    vf_restart(&f);
    assert_true(vf_has_many(&f, "k", 0, 31));
    vf_done(&f);
}

/* Its log can be written, its checkpoints can't: it leaves, since its log could never be cut. */
static void mirror_that_cannot_take_a_checkpoint_leaves(void **state)
{
    (void)state;
    struct vf f;
    checkpointed(&f, 3, 2);
    vf_events_clear(&f);
    for (uint64_t index = vf_status(&f)->applied_index; f.fault.rule_count < DIR_FAULT_RULES_MAX; index++) {
        char folder[64];
        (void)snprintf(folder, sizeof(folder), "/d1/metadata/checkpoint-%016llx.new", (unsigned long long)index + 14);
        dir_fault_set(&f.fault, folder, DIR_FAULT_WRITE, ERRC_IO);
    }
    filled(&f, "more", 30);
    vf_run_ms(&f, JOIN_MS);
    assert_true(vf_event(&f, "metadata_mirror_lost /d1"));
    assert_int_equal(vf_status(&f)->replicas_behind, 0); /* the third took its place */
    assert_true(vf_has_many(&f, "k", 0, 30));
    vf_done(&f);
}

static void joined_mirror_has_the_checkpoint(void **state)
{
    (void)state;
    struct vf f;
    checkpointed(&f, 3, 2);
    voter_mirror_failed(f.voter, vf_disk(0), "test");
    vf_run_ms(&f, JOIN_MS);
    assert_int_equal(vf_status(&f)->replicas_behind, 0);
    vf_close(&f);
    f.absent[0] = true;
    f.absent[1] = true;
    f.start_without[f.start_without_count++] = "/d0";
    f.start_without[f.start_without_count++] = "/d1";
    vf_restart(&f); /* d2 alone */
    assert_true(vf_has_many(&f, "k", 0, 30));
    vf_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(voter_answers_what_it_was_told),
        cmocka_unit_test(voter_keeps_everything_over_a_restart),
        cmocka_unit_test(commands_share_an_entry_while_a_write_is_under_way),
        cmocka_unit_test(command_larger_than_an_entry_is_refused),
        cmocka_unit_test(commands_that_wait_are_answered_at_close),
        cmocka_unit_test(last_command_is_sealed_when_idle),
        cmocka_unit_test(mirror_with_io_errors_is_replaced),
        cmocka_unit_test(mirror_whose_sync_fails_is_replaced),
        cmocka_unit_test(mirror_without_space_is_replaced),
        cmocka_unit_test(vanished_folder_is_noticed_by_the_next_write),
        cmocka_unit_test(vanished_metadata_folder_is_noticed_by_the_next_write),
        cmocka_unit_test(reported_disk_leaves_and_its_store_moves),
        cmocka_unit_test(store_moves_when_its_dir_fails),
        cmocka_unit_test(last_mirror_gone_refuses_and_comes_back),
        cmocka_unit_test(most_dirs_gone_at_once_refuses_until_they_return),
        cmocka_unit_test(start_with_half_missing_names_them),
        cmocka_unit_test(start_without_the_one_that_went_on_refuses),
        cmocka_unit_test(any_two_of_six_may_be_lost_in_turn),
        cmocka_unit_test(stale_mirror_is_refilled_not_believed),
        cmocka_unit_test(dir_of_another_disk_or_cluster_is_left_alone),
        cmocka_unit_test(replaced_dir_takes_over),
        cmocka_unit_test(dir_that_returns_while_running_joins_again),
        cmocka_unit_test(checkpoint_cuts_the_log_and_restarts),
        cmocka_unit_test(lost_store_comes_back_from_a_checkpoint),
        cmocka_unit_test(damaged_checkpoint_is_not_believed),
        cmocka_unit_test(missing_checkpoint_is_made_anew),
        cmocka_unit_test(mirror_that_cannot_take_a_checkpoint_leaves),
        cmocka_unit_test(joined_mirror_has_the_checkpoint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
