/*
 * The order of start-up (a crash at each step: server/README.md):
 *   0 TLS files, a look at the ports
 *   1 look at every DIR and lock it   2 keys   3 voter   4 superblocks of new DIRs   5 storage node
 *   6 map, groups, recorded code      7 session and background work   8 gateway   9 listeners
 */
#include "server/server_lifecycle.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/io/log.h"
#include "common/rpc/rpc_schema.h"
#include "server/admin_api.h"
#include "server/cluster.h"
#include "server/first_start.h"
#include "server/fsck.h"
#include "server/salvage.h"
#include "server/server_steps.h"
#include "server/server.h"
#include "server/server_background.h"
#include "server/server_disks.h"
#include "server/stop_watch.h"
#include "server/trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define QUERY_THREADS 2
#define DRAIN_MS 30000
#define CALL_TIMEOUT_MS 30000
#define LAST_CALLS_NS UINT64_C(3000000000) /* to voters, which may be gone too, of a process that ends */
#define JOINS_ARENA_BYTES (4u << 20)

/* ---- step 0: what can be refused before a DIR is touched ---- */

enum errc server_step_tls(struct server *server, struct error *e)
{
    const struct server_options *options = &server->options;
    return options->tls_cert == NULL ? ERRC_OK : http_tls_open(options->tls_cert, options->tls_key, &server->tls, e);
}

static enum errc start_ports(struct server *server, struct error *e)
{
    enum errc rc = server_address_probe(&server->options.s3_listen, e);
    return rc == ERRC_OK ? server_address_probe(&server->options.admin_listen, e) : rc;
}

/* ---- step 2: keys ---- */

/* The newest generation among the DIRs. */
enum errc server_credentials_find(struct server *server, struct error *e)
{
    struct error why = ERROR_INIT;
    for (unsigned i = 0; i < server->dirs.count; i++) {
        struct credentials found;
        struct error problem = ERROR_INIT;
        if (server->dirs.dirs[i].kind != DATA_DIR_KNOWN) {
            continue;
        }
        enum errc rc = credentials_read(server->env, server->dirs.dirs[i].path, &found, &problem);
        if (rc == ERRC_FORMAT) {
            return error_set(e, rc, "%s", problem.text);
        }
        if (rc != ERRC_OK || !cluster_id_equal(found.cluster, server->dirs.cluster)) {
            why = rc != ERRC_OK ? problem : why;
            continue;
        }
        if (found.generation > server->credentials.generation) {
            server->credentials = found;
        }
        mem_wipe(&found, sizeof(found));
    }
    if (server->credentials.generation == 0) {
        return error_set(e, ERRC_CORRUPT, "no directory has readable credentials (%s)",
                         why.code != ERRC_OK ? why.text : "none found");
    }
    return ERRC_OK;
}

/* Keys given in the environment: taken at the first start, rotated to later. */
enum errc server_credentials_from_environment(struct server *server, bool *ret_changed, struct error *e)
{
    const char *access_key = getenv("CAIRN_ROOT_ACCESS_KEY");
    const char *secret_key = getenv("CAIRN_ROOT_SECRET_KEY");
    *ret_changed = false;
    if (access_key == NULL && secret_key == NULL) {
        return ERRC_OK;
    }
    if (access_key == NULL || secret_key == NULL) {
        return error_set(e, ERRC_INVALID, "CAIRN_ROOT_ACCESS_KEY and CAIRN_ROOT_SECRET_KEY go together");
    }
    enum errc rc = credentials_check(access_key, secret_key, e);
    if (rc != ERRC_OK) {
        return rc;
    }
    struct credentials *credentials = &server->credentials;
    if (slice_equal_str(slice_str(access_key), credentials->access_key) &&
        slice_equal_str(slice_str(secret_key), credentials->secret_key)) {
        return ERRC_OK;
    }
    memcpy(credentials->access_key, access_key, strlen(access_key) + 1);
    memcpy(credentials->secret_key, secret_key, strlen(secret_key) + 1);
    *ret_changed = true;
    return ERRC_OK;
}

