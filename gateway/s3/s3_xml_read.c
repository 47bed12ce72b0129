#include "gateway/s3/s3_xml_read.h"

#include "common/base/codec.h"
#include "gateway/s3/s3_condition.h"
#include "gateway/s3/s3_multipart.h"
#include "gateway/s3/s3_name.h"
#include "gateway/s3/s3_time.h"
#include "gateway/s3/s3_uri.h"

#include <libxml/parser.h>
#include <libxml/parserInternals.h>

/*
 * libxml2 calls us per element (SAX2); a document is a function that sees each start and each end
 * with the path from the root. The first refusal stops the parser.
 */
struct xml_run {
    xmlParserCtxtPtr parser;
    struct arena *arena;
    struct s3_error_info *err;
    enum s3_error code;
    unsigned depth;                       /* of the open element; 1 is the root */
    const char *names[S3_XML_DEPTH_MAX];  /* of the parser's dictionary */
    bool has_children[S3_XML_DEPTH_MAX];
    struct enc text;                      /* of the innermost element */
    struct enc items;                     /* parts or entries so far */
    uint32_t seen;                        /* bits of the fields that the current item has */
    const char *root;
    void (*on_start)(struct xml_run *run);
    void (*on_end)(struct xml_run *run, struct slice text, bool is_leaf);
    void *result;
    struct s3_complete_part part;
    struct s3_delete_entry entry;
};

static void xml_refuse(struct xml_run *run, enum s3_error code, const char *message)
{
    if (run->code == S3_ERROR_NONE) {
        run->code = s3_fail(run->err, code, message);
        xmlStopParser(run->parser);
    }
}

static void xml_malformed(struct xml_run *run)
{
    xml_refuse(run, S3_ERROR_MALFORMED_XML, NULL);
}

/* Name at a depth, root first. */
static bool xml_at(const struct xml_run *run, unsigned depth, const char *name)
{
    return run->depth == depth && strcmp(run->names[depth - 1], name) == 0;
}

static bool xml_under(const struct xml_run *run, unsigned depth, const char *name)
{
    return run->depth > depth && strcmp(run->names[depth - 1], name) == 0;
}

/* Each field at most once in an item. */
static void xml_once(struct xml_run *run, unsigned bit)
{
    if (run->seen & 1u << bit) {
        xml_malformed(run);
    }
    run->seen |= 1u << bit;
}

/* A copy in the arena; a full arena refuses the document. */
static struct slice xml_keep(struct xml_run *run, struct slice text)
{
    struct slice copy = arena_copy(run->arena, text);
    if (copy.data == NULL) {
        xml_refuse(run, S3_ERROR_MAX_MESSAGE_LENGTH_EXCEEDED, NULL);
        return SLICE_EMPTY;
    }
    return copy;
}

static bool xml_blank(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (strchr(" \t\r\n", text.data[i]) == NULL || text.data[i] == '\0') {
            return false;
        }
    }
    return true;
}

static struct slice xml_strip(struct slice text)
{
    while (text.len > 0 && xml_blank(slice_of(text.data, 1))) {
        text = slice_skip(text, 1);
    }
    while (text.len > 0 && xml_blank(slice_of(text.data + text.len - 1, 1))) {
        text.len--;
    }
    return text;
}

static bool xml_namespace_ok(const xmlChar *uri)
{
    return uri == NULL || strcmp((const char *)uri, "http://s3.amazonaws.com/doc/2006-03-01/") == 0 ||
           strcmp((const char *)uri, "https://s3.amazonaws.com/doc/2006-03-01/") == 0;
}

static void on_start_element(void *ctx, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri,
                             int namespace_count, const xmlChar **namespaces, int attribute_count,
                             int defaulted_count, const xmlChar **attributes)
{
    struct xml_run *run = ctx;
    (void)prefix;
    (void)namespace_count;
    (void)namespaces;
    (void)attribute_count;
    (void)defaulted_count;
    (void)attributes;
    if (run->code != S3_ERROR_NONE) {
        return;
    }
    if (run->depth == S3_XML_DEPTH_MAX || !xml_namespace_ok(uri)) {
        xml_malformed(run);
        return;
    }
    if (run->depth > 0) {
        run->has_children[run->depth - 1] = true;
        if (!xml_blank(enc_slice(&run->text))) {
            xml_malformed(run); /* text beside elements */
        }
    }
    run->names[run->depth] = (const char *)name;
    run->has_children[run->depth] = false;
    run->depth++;
    enc_reset(&run->text);
    if (run->depth == 1 && strcmp((const char *)name, run->root) != 0) {
        xml_malformed(run);
        return;
    }
    run->on_start(run);
}

