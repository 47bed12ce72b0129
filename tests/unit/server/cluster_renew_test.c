/*
 * Goal: who gets a new certificate, when it is asked for, and what is taken for one.
 */
#include "common/base/mem.h"
#include "server/cluster_renew.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define NOW_S INT64_C(1800000000)

static const struct cluster_id cluster = { { 1 } }, other_cluster = { { 2 } };

static void asked_for_with_less_than_a_third_left(void **state)
{
    (void)state;
    const struct certificate_identity held = { .not_before_s = NOW_S - CLUSTER_CERTIFICATE_BACK_S, .not_after_s = NOW_S + 900 };
    assert_int_equal(cluster_renew_due(&held, 0), NOW_S + 600);
    assert_in_range(cluster_renew_due(&held, 255), NOW_S + 660, NOW_S + 675); /* a quarter of the third at most */
    const struct certificate_identity backwards = { .not_before_s = NOW_S, .not_after_s = NOW_S + 10 };
    assert_int_equal(cluster_renew_due(&backwards, 255), NOW_S + 10);
}

static void given_to_those_of_the_map(void **state)
{
    (void)state;
    struct error e = ERROR_INIT;
    const struct node_id id = { { 7, 7 } };
    uint8_t hash[SHA256_BYTES] = { 7, 7 };
    struct meta_node node = { .id = id, .role = ROLE_GATEWAY, .state = META_NODE_IN };
    const struct meta_cluster_reply map = { .node_count = 1, .nodes = &node };
    const struct meta_cluster_reply empty = { .node_count = 0 };
    memcpy(node.key_hash, hash, sizeof(hash));
    assert_int_equal(cluster_renew_allowed(&map, id, ROLE_GATEWAY, hash, NULL), ERRC_OK);
    node.state = META_NODE_DRAINING;
    assert_int_equal(cluster_renew_allowed(&map, id, ROLE_GATEWAY, hash, NULL), ERRC_OK);
    node.state = META_NODE_REMOVED_FOR_EVER;
    assert_int_equal(cluster_renew_allowed(&map, id, ROLE_GATEWAY, hash, &e), ERRC_DENIED);
    assert_non_null(strstr(e.text, "was removed"));
    node.state = META_NODE_IN;
    assert_int_equal(cluster_renew_allowed(&empty, id, ROLE_GATEWAY, hash, NULL), ERRC_DENIED);
    assert_int_equal(cluster_renew_allowed(&map, id, ROLE_METADATA, hash, NULL), ERRC_DENIED);
    hash[31] ^= 1; /* another key that begins the same */
    assert_int_equal(cluster_renew_allowed(&map, id, ROLE_GATEWAY, hash, NULL), ERRC_DENIED);
    hash[31] ^= 1;
    hash[0] ^= 1;
    assert_int_equal(cluster_renew_allowed(&map, id, ROLE_GATEWAY, hash, NULL), ERRC_DENIED);
}

static char *key_new(void)
{
    char *key = NULL;
    assert_int_equal(certificate_key_create(&key, NULL), ERRC_OK);
    return key;
}

static char *issue(const char *ca, const char *ca_key, const char *key, const struct certificate_identity *identity)
{
    char *request = NULL;
    char *pem = NULL;
    assert_int_equal(certificate_request_create(key, identity->node, &request, NULL), ERRC_OK);
    assert_int_equal(certificate_issue(ca, ca_key, request, identity, &pem, NULL), ERRC_OK);
    mem_free(request);
    return pem;
}

static void taken_if_it_is_ours(void **state)
{
    (void)state;
    char *ca_key = key_new();
    char *strange_ca_key = key_new();
    char *key = key_new();
    char *strange_key = key_new();
    char *ca = NULL;
    char *strange_ca = NULL;
    assert_int_equal(certificate_ca_create(ca_key, cluster, NOW_S - 100, NOW_S + 100000, &ca, NULL), ERRC_OK);
    assert_int_equal(certificate_ca_create(strange_ca_key, cluster, NOW_S - 100, NOW_S + 100000, &strange_ca, NULL), ERRC_OK);
    const struct certificate_identity good = { cluster, { { 7 } }, ROLE_GATEWAY, NOW_S - 10, NOW_S + 1000 };
    struct certificate_identity other_role = good, other_node = good, foreign = good, ended = good;
    other_role.role = ROLE_STORAGE_NODE;
    other_node.node.bytes[0] = 8;
    foreign.cluster = other_cluster;
    ended.not_after_s = NOW_S - 1;
    struct {
        char *pem;
        enum errc expected;
    } cases[] = {
        { issue(ca, ca_key, key, &good), ERRC_OK },
        { issue(ca, ca_key, key, &other_role), ERRC_DENIED },
        { issue(ca, ca_key, key, &other_node), ERRC_DENIED },
        { issue(ca, ca_key, key, &foreign), ERRC_DENIED },
        { issue(ca, ca_key, key, &ended), ERRC_DENIED },
        { issue(ca, ca_key, strange_key, &good), ERRC_INVALID },
        { issue(strange_ca, strange_ca_key, key, &good), ERRC_DENIED },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct certificate_identity found = { .role = ROLE_NONE };
        assert_int_equal(cluster_renew_check(ca, key, cases[i].pem, &good, NOW_S, &found, NULL), cases[i].expected);
        assert_int_equal(found.not_after_s, cases[i].expected == ERRC_OK ? good.not_after_s : 0);
        mem_free(cases[i].pem);
    }
    certificate_key_free(ca_key);
    certificate_key_free(strange_ca_key);
    certificate_key_free(key);
    certificate_key_free(strange_key);
    mem_free(ca);
    mem_free(strange_ca);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asked_for_with_less_than_a_third_left),
        cmocka_unit_test(given_to_those_of_the_map),
        cmocka_unit_test(taken_if_it_is_ours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
