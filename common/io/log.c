#include "common/io/log.h"

#include "common/io/log_recent.h"

#include "common/base/assert.h"

#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define LOG_TAIL "...\n" /* of a line that was cut */

struct log_line {
    size_t len;
    bool is_cut;
    char text[LOG_LINE_BYTES_MAX];
};

static atomic_int log_fd = 2;
static atomic_int log_level = LOG_LEVEL_INFO;
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER; /* from the look at the descriptor to the end of the write */
static uint64_t log_dropped;                                 /* lines since the last one written; under the lock */
STATIC_ASSERT(LOG_LINE_BYTES_MAX <= PIPE_BUF, "a pipe that polls as writable takes this much");

void log_set_level(enum log_level level)
{
    atomic_store(&log_level, (int)level);
}

void log_set_fd(int fd)
{
    atomic_store(&log_fd, fd);
}

bool log_is_on(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&log_level, memory_order_relaxed);
}

static void line_add(struct log_line *line, const char *text, size_t len)
{
    size_t room = sizeof(line->text) - sizeof(LOG_TAIL) - line->len;
    if (len > room) {
        line->is_cut = true;
        return; /* whole pieces only: an escape is never cut in two */
    }
    memcpy(line->text + line->len, text, len);
    line->len += len;
}

static void line_add_text(struct log_line *line, const char *text)
{
    line_add(line, text, strlen(text));
}

static bool needs_quotes(struct slice value)
{
    for (size_t i = 0; i < value.len; i++) {
        uint8_t byte = value.data[i];
        if (byte <= ' ' || byte >= 0x7f || byte == '"' || byte == '=' || byte == '\\') {
            return true;
        }
    }
    return value.len == 0;
}

static void line_add_escaped(struct log_line *line, struct slice value)
{
    line_add(line, "\"", 1);
    for (size_t i = 0; i < value.len && !line->is_cut; i++) {
        uint8_t byte = value.data[i];
        char escape[8];
        if (byte == '"' || byte == '\\') {
            escape[0] = '\\';
            escape[1] = (char)byte;
            line_add(line, escape, 2);
        } else if (byte < ' ' || byte >= 0x7f) {
            (void)snprintf(escape, sizeof(escape), "\\x%02x", byte);
            line_add(line, escape, 4);
        } else {
            line_add(line, (const char *)&value.data[i], 1);
        }
    }
    line_add(line, "\"", 1);
}

static void line_add_field(struct log_line *line, const struct log_field *field)
{
    char number[40];
    line_add(line, " ", 1);
    line_add_text(line, field->key);
    line_add(line, "=", 1);
    switch (field->kind) {
    case LOG_FIELD_SLICE:
        if (needs_quotes(field->text)) {
            line_add_escaped(line, field->text);
        } else {
            line_add(line, (const char *)field->text.data, field->text.len);
        }
        return;
    case LOG_FIELD_U64:
        (void)snprintf(number, sizeof(number), "%llu", (unsigned long long)field->number);
        break;
    case LOG_FIELD_I64:
        (void)snprintf(number, sizeof(number), "%lld", (long long)field->number);
        break;
    case LOG_FIELD_MICROS:
        (void)snprintf(number, sizeof(number), "%llu.%03u", (unsigned long long)(field->number / 1000u),
                       (unsigned)(field->number % 1000u));
        break;
    }
    line_add_text(line, number);
}

static void line_begin(struct log_line *line, enum log_level level)
{
    static const char *const names[] = { "debug", "info", "warn", "error" };
    struct timespec now;
    struct tm utc;
    char stamp[80];
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &utc);
    (void)snprintf(stamp, sizeof(stamp), "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ level=%s", utc.tm_year + 1900,
                   utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, now.tv_nsec / 1000000,
                   names[level]);
    line->len = 0;
    line->is_cut = false;
    line_add_text(line, stamp);
}

/* False: the site has had its lines of this second. Else *ret_suppressed counts those left out before. */
static bool site_admits(struct log_site *site, uint32_t *ret_suppressed)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    uint_fast64_t second = (uint_fast64_t)now.tv_sec + 1;
    uint_fast64_t seen = atomic_load(&site->second);
    if (seen != second && atomic_compare_exchange_strong(&site->second, &seen, second)) {
        atomic_store(&site->lines, 0);
    }
    if (atomic_fetch_add(&site->lines, 1) >= LOG_SITE_LINES_MAX) {
        (void)atomic_fetch_add(&site->suppressed, 1);
        return false;
    }
    *ret_suppressed = (uint32_t)atomic_exchange(&site->suppressed, 0);
    return true;
}

/* Would a write wait? A reader that is gone or a bad descriptor would not. */
static bool fd_is_stalled(int fd)
{
    struct pollfd look = { .fd = fd, .events = POLLOUT };
    return poll(&look, 1, 0) == 0;
}

/*
 * Whoever reads standard error must not stop the server by not reading: what would have to wait is dropped and counted. The
 * descriptor may be shared with other programs, so it is not made non-blocking; another program that fills the same pipe
 * between the look and the write can still make this one wait.
 */
static void line_emit(struct log_line *line)
{
    int fd = atomic_load(&log_fd);
    (void)pthread_mutex_lock(&log_lock);
    if (fd_is_stalled(fd)) {
        log_dropped++;
        (void)pthread_mutex_unlock(&log_lock);
        return;
    }
    if (log_dropped > 0 && !line->is_cut) {
        struct log_field field = log_u64("dropped", log_dropped);
        line_add_field(line, &field);
        log_dropped = line->is_cut ? log_dropped : 0; /* else the next line says it */
    }
    const char *tail = line->is_cut ? LOG_TAIL : "\n";
    memcpy(line->text + line->len, tail, strlen(tail));
    line->len += strlen(tail);
    ssize_t n = write(fd, line->text, line->len);
    (void)n; /* nowhere to complain */
    (void)pthread_mutex_unlock(&log_lock);
}

void log_write(struct log_site *site, enum log_level level, const struct log_field *fields, size_t count)
{
    uint32_t suppressed = 0;
    if (!log_is_on(level) || (site != NULL && !site_admits(site, &suppressed))) {
        return;
    }
    struct log_line line;
    line_begin(&line, level);
    for (size_t i = 0; i < count; i++) {
        line_add_field(&line, &fields[i]);
    }
    if (suppressed > 0) {
        struct log_field field = log_u64("suppressed", suppressed);
        line_add_field(&line, &field);
    }
    if (site != NULL) {
        log_recent_keep(line.text, line.len);
    }
    line_emit(&line);
}
