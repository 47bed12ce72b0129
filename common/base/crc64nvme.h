/*
 * crc64nvme - CRC-64/NVME: reflected 0x9A6C9329AC4BC9B5, initial value and final xor all ones.
 *
 * Folds 128 bytes a step with PCLMULQDQ where the processor has it (asked at run time), else by a
 * table of 8 x 256 entries. The standard value is crc64nvme("123456789") == 0xAE8B14860A799888.
 * Source: NVM Express base specification, "64b CRC"; folding: Intel, "Fast CRC Computation for
 * Generic Polynomials Using PCLMULQDQ Instruction".
 */
#ifndef COMMON_BASE_CRC64NVME_H
#define COMMON_BASE_CRC64NVME_H

#include <stddef.h>
#include <stdint.h>

uint64_t crc64nvme(const void *data, size_t len);
/* Continues: crc64nvme_update(crc64nvme(a), b) == crc64nvme(ab); start from 0. */
uint64_t crc64nvme_update(uint64_t crc, const void *data, size_t len);
/* The table path, for tests and processors without PCLMULQDQ. */
uint64_t crc64nvme_update_table(uint64_t crc, const void *data, size_t len);

#endif
