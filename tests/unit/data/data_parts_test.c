/*
 * data_parts_test - session, cluster map and budget by themselves.
 */
#include "tests/lib/data_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct data_world world;
static struct executor *executor;

static void open_world(unsigned disks)
{
    struct data_config config = data_config_default();
    data_world_open(&world, disks, &config);
    executor = &world.env.executor.executor;
}

/* ---- budget ---- */

static unsigned woken;

static void wake(struct task *task)
{
    (void)task;
    woken++;
}

static struct data_budget_wait waiter(void)
{
    return (struct data_budget_wait){ .task = { .run = wake }, .executor = executor };
}

static void a_budget_is_given_in_order(void **state)
{
    (void)state;
    open_world(2);
    struct data_budget budget;
    data_budget_init(&budget, 100);
    struct data_budget_wait a = waiter();
    struct data_budget_wait b = waiter();
    struct data_budget_wait c = waiter();
    woken = 0;
    assert_true(data_budget_take(&budget, 60, &a));
    assert_false(data_budget_take(&budget, 50, &a));
    assert_false(data_budget_take(&budget, 10, &b)); /* would fit, but does not overtake */
    assert_false(data_budget_take(&budget, 40, &c));
    assert_true(data_budget_cancel(&budget, &b));
    data_budget_give(&budget, 60);
    (void)turn_env_drain(&world.env);
    assert_int_equal(woken, 2);
    assert_int_equal(data_budget_used(&budget), 90);
    assert_false(data_budget_cancel(&budget, &a)); /* granted: the caller holds it */
    data_budget_give(&budget, 90);
    assert_true(data_budget_take(&budget, 1000, &a)); /* larger than all: alone */
    assert_false(data_budget_take(&budget, 1, &b));
    assert_false(data_budget_take(&budget, 1, &c));
    assert_true(data_budget_cancel(&budget, &b));
    data_budget_give(&budget, 1000);
    (void)turn_env_drain(&world.env);
    assert_int_equal(data_budget_used(&budget), 1);
    data_world_close(&world);
}

/* ---- session ---- */

static unsigned served;
static struct extent_id last_id;
static enum errc last_status;

static void on_id(struct session_id_wait *wait)
{
    served++;
    last_id = wait->id;
    last_status = wait->status;
}

static bool id_after(struct extent_id a, struct extent_id b)
{
    return memcmp(b.bytes, a.bytes, ID_BYTES) > 0;
}

static void ids_are_never_given_twice(void **state)
{
    (void)state;
    open_world(2);
    struct extent_id before = { { 0 } };
    struct session_id_wait wait = { .executor = executor, .done = on_id };
    for (unsigned i = 0; i < 3 * SESSION_IDS_RESERVED; i++) {
        struct extent_id id;
        served = 0;
        enum errc rc = session_take_id(world.session, &id, &wait);
        if (rc == ERRC_WOULD_BLOCK) {
            (void)turn_env_drain(&world.env);
            assert_int_equal(served, 1);
            assert_int_equal(last_status, ERRC_OK);
            id = last_id;
        } else {
            assert_int_equal(rc, ERRC_OK);
        }
        assert_true(id_after(before, id));
        assert_true(load_be64(id.bytes) == session_number(world.session));
        before = id;
        if (i % 1000 == 0) {
            (void)turn_env_drain(&world.env); /* the next range comes ahead of need */
        }
    }
    data_world_close(&world);
}

static void waiters_outlast_a_service_that_is_away(void **state)
{
    (void)state;
    open_world(2);
    struct extent_id id;
    struct session_id_wait wait = { .executor = executor, .done = on_id };
    struct session_id_wait other = { .executor = executor, .done = on_id };
    world.meta_service.fail = ERRC_UNAVAILABLE;
    world.meta_service.fail_next = 5;
    while (session_take_id(world.session, &id, &wait) == ERRC_OK) {
    }
    served = 0;
    assert_int_equal(session_take_id(world.session, &id, &other), ERRC_WOULD_BLOCK);
    assert_true(session_cancel_wait(world.session, &other));
    assert_false(session_cancel_wait(world.session, &other));
    (void)turn_env_run(&world.env, NULL, NULL, 3000);
    assert_int_equal(served, 1);
    assert_int_equal(last_status, ERRC_OK);
    data_world_close(&world);
}

static void sessions_close(void)
{
    for (unsigned i = 0; i < world.meta_service.session_count; i++) {
        world.meta_service.sessions[i].open = false;
    }
}

