#include "common/io/metrics.h"

#include "common/base/assert.h"
#include "common/base/mem.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metric {
    struct metric *next;
    enum metric_kind kind;
    const char *help;
    char *name;
    char *labels;
    atomic_int_fast64_t value; /* histogram: sum in nanoseconds */
    atomic_uint_fast64_t buckets[METRICS_BUCKETS + 1]; /* histogram: not cumulative; the last is +Inf */
    bool is_read;                   /* value comes from read(data), which is NULL once removed */
    int64_t (*read)(void *data);
    void *data;
};

struct metrics {
    pthread_mutex_t lock; /* guards the list and the read callbacks */
    struct metric *first;
    size_t count;
};

static const struct {
    uint64_t ns;
    const char *text; /* seconds */
} bounds[METRICS_BUCKETS] = {
    { 50000, "0.00005" },       { 100000, "0.0001" },       { 200000, "0.0002" },     { 500000, "0.0005" },
    { 1000000, "0.001" },       { 2000000, "0.002" },       { 3500000, "0.0035" },    { 5000000, "0.005" },
    { 7500000, "0.0075" },      { 10000000, "0.01" },       { 20000000, "0.02" },     { 35000000, "0.035" },
    { 50000000, "0.05" },       { 100000000, "0.1" },       { 250000000, "0.25" },    { 500000000, "0.5" },
    { 1000000000, "1" },        { 2500000000, "2.5" },      { 5000000000, "5" },      { 10000000000, "10" },
};

struct metrics *metrics_create(void)
{
    struct metrics *self = mem_zalloc(sizeof(*self));
    (void)pthread_mutex_init(&self->lock, NULL);
    return self;
}

void metrics_destroy(struct metrics *self)
{
    struct metric *metric = self->first;
    while (metric != NULL) {
        struct metric *next = metric->next;
        mem_free(metric->name);
        mem_free(metric->labels);
        mem_free(metric);
        metric = next;
    }
    (void)pthread_mutex_destroy(&self->lock);
    mem_free(self);
}

static struct metric *metrics_find(struct metrics *self, const char *name, const char *labels)
{
    for (struct metric *metric = self->first; metric != NULL; metric = metric->next) {
        if (strcmp(metric->name, name) == 0 && strcmp(metric->labels, labels) == 0) {
            return metric;
        }
    }
    return NULL;
}

static struct metric *metrics_get(struct metrics *self, enum metric_kind kind, const char *name, const char *help,
                                  const char *labels, int64_t (*read)(void *data), void *data)
{
    ASSERT(strlen(labels) < METRICS_LABELS_BYTES_MAX);
    (void)pthread_mutex_lock(&self->lock);
    struct metric *metric = metrics_find(self, name, labels);
    if (metric == NULL) {
        metric = mem_zalloc(sizeof(*metric));
        metric->kind = kind;
        metric->help = help;
        metric->name = mem_strdup(name);
        metric->labels = mem_strdup(labels);
        metric->next = self->first;
        self->first = metric;
        self->count++;
    }
    ASSERT(metric->kind == kind);
    if (read != NULL) {
        metric->is_read = true;
        metric->read = read;
        metric->data = data;
    }
    (void)pthread_mutex_unlock(&self->lock);
    return metric;
}

struct metric *metrics_counter(struct metrics *self, const char *name, const char *help, const char *labels)
{
    return metrics_get(self, METRIC_COUNTER, name, help, labels, NULL, NULL);
}

struct metric *metrics_gauge(struct metrics *self, const char *name, const char *help, const char *labels)
{
    return metrics_get(self, METRIC_GAUGE, name, help, labels, NULL, NULL);
}

struct metric *metrics_histogram(struct metrics *self, const char *name, const char *help, const char *labels)
{
    return metrics_get(self, METRIC_HISTOGRAM, name, help, labels, NULL, NULL);
}

struct metric *metrics_gauge_read(struct metrics *self, const char *name, const char *help, const char *labels,
                                  int64_t (*read)(void *data), void *data)
{
    return metrics_get(self, METRIC_GAUGE, name, help, labels, read, data);
}

struct metric *metrics_counter_read(struct metrics *self, const char *name, const char *help, const char *labels,
                                    int64_t (*read)(void *data), void *data)
{
    return metrics_get(self, METRIC_COUNTER, name, help, labels, read, data);
}

void metrics_remove_read(struct metrics *self, struct metric *metric)
{
    (void)pthread_mutex_lock(&self->lock);
    metric->read = NULL;
    (void)pthread_mutex_unlock(&self->lock);
}

void metric_add(struct metric *metric, uint64_t n)
{
    (void)atomic_fetch_add_explicit(&metric->value, (int_fast64_t)n, memory_order_relaxed);
}

void metric_sub(struct metric *metric, uint64_t n)
{
    (void)atomic_fetch_sub_explicit(&metric->value, (int_fast64_t)n, memory_order_relaxed);
}

void metric_set(struct metric *metric, int64_t value)
{
    atomic_store_explicit(&metric->value, value, memory_order_relaxed);
}

