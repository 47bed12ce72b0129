#include "metadata/voter_rebuild.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/base/role.h"
#include "common/rpc/metadata_messages.h"
#include "metadata/checkpoint.h"
#include "metadata/checkpoint_fetch.h"
#include "metadata/machine.h"
#include "metadata/mirror.h"
#include "metadata/raft_core.h"

#include <stdio.h>
#include <string.h>

#define POSITION_STEP (UINT64_C(1) << 32) /* far above what the lost voters can have come to */
#define TERM_STEP (UINT64_C(1) << 32)
#define MAP_ARENA_BYTES (4u << 20)

struct rebuild {
    const struct voter_rebuild_config *config;
    struct mirror mirror;
    struct checkpoint_info info; /* of the new history's first checkpoint */
    struct kv *kv;
    struct machine *machine;
};

char *voter_rebuild_folder(const char *dir)
{
    return mem_format("%s/metadata/rebuild", dir);
}

static enum errc state_absent(struct mirror *mirror, struct error *e)
{
    struct mirror_state *state = mem_zalloc(sizeof(*state));
    struct error why = ERROR_INIT;
    enum errc rc = mirror_state_read(mirror, state, &why);
    mem_free(state);
    if (rc == ERRC_NOT_FOUND) {
        return ERRC_OK;
    }
    return error_set(e, ERRC_EXISTS, "'%s' holds metadata already: it may be newer than the backup. Move it away first, or keep it "
                     "and use 'cairn metadata recover'", mirror->dir);
}

enum errc voter_rebuild_begin(struct env *env, struct cluster_id cluster, const struct voter_dir *dir, struct error *e)
{
    struct mirror mirror;
    char *folder = voter_rebuild_folder(dir->path);
    mirror_init(&mirror, env, cluster, dir->disk, dir->path);
    enum errc rc = mirror_create(&mirror, e);
    rc = rc == ERRC_OK ? state_absent(&mirror, e) : rc;
    rc = rc == ERRC_OK ? checkpoint_folder_remove(env, folder, e) : rc;
    rc = rc == ERRC_OK ? env->vt->mkdir(env, folder, e) : rc;
    mirror_done(&mirror);
    mem_free(folder);
    return rc;
}

/* ---- the state ---- */

static enum errc voter_remove(struct rebuild *rebuild, const struct meta_node *node, uint32_t sub, struct error *e)
{
    struct meta_command command = { .type = META_CMD_NODE_PUT, .node_put.node = *node };
    struct enc bytes = ENC_INIT;
    struct enc result = ENC_INIT;
    command.node_put.node.state = META_NODE_REMOVED_FOR_EVER;
    meta_command_encode(&bytes, &command);
    enum errc rc = machine_apply(rebuild->machine, rebuild->info.index, sub, enc_slice(&bytes), &result, e);
    enc_free(&result);
    enc_free(&bytes);
    if (rc == ERRC_OK) {
        rebuild->config->on_removed(rebuild->config->data, node->name);
    }
    return rc;
}

static enum errc others_remove(struct rebuild *rebuild, struct error *e)
{
    const struct meta_query query = { .type = META_QRY_CLUSTER };
    struct meta_cluster_reply map;
    struct arena arena;
    struct enc question = ENC_INIT;
    struct enc answer = ENC_INIT;
    uint32_t sub = 0;
    arena_init(&arena, MAP_ARENA_BYTES);
    meta_query_encode(&question, &query);
    enum errc rc = machine_query(rebuild->machine, enc_slice(&question), false, &answer, e);
    if (rc == ERRC_OK && meta_cluster_reply_decode(enc_slice(&answer), &arena, &map) != ERRC_OK) {
        rc = error_set(e, ERRC_CORRUPT, "the backup's map of the cluster makes no sense");
    }
    for (uint32_t i = 0; rc == ERRC_OK && i < map.node_count; i++) {
        const struct meta_node *node = &map.nodes[i];
        if (node->role == ROLE_METADATA && node->state != META_NODE_REMOVED_FOR_EVER &&
            !node_id_equal(node->id, rebuild->config->node)) {
            rc = voter_remove(rebuild, node, ++sub, e);
        }
    }
    enc_free(&answer);
    enc_free(&question);
    arena_done(&arena);
    return rc;
}

static enum errc state_renew(struct rebuild *rebuild, struct error *e)
{
    uint64_t position = 0;
    uint32_t sub = 0;
    machine_position(rebuild->machine, &position, &sub);
    if (position == 0) {
        return error_set(e, ERRC_CORRUPT, "the backup holds no state");
    }
    enum errc rc = ERRC_OK;
    if (rebuild->config->complete) {
        rebuild->info = (struct checkpoint_info){ position, rebuild->config->term };
    } else {
        rebuild->info = (struct checkpoint_info){ position + POSITION_STEP, rebuild->config->term + TERM_STEP };
        rc = machine_rebuilt(rebuild->machine, rebuild->info.index, e);
        rc = rc == ERRC_OK ? others_remove(rebuild, e) : rc;
    }
    return rc == ERRC_OK ? checkpoint_make(rebuild->config->env, rebuild->kv, rebuild->mirror.dir, rebuild->info, e) : rc;
}

