/* `cairn class` */
#include "tools/admin.h"
#include "tools/admin_format.h"
#include "tools/admin_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void format_classes(const json_t *json)
{
    size_t index;
    json_t *class;
    (void)printf("%-32s  %-6s  %5s  %6s  %s\n", "CLASS", "CODE", "DISKS", "LOSSES", "BYTES ON DISK");
    json_array_foreach(json_object_get(json, "classes"), index, class) {
        (void)printf("%-32s  %-6s  %5lld  %6lld  x%.2f\n", json_string_value(json_object_get(class, "name")),
                     json_string_value(json_object_get(class, "erasure")), format_number(class, "disks"),
                     format_number(class, "losses"), json_real_value(json_object_get(class, "overhead")));
    }
}

static void format_set(const json_t *json)
{
    const char *name = json_string_value(json_object_get(json, "name"));
    (void)printf("Objects that are written with 'x-amz-storage-class: %s' are %s from now on.\n", name,
                 json_string_value(json_object_get(json, "erasure")));
}

static void format_removed(const json_t *json)
{
    (void)printf("The class %s has no code of its own any more. Objects that were written in it stay as they are.\n",
                 json_string_value(json_object_get(json, "name")));
}

static int post(const struct admin_options *options, const char *target, json_t *body, void (*format)(const json_t *json))
{
    char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(body);
    int status = text != NULL ? admin_request_print(options, "POST", target, text, format)
                              : admin_usage_fail("a name is not valid UTF-8");
    free(text);
    return status;
}

int admin_class_run(int argc, char **argv)
{
    struct admin_options options;
    struct error e = ERROR_INIT;
    if (admin_options_parse(argc, argv, &options, &e) != ERRC_OK) {
        return admin_fail(&e);
    }
    if (options.help) {
        (void)printf("Usage: cairn class list [OPTION]...\n"
                     "   or: cairn class set CLASS K+M [OPTION]...\n"
                     "   or: cairn class remove CLASS [OPTION]...\n"
                     "Storage classes: names of S3's x-amz-storage-class with an erasure code of their own. 1+2 is three copies.\n"
                     "STANDARD is each bucket's own code ('cairn bucket class'); names of S3 that have no code here are kept as labels.\n"
                     "list    classes, the disks that each needs at least, how many of them may be lost\n"
                     "set     make a class, or change its code; objects that there are stay as they are until they are copied\n"
                     "remove  the name has no code of its own any more\n%s", admin_common_help);
        return 0;
    }
    const char *verb = options.argument_count > 0 ? options.arguments[0] : "";
    if (strcmp(verb, "list") == 0 && options.argument_count == 1) {
        return admin_request_print(&options, "GET", "/admin/v1/classes", NULL, format_classes);
    }
    if (strcmp(verb, "set") == 0 && options.argument_count == 3) {
        return post(&options, "/admin/v1/classes", json_pack("{s:s,s:s}", "name", options.arguments[1], "erasure", options.arguments[2]),
                    format_set);
    }
    if (strcmp(verb, "remove") == 0 && options.argument_count == 2) {
        return post(&options, "/admin/v1/classes/remove", json_pack("{s:s}", "name", options.arguments[1]), format_removed);
    }
    return admin_usage_fail("usage: cairn class list | set CLASS K+M | remove CLASS");
}
