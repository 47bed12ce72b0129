/*
 * The gc queue: what deletes leave behind, in steps that no command or batch exceeds.
 *
 * Deleting a version or a part never walks more than DROP_REFS_AT_ONCE references: beyond, it leaves one
 * item of a kind that META_CMD_GC_EXPAND works off (once no read can need it: a version that does not fit
 * one object reply keeps its body and all that this names until then), EXPAND_PARTS_MAX manifests or about EXPAND_REFS_MAX
 * references in a step. Extents that lose their last reference become items of kind GC_EXTENT, which carry
 * the log index of the step and leave the queue by META_CMD_GC_DONE when their shards are freed.
 */
#include "common/base/bytes.h"
#include "metadata/machine_state.h"

static void gc_put(struct apply *a, uint64_t seq, const struct gc_record *record)
{
    struct key key;
    struct enc *value = machine_record(a->m);
    key_table_u64(&key, TABLE_GC, seq);
    record_gc_encode(value, record);
    apply_put(a, &key, value);
}

void gc_add(struct apply *a, struct gc_record *record)
{
    struct key key;
    uint64_t seq = a->m->counters.next_gc++;
    record->index = a->index;
    gc_put(a, seq, record);
    a->m->counters.status.gc_items++;
    if (record->kind == GC_EXTENT) {
        struct enc *value = machine_record(a->m);
        key_table_raw(&key, TABLE_GC_EXTENT, record->extent.id.bytes, ID_BYTES);
        record_u64_encode(value, seq);
        apply_put(a, &key, value);
    }
}

void gc_retire(struct apply *a, const struct extent *before)
{
    struct key key;
    struct enc *value = machine_record(a->m);
    const struct gc_record record = { .kind = GC_EXTENT, .index = a->index, .extent = *before };
    key_table_u64(&key, TABLE_RETIRED, a->m->counters.next_gc++);
    record_gc_encode(value, &record);
    apply_put(a, &key, value);
}

bool gc_body_outlives(const struct body_record *body)
{
    return body->data_kind == META_DATA_PARTS || body->ref_count > READ_EXTENTS_MAX;
}

void gc_leave_body(struct apply *a, struct slice object_key, uint64_t seq)
{
    struct gc_record item = { .kind = GC_BODY, .bucket = a->bucket->bucket.id, .key = object_key, .seq = seq };
    gc_add(a, &item);
}

static enum errc manifest_drop(struct apply *a, const uint8_t part_id[16], struct enc *value, uint32_t *refs_dropped)
{
    struct key key;
    struct manifest_record manifest;
    key_table_raw(&key, TABLE_MANIFEST, part_id, 16);
    enum errc rc = apply_get(a, &key, value);
    if (rc == ERRC_NOT_FOUND) {
        return record_error(a->e, ERRC_CORRUPT, "a part: no manifest");
    }
    if (rc != ERRC_OK) {
        return rc;
    }
    rc = record_manifest_decode(enc_slice(value), &manifest);
    if (rc != ERRC_OK) {
        return record_error(a->e, rc, "a manifest");
    }
    apply_delete(a, &key);
    *refs_dropped += manifest.ref_count;
    struct dec refs = dec_of(manifest.refs);
    return extent_drop(a, &refs, manifest.ref_count);
}

enum errc gc_drop_part(struct apply *a, const struct part_record *part)
{
    if (part->ref_count > DROP_REFS_AT_ONCE) {
        struct gc_record item = { .kind = GC_MANIFEST };
        memcpy(item.id, part->part_id, sizeof(item.id));
        gc_add(a, &item);
        return ERRC_OK;
    }
    uint32_t dropped = 0;
    return manifest_drop(a, part->part_id, machine_scratch(a->m), &dropped);
}

