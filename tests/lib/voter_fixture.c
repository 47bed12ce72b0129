#include "tests/lib/voter_fixture.h"

#include "common/base/assert.h"
#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/rpc/metadata_messages.h"
#include "common/rpc/rpc_schema.h"

#include <stdio.h>
#include <string.h>

#define ARENA_BYTES (1u << 20)

static const char *const paths[VF_DIRS_MAX] = { "/d0", "/d1", "/d2", "/d3", "/d4", "/d5", "/d6", "/d7" };

struct disk_id vf_disk(unsigned i)
{
    struct disk_id id;
    memset(id.bytes, (int)(0xd0 + i), ID_BYTES);
    return id;
}

const char *vf_path(unsigned i)
{
    ASSERT(i < VF_DIRS_MAX);
    return paths[i];
}

static void machine_begin(struct vf *f)
{
    struct env *env = env_sim_env(f->sim);
    dir_fault_init(&f->fault, env);
    kv_sim_factory_init(&f->kv, &f->fault.env, 20);
    f->executor = env->vt->executor_create(env, "voter", 1);
    f->query_pool = env->vt->executor_create(env, "query", 2);
    f->home = env->vt->executor_create(env, "home", 1);
}

static void machine_end(struct vf *f)
{
    env_sim_on_change(f->sim, NULL, NULL);
    executor_destroy(f->executor);
    executor_destroy(f->query_pool);
    executor_destroy(f->home);
    env_sim_destroy(f->sim);
}

void vf_init(struct vf *f, uint64_t seed, unsigned dirs, unsigned wanted)
{
    memset(f, 0, sizeof(*f));
    ASSERT(dirs <= VF_DIRS_MAX);
    f->sim = env_sim_create(seed, VF_DISK_BYTES);
    f->dirs = dirs;
    f->wanted = wanted;
    f->events = mem_strdup("");
    machine_begin(f);
    for (unsigned i = 0; i < dirs; i++) {
        vf_dir_make(f, i);
    }
}

void vf_done(struct vf *f)
{
    if (f->voter != NULL) {
        vf_close(f);
    }
    machine_end(f);
    mem_free(f->events);
}

void vf_dir_make(struct vf *f, unsigned i)
{
    struct env *env = env_sim_env(f->sim);
    enum errc rc = env->vt->mkdir(env, paths[i], NULL);
    ASSERT(rc == ERRC_OK);
    rc = env->vt->fsync_dir(env, "/", NULL);
    ASSERT(rc == ERRC_OK);
}

static void on_event(void *data, const char *event, const char *path, const char *text)
{
    struct vf *f = data;
    char *longer = mem_format("%s%s %s %s\n", f->events, event, path, text);
    mem_free(f->events);
    f->events = longer;
}

bool vf_event(const struct vf *f, const char *name)
{
    return strstr(f->events, name) != NULL;
}

void vf_events_clear(struct vf *f)
{
    f->events[0] = '\0';
}

enum errc vf_open(struct vf *f, bool bootstrap)
{
    struct voter_dir dirs[VF_DIRS_MAX];
    unsigned count = 0;
    struct cluster_id cluster;
    memset(cluster.bytes, 0xc1, ID_BYTES);
    for (unsigned i = 0; i < f->dirs; i++) {
        if (!f->absent[i]) {
            dirs[count++] = (struct voter_dir){ vf_disk(i), paths[i] };
        }
    }
    const struct voter_config config = {
        .env = &f->fault.env, .kv_factory = &f->kv.factory, .executor = f->executor, .query_pool = f->query_pool,
        .cluster = cluster, .dir_count = count, .dirs = dirs, .mirrors_wanted = bootstrap ? f->wanted : f->wanted_later,
        .bootstrap = bootstrap, .start_without_count = f->start_without_count, .start_without = f->start_without,
        .checkpoint_log_bytes = f->checkpoint_log_bytes, .log_segment_bytes = f->log_segment_bytes,
        .on_event = on_event, .data = f,
    };
    error_clear(&f->error);
    ASSERT(f->voter == NULL);
    return voter_open(&config, &f->voter, &f->error);
}

