/* `cairn scrub` */
#include "tools/admin.h"
#include "tools/admin_format.h"
#include "tools/admin_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void format_scrub(const json_t *json)
{
    size_t index;
    json_t *disk;
    (void)printf("%-32s  %-12s  %-19s  %10s  %7s  %s\n", "DISK", "LAST PASS", "THIS PASS, SHARDS", "BYTES", "DAMAGED", "PATH");
    json_array_foreach(json_object_get(json, "disks"), index, disk) {
        char age[FORMAT_AMOUNT_BYTES];
        char bytes[FORMAT_AMOUNT_BYTES];
        char shards[2 * FORMAT_AMOUNT_BYTES];
        const json_t *ended = json_object_get(disk, "age_seconds");
        const char *node = json_string_value(json_object_get(disk, "node"));
        (void)snprintf(shards, sizeof(shards), "%lld of %lld", format_number(disk, "shards_checked"), format_number(disk, "shards"));
        (void)printf("%-32s  %-12s  %-19s  %10s  %7lld  %s%s%s\n", json_string_value(json_object_get(disk, "id")),
                     json_is_integer(ended) ? format_duration((long long)json_integer_value(ended), age) : "never", shards,
                     format_bytes(format_number(disk, "bytes_checked"), bytes), format_number(disk, "damaged_shards"),
                     node != NULL ? node : "", node != NULL ? ":" : "", json_string_value(json_object_get(disk, "path")));
    }
}

static void format_started(const json_t *json)
{
    (void)printf("%zu disks are read from the beginning: 'cairn scrub status' shows how far it is.\n",
                 json_array_size(json_object_get(json, "disks")));
}

static int start(const struct admin_options *options)
{
    json_t *body = options->argument_count == 2 ? json_pack("{s:s}", "disk", options->arguments[1]) : json_object();
    char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(body);
    int status = text != NULL ? admin_request_print(options, "POST", "/admin/v1/scrub", text, format_started)
                              : admin_usage_fail("the disk's id is not valid UTF-8");
    free(text);
    return status;
}

int admin_scrub_run(int argc, char **argv)
{
    struct admin_options options;
    struct error e = ERROR_INIT;
    if (admin_options_parse(argc, argv, &options, &e) != ERRC_OK) {
        return admin_fail(&e);
    }
    if (options.help) {
        (void)printf("Usage: cairn scrub status [OPTION]...\n"
                     "   or: cairn scrub start [DISK-ID] [OPTION]...\n"
                     "Every disk is read all the time, shard by shard, at 8 MiB/s, and what is damaged is rebuilt.\n"
                     "status  when the last whole pass ended, how far this one is, how many shards were found damaged since\n"
                     "        the disk's process began\n"
                     "start   begin the pass anew: of all disks, or of that one\n%s", admin_common_help);
        return 0;
    }
    const char *verb = options.argument_count > 0 ? options.arguments[0] : "";
    if (strcmp(verb, "status") == 0 && options.argument_count == 1) {
        return admin_request_print(&options, "GET", "/admin/v1/scrub", NULL, format_scrub);
    }
    if (strcmp(verb, "start") == 0 && options.argument_count <= 2) {
        return start(&options);
    }
    return admin_usage_fail("usage: cairn scrub status | start [DISK-ID]");
}