static enum errc credentials_store(struct server *server, struct error *e)
{
    for (unsigned i = 0; i < server->dirs.count; i++) {
        const struct data_dir *dir = &server->dirs.dirs[i];
        if (dir->lock == NULL) {
            continue; /* absent or lost */
        }
        enum errc rc = credentials_write(server->env, dir->path, &server->credentials, e);
        if (rc != ERRC_OK) {
            return rc;
        }
    }
    return ERRC_OK;
}

static enum errc start_credentials_first(struct server *server, struct error *e)
{
    bool given = false;
    env_random(server->env, server->dirs.cluster.bytes, ID_BYTES);
    credentials_generate(server->env, server->dirs.cluster, &server->credentials);
    enum errc rc = server_credentials_from_environment(server, &given, e);
    for (unsigned i = 0; i < server->dirs.count && rc == ERRC_OK; i++) {
        rc = data_dir_prepare(server->env, &server->dirs.dirs[i], e);
        env_random(server->env, server->dirs.dirs[i].disk.bytes, ID_BYTES);
    }
    rc = rc == ERRC_OK ? credentials_store(server, e) : rc;
    server->print_keys = !given;
    return rc;
}

/*
 * A DIR that cannot be written gets the new keys at the next start, from the others: the highest generation wins. That needs
 * one that has it at each later start, and more than half of the DIRs are there at any that needs no word of the operator.
 */
static enum errc credentials_rotate(struct server *server, struct error *e)
{
    struct error why = ERROR_INIT;
    unsigned written = 0;
    server->credentials.generation++;
    for (unsigned i = 0; i < server->dirs.count; i++) {
        const struct data_dir *dir = &server->dirs.dirs[i];
        struct error problem = ERROR_INIT;
        if (dir->kind != DATA_DIR_KNOWN) {
            continue;
        }
        if (credentials_write(server->env, dir->path, &server->credentials, &problem) == ERRC_OK) {
            written++;
        } else {
            LOG_WARN(log_event("credentials_not_written"), log_text("path", dir->path), log_error_of(&problem));
            why = problem;
        }
    }
    if (2 * written <= server->dirs.count) {
        return error_set(e, why.code != ERRC_OK ? why.code : ERRC_UNAVAILABLE,
                         "the new root keys are on %u of %u directories, which is not enough to keep them%s%s%s", written,
                         server->dirs.count, written > 0 ? ", though they hold from the next start on" : "",
                         why.code != ERRC_OK ? ": " : "", why.code != ERRC_OK ? why.text : "");
    }
    LOG_WARN(log_event("root_keys_rotated"), log_text("access_key", server->credentials.access_key),
             log_u64("generation", server->credentials.generation), log_u64("directories", written));
    return ERRC_OK;
}

/* New DIRs of a known data set join unless a known disk is missing: then they wait for `cairn disk replace`. */
static enum errc start_credentials_again(struct server *server, struct error *e)
{
    bool rotated = false;
    enum errc rc = server_credentials_find(server, e);
    rc = rc == ERRC_OK ? server_credentials_from_environment(server, &rotated, e) : rc;
    if (rc == ERRC_OK && rotated) {
        return credentials_rotate(server, e);
    }
    /* A DIR that missed the last rotation, or was damaged, gets the newest keys now. */
    for (unsigned i = 0; i < server->dirs.count && rc == ERRC_OK; i++) {
        struct credentials found = { .generation = 0 };
        const struct data_dir *dir = &server->dirs.dirs[i];
        if (dir->kind == DATA_DIR_KNOWN &&
            (credentials_read(server->env, dir->path, &found, NULL) != ERRC_OK ||
             found.generation != server->credentials.generation) &&
            credentials_write(server->env, dir->path, &server->credentials, NULL) != ERRC_OK) {
            LOG_WARN(log_event("credentials_not_written"), log_text("path", dir->path));
        }
        mem_wipe(&found, sizeof(found));
    }
    return rc;
}

static enum errc start_credentials(struct server *server, struct error *e)
{
    return server->first_start ? start_credentials_first(server, e) : start_credentials_again(server, e);
}

