/* SPDX-License-Identifier: MIT
 * Open addressing over strings in one growing array.
 */
#include "lin/seen.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

enum { SLOTS_MIN = 1024, WORDS_MIN = 4096 };

void seen_clear(struct seen *s)
{
    s->n_used = 0;
    s->n_words = 0;
    if (++s->generation == 0) {
        if (s->slots)
            memset(s->slots, 0, s->n_slots * sizeof s->slots[0]);
        s->generation = 1;
    }
}

void seen_free(struct seen *s)
{
    mem_free(s->slots);
    mem_free(s->words);
    *s = (struct seen){0};
}

size_t seen_bytes(const struct seen *s)
{
    return s->n_words * sizeof s->words[0] + 2 * s->n_used * sizeof s->slots[0];
}

static uint64_t hash_of(const uint64_t *string, size_t n)
{
    uint64_t h = n;
    for (size_t i = 0; i < n; i++) {
        h = (h ^ string[i]) * 0x9e3779b97f4a7c15u;
        h ^= h >> 32;
    }
    return h;
}

/* The slot that holds the string, or the free one where it belongs. */
static struct seen_slot *find_slot(const struct seen *s, uint64_t hash, const uint64_t *string,
                                   size_t n)
{
    for (size_t i = hash & (s->n_slots - 1);; i = (i + 1) & (s->n_slots - 1)) {
        struct seen_slot *slot = &s->slots[i];
        if (slot->generation != s->generation)
            return slot;
        if (string && slot->hash == hash && slot->n_words == n &&
            memcmp(s->words + slot->offset, string, n * sizeof *string) == 0)
            return slot;
    }
}

static void grow_slots(struct seen *s)
{
    struct seen old = *s;
    s->n_slots = old.n_slots ? 2 * old.n_slots : SLOTS_MIN;
    s->slots = mem_array(s->n_slots, sizeof s->slots[0]);
    for (size_t i = 0; i < old.n_slots; i++)
        if (old.slots[i].generation == s->generation)
            *find_slot(s, old.slots[i].hash, NULL, 0) = old.slots[i];
    mem_free(old.slots);
}

static size_t store(struct seen *s, const uint64_t *string, size_t n)
{
    if (s->words_max - s->n_words < n) {
        s->words_max = 2 * s->words_max + n + WORDS_MIN;
        s->words = mem_realloc(s->words, s->words_max * sizeof s->words[0]);
    }
    size_t offset = s->n_words;
    memcpy(s->words + offset, string, n * sizeof *string);
    s->n_words += n;
    return offset;
}

bool seen_add(struct seen *s, const uint64_t *string, size_t n_words)
{
    ASSERT(s->generation > 0 && n_words > 0);
    if (2 * s->n_used >= s->n_slots)
        grow_slots(s);
    uint64_t hash = hash_of(string, n_words);
    struct seen_slot *slot = find_slot(s, hash, string, n_words);
    if (slot->generation == s->generation)
        return false;
    *slot = (struct seen_slot){s->generation, (uint32_t)n_words, hash, store(s, string, n_words)};
    s->n_used++;
    return true;
}
