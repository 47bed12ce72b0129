#include "metadata/raft_core.h"

#include "common/base/assert.h"
#include "common/base/mem.h"

#include <raft.h>
#include <string.h>

#define VOTER_ID 1
#define VOTER_ADDRESS "1"

STATIC_ASSERT(RAFT_CORE_COMMAND == (int)RAFT_COMMAND && RAFT_CORE_BARRIER == (int)RAFT_BARRIER &&
                  RAFT_CORE_CHANGE == (int)RAFT_CHANGE,
              "stored entry types are libraft's");

struct raft_core {
    struct raft raft;
};

enum errc raft_core_bootstrap(struct enc *ret_data, struct error *e)
{
    struct raft_configuration configuration;
    struct raft_buffer buffer = { NULL, 0 };
    raft_configuration_init(&configuration);
    int rv = raft_configuration_add(&configuration, VOTER_ID, VOTER_ADDRESS, RAFT_VOTER);
    if (rv == 0) {
        rv = raft_configuration_encode(&configuration, &buffer);
    }
    if (rv == 0) {
        enc_raw(ret_data, buffer.base, buffer.len);
        raft_free(buffer.base);
    }
    raft_configuration_close(&configuration);
    return rv == 0 ? ERRC_OK : error_set(e, ERRC_INTERNAL, "raft configuration: %s", raft_strerror(rv));
}

static void update_read(struct raft_core *core, const struct raft_update *update, struct raft_core_update *ret)
{
    *ret = (struct raft_core_update){
        .hard_state = (update->flags & (RAFT_UPDATE_CURRENT_TERM)) != 0 || (update->flags & (RAFT_UPDATE_VOTED_FOR)) != 0,
        .term = raft_current_term(&core->raft),
        .vote = raft_voted_for(&core->raft),
        .commit_index = raft_commit_index(&core->raft),
        .leader = raft_state(&core->raft) == RAFT_LEADER,
    };
    if ((update->flags & (RAFT_UPDATE_ENTRIES)) != 0 && update->entries.n > 0) {
        ret->append_index = update->entries.index;
        ret->append_count = update->entries.n;
        ret->append_term = update->entries.batch[0].term;
        ret->append_type = (uint8_t)update->entries.batch[0].type;
    }
}

static enum errc step(struct raft_core *core, struct raft_event *event, struct raft_core_update *ret_update,
                      struct error *e)
{
    struct raft_update update;
    memset(&update, 0, sizeof(update));
    int rv = raft_step(&core->raft, event, &update);
    if (rv != 0) {
        return error_set(e, rv == RAFT_NOTLEADER ? ERRC_UNAVAILABLE : ERRC_INTERNAL, "raft: %s", raft_errmsg(&core->raft));
    }
    update_read(core, &update, ret_update);
    return ERRC_OK;
}

/* libraft frees the configuration entries that it is given at the start. */
static struct raft_entry *entries_copy(const struct raft_core_start *start)
{
    struct raft_entry *entries = raft_calloc(start->count > 0 ? start->count : 1, sizeof(*entries));
    ASSERT(entries != NULL);
    for (size_t i = 0; i < start->count; i++) {
        const struct raft_core_entry *from = &start->entries[i];
        entries[i].term = from->term;
        entries[i].type = (enum raft_entry_type)from->type;
        if (from->type == RAFT_CORE_CHANGE) {
            entries[i].buf.base = raft_malloc(from->data.len);
            ASSERT(entries[i].buf.base != NULL);
            memcpy(entries[i].buf.base, from->data.data, from->data.len);
            entries[i].buf.len = from->data.len;
        }
    }
    return entries;
}

static void entries_free(struct raft_entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        raft_free(entries[i].buf.base);
    }
    raft_free(entries);
}

enum errc raft_core_open(const struct raft_core_start *start, struct raft_core **ret_core,
                         struct raft_core_update *ret_update, struct error *e)
{
    struct raft_core *core = mem_zalloc(sizeof(*core));
    int rv = raft_init(&core->raft, NULL, NULL, VOTER_ID, VOTER_ADDRESS);
    if (rv != 0) {
        mem_free(core);
        return error_set(e, ERRC_INTERNAL, "raft: %s", raft_strerror(rv));
    }
    struct raft_snapshot_metadata metadata;
    memset(&metadata, 0, sizeof(metadata));
    raft_configuration_init(&metadata.configuration);
    if (start->snapshot_index > 0) {
        metadata.index = start->snapshot_index;
        metadata.term = start->snapshot_term;
        metadata.configuration_index = 1; /* the bootstrap entry: membership has never changed */
        rv = raft_configuration_add(&metadata.configuration, VOTER_ID, VOTER_ADDRESS, RAFT_VOTER);
        ASSERT(rv == 0);
    }
    struct raft_entry *entries = entries_copy(start);
    struct raft_event event;
    memset(&event, 0, sizeof(event));
    event.type = RAFT_START;
    event.time = start->now_ms;
    event.start.term = start->term;
    event.start.voted_for = start->vote;
    event.start.metadata = start->snapshot_index > 0 ? &metadata : NULL;
    event.start.start_index = start->first_index;
    event.start.entries = entries;
    event.start.n_entries = (unsigned)start->count;
    enum errc rc = step(core, &event, ret_update, e);
    entries_free(entries, start->count);
    if (rc != ERRC_OK) {
        raft_core_close(core); /* frees the snapshot's configuration too: raft took it */
        return rc;
    }
    *ret_core = core;
    return ERRC_OK;
}

enum errc raft_core_submit(struct raft_core *core, uint64_t now_ms, uint8_t type, struct slice data,
                           struct raft_core_update *ret_update, struct error *e)
{
    struct raft_entry entry;
    struct raft_event event;
    memset(&entry, 0, sizeof(entry));
    memset(&event, 0, sizeof(event));
    ASSERT(type == RAFT_CORE_COMMAND || type == RAFT_CORE_BARRIER);
    entry.type = (enum raft_entry_type)type;
    entry.term = raft_current_term(&core->raft);
    entry.buf.base = (void *)(uintptr_t)data.data; /* only looked at */
    entry.buf.len = data.len;
    event.type = RAFT_SUBMIT;
    event.time = now_ms;
    event.submit.entries = &entry;
    event.submit.n = 1;
    return step(core, &event, ret_update, e);
}

enum errc raft_core_persisted(struct raft_core *core, uint64_t now_ms, uint64_t index,
                              struct raft_core_update *ret_update, struct error *e)
{
    struct raft_event event;
    memset(&event, 0, sizeof(event));
    event.type = RAFT_PERSISTED_ENTRIES;
    event.time = now_ms;
    event.persisted_entries.index = index;
    return step(core, &event, ret_update, e);
}

enum errc raft_core_snapshot(struct raft_core *core, uint64_t now_ms, uint64_t index, uint64_t term, struct error *e)
{
    struct raft_core_update ignored; /* a snapshot decides nothing */
    struct raft_event event;
    memset(&event, 0, sizeof(event));
    event.type = RAFT_SNAPSHOT;
    event.time = now_ms;
    event.snapshot.metadata.index = index;
    event.snapshot.metadata.term = term;
    event.snapshot.trailing = 0;
    return step(core, &event, &ignored, e);
}

void raft_core_close(struct raft_core *core)
{
    if (core != NULL) {
        raft_close(&core->raft, NULL);
        mem_free(core);
    }
}