/* Identities of the S3 and admin ports: the root keys, fixed while the process runs. Any thread. */
bool server_identity_find(void *data, struct slice access_key, struct auth_identity *ret_identity)
{
    const struct server *server = data;
    const char *secret = server->credentials.secret_key;
    if (!slice_equal_str(access_key, server->credentials.access_key)) {
        return false;
    }
    *ret_identity = (struct auth_identity){ .secret_len = strlen(secret), .is_root = true };
    memcpy(ret_identity->secret, secret, ret_identity->secret_len);
    return true;
}

/* ---- step 1: directories ---- */

static enum errc start_dirs(struct server *server, struct error *e)
{
    const struct server_options *options = &server->options;
    enum errc rc = data_dirs_open(server->env, options->dirs, options->dir_count, &server->dirs, e);
    if (rc != ERRC_OK) {
        return rc;
    }
    server->first_start = server->dirs.known_count == 0;
    if (!server->first_start) {
        rc = cluster_from_refuse(server->env, &server->dirs, e);
        return rc == ERRC_OK ? first_start_finish(&server->dirs, e) : rc;
    }
    uint8_t k = options->erasure_k;
    uint8_t m = options->erasure_m;
    if (!options->has_erasure) {
        server_erasure_default(server->dirs.count, &k, &m);
    }
    if ((unsigned)k + m > server->dirs.count) {
        return error_set(e, ERRC_INVALID, "--erasure %u+%u needs %u directories, %u are given: '%s' is the last", k, m,
                         k + m, server->dirs.count, server->dirs.dirs[server->dirs.count - 1].path);
    }
    server->class_k = k;
    server->class_m = m;
    return ERRC_OK;
}

/* ---- step 3: metadata ---- */

enum errc server_step_executors(struct server *server, struct error *e)
{
    struct env *env = server->env;
    (void)e;
    server->meta_executor = env->vt->executor_create(env, "meta", 1);
    server->query_pool = env->vt->executor_create(env, "meta-read", QUERY_THREADS);
    server->completions = env->vt->executor_create(env, "server", 1);
    server->admin_jobs = env->vt->executor_create(env, "admin", 1);
    return ERRC_OK;
}

/* On the voter's executor, or on the main thread during start-up. */
void server_on_voter_event(void *data, const char *event, const char *path, const char *text)
{
    (void)data;
    LOG_WARN(log_event(event), log_text("path", path), log_text("reason", text));
}

static enum errc start_voter(struct server *server, struct error *e)
{
    /* A code that survives more losses is the metadata's too; one that survives fewer leaves what there is as it is. */
    unsigned wanted = server->first_start ? server->class_m + 1u
                                          : (server->options.has_erasure ? server->options.erasure_m + 1u : 0);
    struct voter_dir dirs[SERVER_DIRS_MAX];
    unsigned count = 0;
    for (unsigned i = 0; i < server->dirs.count; i++) {
        const struct data_dir *dir = &server->dirs.dirs[i];
        if (server->first_start || dir->kind == DATA_DIR_KNOWN) {
            dirs[count++] = (struct voter_dir){ dir->disk, dir->path };
        }
    }
    const struct voter_config config = {
        .env = server->env, .kv_factory = kv_factory_rocksdb(), .executor = server->meta_executor,
        .query_pool = server->query_pool, .cluster = server->dirs.cluster, .dir_count = count, .dirs = dirs,
        .mirrors_wanted = wanted, .bootstrap = server->first_start,
        .start_without_count = server->options.start_without_count, .start_without = server->options.start_without,
        .on_event = server_on_voter_event,
    };
    enum errc rc = voter_open(&config, &server->voter, e);
    if (rc == ERRC_OK) {
        metadata_client_init(&server->meta, voter_channel(server->voter), server->env, CALL_TIMEOUT_MS);
    }
    return rc == ERRC_OK && !server->first_start ? server_class_check(server, e) : rc;
}

/* ---- step 4: superblocks ---- */

static enum errc start_format(struct server *server, struct error *e)
{
    enum errc rc = ERRC_OK;
    for (unsigned i = 0; i < server->dirs.count && rc == ERRC_OK && server->first_start; i++) {
        rc = data_dir_format(server->env, &server->dirs.dirs[i], server->dirs.cluster, e);
    }
    return rc;
}

