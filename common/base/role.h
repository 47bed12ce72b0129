/*
 * role - what a process of a cluster is; written in its certificate.
 */
#ifndef COMMON_BASE_ROLE_H
#define COMMON_BASE_ROLE_H

#include "common/base/slice.h"

#include <stdbool.h>
#include <stddef.h>

/*      name            number  in certificates and on command lines */
#define CLUSTER_ROLES(X)                                                        \
    X(NONE,             0,      "none") /* no certificate: may ask to join */   \
    X(METADATA,         1,      "metadata")                                     \
    X(STORAGE_NODE,     2,      "storage-node")                                 \
    X(GATEWAY,          3,      "gateway")                                      \
    X(ADMIN,            4,      "admin")

enum cluster_role {
#define X(name, number, text) ROLE_##name = number,
    CLUSTER_ROLES(X)
#undef X
};

#define ROLE_BIT(role) (1u << (role))

static inline const char *cluster_role_name(unsigned role)
{
    switch (role) {
#define X(name, number, text)                                                  \
    case number:                                                               \
        return text;
        CLUSTER_ROLES(X)
#undef X
    default:
        return "unknown";
    }
}

/* False for a text that names no role, and for "none". */
static inline bool cluster_role_from_name(struct slice text, enum cluster_role *ret_role)
{
#define X(name, number, role_text)                                             \
    if (number != ROLE_NONE && slice_equal_str(text, role_text)) {             \
        *ret_role = ROLE_##name;                                               \
        return true;                                                           \
    }
    CLUSTER_ROLES(X)
#undef X
    return false;
}

#endif
