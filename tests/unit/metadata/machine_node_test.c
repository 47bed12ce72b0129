/*
 * Goal: a token lets one key join, once; an id belongs to one key for ever.
 *
 * Method: the state machine over a map in memory.
 */
#include "common/base/role.h"
#include "tests/lib/machine_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

static struct fixture f;

static struct meta_node node_of(uint8_t id, uint8_t key)
{
    return (struct meta_node){ .id = { { id } }, .role = ROLE_STORAGE_NODE, .state = META_NODE_IN, .key_hash = { key },
                               .address = slice_str("127.0.0.1:7000"), .zone = slice_str("a") };
}

static enum meta_outcome token_put(uint8_t id, uint64_t expires_ms)
{
    const struct meta_command cmd = { .type = META_CMD_TOKEN_PUT,
                                      .token_put.token = { { id }, ROLE_STORAGE_NODE, { 77 }, expires_ms } };
    return fixture_apply(&f, &cmd).outcome;
}

static enum meta_outcome token_use(uint8_t id, uint8_t secret, uint64_t now_ms, struct meta_node node)
{
    const struct meta_command cmd = { .type = META_CMD_TOKEN_USE, .token_use = { { id }, { secret }, now_ms, node } };
    return fixture_apply(&f, &cmd).outcome;
}

static uint32_t node_count(void)
{
    const struct meta_query query = { .type = META_QRY_CLUSTER };
    struct meta_cluster_reply reply;
    assert_int_equal(meta_cluster_reply_decode(fixture_query(&f, &query), &f.arena, &reply), ERRC_OK);
    return reply.node_count;
}

static void a_token_is_used_by_one_key(void **state)
{
    (void)state;
    fixture_open(&f);
    assert_int_equal(token_put(1, 1000), META_OK);
    assert_int_equal(token_put(1, 9000), META_EXISTS);
    assert_int_equal(token_use(2, 77, 500, node_of(1, 1)), META_TOKEN_UNKNOWN);
    assert_int_equal(token_use(1, 78, 500, node_of(1, 1)), META_TOKEN_UNKNOWN);
    assert_int_equal(token_use(1, 77, 1000, node_of(1, 1)), META_TOKEN_EXPIRED);
    struct meta_node other_role = node_of(1, 1);
    other_role.role = ROLE_GATEWAY;
    assert_int_equal(token_use(1, 77, 500, other_role), META_TOKEN_ROLE);
    assert_int_equal(node_count(), 0); /* nothing of these changed anything */
    assert_int_equal(token_use(1, 77, 500, node_of(1, 1)), META_OK);
    assert_int_equal(node_count(), 1);
    assert_int_equal(token_use(1, 77, 5000, node_of(1, 1)), META_OK); /* its answer was lost: asked again */
    assert_int_equal(token_use(1, 77, 500, node_of(2, 2)), META_TOKEN_USED);
    assert_int_equal(node_count(), 1);
    fixture_reopen(&f);
    assert_int_equal(token_use(1, 77, 500, node_of(2, 2)), META_TOKEN_USED);
    fixture_close(&f);
}

static void tokens_are_listed_without_their_secrets(void **state)
{
    (void)state;
    fixture_open(&f);
    assert_int_equal(token_put(1, 1000), META_OK);
    assert_int_equal(token_put(2, 3000), META_OK);
    assert_int_equal(token_use(2, 77, 500, node_of(1, 9)), META_OK);
    const struct meta_query query = { .type = META_QRY_TOKENS, .limit = 100 };
    struct meta_tokens_reply reply;
    assert_int_equal(meta_tokens_reply_decode(fixture_query(&f, &query), &f.arena, &reply), ERRC_OK);
    assert_int_equal(reply.count, 2);
    assert_false(reply.tokens[0].used);
    assert_true(reply.tokens[1].used);
    assert_int_equal(reply.tokens[1].used_by[0], 9);
    assert_int_equal(reply.tokens[1].token.expires_ms, 3000);
    assert_int_equal(reply.tokens[1].token.role, ROLE_STORAGE_NODE);
    assert_int_equal(reply.tokens[1].token.secret_hash[0], 0);
    fixture_close(&f);
}

static unsigned tokens_listed(uint64_t from, uint32_t limit, uint64_t *ret_next)
{
    const struct meta_query query = { .type = META_QRY_TOKENS, .limit = limit, .from = from };
    struct meta_tokens_reply reply;
    assert_int_equal(meta_tokens_reply_decode(fixture_query(&f, &query), &f.arena, &reply), ERRC_OK);
    *ret_next = reply.count > 0 ? load_be64(reply.tokens[reply.count - 1].token.id) + 1 : from;
    return reply.count;
}

