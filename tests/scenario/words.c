/* SPDX-License-Identifier: MIT
 * Words of a line.
 */
#include "words.h"

#include <stdlib.h>
#include <string.h>

const char WORDS_TOO_FEW[] = "not enough words";
const char WORDS_NO_NODE[] = "no such node";
const char WORDS_IS_DOWN[] = "it is down";
const char WORDS_NOT_SO[] = "not in this form";

const char *words_split(char *line, struct words *ret_a)
{
    char *rest = NULL;
    *ret_a = (struct words){{NULL}, 0};
    for (char *p = strtok_r(line, " \t", &rest); p; p = strtok_r(NULL, " \t", &rest)) {
        if (ret_a->n == WORDS_MAX)
            return "too many words";
        ret_a->w[ret_a->n++] = p;
    }
    return ret_a->n ? NULL : WORDS_TOO_FEW;
}

bool words_number(const char *word, unsigned *ret_n)
{
    char *end;
    unsigned long v = word ? strtoul(word, &end, 10) : 0;
    if (!word || end == word || *end || v > 100000)
        return false;
    *ret_n = (unsigned)v;
    return true;
}

bool words_node(const struct world *w, const char *word, unsigned *ret_node)
{
    return words_number(word, ret_node) && *ret_node >= 1 && *ret_node <= w->n_nodes;
}

const char *words_up(const struct world *w, const char *word, unsigned *ret_node)
{
    if (!words_node(w, word, ret_node))
        return WORDS_NO_NODE;
    return w->nodes[*ret_node].core ? NULL : WORDS_IS_DOWN;
}
