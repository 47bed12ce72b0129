#include "common/base/crc32c.h"

#include "common/base/assert.h"

#include <isa-l/crc.h>
#include <limits.h>

#define CRC_CALL_BYTES_MAX (1u << 30) /* isa-l takes an int */

uint32_t crc32c_update(uint32_t crc, const void *data, size_t len)
{
    const unsigned char *at = data;
    uint32_t state = ~crc;
    while (len > 0) {
        size_t n = len < CRC_CALL_BYTES_MAX ? len : CRC_CALL_BYTES_MAX;
        /* isa-l's prototype lacks const; it only reads. */
        state = crc32_iscsi((unsigned char *)(uintptr_t)at, (int)n, state);
        at += n;
        len -= n;
    }
    return ~state;
}

uint32_t crc32c(const void *data, size_t len)
{
    return crc32c_update(0, data, len);
}
