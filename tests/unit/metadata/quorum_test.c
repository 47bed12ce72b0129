/*
 * Goal: voters agree. What one acknowledged is there after any of them stopped, was cut off, or came back behind; none that
 * was deposed answers a query; one that is too far behind takes a checkpoint.
 *
 * Method: three voters on one simulated machine (env_sim, kv_sim), each with a DIR; their calls go through links that the
 * test cuts. Power cuts hit all of them at once. QUORUM_SEEDS=n runs more of the random runs.
 */
#include "common/base/assert.h"
#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/rpc/metadata_messages.h"
#include "common/rpc/rpc_schema.h"
#include "metadata/voter.h"
#include "metadata/voter_member.h"
#include "tests/sim/lib/env_sim.h"
#include "tests/sim/lib/kv_sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define MEMBERS 3
#define ARENA_BYTES (1u << 20)
#define LEAD_MS 8000

struct world;

struct link {
    struct rpc_channel channel;
    struct world *world;
    unsigned from, to;
};

struct member {
    struct world *world;
    unsigned number;
    char path[16], node[ID_HEX_BYTES];
    struct executor *executor, *query_pool;
    struct voter *voter; /* NULL: stopped */
    struct link links[MEMBERS];
    bool was_cut_off;
    bool closing;        /* takes no calls any more, as a process that stopped its port */
};

struct world {
    struct env_sim *sim;
    struct kv_sim_factory kv;
    struct executor *home;
    struct member members[MEMBERS];
    bool cut[MEMBERS][MEMBERS];
    uint64_t checkpoint_log_bytes;
    char *events;
};

struct ask {
    struct rpc_call call;
    struct enc head;
    atomic_bool done;
};

/* ---- links ---- */

static void link_call(struct rpc_channel *channel, struct rpc_call *call)
{
    struct link *link = container_of(channel, struct link, channel);
    struct world *w = link->world;
    struct voter *voter = w->members[link->to].voter;
    if (voter == NULL || w->members[link->to].closing || w->cut[link->from][link->to]) {
        rpc_call_finish(call, error_set(&call->error, ERRC_TIMEOUT, "the link is cut"));
    } else {
        rpc_call_start(voter_channel(voter), call);
    }
}

static const struct rpc_channel_vt link_vt = { link_call };

static struct rpc_channel *channel_to(void *data, const char *node)
{
    struct member *m = data;
    for (unsigned i = 0; i < MEMBERS; i++) {
        if (strcmp(m->world->members[i].node, node) == 0) {
            return &m->links[i].channel;
        }
    }
    return NULL;
}

static const struct voter_peers peers = { channel_to };

/* ---- members ---- */

static void on_event(void *data, const char *event, const char *path, const char *text)
{
    struct member *m = data;
    char *longer = mem_format("%s%u %s %s %s\n", m->world->events, m->number, event, path, text);
    mem_free(m->world->events);
    m->world->events = longer;
}

static struct cluster_id cluster_of(void)
{
    struct cluster_id cluster;
    memset(cluster.bytes, 0xc1, ID_BYTES);
    return cluster;
}

static struct voter_dir dir_of(const struct member *m)
{
    struct voter_dir dir = { .path = m->path };
    memset(dir.disk.bytes, (int)(0xd0 + m->number), ID_BYTES);
    return dir;
}

static void member_open(struct member *m, bool bootstrap)
{
    struct world *w = m->world;
    const struct voter_dir dir = dir_of(m);
    struct error e = ERROR_INIT;
    const struct voter_config config = {
        .env = env_sim_env(w->sim), .kv_factory = &w->kv.factory, .executor = m->executor, .query_pool = m->query_pool,
        .cluster = cluster_of(), .dir_count = 1, .dirs = &dir, .mirrors_wanted = 1, .bootstrap = bootstrap,
        .checkpoint_log_bytes = w->checkpoint_log_bytes, .log_segment_bytes = w->checkpoint_log_bytes / 4,
        .on_event = on_event, .data = m, .peers = &peers, .peers_data = m, .node = m->node,
    };
    enum errc rc = voter_open(&config, &m->voter, &e);
    if (rc != ERRC_OK) {
        fail_msg("voter %u: %s\n%s", m->number, e.text, w->events);
    }
}

