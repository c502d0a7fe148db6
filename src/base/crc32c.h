/* SPDX-License-Identifier: MIT
 * CRC-32C (Castagnoli polynomial, RFC 3720 appendix B.4), by the processor's
 * instruction where there is one.
 */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Continues crc (0 to start) over len bytes. */
uint32_t crc32c(uint32_t crc, const void *p, size_t len);
/* The same by table, whatever the processor; for tests. */
uint32_t crc32c_portable(uint32_t crc, const void *p, size_t len);

#endif
