/*
 * The storage node of a process: `cairn server` has one beside the other roles, `cairn storage-node` has little else.
 *
 * What its disks and its scrub tell goes to whoever is in this process: voter, map and background work may be missing.
 */
#include "common/io/log.h"
#include "server/cluster.h"
#include "server/damage_report.h"
#include "server/server.h"
#include "server/server_background.h"
#include "server/server_disks.h"
#include "server/server_steps.h"

#include <stdio.h>
#include <unistd.h>

#define DISK_START_TIMEOUT_MS 60000

void server_disk_path(struct server *server, struct disk_id disk, char ret_path[SERVER_PATH_BYTES])
{
    ret_path[0] = '\0';
    (void)pthread_mutex_lock(&server->dirs_lock);
    for (unsigned i = 0; i < server->dirs.count; i++) {
        if (disk_id_equal(server->dirs.dirs[i].disk, disk)) {
            (void)snprintf(ret_path, SERVER_PATH_BYTES, "%s", server->dirs.dirs[i].path);
        }
    }
    (void)pthread_mutex_unlock(&server->dirs_lock);
}

const char *server_disk_state_text(enum disk_state state)
{
    return state == DISK_ONLINE ? "online" : state == DISK_FULL ? "full" : state == DISK_FENCED ? "fenced" : "absent";
}

enum disk_state server_disk_state(struct server *server, struct disk_id disk)
{
    return server->node != NULL ? node_disk_state(server->node, disk)
                                : (enum disk_state)cluster_map_disk_told(server->map, disk);
}

/* A disk that was fenced and is in service again: its folder had gone and is back (storage-node/node_care.c). */
static bool disk_is_back(struct server *server, struct disk_id disk, enum disk_state state)
{
    bool back = false;
    (void)pthread_mutex_lock(&server->dirs_lock);
    for (unsigned i = 0; i < server->dirs.count; i++) {
        struct data_dir *dir = &server->dirs.dirs[i];
        if (disk_id_equal(dir->disk, disk)) {
            back = dir->fenced && (state == DISK_ONLINE || state == DISK_FULL);
            dir->fenced = state == DISK_FENCED;
        }
    }
    (void)pthread_mutex_unlock(&server->dirs_lock);
    return back;
}

static void disk_resume(struct server *server, struct disk_id disk, const char *path)
{
    LOG_INFO(log_event("disk_returned"), log_text("path", path));
    if (node_scrub_start(server->node, disk, SERVER_SCRUB_BYTES_PER_SECOND) != ERRC_OK) {
        LOG_WARN(log_event("scrub_not_started"), log_text("path", path));
    }
    if (server->voter != NULL) {
        voter_mirror_replace(server->voter, disk, disk, path);
    }
}

/* On `completions`. */
static void on_disk_state(void *data, struct disk_id disk, enum disk_state state, const char *reason)
{
    struct server *server = data;
    char path[SERVER_PATH_BYTES];
    char id[ID_HEX_BYTES];
    server_disk_path(server, disk, path);
    id_hex(disk.bytes, id);
    if (state == DISK_FENCED) {
        LOG_ERROR(log_event("disk_fenced"), log_text("path", path), log_text("disk", id), log_text("reason", reason));
    } else {
        LOG_INFO(log_event("disk_state"), log_text("path", path), log_text("disk", id),
                 log_text("state", server_disk_state_text(state)));
    }
    if (state == DISK_FENCED && server->voter != NULL) {
        voter_mirror_failed(server->voter, disk, reason);
    }
    if (disk_is_back(server, disk, state)) {
        disk_resume(server, disk, path);
    }
    if (server->map != NULL) {
        cluster_map_disk_state(server->map, disk, (uint8_t)state, 0, 0);
    }
    struct server_background *background = atomic_load(&server->background);
    if (background != NULL) {
        background_disk_changed(background, disk, state == DISK_ONLINE || state == DISK_FULL);
    }
}

/* A storage node has no background work: the voter that leads is told. */
static void on_corrupt(void *data, struct disk_id disk, struct extent_id extent, uint8_t index)
{
    struct server *server = data;
    char path[SERVER_PATH_BYTES];
    char id[ID_HEX_BYTES];
    server_disk_path(server, disk, path);
    id_hex(extent.bytes, id);
    LOG_ERROR(log_event("shard_corrupt"), log_text("path", path), log_text("extent", id), log_u64("shard", index));
    struct server_background *background = atomic_load(&server->background);
    if (background != NULL) {
        background_shard_corrupt(background, disk, extent, index);
    } else if (server->cluster != NULL && server->cluster->damage != NULL && !extent_id_is_zero(extent)) {
        damage_report_add(server->cluster->damage, disk, extent, index);
    }
}

/* Waits until each disk has said what became of it; a disk that does not answer in time is simply not there yet. */
void server_disks_await(struct server *server)
{
    uint64_t deadline_ns = env_now_ns(server->env) + (uint64_t)DISK_START_TIMEOUT_MS * 1000000;
    for (unsigned i = 0; i < server->dirs.count; i++) {
        const struct data_dir *dir = &server->dirs.dirs[i];
        while (dir->kind == DATA_DIR_KNOWN && node_disk_state(server->node, dir->disk) == DISK_ABSENT &&
               env_now_ns(server->env) < deadline_ns) {
            (void)usleep(2000); /* start-up only */
        }
    }
}

enum errc server_step_node(struct server *server, struct error *e)
{
    struct node_disk_config disks[SERVER_DIRS_MAX];
    unsigned count = 0;
    for (unsigned i = 0; i < server->dirs.count; i++) {
        if (server->dirs.dirs[i].kind == DATA_DIR_KNOWN) {
            disks[count++] = server_disk_config(&server->dirs.dirs[i]);
        }
    }
    const struct node_config config = {
        .env = server->env, .kv_factory = kv_factory_rocksdb(), .home = server->completions,
        .cluster = server->dirs.cluster, .callbacks = { on_disk_state, on_corrupt, server },
        .disk_count = count, .disks = disks,
    };
    enum errc rc = node_open(&config, &server->node, e);
    if (rc == ERRC_OK) {
        server_disks_await(server);
    }
    return rc;
}

enum errc server_step_scrubs(struct server *server, struct error *e)
{
    (void)e;
    for (unsigned i = 0; i < server->dirs.count; i++) {
        const struct data_dir *dir = &server->dirs.dirs[i];
        if (dir->kind == DATA_DIR_KNOWN && node_scrub_start(server->node, dir->disk, SERVER_SCRUB_BYTES_PER_SECOND) != ERRC_OK) {
            LOG_WARN(log_event("scrub_not_started"), log_text("path", dir->path));
        }
    }
    return ERRC_OK;
}
