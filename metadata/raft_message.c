#include "metadata/raft_message.h"

#include "common/base/assert.h"
#include "common/base/mem.h"

#include <string.h>

enum { FLAG_PRE_VOTE = 1, FLAG_GRANTED = 2, FLAG_DISRUPT = 4, FLAG_ALL = 7 };

void core_message_encode(const struct core_message *message, struct enc *enc)
{
    ASSERT(message->entry_count == 0 || message->entries != NULL);
    ASSERT(message->entry_count <= RAFT_MESSAGE_ENTRIES_MAX);
    enc_u8(enc, RAFT_MESSAGE_FORMAT);
    enc_u8(enc, message->kind);
    enc_u8(enc, message->version);
    enc_u8(enc, (uint8_t)((message->pre_vote ? FLAG_PRE_VOTE : 0) | (message->granted ? FLAG_GRANTED : 0) |
                          (message->disrupt ? FLAG_DISRUPT : 0)));
    enc_u64(enc, message->from);
    enc_u64(enc, message->to);
    enc_u64(enc, message->term);
    enc_u64(enc, message->index);
    enc_u64(enc, message->index_term);
    enc_u64(enc, message->commit);
    enc_u64(enc, message->rejected);
    enc_u16(enc, message->features);
    enc_u16(enc, message->capacity);
    enc_uint(enc, message->entry_count);
    for (unsigned i = 0; i < message->entry_count; i++) {
        enc_u64(enc, message->entries[i].term);
        enc_u8(enc, message->entries[i].type);
        enc_bytes(enc, message->entries[i].data);
    }
}

static bool head_decode(struct dec *dec, struct core_message *message)
{
    message->kind = dec_u8(dec);
    message->version = dec_u8(dec);
    uint8_t flags = dec_u8(dec);
    message->pre_vote = (flags & FLAG_PRE_VOTE) != 0;
    message->granted = (flags & FLAG_GRANTED) != 0;
    message->disrupt = (flags & FLAG_DISRUPT) != 0;
    message->from = dec_u64(dec);
    message->to = dec_u64(dec);
    message->term = dec_u64(dec);
    message->index = dec_u64(dec);
    message->index_term = dec_u64(dec);
    message->commit = dec_u64(dec);
    message->rejected = dec_u64(dec);
    message->features = dec_u16(dec);
    message->capacity = dec_u16(dec);
    return !dec->failed && flags <= FLAG_ALL && message->kind >= CORE_APPEND && message->kind <= CORE_TIMEOUT_NOW && message->from != 0 &&
           message->to != 0;
}

static bool entries_decode(struct dec *dec, struct core_message *message, struct raft_core_entry **ret_entries)
{
    uint64_t count = dec_uint(dec);
    if (dec->failed || count > RAFT_MESSAGE_ENTRIES_MAX || (count > 0 && message->kind != CORE_APPEND)) {
        return false;
    }
    if (count == 0) {
        return dec_done(dec);
    }
    struct raft_core_entry *entries = mem_zalloc(count * sizeof(*entries));
    bool good = true;
    for (uint64_t i = 0; i < count && good; i++) {
        entries[i].term = dec_u64(dec);
        entries[i].type = dec_u8(dec);
        entries[i].data = dec_bytes(dec);
        good = !dec->failed && entries[i].term > 0 && entries[i].term <= message->term &&
               entries[i].type >= RAFT_CORE_COMMAND && entries[i].type <= RAFT_CORE_CHANGE;
    }
    if (!good || !dec_done(dec)) {
        mem_free(entries);
        return false;
    }
    message->entry_count = (unsigned)count;
    message->entries = entries;
    *ret_entries = entries;
    return true;
}

enum errc core_message_decode(struct slice input, struct core_message *ret_message,
                              struct raft_core_entry **ret_entries, struct error *e)
{
    struct dec dec = dec_of(input);
    uint8_t format = dec_u8(&dec);
    memset(ret_message, 0, sizeof(*ret_message));
    *ret_entries = NULL;
    if (!dec.failed && format > RAFT_MESSAGE_FORMAT) {
        return error_set(e, ERRC_FORMAT, "voter message of format %u", format);
    }
    if (format != RAFT_MESSAGE_FORMAT || !head_decode(&dec, ret_message) ||
        !entries_decode(&dec, ret_message, ret_entries)) {
        return error_set(e, ERRC_CORRUPT, "voter message of %zu bytes", input.len);
    }
    return ERRC_OK;
}
