/*
 * Extents: the working set of a command, reference counts, indexes, repair state.
 *
 * A command changes extents in memory (extent_find) and extent_set_flush() writes the difference once:
 * the record, the index by group, the repair queue and the counts. At 0 references an extent leaves the
 * index and becomes a gc item with the log index of the command.
 */
#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/base/plant.h"
#include "metadata/machine_state.h"

static uint32_t *head_of(struct extent_set *set, struct extent_id id)
{
    uint64_t hash = (load_le64(id.bytes) ^ load_be64(id.bytes + 8)) * 0x9e3779b97f4a7c15u;
    return &set->heads[hash >> 52];
}

void extent_set_clear(struct extent_set *set)
{
    STATIC_ASSERT(EXTENT_HASH_SLOTS == 1u << 12, "head_of takes the upper 12 bits");
    for (uint32_t i = 0; i < set->count; i++) {
        *head_of(set, set->changes[i].id) = 0;
    }
    set->count = 0;
}

static struct extent_change *change_new(struct extent_set *set, struct extent_id id)
{
    if (set->count == set->capacity) {
        set->capacity = set->capacity > 0 ? 2 * set->capacity : 64;
        set->changes = mem_realloc(set->changes, set->capacity * sizeof(*set->changes));
    }
    uint32_t *head = head_of(set, id);
    struct extent_change *change = &set->changes[set->count++];
    *change = (struct extent_change){ .id = id, .next = *head };
    *head = set->count;
    return change;
}

static void extent_key(struct key *key, enum key_table table, struct extent_id id)
{
    key_table_raw(key, table, id.bytes, ID_BYTES);
}

enum errc extent_find(struct apply *a, struct extent_id id, struct extent_change **ret_change)
{
    struct extent_set *set = &a->m->extents;
    for (uint32_t at = *head_of(set, id); at != 0; at = set->changes[at - 1].next) {
        if (extent_id_equal(set->changes[at - 1].id, id)) {
            *ret_change = &set->changes[at - 1];
            return ERRC_OK;
        }
    }
    struct key key;
    extent_key(&key, TABLE_EXTENT, id);
    enum errc rc = apply_get(a, &key, &set->value);
    struct extent_change *change = change_new(set, id);
    *ret_change = change;
    if (rc == ERRC_NOT_FOUND) {
        return ERRC_OK;
    }
    if (rc == ERRC_OK) {
        rc = record_extent_decode(enc_slice(&set->value), &change->before);
        if (rc != ERRC_OK) {
            return record_error(a->e, rc, "an extent");
        }
        change->after = change->before;
        change->existed = true;
        change->exists = true;
    }
    return rc;
}

/* ---- counts and indexes ---- */

bool extent_in_repair(const struct extent *extent)
{
    return extent->missing != 0 || meta_extent_smaller(extent);
}

static void add(uint64_t *counter, uint64_t n, bool plus)
{
    *counter = plus ? *counter + n : *counter - n;
}

void extent_count(struct meta_status *status, const struct extent *extent, bool plus)
{
    unsigned gone = (unsigned)__builtin_popcount(extent->missing);
    uint64_t stripes = meta_extent_stripes(extent);
    add(&status->extents, 1, plus);
    add(&status->stripes, stripes, plus);
    if (!extent_in_repair(extent)) {
        add(&status->extents_full, 1, plus);
        return;
    }
    add(&status->stripes_degraded, stripes, plus);
    if (gone == 0) {
        add(&status->extents_smaller, 1, plus);
        return;
    }
    add(&status->extents_missing[gone > CODE_M_MAX ? CODE_M_MAX : gone - 1], 1, plus);
    if (gone > extent->code.m) {
        add(&status->extents_unreadable, 1, plus);
    }
}

static void group_key(struct key *key, const struct extent *extent)
{
    key_begin(key, TABLE_EXTENT_GROUP);
    key_u32(key, extent->group);
    key_raw(key, extent->id.bytes, ID_BYTES);
}

void extent_rank_key(struct key *key, const struct extent *extent)
{
    key_begin(key, TABLE_REPAIR);
    key_u8(key, meta_repair_rank(extent));
    key_raw(key, extent->id.bytes, ID_BYTES);
}

static void mark_put(struct apply *a, const struct key *key)
{
    struct enc *record = machine_record(a->m);
    record_bytes_encode(record, SLICE_EMPTY);
    apply_put(a, key, record);
}

static void index_remove(struct apply *a, const struct extent *extent)
{
    struct key key;
    extent_count(&a->m->counters.status, extent, false);
    group_key(&key, extent);
    apply_delete(a, &key);
    if (extent_in_repair(extent)) {
        extent_rank_key(&key, extent);
        apply_delete(a, &key);
    }
}

