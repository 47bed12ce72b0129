/*
 * s3_time - the date forms of S3 (S3-SURFACE 1.5), as pure functions of milliseconds since 1970 UTC.
 *
 * Years 1970 to 9999. A second of 60 is read as the first of the next minute: RFC 9110 dates may have a leap second,
 * and this clock has none. Parsing is strict in the shape and lenient only where the RFCs are.
 */
#ifndef GATEWAY_S3_TIME_H
#define GATEWAY_S3_TIME_H

#include "common/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

#define S3_TIME_HTTP_BYTES 30  /* Sun, 06 Nov 1994 08:49:37 GMT */
#define S3_TIME_ISO_BYTES 25   /* 2026-11-23T03:20:00.000Z */
#define S3_TIME_BASIC_BYTES 17 /* 20261123T032000Z */

void s3_time_http(uint64_t wall_ms, char text[S3_TIME_HTTP_BYTES]);
void s3_time_iso(uint64_t wall_ms, char text[S3_TIME_ISO_BYTES]);
void s3_time_basic(uint64_t wall_ms, char text[S3_TIME_BASIC_BYTES]);

/* RFC 1123, RFC 850 (two-digit years: 70-99 are 19xx) or asctime. */
bool s3_time_parse_http(struct slice text, uint64_t *ret_wall_ms);
/* 20261123T032000Z */
bool s3_time_parse_basic(struct slice text, uint64_t *ret_wall_ms);
/* 2026-11-23T03:20:00Z, with an optional fraction of 1 to 9 digits, Z or +hh:mm. */
bool s3_time_parse_iso(struct slice text, uint64_t *ret_wall_ms);

#endif
