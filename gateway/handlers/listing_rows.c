#include "gateway/handlers/listing_rows.h"

#include "common/base/assert.h"

struct listing_start listing_start_past(struct arena *arena, struct slice group)
{
    struct listing_start start = { .inclusive = true };
    uint8_t *room = arena_alloc(arena, group.len + 1);
    ASSERT(room != NULL); /* a key's length in a fresh arena */
    start.nothing = !s3_prefix_successor(group, room, &start.marker);
    return start;
}

struct listing_start listing_start_after(struct arena *arena, struct slice marker, struct slice prefix,
                                         struct slice delimiter)
{
    struct slice group;
    if (marker.len > 0 && delimiter.len > 0 && s3_common_prefix(marker, prefix, delimiter, &group)) {
        return listing_start_past(arena, group);
    }
    return (struct listing_start){ .marker = marker };
}

struct s3_list_entry listing_entry(struct request *r, const struct meta_list_entry *in, bool with_version)
{
    if (in->is_prefix) {
        return (struct s3_list_entry){ .is_prefix = true, .key = in->key };
    }
    const struct meta_row *row = &in->row;
    struct s3_list_entry entry = {
        .key = in->key,
        .etag = row->etag,
        .modified_ms = row->mtime_ms,
        .bytes = row->size,
        .storage_class = row->storage_class.len > 0 ? row->storage_class : slice_str("STANDARD"),
        .owner = r->owner,
        .is_latest = in->latest,
        .is_delete_marker = row->delete_marker,
    };
    if (row->checksum_algorithm < CHECKSUM_KIND_COUNT) {
        entry.checksum_kind = (enum checksum_kind)row->checksum_algorithm;
        entry.checksum_type = checksum_type_from_meta(row->checksum_algorithm, row->checksum_type);
    }
    if (with_version) {
        entry.version_id = request_version_text(r, row);
    }
    return entry;
}