static void index_add(struct apply *a, const struct extent *extent)
{
    struct key key;
    extent_count(&a->m->counters.status, extent, true);
    group_key(&key, extent);
    mark_put(a, &key);
    if (extent_in_repair(extent)) {
        extent_rank_key(&key, extent);
        mark_put(a, &key);
    }
}

static bool same_indexes(const struct extent *a, const struct extent *b)
{
    return a->group == b->group && a->missing == b->missing && a->code.matrix == b->code.matrix &&
           a->code.k == b->code.k && a->code.m == b->code.m && a->code.cell_bytes == b->code.cell_bytes &&
           a->stored_bytes == b->stored_bytes && a->class_k == b->class_k && a->class_m == b->class_m;
}

static void change_flush(struct apply *a, const struct extent_change *change)
{
    struct key key;
    extent_key(&key, TABLE_EXTENT, change->id);
    if (!change->exists) {
        struct gc_record item = { .kind = GC_EXTENT, .extent = change->before };
        item.extent.references = 0;
        apply_delete(a, &key);
        index_remove(a, &change->before);
        gc_add(a, &item);
        return;
    }
    struct enc *record = machine_record(a->m);
    record_extent_encode(record, &change->after);
    apply_put(a, &key, record);
    if (!change->existed) {
        index_add(a, &change->after);
    } else if (!same_indexes(&change->before, &change->after)) {
        index_remove(a, &change->before);
        index_add(a, &change->after);
    }
}

enum errc extent_set_flush(struct apply *a)
{
    struct extent_set *set = &a->m->extents;
    for (uint32_t i = 0; i < set->count; i++) {
        const struct extent_change *change = &set->changes[i];
        if (!change->existed && !change->exists) {
            continue;
        }
        if (change->existed && change->exists && change->before.epoch == change->after.epoch &&
            change->before.references == change->after.references) {
            continue; /* any other field changes with the epoch */
        }
        change_flush(a, change);
    }
    return ERRC_OK;
}

/* ---- use and drop ---- */

static bool places_distinct(const struct extent *extent, unsigned shards)
{
    uint64_t seen = 0;
    for (unsigned i = 0; i < shards; i++) {
        if (extent->position[i] >= GROUP_DISKS_MAX || (seen >> extent->position[i] & 1) != 0) {
            return false;
        }
        seen |= 1ull << extent->position[i];
    }
    return true;
}

static bool extent_valid(const struct extent *extent)
{
    unsigned shards = (unsigned)extent->code.k + extent->code.m;
    if (extent->stored_bytes > EXTENT_BYTES_MAX || extent->logical_bytes > EXTENT_BYTES_MAX ||
        (extent->transform.kind == 0 && extent->stored_bytes != extent->logical_bytes)) {
        return false;
    }
    if (extent->missing >> shards != 0 || __builtin_popcount(extent->missing) > extent->code.m) {
        return false;
    }
    return extent->class_k <= CODE_K_MAX && extent->class_m <= CODE_M_MAX && places_distinct(extent, shards);
}

/*
 * The shards (bits) whose positions have got another disk since a map of this revision: they lie where nobody looks for them.
 * All of them where the group is not known. map_revision 0: none.
 */
static uint32_t shards_displaced(struct machine *m, const struct extent *extent, uint64_t map_revision)
{
    unsigned count = (unsigned)extent->code.k + extent->code.m;
    const struct group_record *group = map_revision > 0 ? machine_group(m, extent->group) : NULL;
    uint32_t displaced = 0;
    for (unsigned i = 0; i < count && map_revision > 0; i++) {
        bool is_there = group != NULL && extent->position[i] < group->group.disk_count &&
                        group->changed[extent->position[i]] <= map_revision;
        displaced |= is_there ? 0 : UINT32_C(1) << i;
    }
    return displaced;
}

/* A new extent may lack displaced shards, as it may lack others: one more than are needed must be left (BLUEPRINT 2.1), or
 * all of a code without parity. */
static bool enough_left(const struct extent *extent)
{
    unsigned left = (unsigned)extent->code.k + extent->code.m - (unsigned)__builtin_popcount(extent->missing);
    return left >= (unsigned)extent->code.k + (extent->code.m > 0);
}

/* A group of a class takes that class, in codes of the same m and at most its k (small objects). */
static bool class_fits(struct machine *m, const struct extent *extent)
{
    const struct group_record *group = machine_group(m, extent->group);
    return group == NULL || group->group.class_k == 0 ||
           (extent->class_k <= group->group.class_k && extent->class_m == group->group.class_m);
}

