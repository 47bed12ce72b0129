/* The ring of recent log lines: whole lines, the newest, in order. */
#include "common/io/log.h"
#include "common/io/log_recent.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static char text[LOG_RECENT_BYTES + 1];

static void lines_are_kept_in_order(void **state)
{
    (void)state;
    assert_int_equal(log_recent_copy(text), 0);
    log_set_fd(-1);
    LOG_INFO(log_event("first"));
    LOG_ACCESS(log_event("request"));
    LOG_WARN(log_event("second"));
    size_t len = log_recent_copy(text);
    assert_int_equal(len, strlen(text));
    const char *first = strstr(text, "event=first\n");
    const char *second = strstr(text, "event=second\n");
    assert_true(first != NULL && second != NULL && first < second);
    assert_null(strstr(text, "event=request")); /* access lines are not kept */
}

static void the_oldest_go_whole(void **state)
{
    (void)state;
    unsigned count = 20000;
    for (unsigned i = 0; i < count; i++) {
        char line[64];
        int len = snprintf(line, sizeof(line), "line %u%.*s", i, (int)(i % 20), "....................");
        log_recent_keep(line, (size_t)len);
    }
    size_t len = log_recent_copy(text);
    assert_true(len > LOG_RECENT_BYTES - 64 && len <= LOG_RECENT_BYTES);
    assert_memory_equal(text, "line ", 5);
    unsigned wanted = (unsigned)strtoul(text + 5, NULL, 10);
    for (const char *at = text; *at != '\0'; at = strchr(at, '\n') + 1, wanted++) {
        assert_memory_equal(at, "line ", 5);
        assert_int_equal(strtoul(at + 5, NULL, 10), wanted);
    }
    assert_int_equal(wanted, count);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_kept_in_order),
        cmocka_unit_test(the_oldest_go_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
