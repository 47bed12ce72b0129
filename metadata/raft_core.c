#include "metadata/raft_core.h"

#include "common/base/assert.h"
#include "common/base/mem.h"

#include <raft.h>
#include <stdio.h>
#include <string.h>

#define ELECTION_MS 1000
#define HEARTBEAT_MS 100

STATIC_ASSERT(RAFT_CORE_COMMAND == (int)RAFT_COMMAND && RAFT_CORE_BARRIER == (int)RAFT_BARRIER &&
                  RAFT_CORE_CHANGE == (int)RAFT_CHANGE,
              "stored entry types are libraft's");

struct raft_core {
    struct raft raft;
    uint64_t id;
    uint64_t commit_index;          /* libraft's goes back when a delayed APPEND without entries ends below it */
    uint64_t last_index;            /* of the log, the write under way included */
    struct core_message *messages;  /* of the last update */
    unsigned message_capacity;
};

static int members_add(struct raft_configuration *configuration, const struct raft_core_members *members)
{
    int rv = 0;
    for (unsigned i = 0; i < members->count && rv == 0; i++) {
        const struct raft_core_member *member = &members->list[i];
        rv = raft_configuration_add(configuration, member->id, member->node, member->votes ? RAFT_VOTER : RAFT_STANDBY);
    }
    return rv;
}

