/*
 * Goal: the metadata client finds the leader, repeats what may be repeated until its deadline, and a command is done once
 * however often it was sent.
 *
 * Method: voters that misbehave to order, in virtual time, over one real state machine.
 */
#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/rpc/rpc_schema.h"
#include "gateway/data/metadata_client.h"
#include "tests/lib/machine_fixture.h"
#include "tests/lib/turn_env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <string.h>

#define VOTERS 3

enum mode {
    LEADS,
    FOLLOWS,     /* names `hint` as the leader, if that is a voter */
    DOWN,        /* no connection */
    SILENT,      /* takes the call and never answers */
    DOES_SILENT, /* does it, and never answers */
    DOES_LOST,   /* does it, and the connection breaks before the answer */
};

struct voter {
    struct rpc_channel channel; /* first */
    enum mode mode;
    unsigned hint;
    unsigned calls;
};

static struct {
    struct turn_env env;
    struct fixture f;
    struct voter voters[VOTERS];
    struct metadata_client client;
    unsigned unknown_leaders;
} w;

static struct node_id node_at(unsigned i)
{
    return (struct node_id){ { (uint8_t)(i + 1) } };
}

static void serve(struct rpc_call *call)
{
    struct error e = ERROR_INIT;
    enc_reset(&call->reply);
    if (call->method == RPC_META_QUERY) {
        assert_int_equal(machine_query(w.f.machine, call->head, false, &call->reply, &e), ERRC_OK);
    } else {
        assert_int_equal(machine_apply(w.f.machine, ++w.f.index, 0, call->head, &call->reply, &e), ERRC_OK);
    }
}

struct silence {
    struct timer timer;
    struct rpc_call *call;
};

static void silence_over(struct task *task)
{
    struct silence *silence = container_of(container_of(task, struct timer, task), struct silence, timer);
    struct rpc_call *call = silence->call;
    mem_free(silence);
    rpc_call_finish(call, ERRC_TIMEOUT);
}

static void stay_silent(struct rpc_call *call)
{
    struct silence *silence = mem_zalloc(sizeof(*silence));
    silence->call = call;
    silence->timer.task.run = silence_over;
    assert_true(call->deadline_ns > w.env.now_ns);
    timer_start(&w.env.executor.executor, &silence->timer, (call->deadline_ns - w.env.now_ns + 999999) / 1000000);
}

static void call_run(struct task *task)
{
    struct rpc_call *call = container_of(task, struct rpc_call, task);
    struct voter *voter = call->service_data;
    voter->calls++;
    switch (voter->mode) {
    case LEADS:
        serve(call);
        rpc_call_finish(call, ERRC_OK);
        break;
    case FOLLOWS: {
        const struct meta_leader leader = { .node = voter->hint == 99 ? (struct node_id){ { 0 } } : node_at(voter->hint) };
        meta_leader_encode(&call->reply, &leader);
        rpc_call_finish(call, error_set(&call->error, ERRC_UNAVAILABLE, "another voter leads"));
        break;
    }
    case DOWN:
        rpc_call_finish(call, ERRC_UNAVAILABLE);
        break;
    case DOES_SILENT:
        serve(call);
        enc_reset(&call->reply);
        stay_silent(call);
        break;
    case SILENT:
        stay_silent(call);
        break;
    case DOES_LOST:
        serve(call);
        enc_reset(&call->reply);
        rpc_call_finish(call, ERRC_TIMEOUT);
        break;
    }
}

static void on_call(struct rpc_channel *channel, struct rpc_call *call)
{
    call->service_data = channel;
    call->task.run = call_run;
    executor_post(&w.env.executor.executor, &call->task);
}

static const struct rpc_channel_vt vt = { on_call };

static void on_unknown(void *data, const struct meta_leader *leader)
{
    (void)data;
    assert_false(node_id_is_zero(leader->node));
    w.unknown_leaders++;
}

static void world_open(void)
{
    memset(&w, 0, sizeof(w));
    turn_env_init(&w.env);
    fixture_open(&w.f);
    struct metadata_voter voters[VOTERS];
    for (unsigned i = 0; i < VOTERS; i++) {
        w.voters[i] = (struct voter){ .channel.vt = &vt, .mode = FOLLOWS, .hint = 99 };
        voters[i] = (struct metadata_voter){ node_at(i), &w.voters[i].channel };
    }
    metadata_client_init(&w.client, &w.voters[0].channel, &w.env.env, 10000);
    metadata_client_voters(&w.client, voters, VOTERS, on_unknown, NULL);
}

static void world_close(void)
{
    metadata_client_done(&w.client);
    fixture_close(&w.f);
    turn_env_done(&w.env);
}

static void on_done(struct meta_op *op)
{
    bool *done = op->data;
    assert_false(*done);
    *done = true;
}

static bool is_done(void *data)
{
    return *(bool *)data;
}

/* Virtual milliseconds that it took. */
static uint64_t op_wait(struct meta_op *op)
{
    uint64_t begun = w.env.now_ns;
    assert_true(turn_env_run(&w.env, is_done, op->data, 60000));
    return (w.env.now_ns - begun) / 1000000;
}

