/* `cairn repair` and `cairn rebalance` */
#include "tools/admin.h"
#include "tools/admin_format.h"
#include "tools/admin_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_set(const json_t *json, const char *name)
{
    return json_is_true(json_object_get(json, name));
}

static void eta_print(const json_t *json)
{
    char text[FORMAT_AMOUNT_BYTES];
    const json_t *eta = json_object_get(json, "eta_seconds");
    (void)printf("%s", format_duration(json_is_integer(eta) ? (long long)json_integer_value(eta) : -1, text));
}

/* {"action": ..., "dry_run": ...} */
static int action_post(const struct admin_options *options, const char *target, const char *action, void (*format)(const json_t *json))
{
    json_t *body = json_pack("{s:s,s:b}", "action", action, "dry_run", options->dry_run);
    char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(body);
    int status = text != NULL ? admin_request_print(options, "POST", target, text, format) : EXIT_FAILED;
    free(text);
    return status;
}

/* ---- repair ---- */

static void format_away(const json_t *disk)
{
    char away[FORMAT_AMOUNT_BYTES];
    char left[FORMAT_AMOUNT_BYTES];
    const json_t *due = json_object_get(disk, "given_up_in_seconds");
    const char *node = json_string_value(json_object_get(disk, "node"));
    (void)printf("  %s  %s:%s  away for %s, ", json_string_value(json_object_get(disk, "id")), node != NULL ? node : "-",
                 json_string_value(json_object_get(disk, "path")), format_duration(format_number(disk, "away_seconds"), away));
    if (is_set(disk, "given_up")) {
        (void)printf("given up: rebuilt elsewhere\n");
    } else if (is_set(disk, "maintenance")) {
        (void)printf("waited for: its node is in maintenance\n");
    } else {
        (void)printf("given up in %s\n", format_duration((long long)json_integer_value(due), left));
    }
}

static void format_repair(const json_t *json)
{
    char amount[FORMAT_AMOUNT_BYTES];
    size_t index;
    json_t *value;
    const char *name;
    const json_t *away = json_object_get(json, "disks_away");
    (void)printf("Repair        %s\n", is_set(json, "paused") ? "paused: 'cairn repair resume' lets it go on" : "at work");
    (void)printf("Waiting       %lld extents, ETA ", format_number(json, "queued_extents"));
    eta_print(json);
    (void)printf("\nRebuilt       %lld extents, %s; %lld attempts failed\n", format_number(json, "rebuilt_extents"),
                 format_bytes(format_number(json, "rebuilt_bytes"), amount), format_number(json, "failed_extents"));
    (void)printf("Stripes\n");
    json_object_foreach(json_object_get(json, "stripes_by_strength"), name, value) {
        (void)printf("  %-13s %lld\n", name, (long long)json_integer_value(value));
    }
    if (is_set(json, "held")) {
        (void)printf("Half of the storage nodes or more are silent: no disk is given up without 'cairn repair run'.\n");
    }
    if (json_array_size(away) > 0) {
        (void)printf("Disks away\n");
    }
    json_array_foreach(away, index, value) {
        format_away(value);
    }
}

static void format_repair_change(const json_t *json)
{
    char amount[FORMAT_AMOUNT_BYTES];
    if (strcmp(json_string_value(json_object_get(json, "action")), "run") != 0) {
        (void)printf("Repair is %s.\n", is_set(json, "paused") ? "paused" : "at work");
        return;
    }
    (void)printf("%lld disks %s given up; %lld shards, %s, %s rebuilt elsewhere.\n", format_number(json, "disks_given_up"),
                 is_set(json, "dry_run") ? "would be" : "are", format_number(json, "shards_to_rebuild"),
                 format_bytes(format_number(json, "bytes_to_rebuild"), amount), is_set(json, "dry_run") ? "would be" : "are");
    if (format_number(json, "unreadable_extents") > 0) {
        (void)printf("%lld extents have too few shards left to be rebuilt: they wait for these disks.\n",
                     format_number(json, "unreadable_extents"));
    }
    format_forecast(json);
}

