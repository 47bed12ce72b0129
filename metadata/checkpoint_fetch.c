#include "metadata/checkpoint_fetch.h"

#include "common/base/assert.h"
#include "common/base/crc32c.h"
#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/rpc/rpc_schema.h"
#include "metadata/checkpoint_files.h"
#include "metadata/mirror_files.h"

#include <string.h>

#define CALL_NS UINT64_C(10000000000)
#define ROUNDS_MAX 8           /* newer checkpoints that come while one is fetched */
#define ENTRY_BYTES_MAX (4u << 20)

struct fetch {
    struct checkpoint_fetch_config config;
    char *metadata_dir, *incoming;
    struct rpc_call call;
    struct enc head;
    struct enc described;        /* bytes of `description` */
    struct snapshot_description description;
    struct enc manifest_bytes;
    struct manifest manifest;
    size_t file;                 /* the one that comes; manifest.count: none is left */
    struct env_file *out;
    uint64_t offset;
    bool again;                  /* the file was here in part and did not match: once from its beginning */
    unsigned rounds;
    void (*next)(struct fetch *fetch); /* with the reply */
};

static void fetch_end(struct fetch *fetch, enum errc rc, const struct error *e)
{
    if (fetch->out != NULL) {
        fetch->config.env->vt->close(fetch->config.env, fetch->out);
    }
    fetch->config.done(fetch->config.data, rc, &fetch->description, e);
    enc_free(&fetch->head);
    enc_free(&fetch->described);
    enc_free(&fetch->manifest_bytes);
    manifest_free(&fetch->manifest);
    mem_free(fetch->metadata_dir);
    mem_free(fetch->incoming);
    mem_free(fetch);
}

static void describe(struct fetch *fetch);

static void on_reply(struct rpc_call *call)
{
    struct fetch *fetch = container_of(call, struct fetch, call);
    if (call->status == ERRC_OK) {
        fetch->next(fetch);
        return;
    }
    struct error e = call->error;
    enum errc rc = call->status;
    if (e.code == ERRC_OK) {
        (void)error_set(&e, rc, "%s", errc_text(rc));
    }
    rpc_call_release(call);
    if (rc == ERRC_NOT_FOUND && ++fetch->rounds < ROUNDS_MAX) { /* a newer one is there */
        describe(fetch);
        return;
    }
    fetch_end(fetch, rc, &e);
}

static void ask(struct fetch *fetch, const struct snapshot_request *request, void (*next)(struct fetch *fetch))
{
    struct env *env = fetch->config.env;
    enc_reset(&fetch->head);
    snapshot_request_encode(&fetch->head, request);
    fetch->next = next;
    fetch->call = (struct rpc_call){ .method = RPC_RAFT_SNAPSHOT_READ, .head = enc_slice(&fetch->head),
                                     .deadline_ns = env_now_ns(env) + CALL_NS, .reply_to = fetch->config.executor,
                                     .done = on_reply };
    rpc_call_start(fetch->config.channel, &fetch->call);
}

static void ask_piece(struct fetch *fetch, const char *name, void (*next)(struct fetch *fetch))
{
    const struct snapshot_request request = { SNAPSHOT_PIECE, fetch->description.index, slice_str(name), fetch->offset,
                                              SNAPSHOT_PIECE_BYTES };
    ask(fetch, &request, next);
}

/* ---- publishing ---- */

static enum errc file_write(struct fetch *fetch, const char *name, struct slice bytes, struct error *e)
{
    struct env *env = fetch->config.env;
    struct env_file *file = NULL;
    char *path = mem_format("%s/%s", fetch->incoming, name);
    const struct iovec part = { (void *)(uintptr_t)bytes.data, bytes.len };
    enum errc rc = env->vt->open(env, path, ENV_OPEN_CREATE | ENV_OPEN_TRUNCATE, &file, e);
    if (rc == ERRC_OK) {
        rc = env->vt->pwritev(env, file, &part, 1, 0, e);
        rc = rc == ERRC_OK ? env->vt->fdatasync(env, file, e) : rc;
        env->vt->close(env, file);
    }
    mem_free(path);
    return rc;
}

