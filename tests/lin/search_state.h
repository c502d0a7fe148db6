/* SPDX-License-Identifier: MIT
 * Between the files of the search.
 */
#ifndef TESTS_LIN_SEARCH_STATE_H
#define TESTS_LIN_SEARCH_STATE_H

#include "lin/search.h"

/* The words of a string for seen before the bits: value; shape. */
#define SEARCH_STRING_HEAD 2

/* Finds out what may be left out, numbers the optional ones, makes room. Once. */
void search_prepare(struct search *s);
/* Nothing is placed and all is in the ring. */
void search_restart(struct search *s);

#endif
