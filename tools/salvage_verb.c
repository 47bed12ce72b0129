#include "tools/salvage_verb.h"

#include "tools/admin_format.h"
#include "tools/admin_run.h"

#include <string.h>
#include <time.h>

static void format_salvage(const json_t *json)
{
    (void)printf("Found       %lld extents in %lld shards that no object refers to\n", format_number(json, "extents"),
                 format_number(json, "shards"));
    (void)printf("Back        %lld objects, %lld bytes\n", format_number(json, "objects_back"), format_number(json, "bytes_back"));
    (void)printf("Not back    %lld objects (something newer is there, or no such bucket), %lld extents of objects that are not whole,\n"
                 "            %lld of multipart uploads\n",
                 format_number(json, "objects_refused"), format_number(json, "lone_extents"), format_number(json, "part_extents"));
    if (format_number(json, "disks_away") > 0) {
        (void)printf("Not seen    %lld disks\n", format_number(json, "disks_away"));
    }
    if (json_is_true(json_object_get(json, "discard"))) {
        (void)printf("Discarded   the rest of %lld sessions\n", format_number(json, "sessions_discarded"));
    }
}

static bool is_running(const json_t *json)
{
    const char *state = json_string_value(json_object_get(json, "state"));
    return state != NULL && strcmp(state, "running") == 0;
}

static enum errc run_await(const struct admin_options *options, json_t **json, struct error *e)
{
    const struct timespec pause = { .tv_nsec = 300000000 };
    long long run = format_number(*json, "run");
    enum errc rc = ERRC_OK;
    while (rc == ERRC_OK && is_running(*json)) {
        (void)nanosleep(&pause, NULL);
        json_decref(*json);
        *json = NULL;
        rc = admin_request(options, "GET", "/admin/v1/metadata/salvage", NULL, json, e);
        if (rc == ERRC_OK && format_number(*json, "run") != run) {
            rc = error_set(e, ERRC_IO, "the voter that ran it was started anew, or another one leads: run it again");
        }
    }
    const char *failed = json_string_value(json_object_get(*json, "error"));
    return rc == ERRC_OK && failed != NULL ? error_set(e, ERRC_IO, "%s", failed) : rc;
}

int salvage_run(const struct admin_options *options)
{
    struct error e = ERROR_INIT;
    json_t *json = NULL;
    int status = admin_keys_check(options);
    if (status != 0) {
        return status;
    }
    char body[64];
    (void)snprintf(body, sizeof(body), "{\"partial\":%s,\"discard\":%s}", options->partial ? "true" : "false",
                   options->discard ? "true" : "false");
    enum errc rc = admin_request(options, "POST", "/admin/v1/metadata/salvage", body, &json, &e);
    rc = rc == ERRC_OK ? run_await(options, &json, &e) : rc;
    if (rc != ERRC_OK) {
        json_decref(json);
        return admin_fail(&e);
    }
    return admin_answer_print(options, json, format_salvage);
}
