/*
 * node_watch - the calls of one disk that are under way, so that one which hangs is noticed (inside storage-node only).
 *
 * Each call is timed by itself: an operation of many calls may take as long as it likes. File calls are timed by the
 * env that watch_init() puts in front of the node's; calls of the index by watch_begin() and watch_end() around them.
 * Thread: any.
 */
#ifndef STORAGE_NODE_NODE_WATCH_H
#define STORAGE_NODE_NODE_WATCH_H

#include "common/base/env.h"

#include <stdatomic.h>

#define WATCH_CALLS 32 /* at once; what is above that is not timed */

struct watch {
    struct env env;                               /* of the disk */
    struct env *inner;                            /* the node's */
    atomic_uint_fast64_t started_ns[WATCH_CALLS]; /* 0: free */
};

void watch_init(struct watch *watch, struct env *inner);
unsigned watch_begin(struct watch *watch);
void watch_end(struct watch *watch, unsigned call); /* what watch_begin() gave */
/* True if a call has been under way for longer than limit_ns. */
bool watch_hangs(struct watch *watch, uint64_t limit_ns);

#endif
