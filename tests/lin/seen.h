/* SPDX-License-Identifier: MIT
 * The states that a search has been in. Each is a string of words: a name and
 * then a set of bits that were spent to get there; of two with the same name
 * the one that spent a part of the other's bits is as good. It only grows
 * until it is cleared, and that costs nothing, however large it was.
 */
#ifndef TESTS_LIN_SEEN_H
#define TESTS_LIN_SEEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct seen_slot {
    uint32_t generation; /* of another than the set's: free */
    uint32_t shape;      /* the number of words, and whether they are a name or a whole string */
    uint64_t hash;
    size_t record; /* offset in words; that of a name is the last one with it */
};

struct seen {
    struct seen_slot *slots; /* owned */
    size_t n_slots;          /* a power of two, or 0 */
    size_t n_used;
    uint32_t generation;
    uint64_t *words; /* owned: records, each the offset of the last with its name, and a string */
    size_t n_words;
    size_t words_max;
};

/* Zero-initialised it is valid once cleared. */
void seen_clear(struct seen *s);
void seen_free(struct seen *s);
/* false, and not added: the string was there, or one as good was among the last ones added with
 * this name. */
bool seen_add(struct seen *s, const uint64_t *string, size_t name_words, size_t set_words);
/* What the states of now need. */
size_t seen_bytes(const struct seen *s);

#endif