/* A seq is of one queue or of the other. */
static enum errc retired_done(struct apply *a, uint64_t seq)
{
    struct key key;
    key_table_u64(&key, TABLE_RETIRED, seq);
    enum errc rc = apply_get(a, &key, machine_record(a->m));
    if (rc == ERRC_OK) {
        apply_delete(a, &key);
        a->result.value++;
    }
    return rc == ERRC_NOT_FOUND ? ERRC_OK : rc;
}

enum errc apply_gc_done(struct apply *a, const struct meta_gc_done *cmd)
{
    struct key key;
    struct gc_record item;
    struct enc *value = machine_scratch(a->m);
    for (uint32_t i = 0; i < cmd->count; i++) {
        if (i > 0 && cmd->seqs[i] <= cmd->seqs[i - 1]) {
            apply_outcome(a, META_INVALID);
            return ERRC_OK;
        }
        key_table_u64(&key, TABLE_GC, cmd->seqs[i]);
        enum errc rc = apply_get(a, &key, value);
        if (rc == ERRC_NOT_FOUND) {
            rc = retired_done(a, cmd->seqs[i]);
            if (rc == ERRC_OK) {
                continue;
            }
        }
        if (rc != ERRC_OK) {
            return rc;
        }
        rc = record_gc_decode(enc_slice(value), &item);
        if (rc != ERRC_OK) {
            return record_error(a->e, rc, "a gc item");
        }
        if (item.kind != GC_EXTENT) {
            apply_outcome(a, META_INVALID);
            return ERRC_OK;
        }
        apply_delete(a, &key);
        key_table_raw(&key, TABLE_GC_EXTENT, item.extent.id.bytes, ID_BYTES);
        apply_delete(a, &key);
        a->m->counters.status.gc_items--;
        a->result.value++;
    }
    return ERRC_OK;
}

/* One step of GC_EXPAND: what it may still do, and the memory it uses. */
struct step {
    uint64_t seq;
    struct gc_record item;
    uint32_t parts, refs; /* dropped so far */
    struct enc *manifest;
};

static bool step_full(const struct step *step)
{
    return step->parts >= EXPAND_PARTS_MAX || step->refs >= EXPAND_REFS_MAX;
}

static enum errc step_part(struct apply *a, struct step *step, const uint8_t part_id[16])
{
    step->parts++;
    return manifest_drop(a, part_id, step->manifest, &step->refs);
}

/* The item has no work left, or goes on as `rest` (NULL: as it is). */
static enum errc step_end(struct apply *a, const struct step *step, bool done, const struct gc_record *rest)
{
    if (!done) {
        a->result.detail = 1;
        if (rest != NULL) {
            gc_put(a, step->seq, rest);
        }
        return ERRC_OK;
    }
    struct key key;
    key_table_u64(&key, TABLE_GC, step->seq);
    apply_delete(a, &key);
    a->m->counters.status.gc_items--;
    return ERRC_OK;
}

static enum errc expand_refs(struct apply *a, struct step *step)
{
    struct dec refs = dec_of(step->item.refs);
    uint32_t count = step->item.ref_count < EXPAND_REFS_MAX ? step->item.ref_count : EXPAND_REFS_MAX;
    enum errc rc = extent_drop(a, &refs, count);
    if (rc != ERRC_OK) {
        return rc;
    }
    struct gc_record rest = step->item;
    rest.ref_count -= count;
    rest.refs = slice_skip(step->item.refs, refs.at);
    return step_end(a, step, rest.ref_count == 0, &rest);
}