static void on_closed(void *data)
{
    atomic_store((atomic_bool *)data, true);
}

static void member_close(struct member *m)
{
    atomic_bool closed = false;
    atomic_bool handed = false;
    if (env_sim_random(m->world->sim) % 2 == 0) {
        voter_hand_over(m->voter, on_closed, &handed);
        env_sim_run_until(m->world->sim, &handed);
    }
    m->closing = true;
    voter_close(m->voter, on_closed, &closed);
    env_sim_run_until(m->world->sim, &closed);
    m->voter = NULL;
    m->closing = false;
}

static void world_begin(struct world *w)
{
    struct env *env = env_sim_env(w->sim);
    kv_sim_factory_init(&w->kv, env, 20);
    w->home = env->vt->executor_create(env, "home", 1);
    for (unsigned i = 0; i < MEMBERS; i++) {
        struct member *m = &w->members[i];
        m->executor = env->vt->executor_create(env, "voter", 1);
        m->query_pool = env->vt->executor_create(env, "query", 2);
    }
}

static void world_end(struct world *w)
{
    for (unsigned i = 0; i < MEMBERS; i++) {
        executor_destroy(w->members[i].executor);
        executor_destroy(w->members[i].query_pool);
    }
    executor_destroy(w->home);
    env_sim_destroy(w->sim);
}

/* ---- asking ---- */

static void on_answer(struct rpc_call *call)
{
    atomic_store(&container_of(call, struct ask, call)->done, true);
}

static enum errc ask_run(struct member *m, struct ask *ask, unsigned method)
{
    if (m->voter == NULL) {
        return ERRC_UNAVAILABLE;
    }
    ask->call.method = (uint16_t)method;
    ask->call.head = enc_slice(&ask->head);
    ask->call.reply_to = m->world->home;
    ask->call.done = on_answer;
    rpc_call_start(voter_channel(m->voter), &ask->call);
    env_sim_run_until(m->world->sim, &ask->done);
    return ask->call.status;
}

static void ask_free(struct ask *ask)
{
    rpc_call_release(&ask->call);
    enc_free(&ask->head);
}

static enum errc put(struct member *m, const char *name, const char *value)
{
    struct ask ask = { .done = false };
    struct meta_command command = { .type = META_CMD_SETTING_PUT };
    command.setting_put.name = slice_str(name);
    command.setting_put.value = slice_str(value);
    meta_command_encode(&ask.head, &command);
    enum errc rc = ask_run(m, &ask, RPC_META_PROPOSE);
    ask_free(&ask);
    return rc;
}

/* OK: *ret_value is the value, empty where there is none; the caller's to free. */
static enum errc get(struct member *m, const char *name, char **ret_value)
{
    struct ask ask = { .done = false };
    struct meta_query query = { .type = META_QRY_SETTING, .name = slice_str(name) };
    struct meta_setting_reply reply;
    struct arena arena;
    meta_query_encode(&ask.head, &query);
    enum errc rc = ask_run(m, &ask, RPC_META_QUERY);
    if (rc == ERRC_OK) {
        arena_init(&arena, ARENA_BYTES);
        assert_int_equal(meta_setting_reply_decode(enc_slice(&ask.call.reply), &arena, &reply), ERRC_OK);
        *ret_value = reply.outcome == META_OK ? mem_strndup((const char *)reply.value.data, reply.value.len) : mem_strdup("");
        arena_done(&arena);
    }
    ask_free(&ask);
    return rc;
}

static enum errc member_change(struct member *leader, enum member_change change, const struct member *m)
{
    struct ask ask = { .done = false };
    struct member_request request = { .change = (uint8_t)change, .id = m->number + 1 };
    memcpy(request.node, m->node, sizeof(m->node));
    member_request_encode(&ask.head, &request);
    enum errc rc = ask_run(leader, &ask, RPC_RAFT_MEMBER);
    ask_free(&ask);
    return rc;
}

