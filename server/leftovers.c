/*
 * System calls of its own: only those that take the folder's descriptor can be told not to follow a link, also when one is put
 * in place of a folder while this runs.
 */
#include "server/leftovers.h"

#include "common/base/mem.h"
#include "server/credentials.h"
#include "storage-node/superblock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CREDENTIALS_HEAD "# Root credentials of this Cairn data set"
#define SUPERBLOCK_HEAD "CAIRNDSK"
#define DEPTH_MAX 8 /* of what is removed; the metadata service makes three levels */

/* Names of the folder `name` below `parent`; it must not be a link. NULL: errno. Gives. */
static DIR *folder_open(int parent, const char *name)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
    if (folder == NULL && fd >= 0) {
        (void)close(fd);
    }
    return folder;
}

/* NULL at the end, and when reading fails: then errno is not 0. */
static const struct dirent *folder_next(DIR *folder)
{
    const struct dirent *entry;
    do {
        errno = 0;
        entry = readdir(folder);
    } while (entry != NULL && (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0));
    return entry;
}

static bool is_kind(int folder, const char *name, mode_t kind)
{
    struct stat st;
    return fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && (st.st_mode & S_IFMT) == kind;
}

/* ---- whose is it? ---- */

/* A file that begins like `head`, or is a beginning of it: a write that was cut off. */
static bool begins_like(int folder, const char *name, const char *head)
{
    char bytes[sizeof(CREDENTIALS_HEAD)];
    int fd = is_kind(folder, name, S_IFREG) ? openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC) : -1;
    if (fd < 0) {
        return false;
    }
    ssize_t n = read(fd, bytes, strlen(head));
    (void)close(fd);
    return n >= 0 && memcmp(bytes, head, (size_t)n) == 0;
}

static bool credentials_are_ours(struct env *env, int folder, const char *dir)
{
    struct credentials found;
    bool ours = is_kind(folder, "credentials", S_IFREG) && credentials_read(env, dir, &found, NULL) == ERRC_OK;
    mem_wipe(&found, sizeof(found));
    return ours;
}

/* Files of metadata/mirror.h and checkpoint.h. */
static bool metadata_name_is_ours(int folder, const char *name)
{
    if (strcmp(name, "state") == 0 || strcmp(name, "state.new") == 0 || strncmp(name, "log-", 4) == 0) {
        return is_kind(folder, name, S_IFREG);
    }
    return (strcmp(name, "store") == 0 || strncmp(name, "checkpoint-", 11) == 0) && is_kind(folder, name, S_IFDIR);
}

static bool metadata_is_ours(int parent)
{
    DIR *folder = folder_open(parent, "metadata");
    const struct dirent *entry;
    bool ours = folder != NULL;
    while (ours && (entry = folder_next(folder)) != NULL) {
        ours = metadata_name_is_ours(dirfd(folder), entry->d_name);
    }
    ours = ours && errno == 0;
    if (folder != NULL) {
        (void)closedir(folder);
    }
    return ours;
}

static bool is_kept(const char *name)
{
    return strcmp(name, "lock") == 0 || strcmp(name, "lost+found") == 0;
}

static bool is_ours(struct env *env, int folder, const char *dir, const char *name)
{
    if (strcmp(name, "lock") == 0) {
        return is_kind(folder, name, S_IFREG);
    }
    if (strcmp(name, "lost+found") == 0) {
        return is_kind(folder, name, S_IFDIR);
    }
    if (strcmp(name, "credentials") == 0) {
        return credentials_are_ours(env, folder, dir);
    }
    if (strcmp(name, "metadata") == 0) {
        return credentials_are_ours(env, folder, dir) && metadata_is_ours(folder);
    }
    return (strcmp(name, "credentials.new") == 0 && begins_like(folder, name, CREDENTIALS_HEAD)) ||
           (strcmp(name, SUPERBLOCK_NAME ".new") == 0 && begins_like(folder, name, SUPERBLOCK_HEAD));
}

static void foreign_note(struct leftovers *found, const char *name)
{
    size_t len = strlen(name);
    if (found->foreign[0] == '\0') {
        len = len < sizeof(found->foreign) ? len : sizeof(found->foreign) - 1;
        memcpy(found->foreign, name, len);
        found->foreign[len] = '\0';
    }
}

