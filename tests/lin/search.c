/* SPDX-License-Identifier: MIT
 * The depth-first search. An operation may come next when no other that is
 * still without a place has ended before its call: in the ring, when its call
 * stands before the first end. What is tried is less than everything that may
 * come next, by four rules; each takes an order that is valid and turns it
 * into a valid one that the search finds:
 *
 * - An operation that only looks, and fits, comes at once: moved forward to
 *   here it changes nothing for the others.
 * - An optional operation is placed only if it changes the value and the next
 *   one notices, that is, fits that value but not every one: else it can be left out.
 * - Of optional operations that do the same, the one called first comes first:
 *   else they can change places.
 * - Where a set of placed operations and a value were reached before and led
 *   nowhere, they are not tried again, nor with more optional ones placed.
 */
#include "lin/search.h"

#include <string.h>

#include "base/assert.h"
#include "lin/search_state.h"

enum { WORD_BITS = 64 };

static void unlink_entry(struct search *s, uint32_t e)
{
    struct search_entry *entry = &s->entries[e];
    s->entries[entry->prev].next = entry->next;
    s->entries[entry->next].prev = entry->prev;
}

/* Back to where it was: in the opposite order of unlinking. */
static void relink_entry(struct search *s, uint32_t e)
{
    struct search_entry *entry = &s->entries[e];
    s->entries[entry->prev].next = e;
    s->entries[entry->next].prev = e;
}

static void set_bit(struct search *s, const struct search_item *item)
{
    size_t word = item->bit / WORD_BITS;
    uint64_t bit = (uint64_t)1 << (item->bit % WORD_BITS);
    s->bits[item->optional ? s->required_words + word : word] ^= bit;
    if (item->optional)
        return;
    if (word < s->first_open)
        s->first_open = word;
    while (s->first_open < s->required_words && s->bits[s->first_open] == UINT64_MAX)
        s->first_open++;
}

static void place(struct search *s, uint32_t number, bool forced)
{
    struct search_item *item = &s->items[number];
    ASSERT(!item->placed && s->n_order < s->order_max);
    s->order[s->n_order++] = (struct search_frame){number, forced, s->unnoticed, s->state};
    s->state = move_apply(&item->move, s->state);
    s->unnoticed = item->optional;
    item->placed = true;
    s->n_required_placed += !item->optional;
    s->steps++;
    set_bit(s, item);
    unlink_entry(s, item->call);
    if (!item->optional)
        unlink_entry(s, item->end);
}

static struct search_frame take_back(struct search *s)
{
    struct search_frame frame = s->order[--s->n_order];
    struct search_item *item = &s->items[frame.item];
    if (!item->optional)
        relink_entry(s, item->end);
    relink_entry(s, item->call);
    set_bit(s, item);
    s->n_required_placed -= !item->optional;
    item->placed = false;
    s->unnoticed = frame.was_unnoticed;
    s->state = frame.state;
    return frame;
}

/* Places what only looks and fits. One pass is enough: the value stays, and an
 * end taken away lets the pass go on. */
static void place_looks(struct search *s)
{
    for (uint32_t e = s->entries[0].next; !s->entries[e].is_end; e = s->entries[e].next) {
        uint32_t number = s->entries[e].item;
        const struct search_item *item = &s->items[number];
        if (item->move.only_looks && move_fits(&item->move, s->state))
            place(s, number, true);
    }
}

/* Whether the search was not yet in this state, nor in one that differs only
 * in having more choice left: fewer optional ones placed, or the last one
 * noticed. Its name is: value; shape; the required bits from the first word
 * that is not full to the last that is not empty. */
static bool is_new(struct search *s)
{
    size_t left = s->n_required_placed - WORD_BITS * s->first_open;
    size_t n = SEARCH_STRING_HEAD, word = s->first_open;
    for (; left > 0; word++) {
        s->string[n++] = s->bits[word];
        left -= (size_t)__builtin_popcountll(s->bits[word]);
    }
    s->string[0] = s->state;
    s->string[1] = (uint64_t)s->first_open << 32 | (word - s->first_open);
    if (s->n_optional == 0)
        return seen_add(&s->seen, s->string, n, 0);
    uint64_t *set = s->string + n;
    memcpy(set, s->bits + s->required_words, s->optional_words * sizeof *set);
    set[s->n_optional / WORD_BITS] |= (uint64_t)s->unnoticed << (s->n_optional % WORD_BITS);
    return seen_add(&s->seen, s->string, n, s->optional_words);
}