static enum errc extent_insert(struct apply *a, const struct extent_use *use, const struct extent *extent)
{
    struct extent_change *change;
    struct key key;
    if (!extent_valid(extent) || load_be64(extent->id.bytes) != use->session || !class_fits(a->m, extent)) {
        apply_outcome(a, META_INVALID);
        return ERRC_OK;
    }
    enum errc rc = extent_find(a, extent->id, &change);
    if (rc != ERRC_OK) {
        return rc;
    }
    bool taken = change->exists;
    if (!taken) { /* a command sent twice whose extents are on their way out already */
        extent_key(&key, TABLE_GC_EXTENT, extent->id);
        rc = apply_get(a, &key, &a->m->extents.value);
        taken = rc == ERRC_OK;
        if (rc != ERRC_OK && rc != ERRC_NOT_FOUND) {
            return rc;
        }
    }
    struct extent placed = *extent;
    uint32_t displaced = shards_displaced(a->m, extent, use->map_revision);
    placed.missing |= displaced;
    placed.references = 0;
    if (taken || (displaced != 0 && !enough_left(&placed))) {
        apply_outcome(a, META_STALE);
        return ERRC_OK;
    }
    change->after = placed;
    change->exists = true;
    return ERRC_OK;
}

static enum errc ref_take(struct apply *a, const struct extent_ref *ref)
{
    struct extent_change *change;
    enum errc rc = extent_find(a, ref->extent, &change);
    if (rc != ERRC_OK) {
        return rc;
    }
    if (!change->exists) {
        apply_outcome(a, META_STALE);
    } else if (ref->length == 0 || ref->offset > change->after.logical_bytes ||
               ref->length > change->after.logical_bytes - ref->offset || change->after.references == UINT32_MAX) {
        apply_outcome(a, META_INVALID);
    } else {
        change->after.references++;
    }
    return ERRC_OK;
}

static enum errc new_ones_used(struct apply *a, const struct extent_use *use)
{
    for (uint32_t i = 0; i < use->extent_count; i++) {
        struct extent_change *change;
        enum errc rc = extent_find(a, use->extents[i].id, &change);
        if (rc != ERRC_OK) {
            return rc;
        }
        if (change->after.references == 0) {
            apply_outcome(a, META_INVALID);
        }
    }
    return ERRC_OK;
}

enum errc extent_use(struct apply *a, const struct extent_use *use)
{
    enum errc rc = ERRC_OK;
    if (use->extent_count > 0) {
        rc = use->adopted ? apply_session_forgotten(a, use->session) : apply_session_check(a, use->session);
    }
    for (uint32_t i = 0; i < use->extent_count && rc == ERRC_OK && apply_ok(a); i++) {
        rc = extent_insert(a, use, &use->extents[i]);
    }
    uint64_t size = 0;
    for (uint32_t i = 0; i < use->ref_count && rc == ERRC_OK && apply_ok(a); i++) {
        rc = ref_take(a, &use->refs[i]);
        size += use->refs[i].length;
    }
    if (rc != ERRC_OK || !apply_ok(a)) {
        return rc;
    }
    if (size != use->size) {
        apply_outcome(a, META_INVALID);
        return ERRC_OK;
    }
    return new_ones_used(a, use);
}

enum errc extent_drop(struct apply *a, struct dec *refs, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct extent_ref ref;
        struct extent_change *change;
        extent_ref_decode(refs, &ref);
        if (refs->failed) {
            return record_error(a->e, ERRC_CORRUPT, "references");
        }
        enum errc rc = extent_find(a, ref.extent, &change);
        if (rc != ERRC_OK) {
            return rc;
        }
        if (!change->exists || change->after.references == 0) {
            return record_error(a->e, ERRC_CORRUPT, "an extent: more references than it counts");
        }
        change->after.references--;
        change->exists = change->after.references > 0;
    }
    return ERRC_OK;
}

/* ---- repair ---- */

/* A second set of shards was written, or some of them elsewhere: those of before still lie on their disks. */
static bool is_moved(const struct extent *before, const struct extent *after)
{
    return before->group != after->group || before->code.matrix != after->code.matrix || before->code.k != after->code.k ||
           before->code.m != after->code.m || before->code.cell_bytes != after->code.cell_bytes ||
           memcmp(before->position, after->position, (size_t)before->code.k + before->code.m) != 0;
}

enum errc apply_extent_repaired(struct apply *a, const struct meta_extent_repaired *cmd)
{
    struct extent_change *change;
    enum errc rc = extent_find(a, cmd->id, &change);
    if (rc != ERRC_OK) {
        return rc;
    }
    if (!change->exists || (change->before.epoch != cmd->epoch && !PLANT(PLANT_EPOCH_IGNORED)) ||
        shards_displaced(a->m, &cmd->after, cmd->map_revision) != 0) {
        apply_outcome(a, META_STALE);
        return ERRC_OK;
    }
    if (!extent_id_equal(cmd->id, cmd->after.id) || cmd->after.epoch != cmd->epoch + 1 ||
        cmd->after.logical_bytes != change->before.logical_bytes || !extent_valid(&cmd->after)) {
        apply_outcome(a, META_INVALID);
        return ERRC_OK;
    }
    change->after = cmd->after;
    change->after.references = change->before.references;
    if (is_moved(&change->before, &change->after)) {
        gc_retire(a, &change->before);
    }
    return ERRC_OK;
}

