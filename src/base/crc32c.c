/* SPDX-License-Identifier: MIT */
#include "base/crc32c.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#define CRC32C_POLYNOMIAL_REFLECTED 0x82f63b78u

static uint32_t table[256];
static bool have_instruction;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void prepare(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++)
            c = c & 1 ? c >> 1 ^ CRC32C_POLYNOMIAL_REFLECTED : c >> 1;
        table[i] = c;
    }
#if defined(__x86_64__)
    have_instruction = __builtin_cpu_supports("sse4.2");
#endif
}

uint32_t crc32c_portable(uint32_t crc, const void *p, size_t len)
{
    pthread_once(&once, prepare);
    const uint8_t *b = p;
    crc = ~crc;
    for (size_t i = 0; i < len; i++)
        crc = table[(crc ^ b[i]) & 0xff] ^ crc >> 8;
    return ~crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t by_instruction(uint32_t crc, const uint8_t *b,
                                                                 size_t len)
{
    uint64_t c = ~crc;
    for (; len >= 8; len -= 8, b += 8) {
        uint64_t word;
        memcpy(&word, b, 8);
        c = __builtin_ia32_crc32di(c, word);
    }
    for (; len > 0; len--, b++)
        c = __builtin_ia32_crc32qi((uint32_t)c, *b);
    return ~(uint32_t)c;
}
#endif

uint32_t crc32c(uint32_t crc, const void *p, size_t len)
{
    pthread_once(&once, prepare);
#if defined(__x86_64__)
    if (have_instruction)
        return by_instruction(crc, p, len);
#endif
    return crc32c_portable(crc, p, len);
}