/* Whether one that may come next is there to notice that the register holds this. */
static bool would_notice(const struct search *s, uint64_t value)
{
    for (uint32_t e = s->entries[0].next; !s->entries[e].is_end; e = s->entries[e].next) {
        const struct move *m = &s->items[s->entries[e].item].move;
        if (m->need != MOVE_ALWAYS && move_fits(m, value))
            return true;
    }
    return false;
}

static bool may_place(const struct search *s, const struct search_item *item)
{
    if (!move_fits(&item->move, s->state) || (s->unnoticed && item->move.need == MOVE_ALWAYS))
        return false;
    if (!item->optional)
        return true;
    bool is_turn = item->twin == SEARCH_NONE || s->items[item->twin].placed;
    return is_turn && item->move.leaves != s->state && would_notice(s, item->move.leaves);
}

/* Where the search is among the choices of what comes next: first all that are
 * required are tried, then all that are optional. */
struct cursor {
    bool optional;
    uint32_t entry;
};

static struct cursor first_choice(const struct search *s)
{
    return (struct cursor){false, s->entries[0].next};
}

/* Gives up the last choice, with what followed from it. */
static bool go_back(struct search *s, struct cursor *c)
{
    while (s->n_order > 0) {
        struct search_frame frame = take_back(s);
        if (frame.forced)
            continue;
        const struct search_item *item = &s->items[frame.item];
        *c = (struct cursor){item->optional, s->entries[item->call].next};
        return true;
    }
    return false;
}

static void try_item(struct search *s, struct cursor *c, uint32_t number)
{
    place(s, number, false);
    place_looks(s);
    if (is_new(s))
        *c = first_choice(s);
    else
        go_back(s, c);
}

/* Notes the dead end. Returns whether it is as far as `stuck_*` say already. */
static bool note_stuck(struct search *s, uint32_t end_entry)
{
    if (end_entry == s->stuck_entry && s->n_order == s->stuck_n_order)
        return true;
    if (end_entry > s->stuck_entry ||
        (end_entry == s->stuck_entry && s->n_order > s->stuck_n_order)) {
        s->stuck_entry = end_entry;
        s->stuck_n_order = s->n_order;
    }
    return false;
}

static enum lin_verdict walk(struct search *s, const struct lin_limits *limits, bool to_stuck)
{
    search_restart(s);
    place_looks(s);
    struct cursor c = first_choice(s);
    while (s->n_required_placed < s->n_required) {
        const struct search_entry *entry = &s->entries[c.entry];
        if (entry->is_end && !c.optional) {
            c = (struct cursor){true, s->entries[0].next};
        } else if (entry->is_end) {
            if (note_stuck(s, c.entry) && to_stuck)
                return LIN_VIOLATED;
            if (!go_back(s, &c))
                return LIN_VIOLATED;
        } else if (s->items[entry->item].optional == c.optional &&
                   may_place(s, &s->items[entry->item])) {
            if (s->steps >= limits->steps || seen_bytes(&s->seen) >= limits->bytes)
                return LIN_GAVE_UP;
            try_item(s, &c, entry->item);
        } else {
            c.entry = entry->next;
        }
    }
    return LIN_LINEARIZABLE;
}

enum lin_verdict search_run(struct search *s, const struct lin_limits *limits)
{
    search_prepare(s);
    return walk(s, limits, false);
}

void search_return_to_stuck(struct search *s)
{
    static const struct lin_limits unlimited = {UINT64_MAX, SIZE_MAX};
    uint64_t steps = s->steps;
    enum lin_verdict verdict = walk(s, &unlimited, true);
    ASSERT(verdict == LIN_VIOLATED && s->n_order == s->stuck_n_order);
    s->steps = steps;
}
