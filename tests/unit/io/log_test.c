/*
 * Goal: a log that nobody reads stops nobody. A full pipe takes no line and makes no writer wait; what was dropped is told in the
 * next line.
 */
#include "common/io/log.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct {
    int reader, writer;
} end;

static int setup(void **state)
{
    (void)state;
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0) {
        return -1;
    }
    end.reader = fds[0];
    end.writer = fds[1];
    log_set_fd(end.writer);
    (void)alarm(20); /* a write that waits ends the test */
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    (void)alarm(0);
    log_set_fd(STDERR_FILENO);
    (void)close(end.reader);
    (void)close(end.writer);
    return 0;
}

static size_t take(char *text, size_t capacity)
{
    ssize_t n = read(end.reader, text, capacity - 1);
    assert_true(n > 0);
    text[n] = '\0';
    return (size_t)n;
}

/* Until the pipe is empty. */
static void drain(void)
{
    char text[8192];
    int flags = fcntl(end.reader, F_GETFL);
    assert_int_equal(fcntl(end.reader, F_SETFL, flags | O_NONBLOCK), 0);
    while (read(end.reader, text, sizeof(text)) > 0) {
    }
    assert_int_equal(fcntl(end.reader, F_SETFL, flags), 0);
}

static void a_full_pipe_stops_nobody(void **state)
{
    (void)state;
    char text[8192];
    for (unsigned i = 0; i < 5000; i++) { /* 64 KiB hold about a thousand */
        LOG_ACCESS(log_event("many"), log_u64("number", i));
    }
    drain();
    LOG_ACCESS(log_event("after"));
    assert_true(take(text, sizeof(text)) > 0);
    const char *dropped = strstr(text, "event=after dropped=");
    assert_non_null(dropped);
    assert_true(dropped[20] >= '1' && dropped[20] <= '9' && strlen(dropped) >= 20 + 5); /* thousands and the line end */
    LOG_ACCESS(log_event("later"));
    assert_true(take(text, sizeof(text)) > 0);
    assert_null(strstr(text, "dropped="));
    assert_int_equal(fcntl(end.writer, F_GETFL) & O_NONBLOCK, 0); /* others may share it */
}

/* A line without room for the number leaves it for the next one. */
static void a_cut_line_keeps_the_count(void **state)
{
    (void)state;
    char text[8192];
    char longest[LOG_LINE_BYTES_MAX];
    memset(longest, 'x', sizeof(longest));
    longest[sizeof(longest) - 1] = '\0';
    for (unsigned i = 0; i < 5000; i++) {
        LOG_ACCESS(log_event("many"), log_u64("number", i));
    }
    drain();
    LOG_ACCESS(log_event("cut"), log_text("text", longest));
    assert_true(take(text, sizeof(text)) > 0);
    assert_non_null(strstr(text, "...\n"));
    assert_null(strstr(text, "dropped="));
    LOG_ACCESS(log_event("after"));
    assert_true(take(text, sizeof(text)) > 0);
    assert_non_null(strstr(text, "event=after dropped="));
}

static void a_reader_that_is_gone_stops_nobody(void **state)
{
    (void)state;
    (void)close(end.reader);
    end.reader = -1;
    LOG_ACCESS(log_event("unread"));
    log_set_fd(-1);
    LOG_ACCESS(log_event("nowhere"));
}

int main(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_full_pipe_stops_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(a_cut_line_keeps_the_count, setup, teardown),
        cmocka_unit_test_setup_teardown(a_reader_that_is_gone_stops_nobody, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
