/* SPDX-License-Identifier: MIT
 * Allocation that ends the process when memory is gone: recovery is crash
 * recovery. Sizes that come from outside are bounded before they get here.
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>

void *mem_alloc(size_t bytes);
void *mem_zalloc(size_t bytes);
/* Array of n zeroed elements; ends the process when n * bytes overflows. */
void *mem_array(size_t n, size_t bytes);
void *mem_realloc(void *p, size_t bytes);
void *mem_dup(const void *p, size_t bytes);
char *mem_strdup(const char *s);
void mem_free(void *p);

/* Frees *p and sets it to NULL. */
#define MEM_FREE(p) (mem_free(p), (p) = NULL)

#endif
