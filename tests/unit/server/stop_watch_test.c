/*
 * Goal: a stop that hangs ends at its limit, with status 1 and a line that names the step; one that comes to its end is left alone.
 * Method: the stop is a child process, its log a pipe. It hangs in a system call, as with a disk that does not answer.
 */
#include "common/io/log.h"
#include "server/stop_watch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define SHORT_MS 100
#define TEXT_BYTES 4096
#define FINE_STATUS 7

static void child(int log_fd, bool hangs)
{
    struct stop_watch watch;
    log_set_fd(log_fd);
    stop_watch_begin(&watch, SHORT_MS);
    stop_watch_step(&watch, "requests under way");
    stop_watch_step(&watch, "the disks");
    while (hangs) {
        (void)pause();
    }
    stop_watch_end(&watch);
    (void)usleep(3 * SHORT_MS * 1000); /* nobody is left who would end us */
    _exit(FINE_STATUS);
}

/* The exit status; the log is in text. */
static int run(bool hangs, char text[TEXT_BYTES])
{
    int ends[2];
    int status = 0;
    size_t len = 0;
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)alarm(30);
        child(ends[1], hangs);
    }
    (void)close(ends[1]);
    for (ssize_t n = 1; n > 0 && len + 1 < TEXT_BYTES; len += n > 0 ? (size_t)n : 0) {
        n = read(ends[0], text + len, TEXT_BYTES - 1 - len);
    }
    text[len] = '\0';
    (void)close(ends[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void a_stop_that_hangs_is_cut_short(void **state)
{
    (void)state;
    char text[TEXT_BYTES];
    assert_int_equal(run(true, text), 1);
    assert_non_null(strstr(text, "event=stop_cut_short"));
    assert_non_null(strstr(text, "waits_for=\"the disks\""));
}

static void a_stop_that_ends_is_left_alone(void **state)
{
    (void)state;
    char text[TEXT_BYTES];
    assert_int_equal(run(false, text), FINE_STATUS);
    assert_string_equal(text, "");
}

static void without_a_watch_steps_are_nothing(void **state)
{
    (void)state;
    stop_watch_step(NULL, "the disks");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stop_that_hangs_is_cut_short),
        cmocka_unit_test(a_stop_that_ends_is_left_alone),
        cmocka_unit_test(without_a_watch_steps_are_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
