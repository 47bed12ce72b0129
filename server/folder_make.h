/* folder_make - a folder whose name is durable. Blocks; any thread. */
#ifndef SERVER_FOLDER_MAKE_H
#define SERVER_FOLDER_MAKE_H

#include "common/base/env.h"

/* EXISTS: something of this name is there already. Where the name could not be made durable the folder is gone again, and the
 * error says why. */
MUST_CHECK enum errc folder_make(struct env *env, const char *path, struct error *e);

#endif
