/*
 * `cairn metadata rebuild`: all voters are lost, and one is made out of a backup in a bucket. Offline.
 *
 * | # | step                                                  | a crash behind it leaves                       | and then       |
 * | 1 | `identity` names this voter only                      | a folder without metadata                      | again          |
 * | 2 | the backup's files, verified, into metadata/rebuild   | the same, and a folder that the next try wipes | again          |
 * | 3 | a checkpoint of the new history (voter_rebuild.h)     | the same, and a checkpoint that no state names | again          |
 * | 4 | metadata/state says that it is to be installed        | done: the voter can be started                 | start it       |
 */
#include "common/base/mem.h"
#include "metadata/voter_rebuild.h"
#include "server/cluster.h"
#include "tools/backup_fetch.h"

#include <stdio.h>
#include <string.h>

/* Everything that a voter cannot be without, and that a backup does not hold. */
static enum errc data_take(struct server *server, struct error *e)
{
    const char *data = server->options.data;
    static const char *const names[] = { "node.key", "node.pem", "ca.pem", "ca.key", "credentials" };
    enum errc rc = cluster_voter_data_take(server, e);
    for (size_t i = 0; rc == ERRC_OK && i < sizeof(names) / sizeof(names[0]); i++) {
        struct env_stat stat;
        char *path = mem_format("%s/%s", data, names[i]);
        if (server->env->vt->stat_path(server->env, path, &stat, NULL) != ERRC_OK) {
            rc = error_set(e, ERRC_NOT_FOUND, "'%s' is not there: the small files of a voter are no part of a backup", path);
        }
        mem_free(path);
    }
    return rc;
}

static enum errc backup_choose(struct server *server, const struct s3_client *client, struct backup *ret, struct error *e)
{
    char cluster[ID_HEX_BYTES];
    char *newest = NULL;
    id_hex(server->dirs.cluster.bytes, cluster);
    const char *name = server->options.backup;
    enum errc rc = name == NULL ? backup_newest(client, cluster, &newest, e) : ERRC_OK;
    name = name == NULL ? newest : name;
    rc = rc == ERRC_OK ? backup_read(client, cluster, name, ret, e) : rc;
    if (rc == ERRC_OK) {
        (void)printf("Backup %s\n  made %s, %zu files, %llu bytes\n", name, ret->made, ret->count,
                     (unsigned long long)backup_bytes(ret));
    }
    mem_free(newest);
    return rc;
}

static void on_removed(void *data, struct slice name)
{
    (void)data;
    (void)printf("Removed from the cluster: %.*s\n", (int)name.len, (const char *)name.data);
}

static enum errc rebuild(struct server *server, const struct s3_client *client, const struct backup *backup, struct error *e)
{
    struct voter_rebuild_config config = {
        .env = server->env, .kv_factory = kv_factory_rocksdb(), .cluster = server->dirs.cluster,
        .dir.path = server->options.data, .node = server->node_id, .raft_id = cluster_raft_id(server->node_id),
        .term = backup->term, .on_removed = on_removed,
    };
    memcpy(config.dir.disk.bytes, server->node_id.bytes, ID_BYTES);
    char *folder = voter_rebuild_folder(server->options.data);
    enum errc rc = voter_rebuild_begin(server->env, config.cluster, &config.dir, e);
    rc = rc == ERRC_OK ? cluster_voter_alone(server, e) : rc;
    rc = rc == ERRC_OK ? backup_fetch(client, backup, folder, e) : rc;
    rc = rc == ERRC_OK ? voter_rebuild(&config, e) : rc;
    mem_free(folder);
    return rc;
}

enum errc cluster_step_rebuild(struct server *server, struct error *e)
{
    const struct server_options *options = &server->options;
    struct s3_client client;
    struct backup backup = { .count = 0 };
    if (options->from == NULL) {
        return error_set(e, ERRC_INVALID, "--from s3://BUCKET/PREFIX says where the backups are");
    }
    enum errc rc = s3_client_init(&client, options->from, options->endpoint, e);
    rc = rc == ERRC_OK ? data_take(server, e) : rc;
    rc = rc == ERRC_OK ? backup_choose(server, &client, &backup, e) : rc;
    if (rc == ERRC_OK && !options->accepts_data_loss) {
        rc = error_set(e, ERRC_INVALID, "nothing was changed: if no voter is left, and this is the backup that you mean, say "
                       "--i-accept-data-loss");
    }
    rc = rc == ERRC_OK ? rebuild(server, &client, &backup, e) : rc;
    backup_free(&backup);
    return rc;
}

void cluster_rebuild_print(const struct server *server)
{
    const struct identity *identity = &server->cluster->identity;
    (void)printf("Voter '%s' has the metadata of the backup. No other voter of this cluster may ever run again.\n"
                 "Start it:  cairn metadata --data %s --listen %s\n"
                 "Then restart storage nodes and gateways, run 'cairn metadata salvage' and 'cairn fsck', and let other\n"
                 "voters join.\n",
                 identity->name, server->options.data, identity->address);
}