enum errc raft_core_change(const struct raft_core_members *members, struct enc *ret_data, struct error *e)
{
    struct raft_configuration configuration;
    struct raft_buffer buffer = { NULL, 0 };
    raft_configuration_init(&configuration);
    int rv = members_add(&configuration, members);
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

/* libraft's message as ours. Entries of an APPEND are named only. */
static void message_from_raft(struct raft_core *core, const struct raft_message *from, struct core_message *to)
{
    *to = (struct core_message){ .from = core->id, .to = from->server_id };
    switch (from->type) {
    case RAFT_APPEND_ENTRIES:
        to->kind = CORE_APPEND;
        to->version = from->append_entries.version;
        to->term = from->append_entries.term;
        to->index = from->append_entries.prev_log_index;
        to->index_term = from->append_entries.prev_log_term;
        to->commit = from->append_entries.leader_commit;
        to->entry_count = from->append_entries.n_entries;
        break;
    case RAFT_APPEND_ENTRIES_RESULT:
        to->kind = CORE_APPEND_RESULT;
        to->version = from->append_entries_result.version;
        to->term = from->append_entries_result.term;
        to->rejected = from->append_entries_result.rejected;
        to->index = from->append_entries_result.last_log_index;
        to->features = from->append_entries_result.features;
        to->capacity = from->append_entries_result.capacity;
        break;
    case RAFT_REQUEST_VOTE:
        to->kind = CORE_VOTE;
        to->version = from->request_vote.version;
        to->term = from->request_vote.term;
        to->index = from->request_vote.last_log_index;
        to->index_term = from->request_vote.last_log_term;
        to->disrupt = from->request_vote.disrupt_leader;
        to->pre_vote = from->request_vote.pre_vote;
        break;
    case RAFT_REQUEST_VOTE_RESULT:
        to->kind = CORE_VOTE_RESULT;
        to->version = from->request_vote_result.version;
        to->term = from->request_vote_result.term;
        to->granted = from->request_vote_result.vote_granted;
        to->pre_vote = from->request_vote_result.pre_vote;
        to->features = from->request_vote_result.features;
        to->capacity = from->request_vote_result.capacity;
        break;
    case RAFT_INSTALL_SNAPSHOT:
        to->kind = CORE_SNAPSHOT;
        to->version = from->install_snapshot.version;
        to->term = from->install_snapshot.term;
        to->index = from->install_snapshot.last_index;
        to->index_term = from->install_snapshot.last_term;
        break;
    case RAFT_TIMEOUT_NOW:
        to->kind = CORE_TIMEOUT_NOW;
        to->version = from->timeout_now.version;
        to->term = from->timeout_now.term;
        to->index = from->timeout_now.last_log_index;
        to->index_term = from->timeout_now.last_log_term;
        break;
    }
}

static void update_messages(struct raft_core *core, const struct raft_update *update, struct raft_core_update *ret)
{
    if ((update->flags & (RAFT_UPDATE_MESSAGES)) == 0) {
        return;
    }
    if (update->messages.n > core->message_capacity) {
        mem_free(core->messages);
        core->message_capacity = update->messages.n;
        core->messages = mem_zalloc(core->message_capacity * sizeof(*core->messages));
    }
    for (unsigned i = 0; i < update->messages.n; i++) {
        message_from_raft(core, &update->messages.batch[i], &core->messages[i]);
    }
    ret->message_count = update->messages.n;
    ret->messages = core->messages;
}

static void update_read(struct raft_core *core, const struct raft_update *update, struct raft_core_update *ret)
{
    raft_id leader = 0;
    const char *address = NULL;
    raft_leader(&core->raft, &leader, &address);
    if (raft_commit_index(&core->raft) > core->commit_index) {
        core->commit_index = raft_commit_index(&core->raft);
    }
    *ret = (struct raft_core_update){
        .hard_state = (update->flags & (RAFT_UPDATE_CURRENT_TERM)) != 0 || (update->flags & (RAFT_UPDATE_VOTED_FOR)) != 0,
        .term = raft_current_term(&core->raft),
        .vote = raft_voted_for(&core->raft),
        .commit_index = core->commit_index,
        .leader = raft_state(&core->raft) == RAFT_LEADER,
        .leader_id = leader,
        .timeout_ms = raft_timeout(&core->raft),
    };
    if ((update->flags & (RAFT_UPDATE_ENTRIES)) != 0 && update->entries.n > 0) {
        ret->append_index = update->entries.index;
        ret->append_count = update->entries.n;
        ret->append_term = update->entries.batch[0].term;
        ret->append_type = (uint8_t)update->entries.batch[0].type;
        ret->append_cuts = ret->append_index <= core->last_index;
        core->last_index = ret->append_index + ret->append_count - 1;
    }
    update_messages(core, update, ret);
}

static enum errc step(struct raft_core *core, struct raft_event *event, struct raft_core_update *ret_update,
                      struct error *e)
{
    struct raft_update update;
    memset(&update, 0, sizeof(update));
    int rv = raft_step(&core->raft, event, &update);
    raft_free(core->raft.barrier.buf.base); /* a new leader's barrier: its bytes are left to us, and mean nothing */
    core->raft.barrier.buf.base = NULL;
    core->raft.barrier.buf.len = 0;
    if (rv != 0) {
        enum errc rc = rv == RAFT_NOTLEADER ? ERRC_UNAVAILABLE : rv == RAFT_CANTCHANGE ? ERRC_CONFLICT
                       : rv == RAFT_NOTFOUND ? ERRC_NOT_FOUND : ERRC_INTERNAL;
        return error_set(e, rc, "raft: %s", raft_errmsg(&core->raft));
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
    int rv = raft_init(&core->raft, NULL, NULL, start->id, "self"); /* an address that nobody uses */
    if (rv != 0) {
        mem_free(core);
        return error_set(e, ERRC_INTERNAL, "raft: %s", raft_strerror(rv));
    }
    core->id = start->id;
    core->last_index = start->first_index + start->count - 1;
    raft_seed(&core->raft, start->seed);
    raft_set_election_timeout(&core->raft, start->election_ms > 0 ? start->election_ms : ELECTION_MS);
    raft_set_heartbeat_timeout(&core->raft, start->heartbeat_ms > 0 ? start->heartbeat_ms : HEARTBEAT_MS);
    raft_set_pre_vote(&core->raft, true);
    struct raft_snapshot_metadata metadata;
    memset(&metadata, 0, sizeof(metadata));
    raft_configuration_init(&metadata.configuration);
    if (start->snapshot_index > 0) {
        metadata.index = start->snapshot_index;
        metadata.term = start->snapshot_term;
        metadata.configuration_index = start->members->index;
        rv = members_add(&metadata.configuration, start->members);
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
    entry.type = (enum raft_entry_type)type;
    entry.term = raft_current_term(&core->raft);
    entry.buf.base = (void *)(uintptr_t)data.data; /* only looked at */
    entry.buf.len = data.len;
    entry.batch = entry.buf.base;
    event.type = RAFT_SUBMIT;
    event.time = now_ms;
    event.submit.entries = &entry;
    event.submit.n = 1;
    return step(core, &event, ret_update, e);
}

enum errc raft_core_timeout(struct raft_core *core, uint64_t now_ms, struct raft_core_update *ret_update,
                            struct error *e)
{
    struct raft_event event;
    memset(&event, 0, sizeof(event));
    event.type = RAFT_TIMEOUT;
    event.time = now_ms;
    return step(core, &event, ret_update, e);
}

static void message_to_raft(const struct core_message *from, struct raft_message *to)
{
    to->server_id = from->from;
    switch ((enum core_message_kind)from->kind) {
    case CORE_APPEND:
        to->type = RAFT_APPEND_ENTRIES;
        to->append_entries = (struct raft_append_entries){ .version = from->version, .term = from->term,
            .prev_log_index = from->index, .prev_log_term = from->index_term, .leader_commit = from->commit };
        break;
    case CORE_APPEND_RESULT:
        to->type = RAFT_APPEND_ENTRIES_RESULT;
        to->append_entries_result = (struct raft_append_entries_result){ .version = from->version, .term = from->term,
            .rejected = from->rejected, .last_log_index = from->index, .features = from->features,
            .capacity = from->capacity };
        break;
    case CORE_VOTE:
        to->type = RAFT_REQUEST_VOTE;
        to->request_vote = (struct raft_request_vote){ .version = from->version, .term = from->term,
            .candidate_id = from->from, .last_log_index = from->index, .last_log_term = from->index_term,
            .disrupt_leader = from->disrupt, .pre_vote = from->pre_vote };
        break;
    case CORE_VOTE_RESULT:
        to->type = RAFT_REQUEST_VOTE_RESULT;
        to->request_vote_result = (struct raft_request_vote_result){ .version = from->version, .term = from->term,
            .vote_granted = from->granted, .pre_vote = from->pre_vote, .features = from->features,
            .capacity = from->capacity };
        break;
    case CORE_TIMEOUT_NOW:
        to->type = RAFT_TIMEOUT_NOW;
        to->timeout_now = (struct raft_timeout_now){ .version = from->version, .term = from->term,
            .last_log_index = from->index, .last_log_term = from->index_term };
        break;
    case CORE_SNAPSHOT: /* refused by the caller */
        break;
    }
}

/* A refusal of entries that this follower is known to hold is an old one, and is dropped. libraft 0.22 takes it while it
 * probes: its next index falls below the match index, and the follower is sent nothing but heartbeats from then on. */
static bool refusal_is_stale(struct raft_core *core, const struct core_message *message, struct raft_message *in)
{
    raft_index match = 0;
    if (message->kind != CORE_APPEND_RESULT || message->rejected == 0 || message->term != raft_current_term(&core->raft) ||
        raft_match_index(&core->raft, message->from, &match) != 0) {
        return false;
    }
    if (in->append_entries_result.last_log_index < match) {
        in->append_entries_result.last_log_index = match;
    }
    return message->rejected <= match;
}

enum errc raft_core_receive(struct raft_core *core, uint64_t now_ms, const struct core_message *message,
                            struct raft_core_update *ret_update, struct error *e)
{
    struct raft_message in;
    struct raft_event event;
    if (message->kind == CORE_SNAPSHOT) {
        return error_set(e, ERRC_UNSUPPORTED, "the leader's log begins behind this voter's end: it needs a checkpoint");
    }
    if (message->to != core->id) {
        return error_set(e, ERRC_INVALID, "a message for another voter");
    }
    memset(&in, 0, sizeof(in));
    memset(&event, 0, sizeof(event));
    message_to_raft(message, &in);
    in.server_address = "peer"; /* not NULL, which would mean that there is no leader to answer */
    if (refusal_is_stale(core, message, &in)) {
        const struct raft_update nothing = { .flags = 0 };
        update_read(core, &nothing, ret_update);
        return ERRC_OK;
    }
    struct raft_entry *entries = NULL;
    if (message->entry_count > 0) {
        const struct raft_core_start copy = { .count = message->entry_count, .entries = message->entries };
        entries = entries_copy(&copy);
        in.append_entries.entries = entries;
        in.append_entries.n_entries = message->entry_count;
    }
    event.type = RAFT_RECEIVE;
    event.time = now_ms;
    event.receive.message = &in;
    enum errc rc = step(core, &event, ret_update, e);
    if (rc == ERRC_OK && ret_update->append_index != 0 && message->kind == CORE_APPEND) {
        ret_update->append_received = true;
        ret_update->append_skip = (unsigned)(ret_update->append_index - message->index - 1);
    }
    if (entries != NULL) {
        entries_free(entries, message->entry_count);
    }
    return rc;
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

enum errc raft_core_snapshot(struct raft_core *core, uint64_t now_ms, uint64_t index, uint64_t term, unsigned trailing,
                             struct error *e)
{
    struct raft_core_update ignored; /* a snapshot decides nothing */
    struct raft_event event;
    memset(&event, 0, sizeof(event));
    event.type = RAFT_SNAPSHOT;
    event.time = now_ms;
    event.snapshot.metadata.index = index;
    event.snapshot.metadata.term = term;
    event.snapshot.metadata.configuration_index = core->raft.configuration_committed_index; /* is known already */
    event.snapshot.trailing = trailing;
    return step(core, &event, &ignored, e);
}

enum errc raft_core_changed(struct raft_core *core, uint64_t now_ms, uint64_t index,
                            struct raft_core_update *ret_update, struct error *e)
{
    struct raft_core_members members;
    struct raft_event event;
    memset(&event, 0, sizeof(event));
    event.type = RAFT_CONFIGURATION;
    event.time = now_ms;
    event.configuration.index = index;
    raft_configuration_init(&event.configuration.conf);
    raft_core_members(core, &members); /* at most one is not committed, so the newest is the one at index */
    int rv = members_add(&event.configuration.conf, &members);
    return rv == 0 ? step(core, &event, ret_update, e) : error_set(e, ERRC_INTERNAL, "raft: %s", raft_strerror(rv));
}

uint64_t raft_core_change_pending(const struct raft_core *core)
{
    return core->raft.configuration_uncommitted_index;
}

enum errc raft_core_transfer(struct raft_core *core, uint64_t now_ms, struct raft_core_update *ret_update,
                             struct error *e)
{
    struct raft_event event;
    memset(&event, 0, sizeof(event));
    event.type = RAFT_TRANSFER;
    event.time = now_ms;
    return step(core, &event, ret_update, e);
}

void raft_core_members(const struct raft_core *core, struct raft_core_members *ret_members)
{
    const struct raft_configuration *configuration = &core->raft.configuration;
    *ret_members = (struct raft_core_members){ .count = 0 };
    if (core->raft.configuration_uncommitted_index == 0) {
        ret_members->index = core->raft.configuration_committed_index;
    }
    for (unsigned i = 0; i < configuration->n && i < RAFT_MEMBERS_MAX; i++) {
        struct raft_core_member *member = &ret_members->list[ret_members->count++];
        member->id = configuration->servers[i].id;
        member->votes = configuration->servers[i].role == RAFT_VOTER;
        (void)snprintf(member->node, sizeof(member->node), "%s", configuration->servers[i].address);
    }
}

uint64_t raft_core_match(const struct raft_core *core, uint64_t id)
{
    raft_index match = 0;
    return raft_match_index(&core->raft, id, &match) == 0 ? match : 0;
}

void raft_core_close(struct raft_core *core)
{
    if (core != NULL) {
        raft_close(&core->raft, NULL);
        mem_free(core->messages);
        mem_free(core);
    }
}
