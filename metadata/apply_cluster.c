/*
 * Sessions, disks, groups, identities, settings.
 */
#include "common/base/assert.h"
#include "common/base/mem.h"
#include "metadata/machine_state.h"

/* ---- sessions ---- */

static void session_remember(struct machine *m, uint64_t id, bool open)
{
    m->sessions[id % SESSION_SLOTS] = (struct session_slot){ id, open };
}

static void session_put(struct apply *a, uint64_t id, const struct session_record *session)
{
    struct key key;
    struct enc *record = machine_record(a->m);
    key_table_u64(&key, TABLE_SESSION, id);
    record_session_encode(record, session);
    apply_put(a, &key, record);
    session_remember(a->m, id, session->open);
}

/* Ids grow, so the newest is the last. */
static void open_session_add(struct machine *m, uint64_t id)
{
    if (m->open_count == m->open_capacity) {
        m->open_capacity = m->open_capacity > 0 ? 2 * m->open_capacity : 16;
        m->open_sessions = mem_realloc(m->open_sessions, m->open_capacity * sizeof(*m->open_sessions));
    }
    ASSERT(m->open_count == 0 || m->open_sessions[m->open_count - 1] < id);
    m->open_sessions[m->open_count++] = id;
}

static void open_session_remove(struct machine *m, uint64_t id)
{
    unsigned at = 0;
    while (at < m->open_count && m->open_sessions[at] != id) {
        at++;
    }
    ASSERT(at < m->open_count);
    memmove(&m->open_sessions[at], &m->open_sessions[at + 1], (m->open_count - at - 1) * sizeof(*m->open_sessions));
    m->open_count--;
}

unsigned machine_open_sessions(const struct machine *m, const uint64_t **ret_sessions)
{
    *ret_sessions = m->open_sessions;
    return m->open_count;
}

enum errc machine_sessions_load(struct machine *m, struct error *e)
{
    struct kv *kv = m->kv;
    struct key first, end;
    key_begin(&first, TABLE_SESSION);
    key_begin(&end, TABLE_SESSION + 1);
    struct kv_iterator *it = kv->vt->iterate(kv, key_slice(&first), key_slice(&end));
    enum errc rc = ERRC_OK;
    for (kv->vt->iterator_seek(it, key_slice(&first)); rc == ERRC_OK && kv->vt->iterator_valid(it);
         kv->vt->iterator_next(it)) {
        struct session_record session;
        struct slice key = kv->vt->iterator_key(it);
        rc = record_session_decode(kv->vt->iterator_value(it), &session);
        if (rc != ERRC_OK || key.len != 9) {
            rc = record_error(e, rc != ERRC_OK ? rc : ERRC_CORRUPT, "a session");
            break;
        }
        if (session.open) {
            open_session_add(m, load_be64(key.data + 1));
        }
    }
    rc = rc == ERRC_OK ? kv->vt->iterator_error(it, e) : rc;
    kv->vt->iterator_destroy(it);
    return rc;
}

/* Sets STALE unless there is such a session and it is open. */
static enum errc session_get(struct apply *a, uint64_t id, struct session_record *ret_session)
{
    struct key key;
    struct enc *value = machine_scratch(a->m);
    key_table_u64(&key, TABLE_SESSION, id);
    enum errc rc = apply_get(a, &key, value);
    if (rc == ERRC_NOT_FOUND) {
        apply_outcome(a, META_STALE);
        return ERRC_OK;
    }
    if (rc != ERRC_OK) {
        return rc;
    }
    rc = record_session_decode(enc_slice(value), ret_session);
    if (rc != ERRC_OK) {
        return record_error(a->e, rc, "a session");
    }
    session_remember(a->m, id, ret_session->open);
    if (!ret_session->open) {
        apply_outcome(a, META_STALE);
    }
    return ERRC_OK;
}

enum errc apply_session_check(struct apply *a, uint64_t id)
{
    struct session_record session;
    const struct session_slot *slot = &a->m->sessions[id % SESSION_SLOTS];
    if (id != 0 && slot->id == id) {
        if (!slot->open) {
            apply_outcome(a, META_STALE);
        }
        return ERRC_OK;
    }
    return session_get(a, id, &session);
}

