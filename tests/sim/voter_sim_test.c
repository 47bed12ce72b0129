/*
 * Goal: whatever the moment of a power cut, and with two of six DIRs lost at a time on top, the voter starts and every
 * acknowledged command is there.
 *
 * Method: by seed, commands in bursts against a voter on six DIRs (three mirrors) of a simulated machine that forgets
 * what was not synced; DIRs fail, vanish or are absent from a start, no more than two before the mirrors are whole again;
 * at a random change of the disk a crash clone is taken. The clone is started, compared with what had been acknowledged,
 * and the run goes on in it. A failure prints its
 * seed; VOTER_SIM_SEED=n runs that one, VOTER_SIM_RUNS=n so many.
 */
#include "common/base/assert.h"
#include "common/base/mem.h"
#include "tests/lib/voter_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#define RUNS_DEFAULT 60
#define LIVES 8
#define BURST_MAX 12
#define NAMES_MAX 4000
#define DIRS 6
#define LOST_MAX 2

struct world {
    uint64_t seed;
    struct vf f;
    unsigned count;
    bool acknowledged[NAMES_MAX];
    bool lost[DIRS];        /* out of order, or not whole again since */
    /* the crash */
    uint64_t changes_left;
    struct env_sim *clone;
    bool acknowledged_at_crash[NAMES_MAX];
    unsigned count_at_crash;
    bool lost_at_crash[DIRS];
};

static uint64_t chance(struct world *world)
{
    return env_sim_random(world->f.sim);
}

static void on_change(void *data)
{
    struct world *world = data;
    if (world->clone == NULL && world->changes_left-- == 0) {
        world->clone = env_sim_crash_clone(world->f.sim, env_sim_random(world->f.sim));
        memcpy(world->acknowledged_at_crash, world->acknowledged, sizeof(world->acknowledged));
        world->count_at_crash = world->count;
        memcpy(world->lost_at_crash, world->lost, sizeof(world->lost));
    }
}

static void burst(struct world *world)
{
    static struct vf_put puts[BURST_MAX];
    unsigned count = 1 + (unsigned)(chance(world) % BURST_MAX);
    unsigned first = world->count;
    if (first + count > NAMES_MAX) {
        return;
    }
    for (unsigned i = 0; i < count; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "n%u", world->count++);
        vf_put_start(&world->f, &puts[i], name, name);
        if (chance(world) % 3 == 0) {
            (void)env_sim_step(world->f.sim);
        }
    }
    for (unsigned i = 0; i < count; i++) { /* each is acknowledged when its answer is there, not before */
        enum errc rc = vf_put_wait(&world->f, &puts[i]);
        world->acknowledged[first + i] = rc == ERRC_OK;
    }
}

/* One more DIR that may be lost now, or -1. */
static int dir_to_lose(struct world *world)
{
    unsigned lost = 0;
    unsigned i = (unsigned)(chance(world) % DIRS);
    for (unsigned d = 0; d < DIRS; d++) {
        lost += world->lost[d] ? 1 : 0;
    }
    if (lost >= LOST_MAX || world->lost[i]) {
        return -1;
    }
    world->lost[i] = true;
    return (int)i;
}

static void dir_breaks(struct world *world)
{
    int lost = dir_to_lose(world);
    unsigned i = (unsigned)lost;
    if (lost < 0) {
        return;
    }
    switch (chance(world) % 3) {
    case 0:
        dir_fault_set(&world->f.fault, vf_path(i), chance(world) % 2 == 0 ? DIR_FAULT_WRITE : DIR_FAULT_SYNC, ERRC_IO);
        break;
    case 1:
        vf_dir_remove(&world->f, i, "/metadata");
        break;
    default:
        voter_mirror_failed(world->f.voter, vf_disk(i), "sim");
        break;
    }
}

static bool all_there(const struct world *world)
{
    for (unsigned i = 0; i < DIRS; i++) {
        if (world->f.absent[i]) {
            return false;
        }
    }
    return true;
}

/* The lost count again once the mirrors are whole and nobody is away. */
static void whole_again(struct world *world)
{
    vf_run_ms(&world->f, 3000);
    if (vf_status(&world->f)->replicas_behind == 0 && all_there(world)) {
        memset(world->lost, 0, sizeof(world->lost));
    }
}

