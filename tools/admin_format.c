#include "tools/admin_format.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define AMOUNT_BYTES FORMAT_AMOUNT_BYTES

static const char *text_of(const json_t *json, const char *name)
{
    const char *text = json_string_value(json_object_get(json, name));
    return text != NULL ? text : "-";
}

long long format_number(const json_t *json, const char *name)
{
    return (long long)json_integer_value(json_object_get(json, name));
}

const char *format_bytes(long long bytes, char text[AMOUNT_BYTES])
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };
    double amount = (double)bytes;
    unsigned unit = 0;
    while (amount >= 1024 && unit < 5) {
        amount /= 1024;
        unit++;
    }
    (void)snprintf(text, AMOUNT_BYTES, unit == 0 ? "%.0f %s" : "%.1f %s", amount, units[unit]);
    return text;
}

const char *format_duration(long long seconds, char text[AMOUNT_BYTES])
{
    if (seconds < 0) {
        (void)snprintf(text, AMOUNT_BYTES, "-");
    } else if (seconds >= 3600) {
        (void)snprintf(text, AMOUNT_BYTES, "%lld h %lld min", seconds / 3600, seconds % 3600 / 60);
    } else if (seconds >= 60) {
        (void)snprintf(text, AMOUNT_BYTES, "%lld min %lld s", seconds / 60, seconds % 60);
    } else {
        (void)snprintf(text, AMOUNT_BYTES, "%lld s", seconds);
    }
    return text;
}

void format_disks(const json_t *json)
{
    const json_t *disks = json_object_get(json, "disks");
    size_t index;
    json_t *disk;
    (void)printf("%-32s  %-8s  %10s  %10s  %9s  %s\n", "DISK", "STATE", "USED", "FREE", "SHARDS", "PATH");
    json_array_foreach(disks, index, disk) {
        char used[AMOUNT_BYTES];
        char unused[AMOUNT_BYTES];
        const char *node = json_string_value(json_object_get(disk, "node"));
        const char *draining = strcmp(text_of(disk, "placement"), "draining") == 0 ? "draining" : NULL;
        (void)printf("%-32s  %-8s  %10s  %10s  %9lld  %s%s%s", text_of(disk, "id"), draining != NULL ? draining : text_of(disk, "state"),
                     format_bytes(format_number(disk, "used_bytes"), used), format_bytes(format_number(disk, "free_bytes"), unused),
                     format_number(disk, "shards"), node != NULL ? node : "", node != NULL ? ":" : "", text_of(disk, "path"));
        const char *reason = json_string_value(json_object_get(disk, "reason"));
        (void)printf("%s%s\n", reason != NULL && *reason != '\0' ? "  # " : "", reason != NULL ? reason : "");
    }
}

static void format_strength(const json_t *json)
{
    json_t *strength = json_object_get(json, "stripes_by_strength");
    const char *name;
    json_t *value;
    (void)printf("Stripes       %lld, degraded %lld\n", format_number(json, "stripes"), format_number(json, "degraded_stripes"));
    json_object_foreach(strength, name, value) {
        (void)printf("  %-13s %lld\n", name, (long long)json_integer_value(value));
    }
}

void format_status(const json_t *json)
{
    char amount[AMOUNT_BYTES];
    const json_t *repair = json_object_get(json, "repair");
    (void)printf("State         %s\n", text_of(json, "state"));
    (void)printf("Version       %s\n", text_of(json, "version"));
    (void)printf("Cluster       %s\n", text_of(json, "cluster_id"));
    (void)printf("Code          %s for new buckets\n", text_of(json, "erasure"));
    (void)printf("Buckets       %lld\n", format_number(json, "buckets"));
    (void)printf("Objects       %lld (%lld versions, %lld uploads under way)\n", format_number(json, "objects"),
                 format_number(json, "versions"), format_number(json, "uploads"));
    (void)printf("Data          %s\n", format_bytes(format_number(json, "bytes"), amount));
    format_strength(json);
    (void)printf("Repair        %lld extents wait, %s rebuilt, ETA ", format_number(repair, "queued_extents"),
                 format_bytes(format_number(repair, "rebuilt_bytes"), amount));
    const json_t *eta = json_object_get(repair, "eta_seconds");
    (void)printf("%s\n", format_duration(json_is_integer(eta) ? (long long)json_integer_value(eta) : -1, amount));
    (void)printf("Metadata      %lld mirrors, %lld behind\n", format_number(json, "metadata_replicas"),
                 format_number(json, "metadata_replicas_behind"));
    (void)printf("Disks\n");
    format_disks(json);
}

