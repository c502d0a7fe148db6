/* SPDX-License-Identifier: MIT
 * Keys as the command line gives them.
 */
#ifndef CTL_KEY_H
#define CTL_KEY_H

#include "base/buf.h"
#include "ctl/ctl.h"

/* The first word, decoded when --key-b64 says so. INVALID after a line on standard error. */
MUST_CHECK int key_word(const struct ctl *c, struct buf *key);

#endif
