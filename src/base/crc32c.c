/* SPDX-License-Identifier: MIT
 * The processor's instruction takes three cycles and could begin one in each:
 * long inputs go in three lanes side by side. The checksums of lanes are joined
 * by what they would be with as many zeros behind them as the next lane is long,
 * which is a linear map of their bits and so a few table lookups.
 */
#include "base/crc32c.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#define CRC32C_POLYNOMIAL_REFLECTED 0x82f63b78u

#if defined(__x86_64__)
#define HAVE_STEPS
#define WITH_INSTRUCTION __attribute__((target("sse4.2")))
#define STEP_8(c, word)  ((uint32_t)__builtin_ia32_crc32di((c), (word)))
#define STEP_1(c, byte)  __builtin_ia32_crc32qi((c), (byte))
#elif defined(__aarch64__) && !defined(__AARCH64EB__)
#include <sys/auxv.h>
#define HAVE_STEPS
#define HWCAP_CRC32_INSTRUCTION (1ul << 7) /* the kernel's HWCAP_CRC32 */
#if defined(__clang__)
#define WITH_INSTRUCTION __attribute__((target("crc")))
#define STEP_8(c, word)  __builtin_arm_crc32cd((c), (word))
#define STEP_1(c, byte)  __builtin_arm_crc32cb((c), (byte))
#else
#define WITH_INSTRUCTION __attribute__((target("+crc")))
#define STEP_8(c, word)  __builtin_aarch64_crc32cx((c), (word))
#define STEP_1(c, byte)  __builtin_aarch64_crc32cb((c), (byte))
#endif
#endif

static uint32_t table[256];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static uint32_t by_table(uint32_t c, const uint8_t *b, size_t len)
{
    for (size_t i = 0; i < len; i++)
        c = table[(c ^ b[i]) & 0xff] ^ c >> 8;
    return c;
}

#ifdef HAVE_STEPS

/* Bytes of a lane: many, for little joining, and few, for what is left then. */
enum { LANE_LONG = 1024, LANE_SHORT = 128 };

/* What a checksum becomes by so many zeros behind it, for each of its bytes. */
struct zeros {
    uint32_t of[4][256];
};
static struct zeros after_long, after_short;
static bool have_instruction;

static bool find_instruction(void)
{
#if defined(__x86_64__)
    return __builtin_cpu_supports("sse4.2");
#else
    return getauxval(AT_HWCAP) & HWCAP_CRC32_INSTRUCTION;
#endif
}

static void prepare_zeros(struct zeros *z, size_t n)
{
    static const uint8_t zeros[LANE_LONG];
    for (unsigned place = 0; place < 4; place++) {
        for (unsigned bit = 0; bit < 8; bit++)
            z->of[place][1u << bit] = by_table(1u << (8 * place + bit), zeros, n);
        for (unsigned v = 1; v < 256; v++) /* linear: the lowest bit, and the others */
            z->of[place][v] = z->of[place][v & (~v + 1)] ^ z->of[place][v & (v - 1)];
    }
}

static inline uint32_t join(const struct zeros *z, uint32_t before, uint32_t lane)
{
    return z->of[0][before & 0xff] ^ z->of[1][before >> 8 & 0xff] ^ z->of[2][before >> 16 & 0xff] ^
           z->of[3][before >> 24] ^ lane;
}

static inline uint64_t word_at(const uint8_t *b)
{
    uint64_t word;
    memcpy(&word, b, sizeof word);
    return word;
}

/* Three lanes, of which the first goes on from c. */
WITH_INSTRUCTION static inline uint32_t three_lanes(uint32_t c, const uint8_t *b, size_t lane,
                                                    const struct zeros *z)
{
    uint32_t second = 0, third = 0;
    for (const uint8_t *end = b + lane; b < end; b += 8) {
        c = STEP_8(c, word_at(b));
        second = STEP_8(second, word_at(b + lane));
        third = STEP_8(third, word_at(b + 2 * lane));
    }
    return join(z, join(z, c, second), third);
}

WITH_INSTRUCTION static uint32_t by_instruction(uint32_t c, const uint8_t *b, size_t len)
{
    for (; len >= 3 * LANE_LONG; len -= 3 * LANE_LONG, b += 3 * LANE_LONG)
        c = three_lanes(c, b, LANE_LONG, &after_long);
    for (; len >= 3 * LANE_SHORT; len -= 3 * LANE_SHORT, b += 3 * LANE_SHORT)
        c = three_lanes(c, b, LANE_SHORT, &after_short);
    for (; len >= 8; len -= 8, b += 8)
        c = STEP_8(c, word_at(b));
    for (; len > 0; len--, b++)
        c = STEP_1(c, *b);
    return c;
}

#endif

static void prepare(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++)
            c = c & 1 ? c >> 1 ^ CRC32C_POLYNOMIAL_REFLECTED : c >> 1;
        table[i] = c;
    }
#ifdef HAVE_STEPS
    prepare_zeros(&after_long, LANE_LONG);
    prepare_zeros(&after_short, LANE_SHORT);
    have_instruction = find_instruction();
#endif
}

uint32_t crc32c_portable(uint32_t crc, const void *p, size_t len)
{
    pthread_once(&once, prepare);
    return ~by_table(~crc, p, len);
}

uint32_t crc32c(uint32_t crc, const void *p, size_t len)
{
    pthread_once(&once, prepare);
#ifdef HAVE_STEPS
    if (have_instruction)
        return ~by_instruction(~crc, p, len);
#endif
    return ~by_table(~crc, p, len);
}
