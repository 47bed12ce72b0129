/*
 * Extents and manifests against who names them, a window of ids at a time: the window is read from its table in order, so
 * that an id is found by halving, then everything that may name one of them is walked.
 */
#include "common/base/bytes.h"
#include "common/base/mem.h"
#include "metadata/audit_parts.h"

#define RANK_TWICE UINT16_MAX

struct named {
    uint8_t id[ID_BYTES];
    uint32_t recorded, counted;  /* references; of a manifest 1 and who names it */
    uint32_t group, in_group;    /* extents: rows of the index by group that name it */
    uint16_t rank, wanted_rank;  /* of the repair queue + 1; 0: not in it */
    bool in_gc;
};

struct window {
    struct named *named;
    size_t count, capacity, limit;
    struct key next;             /* the first row behind the window */
    bool more;
};

static struct named *window_find(const struct window *w, const uint8_t id[ID_BYTES])
{
    size_t low = 0;
    for (size_t high = w->count; low < high;) {
        size_t middle = low + (high - low) / 2;
        if (memcmp(w->named[middle].id, id, ID_BYTES) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < w->count && memcmp(w->named[low].id, id, ID_BYTES) == 0 ? &w->named[low] : NULL;
}

/* Would the id stand in this window if it had a row? The first window begins with the least id there can be. */
static bool window_covers(const struct window *w, const struct key *first, const uint8_t id[ID_BYTES])
{
    bool above = first->len < 1 + ID_BYTES || memcmp(id, first->bytes + 1, ID_BYTES) >= 0;
    bool below = !w->more || memcmp(id, w->next.bytes + 1, ID_BYTES) < 0;
    return above && below;
}

struct pass {
    struct window window;
    struct key first;
};

static struct named *pass_add(struct pass *pass, const uint8_t *id)
{
    struct window *w = &pass->window;
    w->named = audit_grow(w->named, &w->capacity, w->count, sizeof(*w->named));
    struct named *named = &w->named[w->count++];
    memcpy(named->id, id, ID_BYTES);
    return named;
}

/* True when the row belongs to the next window. */
static bool pass_is_full(struct pass *pass, struct slice key)
{
    struct window *w = &pass->window;
    if (w->more || w->count < w->limit) {
        return w->more;
    }
    w->more = true;
    w->next.len = key.len;
    memcpy(w->next.bytes, key.data, key.len);
    return true;
}

/* Ends a walk early, and is no error. */
#define WALK_ENOUGH ERRC_EXISTS

static enum errc window_read(struct audit *a, struct pass *pass, audit_row row)
{
    pass->window.count = 0;
    pass->window.more = false;
    pass->window.limit = a->config->window != 0 ? a->config->window : AUDIT_WINDOW;
    enum errc rc = audit_walk_from(a, &pass->first, row, pass);
    return rc == WALK_ENOUGH ? ERRC_OK : rc;
}

/* ---- extents ---- */

static enum errc on_extent(struct audit *a, struct slice key, struct slice value, void *data)
{
    struct pass *pass = data;
    struct extent extent;
    if (key.len != 1 + ID_BYTES) {
        return record_error(a->e, ERRC_CORRUPT, "an extent: its key");
    }
    if (pass_is_full(pass, key)) {
        return WALK_ENOUGH;
    }
    enum errc rc = record_extent_decode(value, &extent);
    if (rc != ERRC_OK) {
        return record_error(a->e, rc, "an extent");
    }
    struct named *named = pass_add(pass, key.data + 1);
    named->recorded = extent.references;
    named->group = extent.group;
    named->wanted_rank = extent_in_repair(&extent) ? (uint16_t)(meta_repair_rank(&extent) + 1) : 0;
    extent_count(&a->counted, &extent, true);
    return ERRC_OK;
}

static void ref_take(struct audit *a, struct pass *pass, const uint8_t *id)
{
    struct named *named = window_find(&pass->window, id);
    if (named != NULL) {
        named->counted++;
        a->counts.references++;
    } else if (window_covers(&pass->window, &pass->first, id)) {
        char text[ID_HEX_BYTES];
        id_hex(id, text);
        audit_found(a, "reference_dangling", "a version, part or gc item refers to extent %s, which has no record", text);
    }
}

static enum errc refs_take(struct audit *a, struct pass *pass, struct slice bytes, uint32_t count)
{
    struct dec refs = dec_of(bytes);
    for (uint32_t i = 0; i < count; i++) {
        struct extent_ref ref;
        extent_ref_decode(&refs, &ref);
        if (refs.failed) {
            return record_error(a->e, ERRC_CORRUPT, "references");
        }
        ref_take(a, pass, ref.extent.bytes);
    }
    return ERRC_OK;
}

static enum errc on_body_refs(struct audit *a, struct slice key, struct slice value, void *data)
{
    struct body_record body;
    (void)key;
    enum errc rc = record_body_decode(value, &body);
    if (rc != ERRC_OK) {
        return record_error(a->e, rc, "a version's body");
    }
    return body.data_kind == META_DATA_EXTENTS ? refs_take(a, data, body.refs, body.ref_count) : ERRC_OK;
}

static enum errc on_manifest_refs(struct audit *a, struct slice key, struct slice value, void *data)
{
    struct manifest_record manifest;
    (void)key;
    enum errc rc = record_manifest_decode(value, &manifest);
    return rc == ERRC_OK ? refs_take(a, data, manifest.refs, manifest.ref_count)
                         : record_error(a->e, rc, "a manifest");
}

static enum errc on_gc_refs(struct audit *a, struct slice key, struct slice value, void *data)
{
    struct gc_record item;
    (void)key;
    enum errc rc = record_gc_decode(value, &item);
    if (rc != ERRC_OK) {
        return record_error(a->e, rc, "a gc item");
    }
    return item.kind == GC_REFS ? refs_take(a, data, item.refs, item.ref_count) : ERRC_OK;
}

/* A row of an index whose key ends with the id of an extent. */
static struct named *index_find(struct audit *a, const struct pass *pass, struct slice key, const char *which)
{
    const uint8_t *id = key.data + key.len - ID_BYTES;
    struct named *named = window_find(&pass->window, id);
    if (named == NULL && window_covers(&pass->window, &pass->first, id)) {
        char text[ID_HEX_BYTES];
        id_hex(id, text);
        audit_found(a, "index_wrong", "the index %s names extent %s, which has no record", which, text);
    }
    return named;
}

static enum errc on_group_row(struct audit *a, struct slice key, struct slice value, void *data)
{
    (void)value;
    if (key.len != 1 + 4 + ID_BYTES) {
        return record_error(a->e, ERRC_CORRUPT, "the index by group: a key");
    }
    struct named *named = index_find(a, data, key, "by group");
    if (named != NULL) {
        named->in_group += load_be32(key.data + 1) == named->group ? 1 : 2;
    }
    return ERRC_OK;
}

static enum errc on_repair_row(struct audit *a, struct slice key, struct slice value, void *data)
{
    (void)value;
    if (key.len != 2 + ID_BYTES) {
        return record_error(a->e, ERRC_CORRUPT, "the repair queue: a key");
    }
    struct named *named = index_find(a, data, key, "of repair");
    if (named != NULL) {
        named->rank = named->rank != 0 ? RANK_TWICE : (uint16_t)(key.data[1] + 1);
    }
    return ERRC_OK;
}

static enum errc on_gc_extent_row(struct audit *a, struct slice key, struct slice value, void *data)
{
    (void)value;
    if (key.len != 1 + ID_BYTES) {
        return record_error(a->e, ERRC_CORRUPT, "the index of gc: a key");
    }
    const struct pass *pass = data;
    a->gc_extent_rows += window_covers(&pass->window, &pass->first, key.data + 1) ? 1 : 0;
    struct named *named = window_find(&pass->window, key.data + 1);
    if (named != NULL) {
        named->in_gc = true;
    }
    return ERRC_OK;
}

static void extent_check(struct audit *a, const struct named *named)
{
    char id[ID_HEX_BYTES];
    id_hex(named->id, id);
    if (named->recorded != named->counted || named->counted == 0) {
        audit_found(a, "reference_wrong", "extent %s: %u references are recorded, %u are there", id, named->recorded,
                    named->counted);
    }
    if (named->in_group != 1) {
        audit_found(a, "index_wrong", "extent %s: not once, and there alone, in the index of its group %u", id, named->group);
    }
    if (named->rank != named->wanted_rank) {
        audit_found(a, "index_wrong", "extent %s: %s", id,
                    named->rank == 0          ? "to be repaired, and not in the queue"
                    : named->wanted_rank == 0 ? "in the repair queue, and whole"
                                              : "in the repair queue with another rank");
    }
    if (named->in_gc) {
        audit_found(a, "index_wrong", "extent %s: in use, and in the gc queue", id);
    }
}

enum errc audit_extents(struct audit *a)
{
    static const struct { enum key_table table; audit_row row; } walks[] = {
        { TABLE_BODY, on_body_refs },       { TABLE_MANIFEST, on_manifest_refs }, { TABLE_GC, on_gc_refs },
        { TABLE_EXTENT_GROUP, on_group_row }, { TABLE_REPAIR, on_repair_row },    { TABLE_GC_EXTENT, on_gc_extent_row },
    };
    struct pass pass = { .window.count = 0 };
    enum errc rc = ERRC_OK;
    key_begin(&pass.first, TABLE_EXTENT);
    for (bool more = true; more && rc == ERRC_OK; more = pass.window.more) {
        rc = window_read(a, &pass, on_extent);
        for (size_t i = 0; rc == ERRC_OK && i < sizeof(walks) / sizeof(walks[0]); i++) {
            rc = audit_walk(a, walks[i].table, walks[i].row, &pass);
        }
        for (size_t i = 0; rc == ERRC_OK && i < pass.window.count; i++) {
            extent_check(a, &pass.window.named[i]);
        }
        pass.first = pass.window.next;
    }
    mem_free(pass.window.named);
    if (rc == ERRC_OK && a->gc_extents != a->gc_extent_rows) {
        audit_found(a, "index_wrong", "%llu extents wait in the gc queue, its index by id has %llu",
                    (unsigned long long)a->gc_extents, (unsigned long long)a->gc_extent_rows);
    }
    return rc;
}

/* ---- manifests ---- */

static enum errc on_manifest(struct audit *a, struct slice key, struct slice value, void *data)
{
    (void)value;
    if (key.len != 1 + ID_BYTES) {
        return record_error(a->e, ERRC_CORRUPT, "a manifest: its key");
    }
    if (pass_is_full(data, key)) {
        return WALK_ENOUGH;
    }
    pass_add(data, key.data + 1)->recorded = 1;
    a->counts.manifests++;
    return ERRC_OK;
}

static void manifest_take(struct audit *a, struct pass *pass, const uint8_t id[16])
{
    struct named *named = window_find(&pass->window, id);
    if (named != NULL) {
        named->counted++;
    } else if (window_covers(&pass->window, &pass->first, id)) {
        char text[ID_HEX_BYTES];
        id_hex(id, text);
        audit_found(a, "manifest_wrong", "part %s has no manifest", text);
    }
}

static enum errc on_part(struct audit *a, struct slice key, struct slice value, void *data)
{
    struct part_record part;
    (void)key;
    enum errc rc = record_part_decode(value, &part);
    if (rc != ERRC_OK) {
        return record_error(a->e, rc, "a part");
    }
    manifest_take(a, data, part.part_id);
    return ERRC_OK;
}

/* Parts of this chunk that a gc item has dropped already. */
static uint32_t list_dropped(const struct audit *a, struct slice key, uint32_t chunk)
{
    for (size_t i = 0; i < a->list_count; i++) {
        const struct audit_list *list = &a->lists[i];
        if (load_be64(key.data + 1) == list->bucket && memcmp(key.data + 9, list->upload_id, 16) == 0 &&
            chunk == list->done / RECORD_PART_CHUNK) {
            return list->done % RECORD_PART_CHUNK;
        }
    }
    return 0;
}

static enum errc on_part_list(struct audit *a, struct slice key, struct slice value, void *data)
{
    struct dec dec;
    if (key.len != 1 + 8 + 16 + 4 || record_walk(value, &dec) != ERRC_OK) {
        return record_error(a->e, ERRC_CORRUPT, "a part list");
    }
    uint32_t dropped = list_dropped(a, key, load_be32(key.data + 25));
    for (uint32_t i = 0; dec_left(&dec) > 0; i++) {
        struct meta_part_ref part;
        meta_part_ref_decode(&dec, &part);
        if (dec.failed) {
            return record_error(a->e, ERRC_CORRUPT, "a part list");
        }
        if (i >= dropped) {
            manifest_take(a, data, part.part_id);
        }
    }
    return ERRC_OK;
}

static enum errc on_gc_manifest(struct audit *a, struct slice key, struct slice value, void *data)
{
    struct gc_record item;
    (void)key;
    enum errc rc = record_gc_decode(value, &item);
    if (rc != ERRC_OK) {
        return record_error(a->e, rc, "a gc item");
    }
    if (item.kind == GC_MANIFEST) {
        manifest_take(a, data, item.id);
    }
    return ERRC_OK;
}

static void manifest_check(struct audit *a, const struct named *named)
{
    if (named->counted != 1) {
        char id[ID_HEX_BYTES];
        id_hex(named->id, id);
        audit_found(a, "manifest_wrong", "manifest %s: named by %u parts, versions and gc items instead of one", id,
                    named->counted);
    }
}

enum errc audit_manifests(struct audit *a)
{
    struct pass pass = { .window.count = 0 };
    enum errc rc = ERRC_OK;
    key_begin(&pass.first, TABLE_MANIFEST);
    for (bool more = true; more && rc == ERRC_OK; more = pass.window.more) {
        rc = window_read(a, &pass, on_manifest);
        rc = rc == ERRC_OK ? audit_walk(a, TABLE_PART, on_part, &pass) : rc;
        rc = rc == ERRC_OK ? audit_walk(a, TABLE_PART_LIST, on_part_list, &pass) : rc;
        rc = rc == ERRC_OK ? audit_walk(a, TABLE_GC, on_gc_manifest, &pass) : rc;
        for (size_t i = 0; rc == ERRC_OK && i < pass.window.count; i++) {
            manifest_check(a, &pass.window.named[i]);
        }
        pass.first = pass.window.next;
    }
    mem_free(pass.window.named);
    return rc;
}
