/*
 * Files, locks, clocks and randomness of the machine; log lines.
 */
#include "common/base/env.h"
#include "common/base/mem.h"
#include "common/io/log.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

struct folder {
    char path[64];
    char file[80];
    char other[80];
};

static int make_folder(void **state)
{
    struct folder *f = mem_zalloc(sizeof(*f));
    (void)snprintf(f->path, sizeof(f->path), "/tmp/cairn-env-XXXXXX");
    assert_non_null(mkdtemp(f->path));
    (void)snprintf(f->file, sizeof(f->file), "%s/file", f->path);
    (void)snprintf(f->other, sizeof(f->other), "%s/other", f->path);
    *state = f;
    return 0;
}

static int remove_folder(void **state)
{
    struct folder *f = *state;
    (void)unlink(f->file);
    (void)unlink(f->other);
    assert_int_equal(rmdir(f->path), 0);
    mem_free(f);
    return 0;
}

static struct env_file *open_file(const char *path, unsigned flags)
{
    struct env *env = env_real();
    struct env_file *file;
    struct error e = ERROR_INIT;
    assert_int_equal(env->vt->open(env, path, flags, &file, &e), ERRC_OK);
    return file;
}

static void test_read_and_write(void **state)
{
    struct folder *f = *state;
    struct env *env = env_real();
    struct env_file *file = open_file(f->file, ENV_OPEN_CREATE | ENV_OPEN_EXCLUSIVE);
    struct iovec parts[150]; /* more than one system call takes */
    char bytes[150 * 3];
    for (unsigned i = 0; i < 150; i++) {
        memset(bytes + 3 * i, 'a' + (int)(i % 26), 3);
        parts[i] = (struct iovec){ bytes + 3 * i, i == 7 ? 0 : 3 };
    }
    assert_int_equal(env->vt->pwritev(env, file, parts, 150, 1000, NULL), ERRC_OK);
    assert_int_equal(env->vt->fdatasync(env, file, NULL), ERRC_OK);
    struct env_stat stat;
    assert_int_equal(env->vt->stat_file(env, file, &stat, NULL), ERRC_OK);
    assert_int_equal(stat.size, 1000 + 149 * 3);
    assert_int_equal(stat.mode, 0600);
    char back[600];
    size_t len = 0;
    assert_int_equal(env->vt->pread(env, file, back, sizeof(back), 1000, &len, NULL), ERRC_OK);
    assert_int_equal(len, 149 * 3); /* short at the end */
    assert_memory_equal(back, bytes, 21);
    assert_memory_equal(back + 21, bytes + 24, 142 * 3);
    enum errc rc = env->vt->pread_nowait(env, file, back, 100, 1000, &len);
    assert_true(rc == ERRC_WOULD_BLOCK || (rc == ERRC_OK && len == 100 && memcmp(back, bytes, 21) == 0));
    env->vt->close(env, file);
}

static void test_space(void **state)
{
    struct folder *f = *state;
    struct env *env = env_real();
    struct env_file *file = open_file(f->file, ENV_OPEN_CREATE);
    struct env_stat stat;
    enum errc rc = env->vt->fallocate(env, file, 0, 1 << 20, NULL);
    if (rc == ERRC_OK) {
        assert_int_equal(env->vt->stat_file(env, file, &stat, NULL), ERRC_OK);
        assert_int_equal(stat.size, 0);
        assert_true(stat.allocated_bytes >= 1 << 20);
        assert_int_equal(env->vt->truncate(env, file, 1 << 20, NULL), ERRC_OK);
        assert_int_equal(env->vt->punch_hole(env, file, 0, 1 << 20, NULL), ERRC_OK);
        assert_int_equal(env->vt->stat_file(env, file, &stat, NULL), ERRC_OK);
        assert_int_equal(stat.size, 1 << 20);
        assert_true(stat.allocated_bytes < 1 << 16);
    } else {
        assert_int_equal(rc, ERRC_UNSUPPORTED);
    }
    struct env_space space;
    assert_int_equal(env->vt->space(env, f->path, &space, NULL), ERRC_OK);
    assert_true(space.total_bytes >= space.free_bytes && space.free_bytes > 0);
    env->vt->close(env, file);
}

static void test_full_device(void **state)
{
    struct env *env = env_real();
    struct iovec part = { (void *)(uintptr_t) "x", 1 };
    struct error e = ERROR_INIT;
    (void)state;
    struct env_file *file = open_file("/dev/full", 0);
    assert_int_equal(env->vt->pwritev(env, file, &part, 1, 0, &e), ERRC_NO_SPACE);
    assert_non_null(strstr(e.text, "No space left"));
    env->vt->close(env, file);
}

static unsigned names_seen;

static void on_name(void *data, const char *name)
{
    assert_ptr_equal(data, &names_seen);
    assert_true(strcmp(name, "other") == 0);
    names_seen++;
}

