/*
 * register_check - is a history of one key linearizable? Wing and Gong's search with Lowe's memory of states.
 *
 * A key is a register: 0 is "no object", other values are unique per write. An operation whose outcome is unknown may take
 * effect at any time after its start, or never. At most 64 operations of a history can be checked.
 */
#ifndef TESTS_SIM_LIB_REGISTER_CHECK_H
#define TESTS_SIM_LIB_REGISTER_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#define REGISTER_OPS_MAX 64

enum register_kind {
    REGISTER_WRITE,       /* value; 0: delete */
    REGISTER_READ,        /* saw value */
    REGISTER_CREATE,      /* wrote value, which is done only where there was none */
    REGISTER_CREATE_NOT,  /* there was one */
};

struct register_op {
    enum register_kind kind;
    uint64_t value;
    uint64_t began, ended;   /* any clock; ended UINT64_MAX: unknown outcome */
};

bool register_check(const struct register_op *ops, unsigned count);

#endif