static void dirs_heal(struct world *world)
{
    for (unsigned i = 0; i < DIRS; i++) {
        if (world->lost[i] && !world->f.absent[i]) {
            dir_fault_set(&world->f.fault, vf_path(i), DIR_FAULT_NONE, ERRC_IO);
            voter_mirror_failed(world->f.voter, vf_disk(i), "sim"); /* if nobody noticed */
            voter_mirror_replace(world->f.voter, vf_disk(i), vf_disk(i), vf_path(i));
            vf_run_ms(&world->f, 1000);
        }
    }
    whole_again(world);
}

/* Before a start: DIRs are away, or are back with what they knew. */
static void dirs_come_and_go(struct world *world)
{
    for (unsigned i = 0; i < DIRS; i++) {
        if (world->f.absent[i] && chance(world) % 3 == 0) {
            world->f.absent[i] = false;
        }
    }
    int lost = chance(world) % 2 == 0 ? dir_to_lose(world) : -1;
    if (lost >= 0) {
        world->f.absent[lost] = true;
    }
}

static void life(struct world *world)
{
    world->clone = NULL;
    world->changes_left = chance(world) % 600;
    env_sim_on_change(world->f.sim, on_change, world);
    for (unsigned i = 0; i < 400 && world->clone == NULL; i++) {
        uint64_t what = chance(world) % 40;
        if (what == 0) {
            dir_breaks(world);
        } else if (what == 1) {
            dirs_heal(world);
        } else if (what == 2) {
            vf_run_ms(&world->f, chance(world) % 3000);
        } else {
            burst(world);
        }
    }
    env_sim_on_change(world->f.sim, NULL, NULL);
}

static void next_life(struct world *world)
{
    if (world->clone == NULL) { /* a clean end */
        vf_close(&world->f);
        for (unsigned i = 0; i < DIRS; i++) {
            dir_fault_set(&world->f.fault, vf_path(i), DIR_FAULT_NONE, ERRC_IO);
        }
    } else {
        vf_close(&world->f);
        vf_adopt(&world->f, world->clone);
        memcpy(world->acknowledged, world->acknowledged_at_crash, sizeof(world->acknowledged));
        world->count = world->count_at_crash;
        memcpy(world->lost, world->lost_at_crash, sizeof(world->lost));
    }
    dirs_come_and_go(world);
    if (vf_open(&world->f, false) != ERRC_OK) {
        fail_msg("seed %llu: %s", (unsigned long long)world->seed, world->f.error.text);
    }
    for (unsigned i = 0; i < world->count; i++) {
        if (world->acknowledged[i] && !vf_has_many(&world->f, "n", i, i + 1)) {
            fail_msg("seed %llu: n%u of %u was acknowledged and is gone", (unsigned long long)world->seed, i,
                     world->count);
        }
    }
    if (chance(world) % 2 == 0) {
        whole_again(world);
    }
}

static void run(uint64_t seed)
{
    struct world *world = mem_zalloc(sizeof(*world));
    world->seed = seed;
    vf_init(&world->f, seed, DIRS, LOST_MAX + 1);
    world->f.checkpoint_log_bytes = 20000;
    world->f.log_segment_bytes = 6000;
    if (vf_open(&world->f, true) != ERRC_OK) {
        fail_msg("seed %llu: %s", (unsigned long long)seed, world->f.error.text);
    }
    for (unsigned i = 0; i < LIVES; i++) {
        life(world);
        next_life(world);
    }
    vf_done(&world->f);
    mem_free(world);
}

static void acknowledged_commands_survive_power_cuts(void **state)
{
    (void)state;
    const char *seed = getenv("VOTER_SIM_SEED");
    const char *runs = getenv("VOTER_SIM_RUNS");
    if (seed != NULL) {
        run(strtoull(seed, NULL, 10));
        return;
    }
    uint64_t count = runs != NULL ? strtoull(runs, NULL, 10) : RUNS_DEFAULT;
    for (uint64_t i = 1; i <= count; i++) {
        run(i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(acknowledged_commands_survive_power_cuts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
