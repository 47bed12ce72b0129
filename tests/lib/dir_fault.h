/*
 * dir_fault - an env over another one in which chosen folders fail.
 *
 * A rule names a folder (everything below it fails) and what fails: writes, syncs, or every call. The nth change of
 * files and names can be made to fail once, too, wherever it lies.
 * Thread: rules are set while nothing runs, or under the real env between calls of the same test thread (atomic).
 */
#ifndef TESTS_LIB_DIR_FAULT_H
#define TESTS_LIB_DIR_FAULT_H

#include "common/base/env.h"

#include <stdatomic.h>

#define DIR_FAULT_RULES_MAX 16

enum dir_fault_kind { DIR_FAULT_NONE, DIR_FAULT_WRITE, DIR_FAULT_SYNC, DIR_FAULT_ALL };

struct dir_fault_rule {
    char folder[256];
    atomic_int kind;
    enum errc code;
};

struct dir_fault {
    struct env env;                 /* first: what the code under test gets */
    struct env *inner;
    struct dir_fault_rule rules[DIR_FAULT_RULES_MAX];
    unsigned rule_count;
    atomic_long changes;            /* counted: writes, syncs, names */
    atomic_long fail_change;        /* this one fails once; 0: none */
};

void dir_fault_init(struct dir_fault *fault, struct env *inner);
void dir_fault_set(struct dir_fault *fault, const char *folder, enum dir_fault_kind kind, enum errc code);
/* rm -r, by way of the inner env. */
void dir_fault_remove_tree(struct dir_fault *fault, const char *path);

#endif
