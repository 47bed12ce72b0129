#include "tools/bench/bench_response.h"

#include "common/base/assert.h"

#include <stdlib.h>
#include <strings.h>

void bench_response_init(struct bench_response *response, const struct bench_request *request,
                         const struct bench_body *verify)
{
    response->state = RESPONSE_HEAD;
    response->request = request;
    response->verify = verify;
    response->status = 0;
    response->close = false;
    response->mismatch = false;
    response->left = 0;
    response->body_bytes = 0;
    response->keys = 0;
    response->key_matched = 0;
    response->head_len = 0;
    response->error_len = 0;
    response->error[0] = '\0';
}

/* The value of a header in a terminated head, or NULL; up to its CRLF. */
static const char *head_value(const char *head, const char *name)
{
    size_t len = strlen(name);
    for (const char *line = strstr(head, "\r\n"); line != NULL; line = strstr(line + 2, "\r\n")) {
        if (strncasecmp(line + 2, name, len) == 0 && line[2 + len] == ':') {
            const char *value = line + 3 + len;
            return value + strspn(value, " \t");
        }
    }
    return NULL;
}

static enum errc head_parse(struct bench_response *response)
{
    const char *head = response->head;
    if (strncmp(head, "HTTP/1.1 ", 9) != 0) {
        return ERRC_CORRUPT;
    }
    response->status = (unsigned)strtoul(head + 9, NULL, 10);
    if (response->status < 100 || response->status > 599) {
        return ERRC_CORRUPT;
    }
    if (response->status < 200) {
        response->head_len = 0; /* interim: the real head follows */
        return ERRC_OK;
    }
    const char *connection = head_value(head, "connection");
    const char *coding = head_value(head, "transfer-encoding");
    const char *length = head_value(head, "content-length");
    response->close = connection != NULL && strncasecmp(connection, "close", 5) == 0;
    response->head_len = 0;
    if (response->request->op == BENCH_STAT || response->status == 204 || response->status == 304) {
        response->state = RESPONSE_DONE;
    } else if (coding != NULL) {
        response->state = RESPONSE_CHUNK_SIZE;
    } else if (length != NULL) {
        response->left = strtoull(length, NULL, 10);
        response->state = response->left > 0 ? RESPONSE_LENGTH : RESPONSE_DONE;
    } else {
        return ERRC_CORRUPT; /* a body up to the end of the connection: not what an S3 server sends */
    }
    return ERRC_OK;
}

static void keys_count(struct bench_response *response, struct slice bytes)
{
    static const char pattern[] = "<Key>";
    for (size_t i = 0; i < bytes.len; i++) {
        char c = (char)bytes.data[i];
        /* '<' stands only at the pattern's beginning, so a mismatch falls back to 0 or 1. */
        response->key_matched = c == pattern[response->key_matched] ? response->key_matched + 1 : c == '<';
        if (response->key_matched == sizeof(pattern) - 1) {
            response->keys++;
            response->key_matched = 0;
        }
    }
}

static void body_compare(struct bench_response *response, struct slice bytes)
{
    uint64_t offset = response->body_bytes;
    while (bytes.len > 0) {
        struct slice window = bench_body_window(response->verify, response->request->object, offset, bytes.len);
        if (memcmp(window.data, bytes.data, window.len) != 0) {
            response->mismatch = true;
            return;
        }
        offset += window.len;
        bytes = slice_skip(bytes, window.len);
    }
}

static void body_take(struct bench_response *response, struct slice bytes)
{
    if (response->status >= 400) {
        size_t room = BENCH_ERROR_BYTES - response->error_len;
        size_t len = bytes.len < room ? bytes.len : room;
        memcpy(response->error + response->error_len, bytes.data, len);
        response->error_len += len;
        response->error[response->error_len] = '\0';
    } else if (response->request->op == BENCH_LIST) {
        keys_count(response, bytes);
    } else if (response->request->op == BENCH_GET && response->verify != NULL) {
        body_compare(response, bytes);
    }
    response->body_bytes += bytes.len;
}