void format_forecast(const json_t *json)
{
    static const char *const levels[] = { "zone", "rack", "node" };
    const json_t *domains = json_object_get(json, "failure_domains");
    const json_t *eta = json_object_get(json, "eta_seconds");
    char amount[AMOUNT_BYTES];
    if (json_is_integer(eta) && json_integer_value(eta) > 0 && json_is_true(json_object_get(json, "dry_run"))) {
        (void)printf("At the rate of the last moves it takes %s.\n", format_duration((long long)json_integer_value(eta), amount));
    }
    if (!json_is_object(domains)) {
        return;
    }
    bool same = true;
    long long groups = format_number(domains, "groups");
    for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
        const json_t *level = json_object_get(domains, levels[i]);
        if (i == 1 && json_equal(level, json_object_get(domains, levels[0])) != 0) {
            continue; /* nobody has named racks: each zone is one */
        }
        long long exposed = format_number(level, "exposed_after");
        long long exposed_now = format_number(level, "exposed_before");
        long long worse = format_number(level, "groups_worse");
        long long better = format_number(level, "groups_better");
        if (exposed != exposed_now) {
            (void)printf("Of %lld placement groups %lld would not bear the loss of one %s, now %lld.\n", groups, exposed, levels[i],
                         exposed_now);
        }
        if (worse > 0 || better > 0) {
            (void)printf("Of %lld placement groups %lld would have more shards of an extent in one %s, %lld fewer: at most %lld, now %lld.\n",
                         groups, worse, levels[i], better, format_number(level, "most_after"), format_number(level, "most_before"));
        }
        same = same && exposed == exposed_now && worse == 0 && better == 0;
    }
    if (same) {
        (void)printf("Failure domains: every rule holds as it does now.\n");
    }
}

void format_buckets(const json_t *json)
{
    const json_t *buckets = json_object_get(json, "buckets");
    size_t index;
    json_t *bucket;
    (void)printf("%-24s  %-6s  %12s  %12s  %s\n", "CREATED", "CODE", "OBJECTS", "SIZE", "NAME");
    json_array_foreach(buckets, index, bucket) {
        char amount[AMOUNT_BYTES];
        (void)printf("%-24s  %-6s  %12lld  %12s  %s\n", text_of(bucket, "created"), text_of(bucket, "erasure"),
                     format_number(bucket, "objects"), format_bytes(format_number(bucket, "bytes"), amount),
                     text_of(bucket, "name"));
    }
}

static void format_extent(const json_t *extent)
{
    size_t index;
    json_t *shard;
    (void)printf("  extent %s: %s, cells of %lld B, %lld B at object offset %lld\n", text_of(extent, "id"),
                 text_of(extent, "erasure"), format_number(extent, "cell_bytes"), format_number(extent, "length"),
                 format_number(extent, "object_offset"));
    json_array_foreach(json_object_get(extent, "shards"), index, shard) {
        (void)printf("    shard %2lld  %-7s  %-8s  disk %s  %s", format_number(shard, "index"), text_of(shard, "kind"),
                     text_of(shard, "state"), text_of(shard, "disk"), text_of(shard, "path"));
        if (json_object_get(shard, "segment") != NULL) {
            (void)printf("  segment %lld offset %lld", format_number(shard, "segment"), format_number(shard, "offset"));
        }
        (void)putchar('\n');
    }
}

