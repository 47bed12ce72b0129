/*
 * kv_sim - an ordered map in memory with the durability of common/base/kv.h, for simulated machines.
 *
 * A flush writes the whole map to a file of the env (new file, sync, rename, sync of the folder) and, as a
 * real map does in the background, happens by itself after some writes, chosen by the seed. What an iterator
 * sees is a copy made at its start. `cached_only` reads say WOULD_BLOCK now and then.
 */
#ifndef TESTS_SIM_LIB_KV_SIM_H
#define TESTS_SIM_LIB_KV_SIM_H

#include "common/base/env.h"
#include "common/base/kv.h"

struct kv_sim_factory {
    struct kv_factory factory;
    struct env *env;            /* borrowed */
    unsigned flush_one_in;      /* writes between background flushes, on average; 0: never */
    const char *unreadable;     /* gets of a map whose path begins so answer IO; NULL: none do */
};

void kv_sim_factory_init(struct kv_sim_factory *factory, struct env *env, unsigned flush_one_in);

#endif
