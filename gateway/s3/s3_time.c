#include "gateway/s3/s3_time.h"

#include <stdio.h>
#include <strings.h>

#define TIME_DAY_MS 86400000ull
#define TIME_YEAR_MAX 9999

static const char time_months[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
static const char time_days[7][4] = { "Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed" }; /* from 1970-01-01 */

struct time_fields {
    unsigned year, month, day, hour, minute, second, ms; /* month and day from 1 */
};

/* Gregorian calendar in eras of 400 years that begin on 1 March. */
static uint64_t time_day_number(unsigned year, unsigned month, unsigned day)
{
    unsigned y = month <= 2 ? year - 1 : year;
    unsigned era = y / 400;
    unsigned of_era = y - era * 400;
    unsigned of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    uint64_t days = (uint64_t)era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    return days - 719468; /* 1970-01-01 */
}

static void time_split(uint64_t wall_ms, struct time_fields *f)
{
    uint64_t days = wall_ms / TIME_DAY_MS;
    uint64_t rest = wall_ms % TIME_DAY_MS;
    uint64_t shifted = days + 719468;
    unsigned era = (unsigned)(shifted / 146097);
    unsigned of_era = (unsigned)(shifted % 146097);
    unsigned year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    unsigned of_year = of_era - (365 * year + year / 4 - year / 100);
    unsigned month = (5 * of_year + 2) / 153;
    f->day = of_year - (153 * month + 2) / 5 + 1;
    f->month = month < 10 ? month + 3 : month - 9;
    f->year = year + era * 400 + (f->month <= 2);
    f->ms = (unsigned)(rest % 1000);
    f->second = (unsigned)(rest / 1000 % 60);
    f->minute = (unsigned)(rest / 60000 % 60);
    f->hour = (unsigned)(rest / 3600000);
    if (f->year > TIME_YEAR_MAX) {
        *f = (struct time_fields){ TIME_YEAR_MAX, 12, 31, 23, 59, 59, 999 };
    }
}

static bool time_join(const struct time_fields *f, uint64_t *ret_wall_ms)
{
    static const unsigned month_days[12] = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool is_leap = f->year % 4 == 0 && (f->year % 100 != 0 || f->year % 400 == 0);
    if (f->year < 1970 || f->year > TIME_YEAR_MAX || f->month < 1 || f->month > 12 || f->day < 1 ||
        f->day > month_days[f->month - 1] || (f->month == 2 && f->day == 29 && !is_leap) ||
        f->hour > 23 || f->minute > 59 || f->second > 60) {
        return false;
    }
    uint64_t seconds = f->hour * 3600u + f->minute * 60u + f->second;
    *ret_wall_ms = time_day_number(f->year, f->month, f->day) * TIME_DAY_MS + seconds * 1000 + f->ms;
    return true;
}

void s3_time_http(uint64_t wall_ms, char text[S3_TIME_HTTP_BYTES])
{
    struct time_fields f;
    time_split(wall_ms, &f);
    (void)snprintf(text, S3_TIME_HTTP_BYTES, "%s, %02u %s %04u %02u:%02u:%02u GMT",
                   time_days[wall_ms / TIME_DAY_MS % 7], f.day, time_months[f.month - 1], f.year, f.hour,
                   f.minute, f.second);
}

void s3_time_iso(uint64_t wall_ms, char text[S3_TIME_ISO_BYTES])
{
    struct time_fields f;
    time_split(wall_ms, &f);
    (void)snprintf(text, S3_TIME_ISO_BYTES, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ", f.year, f.month, f.day,
                   f.hour, f.minute, f.second, f.ms);
}

void s3_time_basic(uint64_t wall_ms, char text[S3_TIME_BASIC_BYTES])
{
    struct time_fields f;
    time_split(wall_ms, &f);
    (void)snprintf(text, S3_TIME_BASIC_BYTES, "%04u%02u%02uT%02u%02u%02uZ", f.year, f.month, f.day, f.hour,
                   f.minute, f.second);
}

/* A cursor over the text; `ok` falls once and stays. */
struct time_scan {
    const char *at;
    size_t left;
    bool ok;
};

static unsigned scan_digits(struct time_scan *scan, size_t count)
{
    unsigned value = 0;
    if (scan->left < count) {
        scan->ok = false;
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        if (scan->at[i] < '0' || scan->at[i] > '9') {
            scan->ok = false;
            return 0;
        }
        value = value * 10 + (unsigned)(scan->at[i] - '0');
    }
    scan->at += count;
    scan->left -= count;
    return value;
}

static void scan_text(struct time_scan *scan, const char *text)
{
    size_t len = strlen(text);
    if (scan->left < len || memcmp(scan->at, text, len) != 0) {
        scan->ok = false;
        return;
    }
    scan->at += len;
    scan->left -= len;
}

static unsigned scan_month(struct time_scan *scan)
{
    for (unsigned i = 0; i < 12 && scan->left >= 3; i++) {
        if (strncasecmp(scan->at, time_months[i], 3) == 0) {
            scan->at += 3;
            scan->left -= 3;
            return i + 1;
        }
    }
    scan->ok = false;
    return 0;
}

static void scan_clock(struct time_scan *scan, struct time_fields *f)
{
    f->hour = scan_digits(scan, 2);
    scan_text(scan, ":");
    f->minute = scan_digits(scan, 2);
    scan_text(scan, ":");
    f->second = scan_digits(scan, 2);
}

/* After the comma: "06 Nov 1994 08:49:37 GMT" or "06-Nov-94 08:49:37 GMT". */
static void scan_rfc(struct time_scan *scan, struct time_fields *f)
{
    f->day = scan_digits(scan, 2);
    bool is_850 = scan->left > 0 && scan->at[0] == '-';
    scan_text(scan, is_850 ? "-" : " ");
    f->month = scan_month(scan);
    scan_text(scan, is_850 ? "-" : " ");
    if (is_850) {
        unsigned year = scan_digits(scan, 2);
        f->year = year + (year >= 70 ? 1900 : 2000);
    } else {
        f->year = scan_digits(scan, 4);
    }
    scan_text(scan, " ");
    scan_clock(scan, f);
    scan_text(scan, " GMT");
}

/* After the day name: "Nov  6 08:49:37 1994". */
static void scan_asctime(struct time_scan *scan, struct time_fields *f)
{
    f->month = scan_month(scan);
    scan_text(scan, " ");
    if (scan->left > 0 && scan->at[0] == ' ') {
        scan_text(scan, " ");
        f->day = scan_digits(scan, 1);
    } else {
        f->day = scan_digits(scan, 2);
    }
    scan_text(scan, " ");
    scan_clock(scan, f);
    scan_text(scan, " ");
    f->year = scan_digits(scan, 4);
}

bool s3_time_parse_http(struct slice text, uint64_t *ret_wall_ms)
{
    struct time_fields f = { 0 };
    struct time_scan scan = { (const char *)text.data, text.len, true };
    size_t name = 0;
    while (name < text.len && ((text.data[name] | 32) >= 'a' && (text.data[name] | 32) <= 'z')) {
        name++;
    }
    if (name < 3 || name > 9 || name + 2 > text.len) {
        return false;
    }
    bool has_comma = text.data[name] == ',';
    scan.at += name;
    scan.left -= name;
    if (has_comma) {
        scan_text(&scan, ", ");
        scan_rfc(&scan, &f);
    } else {
        scan_text(&scan, " ");
        scan_asctime(&scan, &f);
    }
    return scan.ok && scan.left == 0 && time_join(&f, ret_wall_ms);
}

bool s3_time_parse_basic(struct slice text, uint64_t *ret_wall_ms)
{
    struct time_fields f = { 0 };
    struct time_scan scan = { (const char *)text.data, text.len, true };
    f.year = scan_digits(&scan, 4);
    f.month = scan_digits(&scan, 2);
    f.day = scan_digits(&scan, 2);
    scan_text(&scan, "T");
    f.hour = scan_digits(&scan, 2);
    f.minute = scan_digits(&scan, 2);
    f.second = scan_digits(&scan, 2);
    scan_text(&scan, "Z");
    return scan.ok && scan.left == 0 && time_join(&f, ret_wall_ms);
}

/* One to nine digits of a fraction; further than milliseconds is cut. */
static void scan_fraction(struct time_scan *scan, struct time_fields *f)
{
    unsigned scale = 100;
    size_t digits = 0;
    scan_text(scan, ".");
    while (scan->left > 0 && scan->at[0] >= '0' && scan->at[0] <= '9' && digits < 9) {
        f->ms += scan_digits(scan, 1) * scale;
        scale /= 10;
        digits++;
    }
    scan->ok = scan->ok && digits > 0;
}

bool s3_time_parse_iso(struct slice text, uint64_t *ret_wall_ms)
{
    struct time_fields f = { 0 };
    struct time_scan scan = { (const char *)text.data, text.len, true };
    f.year = scan_digits(&scan, 4);
    scan_text(&scan, "-");
    f.month = scan_digits(&scan, 2);
    scan_text(&scan, "-");
    f.day = scan_digits(&scan, 2);
    scan_text(&scan, "T");
    scan_clock(&scan, &f);
    if (scan.left > 0 && scan.at[0] == '.') {
        scan_fraction(&scan, &f);
    }
    uint64_t offset_ms = 0;
    bool is_east = scan.left > 0 && scan.at[0] == '+';
    if (scan.left > 0 && scan.at[0] == 'Z') {
        scan_text(&scan, "Z");
    } else {
        scan_text(&scan, is_east ? "+" : "-");
        offset_ms = scan_digits(&scan, 2) * 3600000ull;
        scan_text(&scan, ":");
        offset_ms += scan_digits(&scan, 2) * 60000ull;
    }
    uint64_t wall_ms = 0;
    if (!scan.ok || scan.left != 0 || !time_join(&f, &wall_ms) || (is_east && wall_ms < offset_ms)) {
        return false;
    }
    *ret_wall_ms = is_east ? wall_ms - offset_ms : wall_ms + offset_ms;
    return true;
}
