#include "server/server_disks.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/cluster/placement.h"
#include "common/io/log.h"
#include "server/server.h"

#include <stdlib.h>
#include <string.h>

#define MAP_ARENA_BYTES (4u << 20)
#define DISK_QUEUE_SPARE_BYTES (64u << 20) /* repair, and cells rounded up */
#define CLASS_SETTING "class" /* two bytes: k, m */

static enum errc propose(struct server *server, const struct meta_command *command, const char *what, struct error *e)
{
    struct meta_op op;
    enum errc rc = wait_propose(&server->meta, server->completions, &op, command, e);
    if (rc == ERRC_OK && op.result.outcome != META_OK) {
        rc = error_set(e, ERRC_CONFLICT, "%s: refused with outcome %u", what, op.result.outcome);
    }
    meta_op_release(&op);
    return rc;
}

enum errc server_class_record(struct server *server, struct error *e)
{
    const uint8_t value[2] = { server->class_k, server->class_m };
    const struct meta_command command = { .type = META_CMD_SETTING_PUT,
                                          .setting_put = { slice_str(CLASS_SETTING), slice_of(value, 2) } };
    return propose(server, &command, "recording the code", e);
}

/*
 * The uploads' budget bounds what waits for disks; a disk's own queue must hold all of it, since in a code with k = 1 every
 * byte goes to every disk. A smaller queue refused shards of 64 concurrent 16 MiB uploads (96 MiB a disk at 4+2).
 */
struct node_disk_config server_disk_config(const struct data_dir *dir)
{
    const struct data_config data = data_config_default();
    return (struct node_disk_config){ .id = dir->disk, .path = dir->path,
                                      .options.queue_bytes_max = data.write_budget_bytes + DISK_QUEUE_SPARE_BYTES };
}

/* The code that an earlier start recorded; *ret_recorded: there is one. */
static enum errc class_recorded(struct server *server, bool *ret_recorded, uint8_t *ret_k, uint8_t *ret_m, struct error *e)
{
    struct arena arena;
    struct meta_op op;
    const struct meta_query query = { .type = META_QRY_SETTING, .name = slice_str(CLASS_SETTING) };
    arena_init(&arena, MAP_ARENA_BYTES);
    enum errc rc = wait_query(&server->meta, server->completions, &arena, &op, &query, e);
    *ret_recorded = rc == ERRC_OK && op.setting.outcome == META_OK && op.setting.value.len == 2;
    *ret_k = *ret_recorded ? op.setting.value.data[0] : 0;
    *ret_m = *ret_recorded ? op.setting.value.data[1] : 0;
    meta_op_release(&op);
    arena_done(&arena);
    return rc;
}

enum errc server_class_check(struct server *server, struct error *e)
{
    const struct server_options *options = &server->options;
    unsigned needed = (unsigned)options->erasure_k + options->erasure_m;
    if (!options->has_erasure || needed <= server->dirs.count) {
        return ERRC_OK;
    }
    bool recorded;
    uint8_t k;
    uint8_t m;
    enum errc rc = class_recorded(server, &recorded, &k, &m, e);
    if (rc != ERRC_OK || (recorded && k == options->erasure_k && m == options->erasure_m)) {
        return rc;
    }
    return error_set(e, ERRC_INVALID, "--erasure %u+%u needs %u directories, %u are given", options->erasure_k,
                     options->erasure_m, needed, server->dirs.count);
}

enum errc server_class_settle(struct server *server, struct error *e)
{
    bool recorded;
    uint8_t k;
    uint8_t m;
    enum errc rc = class_recorded(server, &recorded, &k, &m, e);
    if (rc != ERRC_OK) {
        return rc;
    }
    const struct server_options *options = &server->options;
    if (options->has_erasure) {
        server->class_k = options->erasure_k;
        server->class_m = options->erasure_m;
    } else if (recorded) {
        server->class_k = k;
        server->class_m = m;
    } else {
        server_erasure_default(server->dirs.count, &server->class_k, &server->class_m);
    }
    if (!recorded && getenv("CAIRN_ROOT_SECRET_KEY") == NULL) {
        server->print_keys = true; /* a first start that did not come to its end has not shown them */
    }
    bool changed = recorded && (k != server->class_k || m != server->class_m);
    if (changed) {
        LOG_INFO(log_event("erasure_changed"), log_u64("k", server->class_k), log_u64("m", server->class_m),
                 log_text("note", "holds for new buckets only"));
    }
    return recorded && !changed ? ERRC_OK : server_class_record(server, e);
}

enum errc server_disk_put(struct server *server, const struct data_dir *dir, struct disk_id replaces, struct error *e)
{
    const struct meta_command command = {
        .type = META_CMD_DISK_PUT,
        .disk_put.disk = { .id = dir->disk, .node = server->node_id, .state = META_DISK_IN,
                           .path = slice_str(dir->path), .replaces = replaces },
    };
    return propose(server, &command, "adding a disk", e);
}

static enum errc dir_register(struct server *server, const struct meta_cluster_reply *map, const struct data_dir *dir,
                              struct error *e)
{
    const struct meta_disk *known = meta_cluster_disk(map, dir->disk);
    if (known != NULL && known->state == META_DISK_REMOVED) {
        return error_set(e, ERRC_CONFLICT, "'%s' holds a disk that was replaced: empty it to use it again", dir->path);
    }
    if (known != NULL && slice_equal_str(known->path, dir->path)) {
        return ERRC_OK;
    }
    if (known == NULL && map->disk_count > 0) {
        LOG_INFO(log_event("disk_joins"), log_text("path", dir->path));
    }
    return server_disk_put(server, dir, (struct disk_id){ { 0 } }, e);
}

