/* SPDX-License-Identifier: MIT
 * Power that fails a second time, while the store recovers from the first.
 */
#ifndef POWER_RECOVER_H
#define POWER_RECOVER_H

#include "history.h"

/* Lets the power fail somewhere in h, with some damage; the store is opened on what is left, does
 * what it does then, and is closed. That becomes the trace of h, in place of its own; what was
 * promised stays. root: where the files are, removed first. */
void recover(struct history *h, const char *root);

#endif
