/*
 * The processes of the cluster, and the tokens with which they join it.
 */
#include "common/base/mem.h"
#include "metadata/machine_state.h"

#include <string.h>

#define TOKENS_SWEPT_MAX 16                                     /* looked at in one command */
#define TOKEN_LIFE_MAX_MS (UINT64_C(7) * 24 * 60 * 60 * 1000)   /* no token is made for longer: server/admin_cluster.c */
#define TOKEN_KEEP_MS (UINT64_C(7) * 24 * 60 * 60 * 1000)

static bool hash_equal(const uint8_t a[META_HASH_BYTES], const uint8_t b[META_HASH_BYTES])
{
    return memcmp(a, b, META_HASH_BYTES) == 0; /* of hashes: how far they agree tells nothing of what was hashed */
}

/* An id belongs to the key that first joined with it, for ever. A node that joins again stays in its state. */
static enum errc node_insert(struct apply *a, const struct meta_node *node, bool joins)
{
    struct meta_node inserted = *node;
    struct key key;
    struct meta_node known;
    struct enc *value = machine_scratch(a->m);
    key_table_raw(&key, TABLE_NODE, node->id.bytes, ID_BYTES);
    enum errc rc = apply_get(a, &key, value);
    if (rc == ERRC_OK) {
        rc = record_node_decode(enc_slice(value), &known);
        if (rc != ERRC_OK) {
            return record_error(a->e, rc, "a node");
        }
        if (!hash_equal(known.key_hash, node->key_hash) || known.role != node->role) {
            apply_outcome(a, META_NODE_TAKEN);
            return ERRC_OK;
        }
        if (known.state == META_NODE_REMOVED_FOR_EVER) {
            apply_outcome(a, META_NODE_REMOVED);
            return ERRC_OK;
        }
        inserted.state = joins ? known.state : node->state;
    } else if (rc != ERRC_NOT_FOUND) {
        return rc;
    }
    struct enc *record = machine_record(a->m);
    record_node_encode(record, &inserted);
    apply_put(a, &key, record);
    a->m->counters.revision++;
    return ERRC_OK;
}

enum errc apply_node_put(struct apply *a, const struct meta_node_put *cmd)
{
    if (node_id_is_zero(cmd->node.id)) {
        apply_outcome(a, META_INVALID);
        return ERRC_OK;
    }
    return node_insert(a, &cmd->node, false);
}

static void token_record_put(struct apply *a, const struct token_record *token)
{
    struct key key;
    struct enc *record = machine_record(a->m);
    key_table_raw(&key, TABLE_TOKEN, token->token.id, sizeof(token->token.id));
    record_token_encode(record, token);
    apply_put(a, &key, record);
}

/* Deletes those of the next *room tokens that ended before `before_ms`. */
static enum errc tokens_drop(struct apply *a, struct slice first, struct slice end, uint64_t before_ms, unsigned *room)
{
    struct kv *kv = a->m->kv;
    struct kv_iterator *it = kv->vt->iterate(kv, first, end);
    enum errc rc = ERRC_OK;
    kv->vt->iterator_seek(it, first);
    for (; *room > 0 && rc == ERRC_OK && kv->vt->iterator_valid(it); (*room)--) {
        struct token_record token;
        rc = record_token_decode(kv->vt->iterator_value(it), &token);
        if (rc != ERRC_OK) {
            rc = record_error(a->e, rc, "a token");
        } else if (token.token.expires_ms < before_ms) {
            kv->vt->batch_delete(a->m->batch, kv->vt->iterator_key(it));
        }
        kv->vt->iterator_next(it);
    }
    if (rc == ERRC_OK && !kv->vt->iterator_valid(it)) {
        rc = kv->vt->iterator_error(it, a->e);
    }
    kv->vt->iterator_destroy(it);
    return rc;
}

/* Looks at the tokens that follow `id`, round and round: ids are random, so each command looks at others. A used token goes like an
 * unused one, TOKEN_KEEP_MS after its end: until then a join whose answer was lost may be repeated. */
static enum errc tokens_sweep(struct apply *a, const uint8_t id[8], uint64_t before_ms)
{
    struct key begin, end, at;
    unsigned room = TOKENS_SWEPT_MAX;
    key_begin(&begin, TABLE_TOKEN);
    key_begin(&end, TABLE_TOKEN + 1);
    key_table_raw(&at, TABLE_TOKEN, id, 8);
    struct key after = at;
    key_successor(&after);
    enum errc rc = tokens_drop(a, key_slice(&after), key_slice(&end), before_ms, &room);
    return rc == ERRC_OK ? tokens_drop(a, key_slice(&begin), key_slice(&at), before_ms, &room) : rc;
}

static uint64_t ms_before(uint64_t at_ms, uint64_t by_ms)
{
    return at_ms > by_ms ? at_ms - by_ms : 0;
}

enum errc apply_token_put(struct apply *a, const struct meta_token_put *cmd)
{
    struct key key;
    struct enc *value = machine_scratch(a->m);
    key_table_raw(&key, TABLE_TOKEN, cmd->token.id, sizeof(cmd->token.id));
    enum errc rc = apply_get(a, &key, value);
    if (rc == ERRC_OK) {
        apply_outcome(a, META_EXISTS);
        return ERRC_OK;
    }
    if (rc != ERRC_NOT_FOUND) {
        return rc;
    }
    const struct token_record token = { .token = cmd->token };
    token_record_put(a, &token);
    /* The command has no time of its own: it was not made earlier than a token's whole life before the end of this one. */
    return tokens_sweep(a, cmd->token.id, ms_before(cmd->token.expires_ms, TOKEN_LIFE_MAX_MS + TOKEN_KEEP_MS));
}

static enum meta_outcome token_check(const struct token_record *token, const struct meta_token_use *cmd)
{
    if (!hash_equal(token->token.secret_hash, cmd->secret_hash)) {
        return META_TOKEN_UNKNOWN;
    }
    if (token->token.role != cmd->node.role) {
        return META_TOKEN_ROLE;
    }
    if (token->used) {
        return hash_equal(token->used_by, cmd->node.key_hash) ? META_OK : META_TOKEN_USED;
    }
    return cmd->now_ms < token->token.expires_ms ? META_OK : META_TOKEN_EXPIRED;
}

enum errc apply_token_use(struct apply *a, const struct meta_token_use *cmd)
{
    struct key key;
    struct token_record token;
    struct enc *value = machine_scratch(a->m);
    key_table_raw(&key, TABLE_TOKEN, cmd->id, sizeof(cmd->id));
    enum errc rc = apply_get(a, &key, value);
    if (rc == ERRC_NOT_FOUND || node_id_is_zero(cmd->node.id)) {
        apply_outcome(a, META_TOKEN_UNKNOWN);
        return ERRC_OK;
    }
    rc = rc == ERRC_OK ? record_token_decode(enc_slice(value), &token) : rc;
    if (rc != ERRC_OK) {
        return record_error(a->e, rc, "a token");
    }
    enum meta_outcome outcome = token_check(&token, cmd);
    if (outcome != META_OK) {
        apply_outcome(a, outcome);
        return ERRC_OK;
    }
    rc = node_insert(a, &cmd->node, true);
    if (rc == ERRC_OK && apply_ok(a)) {
        token.used = true;
        memcpy(token.used_by, cmd->node.key_hash, META_HASH_BYTES);
        token_record_put(a, &token);
        rc = tokens_sweep(a, cmd->id, ms_before(cmd->now_ms, TOKEN_KEEP_MS));
    }
    return rc;
}
