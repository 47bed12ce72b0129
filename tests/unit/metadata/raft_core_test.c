/*
 * Three cores in one process, their messages carried by hand as bytes: late, out of order, twice or never, by seed;
 * voters lose what was not durable and start again. What one commits all commit; a term has one leader.
 * CORE_SEEDS=n runs more of them.
 */
#include "metadata/raft_core.h"

#include "common/base/mem.h"
#include "tests/lib/machine_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define VOTERS 3
#define LOG_MAX 4096
#define FLIGHT_MAX 256
#define VALUE_BYTES 8
#define STEPS 3000

struct stored {
    uint64_t term;
    uint8_t type;
    size_t len;
    uint8_t bytes[256];
};

struct peer {
    struct raft_core *core;
    struct stored *log; /* [1..last] */
    uint64_t last, durable, commit, term, vote, timeout;
    bool leader;
};

struct flight {
    uint64_t to;
    struct enc bytes;
};

struct world {
    struct peer peers[VOTERS];
    struct flight flights[FLIGHT_MAX];
    unsigned flight_count;
    uint64_t now, random, value;
    struct stored *committed;
    uint64_t committed_last;
    uint64_t leader_of[LOG_MAX]; /* by term */
    bool lossy;
    unsigned cuts, leaders, restarts;
};

static const uint64_t ids[VOTERS] = { 11, 12, 13 };
static const struct raft_core_members members = { 1, VOTERS, { { 11, true, "a" }, { 12, true, "b" }, { 13, true, "c" } } };

static uint64_t draw(struct world *w, uint64_t below)
{
    return (fixture_random(&w->random) >> 20) % below;
}

static void committed_check(struct world *w, struct peer *p, uint64_t commit)
{
    assert_true(commit >= p->commit && commit <= p->last);
    for (uint64_t i = p->commit + 1; i <= commit; i++) {
        if (i > w->committed_last) {
            w->committed[i] = p->log[i];
            w->committed_last = i;
        }
        assert_int_equal(w->committed[i].term, p->log[i].term);
        assert_int_equal(w->committed[i].len, p->log[i].len);
        assert_memory_equal(w->committed[i].bytes, p->log[i].bytes, p->log[i].len);
    }
    p->commit = commit;
}

static void message_send(struct world *w, struct peer *p, const struct core_message *from)
{
    struct core_message message = *from;
    struct raft_core_entry entries[RAFT_MESSAGE_ENTRIES_MAX];
    unsigned copies = !w->lossy ? 1 : draw(w, 8) == 0 ? 0 : draw(w, 8) == 0 ? 2 : 1;
    assert_int_not_equal(message.kind, CORE_SNAPSHOT);
    assert_true(message.entry_count <= RAFT_MESSAGE_ENTRIES_MAX);
    for (unsigned i = 0; i < message.entry_count; i++) {
        const struct stored *entry = &p->log[message.index + 1 + i];
        assert_true(message.index + 1 + i <= p->last);
        entries[i] = (struct raft_core_entry){ entry->term, entry->type, slice_of(entry->bytes, entry->len) };
    }
    message.entries = entries;
    for (; copies > 0 && w->flight_count < FLIGHT_MAX; copies--) {
        struct flight *flight = &w->flights[w->flight_count++];
        *flight = (struct flight){ message.to, ENC_INIT };
        core_message_encode(&message, &flight->bytes);
    }
}

static void update_take(struct world *w, struct peer *p, const struct raft_core_update *u, struct slice own,
                        const struct core_message *in)
{
    p->term = u->term;
    p->vote = u->vote;
    p->timeout = u->timeout_ms;
    if (u->append_index != 0) {
        assert_int_equal(u->append_cuts, u->append_index <= p->last);
        assert_true(u->append_index > p->commit && u->append_index <= p->last + 1);
        w->cuts += u->append_cuts;
        p->durable = p->durable < u->append_index ? p->durable : u->append_index - 1;
        p->last = u->append_index + u->append_count - 1;
        assert_true(p->last < LOG_MAX);
        for (unsigned i = 0; i < u->append_count; i++) {
            struct stored *entry = &p->log[u->append_index + i];
            const struct raft_core_entry *from = u->append_received ? &in->entries[u->append_skip + i] : NULL;
            struct slice data = from != NULL ? from->data : own;
            *entry = (struct stored){ from != NULL ? from->term : u->append_term,
                                      from != NULL ? from->type : u->append_type, data.len, { 0 } };
            assert_true(data.len <= sizeof(entry->bytes));
            if (data.len > 0) {
                memcpy(entry->bytes, data.data, data.len);
            }
        }
        assert_true(!u->append_received || u->append_skip + u->append_count == in->entry_count);
    }
    if (u->leader && !p->leader) {
        uint64_t *leader = &w->leader_of[u->term % LOG_MAX];
        assert_true(*leader == 0 || *leader == ids[p - w->peers]);
        *leader = ids[p - w->peers];
        w->leaders++;
    }
    p->leader = u->leader;
    for (unsigned i = 0; i < u->message_count; i++) {
        message_send(w, p, &u->messages[i]);
    }
    committed_check(w, p, u->commit_index);
}