/* Drops the parts of one PART_LIST record from item.done on. */
static enum errc expand_chunk(struct apply *a, struct step *step, struct enc *value)
{
    struct key key;
    struct dec dec;
    struct gc_record *item = &step->item;
    uint32_t chunk = item->done / RECORD_PART_CHUNK;
    key_of_upload(&key, TABLE_PART_LIST, item->bucket, item->id);
    key_u32(&key, chunk);
    enum errc rc = apply_get(a, &key, value);
    if (rc == ERRC_NOT_FOUND) {
        return record_error(a->e, ERRC_CORRUPT, "a part list");
    }
    if (rc == ERRC_OK && record_walk(enc_slice(value), &dec) != ERRC_OK) {
        return record_error(a->e, ERRC_CORRUPT, "a part list");
    }
    for (uint32_t at = chunk * RECORD_PART_CHUNK; rc == ERRC_OK && dec_left(&dec) > 0 && !step_full(step); at++) {
        struct meta_part_ref part;
        meta_part_ref_decode(&dec, &part);
        if (dec.failed) {
            return record_error(a->e, ERRC_CORRUPT, "a part list");
        }
        if (at >= item->done) {
            rc = step_part(a, step, part.part_id);
            item->done++;
        }
    }
    if (rc == ERRC_OK && dec_left(&dec) == 0) {
        apply_delete(a, &key);
    }
    return rc;
}

static enum errc expand_list(struct apply *a, struct step *step)
{
    struct enc *value = machine_scratch(a->m);
    enum errc rc = ERRC_OK;
    while (rc == ERRC_OK && step->item.done < step->item.part_count && !step_full(step)) {
        rc = expand_chunk(a, step, value);
    }
    return rc == ERRC_OK ? step_end(a, step, step->item.done >= step->item.part_count, &step->item) : rc;
}

/* Drops rows of PART of one upload from part item.done on while the step has room; *ret_done when none is left, else item.done is
 * the next one: a later step need not walk over what was deleted. */
static enum errc expand_rows(struct apply *a, struct step *step, uint64_t bucket, const uint8_t upload_id[16],
                             bool *ret_done)
{
    struct kv *kv = a->m->kv;
    struct key first, end;
    key_of_upload(&first, TABLE_PART, bucket, upload_id);
    end = first;
    key_successor(&end);
    key_u16(&first, (uint16_t)step->item.done);
    struct kv_iterator *it = kv->vt->iterate(kv, key_slice(&first), key_slice(&end));
    enum errc rc = ERRC_OK;
    kv->vt->iterator_seek(it, key_slice(&first));
    while (rc == ERRC_OK && kv->vt->iterator_valid(it) && !step_full(step)) {
        struct part_record part;
        rc = record_part_decode(kv->vt->iterator_value(it), &part);
        if (rc != ERRC_OK) {
            rc = record_error(a->e, rc, "a part");
            break;
        }
        rc = step_part(a, step, part.part_id);
        kv->vt->batch_delete(a->m->batch, kv->vt->iterator_key(it));
        kv->vt->iterator_next(it);
    }
    *ret_done = false;
    if (rc == ERRC_OK && !kv->vt->iterator_valid(it)) {
        *ret_done = true;
        rc = kv->vt->iterator_error(it, a->e);
    } else if (rc == ERRC_OK) {
        struct slice key = kv->vt->iterator_key(it);
        step->item.done = load_be16(key.data + key.len - 2);
    }
    kv->vt->iterator_destroy(it);
    return rc;
}

static enum errc expand_upload(struct apply *a, struct step *step)
{
    bool done;
    enum errc rc = expand_rows(a, step, step->item.bucket, step->item.id, &done);
    return rc == ERRC_OK ? step_end(a, step, done, &step->item) : rc;
}

