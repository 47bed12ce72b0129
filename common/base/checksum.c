#include "common/base/checksum.h"

#include "common/base/assert.h"
#include "common/base/base64.h"
#include "common/base/bytes.h"
#include "common/base/crc32c.h"
#include "common/base/crc64nvme.h"

#include <isa-l/crc.h>
#include <stdio.h>
#include <strings.h>

static const struct {
    const char *name;
    const char *suffix;
    const char *header;
    const char *element;
    size_t bytes;
    bool combines;
} checksum_kinds[CHECKSUM_KIND_COUNT] = {
#define X(kind, name, suffix, bytes, combines) \
    [CHECKSUM_##kind] = { name, suffix, "x-amz-checksum-" suffix, "Checksum" name, bytes, combines },
    CHECKSUM_MAP(X)
#undef X
};

uint32_t crc32_ieee_update(uint32_t crc, const void *data, size_t len)
{
    return crc32_gzip_refl(crc, data, len);
}

static enum digest_kind checksum_digest(enum checksum_kind kind)
{
    switch (kind) {
    case CHECKSUM_SHA1:
        return DIGEST_SHA1;
    case CHECKSUM_SHA256:
        return DIGEST_SHA256;
    case CHECKSUM_SHA512:
        return DIGEST_SHA512;
    default:
        ASSERT(kind == CHECKSUM_MD5);
        return DIGEST_MD5;
    }
}

void checksum_init(struct checksum *sum, enum checksum_kind kind)
{
    ASSERT(kind > CHECKSUM_NONE && kind < CHECKSUM_KIND_COUNT);
    *sum = (struct checksum){ .kind = kind };
    if (!checksum_combines(kind)) {
        digest_init(&sum->digest, checksum_digest(kind));
    }
}

void checksum_update(struct checksum *sum, const void *data, size_t len)
{
    switch (sum->kind) {
    case CHECKSUM_CRC32:
        sum->crc = crc32_ieee_update((uint32_t)sum->crc, data, len);
        break;
    case CHECKSUM_CRC32C:
        sum->crc = crc32c_update((uint32_t)sum->crc, data, len);
        break;
    case CHECKSUM_CRC64NVME:
        sum->crc = crc64nvme_update(sum->crc, data, len);
        break;
    default:
        digest_update(&sum->digest, data, len);
        break;
    }
}

static void checksum_crc_store(enum checksum_kind kind, uint64_t crc, uint8_t *bytes)
{
    if (kind == CHECKSUM_CRC64NVME) {
        store_be64(bytes, crc);
    } else {
        store_be32(bytes, (uint32_t)crc);
    }
}

static uint64_t checksum_crc_load(enum checksum_kind kind, const uint8_t *bytes)
{
    return kind == CHECKSUM_CRC64NVME ? load_be64(bytes) : load_be32(bytes);
}

void checksum_final(struct checksum *sum, uint8_t *ret_bytes)
{
    if (checksum_combines(sum->kind)) {
        checksum_crc_store(sum->kind, sum->crc, ret_bytes);
        sum->crc = 0;
    } else {
        digest_final(&sum->digest, ret_bytes);
    }
}

void checksum_done(struct checksum *sum)
{
    digest_done(&sum->digest);
}

void checksum_once(enum checksum_kind kind, const void *data, size_t len, uint8_t *ret_bytes)
{
    struct checksum sum;
    checksum_init(&sum, kind);
    checksum_update(&sum, data, len);
    checksum_final(&sum, ret_bytes);
    checksum_done(&sum);
}

size_t checksum_bytes(enum checksum_kind kind)
{
    return checksum_kinds[kind].bytes;
}

const char *checksum_name(enum checksum_kind kind)
{
    return checksum_kinds[kind].name;
}

const char *checksum_header(enum checksum_kind kind)
{
    return checksum_kinds[kind].header;
}

const char *checksum_element(enum checksum_kind kind)
{
    return checksum_kinds[kind].element;
}

bool checksum_combines(enum checksum_kind kind)
{
    return checksum_kinds[kind].combines;
}

static bool checksum_text_equal(struct slice a, const char *b)
{
    return a.len == strlen(b) && strncasecmp((const char *)a.data, b, a.len) == 0;
}

enum checksum_kind checksum_by_name(struct slice name)
{
    for (int kind = 1; kind < CHECKSUM_KIND_COUNT && name.len > 0; kind++) {
        if (checksum_text_equal(name, checksum_kinds[kind].name)) {
            return (enum checksum_kind)kind;
        }
    }
    return CHECKSUM_NONE;
}

enum checksum_kind checksum_by_header(struct slice header)
{
    for (int kind = 1; kind < CHECKSUM_KIND_COUNT && header.len > 0; kind++) {
        if (checksum_text_equal(header, checksum_kinds[kind].header)) {
            return (enum checksum_kind)kind;
        }
    }
    return CHECKSUM_NONE;
}

const char *checksum_type_name(enum checksum_type type)
{
    return type == CHECKSUM_COMPOSITE ? "COMPOSITE" : "FULL_OBJECT";
}

size_t checksum_format(const struct checksum_value *value, char text[CHECKSUM_TEXT_BYTES])
{
    size_t len = base64_encode(value->bytes, checksum_bytes(value->kind), text);
    if (value->type == CHECKSUM_COMPOSITE) {
        len += (size_t)snprintf(text + len, CHECKSUM_TEXT_BYTES - len, "-%u", value->part_count);
    }
    return len;
}

bool checksum_parse(enum checksum_kind kind, struct slice text, struct checksum_value *ret_value)
{
    struct checksum_value value = { .kind = kind, .type = CHECKSUM_FULL_OBJECT };
    uint8_t bytes[CHECKSUM_BYTES_MAX + 8];
    size_t len = 0;
    if (kind == CHECKSUM_NONE || text.len != base64_len(checksum_bytes(kind)) ||
        !base64_decode((const char *)text.data, text.len, bytes, &len) || len != checksum_bytes(kind)) {
        return false;
    }
    memcpy(value.bytes, bytes, len);
    *ret_value = value;
    return true;
}

bool checksum_equal(const struct checksum_value *a, const struct checksum_value *b)
{
    return a->kind == b->kind && memcmp(a->bytes, b->bytes, checksum_bytes(a->kind)) == 0;
}

/* Polynomials over GF(2) modulo `poly`, reflected: the top bit of the width is x^0. */
struct checksum_field {
    uint64_t poly;
    uint64_t one;
};

static struct checksum_field checksum_field_of(enum checksum_kind kind)
{
    switch (kind) {
    case CHECKSUM_CRC32:
        return (struct checksum_field){ 0xEDB88320u, 1ull << 31 };
    case CHECKSUM_CRC32C:
        return (struct checksum_field){ 0x82F63B78u, 1ull << 31 };
    default:
        ASSERT(kind == CHECKSUM_CRC64NVME);
        return (struct checksum_field){ 0x9A6C9329AC4BC9B5ull, 1ull << 63 };
    }
}

static uint64_t checksum_multiply(const struct checksum_field *field, uint64_t a, uint64_t b)
{
    uint64_t product = 0;
    for (uint64_t bit = field->one; bit != 0; bit >>= 1) {
        if (a & bit) {
            product ^= b;
        }
        b = b >> 1 ^ (b & 1 ? field->poly : 0);
    }
    return product;
}

void checksum_combine(enum checksum_kind kind, const uint8_t *a, const uint8_t *b, uint64_t b_len,
                      uint8_t *ret_bytes)
{
    struct checksum_field field = checksum_field_of(kind);
    uint64_t shift = field.one;      /* becomes x^(8 b_len) */
    uint64_t power = field.one >> 8; /* x^8, then its squares */
    for (uint64_t n = b_len; n > 0; n >>= 1) {
        if (n & 1) {
            shift = checksum_multiply(&field, shift, power);
        }
        power = checksum_multiply(&field, power, power);
    }
    uint64_t crc = checksum_multiply(&field, checksum_crc_load(kind, a), shift) ^ checksum_crc_load(kind, b);
    checksum_crc_store(kind, crc, ret_bytes);
}

void checksum_fold_init(struct checksum_fold *fold, enum checksum_kind kind, enum checksum_type type)
{
    ASSERT(type == CHECKSUM_COMPOSITE || (type == CHECKSUM_FULL_OBJECT && checksum_combines(kind)));
    *fold = (struct checksum_fold){ .type = type };
    checksum_init(&fold->sum, kind);
}

void checksum_fold_part(struct checksum_fold *fold, const uint8_t *raw, uint64_t part_bytes)
{
    if (fold->type == CHECKSUM_COMPOSITE) {
        checksum_update(&fold->sum, raw, checksum_bytes(fold->sum.kind));
    } else {
        checksum_combine(fold->sum.kind, fold->crc, raw, part_bytes, fold->crc);
    }
    fold->part_count++;
}

void checksum_fold_final(struct checksum_fold *fold, struct checksum_value *ret_value)
{
    *ret_value = (struct checksum_value){ .kind = fold->sum.kind, .type = fold->type };
    if (fold->type == CHECKSUM_COMPOSITE) {
        ret_value->part_count = fold->part_count;
        checksum_final(&fold->sum, ret_value->bytes);
    } else {
        memcpy(ret_value->bytes, fold->crc, checksum_bytes(fold->sum.kind));
    }
    checksum_done(&fold->sum);
}