void metric_observe_ns(struct metric *metric, uint64_t duration_ns)
{
    size_t index = 0;
    while (index < METRICS_BUCKETS && duration_ns > bounds[index].ns) {
        index++;
    }
    (void)atomic_fetch_add_explicit(&metric->buckets[index], 1, memory_order_relaxed);
    metric_add(metric, duration_ns);
}

int64_t metric_value(const struct metric *metric)
{
    if (metric->kind != METRIC_HISTOGRAM) {
        return atomic_load_explicit(&metric->value, memory_order_relaxed);
    }
    uint64_t count = 0;
    for (size_t i = 0; i <= METRICS_BUCKETS; i++) {
        count += atomic_load_explicit(&metric->buckets[i], memory_order_relaxed);
    }
    return (int64_t)count;
}

size_t metrics_label(char *target, size_t target_bytes, const char *name, const char *value)
{
    size_t used = strlen(name);
    if (used + 4 > target_bytes) {
        return 0;
    }
    memcpy(target, name, used);
    target[used++] = '=';
    target[used++] = '"';
    for (; *value != '\0'; value++) {
        bool escaped = *value == '"' || *value == '\\' || *value == '\n';
        if (used + (escaped ? 2u : 1u) + 2u > target_bytes) {
            return 0;
        }
        if (escaped) {
            target[used++] = '\\';
        }
        target[used++] = *value == '\n' ? 'n' : *value;
    }
    target[used++] = '"';
    target[used] = '\0';
    return used;
}

/* ---- export ---- */

struct export {
    char *text;
    size_t len;
    size_t capacity;
};

static void export_line(struct export *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void export_line(struct export *out, const char *format, ...)
{
    for (;;) {
        va_list args;
        va_start(args, format);
        int n = vsnprintf(out->text + out->len, out->capacity - out->len, format, args);
        va_end(args);
        ASSERT(n >= 0);
        if ((size_t)n < out->capacity - out->len) {
            out->len += (size_t)n;
            return;
        }
        out->capacity = out->capacity * 2 + (size_t)n;
        out->text = mem_realloc(out->text, out->capacity);
    }
}

static void export_histogram(struct export *out, const struct metric *metric)
{
    const char *comma = metric->labels[0] != '\0' ? "," : "";
    uint64_t count = 0;
    for (size_t i = 0; i <= METRICS_BUCKETS; i++) {
        count += atomic_load_explicit(&metric->buckets[i], memory_order_relaxed);
        export_line(out, "%s_bucket{%s%sle=\"%s\"} %" PRIu64 "\n", metric->name, metric->labels, comma,
                    i < METRICS_BUCKETS ? bounds[i].text : "+Inf", count);
    }
    const char *open = metric->labels[0] != '\0' ? "{" : "";
    const char *close = metric->labels[0] != '\0' ? "}" : "";
    int64_t sum_ns = atomic_load_explicit(&metric->value, memory_order_relaxed);
    export_line(out, "%s_sum%s%s%s %" PRId64 ".%09" PRId64 "\n", metric->name, open, metric->labels, close,
                sum_ns / 1000000000, sum_ns % 1000000000);
    export_line(out, "%s_count%s%s%s %" PRIu64 "\n", metric->name, open, metric->labels, close, count);
}

static void export_metric(struct export *out, const struct metric *metric)
{
    if (metric->kind == METRIC_HISTOGRAM) {
        export_histogram(out, metric);
        return;
    }
    if (metric->is_read && metric->read == NULL) {
        return;
    }
    int64_t value = metric->is_read ? metric->read(metric->data) : metric_value(metric);
    if (metric->labels[0] != '\0') {
        export_line(out, "%s{%s} %" PRId64 "\n", metric->name, metric->labels, value);
    } else {
        export_line(out, "%s %" PRId64 "\n", metric->name, value);
    }
}

static int metric_order(const void *left, const void *right)
{
    const struct metric *a = *(struct metric *const *)left;
    const struct metric *b = *(struct metric *const *)right;
    int order = strcmp(a->name, b->name);
    return order != 0 ? order : strcmp(a->labels, b->labels);
}

static struct metric **metrics_sorted(struct metrics *self)
{
    struct metric **sorted = mem_alloc((self->count + 1) * sizeof(struct metric *));
    size_t at = 0;
    for (struct metric *metric = self->first; metric != NULL; metric = metric->next) {
        sorted[at++] = metric;
    }
    qsort(sorted, self->count, sizeof(struct metric *), metric_order);
    return sorted;
}

char *metrics_export(struct metrics *self, size_t *ret_len)
{
    static const char *const kinds[] = { "counter", "gauge", "histogram" };
    struct export out = { mem_alloc(4096), 0, 4096 };
    out.text[0] = '\0';
    (void)pthread_mutex_lock(&self->lock);
    struct metric **sorted = metrics_sorted(self);
    for (size_t i = 0; i < self->count; i++) {
        if (i == 0 || strcmp(sorted[i]->name, sorted[i - 1]->name) != 0) {
            export_line(&out, "# HELP %s %s\n# TYPE %s %s\n", sorted[i]->name, sorted[i]->help, sorted[i]->name,
                        kinds[sorted[i]->kind]);
        }
        export_metric(&out, sorted[i]);
    }
    (void)pthread_mutex_unlock(&self->lock);
    mem_free(sorted);
    *ret_len = out.len;
    return out.text;
}
