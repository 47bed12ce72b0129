/* Goal: digests, text codecs and checksums give the published values, whole, in pieces and combined. */
#include "common/base/base64.h"
#include "common/base/checksum.h"
#include "common/base/crc64nvme.h"
#include "common/base/hex.h"
#include "common/base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define PART_BYTES (5u << 20)

static void expect_checksum(const struct checksum_value *value, const char *text)
{
    char found[CHECKSUM_TEXT_BYTES];
    (void)checksum_format(value, found);
    assert_string_equal(found, text);
}

static struct checksum_value checksum_of(enum checksum_kind kind, const void *data, size_t len)
{
    struct checksum_value value = { .kind = kind, .type = CHECKSUM_FULL_OBJECT };
    checksum_once(kind, data, len, value.bytes);
    return value;
}

static void checksums_have_their_check_values(void **state)
{
    (void)state;
    static const char *const values[][3] = {
        { "CRC32", "y/Q5Jg==", "AAAAAA==" },
        { "CRC32C", "4waSgw==", "AAAAAA==" },
        { "CRC64NVME", "rosUhgp5mIg=", "AAAAAAAAAAA=" },
        { "SHA1", "98O8HYCOBHMq32eZZczDTKeuNEE=", "2jmj7l5rSw0yVb/vlWAYkK/YBwk=" },
        { "SHA256", "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=" },
        { "MD5", "JfnnlDI7RTiF9RgfG2JNCw==", "1B2M2Y8AsgTpgAmY7PhCfg==" },
    };
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        enum checksum_kind kind = checksum_by_name(slice_str(values[i][0]));
        assert_int_not_equal(kind, CHECKSUM_NONE);
        struct checksum_value nine = checksum_of(kind, "123456789", 9);
        struct checksum_value none = checksum_of(kind, "", 0);
        expect_checksum(&nine, values[i][1]);
        expect_checksum(&none, values[i][2]);
        struct checksum_value parsed;
        assert_true(checksum_parse(kind, slice_str(values[i][1]), &parsed));
        assert_true(checksum_equal(&parsed, &nine));
        assert_false(checksum_equal(&parsed, &none));
        assert_false(checksum_parse(kind, slice_str("AAAA"), &parsed));
    }
    assert_int_equal(checksum_by_name(slice_str("xxhash64")), CHECKSUM_NONE);
    assert_int_equal(checksum_by_header(slice_str("X-Amz-Checksum-Crc32c")), CHECKSUM_CRC32C);
    assert_int_equal(checksum_by_header(slice_str("x-amz-checksum-")), CHECKSUM_NONE);
}

static void crc64_folding_equals_the_table_at_every_length(void **state)
{
    (void)state;
    uint8_t data[700];
    uint32_t seed = 1;
    for (size_t i = 0; i < sizeof(data); i++) {
        seed = seed * 1664525u + 1013904223u;
        data[i] = (uint8_t)(seed >> 24);
    }
    for (size_t at = 0; at < 20; at++) {
        for (size_t len = 0; len + at <= sizeof(data); len++) {
            assert_true(crc64nvme_update(7, data + at, len) == crc64nvme_update_table(7, data + at, len));
        }
    }
}

static void every_kind_streams_in_pieces(void **state)
{
    (void)state;
    uint8_t data[1000];
    for (size_t i = 0; i < sizeof(data); i++) {
        data[i] = (uint8_t)(i * 7);
    }
    for (int kind = 1; kind < CHECKSUM_KIND_COUNT; kind++) {
        struct checksum_value whole = checksum_of((enum checksum_kind)kind, data, sizeof(data));
        for (size_t split = 0; split <= sizeof(data); split += 37) {
            struct checksum sum;
            uint8_t bytes[CHECKSUM_BYTES_MAX];
            checksum_init(&sum, (enum checksum_kind)kind);
            checksum_update(&sum, data, split);
            checksum_update(&sum, data + split, sizeof(data) - split);
            checksum_final(&sum, bytes);
            assert_memory_equal(bytes, whole.bytes, checksum_bytes((enum checksum_kind)kind));
            if (checksum_combines((enum checksum_kind)kind)) {
                struct checksum_value a = checksum_of((enum checksum_kind)kind, data, split);
                struct checksum_value b = checksum_of((enum checksum_kind)kind, data + split, sizeof(data) - split);
                checksum_combine((enum checksum_kind)kind, a.bytes, b.bytes, sizeof(data) - split, bytes);
                assert_memory_equal(bytes, whole.bytes, checksum_bytes((enum checksum_kind)kind));
            }
            checksum_done(&sum);
        }
    }
}

