#include "gateway/handlers/version_id.h"

#include "common/base/assert.h"
#include "common/base/bytes.h"
#include "common/base/hex.h"

/*   block, before encryption
 *   +--------------------+--------------------+
 *   | seq, 8 bytes, BE   | nonce, 8 bytes, BE |
 *   +--------------------+--------------------+                                              */
void version_id_encode(const struct block_cipher *cipher, uint64_t seq, uint64_t nonce, bool null_version,
                       char ret_text[VERSION_ID_TEXT_BYTES])
{
    if (null_version) {
        memcpy(ret_text, "null", sizeof("null"));
        return;
    }
    ASSERT(seq != 0);
    uint8_t plain[BLOCK_CIPHER_BYTES];
    uint8_t hidden[BLOCK_CIPHER_BYTES];
    store_be64(plain, seq);
    store_be64(plain + 8, nonce);
    block_cipher_encrypt(cipher, plain, hidden);
    hex_encode(hidden, sizeof(hidden), ret_text);
}

enum errc version_id_decode(const struct block_cipher *cipher, struct slice text,
                            struct meta_version_ref *ret_version)
{
    if (slice_equal_str(text, "null")) {
        *ret_version = (struct meta_version_ref){ .null_version = true };
        return ERRC_OK;
    }
    uint8_t hidden[BLOCK_CIPHER_BYTES];
    uint8_t plain[BLOCK_CIPHER_BYTES];
    if (text.len != 2 * sizeof(hidden) || !hex_decode((const char *)text.data, text.len, hidden)) {
        return ERRC_INVALID;
    }
    block_cipher_decrypt(cipher, hidden, plain);
    uint64_t seq = load_be64(plain);
    if (seq == 0) {
        return ERRC_INVALID; /* 0 would mean "the current one" to the metadata service */
    }
    *ret_version = (struct meta_version_ref){ .seq = seq, .nonce = load_be64(plain + 8) };
    return ERRC_OK;
}

void upload_id_encode(const uint8_t id[UPLOAD_ID_BYTES], char ret_text[VERSION_ID_TEXT_BYTES])
{
    hex_encode(id, UPLOAD_ID_BYTES, ret_text);
}

bool upload_id_decode(struct slice text, uint8_t ret_id[UPLOAD_ID_BYTES])
{
    return text.len == 2 * UPLOAD_ID_BYTES && hex_decode((const char *)text.data, text.len, ret_id);
}