enum errc apply_session_open(struct apply *a, const struct meta_session_open *cmd)
{
    struct session_record session = { .node = cmd->node, .open = true, .opened_ms = cmd->opened_ms };
    uint64_t id = a->m->counters.next_session++;
    session_put(a, id, &session);
    open_session_add(a->m, id);
    a->m->counters.status.sessions_open++;
    a->result.value = id;
    return ERRC_OK;
}

enum errc apply_session_reserve(struct apply *a, const struct meta_session_reserve *cmd)
{
    struct session_record session;
    enum errc rc = session_get(a, cmd->session, &session);
    if (rc != ERRC_OK || !apply_ok(a)) {
        return rc;
    }
    a->result.value = session.next_counter;
    session.next_counter += SESSION_IDS_RESERVED;
    session_put(a, cmd->session, &session);
    return ERRC_OK;
}

enum errc apply_session_close(struct apply *a, const struct meta_session_close *cmd)
{
    struct session_record session;
    enum errc rc = session_get(a, cmd->session, &session);
    if (rc != ERRC_OK || !apply_ok(a)) {
        return rc;
    }
    session.open = false;
    session_put(a, cmd->session, &session);
    open_session_remove(a->m, cmd->session);
    a->m->counters.status.sessions_open--;
    return ERRC_OK;
}

/* Its number was given once, and there is no row of it any more: only a rebuild leaves such. */
enum errc apply_session_forgotten(struct apply *a, uint64_t id)
{
    struct key key;
    key_table_u64(&key, TABLE_SESSION, id);
    enum errc rc = apply_get(a, &key, machine_scratch(a->m));
    if (rc == ERRC_OK || (rc == ERRC_NOT_FOUND && (id == 0 || id >= a->m->counters.next_session))) {
        apply_outcome(a, META_STALE);
    }
    return rc == ERRC_NOT_FOUND ? ERRC_OK : rc;
}

enum errc apply_session_settle(struct apply *a, const struct meta_session_close *cmd)
{
    const struct session_record session = { .open = false };
    enum errc rc = apply_session_forgotten(a, cmd->session);
    if (rc == ERRC_OK && apply_ok(a)) {
        session_put(a, cmd->session, &session);
    }
    return rc;
}

#define REBUILT_SESSIONS (UINT64_C(1) << 32)
#define REBUILT_REVISIONS (UINT64_C(1) << 32)

void apply_rebuilt(struct apply *a)
{
    struct machine *m = a->m;
    for (unsigned i = 0; i < m->open_count; i++) {
        struct key key;
        key_table_u64(&key, TABLE_SESSION, m->open_sessions[i]);
        apply_delete(a, &key);
    }
    m->open_count = 0;
    memset(m->sessions, 0, sizeof(m->sessions));
    m->counters.status.sessions_open = 0;
    m->counters.next_session += REBUILT_SESSIONS;
    m->counters.revision += REBUILT_REVISIONS;
}

/* ---- groups ---- */

static uint32_t group_position(const struct machine *m, uint32_t id)
{
    uint32_t low = 0;
    uint32_t count = m->group_count;
    while (count > 0) {
        uint32_t half = count / 2;
        if (m->groups[low + half].group.id < id) {
            low += half + 1;
            count -= half + 1;
        } else {
            count = half;
        }
    }
    return low;
}

struct group_record *machine_group(struct machine *m, uint32_t id)
{
    uint32_t at = group_position(m, id);
    return at < m->group_count && m->groups[at].group.id == id ? &m->groups[at] : NULL;
}

static struct group_record *group_add(struct machine *m, uint32_t id)
{
    uint32_t at = group_position(m, id);
    if (m->group_count == m->group_capacity) {
        m->group_capacity = m->group_capacity > 0 ? 2 * m->group_capacity : 16;
        m->groups = mem_realloc(m->groups, m->group_capacity * sizeof(*m->groups));
    }
    memmove(&m->groups[at + 1], &m->groups[at], (m->group_count - at) * sizeof(*m->groups));
    m->group_count++;
    m->groups[at] = (struct group_record){ .group = { .id = id } };
    return &m->groups[at];
}