/* ---- step 5: storage node ---- */

static enum errc start_node(struct server *server, struct error *e)
{
    const struct cluster_map_config map = { .env = server->env, .executor = server->completions,
                                            .meta = &server->meta, .cluster = server->dirs.cluster };
    memcpy(server->node_id.bytes, server->dirs.cluster.bytes, ID_BYTES); /* one node, named like its cluster */
    server->map = cluster_map_create(&map);
    enum errc rc = server_step_node(server, e);
    if (rc == ERRC_OK) {
        cluster_map_set_node(server->map, server->node_id, node_channel(server->node));
    }
    return rc;
}

/* ---- step 6: map ---- */

/* Is a disk of the map not here? */
static bool disk_is_missing(struct server *server, const struct meta_cluster_reply *map)
{
    bool missing = false;
    for (uint32_t i = 0; i < map->disk_count; i++) {
        const struct meta_disk *disk = &map->disks[i];
        missing = missing ||
                  (disk->state != META_DISK_REMOVED && node_disk_state(server->node, disk->id) == DISK_ABSENT);
    }
    return missing;
}

static enum errc dir_join(struct server *server, struct data_dir *dir, struct error *e)
{
    env_random(server->env, dir->disk.bytes, ID_BYTES);
    enum errc rc = data_dir_prepare(server->env, dir, e);
    rc = rc == ERRC_OK ? credentials_write(server->env, dir->path, &server->credentials, e) : rc;
    rc = rc == ERRC_OK ? data_dir_format(server->env, dir, server->dirs.cluster, e) : rc;
    if (rc == ERRC_OK) {
        const struct node_disk_config config = server_disk_config(dir);
        rc = node_disk_add(server->node, &config, e);
    }
    return rc;
}

/* Empty and absent DIRs of a known data set join as new disks, unless a known disk is missing: then an empty DIR may
 * be its freshly mounted replacement, which only `cairn disk replace` can say, and an absent one the lost disk. */
static enum errc start_joins(struct server *server, struct error *e)
{
    bool missing = false;
    bool joined[SERVER_DIRS_MAX] = { false };
    struct arena arena;
    struct meta_op op;
    const struct meta_query query = { .type = META_QRY_CLUSTER };
    arena_init(&arena, JOINS_ARENA_BYTES);
    enum errc rc = wait_query(&server->meta, server->completions, &arena, &op, &query, e);
    if (rc == ERRC_OK) {
        missing = disk_is_missing(server, &op.cluster);
    }
    meta_op_release(&op);
    arena_done(&arena);
    for (unsigned i = 0; i < server->dirs.count && rc == ERRC_OK && !server->first_start; i++) {
        struct data_dir *dir = &server->dirs.dirs[i];
        if (dir->kind == DATA_DIR_UNREADABLE) {
            LOG_ERROR(log_event("dir_unreadable"), log_text("path", dir->path), log_error_of(&dir->problem),
                      log_text("note", "starting without it"));
        } else if (dir->kind != DATA_DIR_KNOWN && missing) {
            LOG_ERROR(log_event(dir->kind == DATA_DIR_ABSENT ? "dir_missing" : "dir_empty"),
                      log_text("path", dir->path),
                      log_text("note", dir->kind == DATA_DIR_ABSENT
                                           ? "starting without it"
                                           : "a known disk is missing: 'cairn disk replace' adopts this directory"));
        } else if (dir->kind != DATA_DIR_KNOWN) {
            rc = dir_join(server, dir, e);
            joined[i] = rc == ERRC_OK;
        }
    }
    server_disks_await(server);
    for (unsigned i = 0; i < server->dirs.count && rc == ERRC_OK; i++) {
        if (joined[i]) { /* a metadata mirror from now on, where one is wanted */
            const struct data_dir *dir = &server->dirs.dirs[i];
            voter_mirror_replace(server->voter, (struct disk_id){ { 0 } }, dir->disk, dir->path);
        }
    }
    return rc;
}

static void on_refreshed(void *data, enum errc status)
{
    waiter_wake(data, status);
}

