/*
 * env_real - the env of the machine: system calls, clocks, threads.
 */
#include "common/base/assert.h"
#include "common/base/env.h"
#include "common/base/mem.h"
#include "common/io/executor_threads.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct env_file {
    int fd;
};

static uint64_t real_now_ns(struct env *env)
{
    (void)env;
    struct timespec now;
    (void)clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t real_wall_ms(struct env *env)
{
    (void)env;
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

static void real_random(struct env *env, void *target, size_t len)
{
    (void)env;
    uint8_t *at = target;
    while (len > 0) {
        ssize_t n = getrandom(at, len, 0);
        ASSERT(n > 0 || errno == EINTR); /* no other failure exists for a valid target */
        if (n > 0) {
            at += n;
            len -= (size_t)n;
        }
    }
}

static enum errc real_open(struct env *env, const char *path, unsigned flags, struct env_file **ret_file,
                           struct error *e)
{
    (void)env;
    int mode = (flags & ENV_OPEN_READ) != 0 ? O_RDONLY : O_RDWR;
    mode |= (flags & ENV_OPEN_CREATE) != 0 ? O_CREAT : 0;
    mode |= (flags & ENV_OPEN_EXCLUSIVE) != 0 ? O_EXCL : 0;
    mode |= (flags & ENV_OPEN_DIRECT) != 0 ? O_DIRECT : 0;
    mode |= (flags & ENV_OPEN_TRUNCATE) != 0 ? O_TRUNC : 0;
    int fd;
    do {
        fd = open(path, mode | O_CLOEXEC | O_NOCTTY, 0600);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0) {
        return error_set_sys(e, errno, "cannot open '%s'", path);
    }
    struct env_file *file = mem_alloc(sizeof(*file));
    file->fd = fd;
    *ret_file = file;
    return ERRC_OK;
}

static void real_close(struct env *env, struct env_file *file)
{
    (void)env;
    (void)close(file->fd); /* what must be durable was synced before */
    mem_free(file);
}

static enum errc real_pread(struct env *env, struct env_file *file, void *target, size_t len, uint64_t offset,
                            size_t *ret_len, struct error *e)
{
    (void)env;
    size_t got = 0;
    while (got < len) {
        ssize_t n = pread(file->fd, (uint8_t *)target + got, len - got, (off_t)(offset + got));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return error_set_sys(e, errno, "cannot read %zu bytes at %llu", len, (unsigned long long)offset);
        }
        if (n == 0) {
            break;
        }
        got += (size_t)n;
    }
    *ret_len = got;
    return ERRC_OK;
}

static enum errc real_pread_nowait(struct env *env, struct env_file *file, void *target, size_t len,
                                   uint64_t offset, size_t *ret_len)
{
    (void)env;
    size_t got = 0;
    while (got < len) {
        struct iovec part = { (uint8_t *)target + got, len - got };
        ssize_t n = preadv2(file->fd, &part, 1, (off_t)(offset + got), RWF_NOWAIT);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) { /* a real I/O error shows again, with its story, in the blocking read */
            return errno == EAGAIN || errno == EOPNOTSUPP || errno == ENOSYS ? ERRC_WOULD_BLOCK : ERRC_IO;
        }
        if (n == 0) {
            break;
        }
        got += (size_t)n;
    }
    *ret_len = got;
    return ERRC_OK;
}

/* Drops the first n bytes of the list; returns how many parts are used up. */
static unsigned parts_skip(struct iovec *parts, unsigned count, size_t n)
{
    unsigned index = 0;
    while (index < count && n >= parts[index].iov_len) {
        n -= parts[index].iov_len;
        index++;
    }
    if (index < count) {
        parts[index].iov_base = (uint8_t *)parts[index].iov_base + n;
        parts[index].iov_len -= n;
    }
    return index;
}

