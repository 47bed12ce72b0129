/*
 * metrics - counters, gauges and latency histograms, exported as Prometheus text.
 *
 * Owners get a metric once, keep the pointer and change it with atomics. Names end in a unit
 * (_total, _bytes, _seconds). The same name and labels give the same metric.
 * Thread: all functions are safe from any thread. Memory: metrics live as long as their registry.
 */
#ifndef COMMON_IO_METRICS_H
#define COMMON_IO_METRICS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define METRICS_BUCKETS 20          /* of a histogram, without +Inf; bounds: metrics.c */
#define METRICS_LABELS_BYTES_MAX 256

struct metrics;
struct metric;

struct metrics *metrics_create(void); /* gives */
void metrics_destroy(struct metrics *metrics);

/* `labels` in the form of the format: "disk=\"3\",class=\"a\"", or "" for none; copied. metrics_label() below
 * escapes values that come from outside. `help` is one line, static. */
struct metric *metrics_counter(struct metrics *metrics, const char *name, const char *help, const char *labels);
struct metric *metrics_gauge(struct metrics *metrics, const char *name, const char *help, const char *labels);
/* Of durations, exported in seconds. */
struct metric *metrics_histogram(struct metrics *metrics, const char *name, const char *help, const char *labels);
/* A gauge or counter that is asked at export (under the registry's lock: read must not call metrics_*).
 * metrics_remove_read ends it (before `data` goes away). */
struct metric *metrics_gauge_read(struct metrics *metrics, const char *name, const char *help, const char *labels,
                                  int64_t (*read)(void *data), void *data);
struct metric *metrics_counter_read(struct metrics *metrics, const char *name, const char *help, const char *labels,
                                    int64_t (*read)(void *data), void *data);
void metrics_remove_read(struct metrics *metrics, struct metric *metric);

void metric_add(struct metric *metric, uint64_t n);       /* counter or gauge */
void metric_sub(struct metric *metric, uint64_t n);       /* gauge */
void metric_set(struct metric *metric, int64_t value);    /* gauge */
void metric_observe_ns(struct metric *metric, uint64_t duration_ns); /* histogram */
int64_t metric_value(const struct metric *metric);        /* histogram: count of observations */

/* Writes name="value" with the value escaped into target; returns the length, 0 if it does not fit. */
size_t metrics_label(char *target, size_t target_bytes, const char *name, const char *value);

/* The whole text, families sorted by name; gives (mem_free). */
char *metrics_export(struct metrics *metrics, size_t *ret_len);

#endif