static void parts_fold_to_the_published_values(void **state)
{
    (void)state;
    uint8_t *part = mem_alloc(PART_BYTES);
    memset(part, 'a', PART_BYTES);
    static const struct {
        enum checksum_kind kind;
        enum checksum_type type;
        const char *one, *two, *all;
    } rows[] = {
        { CHECKSUM_CRC32, CHECKSUM_COMPOSITE, "r/zBbw==", "QGXPDQ==", "k5yxow==-2" },
        { CHECKSUM_CRC32, CHECKSUM_FULL_OBJECT, "r/zBbw==", "QGXPDQ==", "ZQQbhw==" },
        { CHECKSUM_CRC32C, CHECKSUM_FULL_OBJECT, "WpuOeg==", "Lg58xw==", "C4opTQ==" },
        { CHECKSUM_CRC64NVME, CHECKSUM_FULL_OBJECT, "PbvLEkWUSgg=", "T+DOAYWjqTs=", "CxcEn00EQkg=" },
        { CHECKSUM_SHA256, CHECKSUM_COMPOSITE, NULL, NULL, "gDrP5FwCfWjU1qVqWfAgL+dUtgwH0Gl3tgBARzkxMWI=-2" },
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct checksum_value one = checksum_of(rows[i].kind, part, PART_BYTES);
        struct checksum_value two = checksum_of(rows[i].kind, "bbb", 3);
        if (rows[i].one != NULL) {
            expect_checksum(&one, rows[i].one);
            expect_checksum(&two, rows[i].two);
        }
        struct checksum_fold fold;
        struct checksum_value all;
        checksum_fold_init(&fold, rows[i].kind, rows[i].type);
        checksum_fold_part(&fold, one.bytes, PART_BYTES);
        checksum_fold_part(&fold, two.bytes, 3);
        checksum_fold_final(&fold, &all);
        expect_checksum(&all, rows[i].all);
    }
    mem_free(part);
}

static void hmac_matches_rfc_4231(void **state)
{
    (void)state;
    uint8_t mac[SHA256_BYTES];
    char hex[65];
    hmac_sha256(slice_str("Jefe"), slice_str("what do ya want for nothing?"), mac);
    hex_encode(mac, sizeof(mac), hex);
    assert_string_equal(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    uint8_t key[131];
    memset(key, 0xaa, sizeof(key));
    hmac_sha256(slice_of(key, sizeof(key)), slice_str("Test Using Larger Than Block-Size Key - Hash Key First"), mac);
    hex_encode(mac, sizeof(mac), hex);
    assert_string_equal(hex, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

static void base64_is_strict(void **state)
{
    (void)state;
    static const char *const bad[] = { "A", "AA", "AAA", "A===", "AB==", "AAB=", "AAAA=", "AA A", "AA=A", "====", "AA==AAAA", "AA-_" };
    uint8_t bytes[32];
    size_t len = 0;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(base64_decode(bad[i], strlen(bad[i]), bytes, &len));
    }
    for (size_t n = 0; n < 20; n++) {
        uint8_t data[20];
        char text[40];
        memset(data, (int)(0xf0 + n), sizeof(data));
        assert_int_equal(base64_encode(data, n, text), base64_len(n));
        assert_true(base64_decode(text, strlen(text), bytes, &len));
        assert_int_equal(len, n);
        assert_memory_equal(bytes, data, n);
        (void)base64url_encode(data, n, text);
        assert_true(base64url_decode(text, strlen(text), bytes, &len));
        assert_int_equal(len, n);
        assert_memory_equal(bytes, data, n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checksums_have_their_check_values),
        cmocka_unit_test(crc64_folding_equals_the_table_at_every_length),
        cmocka_unit_test(every_kind_streams_in_pieces),
        cmocka_unit_test(parts_fold_to_the_published_values),
        cmocka_unit_test(hmac_matches_rfc_4231),
        cmocka_unit_test(base64_is_strict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
