/* Counters by operation, their Prometheus text, and the access line. */
#include "gateway/handlers/gateway_state.h"

#include "common/base/assert.h"
#include "common/base/codec.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

/* 250 us, doubling: the last bucket before infinity ends at about 4 s. */
#define LATENCY_FIRST_US 250u


uint64_t gateway_latency_bound_us(size_t bucket)
{
    ASSERT(bucket < GATEWAY_LATENCY_BUCKETS);
    return bucket == GATEWAY_LATENCY_BUCKETS - 1 ? UINT64_MAX : (uint64_t)LATENCY_FIRST_US << bucket;
}

static size_t latency_bucket(uint64_t duration_us)
{
    size_t bucket = 0;
    while (duration_us > gateway_latency_bound_us(bucket)) {
        bucket++;
    }
    return bucket;
}

static void count(_Atomic uint64_t *counter, uint64_t by)
{
    (void)atomic_fetch_add_explicit(counter, by, memory_order_relaxed); /* the old value is not needed */
}

void gateway_account(struct gateway *gateway, const struct gateway_access *access)
{
    struct gateway_counters *counters = &gateway->counters[access->operation];
    count(&counters->requests, 1);
    if (access->status >= 100 && access->status < 600) {
        count(&counters->by_status[access->status / 100 - 1], 1);
    } else {
        count(&counters->canceled, 1);
    }
    count(&counters->latency_us_sum, access->duration_us);
    count(&counters->latency[latency_bucket(access->duration_us)], 1);
    count(&gateway->received_bytes, access->received_bytes);
    count(&gateway->sent_bytes, access->sent_bytes);
    (void)atomic_fetch_sub(&gateway->active, 1);
}

void gateway_operation_stats(struct gateway *gateway, enum s3_operation operation,
                             struct gateway_operation_stats *ret_stats)
{
    ASSERT(operation < S3_OPERATION_COUNT);
    struct gateway_counters *counters = &gateway->counters[operation];
    *ret_stats = (struct gateway_operation_stats){
        .requests = atomic_load(&counters->requests),
        .canceled = atomic_load(&counters->canceled),
        .latency_us_sum = atomic_load(&counters->latency_us_sum),
    };
    for (size_t i = 0; i < 5; i++) {
        ret_stats->by_status[i] = atomic_load(&counters->by_status[i]);
    }
    for (size_t i = 0; i < GATEWAY_LATENCY_BUCKETS; i++) {
        ret_stats->latency[i] = atomic_load(&counters->latency[i]);
    }
}

void gateway_stats(struct gateway *gateway, struct gateway_stats *ret_stats)
{
    *ret_stats = (struct gateway_stats){
        .received_bytes = atomic_load(&gateway->received_bytes),
        .sent_bytes = atomic_load(&gateway->sent_bytes),
        .active = atomic_load(&gateway->active),
    };
}

/* ---- text ---- */

__attribute__((format(printf, 2, 3))) static void put(struct enc *out, const char *format, ...)
{
    char line[512];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    ASSERT(len >= 0 && (size_t)len < sizeof(line));
    enc_raw(out, line, (size_t)len);
}

static const char *operation_label(enum s3_operation operation)
{
    return operation == S3_OPERATION_NONE ? "none" : s3_operation_name(operation);
}

static void write_requests(struct enc *out, enum s3_operation operation, const struct gateway_operation_stats *stats)
{
    for (unsigned i = 0; i < 5; i++) {
        if (stats->by_status[i] > 0) {
            put(out, "cairn_s3_requests_total{operation=\"%s\",status=\"%uxx\"} %" PRIu64 "\n",
                operation_label(operation), i + 1, stats->by_status[i]);
        }
    }
    if (stats->canceled > 0) {
        put(out, "cairn_s3_requests_total{operation=\"%s\",status=\"canceled\"} %" PRIu64 "\n",
            operation_label(operation), stats->canceled);
    }
}

static void write_latency(struct enc *out, enum s3_operation operation, const struct gateway_operation_stats *stats)
{
    const char *label = operation_label(operation);
    uint64_t sum = 0;
    for (size_t i = 0; i < GATEWAY_LATENCY_BUCKETS; i++) {
        sum += stats->latency[i];
        if (i + 1 < GATEWAY_LATENCY_BUCKETS) {
            put(out, "cairn_s3_request_seconds_bucket{operation=\"%s\",le=\"%.6f\"} %" PRIu64 "\n", label,
                (double)gateway_latency_bound_us(i) / 1e6, sum);
        }
    }
    put(out, "cairn_s3_request_seconds_bucket{operation=\"%s\",le=\"+Inf\"} %" PRIu64 "\n", label, sum);
    put(out, "cairn_s3_request_seconds_sum{operation=\"%s\"} %.6f\n", label, (double)stats->latency_us_sum / 1e6);
    put(out, "cairn_s3_request_seconds_count{operation=\"%s\"} %" PRIu64 "\n", label, sum);
}

void gateway_metrics_write(struct gateway *gateway, struct enc *out)
{
    struct gateway_stats stats;
    gateway_stats(gateway, &stats);
    put(out, "# HELP cairn_s3_received_bytes_total Bytes of request bodies.\n"
             "# TYPE cairn_s3_received_bytes_total counter\ncairn_s3_received_bytes_total %" PRIu64 "\n",
        stats.received_bytes);
    put(out, "# HELP cairn_s3_sent_bytes_total Bytes of response bodies.\n"
             "# TYPE cairn_s3_sent_bytes_total counter\ncairn_s3_sent_bytes_total %" PRIu64 "\n",
        stats.sent_bytes);
    put(out, "# HELP cairn_s3_requests_active Requests being worked on.\n"
             "# TYPE cairn_s3_requests_active gauge\ncairn_s3_requests_active %" PRIu64 "\n",
        stats.active);
    put(out, "# HELP cairn_s3_requests_total Requests by operation and class of status.\n"
             "# TYPE cairn_s3_requests_total counter\n");
    struct gateway_operation_stats by[S3_OPERATION_COUNT];
    for (int i = 0; i < S3_OPERATION_COUNT; i++) {
        gateway_operation_stats(gateway, (enum s3_operation)i, &by[i]);
        write_requests(out, (enum s3_operation)i, &by[i]);
    }
    put(out, "# HELP cairn_s3_request_seconds From the end of the head to the end of the answer.\n"
             "# TYPE cairn_s3_request_seconds histogram\n");
    for (int i = 0; i < S3_OPERATION_COUNT; i++) {
        if (by[i].requests > 0) {
            write_latency(out, (enum s3_operation)i, &by[i]);
        }
    }
}
