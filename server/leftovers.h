/*
 * leftovers - what a DIR without a superblock holds: only what an unfinished format left there may be removed.
 *
 * Names alone prove nothing: `credentials` must read as ours, `metadata` must be a real folder beside such credentials (they
 * are written before it) with nothing in it but what the metadata service makes, `*.new` must begin like our files. No
 * symbolic link is ever followed: one is somebody else's. Blocks; any thread.
 */
#ifndef SERVER_LEFTOVERS_H
#define SERVER_LEFTOVERS_H

#include "common/base/env.h"

struct leftovers {
    bool some;           /* of ours, beside the lock and lost+found */
    bool stored;         /* it has segments: a disk that lost its superblock */
    char foreign[64];    /* the first name that is not ours, "" if there is none */
};

MUST_CHECK enum errc leftovers_look(struct env *env, const char *dir, struct leftovers *ret, struct error *e);
/* Looks again and removes what is ours, the lock and lost+found excepted. INVALID, and nothing was removed: something else
 * is there. */
MUST_CHECK enum errc leftovers_remove(struct env *env, const char *dir, struct error *e);

#endif
