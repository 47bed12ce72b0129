/* `cairn status`: once, or until all is whole. */
#include "tools/admin.h"
#include "tools/admin_format.h"
#include "tools/admin_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define POLL_S 1

/* 90s, 10m, 2h; 0: it is not one. */
static time_t seconds_of(const char *text)
{
    char *end = NULL;
    unsigned long number = strtoul(text, &end, 10);
    unsigned long unit = *end == 'h' ? 3600 : *end == 'm' ? 60 : *end == 's' ? 1 : 0;
    bool valid = end != text && unit > 0 && end[1] == '\0' && number <= 100000;
    return valid ? (time_t)(number * unit) : 0;
}

static unsigned disks_out(const json_t *json)
{
    unsigned out = 0;
    size_t index;
    json_t *disk;
    json_array_foreach(json_object_get(json, "disks"), index, disk) {
        const char *state = json_string_value(json_object_get(disk, "state"));
        out += state == NULL || (strcmp(state, "online") != 0 && strcmp(state, "full") != 0) ? 1 : 0;
    }
    return out;
}

/* What is waited for, in words; empty: nothing. */
static void lack_text(const json_t *json, char *text, size_t size)
{
    long long degraded = format_number(json, "degraded_stripes");
    unsigned out = disks_out(json);
    if (format_number(json, "placement_groups") == 0) {
        (void)snprintf(text, size, "there are too few disks to write to");
    } else if (degraded > 0 || out > 0) {
        (void)snprintf(text, size, "%lld stripes are degraded, %u disks are out of service", degraded, out);
    } else {
        text[0] = '\0';
    }
}

static int status_await(const struct admin_options *options, time_t seconds)
{
    const struct timespec poll = { .tv_sec = POLL_S };
    struct timespec now;
    bool terminal = isatty(STDERR_FILENO) == 1;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* there is that clock */
    time_t until = now.tv_sec + seconds;
    for (;;) {
        char lack[2 * ADMIN_TEXT_BYTES];
        struct error e = ERROR_INIT;
        json_t *json = NULL;
        enum errc rc = admin_request(options, "GET", "/admin/v1/status", NULL, &json, &e);
        if (rc == ERRC_DENIED || rc == ERRC_INVALID) {
            return admin_fail(&e);
        }
        if (rc == ERRC_OK) {
            lack_text(json, lack, sizeof(lack));
        } else { /* voters that start anew answer in a while */
            (void)snprintf(lack, sizeof(lack), "%s", e.text);
        }
        if (terminal) {
            (void)fprintf(stderr, "\r\033[K%s", lack);
        }
        if (lack[0] == '\0') {
            return admin_answer_print(options, json, format_status);
        }
        json_decref(json);
        (void)clock_gettime(CLOCK_MONOTONIC, &now);
        if (now.tv_sec >= until) {
            (void)fprintf(stderr, "%scairn: not whole in that time: %s\n", terminal ? "\r\033[K" : "", lack);
            return EXIT_FAILED;
        }
        (void)nanosleep(&poll, NULL); /* woken early: it is asked a little sooner */
    }
}

int admin_status_run(int argc, char **argv)
{
    struct admin_options options;
    struct error e = ERROR_INIT;
    if (admin_options_parse(argc, argv, &options, &e) != ERRC_OK) {
        return admin_fail(&e);
    }
    if (options.help) {
        (void)printf("Usage: cairn status [--wait TIME] [OPTION]...\nShow what a running server stores: objects, strength of the "
                     "stripes, repair, disks, metadata.\n"
                     "  --wait TIME        return when nothing is degraded and every disk is in service; fail after TIME, as 90s,\n"
                     "                     10m, 2h\n%s", admin_common_help);
        return 0;
    }
    if (options.argument_count != 0) {
        return admin_usage_fail("status takes no argument");
    }
    if (options.wait == NULL) {
        return admin_request_print(&options, "GET", "/admin/v1/status", NULL, format_status);
    }
    time_t seconds = seconds_of(options.wait);
    if (seconds == 0) {
        return admin_usage_fail("--wait wants a time, as 90s, 10m or 2h");
    }
    int status = admin_keys_check(&options);
    return status != 0 ? status : status_await(&options, seconds);
}
