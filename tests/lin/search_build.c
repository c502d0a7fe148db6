/* SPDX-License-Identifier: MIT
 * Takes one register's operations and makes the ring that the search walks.
 */
#include "lin/search.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "lin/search_state.h"

enum { ROOM_MIN = 64, WORD_BITS = 64 };

/* Returns the array with room for one more element. */
static void *room_for_one(void *array, uint32_t n, uint32_t *max, size_t bytes)
{
    if (n < *max)
        return array;
    ASSERT(n < UINT32_MAX / 4);
    *max = n ? 2 * n : ROOM_MIN;
    return mem_realloc(array, *max * bytes);
}

void search_free(struct search *s)
{
    mem_free(s->items);
    mem_free(s->entries);
    mem_free(s->order);
    mem_free(s->bits);
    mem_free(s->string);
    mem_free(s->wanted);
    seen_free(&s->seen);
    *s = (struct search){0};
}

static uint32_t add_entry(struct search *s, uint32_t item, bool is_end)
{
    s->entries = room_for_one(s->entries, s->n_entries, &s->entries_max, sizeof s->entries[0]);
    s->entries[s->n_entries] = (struct search_entry){.item = item, .is_end = is_end};
    return s->n_entries++;
}

void search_clear(struct search *s)
{
    s->n_items = 0;
    s->n_entries = 0;
    s->n_required = 0;
    s->n_optional = 0;
    s->stuck_entry = 0;
    s->stuck_n_order = 0;
    s->steps = 0;
    add_entry(s, SEARCH_NONE, true);
}

uint32_t search_add_call(struct search *s, size_t op, const struct move *move, bool optional)
{
    s->items = room_for_one(s->items, s->n_items, &s->items_max, sizeof s->items[0]);
    struct search_item *item = &s->items[s->n_items];
    *item = (struct search_item){
        .op = op, .move = *move, .optional = optional, .twin = SEARCH_NONE, .end = SEARCH_NONE};
    item->call = add_entry(s, s->n_items, false);
    if (!optional)
        item->bit = s->n_required++;
    return s->n_items++;
}

void search_add_end(struct search *s, uint32_t item)
{
    s->items[item].end = add_entry(s, item, true);
}

static int compare_values(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

/* What the moves of a register ask for. */
struct wishes {
    const uint64_t *values; /* sorted */
    uint32_t n;
    bool has_unless;
    uint64_t unless_min, unless_max;
};

static struct wishes collect_wishes(struct search *s)
{
    struct wishes w = {0};
    if (s->wanted_max < s->n_items) {
        s->wanted_max = s->n_items;
        s->wanted = mem_realloc(s->wanted, s->wanted_max * sizeof s->wanted[0]);
    }
    for (uint32_t i = 0; i < s->n_items; i++) {
        const struct move *m = &s->items[i].move;
        if (m->need == MOVE_IF)
            s->wanted[w.n++] = m->what;
        if (m->need != MOVE_UNLESS)
            continue;
        w.unless_min = w.has_unless && w.unless_min < m->what ? w.unless_min : m->what;
        w.unless_max = w.has_unless && w.unless_max > m->what ? w.unless_max : m->what;
        w.has_unless = true;
    }
    qsort(s->wanted, w.n, sizeof s->wanted[0], compare_values);
    w.values = s->wanted;
    return w;
}

static bool is_wished(const struct wishes *w, uint64_t value)
{
    if (w->has_unless && (w->unless_min != value || w->unless_max != value))
        return true;
    return bsearch(&value, w->values, w->n, sizeof value, compare_values) != NULL;
}

/* An optional operation whose value nobody asks for can be left out of any
 * order: most of a history's unknown writes are. */
static void drop_useless(struct search *s)
{
    struct wishes w = collect_wishes(s);
    for (uint32_t i = 0; i < s->n_items; i++) {
        struct search_item *item = &s->items[i];
        item->useless = item->optional && !is_wished(&w, item->move.leaves);
    }
}

static bool is_same_move(const struct move *a, const struct move *b)
{
    return a->need == b->need && a->what == b->what && a->leaves == b->leaves;
}

static void number_optional(struct search *s)
{
    for (uint32_t i = 0; i < s->n_items; i++) {
        struct search_item *item = &s->items[i];
        if (!item->optional || item->useless)
            continue;
        item->bit = s->n_optional++;
        for (uint32_t j = i; j-- > 0 && item->twin == SEARCH_NONE;) {
            const struct search_item *other = &s->items[j];
            if (other->optional && !other->useless && is_same_move(&other->move, &item->move))
                item->twin = j;
        }
    }
}

static void make_room(struct search *s)
{
    s->required_words = (s->n_required + WORD_BITS - 1) / WORD_BITS;
    s->optional_words = s->n_optional / WORD_BITS + 1;
    size_t n = s->required_words + s->optional_words;
    if (n > s->bits_max || !s->bits) {
        s->bits_max = 2 * n + 1;
        s->bits = mem_realloc(s->bits, s->bits_max * sizeof s->bits[0]);
        s->string =
            mem_realloc(s->string, (s->bits_max + SEARCH_STRING_HEAD) * sizeof s->string[0]);
    }
    if (s->order_max < s->n_items || !s->order) {
        s->order_max = 2 * s->n_items + 1;
        s->order = mem_realloc(s->order, s->order_max * sizeof s->order[0]);
    }
}

void search_prepare(struct search *s)
{
    if (s->n_required < s->n_items) {
        drop_useless(s);
        number_optional(s);
    }
    make_room(s);
}

void search_restart(struct search *s)
{
    memset(s->bits, 0, (s->required_words + s->optional_words) * sizeof s->bits[0]);
    s->first_open = 0;
    s->n_order = 0;
    s->n_required_placed = 0;
    s->state = LIN_ABSENT;
    s->unnoticed = false;
    seen_clear(&s->seen);
    uint32_t last = 0;
    for (uint32_t e = 1; e < s->n_entries; e++) {
        struct search_item *item = &s->items[s->entries[e].item];
        item->placed = false;
        if (item->useless)
            continue;
        s->entries[e].prev = last;
        s->entries[last].next = e;
        last = e;
    }
    s->entries[last].next = 0;
    s->entries[0].prev = last;
}
