/*
 * Goal: the messages with which strangers and members speak to a voter come back as they were, and nothing else does.
 */
#include "common/rpc/cluster_messages.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const uint8_t bytes[32] = { 1, 2, 3 };

/* Every cut, and one byte more, is refused. */
#define CHECK_CUTS(message, enc, target)                                                        \
    do {                                                                                        \
        for (size_t n_ = 0; n_ < (enc).len; n_++) {                                             \
            assert_int_equal(message##_decode(slice_of((enc).data, n_), (target)), ERRC_CORRUPT); \
        }                                                                                       \
        enc_u8(&(enc), 0);                                                                      \
        assert_int_equal(message##_decode(enc_slice(&(enc)), (target)), ERRC_CORRUPT);          \
        enc_free(&(enc));                                                                       \
    } while (0)

static void joins(void **state)
{
    (void)state;
    struct enc enc = ENC_INIT;
    struct cluster_join out;
    struct cluster_join in = { .role = 2, .token_id = slice_of(bytes, 8), .token_secret = slice_of(bytes, 16),
                               .node = { { 9 } }, .csr = slice_str("csr"), .address = slice_str("127.0.0.1:1"),
                               .name = slice_str("n"), .zone = slice_str("z"), .version = slice_str("0.1.0") };
    cluster_join_encode(&enc, &in);
    assert_int_equal(cluster_join_decode(enc_slice(&enc), &out), ERRC_OK);
    assert_true(slice_equal(out.csr, in.csr) && slice_equal(out.zone, in.zone) && out.rack.len == 0);
    CHECK_CUTS(cluster_join, enc, &out);
    in.token_secret = slice_of(bytes, 15);
    cluster_join_encode(&enc, &in);
    assert_int_equal(cluster_join_decode(enc_slice(&enc), &out), ERRC_CORRUPT);
    enc_reset(&enc);
    in.token_secret = slice_of(bytes, 16);
    in.node = (struct node_id){ { 0 } };
    cluster_join_encode(&enc, &in);
    assert_int_equal(cluster_join_decode(enc_slice(&enc), &out), ERRC_CORRUPT);
    enc_free(&enc);
}

static void replies(void **state)
{
    (void)state;
    struct enc enc = ENC_INIT;
    static struct cluster_join_reply out;
    const struct cluster_join_reply in = { .cluster = { { 4 } }, .certificate = slice_str("c"), .ca = slice_str("a"),
                                           .voter_count = 2, .voters = { { { { 1 } }, slice_str("h:1") },
                                                                         { { { 2 } }, slice_str("h:2") } } };
    cluster_join_reply_encode(&enc, &in);
    assert_int_equal(cluster_join_reply_decode(enc_slice(&enc), &out), ERRC_OK);
    assert_int_equal(out.voter_count, 2);
    assert_true(slice_equal_str(out.voters[1].address, "h:2"));
    CHECK_CUTS(cluster_join_reply, enc, &out);
}

static void heartbeats(void **state)
{
    (void)state;
    struct enc enc = ENC_INIT;
    struct node_heartbeat beat;
    static struct node_heartbeat_reply answer;
    const struct node_heartbeat in = { slice_str("h:1"), 77, slice_str("v"), slice_str("disks") };
    static struct node_heartbeat_reply reply = { .map_revision = 5, .leads = true, .away_count = 1, .away = { { { 3 } } } };
    node_heartbeat_encode(&enc, &in);
    assert_int_equal(node_heartbeat_decode(enc_slice(&enc), &beat), ERRC_OK);
    assert_int_equal(beat.started_ms, 77);
    CHECK_CUTS(node_heartbeat, enc, &beat);
    node_heartbeat_reply_encode(&enc, &reply);
    assert_int_equal(node_heartbeat_reply_decode(enc_slice(&enc), &answer), ERRC_OK);
    assert_true(answer.leads);
    assert_int_equal(answer.away_count, 1);
    assert_true(disk_id_equal(answer.away[0], reply.away[0]));
    CHECK_CUTS(node_heartbeat_reply, enc, &answer);
}

static void admin_requests(void **state)
{
    (void)state;
    struct enc enc = ENC_INIT;
    struct admin_request request;
    struct admin_reply reply;
    const struct admin_request in = { slice_str("POST"), slice_str("/a"), slice_str("b=c"), slice_str("{}") };
    const struct admin_reply answer = { 409, slice_str("{\"error\":1}") };
    admin_request_encode(&enc, &in);
    assert_int_equal(admin_request_decode(enc_slice(&enc), &request), ERRC_OK);
    assert_true(slice_equal(request.method, in.method) && slice_equal(request.path, in.path));
    assert_true(slice_equal(request.query, in.query) && slice_equal(request.body, in.body));
    CHECK_CUTS(admin_request, enc, &request);
    admin_reply_encode(&enc, &answer);
    assert_int_equal(admin_reply_decode(enc_slice(&enc), &reply), ERRC_OK);
    assert_int_equal(reply.status, 409);
    assert_true(slice_equal(reply.text, answer.text));
    CHECK_CUTS(admin_reply, enc, &reply);
}

static void damage(void **state)
{
    (void)state;
    struct enc enc = ENC_INIT;
    struct node_damage out;
    struct node_damage in = { .count = 2, .shards = { { { { 1 } }, { { 2 } }, 3 }, { { { 4 } }, { { 5 } }, 255 } } };
    node_damage_encode(&enc, &in);
    assert_int_equal(node_damage_decode(enc_slice(&enc), &out), ERRC_OK);
    assert_int_equal(out.count, 2);
    assert_true(disk_id_equal(out.shards[1].disk, in.shards[1].disk) && extent_id_equal(out.shards[1].extent, in.shards[1].extent));
    assert_int_equal(out.shards[1].index, 255);
    CHECK_CUTS(node_damage, enc, &out);
    enc_uint(&enc, NODE_DAMAGE_MAX + 1);
    assert_int_equal(node_damage_decode(enc_slice(&enc), &out), ERRC_CORRUPT);
    enc_free(&enc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(joins),
        cmocka_unit_test(replies),
        cmocka_unit_test(heartbeats),
        cmocka_unit_test(admin_requests),
        cmocka_unit_test(damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