/* Collects a line, without its LF, in `head`. *ret_whole: the line is complete and terminated. */
static enum errc line_take(struct bench_response *response, struct slice bytes, size_t *ret_used, bool *ret_whole)
{
    const uint8_t *end = memchr(bytes.data, '\n', bytes.len);
    size_t len = end != NULL ? (size_t)(end - bytes.data) : bytes.len;
    if (response->head_len + len >= BENCH_RESPONSE_HEAD_BYTES) {
        return ERRC_CORRUPT;
    }
    memcpy(response->head + response->head_len, bytes.data, len);
    response->head_len += len;
    *ret_whole = end != NULL;
    *ret_used = len + (end != NULL);
    if (end != NULL) {
        if (response->head_len > 0 && response->head[response->head_len - 1] == '\r') {
            response->head_len--;
        }
        response->head[response->head_len] = '\0';
    }
    return ERRC_OK;
}

static enum errc chunk_line(struct bench_response *response, struct slice bytes, size_t *ret_used)
{
    bool whole = false;
    enum errc rc = line_take(response, bytes, ret_used, &whole);
    if (rc != ERRC_OK || !whole) {
        return rc;
    }
    size_t len = response->head_len;
    response->head_len = 0;
    if (response->state == RESPONSE_TRAILER) {
        response->state = len == 0 ? RESPONSE_DONE : RESPONSE_TRAILER;
    } else if (len > 0) { /* empty: the CRLF after a chunk */
        char *end = NULL;
        response->left = strtoull(response->head, &end, 16);
        if (end == response->head) {
            return ERRC_CORRUPT;
        }
        response->state = response->left > 0 ? RESPONSE_CHUNK_DATA : RESPONSE_TRAILER;
    }
    return ERRC_OK;
}

static enum errc head_take(struct bench_response *response, struct slice bytes, size_t *ret_used)
{
    size_t before = response->head_len;
    size_t room = BENCH_RESPONSE_HEAD_BYTES - 1 - before;
    size_t len = bytes.len < room ? bytes.len : room;
    memcpy(response->head + before, bytes.data, len);
    response->head[before + len] = '\0';
    const char *end = strstr(response->head + (before > 3 ? before - 3 : 0), "\r\n\r\n");
    if (end == NULL) {
        response->head_len = before + len;
        *ret_used = len;
        return len < bytes.len ? ERRC_CORRUPT : ERRC_OK;
    }
    size_t head_len = (size_t)(end - response->head) + 4;
    response->head[head_len - 2] = '\0'; /* keeps the CRLF of the last line */
    *ret_used = head_len - before;
    return head_parse(response);
}

enum errc bench_response_feed(struct bench_response *response, struct slice bytes, size_t *ret_used)
{
    size_t total = 0;
    while (bytes.len > 0 && response->state != RESPONSE_DONE) {
        size_t used = 0;
        enum errc rc = ERRC_OK;
        if (response->state == RESPONSE_HEAD) {
            rc = head_take(response, bytes, &used);
        } else if (response->state == RESPONSE_LENGTH || response->state == RESPONSE_CHUNK_DATA) {
            used = response->left < bytes.len ? (size_t)response->left : bytes.len;
            body_take(response, slice_of(bytes.data, used));
            response->left -= used;
            if (response->left == 0) {
                response->state = response->state == RESPONSE_LENGTH ? RESPONSE_DONE : RESPONSE_CHUNK_SIZE;
            }
        } else {
            rc = chunk_line(response, bytes, &used);
        }
        if (rc != ERRC_OK) {
            return rc;
        }
        ASSERT(used > 0);
        total += used;
        bytes = slice_skip(bytes, used);
    }
    *ret_used = total;
    return ERRC_OK;
}