static const struct voter_status *status_of(const struct member *m)
{
    static struct voter_status status;
    voter_status(m->voter, &status);
    return &status;
}

/* The one that answers queries, within LEAD_MS; asserts that there is one. */
static struct member *leader_of(struct world *w)
{
    for (unsigned ms = 0; ms < LEAD_MS; ms += 20) {
        for (unsigned i = 0; i < MEMBERS; i++) {
            struct member *m = &w->members[i];
            if (m->voter != NULL && !m->was_cut_off && status_of(m)->serving) {
                return m;
            }
        }
        env_sim_run_ms(w->sim, 20);
    }
    fail_msg("nobody leads\n%s", w->events);
    return NULL;
}

static void put_many(struct world *w, unsigned first, unsigned end)
{
    char name[32];
    for (unsigned i = first; i < end; i++) {
        (void)snprintf(name, sizeof(name), "k%u", i);
        assert_int_equal(put(leader_of(w), name, name), ERRC_OK);
    }
}

/* Right behind a storm the lead may change once more: a voter that was named while it was cut off hears of it late. What the
 * old leader was given then has an unknown outcome (TIMEOUT), and is put again at the new one. */
static void put_settled(struct world *w, const char *name)
{
    enum errc rc = ERRC_TIMEOUT;
    for (unsigned attempt = 0; attempt < 3 && rc == ERRC_TIMEOUT; attempt++) {
        rc = put(leader_of(w), name, name);
    }
    assert_int_equal(rc, ERRC_OK);
}

static void has_many(struct world *w, unsigned first, unsigned end)
{
    char name[32];
    for (unsigned i = first; i < end; i++) {
        char *value = NULL;
        (void)snprintf(name, sizeof(name), "k%u", i);
        assert_int_equal(get(leader_of(w), name, &value), ERRC_OK);
        assert_string_equal(value, name);
        mem_free(value);
    }
}

static void all_equal(struct world *w)
{
    uint64_t applied[MEMBERS] = { 0 };
    for (unsigned ms = 0; ms < LEAD_MS; ms += 50) {
        for (unsigned i = 0; i < MEMBERS; i++) {
            applied[i] = status_of(&w->members[i])->applied_index;
        }
        if (applied[0] == applied[1] && applied[1] == applied[2]) {
            return;
        }
        env_sim_run_ms(w->sim, 50);
    }
    fail_msg("the voters stand at %llu, %llu, %llu\n%s", (unsigned long long)applied[0], (unsigned long long)applied[1],
             (unsigned long long)applied[2], w->events);
}

/* ---- the quorum ---- */

struct seeding {
    atomic_bool done;
    enum errc rc;
    struct error error;
};

static void on_seeded(void *data, enum errc rc, const struct error *e)
{
    struct seeding *seeding = data;
    seeding->rc = rc;
    seeding->error = *e;
    atomic_store(&seeding->done, true);
}

static void member_join(struct member *m)
{
    struct world *w = m->world;
    for (unsigned i = 0;; i++) {
        struct seeding seeding = { .done = false };
        const struct voter_seed_config config = {
            .env = env_sim_env(w->sim), .executor = m->executor, .channel = &m->links[leader_of(w)->number].channel,
            .cluster = cluster_of(), .dir = dir_of(m), .raft_id = m->number + 1, .done = on_seeded, .data = &seeding,
        };
        voter_seed_start(&config);
        env_sim_run_until(w->sim, &seeding.done);
        if (seeding.rc == ERRC_OK) {
            break;
        }
        if (i == 20) {
            fail_msg("%s", seeding.error.text);
        }
        env_sim_run_ms(w->sim, 100);
    }
    member_open(m, false);
    assert_int_equal(member_change(leader_of(w), MEMBER_ADD, m), ERRC_OK);
    enum errc rc = ERRC_UNAVAILABLE;
    for (unsigned i = 0; i < 50 && rc == ERRC_UNAVAILABLE; i++) {
        rc = member_change(leader_of(w), MEMBER_PROMOTE, m);
        env_sim_run_ms(w->sim, 100);
    }
    assert_int_equal(rc, ERRC_OK);
}

