/* `cairn durability` */
#include "tools/admin.h"
#include "tools/admin_format.h"
#include "tools/admin_run.h"

#include <stdio.h>

static void strength_print(const char *name, const json_t *json)
{
    const char *field;
    json_t *value;
    (void)printf("%-14s %lld stripes in %lld extents, %lld not at full strength\n", name, format_number(json, "stripes"),
                 format_number(json, "extents"), format_number(json, "degraded_stripes"));
    json_object_foreach(json_object_get(json, "stripes_by_strength"), field, value) {
        (void)printf("  %-18s %lld\n", field, (long long)json_integer_value(value));
    }
    (void)printf("  %-18s %lld\n", "degraded_placement", format_number(json, "degraded_placement_stripes"));
    (void)printf("  %-18s %lld\n", "crowded", format_number(json, "crowded_stripes"));
}

static void format_durability(const json_t *json)
{
    size_t index;
    json_t *class;
    const json_t *oldest = json_object_get(json, "oldest_verification_seconds");
    (void)printf("State          %s\n", json_string_value(json_object_get(json, "state")));
    strength_print("All", json);
    json_array_foreach(json_object_get(json, "classes"), index, class) {
        strength_print(json_string_value(json_object_get(class, "class")), class);
    }
    (void)printf("Disks          %lld, %lld away, %lld without a complete scrub pass yet\n", format_number(json, "disks"),
                 format_number(json, "disks_away"), format_number(json, "disks_never_verified"));
    if (json_is_integer(oldest)) {
        (void)printf("Verified       every shard within the last %lld s\n", (long long)json_integer_value(oldest));
    } else {
        (void)printf("Verified       unknown: not every disk has a complete scrub pass\n");
    }
}

int admin_durability_run(int argc, char **argv)
{
    struct admin_options options;
    struct error e = ERROR_INIT;
    if (admin_options_parse(argc, argv, &options, &e) != ERRC_OK) {
        return admin_fail(&e);
    }
    if (options.help) {
        (void)printf("Usage: cairn durability [OPTION]...\n"
                     "Count every stripe once: at full strength, in a smaller code than its class, with one, two or more\n"
                     "shards missing or away, unreadable; and those that stand in fewer failure domains than could be\n"
                     "(degraded_placement) or with more shards in one than the parity bears to lose (crowded). By class,\n"
                     "with the age of the oldest verification. It looks at every extent: about a second for a million.\n%s",
                     admin_common_help);
        return 0;
    }
    if (options.argument_count != 0) {
        return admin_usage_fail("durability takes no argument");
    }
    return admin_request_print(&options, "GET", "/admin/v1/durability", NULL, format_durability);
}
