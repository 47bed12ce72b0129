/*
 * Goal: a cluster keeps what it acknowledged, whatever happens to its processes and the network between them.
 *
 * Method: by seed, three voters, storage nodes and gateways run in this process on virtual time (cluster_sim) and clients
 * write, overwrite, delete and read a few keys. Histories are checked for linearizability, bytes against what was written.
 * At the end everything is healed; within a bounded virtual time repair and garbage collection are quiet, every object
 * reads back, counters agree and the audit of every voter finds nothing.
 * A failure prints its seed; CLUSTER_SEED=s runs that one alone, CLUSTER_SEEDS=n so many.
 */
#include "common/base/assert.h"
#include "common/base/mem.h"
#include "tests/sim/lib/cluster_faults.h"
#include "tests/sim/lib/cluster_workload.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define SEEDS_DEFAULT 60
#define OPERATIONS 120
#define QUIET_MS 180000   /* bound of the rest after healing, virtual */
#define HEALED_MS 20000   /* after healing, until operations must succeed: elections, sessions, disks that failed calls */
#define REST_MS 5000      /* between looks whether all is quiet */

struct totals {
    uint64_t ok, refused, unknown, unreadable;
    uint64_t faults[FAULT_KINDS];
};

/* Which faults a seed may have: an eighth of the seeds none (there every read must succeed), a third of the others one kind
 * alone, the rest a random set. CLUSTER_FAULTS overrides. */
static unsigned faults_of(struct cluster_sim *c)
{
    const char *given = getenv("CLUSTER_FAULTS");
    uint64_t random = env_sim_random(c->sim);
    unsigned chosen = random % 3 == 0 ? 1u << (random >> 8) % FAULT_KINDS : (unsigned)(random >> 8) % (1u << FAULT_KINDS);
    if (random >> 56 < 32) {
        chosen = 0;
    }
    return given != NULL ? (unsigned)strtoul(given, NULL, 0) : chosen;
}

static bool quiet(struct cluster_sim *c, const struct workload *w, struct meta_status *ret_status)
{
    if (cluster_sim_status(c, ret_status) != ERRC_OK) {
        return false;
    }
    return ret_status->gc_items == 0 && ret_status->extents_full == ret_status->extents && ret_status->objects == workload_objects(w);
}

/* All is healed: within QUIET_MS nothing is degraded, no garbage is left, and the counters are what was read. */
static unsigned settle(struct cluster_sim *c, struct workload *w)
{
    struct meta_status status;
    w->strict = true;
    for (unsigned key = 0; key < WORKLOAD_KEYS; key++) {
        workload_read(w, key);
    }
    workload_wait(w);
    for (unsigned ms = 0; ms < QUIET_MS; ms += REST_MS) {
        if (quiet(c, w, &status)) {
            return cluster_sim_audit(c);
        }
        env_sim_run_ms(c->sim, REST_MS);
    }
    (void)fprintf(stderr, "CLUSTER_SEED=%" PRIu64 ": not quiet: objects %" PRIu64 " of %u, garbage %" PRIu64 ", extents %" PRIu64
                  ", full %" PRIu64 "\n", c->seed, status.objects, workload_objects(w), status.gc_items, status.extents,
                  status.extents_full);
    return 1 + cluster_sim_audit(c);
}

static uint64_t run(uint64_t seed, struct totals *totals)
{
    struct cluster_sim *c = mem_zalloc(sizeof(*c));
    struct workload *w = mem_zalloc(sizeof(*w));
    cluster_sim_open(c, seed, 6 + (unsigned)(seed % 2), 1 + (unsigned)(seed % 3));
    workload_open(w, c);
    struct cluster_faults faults;
    cluster_faults_open(&faults, c, faults_of(c));
    w->strict = faults.enabled == 0;
    for (unsigned i = 0; i < OPERATIONS; i++) {
        (void)workload_start(w);
        cluster_faults_step(&faults);
        env_sim_run_ms(c->sim, env_sim_random(c->sim) % (env_sim_random(c->sim) % 8 == 0 ? 4000 : 40));
    }
    cluster_faults_heal(&faults);
    workload_wait(w);
    env_sim_run_ms(c->sim, HEALED_MS);
    unsigned bad = settle(c, w);
    for (unsigned key = 0; key < WORKLOAD_KEYS; key++) {
        workload_read(w, key);
    }
    workload_wait(w);
    bad += workload_check(w);
    uint64_t trace = env_sim_trace(c->sim);
    totals->ok += w->ok;
    totals->refused += w->refused;
    totals->unknown += w->unknown;
    totals->unreadable += w->unreadable;
    for (unsigned i = 0; i < FAULT_KINDS; i++) {
        totals->faults[i] += faults.counts[i];
    }
    cluster_sim_close(c);
    mem_free(w);
    mem_free(c);
    if (bad > 0) {
        fail_msg("replay: CLUSTER_SEED=%" PRIu64 " cluster_sim_test", seed);
    }
    return trace;
}

