/*
 * DeleteObjects.
 *
 *   READING (document) -> DELETING (at most DELETE_WINDOW proposals at once) -> answered
 *
 * Each entry is decided by itself; the answer keeps the order of the request.
 */
#include "gateway/handlers/object_record.h"
#include "gateway/handlers/operations.h"

#include "common/base/assert.h"
#include "gateway/handlers/request_end.h"
#include "gateway/s3/s3_name.h"

#define DELETE_WINDOW 64

struct delete_slot {
    struct meta_op op;
    struct request *request;
    size_t entry;            /* index of the entry that it works on */
    bool busy;
};

struct objects_delete_state {
    struct s3_delete_request wanted;
    struct s3_deleted_entry *results;
    size_t started, finished;
    struct delete_slot slots[DELETE_WINDOW];
};

static void deletes_pump(struct request *r);

/* An outcome as the entry of the answer. Message stays the default. */
static void entry_decided(struct request *r, const struct s3_delete_entry *wanted, const struct meta_result *result,
                          struct s3_deleted_entry *ret)
{
    bool conditional = wanted->etag.len > 0 || wanted->has_size || wanted->has_modified;
    bool absent = result->outcome == META_NO_VERSION || (result->outcome == META_NO_KEY && !conditional);
    if (result->outcome != META_OK && !absent) {
        ret->error = outcome_to_s3((enum meta_outcome)result->outcome);
        request_cause_outcome(r, (enum meta_outcome)result->outcome);
        return;
    }
    if (result->outcome != META_OK || !result->delete_marker) {
        return;
    }
    ret->is_delete_marker = true;
    if (wanted->version_id.len > 0) {
        ret->marker_version_id = wanted->version_id;
    } else {
        struct meta_row row = { .seq = result->seq, .nonce = result->nonce, .null_version = result->null_version };
        ret->marker_version_id = request_version_text(r, &row);
    }
}

static void delete_done(struct meta_op *op)
{
    struct delete_slot *slot = op->data;
    struct request *r = slot->request;
    struct objects_delete_state *state = r->state;
    struct s3_deleted_entry *result = &state->results[slot->entry];
    if (op->status != ERRC_OK) {
        result->error = inner_errc_to_s3(op->status);
        request_cause_errc(r, op->status, &op->error);
    } else {
        entry_decided(r, &state->wanted.entries[slot->entry], &op->result, result);
    }
    meta_op_release(op);
    slot->busy = false;
    state->finished++;
    request_resume(r);
    deletes_pump(r);
}

/* False: the entry is decided already, by what it says itself. */
static bool entry_command(struct request *r, const struct s3_delete_entry *entry, struct s3_deleted_entry *result,
                          struct meta_command *command)
{
    struct env *env = request_config(r)->env;
    *command = (struct meta_command){ .type = META_CMD_OBJECT_DELETE };
    struct meta_object_delete *delete = &command->object_delete;
    *delete = (struct meta_object_delete){
        .bucket_id = r->bucket.id,
        .key = entry->key,
        .conditions = { .if_match = entry->etag,
                        .has_size = entry->has_size,
                        .has_mtime = entry->has_modified,
                        .size = entry->size,
                        .mtime_s = entry->modified_ms / 1000 },
        .mtime_ms = env_wall_ms(env),
    };
    env_random(env, &delete->nonce, sizeof(delete->nonce));
    if (entry->version_id.len > 0) {
        delete->has_version = true;
        if (version_id_decode(request_cipher(r), entry->version_id, &delete->version) != ERRC_OK) {
            result->error = S3_ERROR_NO_SUCH_VERSION;
            result->message = "Invalid version id specified";
            return false;
        }
        if (object_conditions_any(&delete->conditions)) {
            result->error = S3_ERROR_NOT_IMPLEMENTED;
            return false;
        }
    }
    if (!s3_key_valid(entry->key)) {
        result->error = entry->key.len > KEY_BYTES_MAX ? S3_ERROR_KEY_TOO_LONG : S3_ERROR_INVALID_ARGUMENT;
        return false;
    }
    return true;
}

static void entry_start(struct request *r, struct delete_slot *slot, size_t index)
{
    struct objects_delete_state *state = r->state;
    struct meta_command command;
    if (!entry_command(r, &state->wanted.entries[index], &state->results[index], &command)) {
        state->finished++;
        return;
    }
    slot->busy = true;
    slot->request = r;
    slot->entry = index;
    meta_op_init(&slot->op, r->executor, &r->scratch, delete_done, slot);
    request_hold(r);
    meta_propose(request_store(r)->meta, &slot->op, &command);
}

static void deletes_pump(struct request *r)
{
    struct objects_delete_state *state = r->state;
    for (size_t i = 0; i < DELETE_WINDOW; i++) {
        while (!state->slots[i].busy && state->started < state->wanted.entry_count) {
            entry_start(r, &state->slots[i], state->started++);
        }
    }
    if (state->finished == state->wanted.entry_count) {
        s3_result_delete(&r->out, state->wanted.quiet, state->results, state->wanted.entry_count);
        request_reply_xml(r, 200);
    }
}

static void deletes_read(struct request *r)
{
    struct objects_delete_state *state = r->state;
    if (r->err.code != S3_ERROR_NONE ||
        s3_xml_read_delete(&r->scratch, r->body.document, &state->wanted, &r->err) != S3_ERROR_NONE) {
        request_fail(r);
        return;
    }
    size_t count = state->wanted.entry_count;
    ASSERT(count <= S3_DELETE_OBJECTS_MAX);
    state->results = request_zalloc(r, count * sizeof(*state->results));
    for (size_t i = 0; i < count; i++) {
        state->results[i].key = state->wanted.entries[i].key;
        state->results[i].version_id = state->wanted.entries[i].version_id;
    }
    deletes_pump(r);
}

void objects_delete(struct request *r)
{
    r->state = request_zalloc(r, sizeof(struct objects_delete_state));
    if (s3_headers_unsupported(&r->s3, &r->err) != S3_ERROR_NONE ||
        upload_body_prepare_document(r, S3_XML_DELETE_BYTES_MAX, true) != S3_ERROR_NONE) {
        request_fail(r);
        return;
    }
    upload_body_run(r, NULL, deletes_read);
}
