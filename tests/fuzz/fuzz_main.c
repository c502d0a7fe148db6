/* SPDX-License-Identifier: MIT
 * Runs a fuzz target without libFuzzer:
 *
 *     fuzz_X                    random changes of the seeds for FUZZ_MS milliseconds (2000)
 *     fuzz_X --seeds DIR        writes the seeds as files into DIR
 *     fuzz_X FILE...            each file once: what libFuzzer found, for instance
 *
 * A run says the number it starts from; FUZZ_FROM=NUMBER repeats it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "fuzz.h"

enum { CHANGES_MAX = 8, BYTES_MAX = 1 << 16 };

/* ---- files ---- */

static int run_file(const char *path)
{
    uint8_t *bytes = mem_alloc(BYTES_MAX);
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        return 1;
    }
    size_t len = fread(bytes, 1, BYTES_MAX, f);
    fclose(f);
    LLVMFuzzerTestOneInput(bytes, len);
    mem_free(bytes);
    return 0;
}

static int write_seeds(const char *dir)
{
    for (unsigned i = 0; i < fuzz_n_seeds(); i++) {
        struct buf b = BUF_INIT, path = BUF_INIT;
        fuzz_seed(i, &b);
        buf_printf(&path, "%s/seed-%u", dir, i);
        FILE *f = fopen(buf_str(&path), "wb");
        if (!f || fwrite(b.data, 1, b.len, f) != b.len || fclose(f) != 0) {
            perror(buf_str(&path));
            return 1;
        }
        buf_free(&path);
        buf_free(&b);
    }
    return 0;
}

/* ---- changes ---- */

static void overwrite(struct buf *b, struct rng *rng)
{
    static const uint8_t telling[] = {0, 1, 2, 0x7f, 0x80, 0xff};
    uint8_t value =
        rng_next(rng) % 2 ? telling[rng_next(rng) % sizeof telling] : (uint8_t)rng_next(rng);
    b->data[rng_next(rng) % b->len] = value;
}

static void flip_bit(struct buf *b, struct rng *rng)
{
    b->data[rng_next(rng) % b->len] ^= (uint8_t)(1u << rng_next(rng) % 8);
}

static void cut_out(struct buf *b, struct rng *rng)
{
    size_t from = rng_next(rng) % b->len;
    size_t n = rng_range(rng, 1, b->len - from < 16 ? b->len - from : 16);
    memmove(b->data + from, b->data + from + n, b->len - from - n);
    b->len -= n;
}

/* A piece of itself once more, somewhere. */
static void repeat(struct buf *b, struct rng *rng)
{
    size_t from = rng_next(rng) % b->len, to = rng_next(rng) % b->len;
    size_t n = rng_range(rng, 1, b->len - from < 64 ? b->len - from : 64);
    uint8_t piece[64];
    memcpy(piece, b->data + from, n);
    buf_reserve(b, n);
    memmove(b->data + to + n, b->data + to, b->len - to);
    memcpy(b->data + to, piece, n);
    b->len += n;
}

static void change(struct buf *b, struct rng *rng)
{
    static void (*const changes[])(struct buf *, struct rng *) = {overwrite, overwrite, flip_bit,
                                                                  cut_out, repeat};
    for (uint64_t n = rng_range(rng, 1, CHANGES_MAX); n > 0 && b->len > 0; n--)
        changes[rng_next(rng) % (sizeof changes / sizeof changes[0])](b, rng);
}

static void run_changes(uint64_t from, uint64_t for_ms)
{
    uint64_t end_ms = clock_now_ms() + for_ms, n = 0;
    struct buf b = BUF_INIT;
    printf("from %llu\n", (unsigned long long)from);
    fflush(stdout);
    for (; clock_now_ms() < end_ms; n++) {
        struct rng rng = {from + n};
        buf_clear(&b);
        fuzz_seed((unsigned)(rng_next(&rng) % fuzz_n_seeds()), &b);
        change(&b, &rng);
        /* Of just this size, so that reading on is seen by a sanitizer. */
        uint8_t *exact = mem_dup(b.data, b.len);
        LLVMFuzzerTestOneInput(exact, b.len);
        mem_free(exact);
    }
    buf_free(&b);
    printf("%llu inputs\n", (unsigned long long)n);
}

static uint64_t number_from_environment(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : otherwise;
}

int main(int argc, char *argv[])
{
    if (argc == 3 && strcmp(argv[1], "--seeds") == 0)
        return write_seeds(argv[2]);
    int status = 0;
    for (int i = 1; i < argc; i++)
        status |= run_file(argv[i]);
    if (argc == 1)
        run_changes(number_from_environment("FUZZ_FROM", clock_now_us() << 20),
                    number_from_environment("FUZZ_MS", 2000));
    return status;
}
