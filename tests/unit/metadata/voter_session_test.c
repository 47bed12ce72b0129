/*
 * Goal: the horizon never passes what an open session needs, over silence, restarts and closes; a session that is silent
 * for its lease is closed, and not before.
 *
 * Method: the table by itself with times to order; then a voter in virtual time.
 */
#include "common/rpc/rpc_schema.h"
#include "common/rpc/metadata_messages.h"
#include "metadata/voter_session.h"
#include "tests/lib/voter_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdatomic.h>
#include <string.h>

#define S UINT64_C(1000000000)

static void silence_holds_the_horizon_back(void **state)
{
    (void)state;
    struct voter_leases leases = { .count = 0 };
    const uint64_t open[] = { 3, 5, 9 };
    uint64_t horizon = 77;
    voter_leases_begin(&leases);
    voter_leases_follow(&leases, open, 3, 1 * S);
    assert_int_equal(voter_leases_renew(&leases, 3, 100, 1 * S, &horizon), ERRC_OK);
    assert_int_equal(horizon, 0); /* 5 and 9 have not been heard of */
    assert_int_equal(voter_leases_renew(&leases, 9, 300, 1 * S, &horizon), ERRC_OK);
    assert_int_equal(horizon, 0);
    assert_int_equal(voter_leases_renew(&leases, 5, 200, 2 * S, &horizon), ERRC_OK);
    assert_int_equal(horizon, 100);
    assert_int_equal(voter_leases_renew(&leases, 3, 250, 3 * S, &horizon), ERRC_OK);
    assert_int_equal(horizon, 200);
    assert_int_equal(voter_leases_renew(&leases, 4, 1, 3 * S, &horizon), ERRC_NOT_FOUND);
    const uint64_t fewer[] = { 3, 9 }; /* 5 was closed: it needs nothing */
    voter_leases_follow(&leases, fewer, 2, 4 * S);
    assert_int_equal(voter_leases_renew(&leases, 3, 260, 4 * S, &horizon), ERRC_OK);
    assert_int_equal(horizon, 260);
    assert_int_equal(voter_leases_renew(&leases, 5, 400, 4 * S, &horizon), ERRC_NOT_FOUND);
    const uint64_t more[] = { 3, 9, 12 }; /* a new one blocks until it has reported */
    voter_leases_follow(&leases, more, 3, 5 * S);
    assert_int_equal(voter_leases_renew(&leases, 3, 500, 5 * S, &horizon), ERRC_OK);
    assert_int_equal(horizon, 0);
    voter_leases_begin(&leases); /* another leader */
    voter_leases_follow(&leases, more, 3, 6 * S);
    assert_int_equal(voter_leases_renew(&leases, 12, 500, 6 * S, &horizon), ERRC_OK);
    assert_int_equal(horizon, 0);
    voter_leases_done(&leases);
}

static void only_the_silent_expire(void **state)
{
    (void)state;
    struct voter_leases leases = { .count = 0 };
    const uint64_t open[] = { 3, 5 };
    uint64_t horizon;
    uint64_t expired[4];
    voter_leases_follow(&leases, open, 2, 1 * S);
    for (unsigned i = 1; i <= 30; i++) {
        assert_int_equal(voter_leases_renew(&leases, 3, 100, i * S, &horizon), ERRC_OK);
    }
    assert_int_equal(voter_leases_expired(&leases, 31 * S - 1, expired, 4), 0);
    assert_int_equal(voter_leases_expired(&leases, 31 * S, expired, 4), 1);
    assert_int_equal(expired[0], 5);
    /* Once it is on its way out it does not come back: its close may be decided at any time. */
    assert_int_equal(voter_leases_renew(&leases, 5, 100, 31 * S, &horizon), ERRC_NOT_FOUND);
    assert_int_equal(voter_leases_renew(&leases, 3, 200, 31 * S, &horizon), ERRC_OK);
    assert_int_equal(horizon, 0); /* until then it still counts */
    assert_int_equal(voter_leases_expired(&leases, 70 * S, expired, 1), 1);
    assert_int_equal(expired[0], 3);
    assert_int_equal(voter_leases_expired(&leases, 70 * S, expired, 4), 2);
    voter_leases_done(&leases);
}

