#include "tools/bench/bench_report.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#define MIB (1024.0 * 1024.0)
#define NS_PER_MS 1e6

static uint64_t ok_count(const struct bench_result *result)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < BENCH_OP_COUNT; i++) {
        sum += result->ok[i];
    }
    return sum;
}

static double quantile_ms(const struct bench_histogram *histogram, double quantile)
{
    return (double)bench_histogram_quantile(histogram, quantile) / NS_PER_MS;
}

static double mean_ms(const struct bench_histogram *histogram)
{
    return histogram->count > 0 ? (double)histogram->sum / (double)histogram->count / NS_PER_MS : 0;
}

static const char *sign_name(const struct bench_options *options)
{
    return options->sign == BENCH_SIGN_PAYLOAD ? "payload" : "unsigned";
}

void bench_report_text(const struct bench_report *report)
{
    const struct bench_options *options = report->options;
    const struct bench_result *result = report->result;
    uint64_t ok = ok_count(result);
    double seconds = report->seconds > 0 ? report->seconds : 1e-9;
    (void)printf("%s: size %" PRIu64 " B, %u connections, %u thread%s, bodies signed: %s\n", bench_op_name(options->op),
                 options->object_bytes, options->concurrency, options->threads, options->threads == 1 ? "" : "s",
                 sign_name(options));
    (void)printf("  requests   %" PRIu64 " ok, %" PRIu64 " failed in %.2f s\n", ok, result->failed, report->seconds);
    (void)printf("  rate       %.0f requests/s", (double)ok / seconds);
    (void)printf(", %.1f MiB/s sent, %.1f MiB/s received\n", (double)result->sent_bytes / MIB / seconds,
                 (double)result->received_bytes / MIB / seconds);
    for (unsigned i = 0; i < BENCH_OP_COUNT; i++) {
        const struct bench_histogram *latency = &result->latency[i];
        if (latency->count > 0) {
            (void)printf("  %-9s  p50 %.2f ms, p99 %.2f ms, p99.9 %.2f ms, max %.2f ms, mean %.2f ms\n",
                         bench_op_name((enum bench_op)i), quantile_ms(latency, 0.5), quantile_ms(latency, 0.99),
                         quantile_ms(latency, 0.999), (double)latency->max / NS_PER_MS, mean_ms(latency));
        }
    }
    if (result->keys > 0) {
        (void)printf("  listed     %" PRIu64 " keys, %.1f a page\n", result->keys,
                     (double)result->keys / (double)(result->ok[BENCH_LIST] > 0 ? result->ok[BENCH_LIST] : 1));
    }
    (void)printf("  client     %.2f s CPU\n", report->client_cpu_seconds);
    if (report->has_server) {
        (void)printf("  server     %.2f s CPU, peak resident memory %.1f MiB (pid %d)\n", report->server_cpu_seconds,
                     (double)report->server_peak_bytes / MIB, report->server_pid);
    }
    if (result->failed > 0) {
        (void)printf("  first failure: %s\n", result->failure);
    }
}

static json_t *latency_json(const struct bench_histogram *latency)
{
    json_t *json = json_object();
    (void)json_object_set_new(json, "count", json_integer((json_int_t)latency->count));
    (void)json_object_set_new(json, "p50_ms", json_real(quantile_ms(latency, 0.5)));
    (void)json_object_set_new(json, "p99_ms", json_real(quantile_ms(latency, 0.99)));
    (void)json_object_set_new(json, "p999_ms", json_real(quantile_ms(latency, 0.999)));
    (void)json_object_set_new(json, "max_ms", json_real((double)latency->max / NS_PER_MS));
    (void)json_object_set_new(json, "mean_ms", json_real(mean_ms(latency)));
    return json;
}

static void add_options(json_t *json, const struct bench_options *options)
{
    (void)json_object_set_new(json, "operation", json_string(bench_op_name(options->op)));
    (void)json_object_set_new(json, "object_bytes", json_integer((json_int_t)options->object_bytes));
    (void)json_object_set_new(json, "objects", json_integer((json_int_t)options->objects));
    (void)json_object_set_new(json, "concurrency", json_integer((json_int_t)options->concurrency));
    (void)json_object_set_new(json, "threads", json_integer((json_int_t)options->threads));
    (void)json_object_set_new(json, "sign", json_string(sign_name(options)));
}

void bench_report_json(const struct bench_report *report)
{
    const struct bench_result *result = report->result;
    double seconds = report->seconds > 0 ? report->seconds : 1e-9;
    uint64_t ok = ok_count(result);
    json_t *json = json_object();
    json_t *latencies = json_object();
    add_options(json, report->options);
    (void)json_object_set_new(json, "seconds", json_real(report->seconds));
    (void)json_object_set_new(json, "requests", json_integer((json_int_t)ok));
    (void)json_object_set_new(json, "failed", json_integer((json_int_t)result->failed));
    (void)json_object_set_new(json, "failure", result->failed > 0 ? json_string(result->failure) : json_null());
    (void)json_object_set_new(json, "requests_per_second", json_real((double)ok / seconds));
    (void)json_object_set_new(json, "sent_mib_per_second", json_real((double)result->sent_bytes / MIB / seconds));
    (void)json_object_set_new(json, "received_mib_per_second",
                              json_real((double)result->received_bytes / MIB / seconds));
    (void)json_object_set_new(json, "keys_listed", json_integer((json_int_t)result->keys));
    for (unsigned i = 0; i < BENCH_OP_COUNT; i++) {
        if (result->latency[i].count > 0) {
            (void)json_object_set_new(latencies, bench_op_name((enum bench_op)i), latency_json(&result->latency[i]));
        }
    }
    (void)json_object_set_new(json, "latency", latencies);
    (void)json_object_set_new(json, "client_cpu_seconds", json_real(report->client_cpu_seconds));
    (void)json_object_set_new(json, "server_cpu_seconds",
                              report->has_server ? json_real(report->server_cpu_seconds) : json_null());
    (void)json_object_set_new(json, "server_peak_rss_bytes",
                              report->has_server ? json_integer((json_int_t)report->server_peak_bytes) : json_null());
    (void)json_dumpf(json, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(6));
    (void)putchar('\n');
    json_decref(json);
}
