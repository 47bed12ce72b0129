/* Tokens to join by: what is left of them once their secrets are gone. */
#include "metadata/machine_state.h"
#include "metadata/read.h"

enum errc read_tokens_query(struct reader *r)
{
    struct key first, end;
    struct kv_iterator *it;
    struct meta_tokens_reply reply = { 0 };
    uint32_t limit = read_limit(r, READ_ROWS_MAX);
    reply.tokens = arena_zalloc(r->arena, limit * sizeof(*reply.tokens));
    if (reply.tokens == NULL) {
        return error_set(r->e, ERRC_LIMIT, "metadata query: too large");
    }
    key_table_u64(&first, TABLE_TOKEN, r->query->from);
    key_begin(&end, TABLE_TOKEN + 1);
    enum errc rc = read_walk(r, &first, &end, &it);
    if (rc != ERRC_OK) {
        return rc;
    }
    while (rc == ERRC_OK && reply.count < limit && r->kv->vt->iterator_valid(it)) {
        struct token_record token;
        rc = record_token_decode(r->kv->vt->iterator_value(it), &token);
        if (rc != ERRC_OK) {
            rc = record_error(r->e, rc, "a token");
            break;
        }
        struct meta_token_use_state *row = &reply.tokens[reply.count++];
        *row = (struct meta_token_use_state){ .token = token.token, .used = token.used };
        memcpy(row->used_by, token.used_by, META_HASH_BYTES);
        memset(row->token.secret_hash, 0, META_HASH_BYTES);
        r->kv->vt->iterator_next(it);
    }
    rc = read_walk_end(r, it, rc);
    if (rc == ERRC_OK) {
        meta_tokens_reply_encode(r->reply, &reply);
    }
    return rc;
}