static uint64_t session_ask(struct meta_op *op, bool *done)
{
    const struct meta_command cmd = { .type = META_CMD_SESSION_OPEN };
    *done = false;
    meta_op_init(op, &w.env.executor.executor, NULL, on_done, done);
    meta_propose(&w.client, op, &cmd);
    return op_wait(op);
}

static uint64_t open_sessions(void)
{
    return fixture_status(&w.f).sessions_open;
}

static void the_leader_is_found_and_kept(void **state)
{
    (void)state;
    struct meta_op op;
    bool done;
    world_open();
    w.voters[2].mode = LEADS;
    for (unsigned by_hint = 0; by_hint < 2; by_hint++) {
        w.voters[0].hint = by_hint ? 2 : 99;
        assert_int_equal(session_ask(&op, &done), 0);
        assert_int_equal(op.status, ERRC_OK);
        meta_op_release(&op);
    }
    assert_int_equal(w.voters[0].calls + w.voters[1].calls, 2);
    assert_int_equal(w.voters[2].calls, 2); /* the second time at once */
    w.voters[2].mode = FOLLOWS;
    w.voters[2].hint = 1;
    w.voters[1].mode = LEADS;
    assert_int_equal(session_ask(&op, &done), 0);
    assert_int_equal(op.status, ERRC_OK);
    assert_int_equal(w.voters[0].calls, 1); /* the hint led there */
    meta_op_release(&op);
    assert_int_equal(open_sessions(), 1 + 3);
    world_close();
}

static void a_command_is_done_once(void **state)
{
    (void)state;
    static const enum mode faults[] = { DOES_LOST, DOES_SILENT };
    struct meta_op op;
    bool done;
    for (unsigned i = 0; i < 2; i++) {
        world_open();
        w.voters[0].mode = faults[i];
        w.voters[1].mode = LEADS;
        uint64_t took = session_ask(&op, &done);
        assert_int_equal(op.status, ERRC_OK);
        assert_int_equal(op.result.outcome, META_OK);
        assert_int_equal(op.result.value, 2); /* after the fixture's */
        assert_int_equal(open_sessions(), 2);
        assert_true(took <= 1000);
        assert_int_equal(w.voters[1].calls, 1);
        meta_op_release(&op);
        (void)session_ask(&op, &done); /* the next one is another */
        assert_int_equal(op.result.value, 3);
        meta_op_release(&op);
        world_close();
    }
}

static void elect(struct task *task)
{
    (void)task;
    w.voters[0].mode = DOWN;
    w.voters[1].mode = LEADS;
    w.voters[2].hint = 1;
}

static void elect_beside(struct task *task) /* the old one stays silent */
{
    elect(task);
    w.voters[0].mode = SILENT;
}

static void a_failover_is_waited_for(void **state)
{
    (void)state;
    struct meta_op op;
    bool done;
    struct timer election = { .task.run = elect };
    world_open();
    w.voters[0].mode = DOWN;
    w.voters[1].hint = 0; /* the followers still name the dead one */
    w.voters[2].hint = 0;
    timer_start(&w.env.executor.executor, &election, 1500);
    uint64_t took = session_ask(&op, &done);
    assert_int_equal(op.status, ERRC_OK);
    assert_in_range(took, 1500, 1500 + 400);
    assert_true(w.voters[1].calls < 20); /* pauses grow */
    meta_op_release(&op);
    assert_int_equal(open_sessions(), 2);
    world_close();
}

/* One that was stopped, not killed: connections to it stand. */
static void followers_that_name_a_silent_leader_are_not_believed(void **state)
{
    (void)state;
    struct meta_op op;
    bool done;
    struct timer election = { .task.run = elect_beside };
    world_open();
    w.voters[0].mode = SILENT;
    w.voters[1].hint = 0; /* followers that have not noticed yet */
    w.voters[2].hint = 0;
    timer_start(&w.env.executor.executor, &election, 1900);
    uint64_t took = session_ask(&op, &done);
    assert_int_equal(op.status, ERRC_OK);
    assert_in_range(took, 1900, 1900 + 400);
    meta_op_release(&op);
    world_close();
}

static void a_process_that_ends_waits_for_nobody(void **state)
{
    (void)state;
    struct meta_op op;
    bool done;
    world_open(); /* nobody leads */
    metadata_client_hurry(&w.client, env_now_ns(&w.env.env) + UINT64_C(3000000000));
    assert_in_range(session_ask(&op, &done), 2500, 3000);
    assert_int_equal(op.status, ERRC_UNAVAILABLE);
    meta_op_release(&op);
    for (unsigned i = 0; i < VOTERS; i++) {
        w.voters[i].mode = SILENT;
    }
    metadata_client_hurry(&w.client, env_now_ns(&w.env.env) + UINT64_C(500000000));
    assert_in_range(session_ask(&op, &done), 500, 501);
    assert_int_equal(op.status, ERRC_TIMEOUT);
    meta_op_release(&op);
    world_close();
}

