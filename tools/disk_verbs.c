/* `cairn disk` */
#include "tools/admin.h"
#include "tools/admin_format.h"
#include "tools/admin_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] = "usage: cairn disk list | add NODE DIR | replace [DIR] [--for DISK] | drain DISK | in DISK | remove DISK";

static int post(const struct admin_options *options, const char *target, json_t *body, void (*format)(const json_t *json))
{
    char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(body);
    int status = text != NULL ? admin_request_print(options, "POST", target, text, format)
                              : admin_usage_fail("a name or path is not valid UTF-8");
    free(text);
    return status;
}

static const char *text_of(const json_t *json, const char *name)
{
    const char *text = json_string_value(json_object_get(json, name));
    return text != NULL ? text : "-";
}

static void format_added(const json_t *json)
{
    (void)printf("Disk %s at %s:%s is in service.\n"
                 "Name %s in the node's configuration too: its next start needs it.\n",
                 text_of(json, "id"), text_of(json, "node"), text_of(json, "path"), text_of(json, "path"));
}

static void format_replaced(const json_t *json)
{
    char amount[FORMAT_AMOUNT_BYTES];
    if (json_object_get(json, "dry_run") == NULL) { /* of cairn server */
        (void)printf("Disk %s at %s replaces %s; rebuilding in the background: see 'cairn status'.\n", text_of(json, "id"),
                     text_of(json, "path"), text_of(json, "replaced"));
        return;
    }
    bool dry_run = json_is_true(json_object_get(json, "dry_run"));
    (void)printf("%s at %s:%s %s %s; %lld shards, %s, %s rebuilt on it.\n", dry_run ? "An empty disk" : text_of(json, "id"),
                 text_of(json, "node"), text_of(json, "path"), dry_run ? "would replace" : "replaces", text_of(json, "replaced"),
                 format_number(json, "shards_to_rebuild"), format_bytes(format_number(json, "bytes_to_rebuild"), amount),
                 dry_run ? "would be" : "are");
}

static void format_state(const json_t *json)
{
    char amount[FORMAT_AMOUNT_BYTES];
    bool dry_run = json_is_true(json_object_get(json, "dry_run"));
    (void)printf("Disk %s at %s:%s %s %s.\n", text_of(json, "id"), text_of(json, "node"), text_of(json, "path"),
                 dry_run ? "would be" : "is", text_of(json, "state"));
    if (format_number(json, "shards_to_move") > 0) {
        (void)printf("%lld shards, %s, %s other disks. 'cairn disk remove' is possible when none is left.\n",
                     format_number(json, "shards_to_move"), format_bytes(format_number(json, "bytes_to_move"), amount),
                     dry_run ? "would move to" : "move to");
    }
    format_forecast(json);
}

/* Of a relative path only this process knows what it stands for; an absolute one is the server's, or the node's. */
static json_t *path_json(const char *path)
{
    char *real = path[0] != '/' ? realpath(path, NULL) : NULL;
    json_t *json = json_string(real != NULL ? real : path);
    free(real);
    return json;
}

static int replace(const struct admin_options *options)
{
    json_t *body = json_pack("{s:b}", "dry_run", options->dry_run);
    if (options->argument_count == 2) {
        (void)json_object_set_new(body, "path", path_json(options->arguments[1]));
    }
    if (options->for_disk != NULL) {
        (void)json_object_set_new(body, "for", json_string(options->for_disk));
    }
    return post(options, "/admin/v1/disks/replace", body, format_replaced);
}

static int state_set(const struct admin_options *options, const char *state)
{
    return post(options, "/admin/v1/disks/state", json_pack("{s:s,s:s,s:b}", "disk", options->arguments[1], "state", state, "dry_run",
                                                            options->dry_run), format_state);
}

/* The state that a verb puts a disk into; NULL: no such verb. */
static const char *state_of(const char *verb)
{
    return strcmp(verb, "drain") == 0 ? "draining" : strcmp(verb, "in") == 0 ? "in" : strcmp(verb, "remove") == 0 ? "removed" : NULL;
}

static void help(void)
{
    (void)printf("Usage: cairn disk list [OPTION]...\n"
                 "   or: cairn disk replace DIR [--for DISK] [OPTION]...\n"
                 "   or: cairn disk replace [DIR] --for DISK [--dry-run] [OPTION]...     (of a cluster)\n"
                 "   or: cairn disk add NODE DIR [OPTION]...\n"
                 "   or: cairn disk drain|in|remove DISK [--dry-run] [OPTION]...\n"
                 "list     the disks\n"
                 "replace  take the empty directory DIR in place of a lost disk: of a server the one recorded at that path, the\n"
                 "         one named with --for, or the only one that is missing; of a cluster the one named with --for, at\n"
                 "         its node, and at its path where no DIR is given. What it held is rebuilt in the background.\n");
    (void)printf("add      have a node that runs take one more empty directory as a disk\n"
                 "drain    take no new shards, and move those that are there to other disks\n"
                 "in       end that\n"
                 "remove   take a disk on which no shard stands out for good\n"
                 "DISK is an id, 8 digits of it at least, or NODE:PATH; the last four are for clusters. With --dry-run nothing is\n"
                 "changed: it says what would be moved or rebuilt, or why it is refused.\n%s", admin_common_help);
}

int admin_disk_run(int argc, char **argv)
{
    struct admin_options options;
    struct error e = ERROR_INIT;
    if (admin_options_parse(argc, argv, &options, &e) != ERRC_OK) {
        return admin_fail(&e);
    }
    if (options.help) {
        help();
        return 0;
    }
    const char *verb = options.argument_count > 0 ? options.arguments[0] : "";
    if (strcmp(verb, "list") == 0 && options.argument_count == 1) {
        return admin_request_print(&options, "GET", "/admin/v1/disks", NULL, format_disks);
    }
    if (strcmp(verb, "replace") == 0 && (options.argument_count == 2 || (options.argument_count == 1 && options.for_disk != NULL))) {
        return replace(&options);
    }
    if (strcmp(verb, "add") == 0 && options.argument_count == 3) {
        return post(&options, "/admin/v1/disks/add", json_pack("{s:s,s:s}", "node", options.arguments[1], "path", options.arguments[2]),
                    format_added);
    }
    if (state_of(verb) != NULL && options.argument_count == 2) {
        return state_set(&options, state_of(verb));
    }
    return admin_usage_fail(usage);
}