static void on_closed(void *data)
{
    atomic_store((atomic_bool *)data, true);
}

void vf_close(struct vf *f)
{
    atomic_bool closed = false;
    voter_close(f->voter, on_closed, &closed);
    env_sim_run_until(f->sim, &closed);
    f->voter = NULL;
}

void vf_restart(struct vf *f)
{
    if (f->voter != NULL) {
        vf_close(f);
    }
    enum errc rc = vf_open(f, false);
    if (rc != ERRC_OK) {
        (void)fprintf(stderr, "restart: %s\n", f->error.text);
    }
    ASSERT(rc == ERRC_OK);
}

void vf_adopt(struct vf *f, struct env_sim *clone)
{
    ASSERT(f->voter == NULL);
    machine_end(f);
    f->sim = clone;
    machine_begin(f);
}

void vf_crash(struct vf *f)
{
    struct env_sim *clone = env_sim_crash_clone(f->sim, env_sim_random(f->sim));
    if (f->voter != NULL) {
        vf_close(f);
    }
    vf_adopt(f, clone);
}

void vf_run_ms(struct vf *f, uint64_t ms)
{
    env_sim_run_ms(f->sim, ms);
}

/* ---- commands ---- */

static void on_put(struct rpc_call *call)
{
    struct vf_put *put = container_of(call, struct vf_put, call);
    put->status = call->status;
    if (call->status == ERRC_OK) {
        struct arena arena;
        struct meta_result result;
        arena_init(&arena, ARENA_BYTES);
        enum errc rc = meta_result_decode(enc_slice(&call->reply), &arena, &result);
        ASSERT(rc == ERRC_OK);
        ASSERT(result.outcome == META_OK);
        arena_done(&arena);
    }
    atomic_store(&put->done, true);
}

static void put_start(struct vf *f, struct vf_put *put, struct slice name, struct slice value)
{
    struct meta_command command = { .type = META_CMD_SETTING_PUT };
    memset(put, 0, sizeof(*put));
    command.setting_put.name = name;
    command.setting_put.value = value;
    meta_command_encode(&put->head, &command);
    put->call.method = RPC_META_PROPOSE;
    put->call.head = enc_slice(&put->head);
    put->call.reply_to = f->home;
    put->call.done = on_put;
    rpc_call_start(voter_channel(f->voter), &put->call);
}

void vf_put_start(struct vf *f, struct vf_put *put, const char *name, const char *value)
{
    put_start(f, put, slice_str(name), slice_str(value));
}

enum errc vf_put_wait(struct vf *f, struct vf_put *put)
{
    env_sim_run_until(f->sim, &put->done);
    rpc_call_release(&put->call);
    enc_free(&put->head);
    return put->status;
}

enum errc vf_put(struct vf *f, const char *name, const char *value)
{
    struct vf_put put;
    vf_put_start(f, &put, name, value);
    return vf_put_wait(f, &put);
}

enum errc vf_put_bytes(struct vf *f, const char *name, size_t bytes)
{
    struct vf_put put;
    uint8_t *value = mem_alloc(bytes);
    memset(value, 'v', bytes);
    put_start(f, &put, slice_str(name), slice_of(value, bytes));
    mem_free(value); /* it was encoded */
    return vf_put_wait(f, &put);
}

struct get {
    struct rpc_call call;
    atomic_bool done;
};

static void on_get(struct rpc_call *call)
{
    atomic_store(&container_of(call, struct get, call)->done, true);
}

