/* SPDX-License-Identifier: MIT
 * Opens an image with the real store, and says whether what it finds is what a
 * node may find that lost power then.
 */
#ifndef POWER_CHECK_H
#define POWER_CHECK_H

#include "base/buf.h"
#include "history.h"

enum check_result {
    CHECK_RIGHT,
    CHECK_REFUSED, /* the store says that the files are damaged; it may still hold some of them */
    CHECK_WRONG
};

/* dir: the image's root. marks: what had been said by then. go_on: also writes to it, opens it once
 * more and looks again. Unless right, one line for people is appended to why. */
enum check_result check_image(const struct history *h, const uint64_t marks[MARKS], const char *dir,
                              bool go_on, struct buf *why);

/* The same for histories of the checkpointed state, and of a node; check_image() calls them. */
enum check_result check_state(const struct history *h, const uint64_t marks[MARKS], const char *dir,
                              bool go_on, struct buf *why);

enum check_result check_node(const struct history *h, const uint64_t marks[MARKS], const char *dir,
                             bool go_on, struct buf *why);

#endif