static enum errc real_pwritev_batch(struct env_file *file, struct iovec *parts, unsigned count, uint64_t *offset,
                                    struct error *e)
{
    unsigned index = parts_skip(parts, count, 0); /* empty parts in front */
    while (index < count) {
        ssize_t n = pwritev(file->fd, parts + index, (int)(count - index), (off_t)*offset);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return error_set_sys(e, errno, "cannot write at %llu", (unsigned long long)*offset);
        }
        if (n == 0) {
            return error_set(e, ERRC_IO, "a write at %llu wrote nothing", (unsigned long long)*offset);
        }
        *offset += (uint64_t)n;
        index += parts_skip(parts + index, count - index, (size_t)n);
    }
    return ERRC_OK;
}

#define PWRITEV_PARTS_MAX 64 /* of one system call; copied, since short writes move the first part */

static enum errc real_pwritev(struct env *env, struct env_file *file, const struct iovec *parts, unsigned count,
                              uint64_t offset, struct error *e)
{
    (void)env;
    struct iovec batch[PWRITEV_PARTS_MAX];
    while (count > 0) {
        unsigned n = count < PWRITEV_PARTS_MAX ? count : PWRITEV_PARTS_MAX;
        memcpy(batch, parts, n * sizeof(batch[0]));
        enum errc rc = real_pwritev_batch(file, batch, n, &offset, e);
        if (rc != ERRC_OK) {
            return rc;
        }
        parts += n;
        count -= n;
    }
    return ERRC_OK;
}

static enum errc real_fdatasync(struct env *env, struct env_file *file, struct error *e)
{
    (void)env;
    /* Not repeated after a failure: the kernel may have dropped the pages. EINTR can't happen on files. */
    return fdatasync(file->fd) == 0 ? ERRC_OK : error_set_sys(e, errno, "cannot sync a file");
}

static enum errc real_fsync_dir(struct env *env, const char *path, struct error *e)
{
    (void)env;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return error_set_sys(e, errno, "cannot open folder '%s'", path);
    }
    int failed = fsync(fd) == 0 ? 0 : errno;
    (void)close(fd);
    return failed == 0 ? ERRC_OK : error_set_sys(e, failed, "cannot sync folder '%s'", path);
}

static enum errc fallocate_mode(struct env_file *file, int mode, uint64_t offset, uint64_t len, const char *what,
                                struct error *e)
{
    int failed;
    do {
        failed = fallocate(file->fd, mode, (off_t)offset, (off_t)len) == 0 ? 0 : errno;
    } while (failed == EINTR);
    if (failed == EOPNOTSUPP || failed == ENOSYS) {
        return error_set(e, ERRC_UNSUPPORTED, "the file system cannot %s", what);
    }
    return failed == 0 ? ERRC_OK : error_set_sys(e, failed, "cannot %s", what);
}

static enum errc real_fallocate(struct env *env, struct env_file *file, uint64_t offset, uint64_t len,
                                struct error *e)
{
    (void)env;
    return fallocate_mode(file, FALLOC_FL_KEEP_SIZE, offset, len, "reserve space", e);
}

static enum errc real_punch_hole(struct env *env, struct env_file *file, uint64_t offset, uint64_t len,
                                 struct error *e)
{
    (void)env;
    return fallocate_mode(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, len, "give space back", e);
}

static enum errc real_truncate(struct env *env, struct env_file *file, uint64_t size, struct error *e)
{
    (void)env;
    int failed;
    do {
        failed = ftruncate(file->fd, (off_t)size) == 0 ? 0 : errno;
    } while (failed == EINTR);
    return failed == 0 ? ERRC_OK : error_set_sys(e, failed, "cannot set the size of a file");
}

static struct env_stat stat_of(const struct stat *st)
{
    return (struct env_stat){
        .device = st->st_dev,
        .inode = st->st_ino,
        .size = (uint64_t)st->st_size,
        .allocated_bytes = (uint64_t)st->st_blocks * 512u,
        .is_dir = S_ISDIR(st->st_mode),
        .mode = st->st_mode & 07777u,
    };
}

static enum errc real_stat_file(struct env *env, struct env_file *file, struct env_stat *ret, struct error *e)
{
    (void)env;
    struct stat st;
    if (fstat(file->fd, &st) != 0) {
        return error_set_sys(e, errno, "cannot stat a file");
    }
    *ret = stat_of(&st);
    return ERRC_OK;
}