static void get_run(struct vf *f, struct get *get, const char *name)
{
    struct meta_query query = { .type = META_QRY_SETTING, .name = slice_str(name) };
    struct enc head = ENC_INIT;
    memset(get, 0, sizeof(*get));
    meta_query_encode(&head, &query);
    get->call.method = RPC_META_QUERY;
    get->call.head = enc_slice(&head);
    get->call.reply_to = f->home;
    get->call.done = on_get;
    rpc_call_start(voter_channel(f->voter), &get->call);
    env_sim_run_until(f->sim, &get->done);
    enc_free(&head);
}

enum errc vf_get_status(struct vf *f, const char *name)
{
    struct get get;
    get_run(f, &get, name);
    enum errc status = get.call.status;
    rpc_call_release(&get.call);
    return status;
}

bool vf_has(struct vf *f, const char *name, const char *value)
{
    struct get get;
    struct arena arena;
    struct meta_setting_reply reply;
    get_run(f, &get, name);
    ASSERT(get.call.status == ERRC_OK);
    arena_init(&arena, ARENA_BYTES);
    enum errc rc = meta_setting_reply_decode(enc_slice(&get.call.reply), &arena, &reply);
    ASSERT(rc == ERRC_OK);
    bool has = reply.outcome == META_OK && slice_equal(reply.value, slice_str(value));
    arena_done(&arena);
    rpc_call_release(&get.call);
    return has;
}

void vf_put_many(struct vf *f, const char *prefix, unsigned first, unsigned end)
{
    for (unsigned i = first; i < end; i++) {
        char name[64];
        (void)snprintf(name, sizeof(name), "%s%u", prefix, i);
        enum errc rc = vf_put(f, name, name);
        ASSERT(rc == ERRC_OK);
    }
}

bool vf_has_many(struct vf *f, const char *prefix, unsigned first, unsigned end)
{
    for (unsigned i = first; i < end; i++) {
        char name[64];
        (void)snprintf(name, sizeof(name), "%s%u", prefix, i);
        if (!vf_has(f, name, name)) {
            (void)fprintf(stderr, "%s is missing\n", name);
            return false;
        }
    }
    return true;
}

struct voter_status *vf_status(struct vf *f)
{
    static struct voter_status status;
    voter_status(f->voter, &status);
    return &status;
}

/* ---- folders ---- */

void vf_dir_remove(struct vf *f, unsigned i, const char *below)
{
    char *path = mem_format("%s%s", paths[i], below);
    dir_fault_remove_tree(&f->fault, path);
    mem_free(path);
}

static void dir_move(struct vf *f, const char *source, const char *target)
{
    struct env *env = env_sim_env(f->sim);
    enum errc rc = env->vt->rename(env, source, target, NULL);
    ASSERT(rc == ERRC_OK);
    rc = env->vt->fsync_dir(env, "/", NULL);
    ASSERT(rc == ERRC_OK);
}

void vf_dir_hide(struct vf *f, unsigned i)
{
    char *hidden = mem_format("%s.hidden", paths[i]);
    dir_move(f, paths[i], hidden);
    mem_free(hidden);
}

void vf_dir_unhide(struct vf *f, unsigned i)
{
    char *hidden = mem_format("%s.hidden", paths[i]);
    dir_move(f, hidden, paths[i]);
    mem_free(hidden);
}

struct file_list {
    const char *folder, *prefix;
    char **paths;
    unsigned count, max;
};

static void file_add(void *data, const char *name)
{
    struct file_list *list = data;
    if (strncmp(name, list->prefix, strlen(list->prefix)) == 0 && list->count < list->max) {
        list->paths[list->count++] = mem_format("%s/%s", list->folder, name);
    }
}

unsigned vf_files(struct vf *f, unsigned i, const char *below, const char *prefix, char **ret_paths, unsigned max)
{
    struct env *env = env_sim_env(f->sim);
    char *folder = mem_format("%s/metadata%s", paths[i], below);
    struct file_list list = { folder, prefix, ret_paths, 0, max };
    enum errc rc = env->vt->list(env, folder, file_add, &list, NULL);
    ASSERT(rc == ERRC_OK);
    mem_free(folder);
    return list.count;
}
