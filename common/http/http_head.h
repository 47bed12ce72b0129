/*
 * http_head - one request head: found, checked, taken apart.
 *
 * Strict where lenient parsers let requests be smuggled: bare LF, folded lines, space before the colon,
 * both framings or two of one, a length that is not plain digits, a transfer coding other than exactly
 * `chunked`, a missing or second Host are all refused. Pure. Results are views of the bytes given.
 */
#ifndef COMMON_HTTP_HEAD_H
#define COMMON_HTTP_HEAD_H

#include "common/base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEAD_HEADERS_MAX 100

struct head_field {
    struct slice name;
    struct slice value; /* without white space around it */
};

struct http_head {
    struct slice method;
    struct slice target;
    unsigned minor_version; /* 0 or 1 */
    struct head_field fields[HEAD_HEADERS_MAX];
    size_t field_count;
    uint64_t content_length; /* 0 without a body and when chunked */
    bool is_chunked;
    bool keeps_alive;
    bool expects_continue;
};

enum head_result {
    HEAD_OK,
    HEAD_INCOMPLETE,
    HEAD_BAD,
    HEAD_BAD_VERSION,
    HEAD_TOO_MANY_FIELDS,
};

/* Looks for the empty line that ends a head. *scanned is where to go on when more bytes have come (0 at
 * first). HEAD_OK: *ret_len bytes are the head; HEAD_BAD: a line end without CR. */
enum head_result http_head_find(struct slice bytes, size_t *scanned, size_t *ret_len);
/* Takes apart a whole head as found above. */
enum head_result http_head_parse(struct slice head, struct http_head *ret_head);

bool http_name_equal(struct slice name, const char *lower); /* without letter case */

#endif