static enum errc state_open(struct rebuild *rebuild, const char *folder, struct error *e)
{
    const struct voter_rebuild_config *config = rebuild->config;
    const struct kv_options options = { .cache_bytes = 16u << 20, .memtable_bytes = 8u << 20, .blob_min_bytes = 1024,
                                        .background_threads = 1 }; /* as a voter's, but small */
    enum errc rc = config->kv_factory->open(config->kv_factory, folder, &options, &rebuild->kv, e);
    return rc == ERRC_OK ? machine_open(rebuild->kv, &rebuild->machine, e) : rc;
}

/* Steps 2 and 3, without the entry. */
static enum errc checkpoint_create(struct rebuild *rebuild, const char *folder, struct error *e)
{
    enum errc rc = checkpoint_prune(rebuild->config->env, rebuild->mirror.dir, 0, e);
    rc = rc == ERRC_OK ? state_open(rebuild, folder, e) : rc;
    rc = rc == ERRC_OK ? state_renew(rebuild, e) : rc;
    machine_close(rebuild->machine);
    if (rebuild->kv != NULL) {
        rebuild->kv->vt->close(rebuild->kv);
    }
    return rc;
}

/* ---- the voter ---- */

static struct raft_core_members alone(const struct rebuild *rebuild)
{
    struct raft_core_members members = { .index = rebuild->info.index, .count = 1,
                                         .list[0] = { .id = rebuild->config->raft_id, .votes = true } };
    char node[ID_HEX_BYTES];
    id_hex(rebuild->config->node.bytes, node);
    STATIC_ASSERT(sizeof(node) <= RAFT_NODE_TEXT_BYTES, "a member's name holds a node's id");
    memcpy(members.list[0].node, node, sizeof(node));
    return members;
}

static enum errc entry_write(struct rebuild *rebuild, const struct raft_core_members *members, struct error *e)
{
    struct env *env = rebuild->config->env;
    struct enc data = ENC_INIT;
    struct enc bytes = ENC_INIT;
    struct env_file *file = NULL;
    char *folder = mem_format("%s/checkpoint-%016llx", rebuild->mirror.dir, (unsigned long long)rebuild->info.index);
    char *path = mem_format("%s/" CHECKPOINT_ENTRY_NAME, folder);
    enum errc rc = raft_core_change(members, &data, e);
    if (rc == ERRC_OK) {
        const struct snapshot_description description = {
            .cluster = rebuild->config->cluster, .index = rebuild->info.index, .members = *members,
            .entry = { rebuild->info.term, RAFT_CORE_CHANGE, enc_slice(&data) },
        };
        snapshot_description_encode(&bytes, &description);
        rc = env->vt->open(env, path, ENV_OPEN_CREATE | ENV_OPEN_TRUNCATE, &file, e);
    }
    if (rc == ERRC_OK) {
        const struct iovec part = { bytes.data, bytes.len };
        rc = env->vt->pwritev(env, file, &part, 1, 0, e);
        rc = rc == ERRC_OK ? env->vt->fdatasync(env, file, e) : rc;
        env->vt->close(env, file);
    }
    rc = rc == ERRC_OK ? env->vt->fsync_dir(env, folder, e) : rc;
    mem_free(path);
    mem_free(folder);
    enc_free(&bytes);
    enc_free(&data);
    return rc;
}

static enum errc state_write(struct rebuild *rebuild, const struct raft_core_members *members, struct error *e)
{
    const struct voter_rebuild_config *config = rebuild->config;
    struct mirror_state *state = mem_zalloc(sizeof(*state));
    *state = (struct mirror_state){ .cluster = config->cluster, .generation = 1, .term = rebuild->info.term,
                                    .raft_id = config->raft_id, .members = *members, .install_index = rebuild->info.index,
                                    .wanted = 1, .dir_count = 1 };
    state->dirs[0].disk = config->dir.disk;
    state->dirs[0].is_mirror = true;
    state->dirs[0].is_counted = true;
    size_t len = strlen(config->dir.path);
    enum errc rc = len < MIRROR_PATH_BYTES ? ERRC_OK : error_set(e, ERRC_LIMIT, "'%s' is too long", config->dir.path);
    if (rc == ERRC_OK) {
        memcpy(state->dirs[0].path, config->dir.path, len + 1);
        env_random(config->env, &state->nonce, sizeof(state->nonce));
        rc = mirror_state_write(&rebuild->mirror, state, e);
    }
    mem_free(state);
    return rc;
}

enum errc voter_rebuild(const struct voter_rebuild_config *config, struct error *e)
{
    struct rebuild rebuild = { .config = config };
    char *folder = voter_rebuild_folder(config->dir.path);
    mirror_init(&rebuild.mirror, config->env, config->cluster, config->dir.disk, config->dir.path);
    enum errc rc = checkpoint_create(&rebuild, folder, e);
    if (rc == ERRC_OK) {
        const struct raft_core_members members = alone(&rebuild);
        rc = entry_write(&rebuild, &members, e);
        rc = rc == ERRC_OK ? state_write(&rebuild, &members, e) : rc;
    }
    rc = rc == ERRC_OK ? checkpoint_folder_remove(config->env, folder, e) : rc;
    mirror_done(&rebuild.mirror);
    mem_free(folder);
    return rc;
}