static void test_names(void **state)
{
    struct folder *f = *state;
    struct env *env = env_real();
    struct env_file *file;
    struct env_stat stat;
    struct error e = ERROR_INIT;
    assert_int_equal(env->vt->open(env, f->file, ENV_OPEN_READ, &file, &e), ERRC_NOT_FOUND);
    assert_non_null(strstr(e.text, f->file));
    env->vt->close(env, open_file(f->file, ENV_OPEN_CREATE));
    assert_int_equal(env->vt->open(env, f->file, ENV_OPEN_CREATE | ENV_OPEN_EXCLUSIVE, &file, NULL), ERRC_EXISTS);
    assert_int_equal(env->vt->link(env, f->file, f->other, NULL), ERRC_OK);
    assert_int_equal(env->vt->link(env, f->file, f->other, NULL), ERRC_EXISTS);
    assert_int_equal(env->vt->unlink(env, f->file, NULL), ERRC_OK);
    assert_int_equal(env->vt->rename(env, f->other, f->file, NULL), ERRC_OK);
    assert_int_equal(env->vt->rename(env, f->file, f->other, NULL), ERRC_OK);
    assert_int_equal(env->vt->fsync_dir(env, f->path, NULL), ERRC_OK);
    names_seen = 0;
    assert_int_equal(env->vt->list(env, f->path, on_name, &names_seen, NULL), ERRC_OK);
    assert_int_equal(names_seen, 1);
    assert_int_equal(env->vt->mkdir(env, f->path, NULL), ERRC_EXISTS);
    assert_int_equal(env->vt->mkdir(env, f->file, NULL), ERRC_OK);
    assert_int_equal(env->vt->stat_path(env, f->file, &stat, NULL), ERRC_OK);
    assert_true(stat.is_dir && stat.mode == 0700);
    assert_int_equal(env->vt->rmdir(env, f->file, NULL), ERRC_OK);
    assert_int_equal(env->vt->rmdir(env, f->file, NULL), ERRC_NOT_FOUND);
}

static void test_lock(void **state)
{
    struct folder *f = *state;
    struct env *env = env_real();
    struct env_file *one = open_file(f->file, ENV_OPEN_CREATE);
    struct env_file *two = open_file(f->file, 0);
    assert_int_equal(env->vt->lock(env, one, NULL), ERRC_OK);
    assert_int_equal(env->vt->lock(env, two, NULL), ERRC_CONFLICT);
    env->vt->close(env, one);
    assert_int_equal(env->vt->lock(env, two, NULL), ERRC_OK);
    env->vt->close(env, two);
}

static void test_clock_and_random(void **state)
{
    struct env *env = env_real();
    uint8_t one[64];
    uint8_t two[64];
    (void)state;
    uint64_t before = env_now_ns(env);
    assert_true(env_now_ns(env) >= before);
    assert_true(env_wall_ms(env) > 1600000000000u);
    env_random(env, one, sizeof(one));
    env_random(env, two, sizeof(two));
    assert_memory_not_equal(one, two, sizeof(one));
}

static size_t read_log(int fd, char *target, size_t capacity)
{
    ssize_t n = pread(fd, target, capacity - 1, 0);
    assert_true(n >= 0);
    target[n] = '\0';
    assert_int_equal(ftruncate(fd, 0), 0);
    return (size_t)n;
}

static void test_log(void **state)
{
    static char text[1 << 16];
    struct folder *f = *state;
    int fd = open(f->file, O_CREAT | O_RDWR | O_APPEND, 0600);
    assert_true(fd >= 0);
    log_set_fd(fd);
    LOG_INFO(log_event("test"), log_text("plain", "a/b"), log_text("odd", "a b\n\"\\\x01=\xff"), log_u64("n", 5),
             log_i64("i", -5), log_ms_of_ns("took_ms", 1234567), log_text("none", ""));
    LOG_DEBUG(log_event("not_shown"));
    (void)read_log(fd, text, sizeof(text));
    assert_non_null(strstr(text, "Z level=info event=test plain=a/b odd=\"a b\\x0a\\\"\\\\\\x01=\\xff\" n=5 i=-5 "
                                 "took_ms=1.234 none=\"\"\n"));
    assert_null(strstr(text, "not_shown"));
    for (unsigned i = 0; i < 200; i++) {
        LOG_WARN(log_event("flood"));
    }
    (void)read_log(fd, text, sizeof(text));
    size_t lines = 0;
    for (const char *at = text; (at = strstr(at, "flood")) != NULL; at++) {
        lines++;
    }
    assert_in_range(lines, LOG_SITE_LINES_MAX, 2 * LOG_SITE_LINES_MAX); /* a second may end in between */
    char *big = mem_alloc(10000);
    memset(big, '\n', 10000);
    LOG_ACCESS(log_event("big"), log_slice("value", slice_of(big, 10000)));
    mem_free(big);
    size_t len = read_log(fd, text, sizeof(text));
    assert_true(len <= LOG_LINE_BYTES_MAX && text[len - 1] == '\n');
    assert_ptr_equal(strchr(text, '\n'), text + len - 1);
    log_set_fd(2);
    (void)close(fd);
}

#define FOLDER_TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(test_read_and_write), FOLDER_TEST(test_space),          cmocka_unit_test(test_full_device),
        FOLDER_TEST(test_names),          FOLDER_TEST(test_lock),           cmocka_unit_test(test_clock_and_random),
        FOLDER_TEST(test_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