static enum errc look(struct env *env, DIR *folder, const char *dir, struct leftovers *ret, struct error *e)
{
    const struct dirent *entry;
    *ret = (struct leftovers){ .some = false };
    while ((entry = folder_next(folder)) != NULL) {
        if (is_ours(env, dirfd(folder), dir, entry->d_name)) {
            ret->some = ret->some || !is_kept(entry->d_name);
        } else {
            ret->stored = ret->stored || strcmp(entry->d_name, "segments") == 0;
            foreign_note(ret, entry->d_name);
        }
    }
    return errno == 0 ? ERRC_OK : error_set_sys(e, errno, "cannot list '%s'", dir);
}

/* `dir` itself is a path of the operator's, whose links are his. */
static enum errc dir_open(const char *dir, DIR **ret_folder, struct error *e)
{
    *ret_folder = opendir(dir); /* glibc opens it with O_CLOEXEC */
    return *ret_folder != NULL ? ERRC_OK : error_set_sys(e, errno, "cannot list '%s'", dir);
}

enum errc leftovers_look(struct env *env, const char *dir, struct leftovers *ret, struct error *e)
{
    DIR *folder;
    enum errc rc = dir_open(dir, &folder, e);
    if (rc == ERRC_OK) {
        rc = look(env, folder, dir, ret, e);
        (void)closedir(folder);
    }
    return rc;
}

/* ---- removal ---- */

static enum errc tree_remove(int parent, const char *name, unsigned depth, struct error *e)
{
    if (!is_kind(parent, name, S_IFDIR)) {
        return unlinkat(parent, name, 0) == 0 ? ERRC_OK : error_set_sys(e, errno, "cannot remove '%s'", name);
    }
    DIR *folder = depth > 0 ? folder_open(parent, name) : NULL;
    if (folder == NULL) {
        return depth > 0 ? error_set_sys(e, errno, "cannot open '%s'", name)
                         : error_set(e, ERRC_LIMIT, "'%s' is nested too deep to be Cairn's", name);
    }
    const struct dirent *entry;
    enum errc rc = ERRC_OK;
    while (rc == ERRC_OK && (entry = folder_next(folder)) != NULL) {
        rc = tree_remove(dirfd(folder), entry->d_name, depth - 1, e);
    }
    (void)closedir(folder);
    if (rc == ERRC_OK && unlinkat(parent, name, AT_REMOVEDIR) != 0) {
        rc = error_set_sys(e, errno, "cannot remove '%s'", name);
    }
    return rc;
}

/* Credentials go last: what else is there is known by them. */
static enum errc all_remove(DIR *folder, struct error *e)
{
    const struct dirent *entry;
    enum errc rc = ERRC_OK;
    rewinddir(folder);
    while (rc == ERRC_OK && (entry = folder_next(folder)) != NULL) {
        if (!is_kept(entry->d_name) && strcmp(entry->d_name, "credentials") != 0) {
            rc = tree_remove(dirfd(folder), entry->d_name, DEPTH_MAX, e);
        }
    }
    if (rc == ERRC_OK && unlinkat(dirfd(folder), "credentials", 0) != 0 && errno != ENOENT) {
        rc = error_set_sys(e, errno, "cannot remove 'credentials'");
    }
    return rc;
}

enum errc leftovers_remove(struct env *env, const char *dir, struct error *e)
{
    struct leftovers found;
    DIR *folder;
    struct error why = ERROR_INIT;
    enum errc rc = dir_open(dir, &folder, &why);
    if (rc == ERRC_OK) {
        rc = look(env, folder, dir, &found, &why);
        if (rc == ERRC_OK && found.foreign[0] != '\0') {
            rc = error_set(&why, ERRC_INVALID, "it is not empty (it has '%s')", found.foreign);
        }
        rc = rc == ERRC_OK ? all_remove(folder, &why) : rc;
        (void)closedir(folder);
    }
    return rc == ERRC_OK ? rc : error_set(e, rc, "'%s': %s", dir, why.text);
}
