/* SPDX-License-Identifier: MIT
 * Rows and columns for people: as wide as they must be, with a head, which a
 * terminal shows in bold.
 */
#ifndef CTL_TABLE_H
#define CTL_TABLE_H

#include <stdbool.h>
#include <stdio.h>

#include "base/err.h"

enum table_color { TABLE_PLAIN, TABLE_GOOD, TABLE_BAD, TABLE_FAINT };

struct table; /* opaque */

/* heads: one for each column, separated by '|'; ">" before one: its cells stand at the right. */
struct table *table_new(const char *heads);
void table_free(struct table **t);
/* Fills the next cell, row after row. What is formatted is text that a terminal may be given. */
void table_cell(struct table *t, enum table_color color, const char *fmt, ...) PRINTF_LIKE(3, 4);
void table_print(const struct table *t, bool color, FILE *out);

/* Begins and ends a colour, or nothing. */
const char *table_color_start(bool color, enum table_color which);
const char *table_color_end(bool color, enum table_color which);

#endif