static bool session_is_dead(void *data)
{
    (void)data;
    return !session_alive(world.session);
}

/* The service closed it, since this gateway was away: another one follows, and nothing of the old one goes on. */
static void a_session_that_is_gone_is_followed_by_another(void **state)
{
    (void)state;
    open_world(2);
    struct extent_id id;
    struct session_id_wait wait = { .executor = executor, .done = on_id };
    struct session_read before;
    struct session_read after;
    static struct written object;
    uint64_t old = session_number(world.session);
    assert_int_equal(session_take_id(world.session, &id, &wait), ERRC_OK);
    assert_int_equal(load_be64(id.bytes), old);
    session_read_begin(world.session, &before);
    assert_true(session_read_alive(world.session, &before));
    sessions_close();
    assert_true(turn_env_run(&world.env, session_is_dead, NULL, 3000));
    assert_false(session_read_alive(world.session, &before));
    assert_int_equal(session_horizon(world.session), 0); /* nothing is known to be past */
    assert_int_equal(session_take_id(world.session, &id, &wait), ERRC_WOULD_BLOCK);
    served = 0;
    (void)turn_env_run(&world.env, NULL, NULL, 3000);
    assert_int_equal(served, 1);
    assert_int_equal(wait.status, ERRC_OK);
    assert_true(session_alive(world.session));
    assert_true(session_number(world.session) > old);
    assert_int_equal(load_be64(wait.id.bytes), session_number(world.session));
    session_read_begin(world.session, &after);
    assert_true(session_read_alive(world.session, &after));
    assert_false(session_read_alive(world.session, &before));
    session_read_end(world.session, &before);
    session_read_end(world.session, &after);
    world_write(&world, 1, 1, 100000, 1, &object);
    assert_int_equal(object.status, ERRC_OK);
    assert_int_equal(object.session, session_number(world.session));
    data_world_close(&world);
}

/* By its own clock, before the service closes it. */
static void a_session_that_cannot_renew_cuts_its_reads(void **state)
{
    (void)state;
    open_world(2);
    struct session_read read;
    session_read_begin(world.session, &read);
    world.meta_service.fail = ERRC_UNAVAILABLE;
    world.meta_service.fail_next = 1000000;
    (void)turn_env_run(&world.env, NULL, NULL, 20000);
    assert_true(session_read_alive(world.session, &read));
    (void)turn_env_run(&world.env, NULL, NULL, 10000);
    assert_false(session_read_alive(world.session, &read));
    world.meta_service.fail_next = 0;
    (void)turn_env_run(&world.env, NULL, NULL, 3000);
    assert_true(session_read_alive(world.session, &read)); /* still open at the service, so the pin held */
    session_read_end(world.session, &read);
    data_world_close(&world);
}

static void pins_hold_the_horizon_back(void **state)
{
    (void)state;
    open_world(2);
    struct session_read a;
    struct session_read b;
    /* An idle session holds back what its next read may still see, and follows the service. */
    uint64_t idle = session_horizon(world.session);
    assert_true(idle <= atomic_load(&world.meta.index_seen));
    (void)turn_env_run(&world.env, NULL, NULL, 3500);
    assert_true(session_horizon(world.session) > idle);
    session_read_begin(world.session, &a);
    uint64_t seen = a.index;
    assert_true(seen >= 100); /* of the answers so far */
    assert_true(session_horizon(world.session) <= seen);
    session_read_begin_at(world.session, &b, 7);
    assert_int_equal(session_horizon(world.session), 7);
    session_read_at(world.session, &b, 5); /* never back */
    assert_int_equal(session_oldest_read(world.session), 7);
    (void)turn_env_run(&world.env, NULL, NULL, 2500);
    assert_int_equal(world.meta_service.renew_oldest, 7);
    session_read_end(world.session, &b);
    assert_int_equal(session_oldest_read(world.session), seen);
    session_read_end(world.session, &a);
    data_world_close(&world);
}

/* ---- cluster map ---- */

static struct extent_id id_of(uint64_t counter)
{
    struct extent_id id;
    store_be64(id.bytes, 1);
    store_be64(id.bytes + 8, counter);
    return id;
}