static bool group_has(const struct meta_group *group, struct disk_id id)
{
    for (unsigned i = 0; i < group->disk_count; i++) {
        if (disk_id_equal(group->disks[i], id)) {
            return true;
        }
    }
    return false;
}

/* Is the disk in a group that is wide enough for the recorded code? */
static bool disk_is_grouped(const struct meta_cluster_reply *map, struct disk_id id, unsigned width)
{
    for (uint32_t i = 0; i < map->group_count; i++) {
        if (map->groups[i].disk_count >= width && group_has(&map->groups[i], id)) {
            return true;
        }
    }
    return false;
}

static enum errc group_put(struct server *server, const struct disk_id *disks, const struct placement_group *window,
                           uint32_t id, struct error *e)
{
    struct meta_command command = { .type = META_CMD_GROUP_PUT,
                                    .group_put.group = { .id = id, .disk_count = window->disk_count, .writable = true } };
    for (unsigned i = 0; i < window->disk_count; i++) {
        command.group_put.group.disks[i] = disks[window->disks[i]];
    }
    return propose(server, &command, "making a placement group", e);
}

/* The disks that take data. LIMIT: too many. */
static enum errc disks_gather(const struct meta_cluster_reply *map, struct disk_id *ret_disks, unsigned *ret_count, struct error *e)
{
    unsigned count = 0;
    for (uint32_t i = 0; i < map->disk_count; i++) {
        if (map->disks[i].state == META_DISK_IN && count == PLACEMENT_DISKS_MAX) {
            return error_set(e, ERRC_LIMIT, "more than %d disks cannot be put into groups", PLACEMENT_DISKS_MAX);
        }
        if (map->disks[i].state == META_DISK_IN) {
            ret_disks[count++] = map->disks[i].id;
        }
    }
    *ret_count = count;
    return ERRC_OK;
}

static uint32_t next_group_id(const struct meta_cluster_reply *map)
{
    uint32_t next = 1;
    for (uint32_t i = 0; i < map->group_count; i++) {
        next = map->groups[i].id >= next ? map->groups[i].id + 1 : next;
    }
    return next;
}

/* Groups of that width for disks that are in none. *next_id: of the next new group. */
static enum errc width_make(struct server *server, const struct meta_cluster_reply *map, unsigned width, uint32_t *next_id,
                            struct error *e)
{
    struct disk_id disks[PLACEMENT_DISKS_MAX];
    bool grouped[PLACEMENT_DISKS_MAX];
    unsigned count = 0;
    enum errc rc = disks_gather(map, disks, &count, e);
    width = width < count ? width : count;
    for (unsigned i = 0; i < count; i++) {
        grouped[i] = disk_is_grouped(map, disks[i], width);
    }
    for (unsigned i = 0; rc == ERRC_OK && count > 0 && i < placement_group_count(count, width); i++) {
        const struct placement_group window = placement_group_at(count, width, i);
        bool wanted = false;
        for (unsigned d = 0; d < window.disk_count; d++) {
            wanted = wanted || !grouped[window.disks[d]];
        }
        rc = wanted ? group_put(server, disks, &window, (*next_id)++, e) : ERRC_OK;
    }
    return rc;
}

/* For the code of new buckets, and for each wider one that has groups already: a storage class's. */
static enum errc groups_make(struct server *server, const struct meta_cluster_reply *map, struct error *e)
{
    uint32_t next_id = next_group_id(map);
    unsigned width = (unsigned)server->class_k + server->class_m;
    enum errc rc = width_make(server, map, width, &next_id, e);
    for (unsigned wider = width + 1; rc == ERRC_OK && wider <= CODE_SHARDS_MAX; wider++) {
        bool used = false;
        for (uint32_t i = 0; i < map->group_count; i++) {
            used = used || map->groups[i].disk_count == wider;
        }
        rc = used ? width_make(server, map, wider, &next_id, e) : rc;
    }
    return rc;
}

enum errc server_groups_for(struct server *server, const struct meta_cluster_reply *map, unsigned width, struct error *e)
{
    struct disk_id disks[PLACEMENT_DISKS_MAX];
    uint32_t next_id = next_group_id(map);
    unsigned count = 0;
    enum errc rc = disks_gather(map, disks, &count, e);
    if (rc == ERRC_OK && count < width) {
        rc = error_set(e, ERRC_UNAVAILABLE, "it needs %u disks that take data, there are %u", width, count);
    }
    return rc == ERRC_OK ? width_make(server, map, width, &next_id, e) : rc;
}

/* Runs `step` on the map as it is now. */
static enum errc with_map(struct server *server,
                          enum errc (*step)(struct server *server, const struct meta_cluster_reply *map, struct error *e),
                          struct error *e)
{
    struct arena arena;
    struct meta_op op;
    const struct meta_query query = { .type = META_QRY_CLUSTER };
    arena_init(&arena, MAP_ARENA_BYTES);
    enum errc rc = wait_query(&server->meta, server->completions, &arena, &op, &query, e);
    if (rc == ERRC_OK) {
        rc = step(server, &op.cluster, e);
    }
    meta_op_release(&op);
    arena_done(&arena);
    return rc;
}

static enum errc dirs_register(struct server *server, const struct meta_cluster_reply *map, struct error *e)
{
    enum errc rc = ERRC_OK;
    for (unsigned i = 0; i < server->dirs.count && rc == ERRC_OK; i++) {
        if (server->dirs.dirs[i].kind == DATA_DIR_KNOWN) {
            rc = dir_register(server, map, &server->dirs.dirs[i], e);
        }
    }
    return rc;
}

enum errc server_disks_register(struct server *server, struct error *e)
{
    enum errc rc = with_map(server, dirs_register, e);
    return rc == ERRC_OK ? with_map(server, groups_make, e) : rc;
}