void format_explain(const json_t *json)
{
    size_t index;
    json_t *item;
    char amount[AMOUNT_BYTES];
    (void)printf("Object        %s/%s\n", text_of(json, "bucket"), text_of(json, "key"));
    (void)printf("Version       %s\n", text_of(json, "version_id"));
    (void)printf("Size          %s (%lld bytes)\n", format_bytes(format_number(json, "size"), amount), format_number(json, "size"));
    (void)printf("ETag          %s\n", text_of(json, "etag"));
    (void)printf("Modified      %s\n", text_of(json, "last_modified"));
    (void)printf("Class         %s\n", text_of(json, "storage_class"));
    (void)printf("Checksum      %s %s\n", text_of(json, "checksum_algorithm"), text_of(json, "checksum"));
    (void)printf("Data          %s\n", text_of(json, "data"));
    json_array_foreach(json_object_get(json, "extents"), index, item) {
        format_extent(item);
    }
    json_array_foreach(json_object_get(json, "mirrors"), index, item) {
        (void)printf("    mirror    %-8s  %s\n", text_of(item, "state"), text_of(item, "path"));
    }
}

void format_token(const json_t *json)
{
    (void)printf("%s\n", text_of(json, "token"));
}

void format_nodes(const json_t *json)
{
    const json_t *nodes = json_object_get(json, "nodes");
    size_t index;
    json_t *node;
    (void)printf("%-16s  %-12s  %-11s  %-21s  %-8s  %-8s  %-10s  %s\n", "NAME", "ROLE", "STATE", "ADDRESS", "ZONE", "RACK",
                 "HEARD OF", "NODE");
    json_array_foreach(nodes, index, node) {
        char heard[AMOUNT_BYTES];
        const json_t *age = json_object_get(node, "heartbeat_age_seconds");
        (void)printf("%-16s  %-12s  %-11s  %-21s  %-8s  %-8s  %-10s  %s\n", text_of(node, "name"), text_of(node, "role"),
                     text_of(node, "state"), text_of(node, "address"), text_of(node, "zone"), text_of(node, "rack"),
                     format_duration(json_is_integer(age) ? (long long)json_integer_value(age) : -1, heard),
                     text_of(node, "id"));
    }
}

void format_members(const json_t *json)
{
    const json_t *members = json_object_get(json, "members");
    size_t index;
    json_t *member;
    (void)printf("%-16s  %-9s  %-6s  %10s  %-21s  %s\n", "NAME", "ROLE", "LEADS", "BEHIND", "ADDRESS", "NODE");
    json_array_foreach(members, index, member) {
        const json_t *behind = json_object_get(member, "entries_behind");
        char amount[AMOUNT_BYTES] = "-";
        if (json_is_integer(behind)) {
            (void)snprintf(amount, sizeof(amount), "%lld", (long long)json_integer_value(behind));
        }
        (void)printf("%-16s  %-9s  %-6s  %10s  %-21s  %s\n", text_of(member, "name"), text_of(member, "role"),
                     json_is_true(json_object_get(member, "leads")) ? "leads" : "", amount, text_of(member, "address"),
                     text_of(member, "node"));
    }
}

void format_node_state(const json_t *json)
{
    char amount[AMOUNT_BYTES];
    bool dry_run = json_is_true(json_object_get(json, "dry_run"));
    json_int_t moves = json_integer_value(json_object_get(json, "shards_to_move"));
    (void)printf("Node %s %s %s.\n", text_of(json, "node"), dry_run ? "would be" : "is", text_of(json, "state"));
    if (moves > 0) {
        (void)printf("%lld shards, %s, %s other nodes. 'cairn node remove' is possible when none is left.\n", (long long)moves,
                     format_bytes(format_number(json, "bytes_to_move"), amount), dry_run ? "would move to" : "move to");
    }
    format_forecast(json);
}

void format_member(const json_t *json)
{
    (void)printf("Node %s is %s.\n", text_of(json, "node"),
                 strcmp(text_of(json, "role"), "voter") == 0 ? "a voter now" : "in the metadata service no more");
}