static void tokens_are_listed_page_by_page(void **state)
{
    (void)state;
    uint64_t next = 0;
    fixture_open(&f);
    for (uint8_t id = 1; id <= 7; id++) {
        assert_int_equal(token_put(id, 1000), META_OK);
    }
    assert_int_equal(tokens_listed(0, 3, &next), 3);
    assert_int_equal(tokens_listed(next, 3, &next), 3);
    assert_int_equal(tokens_listed(next, 3, &next), 1);
    assert_int_equal(tokens_listed(next, 3, &next), 0);
    fixture_close(&f);
}

#define DAY_MS UINT64_C(86400000)

/* Tokens that ended a week ago go with later commands, a bounded number with each; others stay. */
static void tokens_go_after_their_end(void **state)
{
    (void)state;
    uint64_t next;
    const uint64_t now_ms = 1000 * DAY_MS;
    fixture_open(&f);
    for (uint8_t id = 1; id <= 40; id++) { /* every fourth one is used */
        assert_int_equal(token_put(id, now_ms), META_OK);
        if (id % 4 == 0) {
            assert_int_equal(token_use(id, 77, now_ms - 1, node_of(id, id)), META_OK);
        }
    }
    assert_int_equal(tokens_listed(0, 100, &next), 40);
    assert_int_equal(token_put(100, now_ms + 14 * DAY_MS), META_OK); /* it may be made on the very day of their end */
    assert_int_equal(tokens_listed(0, 100, &next), 41);
    assert_int_equal(token_use(4, 77, now_ms + 7 * DAY_MS, node_of(4, 4)), META_OK); /* its answer was lost */
    assert_int_equal(tokens_listed(0, 100, &next), 41);
    assert_int_equal(token_put(101, now_ms + 14 * DAY_MS + 1), META_OK);
    assert_int_equal(tokens_listed(0, 100, &next), 42 - 16); /* from the first one on */
    assert_int_equal(token_use(100, 77, now_ms + 7 * DAY_MS + 1, node_of(100, 100)), META_OK);
    assert_int_equal(tokens_listed(0, 100, &next), 42 - 16 - 15); /* and 101, which stays */
    assert_int_equal(token_put(102, now_ms + 15 * DAY_MS), META_OK);
    assert_int_equal(tokens_listed(0, 100, &next), 3);
    assert_int_equal(token_use(4, 77, now_ms, node_of(4, 4)), META_TOKEN_UNKNOWN);
    assert_int_equal(node_count(), 11); /* who joined by them stays */
    fixture_close(&f);
}

/* A join asked for again must not bring a node back that was drained meanwhile. */
static void a_join_repeated_changes_no_state(void **state)
{
    (void)state;
    fixture_open(&f);
    assert_int_equal(token_put(1, 1000), META_OK);
    assert_int_equal(token_use(1, 77, 500, node_of(1, 1)), META_OK);
    struct meta_command cmd = { .type = META_CMD_NODE_PUT, .node_put.node = node_of(1, 1) };
    cmd.node_put.node.state = META_NODE_DRAINING;
    assert_int_equal(fixture_apply(&f, &cmd).outcome, META_OK);
    assert_int_equal(token_use(1, 77, 600, node_of(1, 1)), META_OK);
    const struct meta_query query = { .type = META_QRY_CLUSTER };
    struct meta_cluster_reply reply;
    assert_int_equal(meta_cluster_reply_decode(fixture_query(&f, &query), &f.arena, &reply), ERRC_OK);
    assert_int_equal(reply.nodes[0].state, META_NODE_DRAINING);
    fixture_close(&f);
}

static void an_id_belongs_to_one_key(void **state)
{
    (void)state;
    fixture_open(&f);
    struct meta_command cmd = { .type = META_CMD_NODE_PUT, .node_put.node = node_of(1, 1) };
    assert_int_equal(fixture_apply(&f, &cmd).outcome, META_OK);
    assert_int_equal(token_put(1, 1000), META_OK);
    assert_int_equal(token_use(1, 77, 1, node_of(1, 2)), META_NODE_TAKEN);
    assert_int_equal(token_use(1, 77, 1, node_of(2, 2)), META_OK); /* the refusal did not use the token up */
    cmd.node_put.node = node_of(1, 1);
    cmd.node_put.node.state = META_NODE_REMOVED_FOR_EVER;
    assert_int_equal(fixture_apply(&f, &cmd).outcome, META_OK);
    cmd.node_put.node.state = META_NODE_IN;
    assert_int_equal(fixture_apply(&f, &cmd).outcome, META_NODE_REMOVED);
    cmd.node_put.node = node_of(0, 1);
    assert_int_equal(fixture_apply(&f, &cmd).outcome, META_INVALID);
    assert_int_equal(node_count(), 2);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_is_used_by_one_key),
        cmocka_unit_test(tokens_are_listed_without_their_secrets),
        cmocka_unit_test(tokens_are_listed_page_by_page),
        cmocka_unit_test(tokens_go_after_their_end),
        cmocka_unit_test(a_join_repeated_changes_no_state),
        cmocka_unit_test(an_id_belongs_to_one_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