static void peer_open(struct world *w, unsigned at)
{
    struct peer *p = &w->peers[at];
    struct error e = ERROR_INIT;
    struct raft_core_update update;
    struct raft_core_entry *entries = mem_zalloc(p->last * sizeof(*entries));
    for (uint64_t i = 1; i <= p->last; i++) {
        entries[i - 1] = (struct raft_core_entry){ p->log[i].term, p->log[i].type,
                                                   slice_of(p->log[i].bytes, p->log[i].len) };
    }
    const struct raft_core_start start = { .now_ms = w->now, .id = ids[at], .members = &members,
        .seed = (unsigned)draw(w, 1u << 30), .term = p->term, .vote = p->vote, .first_index = 1, .count = p->last,
        .entries = entries };
    p->leader = false;
    p->commit = 0;
    assert_int_equal(raft_core_open(&start, &p->core, &update, &e), ERRC_OK);
    mem_free(entries);
    update_take(w, p, &update, slice_of(NULL, 0), NULL);
}

static void world_open(struct world *w, uint64_t seed)
{
    struct error e = ERROR_INIT;
    struct enc first = ENC_INIT;
    memset(w, 0, sizeof(*w));
    w->random = seed * 7919 + 1;
    w->now = 1000;
    w->lossy = true;
    w->committed = mem_zalloc(LOG_MAX * sizeof(*w->committed));
    assert_int_equal(raft_core_change(&members, &first, &e), ERRC_OK);
    for (unsigned i = 0; i < VOTERS; i++) {
        struct peer *p = &w->peers[i];
        p->log = mem_zalloc(LOG_MAX * sizeof(*p->log));
        p->log[1] = (struct stored){ 1, RAFT_CORE_CHANGE, first.len, { 0 } };
        assert_true(first.len <= sizeof(p->log[1].bytes));
        memcpy(p->log[1].bytes, first.data, first.len);
        p->last = p->durable = 1;
        p->term = 1;
        peer_open(w, i);
    }
    enc_free(&first);
}

static void deliver(struct world *w)
{
    unsigned at = (unsigned)draw(w, w->flight_count);
    struct flight flight = w->flights[at];
    struct peer *p = &w->peers[flight.to - ids[0]];
    struct core_message in;
    struct raft_core_entry *entries = NULL;
    struct raft_core_update update;
    struct error e = ERROR_INIT;
    w->flights[at] = w->flights[--w->flight_count];
    assert_int_equal(core_message_decode(enc_slice(&flight.bytes), &in, &entries, &e), ERRC_OK);
    assert_int_equal(raft_core_receive(p->core, w->now, &in, &update, &e), ERRC_OK);
    update_take(w, p, &update, slice_of(NULL, 0), &in);
    mem_free(entries);
    enc_free(&flight.bytes);
}

static void submit(struct world *w, struct peer *p)
{
    uint8_t bytes[VALUE_BYTES];
    struct error e = ERROR_INIT;
    struct raft_core_update update;
    w->value++;
    memcpy(bytes, &w->value, sizeof(bytes));
    enum errc rc = raft_core_submit(p->core, w->now, RAFT_CORE_COMMAND, slice_of(bytes, sizeof(bytes)), &update, &e);
    assert_int_equal(rc, p->leader ? ERRC_OK : ERRC_UNAVAILABLE);
    if (rc == ERRC_OK) {
        update_take(w, p, &update, slice_of(bytes, sizeof(bytes)), NULL);
    }
}

static void persist(struct world *w, struct peer *p)
{
    struct error e = ERROR_INIT;
    struct raft_core_update update;
    if (p->durable < p->last) {
        p->durable = p->last;
        assert_int_equal(raft_core_persisted(p->core, w->now, p->durable, &update, &e), ERRC_OK);
        update_take(w, p, &update, slice_of(NULL, 0), NULL);
    }
}

