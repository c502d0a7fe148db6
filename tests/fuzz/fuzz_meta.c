/* SPDX-License-Identifier: MIT
 * meta_decode() over any bytes: as they are, and once more under a right
 * checksum, or nothing would ever get behind it. What is taken must encode to
 * something that decodes to the same, and a kv must be able to live with it.
 */
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "fuzz.h"
#include "kv/meta.h"
#include "unit/kv_sample.h"

static void check_reencoding(const struct meta *m)
{
    struct meta again;
    struct buf b = BUF_INIT, c = BUF_INIT;
    meta_encode(m, &b);
    ASSERT(meta_decode(b.data, b.len, &again) == 0);
    meta_encode(&again, &c);
    ASSERT(b.len == c.len && memcmp(b.data, c.data, b.len) == 0);
    meta_free(&again);
    buf_free(&b);
    buf_free(&c);
}

/* Its nodes go on, come back and leave. */
static void live_with(const uint8_t *data, size_t len)
{
    struct kv *kv;
    int err = kv_restore(data, len, NULL, &kv);
    ASSERT(err == 0);
    struct kv_pos applied = kv_applied(kv);
    if (applied.index < UINT64_MAX - 2 * KV_SAMPLE_COMMANDS) {
        for (unsigned i = 0; i < KV_SAMPLE_COMMANDS; i++)
            kv_sample_apply(kv, i);
        kv_apply_members(kv, (struct kv_pos){applied.term, kv_applied(kv).index + 1}, NULL, 0);
    }
    kv_free(&kv);
}

static void decode(const uint8_t *data, size_t len)
{
    struct meta m;
    struct kv_meta_info info;
    if (meta_decode(data, len, &m) < 0)
        return;
    ASSERT(kv_meta_info(data, len, &info) == 0 && info.n_keys == m.info.n_keys);
    check_reencoding(&m);
    meta_free(&m);
    live_with(data, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    decode(data, len);
    uint8_t *sealed = mem_dup(data, len);
    kv_sample_reseal(sealed, len);
    decode(sealed, len);
    mem_free(sealed);
    return 0;
}

unsigned fuzz_n_seeds(void)
{
    return 2;
}

/* A state with sessions, and an empty one. */
void fuzz_seed(unsigned i, struct buf *out)
{
    struct kv *kv = i == 0 ? kv_sample_new() : kv_new();
    kv_meta(kv, out);
    kv_free(&kv);
}