static void on_end_element(void *ctx, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri)
{
    struct xml_run *run = ctx;
    (void)name;
    (void)prefix;
    (void)uri;
    if (run->code != S3_ERROR_NONE || run->depth == 0) {
        return;
    }
    bool is_leaf = !run->has_children[run->depth - 1];
    if (!is_leaf && !xml_blank(enc_slice(&run->text))) {
        xml_malformed(run);
        return;
    }
    run->on_end(run, enc_slice(&run->text), is_leaf);
    enc_reset(&run->text);
    run->depth--;
}

static void on_characters(void *ctx, const xmlChar *text, int len)
{
    struct xml_run *run = ctx;
    if (run->code == S3_ERROR_NONE && len > 0) {
        enc_raw(&run->text, text, (size_t)len);
    }
}

static void on_subset(void *ctx, const xmlChar *name, const xmlChar *external_id, const xmlChar *system_id)
{
    (void)name;
    (void)external_id;
    (void)system_id;
    xml_malformed(ctx); /* a DOCTYPE */
}

static xmlEntityPtr on_entity(void *ctx, const xmlChar *name)
{
    xmlEntityPtr predefined = xmlGetPredefinedEntity(name);
    if (predefined == NULL) {
        xml_malformed(ctx);
    }
    return predefined;
}

static void on_reference(void *ctx, const xmlChar *name)
{
    (void)name;
    xml_malformed(ctx);
}

/* libxml2 reports through its own default printer unless somebody listens. */
static void on_error(void *ctx, xmlErrorPtr error)
{
    (void)ctx;
    (void)error;
}

static enum s3_error xml_check_body(struct slice body, size_t bytes_max, struct s3_error_info *err)
{
    if (body.len > bytes_max) {
        return s3_fail(err, S3_ERROR_MAX_MESSAGE_LENGTH_EXCEEDED, NULL);
    }
    if (xml_blank(body)) {
        return s3_fail(err, S3_ERROR_MISSING_REQUEST_BODY, NULL);
    }
    /* Other encodings could hide a DOCTYPE from this search and hold what UTF-8 cannot. */
    if (!s3_utf8_valid(body) || memchr(body.data, 0, body.len) != NULL ||
        memmem(body.data, body.len, "<!DOCTYPE", 9) != NULL || memmem(body.data, body.len, "<!ENTITY", 8) != NULL) {
        return s3_fail(err, S3_ERROR_MALFORMED_XML, NULL);
    }
    return S3_ERROR_NONE;
}

