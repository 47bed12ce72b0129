/*
 * Objects: put (also the second half of a copy) and delete.
 */
#include "metadata/machine_state.h"

void apply_version_result(struct apply *a, const struct meta_row *row)
{
    a->result.seq = row->seq;
    a->result.nonce = row->nonce;
    a->result.mtime_ms = row->mtime_ms;
    a->result.null_version = row->null_version;
    a->result.versioned = a->bucket->bucket.versioning != META_VERSIONING_UNSET;
}

/* What the command says about its data agrees with itself. */
static bool data_valid(const struct meta_object_put *cmd)
{
    const struct meta_body *body = &cmd->body;
    if (cmd->key.len == 0 || cmd->row.delete_marker || cmd->row.etag.len > ETAG_BYTES_MAX) {
        return false;
    }
    switch (body->data_kind) {
    case META_DATA_NONE:
        return cmd->row.size == 0 && cmd->extent_count == 0;
    case META_DATA_INLINE:
        return cmd->row.size == body->inline_bytes.len && cmd->extent_count == 0;
    case META_DATA_EXTENTS:
        return body->ref_count > 0;
    default:
        return false; /* parts come with complete only */
    }
}

static void body_put(struct apply *a, const struct meta_object_put *cmd, uint64_t seq)
{
    struct key key;
    struct enc *value = machine_scratch(a->m);
    struct enc *refs = machine_scratch(a->m);
    uint64_t bucket = a->bucket->bucket.id;
    record_refs_encode(refs, cmd->body.ref_count, cmd->body.refs);
    struct body_record body = {
        .headers = cmd->body.headers,
        .user_metadata = cmd->body.user_metadata,
        .checksum = cmd->body.checksum,
        .data_kind = cmd->body.data_kind,
        .ref_count = cmd->body.ref_count,
        .refs = enc_slice(refs),
    };
    key_version(&key, TABLE_BODY, bucket, cmd->key, seq);
    record_body_encode(value, &body);
    apply_put(a, &key, value);
    if (cmd->body.data_kind == META_DATA_INLINE) {
        key_version(&key, TABLE_INLINE, bucket, cmd->key, seq);
        record_bytes_encode(value, cmd->body.inline_bytes);
        apply_put(a, &key, value);
    }
}

static enum errc data_use(struct apply *a, const struct meta_object_put *cmd, bool adopted)
{
    if (cmd->body.data_kind != META_DATA_EXTENTS) {
        return ERRC_OK;
    }
    struct extent_use use = {
        .session = cmd->session,
        .map_revision = cmd->map_revision,
        .adopted = adopted,
        .extent_count = cmd->extent_count,
        .extents = cmd->extents,
        .ref_count = cmd->body.ref_count,
        .refs = cmd->body.refs,
        .size = cmd->row.size,
    };
    return extent_use(a, &use);
}

static enum errc object_put(struct apply *a, const struct meta_object_put *cmd, bool adopted)
{
    struct stack stack;
    if (!data_valid(cmd)) {
        apply_outcome(a, META_INVALID);
        return ERRC_OK;
    }
    enum errc rc = apply_bucket_load(a, cmd->bucket_id);
    if (rc == ERRC_OK && apply_ok(a)) {
        rc = stack_load(a, cmd->key, &stack);
    }
    if (rc != ERRC_OK || !apply_ok(a)) {
        return rc;
    }
    if (adopted && stack.exists && stack.current.row.mtime_ms > cmd->row.mtime_ms) {
        apply_outcome(a, META_PRECONDITION);
        return ERRC_OK;
    }
    stack_check(a, &stack, &cmd->conditions);
    if (!apply_ok(a)) {
        return ERRC_OK;
    }
    rc = data_use(a, cmd, adopted); /* before the old version is dropped: it may be a copy onto itself */
    if (rc != ERRC_OK || !apply_ok(a)) {
        return rc;
    }
    struct meta_row row = cmd->row;
    rc = stack_push(a, &stack, &row);
    if (rc == ERRC_OK) {
        body_put(a, cmd, row.seq);
        apply_version_result(a, &row);
        a->result.etag = row.etag;
        a->result.checksum = cmd->body.checksum;
    }
    return rc;
}

enum errc apply_object_put(struct apply *a, const struct meta_object_put *cmd)
{
    return object_put(a, cmd, false);
}

/* Without new extents there is nothing that a forgotten session wrote. */
enum errc apply_object_adopt(struct apply *a, const struct meta_object_put *cmd)
{
    if (cmd->extent_count == 0) {
        apply_outcome(a, META_INVALID);
        return ERRC_OK;
    }
    return object_put(a, cmd, true);
}

static enum errc delete_version(struct apply *a, struct stack *stack, const struct meta_version_ref *ref)
{
    bool found;
    struct meta_row row;
    enum errc rc = stack_remove_version(a, stack, ref, &found, &row);
    a->result.versioned = a->bucket->bucket.versioning != META_VERSIONING_UNSET;
    if (rc == ERRC_OK && found) {
        apply_version_result(a, &row);
        a->result.delete_marker = row.delete_marker;
    }
    return rc; /* an unknown version: OK with seq 0 (S3-SURFACE 4.8: 204) */
}

static enum errc delete_marker(struct apply *a, struct stack *stack, const struct meta_object_delete *cmd)
{
    struct meta_row row = { .nonce = cmd->nonce, .mtime_ms = cmd->mtime_ms, .delete_marker = true };
    enum errc rc = stack_push(a, stack, &row);
    if (rc == ERRC_OK) {
        apply_version_result(a, &row);
        a->result.delete_marker = true;
        a->result.made_marker = true;
    }
    return rc;
}

enum errc apply_object_delete(struct apply *a, const struct meta_object_delete *cmd)
{
    struct stack stack;
    enum errc rc = apply_bucket_load(a, cmd->bucket_id);
    if (rc == ERRC_OK && apply_ok(a)) {
        rc = stack_load(a, cmd->key, &stack);
    }
    if (rc != ERRC_OK || !apply_ok(a)) {
        return rc;
    }
    stack_check(a, &stack, &cmd->conditions);
    if (!apply_ok(a)) {
        return ERRC_OK;
    }
    if (cmd->has_version) {
        return delete_version(a, &stack, &cmd->version);
    }
    if (a->bucket->bucket.versioning != META_VERSIONING_UNSET) {
        return delete_marker(a, &stack, cmd);
    }
    if (!stack.exists) {
        return ERRC_OK;
    }
    apply_version_result(a, &stack.current.row);
    return stack_remove_current(a, &stack);
}
