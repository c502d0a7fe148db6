/* SPDX-License-Identifier: MIT
 * What applying a Set costs: usage: bench_kv [KEYS]
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/rng.h"
#include "kv/kv.h"

#define N_OPS 2000000

static const struct uuid NODE = {1, 2};

static void set_random(struct kv *kv, struct buf *command, struct rng *rng, unsigned n_keys,
                       uint64_t seq)
{
    char key[40], value[32] = "thirty-two bytes of a value ....";
    uint8_t header[KV_ORIGIN_BYTES_MAX];
    int len = snprintf(key, sizeof key, "app/key-%08" PRIu64, rng_range(rng, 0, n_keys - 1));
    struct kv_op op = {.type = KV_OP_SET,
                       .key = (uint8_t *)key,
                       .key_len = (size_t)len,
                       .value = (uint8_t *)value,
                       .value_len = sizeof value};
    struct kv_origin origin = {NODE, 1, seq, seq > 256 ? seq - 256 : 1, 1};
    struct kv_result result;
    buf_clear(command);
    buf_append(command, header, kv_origin_encode(&origin, header));
    kv_body_encode(KV_SINGLE, &op, 1, command);
    if (kv) {
        if (kv_apply(kv, (struct kv_pos){1, seq + 1}, command->data, command->len, &result) != 0 ||
            result.err != 0)
            abort();
    }
}

static double run(struct kv *kv, unsigned n_keys)
{
    struct rng rng = {1};
    struct buf command = BUF_INIT;
    uint64_t start = clock_now_us();
    for (uint64_t seq = 1; seq <= N_OPS; seq++)
        set_random(kv, &command, &rng, n_keys, seq);
    buf_free(&command);
    return (double)(clock_now_us() - start) * 1000 / N_OPS;
}

int main(int argc, char **argv)
{
    unsigned n_keys = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 10000;
    struct kv *kv = kv_new();
    kv_apply_members(kv, (struct kv_pos){1, 1}, &NODE, 1);
    double encoding = run(NULL, n_keys);
    double both = run(kv, n_keys);
    printf("%u keys: encoding %.0f ns, applying %.0f ns, %" PRIu64 " bytes per Set\n", n_keys,
           encoding, both - encoding, kv_stats(kv).memtable_bytes / N_OPS);
    kv_free(&kv);
    return 0;
}
