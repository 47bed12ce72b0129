/*
 * Goal: a command with a name is done once, whenever and however often it comes; what is kept for that is bounded.
 *
 * Method: the state machine over a map in memory; equal logs on two machines that are opened anew at different times
 * must end in equal chains.
 */
#include "tests/lib/machine_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

static struct fixture f;

static struct meta_result open_session(struct fixture *fixture, uint8_t client, uint64_t number)
{
    const struct meta_command cmd = { .type = META_CMD_SESSION_OPEN, .request = { { client, 5 }, number } };
    return fixture_apply(fixture, &cmd);
}

static struct meta_result put_named(uint64_t bucket, const char *key, struct meta_conditions conditions, uint64_t number)
{
    struct meta_command cmd = fixture_put_inline(&f, bucket, slice_str(key), slice_str("bytes"));
    cmd.object_put.conditions = conditions;
    cmd.request = (struct meta_request){ { 9 }, number };
    return fixture_apply(&f, &cmd);
}

static void the_same_name_again_changes_nothing(void **state)
{
    (void)state;
    fixture_open(&f);
    uint64_t b = fixture_bucket(&f, "bucket", META_VERSIONING_ENABLED);
    const struct meta_conditions none = { 0 };
    struct meta_result first = put_named(b, "a", none, 1);
    struct meta_result second = put_named(b, "a", none, 2);
    assert_int_equal(first.outcome, META_OK);
    assert_true(second.seq > first.seq);
    for (unsigned i = 0; i < 3; i++) {
        struct meta_result again = put_named(b, "a", none, 1);
        assert_int_equal(again.outcome, META_OK);
        assert_int_equal(again.seq, first.seq);
        assert_int_equal(again.index, first.index);
        assert_int_equal(again.mtime_ms, first.mtime_ms);
        fixture_reopen(&f);
    }
    assert_int_equal(fixture_status(&f).versions, 2);
    assert_int_equal(put_named(b, "a", none, 2).seq, second.seq);
    assert_int_equal(put_named(b, "a", none, 3).outcome, META_OK);
    assert_int_equal(fixture_status(&f).versions, 3);
    fixture_close(&f);
}

/* If-None-Match: the retry of a request that was done must not see its own object. */
static void a_refusal_is_decided_anew_a_success_is_not(void **state)
{
    (void)state;
    fixture_open(&f);
    uint64_t b = fixture_bucket(&f, "bucket", META_VERSIONING_UNSET);
    const struct meta_conditions absent = { .if_none_match = { (const uint8_t *)"*", 1 } };
    assert_int_equal(put_named(b, "a", absent, 1).outcome, META_OK);
    assert_int_equal(put_named(b, "a", absent, 2).outcome, META_PRECONDITION);
    assert_int_equal(put_named(b, "a", absent, 1).outcome, META_OK);
    assert_int_equal(fixture_delete(&f, b, "a").outcome, META_OK);
    assert_int_equal(put_named(b, "a", absent, 1).outcome, META_OK); /* of then: nothing is put back */
    assert_int_equal(fixture_status(&f).objects, 0);
    assert_int_equal(put_named(b, "a", absent, 2).outcome, META_OK); /* was refused, so it had no effect yet */
    assert_int_equal(fixture_status(&f).objects, 1);
    fixture_close(&f);
}

static void numbers_may_come_in_any_order(void **state)
{
    (void)state;
    fixture_open(&f);
    uint64_t sessions[40];
    for (uint64_t i = 40; i > 0; i--) {
        sessions[i - 1] = open_session(&f, 1, i).value;
    }
    fixture_reopen(&f);
    for (uint64_t i = 1; i <= 40; i++) {
        assert_int_equal(open_session(&f, 1, i).value, sessions[i - 1]);
        assert_int_not_equal(open_session(&f, 2, i).value, sessions[i - 1]); /* another client's numbers are its own */
    }
    assert_int_equal(fixture_status(&f).sessions_open, 81);
    fixture_close(&f);
}

static void an_old_name_cannot_be_told(void **state)
{
    (void)state;
    fixture_open(&f);
    uint64_t second = 0;
    for (uint64_t i = 1; i <= META_REQUESTS_KEPT + 1; i++) {
        uint64_t value = open_session(&f, 1, i).value;
        second = i == 2 ? value : second;
    }
    uint64_t open = fixture_status(&f).sessions_open;
    assert_int_equal(open_session(&f, 1, 1).outcome, META_STALE);
    assert_int_equal(open_session(&f, 1, 2).value, second);
    fixture_reopen(&f);
    assert_int_equal(open_session(&f, 1, 1).outcome, META_STALE);
    assert_int_equal(fixture_status(&f).sessions_open, open);
    fixture_close(&f);
}

