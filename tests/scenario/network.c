/* SPDX-License-Identifier: MIT
 * Which messages arrive, when, and how often.
 */
#include "network.h"

#include <string.h>

#include "trace.h"

/* Which letters: FROM>TO or *, then the name of a message, then how many. */
struct selection {
    unsigned from, to; /* 0: any */
    const char *name;  /* NULL: any */
    unsigned count;
};

static bool read_end(const struct world *w, const char *p, size_t len, unsigned *ret_node)
{
    *ret_node = len == 1 ? (unsigned)(p[0] - '0') : 0;
    return len == 1 &&
           (p[0] == '*' ? (*ret_node = 0) == 0 : *ret_node >= 1 && *ret_node <= w->n_nodes);
}

static bool read_line(const struct world *w, const char *word, unsigned *ret_from, unsigned *ret_to)
{
    const char *sign = word ? strchr(word, '>') : NULL;
    return sign && read_end(w, word, (size_t)(sign - word), ret_from) &&
           read_end(w, sign + 1, strlen(sign + 1), ret_to);
}

static bool read_selection(const struct world *w, const struct words *a, struct selection *ret_s)
{
    struct selection s = {0, 0, NULL, UINT32_MAX};
    unsigned i = 1;
    if (a->n > i && strcmp(a->w[i], "*") != 0 && !read_line(w, a->w[i], &s.from, &s.to))
        return false;
    i++;
    if (a->n > i && !words_number(a->w[i], &s.count))
        s.name = a->w[i];
    if (a->n > ++i && !words_number(a->w[i], &s.count))
        return false;
    *ret_s = s;
    return true;
}

static unsigned choose(struct world *w, const struct selection *s)
{
    unsigned n = 0;
    for (struct letter *l = w->in_flight; l; l = l->next) {
        l->chosen = n < s->count && (s->from == 0 || s->from == world_node(l->m.from)) &&
                    (s->to == 0 || s->to == world_node(l->m.to)) &&
                    (!s->name || strcmp(s->name, trace_message_name(&l->m)) == 0);
        n += l->chosen;
    }
    return n;
}

/* Where the first chosen letter hangs; NULL: there is none. */
static struct letter **next_chosen(struct world *w)
{
    struct letter **at = &w->in_flight;
    while (*at && !(*at)->chosen)
        at = &(*at)->next;
    return *at ? at : NULL;
}

const char *network_settle(struct world *w, const struct words *a)
{
    (void)a;
    w->hushed = true;
    world_settle(w);
    w->hushed = false;
    return NULL;
}

const char *network_deliver(struct world *w, const struct words *a)
{
    struct selection s;
    if (a->n == 1) {
        world_settle(w);
        return NULL;
    }
    if (!read_selection(w, a, &s))
        return WORDS_NOT_SO;
    if (choose(w, &s) == 0)
        return "nothing of the kind is in flight";
    for (struct letter **at = next_chosen(w); at; at = next_chosen(w))
        world_deliver(w, at);
    return NULL;
}

/* Delivers what N asks for and is told, and no more. */
const char *network_votes(struct world *w, const struct words *a)
{
    static const char *const names[] = {"pre-vote", "pre-vote-reply", "vote", "vote-reply"};
    struct selection s = {0, 0, NULL, UINT32_MAX};
    unsigned node;
    const char *wrong = words_up(w, a->w[1], &node);
    if (wrong)
        return wrong;
    for (unsigned i = 0; i < 4; i++) {
        s.name = names[i];
        s.from = i % 2 == 0 ? node : 0;
        s.to = i % 2 == 0 ? 0 : node;
        (void)choose(w, &s);
        for (struct letter **at = next_chosen(w); at; at = next_chosen(w))
            world_deliver(w, at);
    }
    return NULL;
}

enum fate { DROP, STASH, COPY };

static const char *set_aside(struct world *w, const struct words *a, enum fate fate)
{
    struct selection s;
    if (!read_selection(w, a, &s))
        return WORDS_NOT_SO;
    if (choose(w, &s) == 0)
        return "nothing of the kind is in flight";
    for (struct letter **at = next_chosen(w); at; at = next_chosen(w)) {
        (*at)->chosen = false;
        if (fate != DROP)
            world_post(&w->stash, &(*at)->m);
        if (fate != COPY)
            world_drop(at);
    }
    return NULL;
}

const char *network_drop(struct world *w, const struct words *a)
{
    return set_aside(w, a, DROP);
}

const char *network_stash(struct world *w, const struct words *a)
{
    return set_aside(w, a, STASH);
}

const char *network_copy(struct world *w, const struct words *a)
{
    return set_aside(w, a, COPY);
}

const char *network_unstash(struct world *w, const struct words *a)
{
    (void)a;
    while (w->stash) {
        world_post(&w->in_flight, &w->stash->m);
        world_drop(&w->stash);
    }
    return NULL;
}

const char *network_flight(struct world *w, const struct words *a)
{
    struct selection s;
    if (!read_selection(w, a, &s))
        return WORDS_NOT_SO;
    if (choose(w, &s) == 0)
        buf_append_str(w->trace, "  nothing\n");
    for (struct letter *l = w->in_flight; l; l = l->next) {
        if (!l->chosen)
            continue;
        buf_append_str(w->trace, "  ");
        trace_message(w->trace, &l->m);
        buf_append_str(w->trace, "\n");
    }
    return NULL;
}

/* cut 1 | 2 3: both ways between the groups. cut 1>2: one way. */
const char *network_cut(struct world *w, const struct words *a)
{
    unsigned group[WORLD_NODES + 1] = {0}, now = 1, from, to;
    if (a->n < 2)
        return WORDS_TOO_FEW;
    if (a->n == 2 && read_line(w, a->w[1], &from, &to)) {
        for (unsigned i = 1; i <= w->n_nodes; i++)
            for (unsigned k = 1; k <= w->n_nodes; k++)
                if (i != k && (from == 0 || from == i) && (to == 0 || to == k))
                    w->cut[i][k] = true;
        return NULL;
    }
    for (unsigned i = 1; i < a->n; i++) {
        if (strcmp(a->w[i], "|") == 0)
            now++;
        else if (words_node(w, a->w[i], &from))
            group[from] = now;
        else
            return WORDS_NOT_SO;
    }
    for (unsigned i = 1; i <= w->n_nodes; i++)
        for (unsigned k = 1; k <= w->n_nodes; k++)
            if (group[i] && group[k] && group[i] != group[k])
                w->cut[i][k] = true;
    return NULL;
}

const char *network_heal(struct world *w, const struct words *a)
{
    (void)a;
    memset(w->cut, 0, sizeof w->cut);
    return NULL;
}

const char *network_unreachable(struct world *w, const struct words *a)
{
    unsigned node, peer;
    const char *wrong = words_up(w, a->w[1], &node);
    if (wrong || !words_node(w, a->w[2], &peer))
        return wrong ? wrong : WORDS_NO_NODE;
    raft_unreachable(w->nodes[node].core, world_id(peer));
    world_pump(w, node);
    return NULL;
}