static void world_open(struct world *w, uint64_t seed, uint64_t checkpoint_log_bytes)
{
    memset(w, 0, sizeof(*w));
    w->sim = env_sim_create(seed, 256u << 20);
    w->events = mem_strdup("");
    w->checkpoint_log_bytes = checkpoint_log_bytes;
    world_begin(w);
    struct env *env = env_sim_env(w->sim);
    for (unsigned i = 0; i < MEMBERS; i++) {
        struct member *m = &w->members[i];
        uint8_t id[ID_BYTES];
        m->world = w;
        m->number = i;
        memset(id, (int)(0xa0 + i), sizeof(id));
        id_hex(id, m->node);
        (void)snprintf(m->path, sizeof(m->path), "/v%u", i);
        assert_int_equal(env->vt->mkdir(env, m->path, NULL), ERRC_OK);
        for (unsigned k = 0; k < MEMBERS; k++) {
            m->links[k] = (struct link){ { &link_vt }, w, i, k };
        }
    }
    assert_int_equal(env->vt->fsync_dir(env, "/", NULL), ERRC_OK);
    member_open(&w->members[0], true);
    put_many(w, 0, 5);
    member_join(&w->members[1]);
    put_many(w, 5, 10);
    member_join(&w->members[2]);
}

static void world_done(struct world *w)
{
    for (unsigned i = 0; i < MEMBERS; i++) {
        if (w->members[i].voter != NULL) {
            member_close(&w->members[i]);
        }
    }
    world_end(w);
    mem_free(w->events);
}

static void power_cut(struct world *w)
{
    struct env_sim *clone = env_sim_crash_clone(w->sim, env_sim_random(w->sim));
    for (unsigned i = 0; i < MEMBERS; i++) {
        if (w->members[i].voter != NULL) {
            member_close(&w->members[i]);
        }
    }
    world_end(w);
    w->sim = clone;
    world_begin(w);
    for (unsigned i = 0; i < MEMBERS; i++) {
        member_open(&w->members[i], false);
    }
}

static void cut_off(struct world *w, struct member *m, bool cut)
{
    m->was_cut_off = cut;
    for (unsigned i = 0; i < MEMBERS; i++) {
        w->cut[m->number][i] = cut;
        w->cut[i][m->number] = cut;
    }
}

/* ---- tests ---- */

static void three_voters_agree(void **state)
{
    (void)state;
    struct world *w = mem_zalloc(sizeof(*w));
    world_open(w, 1, 0);
    put_many(w, 10, 60);
    has_many(w, 0, 60);
    const struct member *leader = leader_of(w);
    assert_int_equal(status_of(leader)->member_count, MEMBERS);
    for (unsigned i = 0; i < MEMBERS; i++) {
        struct member *m = &w->members[i];
        char *value = NULL;
        if (m != leader) {
            assert_int_equal(get(m, "k1", &value), ERRC_UNAVAILABLE);
            assert_int_equal(put(m, "k1", "x"), ERRC_UNAVAILABLE);
        }
    }
    all_equal(w);
    world_done(w);
    mem_free(w);
}

static void another_leads_when_the_leader_stops(void **state)
{
    (void)state;
    struct world *w = mem_zalloc(sizeof(*w));
    world_open(w, 2, 0);
    for (unsigned i = 1; i <= 4; i++) {
        struct member *old = leader_of(w);
        member_close(old);
        put_many(w, 10 * i, 10 * i + 10);
        has_many(w, 0, 10 * i + 10);
        member_open(old, false);
        all_equal(w);
    }
    world_done(w);
    mem_free(w);
}