static void places_use_every_disk_and_follow_health(void **state)
{
    (void)state;
    open_world(6);
    struct cluster_map_placement placed;
    unsigned first[6] = { 0 };
    for (uint64_t i = 0; i < 600; i++) {
        assert_int_equal(cluster_map_place(world.map, id_of(i), 4, 2, 6, NULL, 0, &placed), ERRC_OK);
        assert_int_equal(placed.group, 7);
        assert_false(placed.smaller);
        first[placed.shards[0].position]++;
    }
    for (unsigned i = 0; i < 6; i++) {
        assert_true(first[i] > 50);
    }
    struct disk_id avoid[2] = { fake_disk_id(0), fake_disk_id(1) };
    assert_int_equal(cluster_map_place(world.map, id_of(1), 4, 2, 6, avoid, 2, &placed), ERRC_OK);
    assert_int_equal(placed.k, 2);
    assert_true(placed.smaller);
    cluster_map_disk_failed(world.map, fake_disk_id(2), ERRC_IO);
    assert_int_equal(cluster_map_place(world.map, id_of(1), 4, 2, 6, NULL, 0, &placed), ERRC_OK);
    assert_int_equal(placed.k, 3);
    world.env.now_ns += UINT64_C(2000000000); /* a failed call is held against a disk for a while only */
    assert_int_equal(cluster_map_place(world.map, id_of(1), 4, 2, 6, NULL, 0, &placed), ERRC_OK);
    assert_int_equal(placed.k, 4);
    cluster_map_disk_state(world.map, fake_disk_id(3), DISK_FULL, 1000, 1);
    assert_int_equal(cluster_map_place(world.map, id_of(1), 4, 2, 6, NULL, 0, &placed), ERRC_OK);
    assert_int_equal(placed.k, 3);
    for (unsigned i = 0; i < 5; i++) {
        cluster_map_disk_state(world.map, fake_disk_id(i), DISK_FULL, 1000, 1);
    }
    assert_int_equal(cluster_map_place(world.map, id_of(1), 4, 2, 6, NULL, 0, &placed), ERRC_NO_SPACE);
    for (unsigned i = 0; i < 5; i++) {
        cluster_map_disk_state(world.map, fake_disk_id(i), DISK_FENCED, 1000, 1);
    }
    assert_int_equal(cluster_map_place(world.map, id_of(1), 4, 2, 6, NULL, 0, &placed), ERRC_UNAVAILABLE);
    for (unsigned i = 0; i < 6; i++) {
        cluster_map_disk_state(world.map, fake_disk_id(i), i == 3 ? DISK_FULL : DISK_ONLINE, 1000, 900);
    }
    struct extent extent = { .group = 7, .code = { MATRIX_CAUCHY, 4, 2, 64 }, .position = { 0, 1, 2, 3, 4, 5 } };
    struct cluster_map_shard where[CODE_SHARDS_MAX];
    assert_int_equal(cluster_map_locate(world.map, &extent, where), ERRC_OK);
    assert_true(where[3].readable);
    assert_false(where[3].writable);
    extent.group = 8;
    assert_int_equal(cluster_map_locate(world.map, &extent, where), ERRC_NOT_FOUND);
    data_world_close(&world);
}

static void a_replaced_disk_and_an_older_map(void **state)
{
    (void)state;
    open_world(6);
    world.meta_service.disks[2].id = fake_disk_id(9);
    world.meta_service.groups[0].disks[2] = fake_disk_id(9);
    world.meta_service.disks[2].path = slice_str("/new");
    world.meta_service.disks[2].node = (struct node_id){ { 77 } };
    struct meta_cluster_reply reply = { .revision = 5, .disk_count = 6, .disks = world.meta_service.disks,
                                        .group_count = 1, .groups = world.meta_service.groups };
    cluster_map_install(world.map, &reply);
    assert_int_equal(cluster_map_revision(world.map), 5);
    struct cluster_map_disk disks[16];
    assert_int_equal(cluster_map_disks(world.map, disks, 16), 7); /* the old one is remembered, but out of the map */
    assert_true(cluster_map_disk_find(world.map, fake_disk_id(9), &disks[0]));
    assert_string_equal(disks[0].path, "/new");
    assert_int_equal(disks[0].node.bytes[0], 77);
    assert_true(disks[0].in_map);
    assert_true(cluster_map_disk_find(world.map, fake_disk_id(2), &disks[0]));
    assert_false(disks[0].in_map);
    assert_false(cluster_map_disk_find(world.map, fake_disk_id(15), &disks[0]));
    struct cluster_map_placement placed;
    for (uint64_t i = 0; i < 50; i++) {
        assert_int_equal(cluster_map_place(world.map, id_of(i), 4, 2, 6, NULL, 0, &placed), ERRC_OK);
        for (unsigned s = 0; s < 6; s++) {
            assert_false(disk_id_equal(placed.shards[s].disk, fake_disk_id(2)));
        }
    }
    reply.revision = 4;
    reply.group_count = 0;
    cluster_map_install(world.map, &reply); /* an answer that was overtaken */
    assert_int_equal(cluster_map_place(world.map, id_of(1), 4, 2, 6, NULL, 0, &placed), ERRC_OK);
    data_world_close(&world);
}