enum errc machine_groups_load(struct machine *m, struct error *e)
{
    struct kv *kv = m->kv;
    struct key first, end;
    key_begin(&first, TABLE_GROUP);
    key_begin(&end, TABLE_GROUP + 1);
    struct kv_iterator *it = kv->vt->iterate(kv, key_slice(&first), key_slice(&end));
    enum errc rc = ERRC_OK;
    for (kv->vt->iterator_seek(it, key_slice(&first)); rc == ERRC_OK && kv->vt->iterator_valid(it);
         kv->vt->iterator_next(it)) {
        struct group_record group;
        rc = record_group_decode(kv->vt->iterator_value(it), &group);
        if (rc != ERRC_OK) {
            rc = record_error(e, rc, "a group");
            break;
        }
        *group_add(m, group.group.id) = group;
    }
    if (rc == ERRC_OK) {
        rc = kv->vt->iterator_error(it, e);
    }
    kv->vt->iterator_destroy(it);
    return rc;
}

static void group_record_put(struct apply *a, const struct group_record *group)
{
    struct key key;
    struct enc *record = machine_record(a->m);
    key_begin(&key, TABLE_GROUP);
    key_u32(&key, group->group.id);
    record_group_encode(record, group);
    apply_put(a, &key, record);
}

/* A place of a group has another disk: what stood there is to be marked missing, from the start. */
static void sweep_put(struct apply *a, uint32_t group, unsigned position)
{
    static const struct extent_id start;
    struct key key;
    struct enc *record = machine_record(a->m);
    key_begin(&key, TABLE_SWEEP);
    key_u32(&key, group);
    key_u8(&key, (uint8_t)position);
    record_bytes_encode(record, slice_of(start.bytes, ID_BYTES));
    apply_put(a, &key, record);
}

static bool group_valid(const struct meta_group *group)
{
    for (unsigned i = 0; i < group->disk_count; i++) {
        for (unsigned j = 0; j < i; j++) {
            if (disk_id_equal(group->disks[i], group->disks[j])) {
                return false;
            }
        }
    }
    uint64_t positions = group->disk_count < 64 ? (UINT64_C(1) << group->disk_count) - 1 : UINT64_MAX;
    bool class_valid = group->class_k == 0 ? group->class_m == 0 && group->primary == 0
                                           : __builtin_popcountll(group->primary) == group->class_k + group->class_m &&
                                                 (group->primary & ~positions) == 0;
    return group->disk_count > 0 && class_valid;
}

/* Extents of the old class may stand in it. */
static bool class_changes(const struct meta_group *known, const struct meta_group *group)
{
    return known->class_k > 0 && (known->class_k != group->class_k || known->class_m != group->class_m);
}

enum errc apply_group_put(struct apply *a, const struct meta_group_put *cmd)
{
    struct group_record *known = machine_group(a->m, cmd->group.id);
    if (!group_valid(&cmd->group) ||
        (known != NULL && (known->group.disk_count > cmd->group.disk_count || class_changes(&known->group, &cmd->group)))) {
        apply_outcome(a, META_INVALID);
        return ERRC_OK;
    }
    if (known != NULL && known->group.epoch != cmd->group.epoch) {
        apply_outcome(a, META_STALE);
        return ERRC_OK;
    }
    uint64_t revision = ++a->m->counters.revision;
    struct group_record group = { .group = cmd->group };
    group.group.epoch++;
    for (unsigned i = 0; i < cmd->group.disk_count; i++) { /* no map that is older has a position that is new */
        bool is_old = known != NULL && i < known->group.disk_count;
        bool moves = is_old && !disk_id_equal(known->group.disks[i], cmd->group.disks[i]);
        group.changed[i] = moves || known == NULL ? revision : known->changed[is_old ? i : 0];
        if (moves) {
            sweep_put(a, cmd->group.id, i);
        }
    }
    if (known == NULL) {
        known = group_add(a->m, cmd->group.id);
    }
    *known = group;
    group_record_put(a, &group);
    a->result.value = group.group.epoch;
    return ERRC_OK;
}

/* ---- disks ---- */