static enum s3_error xml_parse(struct xml_run *run, struct slice body)
{
    xmlSAXHandler sax = { .initialized = XML_SAX2_MAGIC };
    sax.startElementNs = on_start_element;
    sax.endElementNs = on_end_element;
    sax.characters = on_characters;
    sax.ignorableWhitespace = on_characters;
    sax.cdataBlock = on_characters;
    sax.internalSubset = on_subset;
    sax.externalSubset = on_subset;
    sax.getEntity = on_entity;
    sax.reference = on_reference;
    sax.serror = on_error;
    run->parser = xmlCreatePushParserCtxt(&sax, run, NULL, 0, NULL);
    if (run->parser == NULL) {
        return s3_fail(run->err, S3_ERROR_INTERNAL_ERROR, NULL);
    }
    /* Converters of encodings know no parser: without this they write to standard error what a client sent. Per thread. */
    xmlSetStructuredErrorFunc(NULL, on_error);
    (void)xmlCtxtUseOptions(run->parser, XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
    (void)xmlSwitchEncoding(run->parser, XML_CHAR_ENCODING_UTF8);
    int rc = xmlParseChunk(run->parser, (const char *)body.data, (int)body.len, 1);
    xmlSetStructuredErrorFunc(NULL, NULL);
    bool is_well_formed = rc == 0 && run->parser->wellFormed != 0;
    if (run->code == S3_ERROR_NONE && (!is_well_formed || run->depth != 0)) {
        run->code = s3_fail(run->err, S3_ERROR_MALFORMED_XML, NULL);
    }
    if (run->parser->myDoc != NULL) {
        xmlFreeDoc(run->parser->myDoc);
    }
    xmlFreeParserCtxt(run->parser);
    enc_free(&run->text);
    return run->code;
}

/* Moves the collected items into the arena. */
static void *xml_items(struct xml_run *run)
{
    void *copy = arena_alloc(run->arena, run->items.len + 1);
    if (copy != NULL && run->items.len > 0) {
        memcpy(copy, run->items.data, run->items.len);
    }
    if (copy == NULL) {
        run->code = s3_fail(run->err, S3_ERROR_MAX_MESSAGE_LENGTH_EXCEEDED, NULL);
    }
    return copy;
}

/* CompleteMultipartUpload{Part[]{PartNumber,ETag,Checksum*}} */

enum { PART_NUMBER_BIT, PART_ETAG_BIT, PART_CHECKSUM_BIT };

static void complete_start(struct xml_run *run)
{
    if (xml_at(run, 2, "Part")) {
        run->seen = 0;
        run->part = (struct s3_complete_part){ .number = 0 };
    } else if (run->depth == 2 || run->depth > 3) {
        xml_malformed(run);
    }
}

static void complete_field(struct xml_run *run, struct slice text)
{
    struct slice name = slice_str(run->names[2]);
    text = xml_strip(text);
    if (slice_equal_str(name, "PartNumber")) {
        xml_once(run, PART_NUMBER_BIT);
        if (!s3_part_number_parse(text, &run->part.number)) {
            xml_refuse(run, S3_ERROR_INVALID_ARGUMENT,
                       "Part number must be an integer between 1 and 10000, inclusive");
        }
    } else if (slice_equal_str(name, "ETag")) {
        xml_once(run, PART_ETAG_BIT);
        run->part.etag = xml_keep(run, s3_etag_bare(text));
    } else if (slice_starts(name, slice_str("Checksum"))) {
        xml_once(run, PART_CHECKSUM_BIT);
        enum checksum_kind kind = checksum_by_name(slice_skip(name, 8));
        if (kind == CHECKSUM_NONE || !checksum_parse(kind, text, &run->part.checksum)) {
            xml_refuse(run, S3_ERROR_INVALID_REQUEST, "A part checksum is not valid");
        }
    } else {
        xml_malformed(run);
    }
}

static void complete_end(struct xml_run *run, struct slice text, bool is_leaf)
{
    struct s3_complete_request *result = run->result;
    if (run->depth == 3 && is_leaf) {
        complete_field(run, text);
    } else if (run->depth == 2) {
        if ((run->seen & 3u) != 3u || result->part_count == S3_PARTS_MAX) {
            xml_malformed(run);
            return;
        }
        enc_raw(&run->items, &run->part, sizeof(run->part));
        result->part_count++;
    }
}

enum s3_error s3_xml_read_complete(struct arena *arena, struct slice body, struct s3_complete_request *ret,
                                   struct s3_error_info *err)
{
    struct s3_complete_request result = { .part_count = 0 };
    struct xml_run run = { .arena = arena, .err = err, .root = "CompleteMultipartUpload",
                           .on_start = complete_start, .on_end = complete_end, .result = &result };
    enum s3_error code = xml_check_body(body, S3_XML_COMPLETE_BYTES_MAX, err);
    if (code == S3_ERROR_NONE) {
        code = xml_parse(&run, body);
    }
    if (code == S3_ERROR_NONE && result.part_count == 0) {
        code = s3_fail(err, S3_ERROR_MALFORMED_XML, NULL);
    }
    if (code == S3_ERROR_NONE) {
        result.parts = xml_items(&run);
        code = run.code;
        *ret = result;
    }
    enc_free(&run.items);
    return code;
}

/* Delete{Quiet,Object[]{Key,VersionId,ETag,LastModifiedTime,Size}} */

enum { DELETE_KEY_BIT, DELETE_VERSION_BIT, DELETE_ETAG_BIT, DELETE_TIME_BIT, DELETE_SIZE_BIT, DELETE_QUIET_BIT = 8 };

static void delete_start(struct xml_run *run)
{
    if (xml_at(run, 2, "Object")) {
        run->seen &= 1u << DELETE_QUIET_BIT;
        run->entry = (struct s3_delete_entry){ .key = SLICE_EMPTY };
    } else if (run->depth == 2 ? !xml_at(run, 2, "Quiet") : run->depth > 3) {
        xml_malformed(run);
    }
}

static void delete_size(struct xml_run *run, struct slice text)
{
    text = xml_strip(text);
    if (text.len == 0 || text.len > 18) {
        xml_malformed(run);
        return;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            xml_malformed(run);
            return;
        }
        run->entry.size = run->entry.size * 10 + (uint64_t)(text.data[i] - '0');
    }
    run->entry.has_size = true;
}

