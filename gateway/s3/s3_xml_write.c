#include "gateway/s3/s3_xml_write.h"

#include "gateway/s3/s3_time.h"
#include "gateway/s3/s3_uri.h"

#include <inttypes.h>
#include <stdio.h>

#define XML_REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD */

void s3_xml_raw(struct enc *out, const char *text)
{
    enc_raw(out, text, strlen(text));
}

/* Length of the character at `at`, 0 when it is not UTF-8 that XML 1.0 may carry. */
static size_t xml_character(const uint8_t *at, size_t left)
{
    if (at[0] < 0x80) {
        return at[0] >= 0x20 || at[0] == '\t' || at[0] == '\n' || at[0] == '\r' ? 1 : 0;
    }
    size_t len = at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;
    if (len > left || !s3_utf8_valid(slice_of(at, len))) {
        return 0;
    }
    bool is_noncharacter = len == 3 && at[0] == 0xef && at[1] == 0xbf && at[2] >= 0xbe;
    return is_noncharacter ? 0 : len;
}

static const char *xml_escape(uint8_t c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\r':
        return "&#13;"; /* a parser would turn the bare one into LF */
    default:
        return NULL;
    }
}

void s3_xml_text(struct enc *out, struct slice text)
{
    size_t run = 0; /* start of bytes that go out as they are */
    size_t i = 0;
    while (i < text.len) {
        size_t len = xml_character(text.data + i, text.len - i);
        const char *escape = len == 0 ? XML_REPLACEMENT : xml_escape(text.data[i]);
        if (escape != NULL) {
            enc_raw(out, text.data + run, i - run);
            s3_xml_raw(out, escape);
            i += len > 0 ? len : 1;
            run = i;
        } else {
            i += len;
        }
    }
    if (i > run) {
        enc_raw(out, text.data + run, i - run);
    }
}

void s3_xml_root(struct enc *out, const char *name)
{
    s3_xml_raw(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<");
    s3_xml_raw(out, name);
    s3_xml_raw(out, " xmlns=\"" S3_XML_NAMESPACE "\">");
}

void s3_xml_open(struct enc *out, const char *name)
{
    s3_xml_raw(out, "<");
    s3_xml_raw(out, name);
    s3_xml_raw(out, ">");
}

void s3_xml_close(struct enc *out, const char *name)
{
    s3_xml_raw(out, "</");
    s3_xml_raw(out, name);
    s3_xml_raw(out, ">");
}

void s3_xml_element(struct enc *out, const char *name, struct slice text)
{
    s3_xml_open(out, name);
    s3_xml_text(out, text);
    s3_xml_close(out, name);
}

void s3_xml_element_str(struct enc *out, const char *name, const char *text)
{
    s3_xml_element(out, name, slice_str(text));
}

void s3_xml_element_u64(struct enc *out, const char *name, uint64_t value)
{
    char text[24];
    (void)snprintf(text, sizeof(text), "%" PRIu64, value); /* 20 digits at most */
    s3_xml_element_str(out, name, text);
}

void s3_xml_element_bool(struct enc *out, const char *name, bool value)
{
    s3_xml_element_str(out, name, value ? "true" : "false");
}

void s3_xml_element_time(struct enc *out, const char *name, uint64_t wall_ms)
{
    char text[S3_TIME_ISO_BYTES];
    s3_time_iso(wall_ms, text);
    s3_xml_element_str(out, name, text);
}

void s3_xml_element_etag(struct enc *out, const char *name, struct slice bare_etag)
{
    s3_xml_open(out, name);
    s3_xml_raw(out, "&quot;");
    s3_xml_text(out, bare_etag);
    s3_xml_raw(out, "&quot;");
    s3_xml_close(out, name);
}

void s3_xml_element_key(struct enc *out, const char *name, struct slice key, bool url)
{
    s3_xml_open(out, name);
    if (url) {
        s3_uri_encode(out, key, true);
    } else {
        s3_xml_text(out, key);
    }
    s3_xml_close(out, name);
}