static void a_leader_that_is_cut_off_answers_no_query(void **state)
{
    (void)state;
    struct world *w = mem_zalloc(sizeof(*w));
    world_open(w, 3, 0);
    put_many(w, 10, 20);
    struct member *old = leader_of(w);
    cut_off(w, old, true);
    struct member *leader = leader_of(w);
    assert_ptr_not_equal(leader, old);
    assert_int_equal(put(leader, "k1", "new"), ERRC_OK);
    char *value = NULL;
    assert_int_equal(get(old, "k1", &value), ERRC_UNAVAILABLE);
    put_many(w, 20, 40);
    cut_off(w, old, false);
    all_equal(w);
    assert_int_equal(get(leader_of(w), "k1", &value), ERRC_OK);
    assert_string_equal(value, "new");
    mem_free(value);
    has_many(w, 2, 40);
    world_done(w);
    mem_free(w);
}

static void without_a_majority_nothing_is_acknowledged(void **state)
{
    (void)state;
    struct world *w = mem_zalloc(sizeof(*w));
    world_open(w, 4, 0);
    struct member *leader = leader_of(w);
    for (unsigned i = 0; i < MEMBERS; i++) {
        if (&w->members[i] != leader) {
            cut_off(w, &w->members[i], true);
        }
    }
    enum errc rc = put(leader, "lonely", "1");
    assert_true(rc == ERRC_TIMEOUT || rc == ERRC_UNAVAILABLE);
    for (unsigned i = 0; i < MEMBERS; i++) {
        cut_off(w, &w->members[i], false);
    }
    put_many(w, 10, 20);
    has_many(w, 0, 20);
    all_equal(w);
    world_done(w);
    mem_free(w);
}

static void one_that_is_far_behind_takes_a_checkpoint(void **state)
{
    (void)state;
    struct world *w = mem_zalloc(sizeof(*w));
    char *value = mem_zalloc(200000 + 1);
    memset(value, 'v', 200000);
    world_open(w, 5, 1u << 20);
    struct member *behind = &w->members[leader_of(w)->number == 2 ? 1 : 2];
    member_close(behind);
    for (unsigned i = 0; i < 200; i++) { /* 40 MB: far beyond what the window keeps */
        assert_int_equal(put(leader_of(w), "large", value), ERRC_OK);
    }
    env_sim_run_ms(w->sim, 1000);
    member_open(behind, false);
    for (unsigned ms = 0; ms < 20000 && status_of(behind)->applied_index < status_of(leader_of(w))->applied_index; ms += 100) {
        env_sim_run_ms(w->sim, 100);
    }
    if (strstr(w->events, "metadata_checkpoint_installed") == NULL) {
        fail_msg("%s", w->events);
    }
    all_equal(w);
    /* It is a voter like any other: it leads when the two others are asked to stop, one after the other. */
    put_many(w, 10, 20);
    member_close(&w->members[0]);
    has_many(w, 0, 20);
    member_open(&w->members[0], false);
    has_many(w, 0, 20);
    world_done(w);
    mem_free(value);
    mem_free(w);
}

static void a_member_is_removed(void **state)
{
    (void)state;
    struct world *w = mem_zalloc(sizeof(*w));
    world_open(w, 6, 0);
    struct member *leader = leader_of(w);
    struct member *gone = &w->members[(leader->number + 1) % MEMBERS];
    assert_int_equal(member_change(leader, MEMBER_REMOVE, gone), ERRC_OK);
    assert_int_equal(member_change(leader, MEMBER_REMOVE, gone), ERRC_OK);
    assert_int_equal(status_of(leader)->member_count, 2);
    put_many(w, 10, 20);
    env_sim_run_ms(w->sim, 5000); /* it disturbs nobody */
    assert_ptr_equal(leader_of(w), leader);
    has_many(w, 0, 20);
    world_done(w);
    mem_free(w);
}