static enum errc expand_bucket(struct apply *a, struct step *step)
{
    struct kv *kv = a->m->kv;
    struct key first, end, reached = { .len = 0 };
    key_table_u64(&first, TABLE_UPLOAD, step->item.bucket);
    end = first;
    key_successor(&end);
    struct slice from = step->item.key.len > 0 ? step->item.key : key_slice(&first);
    struct kv_iterator *it = kv->vt->iterate(kv, key_slice(&first), key_slice(&end));
    enum errc rc = ERRC_OK;
    bool rows_done = true;
    kv->vt->iterator_seek(it, from);
    while (rc == ERRC_OK && rows_done && kv->vt->iterator_valid(it) && !step_full(step)) {
        struct slice key = kv->vt->iterator_key(it);
        if (key.len <= 16) {
            rc = record_error(a->e, ERRC_CORRUPT, "an upload: its key");
            break;
        }
        rc = expand_rows(a, step, step->item.bucket, key.data + key.len - 16, &rows_done);
        if (rc == ERRC_OK && rows_done) {
            kv->vt->batch_delete(a->m->batch, key);
            step->item.done = 0;
            step->parts++; /* an upload without parts is work too */
            kv->vt->iterator_next(it);
        }
    }
    bool done = false;
    if (rc == ERRC_OK && !kv->vt->iterator_valid(it)) {
        done = true;
        rc = kv->vt->iterator_error(it, a->e);
    } else if (rc == ERRC_OK) {
        struct slice key = kv->vt->iterator_key(it);
        key_raw(&reached, key.data, key.len);
        step->item.key = key_slice(&reached);
    }
    kv->vt->iterator_destroy(it);
    return rc == ERRC_OK ? step_end(a, step, done, &step->item) : rc;
}

/* The body goes; the item goes on with what it named. */
static enum errc expand_body(struct apply *a, struct step *step)
{
    struct key key;
    struct body_record body;
    struct gc_record rest = { .index = step->item.index, .bucket = step->item.bucket };
    struct enc *value = machine_scratch(a->m);
    if (step->item.key.len > KEY_BYTES_MAX) {
        return record_error(a->e, ERRC_CORRUPT, "a gc item: its key");
    }
    key_version(&key, TABLE_BODY, step->item.bucket, step->item.key, step->item.seq);
    enum errc rc = apply_get(a, &key, value);
    if (rc == ERRC_NOT_FOUND) {
        return record_error(a->e, ERRC_CORRUPT, "a gc item: no body");
    }
    if (rc != ERRC_OK) {
        return rc;
    }
    rc = record_body_decode(enc_slice(value), &body);
    if (rc != ERRC_OK) {
        return record_error(a->e, rc, "a version's body");
    }
    apply_delete(a, &key);
    if (body.data_kind == META_DATA_PARTS) {
        rest.kind = GC_LIST;
        rest.part_count = body.part_count;
        memcpy(rest.id, body.upload_id, sizeof(rest.id));
    } else {
        rest.kind = GC_REFS;
        rest.ref_count = body.ref_count;
        rest.refs = body.refs;
    }
    return step_end(a, step, false, &rest);
}

enum errc apply_gc_expand(struct apply *a, const struct meta_gc_expand *cmd)
{
    struct key key;
    struct step step = { .seq = cmd->seq, .manifest = machine_scratch(a->m) };
    struct enc *value = machine_scratch(a->m);
    bool done = true;
    key_table_u64(&key, TABLE_GC, cmd->seq);
    enum errc rc = apply_get(a, &key, value);
    if (rc == ERRC_NOT_FOUND) {
        apply_outcome(a, META_STALE);
        return ERRC_OK;
    }
    if (rc != ERRC_OK) {
        return rc;
    }
    rc = record_gc_decode(enc_slice(value), &step.item);
    if (rc != ERRC_OK) {
        return record_error(a->e, rc, "a gc item");
    }
    switch (step.item.kind) {
    case GC_REFS:
        return expand_refs(a, &step);
    case GC_MANIFEST:
        rc = step_part(a, &step, step.item.id);
        return rc == ERRC_OK ? step_end(a, &step, done, NULL) : rc;
    case GC_LIST:
        return expand_list(a, &step);
    case GC_UPLOAD:
        return expand_upload(a, &step);
    case GC_BUCKET:
        return expand_bucket(a, &step);
    case GC_BODY:
        return expand_body(a, &step);
    default:
        apply_outcome(a, META_INVALID);
        return ERRC_OK;
    }
}