static void publish(struct fetch *fetch)
{
    struct env *env = fetch->config.env;
    struct error e = ERROR_INIT;
    char *folder = checkpoint_path(fetch->metadata_dir, fetch->description.index, "");
    enum errc rc = file_write(fetch, CHECKPOINT_ENTRY_NAME, enc_slice(&fetch->described), &e);
    rc = rc == ERRC_OK ? env->vt->fsync_dir(env, fetch->incoming, &e) : rc;
    rc = rc == ERRC_OK ? file_write(fetch, MANIFEST_NAME, enc_slice(&fetch->manifest_bytes), &e) : rc;
    rc = rc == ERRC_OK ? checkpoint_folder_remove(env, folder, &e) : rc; /* a copy of it that nobody uses */
    rc = rc == ERRC_OK ? checkpoint_publish(env, fetch->incoming, folder, fetch->metadata_dir, &e) : rc;
    mem_free(folder);
    fetch_end(fetch, rc, &e);
}

/* ---- files ---- */

static void file_begin(struct fetch *fetch);

static char *file_path(const struct fetch *fetch)
{
    return mem_format("%s/%s", fetch->incoming, fetch->manifest.files[fetch->file].name);
}

/* Whole: does it match? What a crash left of an older round may not, and is fetched anew, once. */
static void file_check(struct fetch *fetch)
{
    struct env *env = fetch->config.env;
    const struct manifest_file *file = &fetch->manifest.files[fetch->file];
    struct error e = ERROR_INIT;
    uint64_t size = 0;
    uint32_t crc = 0;
    char *path = file_path(fetch);
    enum errc rc = ERRC_OK;
    if (fetch->out != NULL) {
        rc = env->vt->fdatasync(env, fetch->out, &e);
        env->vt->close(env, fetch->out);
        fetch->out = NULL;
    }
    rc = rc == ERRC_OK ? checkpoint_file_walk(env, path, NULL, &size, &crc, &e) : rc;
    bool match = rc == ERRC_OK && size == file->size && crc == file->crc;
    bool again = rc == ERRC_OK && !match && !fetch->again;
    if (again) {
        rc = env->vt->unlink(env, path, &e);
    } else if (rc == ERRC_OK && !match) {
        rc = error_set(&e, ERRC_CORRUPT, "'%s' came damaged", path);
    }
    mem_free(path);
    if (rc != ERRC_OK) {
        fetch_end(fetch, rc, &e);
        return;
    }
    fetch->again = again;
    fetch->file += again ? 0 : 1;
    file_begin(fetch);
}

static void on_piece(struct fetch *fetch)
{
    const struct manifest_file *file = &fetch->manifest.files[fetch->file];
    struct env *env = fetch->config.env;
    struct error e = ERROR_INIT;
    const struct iovec part = { fetch->call.reply.data, fetch->call.reply.len };
    size_t len = fetch->call.reply.len;
    enum errc rc = ERRC_OK;
    if (len == 0 || len > file->size - fetch->offset) {
        rc = error_set(&e, ERRC_CORRUPT, "'%s' came with another size than its manifest says", file->name);
    } else {
        rc = env->vt->pwritev(env, fetch->out, &part, 1, fetch->offset, &e);
    }
    rpc_call_release(&fetch->call);
    if (rc != ERRC_OK) {
        fetch_end(fetch, rc, &e);
        return;
    }
    fetch->offset += len;
    if (fetch->offset < file->size) {
        ask_piece(fetch, file->name, on_piece);
    } else {
        file_check(fetch);
    }
}

/* Goes on behind what is here. */
static void file_begin(struct fetch *fetch)
{
    struct env *env = fetch->config.env;
    struct env_stat stat;
    struct error e = ERROR_INIT;
    if (fetch->file == fetch->manifest.count) {
        publish(fetch);
        return;
    }
    const struct manifest_file *file = &fetch->manifest.files[fetch->file];
    char *path = file_path(fetch);
    bool there = env->vt->stat_path(env, path, &stat, NULL) == ERRC_OK;
    fetch->offset = there && stat.size <= file->size ? stat.size : 0;
    bool whole = there && fetch->offset == file->size;
    enum errc rc = whole ? ERRC_OK
                         : env->vt->open(env, path, ENV_OPEN_CREATE | (fetch->offset == 0 ? ENV_OPEN_TRUNCATE : 0),
                                         &fetch->out, &e);
    mem_free(path);
    if (rc != ERRC_OK) {
        fetch_end(fetch, rc, &e);
    } else if (whole || file->size == 0) {
        file_check(fetch);
    } else {
        ask_piece(fetch, file->name, on_piece);
    }
}

/* ---- description and manifest ---- */

struct leftovers {
    struct fetch *fetch;
    enum errc rc;
    struct error *e;
};