enum errc server_map_await(struct server *server, struct error *e)
{
    struct waiter waiter;
    waiter_init(&waiter);
    cluster_map_refresh(server->map, on_refreshed, &waiter);
    enum errc rc = waiter_wait(&waiter);
    return rc == ERRC_OK ? rc : error_set(e, rc, "reading the cluster map: %s", errc_text(rc));
}

static enum errc start_map(struct server *server, struct error *e)
{
    enum errc rc = server_class_settle(server, e);
    rc = rc == ERRC_OK ? server_disks_register(server, e) : rc;
    return rc == ERRC_OK ? server_map_await(server, e) : rc;
}

/* ---- step 7: session and background work ---- */

/* The session lives on `completions`: opened, closed and freed there. */
struct session_call {
    struct session *session;
    struct waiter waiter;
};

static void session_open_there(void *data)
{
    struct session_call *call = data;
    session_open(call->session, on_refreshed, &call->waiter);
}

static void session_close_there(void *data)
{
    struct session_call *call = data;
    session_close(call->session, on_refreshed, &call->waiter);
}

static void session_destroy_there(void *data)
{
    session_destroy(data);
}

/* A shard that is not there is news to repair, not to the operator. */
static void on_shard_failed(void *data, struct disk_id disk, const struct rpc_call *call)
{
    struct server *server = data;
    char id[ID_HEX_BYTES];
    char node[ID_HEX_BYTES] = "";
    struct cluster_map_disk found = { .path = "" };
    if (call->status == ERRC_NOT_FOUND || call->status == ERRC_CANCELED) {
        return;
    }
    id_hex(disk.bytes, id);
    if (cluster_map_disk_find(server->map, disk, &found) && !node_id_is_zero(found.node)) {
        id_hex(found.node.bytes, node); /* empty: one of ours */
    }
    LOG_WARN(log_event("shard_call_failed"), log_text("method", rpc_method_name(call->method)), log_text("disk", id),
             log_text("node", node), log_text("path", found.path), log_text("status", errc_text(call->status)), log_error_of(&call->error));
}

enum errc server_step_session(struct server *server, struct error *e)
{
    const struct session_config config = { .env = server->env, .executor = server->completions, .meta = &server->meta,
                                           .node = server->node_id };
    struct data_config data = data_config_default();
    if (server->options.has_small_classes) {
        data.inline_bytes_max = server->options.inline_bytes_max;
        data.copies_bytes_max = server->options.copies_bytes_max;
    }
    server->session = session_create(&config);
    data_store_init(&server->store, server->env, &data, &server->meta, server->session, server->map);
    server->store.shard_failed = on_shard_failed;
    server->store.shard_failed_data = server;
    struct session_call call = { .session = server->session };
    waiter_init(&call.waiter);
    wait_run(server->completions, session_open_there, &call);
    enum errc rc = waiter_wait(&call.waiter);
    if (rc != ERRC_OK) {
        return error_set(e, rc, "opening the session: %s", errc_text(rc));
    }
    atomic_store(&server->background, background_start(server));
    return ERRC_OK;
}

/* ---- step 8: gateway ---- */

static void key_derive(const struct server *server, const char *purpose, uint8_t *ret_key, size_t len)
{
    uint8_t mac[SHA256_BYTES];
    hmac_sha256(slice_of(server->credentials.cluster_secret, CLUSTER_SECRET_BYTES), slice_str(purpose), mac);
    memcpy(ret_key, mac, len);
    mem_wipe(mac, sizeof(mac));
}

/* One line for each request, on its loop. */
static void on_access(void *data, const struct gateway_access *access)
{
    struct server *server = data;
    trace_add(server->trace, access);
    LOG_ACCESS(log_event("request"), log_slice("id", access->request_id), log_slice("method", access->method),
               log_text("op", s3_operation_name(access->operation)), log_slice("bucket", access->bucket),
               log_slice("key", access->key), log_u64("status", access->status),
               log_text("cut", access->cut ? "yes" : "no"), log_slice("code", access->error_code),
               log_u64("received", access->received_bytes), log_u64("sent", access->sent_bytes),
               log_ms_of_ns("ms", access->duration_us * 1000), log_slice("principal", access->principal),
               log_text("peer", access->peer));
    if (access->cause.len > 0) {
        LOG_WARN(log_event("request_failed"), log_slice("id", access->request_id), log_slice("error", access->cause));
    }
}