static void a_cluster_keeps_what_it_acknowledged(void **state)
{
    (void)state;
    struct totals totals = { 0 };
    const char *seed = getenv("CLUSTER_SEED");
    const char *seeds = getenv("CLUSTER_SEEDS");
    if (seed != NULL) {
        print_message("trace %016" PRIx64 "\n", run(strtoull(seed, NULL, 10), &totals));
        return;
    }
    uint64_t count = seeds != NULL ? strtoull(seeds, NULL, 10) : SEEDS_DEFAULT;
    for (uint64_t i = 1; i <= count; i++) {
        (void)run(i, &totals);
    }
    print_message("%" PRIu64 " seeds: %" PRIu64 " operations ok, %" PRIu64 " refused, %" PRIu64 " of unknown outcome, %" PRIu64
                  " unreadable for a while\n", count, totals.ok, totals.refused, totals.unknown, totals.unreadable);
    print_message("power cuts of nodes %" PRIu64 ", of voters %" PRIu64 ", partitions %" PRIu64 ", disconnects %" PRIu64
                  ", slow links %" PRIu64 ", flipped bits %" PRIu64 ", blackouts %" PRIu64 ", failing disks %" PRIu64 ", wrong clocks %" PRIu64 "\n", totals.faults[FAULT_NODE_CRASH], totals.faults[FAULT_VOTER_CRASH],
                  totals.faults[FAULT_PARTITION], totals.faults[FAULT_DISCONNECT], totals.faults[FAULT_SLOW],
                  totals.faults[FAULT_FLIP], totals.faults[FAULT_BLACKOUT], totals.faults[FAULT_DISK_ERROR],
                  totals.faults[FAULT_CLOCK]);
    assert_true(totals.ok > count * OPERATIONS / 2);
}

static void a_seed_is_replayed_exactly(void **state)
{
    (void)state;
    struct totals totals = { 0 };
    for (uint64_t seed = 4711; seed < 4713; seed++) {
        uint64_t trace = run(seed, &totals);
        assert_int_equal(trace, run(seed, &totals));
    }
}

/* The checker itself: it must see a lost write, a value that came back, and a create over an object. */
static void the_checker_sees_what_is_wrong(void **state)
{
    (void)state;
    const struct register_op good[] = { { REGISTER_WRITE, 1, 1, 2 }, { REGISTER_WRITE, 2, 3, UINT64_MAX },
                                        { REGISTER_READ, 1, 4, 5 }, { REGISTER_READ, 2, 6, 7 } };
    const struct register_op lost[] = { { REGISTER_WRITE, 1, 1, 2 }, { REGISTER_READ, 0, 3, 4 } };
    const struct register_op back[] = { { REGISTER_WRITE, 1, 1, 2 }, { REGISTER_WRITE, 0, 3, 4 }, { REGISTER_READ, 1, 5, 6 } };
    const struct register_op twice[] = { { REGISTER_WRITE, 1, 1, 2 }, { REGISTER_CREATE, 2, 3, 4 } };
    const struct register_op flip[] = { { REGISTER_WRITE, 1, 1, 2 }, { REGISTER_WRITE, 2, 3, UINT64_MAX },
                                        { REGISTER_READ, 2, 4, 5 }, { REGISTER_READ, 1, 6, 7 } };
    assert_true(register_check(good, 4));
    assert_false(register_check(lost, 2));
    assert_false(register_check(back, 3));
    assert_false(register_check(twice, 2));
    assert_false(register_check(flip, 4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_checker_sees_what_is_wrong),
        cmocka_unit_test(a_cluster_keeps_what_it_acknowledged),
        cmocka_unit_test(a_seed_is_replayed_exactly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