static void delete_field(struct xml_run *run, struct slice text)
{
    const char *name = run->names[2];
    if (strcmp(name, "Key") == 0) {
        xml_once(run, DELETE_KEY_BIT);
        if (text.len > S3_KEY_BYTES_MAX) {
            xml_refuse(run, S3_ERROR_KEY_TOO_LONG, NULL);
        } else if (!s3_key_valid(text)) {
            xml_malformed(run);
        }
        run->entry.key = xml_keep(run, text); /* white space is part of a key */
    } else if (strcmp(name, "VersionId") == 0) {
        xml_once(run, DELETE_VERSION_BIT);
        run->entry.version_id = xml_keep(run, xml_strip(text));
    } else if (strcmp(name, "ETag") == 0) {
        xml_once(run, DELETE_ETAG_BIT);
        run->entry.etag = xml_keep(run, s3_etag_bare(xml_strip(text)));
    } else if (strcmp(name, "LastModifiedTime") == 0) {
        xml_once(run, DELETE_TIME_BIT);
        text = xml_strip(text);
        run->entry.has_modified = s3_time_parse_http(text, &run->entry.modified_ms) ||
                                  s3_time_parse_iso(text, &run->entry.modified_ms);
        if (!run->entry.has_modified) {
            xml_malformed(run);
        }
    } else if (strcmp(name, "Size") == 0) {
        xml_once(run, DELETE_SIZE_BIT);
        delete_size(run, text);
    } else {
        xml_malformed(run);
    }
}

static void delete_quiet(struct xml_run *run, struct slice text)
{
    struct s3_delete_request *result = run->result;
    text = xml_strip(text);
    xml_once(run, DELETE_QUIET_BIT);
    result->quiet = s3_name_equal(text, "true");
    if (!result->quiet && !s3_name_equal(text, "false")) {
        xml_malformed(run);
    }
}

static void delete_end(struct xml_run *run, struct slice text, bool is_leaf)
{
    struct s3_delete_request *result = run->result;
    if (run->depth == 3 && is_leaf && xml_under(run, 2, "Object")) {
        delete_field(run, text);
    } else if (run->depth == 3) {
        xml_malformed(run);
    } else if (xml_at(run, 2, "Quiet")) {
        delete_quiet(run, text);
    } else if (run->depth == 2) {
        if ((run->seen & 1u << DELETE_KEY_BIT) == 0 || result->entry_count == S3_DELETE_OBJECTS_MAX) {
            xml_malformed(run);
            return;
        }
        enc_raw(&run->items, &run->entry, sizeof(run->entry));
        result->entry_count++;
    }
}

enum s3_error s3_xml_read_delete(struct arena *arena, struct slice body, struct s3_delete_request *ret,
                                 struct s3_error_info *err)
{
    struct s3_delete_request result = { .quiet = false };
    struct xml_run run = { .arena = arena, .err = err, .root = "Delete", .on_start = delete_start,
                           .on_end = delete_end, .result = &result };
    enum s3_error code = xml_check_body(body, S3_XML_DELETE_BYTES_MAX, err);
    if (code == S3_ERROR_NONE) {
        code = xml_parse(&run, body);
    }
    if (code == S3_ERROR_NONE && result.entry_count == 0) {
        code = s3_fail(err, S3_ERROR_MALFORMED_XML, NULL);
    }
    if (code == S3_ERROR_NONE) {
        result.entries = xml_items(&run);
        code = run.code;
        *ret = result;
    }
    enc_free(&run.items);
    return code;
}

