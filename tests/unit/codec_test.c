/* Goal: the record codec round-trips and never reads past its input. */
#include "common/base/codec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void codec_round_trips_every_kind(void **state)
{
    (void)state;
    struct enc enc = ENC_INIT;
    const uint64_t values[] = { 0, 1, 127, 128, 300, UINT32_MAX, UINT64_MAX };
    enc_u8(&enc, 7);
    enc_u16(&enc, 0x1234);
    enc_u32(&enc, 0xdeadbeef);
    enc_u64(&enc, UINT64_MAX - 1);
    for (size_t i = 0; i < 7; i++) {
        enc_uint(&enc, values[i]);
    }
    enc_bytes(&enc, slice_str("cairn"));
    struct dec dec = dec_of(enc_slice(&enc));
    assert_int_equal(dec_u8(&dec), 7);
    assert_int_equal(dec_u16(&dec), 0x1234);
    assert_int_equal(dec_u32(&dec), 0xdeadbeef);
    assert_true(dec_u64(&dec) == UINT64_MAX - 1);
    for (size_t i = 0; i < 7; i++) {
        assert_true(dec_uint(&dec) == values[i]);
    }
    assert_true(slice_equal_str(dec_bytes(&dec), "cairn"));
    assert_true(dec_done(&dec));
    enc_free(&enc);
}

static void codec_refuses_every_truncation(void **state)
{
    (void)state;
    struct enc enc = ENC_INIT;
    enc_u32(&enc, 5);
    enc_uint(&enc, 1u << 20);
    enc_bytes(&enc, slice_str("0123456789"));
    for (size_t len = 0; len < enc.len; len++) {
        struct dec dec = dec_of(slice_of(enc.data, len));
        (void)dec_u32(&dec);
        (void)dec_uint(&dec);
        (void)dec_bytes(&dec);
        assert_true(dec.failed);
        assert_false(dec_done(&dec));
    }
    enc_free(&enc);
}

static void codec_refuses_overlong_integers(void **state)
{
    (void)state;
    const uint8_t padded[] = { 0x80, 0x00 };
    const uint8_t wide[] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02 };
    struct dec dec = dec_of(slice_of(padded, sizeof(padded)));
    (void)dec_uint(&dec);
    assert_true(dec.failed);
    dec = dec_of(slice_of(wide, sizeof(wide)));
    (void)dec_uint(&dec);
    assert_true(dec.failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codec_round_trips_every_kind),
        cmocka_unit_test(codec_refuses_every_truncation),
        cmocka_unit_test(codec_refuses_overlong_integers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
