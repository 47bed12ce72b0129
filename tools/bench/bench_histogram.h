/*
 * bench_histogram - latencies in log-linear buckets: 64 per power of two, so a quantile is at most 1.6% too high.
 *
 * Thread: one owner; merge after the owner has ended.
 */
#ifndef TOOLS_BENCH_BENCH_HISTOGRAM_H
#define TOOLS_BENCH_BENCH_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_SUB_BITS 6u
#define HISTOGRAM_BUCKETS ((64u - HISTOGRAM_SUB_BITS + 1u) << HISTOGRAM_SUB_BITS)

struct bench_histogram {
    uint64_t count;
    uint64_t sum;
    uint64_t max;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

void bench_histogram_add(struct bench_histogram *histogram, uint64_t value);
void bench_histogram_merge(struct bench_histogram *target, const struct bench_histogram *source);
/* The smallest bucket bound that `quantile` (0..1) of the values do not exceed; 0 when empty. */
uint64_t bench_histogram_quantile(const struct bench_histogram *histogram, double quantile);

#endif
