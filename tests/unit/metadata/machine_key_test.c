/* Encoded keys sort as (bucket, key bytes, newest first) and come back. */
#include "metadata/key.h"
#include "tests/lib/machine_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

struct named {
    uint64_t bucket, seq;
    uint8_t bytes[16];
    size_t len;
};

static struct named random_named(uint64_t *random)
{
    static const uint8_t alphabet[] = { 0x00, 0x01, 0x02, 0x7f, 0xfe, 0xff };
    struct named name = { .bucket = fixture_random(random) % 3 + 1 };
    name.seq = fixture_random(random) % 4;
    name.len = fixture_random(random) % 5;
    for (size_t i = 0; i < name.len; i++) {
        name.bytes[i] = alphabet[(fixture_random(random) >> 20) % sizeof(alphabet)];
    }
    return name;
}

static int sign(int v)
{
    return (v > 0) - (v < 0);
}

static int named_order(const struct named *a, const struct named *b)
{
    if (a->bucket != b->bucket) {
        return a->bucket < b->bucket ? -1 : 1;
    }
    int order = slice_compare(slice_of(a->bytes, a->len), slice_of(b->bytes, b->len));
    return order != 0 ? sign(order) : (a->seq < b->seq) - (a->seq > b->seq);
}

static void order_holds(void **state)
{
    (void)state;
    uint64_t random = 99;
    for (int i = 0; i < 200000; i++) {
        struct key x, y, after, prefix_end;
        struct named a = random_named(&random);
        struct named b = random_named(&random);
        struct slice a_key = slice_of(a.bytes, a.len);
        struct slice b_key = slice_of(b.bytes, b.len);
        key_version(&x, TABLE_NONCURRENT, a.bucket, a_key, a.seq);
        key_version(&y, TABLE_NONCURRENT, b.bucket, b_key, b.seq);
        assert_int_equal(sign(slice_compare(key_slice(&x), key_slice(&y))), named_order(&a, &b));
        key_object_after(&after, TABLE_NONCURRENT, a.bucket, a_key);
        bool is_behind = a.bucket != b.bucket ? b.bucket > a.bucket : slice_compare(b_key, a_key) > 0;
        assert_int_equal(slice_compare(key_slice(&y), key_slice(&after)) > 0, is_behind);
        key_table_u64(&x, TABLE_NONCURRENT, a.bucket);
        key_escaped(&x, a_key);
        prefix_end = x;
        key_successor(&prefix_end);
        bool within = slice_compare(key_slice(&y), key_slice(&x)) >= 0 &&
                      slice_compare(key_slice(&y), key_slice(&prefix_end)) < 0;
        assert_int_equal(within, a.bucket == b.bucket && slice_starts(b_key, a_key));
    }
}

static void unescape_is_the_inverse(void **state)
{
    (void)state;
    uint64_t random = 5;
    static uint8_t text[KEY_BYTES_MAX];
    size_t len;
    for (int i = 0; i < 20000; i++) {
        struct key key;
        struct named name = random_named(&random);
        key_version(&key, TABLE_BODY, name.bucket, slice_of(name.bytes, name.len), name.seq);
        assert_int_equal(key_unescape(key_slice(&key), KEY_OBJECT_AT, text, &len), key.len - KEY_OBJECT_AT - 8);
        assert_true(slice_equal(slice_of(text, len), slice_of(name.bytes, name.len)));
    }
    static uint8_t zeros[KEY_BYTES_MAX];
    struct key key;
    key_version(&key, TABLE_BODY, UINT64_MAX, slice_of(zeros, sizeof(zeros)), 1); /* the longest */
    assert_true(key_unescape(key_slice(&key), KEY_OBJECT_AT, text, &len) > 0);
    assert_int_equal(len, KEY_BYTES_MAX);
    assert_int_equal(key_unescape(slice_of("a\x00\x02", 3), 0, text, &len), 0);
    assert_int_equal(key_unescape(slice_of("a\x00", 2), 0, text, &len), 0);
    assert_int_equal(key_unescape(slice_of("abc", 3), 0, text, &len), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_holds),
        cmocka_unit_test(unescape_is_the_inverse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