static void deadlines_end_it(void **state)
{
    (void)state;
    struct meta_op op;
    bool done = false;
    world_open(); /* nobody leads */
    assert_in_range(session_ask(&op, &done), 9000, 10000);
    assert_int_equal(op.status, ERRC_UNAVAILABLE); /* not done: nobody took it */
    meta_op_release(&op);
    w.voters[0].mode = DOES_LOST;
    assert_in_range(session_ask(&op, &done), 9000, 10000);
    assert_int_equal(op.status, ERRC_TIMEOUT); /* it may have been done, and was */
    assert_int_equal(open_sessions(), 2);
    meta_op_release(&op);
    for (unsigned i = 0; i < VOTERS; i++) {
        w.voters[i].mode = SILENT;
    }
    assert_in_range(session_ask(&op, &done), 9000, 10001);
    assert_int_equal(op.status, ERRC_TIMEOUT);
    meta_op_release(&op);
    const struct meta_query query = { .type = META_QRY_STATUS };
    done = false;
    meta_op_init(&op, &w.env.executor.executor, NULL, on_done, &done);
    op.deadline_ns = w.env.now_ns + UINT64_C(300000000);
    meta_query(&w.client, &op, &query);
    assert_in_range(op_wait(&op), 299, 301);
    assert_int_equal(op.status, ERRC_TIMEOUT);
    meta_op_release(&op);
    world_close();
}

static void refusals_are_not_repeated(void **state)
{
    (void)state;
    struct meta_op op;
    bool done = false;
    const struct meta_command cmd = { .type = META_CMD_SESSION_CLOSE, .session_close = { 99 } };
    world_open();
    w.voters[0].mode = LEADS;
    meta_op_init(&op, &w.env.executor.executor, NULL, on_done, &done);
    meta_propose(&w.client, &op, &cmd);
    (void)op_wait(&op);
    assert_int_equal(op.status, ERRC_OK);
    assert_int_equal(op.result.outcome, META_STALE);
    assert_int_equal(w.voters[0].calls, 1);
    meta_op_release(&op);
    world_close();
}

static void leaders_that_are_not_listed_are_told_of(void **state)
{
    (void)state;
    struct meta_op op;
    bool done;
    world_open();
    w.voters[0].hint = 7;
    w.voters[1].mode = LEADS;
    (void)session_ask(&op, &done);
    assert_int_equal(op.status, ERRC_OK);
    assert_int_equal(w.unknown_leaders, 1);
    meta_op_release(&op);
    const struct metadata_voter one = { node_at(1), &w.voters[1].channel };
    metadata_client_voters(&w.client, &one, 1, NULL, NULL);
    (void)session_ask(&op, &done);
    assert_int_equal(op.status, ERRC_OK);
    assert_int_equal(w.voters[1].calls, 2);
    meta_op_release(&op);
    world_close();
}

#define MANY 5000

/* More commands under way than names: refused, not mixed up; every one that ended OK was done once. */
static void many_at_once(void **state)
{
    (void)state;
    struct meta_op *ops = mem_zalloc(MANY * sizeof(*ops));
    bool *done = mem_zalloc(MANY * sizeof(*done));
    const struct meta_command cmd = { .type = META_CMD_SESSION_OPEN };
    unsigned ok = 0;
    world_open();
    for (unsigned round = 0; round < 3; round++) {
        w.voters[round % VOTERS].mode = DOES_LOST;
        w.voters[(round + 1) % VOTERS].mode = LEADS;
        w.voters[(round + 2) % VOTERS].mode = FOLLOWS;
        unsigned limit = 0;
        for (unsigned i = 0; i < MANY; i++) {
            done[i] = false;
            meta_op_init(&ops[i], &w.env.executor.executor, NULL, on_done, &done[i]);
            meta_propose(&w.client, &ops[i], &cmd);
        }
        for (unsigned i = 0; i < MANY; i++) {
            (void)op_wait(&ops[i]);
            limit += ops[i].status == ERRC_LIMIT;
            ok += ops[i].status == ERRC_OK && ops[i].result.outcome == META_OK;
            meta_op_release(&ops[i]);
        }
        assert_int_equal(limit, MANY - 4096);
    }
    assert_int_equal(ok, 3 * 4096);
    assert_int_equal(open_sessions(), 1 + ok);
    world_close();
    mem_free(ops);
    mem_free(done);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_leader_is_found_and_kept),
        cmocka_unit_test(a_command_is_done_once),
        cmocka_unit_test(a_failover_is_waited_for),
        cmocka_unit_test(followers_that_name_a_silent_leader_are_not_believed),
        cmocka_unit_test(a_process_that_ends_waits_for_nobody),
        cmocka_unit_test(deadlines_end_it),
        cmocka_unit_test(refusals_are_not_repeated),
        cmocka_unit_test(leaders_that_are_not_listed_are_told_of),
        cmocka_unit_test(many_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
