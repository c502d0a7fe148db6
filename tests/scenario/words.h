/* SPDX-License-Identifier: MIT
 * A line of a story, cut into words, and what is wrong with them.
 */
#ifndef TESTS_SCENARIO_WORDS_H
#define TESTS_SCENARIO_WORDS_H

#include "world.h"

enum { WORDS_MAX = 24 };

struct words {
    char *w[WORDS_MAX + 1]; /* NULL after the last */
    unsigned n;
};

extern const char WORDS_TOO_FEW[], WORDS_NO_NODE[], WORDS_IS_DOWN[], WORDS_NOT_SO[];

/* Cuts up line, which *ret_a points into afterwards. NULL, or what is wrong. */
const char *words_split(char *line, struct words *ret_a);
/* NULL is no number, and no node. */
bool words_number(const char *word, unsigned *ret_n);
bool words_node(const struct world *w, const char *word, unsigned *ret_node);
/* A node that is up. NULL, or what is wrong. */
const char *words_up(const struct world *w, const char *word, unsigned *ret_node);

#endif
