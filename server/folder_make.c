#include "server/folder_make.h"

#include "common/base/mem.h"

#include <string.h>

/* The folder above: "a/b/" is in "a", "b" in ".", "/b" in "/". */
static char *parent_of(const char *path)
{
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/') {
        len--;
    }
    while (len > 0 && path[len - 1] != '/') {
        len--;
    }
    while (len > 1 && path[len - 1] == '/') {
        len--;
    }
    return len > 0 ? mem_strndup(path, len) : mem_strdup(".");
}

enum errc folder_make(struct env *env, const char *path, struct error *e)
{
    enum errc rc = env->vt->mkdir(env, path, e);
    if (rc != ERRC_OK) {
        return rc;
    }
    char *parent = parent_of(path);
    rc = env->vt->fsync_dir(env, parent, e);
    mem_free(parent);
    if (rc != ERRC_OK) {
        (void)env->vt->rmdir(env, path, NULL);
    }
    return rc;
}