static void tick(struct world *w)
{
    struct error e = ERROR_INIT;
    struct raft_core_update update;
    w->now += 10 + draw(w, 40);
    for (unsigned i = 0; i < VOTERS; i++) {
        struct peer *p = &w->peers[i];
        if (w->now >= p->timeout) {
            assert_int_equal(raft_core_timeout(p->core, w->now, &update, &e), ERRC_OK);
            update_take(w, p, &update, slice_of(NULL, 0), NULL);
        }
    }
}

static void restart(struct world *w, unsigned at)
{
    struct peer *p = &w->peers[at];
    raft_core_close(p->core);
    p->last = p->durable;
    w->restarts++;
    peer_open(w, at);
}

static void turn(struct world *w)
{
    struct peer *p = &w->peers[draw(w, VOTERS)];
    uint64_t what = draw(w, 20);
    if (what < 10 && w->flight_count > 0) {
        deliver(w);
    } else if (what < 13) {
        persist(w, p);
    } else if (what < 15 && (p->leader || w->lossy)) {
        submit(w, p);
    } else if (what == 15 && w->lossy && draw(w, 20) == 0) {
        restart(w, (unsigned)(p - w->peers));
    } else {
        tick(w);
    }
}

static void calm_converges(struct world *w)
{
    uint64_t before = w->committed_last;
    bool equal = false;
    w->lossy = false;
    for (unsigned i = 0; i < 20000 && !equal; i++) {
        while (w->flight_count > 0) {
            deliver(w);
        }
        for (unsigned k = 0; k < VOTERS; k++) {
            persist(w, &w->peers[k]);
            if (w->peers[k].leader && w->committed_last <= before + 1) {
                submit(w, &w->peers[k]);
            }
        }
        tick(w);
        equal = w->committed_last > before + 1;
        for (unsigned k = 0; k < VOTERS; k++) {
            equal = equal && w->peers[k].commit == w->committed_last && w->peers[k].last == w->committed_last;
        }
    }
    assert_true(equal);
}

static void world_close(struct world *w)
{
    for (unsigned i = 0; i < w->flight_count; i++) {
        enc_free(&w->flights[i].bytes);
    }
    for (unsigned i = 0; i < VOTERS; i++) {
        raft_core_close(w->peers[i].core);
        mem_free(w->peers[i].log);
    }
    mem_free(w->committed);
}

static void what_one_commits_all_commit(void **state)
{
    (void)state;
    const char *text = getenv("CORE_SEEDS");
    unsigned long seeds = text != NULL ? strtoul(text, NULL, 10) : 200;
    unsigned cuts = 0, leaders = 0, restarts = 0;
    struct world *w = mem_zalloc(sizeof(*w));
    for (unsigned long seed = 1; seed <= seeds; seed++) {
        world_open(w, seed);
        for (unsigned i = 0; i < STEPS; i++) {
            turn(w);
        }
        calm_converges(w);
        cuts += w->cuts;
        leaders += w->leaders;
        restarts += w->restarts;
        world_close(w);
    }
    print_message("%lu seeds: %u leaders, %u suffixes cut, %u restarts\n", seeds, leaders, cuts, restarts);
    assert_true(seeds < 100 || (cuts > 0 && restarts > 0 && leaders > seeds));
    mem_free(w);
}

static void every_torn_message_is_refused(void **state)
{
    (void)state;
    const struct raft_core_entry entries[] = { { 3, RAFT_CORE_COMMAND, slice_of("abc", 3) },
                                               { 4, RAFT_CORE_BARRIER, slice_of(NULL, 0) } };
    const struct core_message message = { .kind = CORE_APPEND, .from = 1, .to = 2, .term = 4, .index = 9,
        .index_term = 3, .commit = 8, .entry_count = 2, .entries = entries };
    struct enc enc = ENC_INIT;
    struct core_message back;
    struct raft_core_entry *got = NULL;
    struct error e = ERROR_INIT;
    core_message_encode(&message, &enc);
    for (size_t len = 0; len < enc.len; len++) {
        e = (struct error)ERROR_INIT;
        assert_int_not_equal(core_message_decode(slice_of(enc.data, len), &back, &got, &e), ERRC_OK);
        assert_null(got);
    }
    e = (struct error)ERROR_INIT;
    assert_int_equal(core_message_decode(enc_slice(&enc), &back, &got, &e), ERRC_OK);
    assert_int_equal(back.entry_count, 2);
    assert_int_equal(back.commit, 8);
    assert_memory_equal(got[0].data.data, "abc", 3);
    mem_free(got);
    enc_free(&enc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_one_commits_all_commit),
        cmocka_unit_test(every_torn_message_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