enum errc server_step_gateway(struct server *server, struct error *e)
{
    const struct server_options *options = &server->options;
    for (unsigned i = 0; i < options->domain_count; i++) {
        server->domains[i] = slice_str(options->domains[i]);
    }
    server->s3_config = (struct s3_config){ server->domains, options->domain_count, slice_str(options->region) };
    server->trace = trace_create(server->env);
    struct gateway_config config = {
        .env = server->env, .store = &server->store, .s3 = server->s3_config,
        .identities = { server_identity_find, server }, .any_region = options->any_region,
        .class_k = server->class_k, .class_m = server->class_m, .loop_count = server->loop_count,
        .access_log = on_access, .access_log_data = server,
    };
    key_derive(server, "version id", config.version_key, sizeof(config.version_key));
    key_derive(server, "list token", config.token_key, sizeof(config.token_key));
    server->gateway = gateway_create(&config);
    mem_wipe(config.version_key, sizeof(config.version_key));
    mem_wipe(config.token_key, sizeof(config.token_key));
    return server->gateway != NULL ? ERRC_OK : error_set(e, ERRC_INTERNAL, "the gateway cannot be made");
}

/* ---- step 9: listeners ---- */

enum errc server_step_loops(struct server *server, struct error *e)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned count = server->options.threads > 0 ? server->options.threads : cores > 0 ? (unsigned)cores : 1;
    count = count < SERVER_LOOPS_MAX ? count : SERVER_LOOPS_MAX;
    enum errc rc = ERRC_OK;
    for (unsigned i = 0; i < count && rc == ERRC_OK; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "s3-%u", i);
        rc = loop_create(server->env, name, &server->loops[i], e);
        server->loop_count += rc == ERRC_OK ? 1 : 0;
        rc = rc == ERRC_OK ? loop_start(server->loops[i], e) : rc;
    }
    return rc;
}

/* Voters have no gateway, and answer admin verbs all the same. */
static void admin_prepare(struct server *server)
{
    uint8_t key[GATEWAY_VERSION_KEY_BYTES];
    server->s3_config.region = slice_str(server->options.region);
    server->admin_auth = (struct auth_config){ .identities = { server_identity_find, server },
                                               .region = server->s3_config.region, .any_region = true };
    key_derive(server, "version id", key, sizeof(key));
    server->version_cipher = block_cipher_create(key);
    mem_wipe(key, sizeof(key));
}

enum errc server_step_admin(struct server *server, struct error *e)
{
    const struct server_options *options = &server->options;
    admin_prepare(server);
    enum errc rc = loop_create(server->env, "admin-loop", &server->admin_loop, e);
    rc = rc == ERRC_OK ? loop_start(server->admin_loop, e) : rc;
    rc = rc == ERRC_OK ? http_admin_create(server->admin_loop, options->admin_listen.host, options->admin_listen.port,
                                           server->tls, &server->admin, e) : rc;
    if (rc == ERRC_OK) {
        server->fsck = server->voter != NULL ? fsck_create(server) : NULL;
        server->salvage = server->voter != NULL && server->cluster != NULL ? salvage_create(server) : NULL;
        admin_api_register(server, server->admin);
        rc = http_admin_start(server->admin, e);
    }
    return rc;
}

enum errc server_step_front(struct server *server, struct error *e)
{
    const struct server_options *options = &server->options;
    const struct http_front_options front = {
        .env = server->env, .loops = server->loops, .loop_count = server->loop_count,
        .address = options->s3_listen.host, .port = options->s3_listen.port, .tls = server->tls,
        .handler = gateway_handler(server->gateway),
    };
    return http_front_start(&front, &server->front, e);
}

