/*
 * id - 128-bit names as structs, so that one kind cannot be passed for another.
 */
#ifndef COMMON_BASE_ID_H
#define COMMON_BASE_ID_H

#include "common/base/bytes.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define ID_BYTES 16
#define ID_HEX_BYTES 33 /* with the terminator */

#define ID_DEFINE(type)                                                        \
    struct type {                                                              \
        uint8_t bytes[ID_BYTES];                                               \
    };                                                                         \
    static inline bool type##_equal(struct type a, struct type b)              \
    {                                                                          \
        return memcmp(a.bytes, b.bytes, ID_BYTES) == 0;                        \
    }                                                                          \
    static inline bool type##_is_zero(struct type a)                           \
    {                                                                          \
        return load_le64(a.bytes) == 0 && load_le64(a.bytes + 8) == 0;         \
    }

ID_DEFINE(cluster_id) /* random, made at the first start */
ID_DEFINE(disk_id)    /* random, made when a DIR is formatted; never reused */
ID_DEFINE(node_id)    /* random, made when a process first starts */
ID_DEFINE(extent_id)  /* session (8 bytes, big-endian) then counter (8 bytes, big-endian); never reused */

/* Writes 32 lower-case hex digits and a terminator. */
void id_hex(const uint8_t bytes[ID_BYTES], char text[ID_HEX_BYTES]);
/* Reads exactly 32 hex digits. */
bool id_from_hex(const char *text, size_t len, uint8_t ret_bytes[ID_BYTES]);

#endif
