/* SPDX-License-Identifier: MIT
 * A fuzz target: one function that takes any bytes, and ends the process when
 * something is wrong. Two programs are made of it: by fuzz_main.c one that
 * runs a while in `make check`, and by clang's libFuzzer one that searches
 * (make check-fuzz).
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* The target. libFuzzer prescribes the name. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Where to start from. */
unsigned fuzz_n_seeds(void);
void fuzz_seed(unsigned i, struct buf *out);

#endif