/* What a person at the terminal wants to know, once. Keys go to standard output only, never to the log. */
static void banner_print(const struct server *server)
{
    const char *scheme = server->tls != NULL ? "https" : "http";
    const char *host = server->options.s3_listen.host;
    bool v6 = strchr(host, ':') != NULL;
    (void)printf("Cairn %s serves S3 on %s://%s%s%s:%u\n", CAIRN_VERSION, scheme, v6 ? "[" : "", host, v6 ? "]" : "",
                 http_front_port(server->front));
    host = server->options.admin_listen.host;
    v6 = strchr(host, ':') != NULL;
    (void)printf("  admin, health, metrics  %s://%s%s%s:%u\n", scheme, v6 ? "[" : "", host, v6 ? "]" : "",
                 http_admin_port(server->admin));
    (void)printf("  directories             %u, new buckets use %u+%u%s\n", server->dirs.count, server->class_k,
                 server->class_m, server->class_m > 0 ? "" : ": NO REDUNDANCY");
    (void)printf("  region                  %s\n", server->options.region);
    (void)printf("  access key              %s\n", server->credentials.access_key);
    if (server->print_keys) {
        (void)printf("  secret key              %s\n"
                     "                          (shown only now; kept in the file `credentials` of every directory)\n",
                     server->credentials.secret_key);
    }
    if (server->class_m == 0) {
        (void)printf("WARNING: one directory, 1+0: a lost or damaged disk loses data. Give more directories.\n");
        LOG_WARN(log_event("no_redundancy"), log_text("note", "one disk holds the only copy of everything"));
    }
    (void)fflush(stdout);
}

/* ---- start, reload, stop ---- */

enum errc server_start(const struct server_options *options, struct server **ret_server, struct error *e)
{
    static const server_step alone[] = {
        server_step_tls, start_ports, start_dirs, start_credentials, server_step_executors, start_voter, start_format,
        start_node, start_joins, start_map, server_step_session, server_step_scrubs, server_step_loops, server_step_gateway,
        server_step_admin, server_step_front, NULL,
    };
    struct server *server = mem_zalloc(sizeof(*server));
    server->env = env_real();
    server->options = *options;
    (void)pthread_mutex_init(&server->dirs_lock, NULL);
    const server_step *steps = alone;
    if (options->command != SERVER_ALL) {
        server->cluster = mem_zalloc(sizeof(*server->cluster));
        server->cluster->server = server;
        (void)pthread_mutex_init(&server->cluster->guard, NULL);
        (void)pthread_mutex_init(&server->cluster->yield_guard, NULL);
        steps = cluster_steps(options->command);
    }
    enum errc rc = ERRC_OK;
    for (size_t i = 0; steps[i] != NULL && rc == ERRC_OK; i++) {
        rc = steps[i](server, e);
    }
    if (rc != ERRC_OK) {
        server->failed = true;
        enum errc stopped = server_stop(server, NULL);
        ASSERT(stopped == ERRC_OK); /* the cause of rc is in e */
        return rc;
    }
    atomic_store(&server->ready, true);
    if (server->cluster != NULL) {
        cluster_banner_print(server);
    } else {
        banner_print(server);
    }
    *ret_server = server;
    return ERRC_OK;
}

void server_reload(struct server *server)
{
    struct error e = ERROR_INIT;
    if (server->tls == NULL) {
        return;
    }
    if (http_tls_reload(server->tls, &e) != ERRC_OK) {
        LOG_ERROR(log_event("tls_reload_failed"), log_error_of(&e));
    } else {
        LOG_INFO(log_event("tls_reloaded"));
    }
}

static void on_ended(void *data)
{
    waiter_wake(data, ERRC_OK);
}

struct admin_close {
    struct http_admin *admin;
    struct waiter waiter;
};

static void admin_close_there(void *data)
{
    struct admin_close *close = data;
    http_admin_close(close->admin, on_ended, &close->waiter);
}

static void admin_destroy_there(void *data)
{
    http_admin_destroy(data);
}

static void stop_listeners(struct server *server)
{
    struct waiter waiter;
    if (server->front != NULL) {
        waiter_init(&waiter);
        http_front_drain(server->front, DRAIN_MS, on_ended, &waiter);
        (void)waiter_wait(&waiter);
    }
    if (server->admin != NULL) {
        struct admin_close close = { .admin = server->admin };
        waiter_init(&close.waiter);
        wait_run(loop_executor(server->admin_loop), admin_close_there, &close);
        (void)waiter_wait(&close.waiter);
        wait_run(loop_executor(server->admin_loop), admin_destroy_there, server->admin);
    }
    if (server->front != NULL) { /* /metrics asks it to the last */
        http_front_destroy(server->front);
    }
}