/* Six nodes in three zones with two disks each, as the answer of the service; a group of class 4+2 over all of them. */
struct six_nodes {
    struct meta_disk disks[12];
    struct meta_node nodes[6];
    struct meta_group groups[2];
    struct meta_cluster_reply reply;
};

static struct six_nodes *six_nodes(void)
{
    static struct six_nodes six;
    static const char *const zones[3] = { "a", "b", "c" };
    six = (struct six_nodes){ .reply = { .revision = 9, .disk_count = 12, .group_count = 1, .node_count = 6 } };
    six.groups[0] = (struct meta_group){ .id = 3, .disk_count = 12, .writable = true, .class_k = 4, .class_m = 2,
                                         .primary = 0x555 }; /* the first disk of each node */
    for (unsigned i = 0; i < 12; i++) {
        struct node_id node = { { (uint8_t)(1 + i / 2) } };
        six.disks[i] = (struct meta_disk){ .id = fake_disk_id(i), .node = node, .state = META_DISK_IN, .bytes = 1000,
                                           .zone = slice_str(zones[i / 2 % 3]) };
        six.groups[0].disks[i] = fake_disk_id(i);
        six.nodes[i / 2] = (struct meta_node){ .id = node, .role = 2, .state = META_NODE_IN };
    }
    six.reply.disks = six.disks;
    six.reply.nodes = six.nodes;
    six.reply.groups = six.groups;
    return &six;
}

static unsigned most_of_a_node(const struct cluster_map_placement *placed)
{
    unsigned count[6] = { 0 };
    unsigned most = 0;
    for (unsigned s = 0; s < (unsigned)placed->k + placed->m; s++) {
        unsigned node = placed->shards[s].position / 2;
        most = ++count[node] > most ? count[node] : most;
    }
    return most;
}

static void six_nodes_with_two_down_write_whole_extents(void **state)
{
    (void)state;
    open_world(12);
    struct six_nodes *six = six_nodes();
    struct cluster_map_placement placed;
    cluster_map_install(world.map, &six->reply);
    assert_int_equal(cluster_map_place(world.map, id_of(1), 4, 2, 6, NULL, 0, &placed), ERRC_OK);
    assert_int_equal(most_of_a_node(&placed), 1);
    for (unsigned i = 0; i < 12; i++) {
        if (i / 2 == 1 || i / 2 == 3) {
            cluster_map_disk_state(world.map, fake_disk_id(i), DISK_ABSENT, 0, 0);
        }
    }
    for (uint64_t i = 0; i < 100; i++) {
        assert_int_equal(cluster_map_place(world.map, id_of(i), 4, 2, 6, NULL, 0, &placed), ERRC_OK);
        assert_false(placed.smaller || placed.crowded);
        assert_int_equal(most_of_a_node(&placed), 2);
        assert_int_equal(cluster_map_place(world.map, id_of(i), 1, 2, 6, NULL, 0, &placed), ERRC_OK);
        assert_int_equal(placed.k + placed.m, 3);
        assert_int_equal(most_of_a_node(&placed), 1);
    }
    for (unsigned i = 0; i < 12; i++) {
        if (i / 2 == 5) {
            cluster_map_disk_state(world.map, fake_disk_id(i), DISK_ABSENT, 0, 0);
        }
    }
    assert_int_equal(cluster_map_place(world.map, id_of(1), 4, 2, 6, NULL, 0, &placed), ERRC_OK);
    assert_false(placed.smaller); /* three nodes: two for each, and zone c has but one of them */
    assert_int_equal(most_of_a_node(&placed), 2);
    data_world_close(&world);
}

