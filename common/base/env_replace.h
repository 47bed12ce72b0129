/*
 * env_replace - a small file replaced whole: it is the old one or the new one after a crash, never a part.
 *
 * FOLDER/NAME.new is written and synced, renamed to FOLDER/NAME, the folder synced. A .new that a crash left is written over.
 * Thread: one at a time for a file; blocks.
 */
#ifndef COMMON_BASE_ENV_REPLACE_H
#define COMMON_BASE_ENV_REPLACE_H

#include "common/base/env.h"

/* Durable when it returns OK; mode 0600. */
MUST_CHECK enum errc env_file_replace(struct env *env, const char *folder, const char *name, struct slice bytes,
                                      struct error *e);

#endif