/* CreateBucketConfiguration{LocationConstraint} */

static void create_start(struct xml_run *run)
{
    if (run->depth == 2 && !xml_at(run, 2, "LocationConstraint")) {
        bool is_known = xml_at(run, 2, "Location") || xml_at(run, 2, "Bucket") || xml_at(run, 2, "Tags");
        xml_refuse(run, is_known ? S3_ERROR_NOT_IMPLEMENTED : S3_ERROR_MALFORMED_XML, NULL);
    } else if (run->depth > 2) {
        xml_malformed(run);
    }
}

static void create_end(struct xml_run *run, struct slice text, bool is_leaf)
{
    struct s3_create_bucket_request *result = run->result;
    if (run->depth == 2 && is_leaf) {
        xml_once(run, 0);
        result->location = xml_keep(run, xml_strip(text));
    }
}

enum s3_error s3_xml_read_create_bucket(struct arena *arena, struct slice body, struct s3_create_bucket_request *ret,
                                        struct s3_error_info *err)
{
    struct s3_create_bucket_request result = { .location = SLICE_EMPTY };
    struct xml_run run = { .arena = arena, .err = err, .root = "CreateBucketConfiguration",
                           .on_start = create_start, .on_end = create_end, .result = &result };
    if (xml_blank(body) && body.len <= S3_XML_BYTES_MAX) {
        *ret = result;
        return S3_ERROR_NONE;
    }
    enum s3_error code = xml_check_body(body, S3_XML_BYTES_MAX, err);
    if (code == S3_ERROR_NONE) {
        code = xml_parse(&run, body);
    }
    if (code == S3_ERROR_NONE) {
        *ret = result;
    }
    return code;
}

/* VersioningConfiguration{Status,MfaDelete} */

static void versioning_start(struct xml_run *run)
{
    if (run->depth > 2 || (run->depth == 2 && !xml_at(run, 2, "Status") && !xml_at(run, 2, "MfaDelete"))) {
        xml_malformed(run);
    }
}

static void versioning_end(struct xml_run *run, struct slice text, bool is_leaf)
{
    enum s3_versioning *result = run->result;
    (void)is_leaf;
    text = xml_strip(text);
    if (xml_at(run, 2, "Status")) {
        xml_once(run, 0);
        if (slice_equal_str(text, "Enabled")) {
            *result = S3_VERSIONING_ENABLED;
        } else if (slice_equal_str(text, "Suspended")) {
            *result = S3_VERSIONING_SUSPENDED;
        } else {
            xml_malformed(run);
        }
    } else if (xml_at(run, 2, "MfaDelete")) {
        xml_once(run, 1);
        if (!slice_equal_str(text, "Disabled")) {
            xml_refuse(run, slice_equal_str(text, "Enabled") ? S3_ERROR_NOT_IMPLEMENTED : S3_ERROR_MALFORMED_XML, NULL);
        }
    }
}

enum s3_error s3_xml_read_versioning(struct arena *arena, struct slice body, enum s3_versioning *ret,
                                     struct s3_error_info *err)
{
    enum s3_versioning result = S3_VERSIONING_UNSET;
    struct xml_run run = { .arena = arena, .err = err, .root = "VersioningConfiguration",
                           .on_start = versioning_start, .on_end = versioning_end, .result = &result };
    enum s3_error code = xml_check_body(body, S3_XML_BYTES_MAX, err);
    if (code == S3_ERROR_NONE) {
        code = xml_parse(&run, body);
    }
    if (code == S3_ERROR_NONE && result == S3_VERSIONING_UNSET) {
        code = s3_fail(err, S3_ERROR_ILLEGAL_VERSIONING_CONFIGURATION, NULL);
    }
    if (code == S3_ERROR_NONE) {
        *ret = result;
    }
    return code;
}
