/*
 * checksum - the object checksums of S3 under one interface (S3-SURFACE 4.12).
 *
 * A streaming computation, the names each algorithm has in headers and XML, and the two ways in
 * which checksums of parts become one of an object: composite (digest of digests) and full object
 * (CRC combination). Raw bytes of CRCs are big-endian. XXHASH* is not known here: an unknown name
 * is refused, never ignored.
 * Thread: a checksum has one owner.  Memory: checksum_done() gives back a digest context.
 */
#ifndef COMMON_BASE_CHECKSUM_H
#define COMMON_BASE_CHECKSUM_H

#include "common/base/digest.h"
#include "common/base/error.h"
#include "common/base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* CRC-32 (reflected 0xEDB88320, as in gzip): crc32_ieee("123456789") == 0xCBF43926. From 0 on. */
uint32_t crc32_ieee_update(uint32_t crc, const void *data, size_t len);

/*      enum       name         suffix       raw bytes  full-object combination */
#define CHECKSUM_MAP(X)                            \
    X(CRC32, "CRC32", "crc32", 4, true)            \
    X(CRC32C, "CRC32C", "crc32c", 4, true)         \
    X(CRC64NVME, "CRC64NVME", "crc64nvme", 8, true) \
    X(SHA1, "SHA1", "sha1", 20, false)             \
    X(SHA256, "SHA256", "sha256", 32, false)       \
    X(SHA512, "SHA512", "sha512", 64, false)       \
    X(MD5, "MD5", "md5", 16, false)

/* The values are stored in records: append only. */
enum checksum_kind {
    CHECKSUM_NONE,
#define X(kind, name, suffix, bytes, combines) CHECKSUM_##kind,
    CHECKSUM_MAP(X)
#undef X
    CHECKSUM_KIND_COUNT
};

enum checksum_type { CHECKSUM_TYPE_NONE, CHECKSUM_FULL_OBJECT, CHECKSUM_COMPOSITE };

#define CHECKSUM_BYTES_MAX 64
#define CHECKSUM_TEXT_BYTES 96 /* base64 of 64 bytes, "-10000" and a terminator fit */

struct checksum {
    enum checksum_kind kind;
    uint64_t crc;
    struct digest digest; /* SHA*, MD5 */
};

struct checksum_value {
    enum checksum_kind kind; /* CHECKSUM_NONE: absent */
    enum checksum_type type;
    uint32_t part_count;     /* N of a composite value, else 0 */
    uint8_t bytes[CHECKSUM_BYTES_MAX];
};

void checksum_init(struct checksum *sum, enum checksum_kind kind); /* not NONE */
void checksum_update(struct checksum *sum, const void *data, size_t len);
/* Writes checksum_bytes(kind) bytes; the struct then starts over. */
void checksum_final(struct checksum *sum, uint8_t *ret_bytes);
void checksum_done(struct checksum *sum); /* a zeroed struct is fine */
void checksum_once(enum checksum_kind kind, const void *data, size_t len, uint8_t *ret_bytes);

size_t checksum_bytes(enum checksum_kind kind);         /* 0 for NONE */
const char *checksum_name(enum checksum_kind kind);     /* "CRC64NVME" */
const char *checksum_header(enum checksum_kind kind);   /* "x-amz-checksum-crc64nvme" */
const char *checksum_element(enum checksum_kind kind);  /* "ChecksumCRC64NVME" */
bool checksum_combines(enum checksum_kind kind);        /* CRCs: full object from parts */
enum checksum_kind checksum_by_name(struct slice name);     /* any letter case; NONE when unknown */
enum checksum_kind checksum_by_header(struct slice header); /* "x-amz-checksum-..." any case */
const char *checksum_type_name(enum checksum_type type);    /* "FULL_OBJECT", "COMPOSITE" */

/* Base64 of the bytes, with "-N" for composite values, and a terminator. Returns the length. */
size_t checksum_format(const struct checksum_value *value, char text[CHECKSUM_TEXT_BYTES]);
/* Strict base64 of exactly checksum_bytes(kind); the result is of type FULL_OBJECT. */
bool checksum_parse(enum checksum_kind kind, struct slice text, struct checksum_value *ret_value);
bool checksum_equal(const struct checksum_value *a, const struct checksum_value *b); /* kind and bytes */

/* CRC of ab from those of a and b and the length of b (GF(2) matrices, O(log length)). Raw bytes. */
void checksum_combine(enum checksum_kind kind, const uint8_t *a, const uint8_t *b, uint64_t b_len,
                      uint8_t *ret_bytes);

/*
 * Folds the checksums of parts, in order, into one of the object.
 * type COMPOSITE: any kind; FULL_OBJECT: only kinds that combine (asserted).
 */
struct checksum_fold {
    enum checksum_type type;
    struct checksum sum;   /* composite: digest of the raw part digests */
    uint8_t crc[8];        /* full object: so far */
    uint32_t part_count;
};
void checksum_fold_init(struct checksum_fold *fold, enum checksum_kind kind, enum checksum_type type);
void checksum_fold_part(struct checksum_fold *fold, const uint8_t *raw, uint64_t part_bytes);
void checksum_fold_final(struct checksum_fold *fold, struct checksum_value *ret_value); /* and done */

#endif
