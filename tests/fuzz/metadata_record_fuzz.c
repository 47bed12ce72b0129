/*
 * Fuzz target: the values of the state machine's map, as read back from a disk, and the object keys in its keys. First
 * byte: which record. What is accepted must be encoded again to something that decodes, and encodes to the same.
 */
#include "common/base/assert.h"
#include "metadata/key.h"
#include "metadata/record.h"

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void walk_check(struct slice value)
{
    struct dec dec;
    if (record_walk(value, &dec) != ERRC_OK) {
        return;
    }
    while (dec_left(&dec) > 0) {
        struct meta_part_ref ref;
        meta_part_ref_decode(&dec, &ref);
    }
}

static void state_check(struct slice value)
{
    struct position_record position;
    struct machine_counters counters;
    if (record_state_decode(value, &position, &counters) == ERRC_OK) {
        struct enc enc = ENC_INIT;
        record_state_encode(&enc, &position, &counters);
        ASSERT(record_state_decode(enc_slice(&enc), &position, &counters) == ERRC_OK);
        enc_free(&enc);
    }
}

/* Every object key has one escaped form, and that is read in full. */
static void key_check(struct slice value)
{
    uint8_t text[KEY_BYTES_MAX];
    size_t len = 0;
    size_t used = key_unescape(value, 0, text, &len);
    if (used > 0) {
        struct key key;
        ASSERT(used <= value.len && len <= sizeof(text));
        key_object(&key, TABLE_CURRENT, 1, slice_of(text, len));
        ASSERT(slice_equal(slice_skip(key_slice(&key), KEY_OBJECT_AT), slice_of(value.data, used)));
    }
}

/* name of the codec, type of the value */
#define RECORDS(X)                                                                                       \
    X(bucket, struct meta_bucket) X(counts, struct bucket_counts) X(current, struct current_record)      \
    X(row, struct meta_row) X(body, struct body_record) X(manifest, struct manifest_record)              \
    X(part, struct part_record) X(upload, struct meta_upload) X(completed, struct completed_record)      \
    X(extent, struct extent) X(gc, struct gc_record) X(session, struct session_record)                   \
    X(disk, struct meta_disk) X(group, struct group_record)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0) {
        return 0;
    }
    unsigned which = data[0];
    struct slice value = slice_of(data + 1, len - 1);
    unsigned n = 0;
#define X(codec, type)                                                            \
    if (which == n++) {                                                           \
        type decoded;                                                             \
        if (record_##codec##_decode(value, &decoded) == ERRC_OK) {                \
            struct enc first = ENC_INIT;                                          \
            struct enc second = ENC_INIT;                                         \
            record_##codec##_encode(&first, &decoded);                            \
            ASSERT(record_##codec##_decode(enc_slice(&first), &decoded) == ERRC_OK); \
            record_##codec##_encode(&second, &decoded);                           \
            ASSERT(slice_equal(enc_slice(&first), enc_slice(&second)));           \
            enc_free(&first);                                                     \
            enc_free(&second);                                                    \
        }                                                                         \
    }
    RECORDS(X)
#undef X
    if (which == n++) {
        walk_check(value);
    } else if (which == n++) {
        state_check(value);
    } else if (which == n) {
        key_check(value);
    }
    return 0;
}
