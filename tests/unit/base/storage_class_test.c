/*
 * storage_class_test - the list of storage classes: what is a name and a code, order, room, bytes.
 * Method: tables; every prefix and every flipped bit of an encoded list is decoded.
 */
#include "common/base/storage_class.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void names_are_those_of_s3(void **state)
{
    (void)state;
    static const char *const good[] = { "STANDARD", "GLACIER_IR", "A", "2-COPIES", "ABCDEFGHIJKLMNOPQRSTUVWXYZ_12345" };
    static const char *const bad[] = { "", "standard", "A B", "A\n", "A<", "\xc3\x84", "ABCDEFGHIJKLMNOPQRSTUVWXYZ_123456" };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(storage_class_name_valid(slice_str(good[i])));
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(storage_class_name_valid(slice_str(bad[i])));
    }
}

static void codes_are_read(void **state)
{
    (void)state;
    static const char *const bad[] = { "", "4", "4+", "+2", "4+2x", "4 +2", "0+2", "17+2", "4+7", "2+0", "4+-2", "4++2",
                                       "99999999999999999999+1" };
    struct error e = ERROR_INIT;
    uint8_t k = 0;
    uint8_t m = 9;
    assert_int_equal(storage_class_code_parse("16+6", &k, &m, &e), ERRC_OK);
    assert_true(k == 16 && m == 6);
    assert_int_equal(storage_class_code_parse("1+0", &k, &m, &e), ERRC_OK);
    assert_true(k == 1 && m == 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        error_clear(&e);
        assert_int_equal(storage_class_code_parse(bad[i], &k, &m, &e), ERRC_INVALID);
    }
}

static void classes_are_set_found_and_removed(void **state)
{
    (void)state;
    struct storage_classes list = { .count = 0 };
    assert_null(storage_classes_find(&list, slice_str("B")));
    assert_int_equal(storage_classes_set(&list, slice_str("B"), 4, 2), ERRC_OK);
    assert_int_equal(storage_classes_set(&list, slice_str("C"), 8, 4), ERRC_OK);
    assert_int_equal(storage_classes_set(&list, slice_str("A"), 1, 2), ERRC_OK);
    assert_int_equal(storage_classes_set(&list, slice_str("B"), 2, 1), ERRC_OK); /* changed, not added */
    assert_int_equal(list.count, 3);
    assert_string_equal(list.classes[0].name, "A");
    assert_int_equal(storage_classes_find(&list, slice_str("B"))->k, 2);
    assert_true(storage_classes_remove(&list, slice_str("A")));
    assert_false(storage_classes_remove(&list, slice_str("A")));
    assert_string_equal(list.classes[1].name, "C");
    for (unsigned i = list.count; i < STORAGE_CLASSES_MAX; i++) {
        char name[8];
        (void)snprintf(name, sizeof(name), "N%u", i);
        assert_int_equal(storage_classes_set(&list, slice_str(name), 3, 2), ERRC_OK);
    }
    assert_int_equal(storage_classes_set(&list, slice_str("ONE-MORE"), 3, 2), ERRC_LIMIT);
    assert_int_equal(storage_classes_set(&list, slice_str("B"), 3, 2), ERRC_OK);
}

static void bytes_come_back(void **state)
{
    (void)state;
    struct storage_classes list = { .count = 0 };
    struct storage_classes back;
    struct enc enc = ENC_INIT;
    assert_int_equal(storage_classes_set(&list, slice_str("WIDE"), 8, 4), ERRC_OK);
    assert_int_equal(storage_classes_set(&list, slice_str("COPIES"), 1, 2), ERRC_OK);
    storage_classes_encode(&enc, &list);
    assert_int_equal(storage_classes_decode(enc_slice(&enc), &back), ERRC_OK);
    assert_int_equal(back.count, 2);
    assert_string_equal(back.classes[0].name, "COPIES");
    assert_true(back.classes[0].k == 1 && back.classes[0].m == 2 && back.classes[1].k == 8 && back.classes[1].m == 4);
    for (size_t len = 0; len < enc.len; len++) {
        assert_int_equal(storage_classes_decode(slice_of(enc.data, len), &back), ERRC_CORRUPT);
    }
    for (size_t bit = 0; bit < enc.len * 8; bit++) { /* whatever is accepted is a valid list */
        enc.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (storage_classes_decode(enc_slice(&enc), &back) == ERRC_OK) {
            assert_true(back.count <= STORAGE_CLASSES_MAX);
            for (unsigned i = 0; i < back.count; i++) {
                assert_true(storage_class_name_valid(slice_str(back.classes[i].name)));
                assert_in_range(back.classes[i].k, 1, 16);
                assert_in_range(back.classes[i].m, 0, 6);
            }
        }
        enc.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    enc.data[0] = 2;
    assert_int_equal(storage_classes_decode(enc_slice(&enc), &back), ERRC_FORMAT);
    enc_free(&enc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_those_of_s3),
        cmocka_unit_test(codes_are_read),
        cmocka_unit_test(classes_are_set_found_and_removed),
        cmocka_unit_test(bytes_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