static void leftover_visit(void *data, const char *name)
{
    struct leftovers *left = data;
    struct fetch *fetch = left->fetch;
    bool wanted = false;
    for (size_t i = 0; i < fetch->manifest.count; i++) {
        wanted = wanted || strcmp(fetch->manifest.files[i].name, name) == 0;
    }
    if (!wanted && left->rc == ERRC_OK) {
        char *path = mem_format("%s/%s", fetch->incoming, name);
        left->rc = fetch->config.env->vt->unlink(fetch->config.env, path, left->e);
        mem_free(path);
    }
}

static void on_manifest(struct fetch *fetch)
{
    struct env *env = fetch->config.env;
    struct error e = ERROR_INIT;
    struct leftovers left = { fetch, ERRC_OK, &e };
    size_t len = fetch->call.reply.len;
    enc_raw(&fetch->manifest_bytes, fetch->call.reply.data, len);
    rpc_call_release(&fetch->call);
    fetch->offset += len;
    if (len == SNAPSHOT_PIECE_BYTES && fetch->manifest_bytes.len <= MANIFEST_BYTES_MAX) {
        ask_piece(fetch, MANIFEST_NAME, on_manifest);
        return;
    }
    manifest_free(&fetch->manifest);
    enum errc rc = ERRC_OK;
    if (!manifest_parse(enc_slice(&fetch->manifest_bytes), &fetch->manifest) ||
        fetch->manifest.info.index != fetch->description.index) {
        rc = error_set(&e, ERRC_CORRUPT, "the manifest of checkpoint %llu came damaged",
                       (unsigned long long)fetch->description.index);
    }
    if (rc == ERRC_OK) {
        rc = env->vt->mkdir(env, fetch->incoming, &e);
        rc = rc == ERRC_EXISTS ? ERRC_OK : rc;
        if (rc == ERRC_OK) {
            error_clear(&e);
            rc = env->vt->list(env, fetch->incoming, leftover_visit, &left, &e);
            rc = rc == ERRC_OK ? left.rc : rc;
        }
    }
    if (rc != ERRC_OK) {
        fetch_end(fetch, rc, &e);
        return;
    }
    fetch->file = 0;
    fetch->again = false;
    file_begin(fetch);
}

static void on_description(struct fetch *fetch)
{
    struct error e = ERROR_INIT;
    enc_reset(&fetch->described);
    enc_raw(&fetch->described, fetch->call.reply.data, fetch->call.reply.len);
    rpc_call_release(&fetch->call);
    if (snapshot_description_decode(enc_slice(&fetch->described), &fetch->description) != ERRC_OK ||
        !cluster_id_equal(fetch->description.cluster, fetch->config.cluster)) {
        fetch_end(fetch, error_set(&e, ERRC_CORRUPT, "the description of a checkpoint makes no sense"), &e);
        return;
    }
    enc_reset(&fetch->manifest_bytes);
    fetch->offset = 0;
    ask_piece(fetch, MANIFEST_NAME, on_manifest);
}

static void describe(struct fetch *fetch)
{
    const struct snapshot_request request = { .kind = SNAPSHOT_DESCRIBE };
    if (fetch->out != NULL) {
        fetch->config.env->vt->close(fetch->config.env, fetch->out);
        fetch->out = NULL;
    }
    ask(fetch, &request, on_description);
}

void checkpoint_fetch_start(const struct checkpoint_fetch_config *config)
{
    struct fetch *fetch = mem_zalloc(sizeof(*fetch));
    fetch->config = *config;
    fetch->metadata_dir = mem_strdup(config->metadata_dir);
    fetch->incoming = mem_format("%s/incoming", config->metadata_dir);
    describe(fetch);
}

enum errc checkpoint_entry_read(struct env *env, const char *metadata_dir, uint64_t index,
                                struct snapshot_description *ret, struct enc *ret_bytes, struct error *e)
{
    char *path = checkpoint_path(metadata_dir, index, "/" CHECKPOINT_ENTRY_NAME);
    enum errc rc = mirror_file_read(env, path, ENTRY_BYTES_MAX, ret_bytes, e);
    if (rc == ERRC_OK && (snapshot_description_decode(enc_slice(ret_bytes), ret) != ERRC_OK || ret->index != index)) {
        rc = error_set(e, ERRC_CORRUPT, "'%s' is damaged", path);
    }
    mem_free(path);
    return rc;
}