/* All of them, since it was the voter that could not be reached. */
static void silence_of_all_condemns_nobody(void **state)
{
    (void)state;
    struct voter_leases leases = { .count = 0 };
    const uint64_t open[] = { 3, 5 };
    uint64_t horizon;
    uint64_t expired[4];
    voter_leases_follow(&leases, open, 2, 1 * S);
    assert_int_equal(voter_leases_renew(&leases, 5, 100, 2 * S, &horizon), ERRC_OK);
    assert_int_equal(voter_leases_renew(&leases, 3, 100, 90 * S, &horizon), ERRC_OK);
    assert_int_equal(voter_leases_expired(&leases, 90 * S, expired, 4), 0);
    assert_int_equal(voter_leases_renew(&leases, 5, 110, 91 * S, &horizon), ERRC_OK);
    assert_int_equal(horizon, 100);
    voter_leases_done(&leases);
}

/* ---- a voter ---- */

static struct vf f;

struct ask {
    struct rpc_call call;
    struct enc head;
    atomic_bool done;
};

static void ask_done(struct rpc_call *call)
{
    atomic_store(&((struct ask *)call->data)->done, true);
}

static atomic_bool passed;

static void on_timer(struct task *task)
{
    (void)task;
    atomic_store(&passed, true);
}

static void pass_ms(uint64_t ms)
{
    struct timer timer = { .task.run = on_timer };
    atomic_store(&passed, false);
    timer_start(f.home, &timer, ms);
    env_sim_run_until(f.sim, &passed);
}

static void ask_run(struct ask *ask, uint16_t method)
{
    ask->call.method = method;
    ask->call.head = enc_slice(&ask->head);
    ask->call.reply_to = f.home;
    ask->call.done = ask_done;
    ask->call.data = ask;
    rpc_call_start(voter_channel(f.voter), &ask->call);
    env_sim_run_until(f.sim, &ask->done);
}

static void ask_release(struct ask *ask)
{
    rpc_call_release(&ask->call);
    enc_free(&ask->head);
}

static uint64_t session_open_at(void)
{
    struct ask ask = { .done = false };
    const struct meta_command cmd = { .type = META_CMD_SESSION_OPEN };
    struct meta_result result;
    meta_command_encode(&ask.head, &cmd);
    ask_run(&ask, RPC_META_PROPOSE);
    assert_int_equal(ask.call.status, ERRC_OK);
    assert_int_equal(meta_result_decode(enc_slice(&ask.call.reply), NULL, &result), ERRC_OK);
    ask_release(&ask);
    return result.value;
}

static enum errc renew(uint64_t session, uint64_t oldest, uint64_t *ret_horizon)
{
    struct ask ask = { .done = false };
    enc_u64(&ask.head, session);
    enc_u64(&ask.head, oldest);
    ask_run(&ask, RPC_META_SESSION_RENEW);
    enum errc status = ask.call.status;
    if (status == ERRC_OK) {
        struct dec dec = dec_of(enc_slice(&ask.call.reply));
        *ret_horizon = dec_u64(&dec);
        assert_true(dec_u64(&dec) > 0); /* what is applied now */
        assert_true(dec_done(&dec));
    }
    ask_release(&ask);
    return status;
}

static void a_restarted_voter_waits_for_every_open_session(void **state)
{
    (void)state;
    uint64_t horizon = 0;
    vf_init(&f, 4, 1, 1);
    assert_int_equal(vf_open(&f, true), ERRC_OK);
    uint64_t a = session_open_at();
    uint64_t b = session_open_at();
    assert_int_equal(renew(b, 40, &horizon), ERRC_OK);
    assert_int_equal(renew(a, 50, &horizon), ERRC_OK);
    assert_int_equal(horizon, 40);
    vf_restart(&f);
    assert_int_equal(renew(a, 60, &horizon), ERRC_OK);
    assert_int_equal(horizon, 0);
    for (unsigned i = 0; i < 28; i++) {
        pass_ms(1000);
        assert_int_equal(renew(a, 60 + i, &horizon), ERRC_OK);
        assert_int_equal(horizon, 0);
    }
    pass_ms(3000); /* b is silent for its lease: closed */
    assert_int_equal(renew(a, 90, &horizon), ERRC_OK);
    pass_ms(100);
    assert_int_equal(renew(b, 70, &horizon), ERRC_NOT_FOUND);
    assert_int_equal(renew(a, 90, &horizon), ERRC_OK);
    assert_int_equal(horizon, 90);
    assert_true(vf_event(&f, "session_expired"));
    vf_restart(&f);
    assert_int_equal(renew(b, 70, &horizon), ERRC_NOT_FOUND); /* that was decided */
    assert_int_equal(renew(a, 91, &horizon), ERRC_OK);
    assert_int_equal(horizon, 91);
    vf_close(&f);
    vf_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(silence_holds_the_horizon_back),
        cmocka_unit_test(only_the_silent_expire),
        cmocka_unit_test(silence_of_all_condemns_nobody),
        cmocka_unit_test(a_restarted_voter_waits_for_every_open_session),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
