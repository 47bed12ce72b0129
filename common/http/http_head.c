#include "common/http/http_head.h"

#include "common/base/assert.h"

#define METHOD_BYTES_MAX 32
#define PARSED_MAX (HEAD_HEADERS_MAX + 1) /* one more, to tell "too many" from "malformed" */

/* libh2o exports its parser without a header for it. */
struct phr_header {
    const char *name; /* NULL: a folded line */
    size_t name_len;
    const char *value;
    size_t value_len;
};
int phr_parse_request(const char *bytes, size_t len, const char **method, size_t *method_len, const char **path,
                      size_t *path_len, int *minor_version, struct phr_header *headers, size_t *num_headers,
                      size_t last_len);

enum head_result http_head_find(struct slice bytes, size_t *scanned, size_t *ret_len)
{
    while (*scanned < bytes.len) {
        const uint8_t *at = memchr(bytes.data + *scanned, '\n', bytes.len - *scanned);
        if (at == NULL) {
            *scanned = bytes.len;
            break;
        }
        size_t index = (size_t)(at - bytes.data);
        if (index == 0 || bytes.data[index - 1] != '\r') {
            return HEAD_BAD;
        }
        *scanned = index + 1;
        if (index >= 3 && bytes.data[index - 2] == '\n') {
            *ret_len = index + 1;
            return HEAD_OK;
        }
    }
    return HEAD_INCOMPLETE;
}

static uint8_t lower_of(uint8_t byte)
{
    return byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte | 0x20) : byte;
}

static bool text_equal(struct slice text, const char *lower, size_t lower_len)
{
    if (text.len != lower_len) {
        return false;
    }
    for (size_t i = 0; i < lower_len; i++) {
        if (lower_of(text.data[i]) != (uint8_t)lower[i]) {
            return false;
        }
    }
    return true;
}

bool http_name_equal(struct slice name, const char *lower)
{
    return text_equal(name, lower, strlen(lower));
}

static bool is_token_byte(uint8_t byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') ||
           (byte != '\0' && strchr("!#$%&'*+-.^_`|~", byte) != NULL);
}

static bool is_token(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (!is_token_byte(text.data[i])) {
            return false;
        }
    }
    return text.len > 0;
}

/* Bytes above 0x7f pass: clients send UTF-8 keys bare, and the layer above decides about them. */
static bool is_target(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] <= ' ' || text.data[i] == 0x7f) {
            return false;
        }
    }
    return text.len > 0;
}

static bool is_value(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if ((text.data[i] < ' ' && text.data[i] != '\t') || text.data[i] == 0x7f) {
            return false;
        }
    }
    return true;
}

static bool is_host(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t byte = lower_of(text.data[i]);
        bool plain = (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z');
        if (!plain && (byte == '\0' || strchr("-._~:[]", byte) == NULL)) {
            return false;
        }
    }
    return text.len > 0;
}

static struct slice trimmed(const char *text, size_t len)
{
    while (len > 0 && (text[0] == ' ' || text[0] == '\t')) {
        text++;
        len--;
    }
    while (len > 0 && (text[len - 1] == ' ' || text[len - 1] == '\t')) {
        len--;
    }
    return slice_of(text, len);
}

static bool parse_length(struct slice text, uint64_t *ret_length)
{
    uint64_t value = 0;
    if (text.len == 0 || text.len > 18) { /* 18 digits: below 2^63 */
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        value = value * 10 + (uint64_t)(text.data[i] - '0');
    }
    *ret_length = value;
    return true;
}

static bool list_has(struct slice list, const char *lower)
{
    size_t begin = 0;
    for (size_t i = 0; i <= list.len; i++) {
        if (i == list.len || list.data[i] == ',') {
            if (http_name_equal(trimmed((const char *)list.data + begin, i - begin), lower)) {
                return true;
            }
            begin = i + 1;
        }
    }
    return false;
}

/* What the fields say about the framing, while they are read. */
struct head_seen {
    unsigned hosts;
    unsigned lengths;
    unsigned codings;
};