static void stop_services(struct server *server, struct stop_watch *watch)
{
    struct waiter waiter;
    struct server_background *background = atomic_exchange(&server->background, NULL);
    stop_watch_step(watch, "repair, collection and scrubs");
    background_stop(background);
    stop_watch_step(watch, "the end of the session");
    if (server->session != NULL) {
        struct session_call call = { .session = server->session };
        waiter_init(&call.waiter);
        wait_run(server->completions, session_close_there, &call);
        (void)waiter_wait(&call.waiter); /* a session that stays open is closed at the next start */
        wait_run(server->completions, session_destroy_there, server->session);
    }
    if (server->map != NULL) { /* nobody asks for it any more */
        waiter_init(&waiter);
        cluster_map_quiesce(server->map, on_refreshed, &waiter);
        (void)waiter_wait(&waiter); /* how the last refresh ended is of no interest */
    }
    if (server->node != NULL) {
        stop_watch_step(watch, "the disks");
        waiter_init(&waiter);
        node_close(server->node, on_ended, &waiter);
        (void)waiter_wait(&waiter);
    }
    if (server->voter != NULL) {
        stop_watch_step(watch, "the metadata");
        waiter_init(&waiter);
        voter_close(server->voter, on_ended, &waiter);
        (void)waiter_wait(&waiter);
    }
}

static void executor_end(struct executor *executor)
{
    if (executor != NULL) {
        executor_destroy(executor);
    }
}

static void nothing(void *data)
{
    (void)data;
}

static void jobs_end_there(void *data)
{
    struct server *server = data;
    server->jobs_ended = true;
}

enum errc server_stop(struct server *server, struct stop_watch *watch)
{
    atomic_store(&server->ready, false);
    stop_watch_step(watch, "requests under way");
    stop_listeners(server);
    if (server->cluster != NULL) {
        stop_watch_step(watch, "calls of other processes");
        cluster_stop_port(server);
        metadata_client_hurry(&server->meta, env_now_ns(server->env) + LAST_CALLS_NS);
    }
    stop_watch_step(watch, "jobs of the admin port");
    if (server->completions != NULL) {
        wait_run(server->completions, jobs_end_there, server);
    }
    executor_end(server->admin_jobs);
    fsck_destroy(server->fsck);
    salvage_destroy(server->salvage);
    stop_watch_step(watch, "connections");
    for (unsigned i = 0; i < server->loop_count; i++) {
        loop_stop(server->loops[i]);
        loop_destroy(server->loops[i]);
    }
    if (server->admin_loop != NULL) {
        loop_stop(server->admin_loop);
        loop_destroy(server->admin_loop);
    }
    gateway_destroy(server->gateway);
    trace_destroy(server->trace);
    stop_services(server, watch);
    stop_watch_step(watch, "the last threads");
    if (server->cluster != NULL) {
        cluster_clients_end(server);
    }
    if (server->completions != NULL) { /* answers of those who are gone now */
        wait_run(server->completions, nothing, NULL);
    }
    if (server->map != NULL) {
        cluster_map_destroy(server->map);
    }
    if (server->cluster != NULL) {
        cluster_free(server);
    }
    executor_end(server->query_pool);
    executor_end(server->meta_executor);
    executor_end(server->completions);
    metadata_client_done(&server->meta); /* its calls have ended with those who made them */
    block_cipher_destroy(server->version_cipher);
    if (server->tls != NULL) {
        http_tls_close(server->tls);
    }
    if (server->failed) {
        data_dirs_abandon(&server->dirs);
    } else {
        data_dirs_close(&server->dirs);
    }
    mem_wipe(&server->credentials, sizeof(server->credentials));
    (void)pthread_mutex_destroy(&server->dirs_lock);
    mem_free(server);
    return ERRC_OK;
}