static void disk_record_put(struct apply *a, const struct meta_disk *disk)
{
    struct key key;
    struct enc *record = machine_record(a->m);
    key_table_raw(&key, TABLE_DISK, disk->id.bytes, ID_BYTES);
    record_disk_encode(record, disk);
    apply_put(a, &key, record);
}

static enum errc disk_retire(struct apply *a, struct disk_id id)
{
    struct key key;
    struct meta_disk disk;
    struct enc *value = machine_scratch(a->m);
    key_table_raw(&key, TABLE_DISK, id.bytes, ID_BYTES);
    enum errc rc = apply_get(a, &key, value);
    if (rc == ERRC_NOT_FOUND) {
        return ERRC_OK;
    }
    if (rc != ERRC_OK) {
        return rc;
    }
    rc = record_disk_decode(enc_slice(value), &disk);
    if (rc != ERRC_OK) {
        return record_error(a->e, rc, "a disk");
    }
    disk.state = META_DISK_REMOVED;
    disk_record_put(a, &disk);
    return ERRC_OK;
}

static void group_move(struct apply *a, struct group_record *group, unsigned position, struct disk_id disk)
{
    group->group.disks[position] = disk;
    group->group.epoch++;
    group->changed[position] = a->m->counters.revision;
    group_record_put(a, group);
    sweep_put(a, group->group.id, position);
}

static bool group_has(const struct meta_group *group, struct disk_id disk)
{
    for (unsigned i = 0; i < group->disk_count; i++) {
        if (disk_id_equal(group->disks[i], disk)) {
            return true;
        }
    }
    return false;
}

/* A disk can't take a second place of a group. */
static bool groups_collide(const struct machine *m, struct disk_id from, struct disk_id to)
{
    for (uint32_t i = 0; i < m->group_count; i++) {
        if (group_has(&m->groups[i].group, from) && group_has(&m->groups[i].group, to)) {
            return true;
        }
    }
    return false;
}

static void groups_move(struct apply *a, struct disk_id from, struct disk_id to)
{
    for (uint32_t i = 0; i < a->m->group_count; i++) {
        struct group_record *group = &a->m->groups[i];
        for (unsigned at = 0; at < group->group.disk_count; at++) {
            if (disk_id_equal(group->group.disks[at], from)) {
                group_move(a, group, at, to);
                a->result.value++;
            }
        }
    }
}

enum errc apply_disk_put(struct apply *a, const struct meta_disk_put *cmd)
{
    const struct meta_disk *disk = &cmd->disk;
    bool replaces = !disk_id_is_zero(disk->replaces);
    if (disk_id_is_zero(disk->id) || (replaces && (disk_id_equal(disk->id, disk->replaces) ||
                                                   groups_collide(a->m, disk->replaces, disk->id)))) {
        apply_outcome(a, META_INVALID);
        return ERRC_OK;
    }
    a->m->counters.revision++;
    if (replaces) {
        enum errc rc = disk_retire(a, disk->replaces);
        if (rc != ERRC_OK) {
            return rc;
        }
        groups_move(a, disk->replaces, disk->id);
    }
    disk_record_put(a, disk);
    return ERRC_OK;
}

/* ---- identities and settings ---- */

enum errc apply_identity_put(struct apply *a, const struct meta_identity_put *cmd)
{
    struct key key;
    if (cmd->access_key.len == 0) {
        apply_outcome(a, META_INVALID);
        return ERRC_OK;
    }
    key_table_raw(&key, TABLE_IDENTITY, cmd->access_key.data, cmd->access_key.len);
    if (cmd->remove) {
        apply_delete(a, &key);
        return ERRC_OK;
    }
    struct enc *record = machine_record(a->m);
    record_bytes_encode(record, cmd->record);
    apply_put(a, &key, record);
    return ERRC_OK;
}

enum errc apply_setting_put(struct apply *a, const struct meta_setting_put *cmd)
{
    struct key key;
    if (cmd->name.len == 0) {
        apply_outcome(a, META_INVALID);
        return ERRC_OK;
    }
    key_table_raw(&key, TABLE_SETTING, cmd->name.data, cmd->name.len);
    struct enc *record = machine_record(a->m);
    record_bytes_encode(record, cmd->value);
    apply_put(a, &key, record);
    return ERRC_OK;
}
