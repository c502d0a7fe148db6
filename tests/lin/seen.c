/* SPDX-License-Identifier: MIT
 * Open addressing over strings in one growing array.
 */
#include "lin/seen.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

enum { SLOTS_MIN = 1024, WORDS_MIN = 4096 };

/* Of the strings with the same name. They can be very many, and looking at
 * more of them makes the search shorter and the whole slower (measured: 0 gives
 * up on what 16 solve; 256 saves few steps more and doubles the time). */
enum { COMPARED_MAX = 32 };

#define NO_RECORD SIZE_MAX

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

/* What a slot stands for: the first n words of a string, being all or its name. */
struct wanted {
    const uint64_t *words;
    size_t n;
    uint32_t shape;
    uint64_t hash;
};

static struct wanted wanted_of(const uint64_t *string, size_t n, bool is_name)
{
    uint64_t h = n << 1 | is_name;
    for (size_t i = 0; i < n; i++) {
        h = (h ^ string[i]) * 0x9e3779b97f4a7c15u;
        h ^= h >> 32;
    }
    return (struct wanted){string, n, (uint32_t)n << 1 | is_name, h};
}

static const uint64_t *string_at(const struct seen *s, size_t record)
{
    return s->words + record + 1;
}

/* The slot of what is wanted, or the free one where it belongs. */
static struct seen_slot *find_slot(const struct seen *s, const struct wanted *w)
{
    for (size_t i = w->hash & (s->n_slots - 1);; i = (i + 1) & (s->n_slots - 1)) {
        struct seen_slot *slot = &s->slots[i];
        if (slot->generation != s->generation)
            return slot;
        if (w->words && slot->hash == w->hash && slot->shape == w->shape &&
            memcmp(string_at(s, slot->record), w->words, w->n * sizeof w->words[0]) == 0)
            return slot;
    }
}

static void grow_slots(struct seen *s)
{
    struct seen old = *s;
    s->n_slots = old.n_slots ? 2 * old.n_slots : SLOTS_MIN;
    s->slots = mem_array(s->n_slots, sizeof s->slots[0]);
    for (size_t i = 0; i < old.n_slots; i++) {
        struct wanted any = {.hash = old.slots[i].hash};
        if (old.slots[i].generation == s->generation)
            *find_slot(s, &any) = old.slots[i];
    }
    mem_free(old.slots);
}

static void use_slot(struct seen *s, const struct wanted *w, size_t record)
{
    struct seen_slot *slot = find_slot(s, w);
    s->n_used += slot->generation != s->generation;
    *slot = (struct seen_slot){s->generation, w->shape, w->hash, record};
}

static size_t add_record(struct seen *s, const struct wanted *w, size_t last_of_name)
{
    if (s->words_max - s->n_words < w->n + 1) {
        s->words_max = 2 * s->words_max + w->n + WORDS_MIN;
        s->words = mem_realloc(s->words, s->words_max * sizeof s->words[0]);
    }
    size_t record = s->n_words;
    s->words[record] = last_of_name;
    memcpy(s->words + record + 1, w->words, w->n * sizeof w->words[0]);
    s->n_words += w->n + 1;
    return record;
}

static bool is_part_of(const uint64_t *part, const uint64_t *set, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (part[i] & ~set[i])
            return false;
    return true;
}

/* Whether the last ones with this name have one that spent a part of the set. */
static bool has_as_good(const struct seen *s, size_t record, const struct wanted *name,
                        size_t set_words)
{
    const uint64_t *set = name->words + name->n;
    for (unsigned i = 0; i < COMPARED_MAX && record != NO_RECORD; i++) {
        if (is_part_of(string_at(s, record) + name->n, set, set_words))
            return true;
        record = (size_t)s->words[record];
    }
    return false;
}

bool seen_add(struct seen *s, const uint64_t *string, size_t name_words, size_t set_words)
{
    ASSERT(s->generation > 0 && name_words > 0);
    if (2 * (s->n_used + 2) >= s->n_slots)
        grow_slots(s);
    struct wanted whole = wanted_of(string, name_words + set_words, false);
    if (find_slot(s, &whole)->generation == s->generation)
        return false;
    size_t last = NO_RECORD;
    struct wanted name = wanted_of(string, name_words, true);
    if (set_words > 0) {
        const struct seen_slot *slot = find_slot(s, &name);
        last = slot->generation == s->generation ? slot->record : NO_RECORD;
        if (has_as_good(s, last, &name, set_words))
            return false;
    }
    size_t record = add_record(s, &whole, last);
    use_slot(s, &whole, record);
    if (set_words > 0)
        use_slot(s, &name, record);
    return true;
}
