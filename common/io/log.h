/*
 * log - one line of key=value fields for each event, to standard error.
 *
 *   LOG_WARN(log_event("disk_fenced"), log_text("path", path), log_error_of(&e));
 *   2026-01-31T12:00:00.123Z level=warn event=disk_fenced path=/srv/d1 error="input/output error: ..."
 *
 * Values are quoted where they need it and escaped, so that a line stays a line. Each call site may write
 * LOG_SITE_LINES_MAX lines a second; the next line after that says how many were suppressed. LOG_ACCESS
 * is not limited.
 * A line that would have to wait for a full pipe is dropped; the next one written says how many were (dropped=).
 * Thread: all functions are safe from any thread; a line is one write().
 */
#ifndef COMMON_IO_LOG_H
#define COMMON_IO_LOG_H

#include "common/base/error.h"
#include "common/base/slice.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOG_LINE_BYTES_MAX 4096   /* longer lines are cut, visibly */
#define LOG_SITE_LINES_MAX 20     /* a second */

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };

enum log_field_kind { LOG_FIELD_SLICE, LOG_FIELD_U64, LOG_FIELD_I64, LOG_FIELD_MICROS };

struct log_field {
    const char *key;
    enum log_field_kind kind;
    struct slice text;
    uint64_t number;
};

/* One call site; lives in the macro. */
struct log_site {
    atomic_uint_fast64_t second; /* in which `lines` were counted */
    atomic_uint_fast32_t lines;
    atomic_uint_fast32_t suppressed;
};

void log_set_level(enum log_level level); /* INFO at first */
void log_set_fd(int fd);                  /* 2 at first; borrowed */
bool log_is_on(enum log_level level);
/* site NULL: no limit of lines */
void log_write(struct log_site *site, enum log_level level, const struct log_field *fields, size_t count);

static inline struct log_field log_slice(const char *key, struct slice text)
{
    return (struct log_field){ key, LOG_FIELD_SLICE, text, 0 };
}
static inline struct log_field log_text(const char *key, const char *text)
{
    return log_slice(key, slice_str(text != NULL ? text : ""));
}
static inline struct log_field log_event(const char *name)
{
    return log_text("event", name);
}
static inline struct log_field log_u64(const char *key, uint64_t number)
{
    return (struct log_field){ key, LOG_FIELD_U64, SLICE_EMPTY, number };
}
static inline struct log_field log_i64(const char *key, int64_t number)
{
    return (struct log_field){ key, LOG_FIELD_I64, SLICE_EMPTY, (uint64_t)number };
}
/* A duration; written in milliseconds with three decimals. */
static inline struct log_field log_ms_of_ns(const char *key, uint64_t duration_ns)
{
    return (struct log_field){ key, LOG_FIELD_MICROS, SLICE_EMPTY, duration_ns / 1000u };
}
static inline struct log_field log_error_of(const struct error *e)
{
    return log_text("error", e->text);
}

#define LOG_AT(level, ...)                                                                            \
    do {                                                                                              \
        static struct log_site log_site_here;                                                         \
        if (log_is_on(level)) {                                                                       \
            const struct log_field log_fields_here[] = { __VA_ARGS__ };                               \
            log_write(&log_site_here, (level), log_fields_here,                                       \
                      sizeof(log_fields_here) / sizeof(log_fields_here[0]));                          \
        }                                                                                             \
    } while (0)
#define LOG_DEBUG(...) LOG_AT(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define LOG_INFO(...) LOG_AT(LOG_LEVEL_INFO, __VA_ARGS__)
#define LOG_WARN(...) LOG_AT(LOG_LEVEL_WARN, __VA_ARGS__)
#define LOG_ERROR(...) LOG_AT(LOG_LEVEL_ERROR, __VA_ARGS__)
#define LOG_ACCESS(...)                                                                               \
    do {                                                                                              \
        const struct log_field log_fields_here[] = { __VA_ARGS__ };                                   \
        log_write(NULL, LOG_LEVEL_INFO, log_fields_here,                                              \
                  sizeof(log_fields_here) / sizeof(log_fields_here[0]));                              \
    } while (0)

#endif
