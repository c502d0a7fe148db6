/* SPDX-License-Identifier: MIT
 * A set of word strings that only grows until it is cleared: the states that
 * a search has been in. Clearing costs nothing, however large it was.
 */
#ifndef TESTS_LIN_SEEN_H
#define TESTS_LIN_SEEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct seen_slot {
    uint32_t generation; /* of another than the set's: free */
    uint32_t n_words;
    uint64_t hash;
    size_t offset; /* in words */
};

struct seen {
    struct seen_slot *slots; /* owned */
    size_t n_slots;          /* a power of two, or 0 */
    size_t n_used;
    uint32_t generation;
    uint64_t *words; /* owned: all strings, one after the other */
    size_t n_words;
    size_t words_max;
};

/* Zero-initialised it is valid once cleared. */
void seen_clear(struct seen *s);
void seen_free(struct seen *s);
/* false: it was there. */
bool seen_add(struct seen *s, const uint64_t *string, size_t n_words);
/* What the strings of now need. */
size_t seen_bytes(const struct seen *s);

#endif
