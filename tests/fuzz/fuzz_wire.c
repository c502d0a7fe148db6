/* SPDX-License-Identifier: MIT
 * wire_decode() over any bytes: as they are, and once more under a right
 * checksum, or nothing would ever get behind it. What is taken must encode to
 * something that decodes to the same.
 */
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "fuzz.h"
#include "unit/wire_samples.h"

static void check_reencoding(const struct wire_message *m)
{
    static struct wire_message again;
    struct buf b = BUF_INIT, c = BUF_INIT;
    wire_encode(m, &b);
    ASSERT(wire_decode(b.data, b.len, &again) == 0);
    wire_encode(&again, &c);
    ASSERT(b.len == c.len && memcmp(b.data, c.data, b.len) == 0);
    wire_message_free(&again);
    buf_free(&b);
    buf_free(&c);
}

static void decode(const uint8_t *data, size_t len)
{
    static struct wire_message m;
    if (wire_decode(data, len, &m) < 0)
        return;
    check_reencoding(&m);
    wire_message_free(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    decode(data, len);
    if (len < 4)
        return 0;
    uint8_t *sealed = mem_dup(data, len);
    wire_sample_reseal(sealed, len);
    decode(sealed, len);
    mem_free(sealed);
    return 0;
}

unsigned fuzz_n_seeds(void)
{
    return WIRE_TYPES * WIRE_SAMPLES;
}

void fuzz_seed(unsigned i, struct buf *out)
{
    static struct wire_message m;
    wire_sample_make(wire_types[i / WIRE_SAMPLES], (enum wire_sample)(i % WIRE_SAMPLES), &m);
    wire_encode(&m, out);
    wire_message_free(&m);
}
