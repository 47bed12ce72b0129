/*
 * env_fault - an env in front of another one that fails the n-th call of a kind, and all later ones if asked.
 *
 * Or lets it hang until it is disarmed, and all of that kind behind it.
 *
 * Only calls with a path below `path_prefix` count (files: the path they were opened with). A failed write
 * or sync does nothing; what a real disk leaves behind then is undefined anyway.
 * Thread: any; counters are atomic.
 */
#ifndef TESTS_LIB_ENV_FAULT_H
#define TESTS_LIB_ENV_FAULT_H

#include "common/base/env.h"

#include <stdatomic.h>

enum fault_kind {
    FAULT_OPEN,
    FAULT_PREAD,
    FAULT_PWRITE,
    FAULT_FDATASYNC,
    FAULT_FSYNC_DIR,
    FAULT_FALLOCATE,
    FAULT_PUNCH,
    FAULT_RENAME,
    FAULT_UNLINK,
    FAULT_SPACE,     /* fails with `code`; with ERRC_NO_SPACE it tells that nothing is free instead */
    FAULT_KINDS,
};

struct env_fault {
    struct env env;
    struct env *inner;
    const char *path_prefix;              /* borrowed; NULL: every path */
    atomic_uint_fast64_t counts[FAULT_KINDS]; /* calls so far */
    atomic_int kind;                      /* that fails; -1: none */
    atomic_uint_fast64_t at;              /* the call of that kind that fails, 1-based, counted from arming */
    atomic_bool sticky;                   /* and all after it */
    atomic_int code;                      /* enum errc */
    atomic_bool hangs;                    /* instead of failing */
    atomic_uint_fast64_t failed;          /* calls that were made to fail */
};

void env_fault_init(struct env_fault *fault, struct env *inner, const char *path_prefix);
void env_fault_arm(struct env_fault *fault, enum fault_kind kind, uint64_t at, bool sticky, enum errc code);
void env_fault_hang(struct env_fault *fault, enum fault_kind kind, uint64_t at); /* `failed` counts those that hang */
void env_fault_disarm(struct env_fault *fault);

#endif
