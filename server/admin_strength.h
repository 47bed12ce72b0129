/*
 * admin_strength - how many stripes stand at which strength, counted exactly.
 *
 * The metadata service counts what its records say is missing. A disk that is away at this moment is in no record (it
 * may come back whole), so while one is away, or anything is degraded, every extent is looked at.
 * Cost: one query when all is well, else a walk over the extent index (about a million extents a second).
 */
#ifndef SERVER_ADMIN_STRENGTH_H
#define SERVER_ADMIN_STRENGTH_H

#include "common/base/error.h"
#include "common/rpc/metadata_messages.h"

struct server;

struct strength {
    uint64_t extents, extents_full;
    uint64_t stripes, stripes_full;
    uint64_t stripes_smaller;                  /* wholly there, in a smaller code than their class */
    uint64_t stripes_missing[CODE_M_MAX];      /* [0]: one shard missing or away, ... readable all the same */
    uint64_t stripes_unreadable;               /* more are away than parity covers */
};

MUST_CHECK enum errc strength_count(struct server *server, struct strength *ret_strength, struct error *e);

#endif
