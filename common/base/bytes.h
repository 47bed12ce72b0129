/*
 * bytes - integers to and from bytes. Little-endian on disk and wire; big-endian only inside
 * ordered keys (metadata) and where a standard says so.
 */
#ifndef COMMON_BASE_BYTES_H
#define COMMON_BASE_BYTES_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define BYTES_DEFINE(bits, order)                                              \
    static inline void store_##order##bits(void *p, uint##bits##_t v)          \
    {                                                                          \
        v = hto##order##bits(v);                                               \
        memcpy(p, &v, sizeof(v));                                              \
    }                                                                          \
    static inline uint##bits##_t load_##order##bits(const void *p)             \
    {                                                                          \
        uint##bits##_t v;                                                      \
        memcpy(&v, p, sizeof(v));                                              \
        return order##bits##toh(v);                                            \
    }

BYTES_DEFINE(16, le)
BYTES_DEFINE(32, le)
BYTES_DEFINE(64, le)
BYTES_DEFINE(16, be)
BYTES_DEFINE(32, be)
BYTES_DEFINE(64, be)

#endif
