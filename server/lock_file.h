/* lock_file - the file `lock` of a folder that one process at a time may use. Blocks; any thread. */
#ifndef SERVER_LOCK_FILE_H
#define SERVER_LOCK_FILE_H

#include "common/base/env.h"

/* Makes FOLDER/lock where it is not there and takes it; it is held until the file is closed. `user` is what else may hold it,
 * for the message. Whoever removes a lock file holds it meanwhile, so one that is no longer there when it was taken is
 * left for the one that is. CONFLICT: another process has it. Else why it cannot be opened or locked. */
MUST_CHECK enum errc lock_file_take(struct env *env, const char *folder, const char *user, struct env_file **ret_lock,
                                    struct error *e);
/* Is `lock` the file that FOLDER/lock names? */
bool lock_file_is(struct env *env, const char *folder, struct env_file *lock);

#endif