/* The epoch moves too: a repair that is under way with the old mask must not erase the new bits. */
static bool mark_missing(struct extent_change *change, uint32_t shards)
{
    if ((change->after.missing | shards) == change->after.missing) {
        return false;
    }
    change->after.missing |= shards;
    change->after.epoch++;
    return true;
}

enum errc apply_extent_missing(struct apply *a, const struct meta_extent_missing *cmd)
{
    struct extent_change *change;
    enum errc rc = extent_find(a, cmd->id, &change);
    if (rc != ERRC_OK) {
        return rc;
    }
    if (!change->exists) {
        apply_outcome(a, META_STALE);
        return ERRC_OK;
    }
    if (cmd->shards >> (change->before.code.k + change->before.code.m) != 0) {
        apply_outcome(a, META_INVALID);
        return ERRC_OK;
    }
    (void)mark_missing(change, cmd->shards); /* bits that are known are no news */
    return ERRC_OK;
}

static enum errc sweep_extent(struct apply *a, struct extent_id id, uint8_t position)
{
    struct extent_change *change;
    enum errc rc = extent_find(a, id, &change);
    if (rc != ERRC_OK) {
        return rc;
    }
    if (!change->exists) {
        return record_error(a->e, ERRC_CORRUPT, "an extent: in its group's index only");
    }
    for (unsigned i = 0; i < (unsigned)change->after.code.k + change->after.code.m; i++) {
        if (change->after.position[i] == position && mark_missing(change, 1u << i)) {
            a->result.value++;
        }
    }
    return ERRC_OK;
}

static enum errc sweep_walk(struct apply *a, const struct meta_group_sweep *cmd, struct extent_id *ret_last)
{
    struct kv *kv = a->m->kv;
    struct key first, end;
    uint32_t limit = cmd->limit == 0 || cmd->limit > GROUP_SWEEP_MAX ? GROUP_SWEEP_MAX : cmd->limit;
    key_begin(&first, TABLE_EXTENT_GROUP);
    key_u32(&first, cmd->group);
    end = first;
    key_successor(&end);
    key_raw(&first, cmd->from.bytes, ID_BYTES);
    key_u8(&first, 0); /* behind `from` itself */
    struct kv_iterator *it = kv->vt->iterate(kv, key_slice(&first), key_slice(&end));
    kv->vt->iterator_seek(it, key_slice(&first));
    enum errc rc = ERRC_OK;
    for (uint32_t i = 0; i < limit && rc == ERRC_OK && kv->vt->iterator_valid(it); i++) {
        struct slice key = kv->vt->iterator_key(it);
        if (key.len != 5 + ID_BYTES) {
            rc = record_error(a->e, ERRC_CORRUPT, "an extent: its key in a group");
            break;
        }
        memcpy(ret_last->bytes, key.data + 5, ID_BYTES);
        rc = sweep_extent(a, *ret_last, cmd->position);
        kv->vt->iterator_next(it);
    }
    if (rc == ERRC_OK) {
        a->result.detail = kv->vt->iterator_valid(it) ? 1 : 0;
        rc = a->result.detail == 1 ? ERRC_OK : kv->vt->iterator_error(it, a->e);
    }
    kv->vt->iterator_destroy(it);
    return rc;
}

enum errc apply_group_sweep(struct apply *a, const struct meta_group_sweep *cmd)
{
    struct key key;
    struct slice cursor;
    struct enc *value = machine_scratch(a->m);
    key_begin(&key, TABLE_SWEEP);
    key_u32(&key, cmd->group);
    key_u8(&key, cmd->position);
    enum errc rc = apply_get(a, &key, value);
    if (rc != ERRC_OK && rc != ERRC_NOT_FOUND) {
        return rc;
    }
    if (rc == ERRC_OK) {
        rc = record_bytes_decode(enc_slice(value), &cursor);
        if (rc != ERRC_OK) {
            return record_error(a->e, rc, "a sweep");
        }
    }
    if (rc == ERRC_NOT_FOUND || !slice_equal(cursor, slice_of(cmd->from.bytes, ID_BYTES))) {
        apply_outcome(a, META_STALE);
        return ERRC_OK;
    }
    struct extent_id last = cmd->from;
    rc = sweep_walk(a, cmd, &last);
    if (rc != ERRC_OK) {
        return rc;
    }
    if (a->result.detail == 0) {
        apply_delete(a, &key);
        return ERRC_OK;
    }
    struct enc *record = machine_record(a->m);
    record_bytes_encode(record, slice_of(last.bytes, ID_BYTES));
    apply_put(a, &key, record);
    return ERRC_OK;
}
