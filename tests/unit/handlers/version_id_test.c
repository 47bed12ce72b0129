/* Goal: public version ids hide and return what they name, and nothing else decodes. */
#include "gateway/handlers/version_id.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const uint8_t key[16] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 };

static void version_ids_round_trip(void **state)
{
    (void)state;
    struct block_cipher *cipher = block_cipher_create(key);
    const uint64_t seqs[] = { 1, 2, 255, 1ull << 40, UINT64_MAX };
    for (size_t i = 0; i < 5; i++) {
        char text[VERSION_ID_TEXT_BYTES];
        struct meta_version_ref back;
        version_id_encode(cipher, seqs[i], 0x1122334455667788u + i, false, text);
        assert_int_equal(strlen(text), 32);
        assert_int_equal(version_id_decode(cipher, slice_str(text), &back), ERRC_OK);
        assert_true(back.seq == seqs[i]);
        assert_true(back.nonce == 0x1122334455667788u + i);
        assert_false(back.null_version);
    }
    block_cipher_destroy(cipher);
}

static void version_ids_are_aes_128_of_one_block(void **state)
{
    (void)state;
    /* FIPS 197 appendix C.1: key 00..0f, plain 00112233..ff. */
    const uint8_t fips_key[16] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };
    struct block_cipher *cipher = block_cipher_create(fips_key);
    char text[VERSION_ID_TEXT_BYTES];
    version_id_encode(cipher, 0x0011223344556677u, 0x8899aabbccddeeffu, false, text);
    assert_string_equal(text, "69c4e0d86a7b0430d8cdb78070b4c55a");
    block_cipher_destroy(cipher);
}

static void null_version_is_the_word(void **state)
{
    (void)state;
    struct block_cipher *cipher = block_cipher_create(key);
    char text[VERSION_ID_TEXT_BYTES];
    struct meta_version_ref back;
    version_id_encode(cipher, 9, 9, true, text);
    assert_string_equal(text, "null");
    assert_int_equal(version_id_decode(cipher, slice_str("null"), &back), ERRC_OK);
    assert_true(back.null_version);
    block_cipher_destroy(cipher);
}

static void foreign_texts_are_refused(void **state)
{
    (void)state;
    struct block_cipher *cipher = block_cipher_create(key);
    const char *texts[] = { "", "nul", "NULL", "69c4e0d86a7b0430d8cdb78070b4c5", "69c4e0d86a7b0430d8cdb78070b4c55a0",
                            "69c4e0d86a7b0430d8cdb78070b4c55g" };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct meta_version_ref back;
        assert_int_equal(version_id_decode(cipher, slice_str(texts[i]), &back), ERRC_INVALID);
    }
    uint8_t upload[UPLOAD_ID_BYTES];
    assert_false(upload_id_decode(slice_str("abc"), upload));
    assert_true(upload_id_decode(slice_str("000102030405060708090a0b0c0d0e0f"), upload));
    assert_int_equal(upload[15], 15);
    block_cipher_destroy(cipher);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_ids_round_trip),
        cmocka_unit_test(version_ids_are_aes_128_of_one_block),
        cmocka_unit_test(null_version_is_the_word),
        cmocka_unit_test(foreign_texts_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
