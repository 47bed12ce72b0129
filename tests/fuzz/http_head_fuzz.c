/*
 * http_head_fuzz - request heads and chunked bodies from any bytes.
 *
 * The first byte says how the rest is cut. Checked: results lie inside the input, a head that passes has
 * one framing, cuts do not change the outcome.
 */
#include "common/base/assert.h"
#include "common/http/http_chunk.h"
#include "common/http/http_head.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void check_inside(struct slice part, struct slice whole)
{
    ASSERT(part.len == 0 || (part.data >= whole.data && part.data + part.len <= whole.data + whole.len));
}

static void check_head(struct slice head)
{
    static struct http_head parsed;
    if (http_head_parse(head, &parsed) != HEAD_OK) {
        return;
    }
    unsigned framings = 0;
    check_inside(parsed.method, head);
    check_inside(parsed.target, head);
    ASSERT(parsed.method.len > 0 && parsed.target.len > 0);
    ASSERT(parsed.field_count <= HEAD_HEADERS_MAX);
    for (size_t i = 0; i < parsed.field_count; i++) {
        check_inside(parsed.fields[i].name, head);
        check_inside(parsed.fields[i].value, head);
        framings += http_name_equal(parsed.fields[i].name, "content-length");
        framings += http_name_equal(parsed.fields[i].name, "transfer-encoding");
        ASSERT(memchr(parsed.fields[i].value.data, '\n', parsed.fields[i].value.len) == NULL);
    }
    ASSERT(framings <= 1);
    ASSERT(!(parsed.is_chunked && parsed.minor_version == 0));
}

/* Finds the head as a connection does, `step` bytes at a time. */
static enum head_result find_head(struct slice bytes, size_t step, size_t *ret_len)
{
    size_t scanned = 0;
    enum head_result result = HEAD_INCOMPLETE;
    for (size_t end = 0; end < bytes.len && result == HEAD_INCOMPLETE;) {
        end = bytes.len - end < step ? bytes.len : end + step;
        result = http_head_find(slice_of(bytes.data, end), &scanned, ret_len);
        ASSERT(scanned <= end);
    }
    return result;
}

static enum chunk_result decode(struct slice bytes, size_t step, uint64_t *ret_data)
{
    struct http_chunk chunk = { 0 };
    enum chunk_result result = CHUNK_MORE;
    size_t at = 0;
    *ret_data = 0;
    for (size_t end = 0; end < bytes.len && result == CHUNK_MORE;) {
        end = bytes.len - end < step ? bytes.len : end + step;
        do {
            size_t used = 0;
            struct slice data;
            struct slice rest = slice_of(bytes.data + at, end - at);
            result = http_chunk_next(&chunk, rest, &used, &data);
            ASSERT(used <= rest.len || result == CHUNK_BAD);
            check_inside(data, rest);
            at += result == CHUNK_BAD ? 0 : used;
            *ret_data += data.len;
        } while (result == CHUNK_DATA);
    }
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    if (len < 2 || len > 65536) {
        return 0;
    }
    size_t step = (size_t)bytes[0] % 64 + 1;
    struct slice rest = slice_of(bytes + 1, len - 1);
    size_t whole_len = 0;
    size_t cut_len = 0;
    enum head_result whole = find_head(rest, rest.len, &whole_len);
    ASSERT(find_head(rest, step, &cut_len) == whole);
    if (whole == HEAD_OK) {
        ASSERT(whole_len == cut_len);
        check_head(slice_of(rest.data, whole_len));
        rest = slice_skip(rest, whole_len);
    }
    uint64_t whole_data;
    uint64_t cut_data;
    ASSERT(decode(rest, rest.len + 1, &whole_data) == decode(rest, step, &cut_data));
    ASSERT(whole_data == cut_data);
    return 0;
}