static unsigned rows(struct fixture *fixture)
{
    struct kv *kv = fixture->kv;
    const uint8_t first = 0x1f; /* CLIENT to REQUEST */
    const uint8_t end = 0x22;
    unsigned count = 0;
    struct kv_iterator *it = kv->vt->iterate(kv, slice_of(&first, 1), slice_of(&end, 1));
    for (kv->vt->iterator_seek(it, slice_of(&first, 1)); kv->vt->iterator_valid(it); kv->vt->iterator_next(it)) {
        count++;
    }
    kv->vt->iterator_destroy(it);
    return count;
}

static void clients_give_way_the_one_noted_longest_ago_first(void **state)
{
    (void)state;
    fixture_open(&f);
    for (unsigned c = 1; c <= 128; c++) {
        (void)open_session(&f, (uint8_t)c, 1);
        (void)open_session(&f, (uint8_t)c, 2);
    }
    assert_int_equal(rows(&f), 3 * 128);
    f.index += 5000; /* other commands: the first client is noted again when it comes */
    uint64_t value = open_session(&f, 1, 3).value;
    (void)open_session(&f, 200, 1);
    assert_int_equal(rows(&f), 3 * 127 + 1 + 2);
    assert_int_equal(open_session(&f, 1, 3).value, value);
    uint64_t open = fixture_status(&f).sessions_open;
    (void)open_session(&f, 3, 1); /* still known */
    assert_int_equal(fixture_status(&f).sessions_open, open);
    (void)open_session(&f, 2, 1); /* forgotten */
    assert_int_equal(fixture_status(&f).sessions_open, open + 1);
    fixture_reopen(&f);
    assert_int_equal(open_session(&f, 1, 3).value, value);
    assert_int_equal(fixture_status(&f).sessions_open, open + 1);
    fixture_close(&f);
}

/* What is remembered beside the map decides nothing. */
static void an_open_in_between_changes_no_decision(void **state)
{
    (void)state;
    struct fixture other;
    uint8_t chains[2][MACHINE_CHAIN_BYTES];
    uint64_t seed = 3;
    fixture_open(&f);
    fixture_open(&other);
    for (unsigned i = 0; i < 4000; i++) {
        uint8_t client = (uint8_t)(1 + fixture_random(&seed) % 140);
        uint64_t number = 1 + fixture_random(&seed) % (1 + i);
        struct meta_result a = open_session(&f, client, number);
        struct meta_result b = open_session(&other, client, number);
        assert_int_equal(a.outcome, b.outcome);
        assert_int_equal(a.value, b.value);
        if (i % 97 == 0) {
            fixture_reopen(&other);
        }
    }
    machine_chain(f.machine, chains[0]);
    machine_chain(other.machine, chains[1]);
    assert_memory_equal(chains[0], chains[1], MACHINE_CHAIN_BYTES);
    fixture_close(&other);
    fixture_close(&f);
}

/* Logs of before commands had names. */
static void commands_without_a_name_are_as_before(void **state)
{
    (void)state;
    static const uint8_t before[] = { 1, META_CMD_SESSION_CLOSE, 0, 7 };
    struct arena arena;
    struct meta_command cmd;
    struct enc enc = ENC_INIT;
    arena_init(&arena, 4096);
    assert_int_equal(meta_command_decode(slice_of(before, sizeof(before)), &arena, &cmd), ERRC_OK);
    assert_int_equal(cmd.session_close.session, 7);
    assert_int_equal(cmd.request.number, 0);
    meta_command_encode(&enc, &cmd);
    assert_int_equal(enc.len, sizeof(before));
    assert_memory_equal(enc.data, before, sizeof(before));
    enc_reset(&enc);
    cmd.request = (struct meta_request){ { 1, 2, 3 }, 300 };
    meta_command_encode(&enc, &cmd);
    struct meta_command again;
    assert_int_equal(meta_command_decode(enc_slice(&enc), &arena, &again), ERRC_OK);
    assert_int_equal(again.request.number, 300);
    assert_memory_equal(again.request.client, cmd.request.client, META_CLIENT_BYTES);
    for (size_t len = 0; len < enc.len; len++) {
        assert_int_not_equal(meta_command_decode(slice_of(enc.data, len), &arena, &again), ERRC_OK);
    }
    enc_free(&enc);
    arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_name_again_changes_nothing),
        cmocka_unit_test(a_refusal_is_decided_anew_a_success_is_not),
        cmocka_unit_test(numbers_may_come_in_any_order),
        cmocka_unit_test(an_old_name_cannot_be_told),
        cmocka_unit_test(clients_give_way_the_one_noted_longest_ago_first),
        cmocka_unit_test(an_open_in_between_changes_no_decision),
        cmocka_unit_test(commands_without_a_name_are_as_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
