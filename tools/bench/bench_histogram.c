#include "tools/bench/bench_histogram.h"

#include "common/base/assert.h"

#define SUB_COUNT (1u << HISTOGRAM_SUB_BITS)

/* Values below SUB_COUNT have a bucket each; above, the top HISTOGRAM_SUB_BITS + 1 bits choose. */
static unsigned bucket_of(uint64_t value)
{
    if (value < SUB_COUNT) {
        return (unsigned)value;
    }
    unsigned exponent = 63u - (unsigned)__builtin_clzll(value) - HISTOGRAM_SUB_BITS;
    return ((exponent + 1u) << HISTOGRAM_SUB_BITS) + (unsigned)((value >> exponent) & (SUB_COUNT - 1u));
}

/* The largest value of a bucket. */
static uint64_t bucket_bound(unsigned index)
{
    if (index < SUB_COUNT) {
        return index;
    }
    unsigned exponent = (index >> HISTOGRAM_SUB_BITS) - 1u;
    uint64_t top = (uint64_t)SUB_COUNT + (index & (SUB_COUNT - 1u));
    return (top << exponent) + ((1ull << exponent) - 1u);
}

void bench_histogram_add(struct bench_histogram *histogram, uint64_t value)
{
    unsigned index = bucket_of(value);
    ASSERT(index < HISTOGRAM_BUCKETS);
    histogram->buckets[index]++;
    histogram->count++;
    histogram->sum += value;
    if (value > histogram->max) {
        histogram->max = value;
    }
}

void bench_histogram_merge(struct bench_histogram *target, const struct bench_histogram *source)
{
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        target->buckets[i] += source->buckets[i];
    }
    target->count += source->count;
    target->sum += source->sum;
    if (source->max > target->max) {
        target->max = source->max;
    }
}

uint64_t bench_histogram_quantile(const struct bench_histogram *histogram, double quantile)
{
    ASSERT(quantile >= 0 && quantile <= 1);
    uint64_t wanted = (uint64_t)(quantile * (double)histogram->count + 0.5);
    uint64_t seen = 0;
    if (wanted == 0) {
        wanted = 1;
    }
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS && histogram->count > 0; i++) {
        seen += histogram->buckets[i];
        if (seen >= wanted) {
            uint64_t bound = bucket_bound(i);
            return bound < histogram->max ? bound : histogram->max;
        }
    }
    return histogram->max;
}
