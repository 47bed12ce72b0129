/*
 * env_sim - a simulated machine: virtual clock, seeded scheduler, a disk that forgets what was not synced.
 *
 * Everything runs in the thread that calls env_sim_step(). The same seed and the same calls give the same run.
 *
 * Disk   Writes go to a live plane; fdatasync copies the file to the durable plane, fsync_dir the names of one
 *        folder. env_sim_crash_clone() makes a second machine whose disk is what a power cut would leave now:
 *        each unsynced 512-byte sector is kept, dropped or torn, each unsynced name kept or lost, each unsynced
 *        length old or new, independently. The first machine goes on, so that one run tests many crash points
 *        and what ran there can be closed in the ordinary way.
 * Tasks  A serial executor runs its tasks in order; a pool in any order. Which executor is next, is random.
 */
#ifndef TESTS_SIM_LIB_ENV_SIM_H
#define TESTS_SIM_LIB_ENV_SIM_H

#include "common/base/env.h"

#include <stdatomic.h>

struct env_sim;

/* disk_bytes: size of the one disk that all paths lie on. */
struct env_sim *env_sim_create(uint64_t seed, uint64_t disk_bytes);
struct env *env_sim_env(struct env_sim *sim);
/* Runs one task, or lets time pass to the next timer. False when nothing can happen any more. */
bool env_sim_step(struct env_sim *sim);
void env_sim_run_until(struct env_sim *sim, atomic_bool *flag); /* asserts that it comes to be set */
void env_sim_run_ms(struct env_sim *sim, uint64_t ms);          /* virtual */
/* A machine after a power cut at this moment; `seed` decides what survives, and goes on as its seed. */
struct env_sim *env_sim_crash_clone(struct env_sim *sim, uint64_t seed);
/* Called before every call that changes the disk (writes, syncs, names): the place to take a crash clone. */
void env_sim_on_change(struct env_sim *sim, void (*hook)(void *data), void *data);
uint64_t env_sim_random(struct env_sim *sim);
/* Flips one random bit of the live and durable bytes of a file; false if it has none. */
bool env_sim_flip(struct env_sim *sim, const char *path);
/* Hash of which executor ran when: equal runs have equal ones. */
uint64_t env_sim_trace(const struct env_sim *sim);

/* More machines (processes) under the same clock and scheduler, each with a disk of its own. */
struct env *env_sim_machine_add(struct env_sim *sim, uint64_t disk_bytes);
/* What a power cut of this machine leaves now, as another machine. The first goes on (its programs have to be closed) until
 * it is freed. */
struct env *env_sim_machine_crash(struct env *env);
void env_sim_machine_free(struct env *env); /* its executors are gone */
/* Flips a bit of some file in the folder; false: no bytes there. */
bool env_sim_machine_flip(struct env *env, const char *folder);
void env_sim_machine_wall(struct env *env, int64_t offset_ms);
/* From now on one in four of these calls on files below a folder "segments" fails with that errno (0: none does). What a failed sync
 * should have written no later one writes; of a failed write some is written. */
enum env_sim_calls { ENV_SIM_WRITES = 1, ENV_SIM_SYNCS = 2, ENV_SIM_READS = 4 };
void env_sim_machine_fail(struct env *env, unsigned calls, int error);
/* All executors and added machines must be gone. */
void env_sim_destroy(struct env_sim *sim);

#endif