static bool check_field(struct http_head *head, struct head_seen *seen, const struct head_field *field)
{
    struct slice value = field->value;
    switch (field->name.len) {
    case 4:
        if (http_name_equal(field->name, "host")) {
            seen->hosts++;
            return is_host(value);
        }
        return true;
    case 6:
        if (http_name_equal(field->name, "expect")) {
            head->expects_continue = true;
            return http_name_equal(value, "100-continue");
        }
        return true;
    case 10:
        if (http_name_equal(field->name, "connection")) {
            if (list_has(value, "close")) {
                head->keeps_alive = false;
            } else if (head->minor_version == 0 && list_has(value, "keep-alive")) {
                head->keeps_alive = true;
            }
        }
        return true;
    case 14:
        if (http_name_equal(field->name, "content-length")) {
            seen->lengths++;
            return parse_length(value, &head->content_length);
        }
        return true;
    case 17:
        if (http_name_equal(field->name, "transfer-encoding")) {
            seen->codings++;
            head->is_chunked = true;
            return slice_equal_str(value, "chunked"); /* exactly: no list, no other letter case */
        }
        return true;
    default:
        return true;
    }
}

static enum head_result check_fields(struct http_head *head, const struct phr_header *headers, size_t count)
{
    struct head_seen seen = { 0, 0, 0 };
    head->field_count = count;
    head->keeps_alive = head->minor_version == 1;
    for (size_t i = 0; i < count; i++) {
        struct head_field *field = &head->fields[i];
        if (headers[i].name == NULL) {
            return HEAD_BAD; /* a folded line */
        }
        field->name = slice_of(headers[i].name, headers[i].name_len);
        field->value = trimmed(headers[i].value, headers[i].value_len);
        if (!is_token(field->name) || !is_value(field->value) || !check_field(head, &seen, field)) {
            return HEAD_BAD;
        }
    }
    if (seen.hosts > 1 || (head->minor_version == 1 && seen.hosts == 0)) {
        return HEAD_BAD;
    }
    if (seen.lengths + seen.codings > 1 || (head->is_chunked && head->minor_version == 0)) {
        return HEAD_BAD;
    }
    /* Also without a body: a client of botocore's that gets a final answer to Expect where 100 would have been
     * sent misreads the next answer of the connection. */
    head->expects_continue = head->expects_continue && head->minor_version == 1;
    return HEAD_OK;
}

/* "METHOD TARGET HTTP/d.d" of a version that is not ours, for the right answer to it. */
static bool is_other_version(struct slice head)
{
    const uint8_t *end = memchr(head.data, '\r', head.len);
    size_t len = end == NULL ? 0 : (size_t)(end - head.data);
    if (len < 9 || memcmp(end - 9, " HTTP/", 6) != 0) {
        return false;
    }
    const uint8_t *version = end - 3;
    return version[0] >= '0' && version[0] <= '9' && version[1] == '.' && version[2] >= '0' && version[2] <= '9' &&
           !(version[0] == '1' && version[2] <= '1');
}

static size_t field_lines(struct slice head)
{
    size_t lines = 0;
    for (size_t i = 0; i < head.len; i++) {
        lines += head.data[i] == '\n';
    }
    return lines - 2; /* the request line and the empty one */
}

enum head_result http_head_parse(struct slice head, struct http_head *ret_head)
{
    if (head.len < 4 || !is_token_byte(head.data[0])) {
        return HEAD_BAD; /* the parser would skip an empty line in front */
    }
    if (field_lines(head) > HEAD_HEADERS_MAX) {
        return HEAD_TOO_MANY_FIELDS;
    }
    struct phr_header headers[PARSED_MAX];
    size_t count = PARSED_MAX;
    const char *method;
    const char *target;
    size_t method_len;
    size_t target_len;
    int minor;
    int n = phr_parse_request((const char *)head.data, head.len, &method, &method_len, &target, &target_len, &minor,
                              headers, &count, 0);
    if (n < 0 || (size_t)n != head.len || minor < 0 || minor > 1) {
        return is_other_version(head) ? HEAD_BAD_VERSION : HEAD_BAD;
    }
    ASSERT(count <= HEAD_HEADERS_MAX);
    ret_head->method = slice_of(method, method_len);
    ret_head->target = slice_of(target, target_len);
    ret_head->minor_version = (unsigned)minor;
    ret_head->content_length = 0;
    ret_head->is_chunked = ret_head->expects_continue = false;
    if (method_len > METHOD_BYTES_MAX || !is_token(ret_head->method) || !is_target(ret_head->target)) {
        return HEAD_BAD;
    }
    return check_fields(ret_head, headers, count);
}
