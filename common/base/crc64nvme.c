#include "common/base/crc64nvme.h"

#include "common/base/bytes.h"

#include <stdatomic.h>
#include <stdbool.h>

#define CRC64_POLY 0x9A6C9329AC4BC9B5ull /* reflected */

/* crc64_table[k][b]: the effect of byte b that stands k bytes before the end of eight. */
static uint64_t crc64_table[8][256];
static atomic_int crc64_table_state; /* 0 empty, 1 being filled, 2 ready */

static void crc64_table_fill(void)
{
    for (unsigned b = 0; b < 256; b++) {
        uint64_t v = b;
        for (int bit = 0; bit < 8; bit++) {
            v = v >> 1 ^ (v & 1 ? CRC64_POLY : 0);
        }
        crc64_table[0][b] = v;
    }
    for (unsigned b = 0; b < 256; b++) {
        for (int k = 1; k < 8; k++) {
            uint64_t v = crc64_table[k - 1][b];
            crc64_table[k][b] = v >> 8 ^ crc64_table[0][v & 0xff];
        }
    }
}

static void crc64_table_ready(void)
{
    if (atomic_load_explicit(&crc64_table_state, memory_order_acquire) == 2) {
        return;
    }
    int expected = 0;
    if (atomic_compare_exchange_strong(&crc64_table_state, &expected, 1)) {
        crc64_table_fill();
        atomic_store_explicit(&crc64_table_state, 2, memory_order_release);
    }
    while (atomic_load_explicit(&crc64_table_state, memory_order_acquire) != 2) {
        /* another thread fills 16 KiB: microseconds */
    }
}

/* state: without the inversions. */
static uint64_t crc64_state_table(uint64_t state, const uint8_t *at, size_t len)
{
    for (; len >= 8; at += 8, len -= 8) {
        uint64_t v = state ^ load_le64(at);
        state = 0;
        for (int k = 0; k < 8; k++) {
            state ^= crc64_table[7 - k][v >> (8 * k) & 0xff];
        }
    }
    for (; len > 0; at++, len--) {
        state = state >> 8 ^ crc64_table[0][(state ^ *at) & 0xff];
    }
    return state;
}

uint64_t crc64nvme_update_table(uint64_t crc, const void *data, size_t len)
{
    crc64_table_ready();
    return ~crc64_state_table(~crc, data, len);
}

#if defined(__x86_64__)
#include <immintrin.h>

#define CRC64_STEP_BYTES 128

/* x^(D+63) for the low half, x^(D-1) for the high one, modulo the polynomial, reflected. */
#define CRC64_K1024_LOW 0xa1ca681e733f9c40ull
#define CRC64_K1024_HIGH 0x5f852fb61e8d92dcull
#define CRC64_K128_LOW 0xeadc41fd2ba3d420ull
#define CRC64_K128_HIGH 0x21e9761e252621acull

__attribute__((target("pclmul,sse2"), always_inline)) static inline __m128i crc64_fold(__m128i acc, __m128i k, __m128i next)
{
    __m128i low = _mm_clmulepi64_si128(acc, k, 0x00);
    __m128i high = _mm_clmulepi64_si128(acc, k, 0x11);
    return _mm_xor_si128(_mm_xor_si128(low, high), next);
}

static inline __m128i crc64_load(const uint8_t *at)
{
    return _mm_loadu_si128((const __m128i *)(const void *)at);
}

/* len >= CRC64_STEP_BYTES. Eight accumulators hide the latency of the multiplication. */
__attribute__((target("pclmul,sse2"))) static uint64_t crc64_state_clmul(uint64_t state, const uint8_t *at,
                                                                        size_t len)
{
    const __m128i far = _mm_set_epi64x((long long)CRC64_K1024_HIGH, (long long)CRC64_K1024_LOW);
    const __m128i near = _mm_set_epi64x((long long)CRC64_K128_HIGH, (long long)CRC64_K128_LOW);
    /* Eight variables and no array: they must stay in registers at every level of optimisation. */
    __m128i a = _mm_xor_si128(crc64_load(at), _mm_set_epi64x(0, (long long)state));
    __m128i b = crc64_load(at + 16);
    __m128i c = crc64_load(at + 32);
    __m128i d = crc64_load(at + 48);
    __m128i e = crc64_load(at + 64);
    __m128i f = crc64_load(at + 80);
    __m128i g = crc64_load(at + 96);
    __m128i h = crc64_load(at + 112);
    at += CRC64_STEP_BYTES;
    len -= CRC64_STEP_BYTES;
    for (; len >= CRC64_STEP_BYTES; at += CRC64_STEP_BYTES, len -= CRC64_STEP_BYTES) {
        a = crc64_fold(a, far, crc64_load(at));
        b = crc64_fold(b, far, crc64_load(at + 16));
        c = crc64_fold(c, far, crc64_load(at + 32));
        d = crc64_fold(d, far, crc64_load(at + 48));
        e = crc64_fold(e, far, crc64_load(at + 64));
        f = crc64_fold(f, far, crc64_load(at + 80));
        g = crc64_fold(g, far, crc64_load(at + 96));
        h = crc64_fold(h, far, crc64_load(at + 112));
    }
    __m128i all = crc64_fold(a, near, b);
    all = crc64_fold(all, near, c);
    all = crc64_fold(all, near, d);
    all = crc64_fold(all, near, e);
    all = crc64_fold(all, near, f);
    all = crc64_fold(all, near, g);
    all = crc64_fold(all, near, h);
    for (; len >= 16; at += 16, len -= 16) {
        all = crc64_fold(all, near, crc64_load(at));
    }
    uint8_t rest[16];
    _mm_storeu_si128((__m128i *)(void *)rest, all);
    return crc64_state_table(crc64_state_table(0, rest, sizeof(rest)), at, len);
}

static bool crc64_has_clmul(void)
{
    return __builtin_cpu_supports("pclmul") != 0;
}
#endif

uint64_t crc64nvme_update(uint64_t crc, const void *data, size_t len)
{
    crc64_table_ready();
#if defined(__x86_64__)
    if (len >= CRC64_STEP_BYTES && crc64_has_clmul()) {
        return ~crc64_state_clmul(~crc, data, len);
    }
#endif
    return ~crc64_state_table(~crc, data, len);
}

uint64_t crc64nvme(const void *data, size_t len)
{
    return crc64nvme_update(0, data, len);
}