int admin_repair_run(int argc, char **argv)
{
    struct admin_options options;
    struct error e = ERROR_INIT;
    if (admin_options_parse(argc, argv, &options, &e) != ERRC_OK) {
        return admin_fail(&e);
    }
    if (options.help) {
        (void)printf("Usage: cairn repair status|pause|resume [OPTION]...\n"
                     "   or: cairn repair run [--dry-run] [OPTION]...\n"
                     "status  what waits to be rebuilt, how long it will take, which disks are away and when they are given up\n"
                     "pause   rebuild and move nothing, until it is resumed; also after restarts\n"
                     "resume  go on\n"
                     "run     look at once, and give up the disks that are away now, without waiting (--repair-wait) and however\n"
                     "        many they are; disks of nodes in maintenance are waited for. With --dry-run only say how much\n"
                     "        would be rebuilt.\n%s", admin_common_help);
        return 0;
    }
    const char *verb = options.argument_count == 1 ? options.arguments[0] : "";
    if (strcmp(verb, "status") == 0) {
        return admin_request_print(&options, "GET", "/admin/v1/repair", NULL, format_repair);
    }
    if ((strcmp(verb, "pause") == 0 || strcmp(verb, "resume") == 0) && !options.dry_run) {
        return action_post(&options, "/admin/v1/repair", verb, format_repair_change);
    }
    if (strcmp(verb, "run") == 0) {
        return action_post(&options, "/admin/v1/repair", verb, format_repair_change);
    }
    return admin_usage_fail("usage: cairn repair status | pause | resume | run [--dry-run]");
}

/* ---- rebalance ---- */

static void format_rebalance(const json_t *json)
{
    char amount[FORMAT_AMOUNT_BYTES];
    (void)printf("Rebalancing   %s\n", is_set(json, "stopped") ? "stopped: 'cairn rebalance start' lets it go on"
                                       : is_set(json, "paused") ? "waits: repair is paused"
                                                                : "at work");
    (void)printf("To move       %lld shards of %lld extents, %s, ETA ", format_number(json, "shards_to_move"),
                 format_number(json, "extents_to_move"), format_bytes(format_number(json, "bytes_to_move"), amount));
    eta_print(json);
    (void)printf("\nMoved         %lld shards, %s since the leading voter's start; %lld attempts failed\n", format_number(json, "moved_shards"),
                 format_bytes(format_number(json, "moved_bytes"), amount), format_number(json, "failed_extents"));
    format_forecast(json);
}

static void format_rebalance_change(const json_t *json)
{
    (void)printf("Rebalancing is %s.\n", is_set(json, "stopped") ? "stopped" : "at work");
}

int admin_rebalance_run(int argc, char **argv)
{
    struct admin_options options;
    struct error e = ERROR_INIT;
    if (admin_options_parse(argc, argv, &options, &e) != ERRC_OK) {
        return admin_fail(&e);
    }
    if (options.help) {
        (void)printf("Usage: cairn rebalance status|plan|start|stop [OPTION]...\n"
                     "When disks join or leave, the shards that should stand elsewhere are moved, a copy first, then the old\n"
                     "one is freed; nothing becomes less safe meanwhile.\n"
                     "status, plan  how much is to be moved, how long it will take, what has been moved\n"
                     "stop          leave shards where they are, unless their disk is lost or drained; also after restarts\n"
                     "start         go on\n%s", admin_common_help);
        return 0;
    }
    const char *verb = options.argument_count == 1 ? options.arguments[0] : "";
    if ((strcmp(verb, "status") == 0 || strcmp(verb, "plan") == 0)) {
        return admin_request_print(&options, "GET", "/admin/v1/rebalance", NULL, format_rebalance);
    }
    if ((strcmp(verb, "start") == 0 || strcmp(verb, "stop") == 0) && !options.dry_run) {
        return action_post(&options, "/admin/v1/rebalance", verb, format_rebalance_change);
    }
    return admin_usage_fail("usage: cairn rebalance status | plan | start | stop");
}