static enum errc real_stat_path(struct env *env, const char *path, struct env_stat *ret, struct error *e)
{
    (void)env;
    struct stat st;
    if (stat(path, &st) != 0) {
        return error_set_sys(e, errno, "cannot stat '%s'", path);
    }
    *ret = stat_of(&st);
    return ERRC_OK;
}

static enum errc real_space(struct env *env, const char *path, struct env_space *ret, struct error *e)
{
    (void)env;
    struct statvfs st;
    if (statvfs(path, &st) != 0) {
        return error_set_sys(e, errno, "cannot read the free space of '%s'", path);
    }
    *ret = (struct env_space){ (uint64_t)st.f_blocks * st.f_frsize, (uint64_t)st.f_bavail * st.f_frsize };
    return ERRC_OK;
}

static enum errc real_rename(struct env *env, const char *source, const char *target, struct error *e)
{
    (void)env;
    return rename(source, target) == 0 ? ERRC_OK
                                       : error_set_sys(e, errno, "cannot rename '%s' to '%s'", source, target);
}

static enum errc real_link(struct env *env, const char *source, const char *target, struct error *e)
{
    (void)env;
    return link(source, target) == 0 ? ERRC_OK : error_set_sys(e, errno, "cannot link '%s' to '%s'", source, target);
}

static enum errc real_unlink(struct env *env, const char *path, struct error *e)
{
    (void)env;
    return unlink(path) == 0 ? ERRC_OK : error_set_sys(e, errno, "cannot remove '%s'", path);
}

static enum errc real_mkdir(struct env *env, const char *path, struct error *e)
{
    (void)env;
    return mkdir(path, 0700) == 0 ? ERRC_OK : error_set_sys(e, errno, "cannot make folder '%s'", path);
}

static enum errc real_rmdir(struct env *env, const char *path, struct error *e)
{
    (void)env;
    return rmdir(path) == 0 ? ERRC_OK : error_set_sys(e, errno, "cannot remove folder '%s'", path);
}

static enum errc real_list(struct env *env, const char *path, void (*visit)(void *data, const char *name),
                           void *data, struct error *e)
{
    (void)env;
    DIR *dir = opendir(path); /* glibc opens it with O_CLOEXEC */
    if (dir == NULL) {
        return error_set_sys(e, errno, "cannot list '%s'", path);
    }
    const struct dirent *entry;
    errno = 0;
    while ((entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            visit(data, entry->d_name);
        }
        errno = 0;
    }
    int failed = errno;
    (void)closedir(dir);
    return failed == 0 ? ERRC_OK : error_set_sys(e, failed, "cannot list '%s'", path);
}

static enum errc real_lock(struct env *env, struct env_file *file, struct error *e)
{
    (void)env;
    int failed;
    do {
        failed = flock(file->fd, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
    } while (failed == EINTR);
    if (failed == EWOULDBLOCK) {
        return error_set(e, ERRC_CONFLICT, "another process holds the lock");
    }
    return failed == 0 ? ERRC_OK : error_set_sys(e, failed, "cannot lock a file");
}

struct env *env_real(void)
{
    static const struct env_vt vt = {
        .now_ns = real_now_ns,
        .wall_ms = real_wall_ms,
        .random = real_random,
        .executor_create = executor_threads_create,
        .open = real_open,
        .close = real_close,
        .pread = real_pread,
        .pread_nowait = real_pread_nowait,
        .pwritev = real_pwritev,
        .fdatasync = real_fdatasync,
        .fsync_dir = real_fsync_dir,
        .fallocate = real_fallocate,
        .punch_hole = real_punch_hole,
        .truncate = real_truncate,
        .stat_file = real_stat_file,
        .stat_path = real_stat_path,
        .space = real_space,
        .rename = real_rename,
        .link = real_link,
        .unlink = real_unlink,
        .mkdir = real_mkdir,
        .rmdir = real_rmdir,
        .list = real_list,
        .lock = real_lock,
    };
    static struct env env = { &vt };
    return &env;
}
