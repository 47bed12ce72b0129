#include "metadata/key.h"

#include "common/base/assert.h"
#include "common/base/bytes.h"

void key_raw(struct key *key, const void *bytes, size_t len)
{
    ASSERT(len <= sizeof(key->bytes) - key->len);
    if (len > 0) {
        memcpy(key->bytes + key->len, bytes, len);
        key->len += len;
    }
}

void key_u8(struct key *key, uint8_t v)
{
    key_raw(key, &v, 1);
}

void key_u16(struct key *key, uint16_t v)
{
    uint8_t bytes[2];
    store_be16(bytes, v);
    key_raw(key, bytes, sizeof(bytes));
}

void key_u32(struct key *key, uint32_t v)
{
    uint8_t bytes[4];
    store_be32(bytes, v);
    key_raw(key, bytes, sizeof(bytes));
}

void key_u64(struct key *key, uint64_t v)
{
    uint8_t bytes[8];
    store_be64(bytes, v);
    key_raw(key, bytes, sizeof(bytes));
}

void key_begin(struct key *key, enum key_table table)
{
    key->bytes[0] = (uint8_t)table;
    key->len = 1;
}

void key_escaped(struct key *key, struct slice text)
{
    ASSERT(text.len <= KEY_BYTES_MAX);
    while (text.len > 0) {
        const uint8_t *zero = memchr(text.data, 0, text.len);
        if (zero == NULL) {
            key_raw(key, text.data, text.len);
            return;
        }
        size_t len = (size_t)(zero - text.data) + 1;
        key_raw(key, text.data, len);
        key_u8(key, 0xff);
        text = slice_of(text.data + len, text.len - len);
    }
}

void key_end_mark(struct key *key)
{
    key_raw(key, "\x00\x01", 2);
}

void key_successor(struct key *key)
{
    while (key->bytes[key->len - 1] == 0xff) {
        key->len--;
        ASSERT(key->len > 0); /* the table byte is never ff */
    }
    key->bytes[key->len - 1]++;
}

void key_table_u64(struct key *key, enum key_table table, uint64_t v)
{
    key_begin(key, table);
    key_u64(key, v);
}

void key_table_raw(struct key *key, enum key_table table, const void *bytes, size_t len)
{
    key_begin(key, table);
    key_raw(key, bytes, len);
}

void key_object(struct key *key, enum key_table table, uint64_t bucket, struct slice object_key)
{
    key_table_u64(key, table, bucket);
    key_escaped(key, object_key);
    key_end_mark(key);
}

void key_version(struct key *key, enum key_table table, uint64_t bucket, struct slice object_key, uint64_t seq)
{
    key_object(key, table, bucket, object_key);
    key_u64(key, ~seq);
}

void key_object_after(struct key *key, enum key_table table, uint64_t bucket, struct slice object_key)
{
    key_table_u64(key, table, bucket);
    key_escaped(key, object_key);
    key_raw(key, "\x00\x02", 2);
}

void key_upload(struct key *key, uint64_t bucket, struct slice object_key, const uint8_t upload_id[16])
{
    key_object(key, TABLE_UPLOAD, bucket, object_key);
    key_raw(key, upload_id, 16);
}

void key_of_upload(struct key *key, enum key_table table, uint64_t bucket, const uint8_t upload_id[16])
{
    key_table_u64(key, table, bucket);
    key_raw(key, upload_id, 16);
}

size_t key_unescape(struct slice key, size_t at, uint8_t *ret_text, size_t *ret_len)
{
    size_t len = 0;
    size_t i = at;
    while (i < key.len) {
        uint8_t byte = key.data[i++];
        if (byte == 0) {
            if (i == key.len || (key.data[i] != 0x01 && key.data[i] != 0xff)) {
                return 0;
            }
            if (key.data[i++] == 0x01) {
                *ret_len = len;
                return i - at;
            }
        }
        if (len == KEY_BYTES_MAX) {
            return 0;
        }
        ret_text[len++] = byte;
    }
    return 0;
}
