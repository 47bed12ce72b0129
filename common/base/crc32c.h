/* crc32c - CRC-32C (Castagnoli, RFC 3720 B.4) over isa-l: the checksum of cells and records. */
#ifndef COMMON_BASE_CRC32C_H
#define COMMON_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Standard value: crc32c("123456789") == 0xE3069283. */
uint32_t crc32c(const void *data, size_t len);
/* Continues: crc32c_update(crc32c(a), b) == crc32c(ab); start from 0. */
uint32_t crc32c_update(uint32_t crc, const void *data, size_t len);

#endif