static void a_leader_that_is_removed_hands_over(void **state)
{
    (void)state;
    struct world *w = mem_zalloc(sizeof(*w));
    world_open(w, 7, 0);
    struct member *before = leader_of(w);
    assert_int_equal(member_change(before, MEMBER_REMOVE, before), ERRC_UNAVAILABLE);
    struct member *now = leader_of(w);
    assert_ptr_not_equal(now, before);
    assert_int_equal(member_change(now, MEMBER_REMOVE, before), ERRC_OK);
    assert_int_equal(status_of(now)->member_count, 2);
    put_many(w, 10, 20);
    has_many(w, 0, 20);
    world_done(w);
    mem_free(w);
}

/* One register: each write is unique; a write that was acknowledged, or was read, is never followed by an older one. */
static void random_run(uint64_t seed)
{
    struct world *w = mem_zalloc(sizeof(*w));
    unsigned written = 0;
    unsigned least = 0; /* what reads must show at least */
    world_open(w, seed, 1u << 20);
    for (unsigned turn = 0; turn < 120; turn++) {
        uint64_t what = env_sim_random(w->sim) % 100;
        struct member *m = &w->members[env_sim_random(w->sim) % MEMBERS];
        if (what < 40) {
            char text[16];
            (void)snprintf(text, sizeof(text), "%u", ++written);
            for (unsigned i = 0; i < MEMBERS; i++) {
                if (put(&w->members[i], "register", text) == ERRC_OK) {
                    least = written;
                    break;
                }
            }
        } else if (what < 70) {
            char *value = NULL;
            if (get(m, "register", &value) == ERRC_OK) {
                unsigned seen = (unsigned)strtoul(value, NULL, 10);
                if (seen < least) {
                    fail_msg("seed %llu: voter %u shows %u after %u\n%s", (unsigned long long)seed, m->number, seen, least,
                             w->events);
                }
                least = seen;
                mem_free(value);
            }
        } else if (what < 80) {
            cut_off(w, m, !m->was_cut_off);
        } else if (what < 88) {
            if (m->voter != NULL) {
                member_close(m);
            } else {
                member_open(m, false);
            }
        } else if (what < 90) {
            for (unsigned i = 0; i < MEMBERS; i++) {
                if (w->members[i].voter == NULL) {
                    member_open(&w->members[i], false);
                }
            }
            power_cut(w);
        } else {
            env_sim_run_ms(w->sim, env_sim_random(w->sim) % 2000);
        }
    }
    for (unsigned i = 0; i < MEMBERS; i++) {
        cut_off(w, &w->members[i], false);
        if (w->members[i].voter == NULL) {
            member_open(&w->members[i], false);
        }
    }
    char *value = NULL;
    assert_int_equal(get(leader_of(w), "register", &value), ERRC_OK);
    assert_true(strtoul(value, NULL, 10) >= least);
    mem_free(value);
    put_settled(w, "k10");
    put_settled(w, "k11");
    has_many(w, 0, 12);
    all_equal(w);
    world_done(w);
    mem_free(w);
}

static void nothing_acknowledged_is_lost_or_goes_back(void **state)
{
    (void)state;
    const char *text = getenv("QUORUM_SEEDS");
    const char *only = getenv("QUORUM_SEED");
    unsigned long seeds = text != NULL ? strtoul(text, NULL, 10) : 25;
    if (only != NULL) {
        random_run(strtoul(only, NULL, 10));
        return;
    }
    for (unsigned long seed = 1; seed <= seeds; seed++) {
        (void)fprintf(stderr, "seed %lu\n", seed);
        random_run(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_voters_agree),
        cmocka_unit_test(another_leads_when_the_leader_stops),
        cmocka_unit_test(a_leader_that_is_cut_off_answers_no_query),
        cmocka_unit_test(without_a_majority_nothing_is_acknowledged),
        cmocka_unit_test(one_that_is_far_behind_takes_a_checkpoint),
        cmocka_unit_test(a_member_is_removed),
        cmocka_unit_test(a_leader_that_is_removed_hands_over),
        cmocka_unit_test(nothing_acknowledged_is_lost_or_goes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