static void groups_take_their_class_alone(void **state)
{
    (void)state;
    open_world(12);
    struct six_nodes *six = six_nodes();
    struct cluster_map_placement placed;
    cluster_map_install(world.map, &six->reply);
    assert_int_equal(cluster_map_place(world.map, id_of(1), 8, 4, 12, NULL, 0, &placed), ERRC_UNAVAILABLE);
    assert_int_equal(cluster_map_place(world.map, id_of(1), 2, 1, 3, NULL, 0, &placed), ERRC_UNAVAILABLE);
    six->groups[1] = six->groups[0];
    six->groups[1].id = 4;
    six->groups[1].class_k = 2;
    six->groups[1].class_m = 1;
    six->groups[1].primary = 0x15;
    six->reply.group_count = 2;
    six->reply.revision++;
    cluster_map_install(world.map, &six->reply);
    for (uint64_t i = 0; i < 50; i++) {
        assert_int_equal(cluster_map_place(world.map, id_of(i), 2, 1, 3, NULL, 0, &placed), ERRC_OK);
        assert_int_equal(placed.group, 4);
        assert_int_equal(cluster_map_place(world.map, id_of(i), 4, 2, 6, NULL, 0, &placed), ERRC_OK);
        assert_int_equal(placed.group, 3);
    }
    data_world_close(&world);
}

static void nodes_that_drain_take_nothing_and_give_up_their_shards(void **state)
{
    (void)state;
    open_world(12);
    struct six_nodes *six = six_nodes();
    struct cluster_map_placement placed;
    struct cluster_map_shard where[CODE_SHARDS_MAX];
    uint32_t moved = 0;
    uint8_t positions[CODE_SHARDS_MAX] = { 0 };
    six->nodes[2].state = META_NODE_DRAINING;
    cluster_map_install(world.map, &six->reply);
    for (uint64_t i = 0; i < 50; i++) {
        assert_int_equal(cluster_map_place(world.map, id_of(i), 4, 2, 6, NULL, 0, &placed), ERRC_OK);
        for (unsigned s = 0; s < 6; s++) {
            assert_int_not_equal(placed.shards[s].position / 2, 2);
        }
    }
    /* A plan has made position 11, of the same zone, primary in place of 4. */
    struct extent extent = { .id = id_of(5), .group = 3, .code = { MATRIX_CAUCHY, 4, 2, 64 }, .class_k = 4, .class_m = 2,
                             .position = { 0, 2, 4, 6, 8, 10 } };
    struct cluster_map_stand stand = cluster_map_stand(world.map, &extent);
    assert_true(stand.misplaced == 0 && stand.lost == 0 && stand.leaving == 1u << 2);
    six->groups[0].primary = 0xd45;
    six->reply.revision++;
    cluster_map_install(world.map, &six->reply);
    stand = cluster_map_stand(world.map, &extent);
    assert_true(stand.misplaced == 1u << 2 && stand.lost == 0 && stand.leaving == 1u << 2);
    assert_int_equal(cluster_map_locate(world.map, &extent, where), ERRC_OK);
    assert_true(where[2].readable); /* a copy can be taken from it */
    assert_int_equal(cluster_map_mend(world.map, &extent, 1u << 2, &moved, positions), ERRC_OK);
    assert_int_equal(moved, 1u << 2);
    assert_int_equal(positions[2], 11);
    /* A missing shard whose disk is there again goes where it was. */
    extent.missing = 1u << 4;
    assert_int_equal(cluster_map_mend(world.map, &extent, 1u << 4, &moved, positions), ERRC_OK);
    assert_int_equal(positions[4], 8);
    extent.group = 7;
    assert_int_equal(cluster_map_mend(world.map, &extent, 1, &moved, positions), ERRC_NOT_FOUND);
    data_world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(six_nodes_with_two_down_write_whole_extents),
        cmocka_unit_test(groups_take_their_class_alone),
        cmocka_unit_test(nodes_that_drain_take_nothing_and_give_up_their_shards),
        cmocka_unit_test(a_budget_is_given_in_order),
        cmocka_unit_test(ids_are_never_given_twice),
        cmocka_unit_test(waiters_outlast_a_service_that_is_away),
        cmocka_unit_test(a_session_that_is_gone_is_followed_by_another),
        cmocka_unit_test(a_session_that_cannot_renew_cuts_its_reads),
        cmocka_unit_test(pins_hold_the_horizon_back),
        cmocka_unit_test(places_use_every_disk_and_follow_health),
        cmocka_unit_test(a_replaced_disk_and_an_older_map),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
