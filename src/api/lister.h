/* SPDX-License-Identifier: MIT
 * Going through the keys of a view that begin with a prefix, forwards or
 * backwards. With a delimiter, keys that have it after the prefix are not given
 * one by one: what they have in common up to there is given once, as directories
 * are shown in place of what is in them.
 */
#ifndef API_LISTER_H
#define API_LISTER_H

#include <stdbool.h>

#include "base/buf.h"
#include "kv/view.h"

struct lister {
    struct buf prefix, delimiter; /* owned; both may be empty */
    bool reverse;
    struct kv_view *view;     /* owned; NULL: closed, or not opened yet */
    struct kv_cursor *cursor; /* owned */
    struct buf last;          /* what was given last; empty: nothing */
    bool last_is_group;
    bool at_end;
    bool moved; /* the cursor stands at `last` */
};

/* One key, or what several have in common. */
struct lister_item {
    bool is_group;
    const uint8_t *key; /* borrowed until the next call */
    size_t key_len;
    struct kv_value value; /* of a key; borrowed likewise */
};

/* A zeroed lister with prefix, delimiter and reverse set, and perhaps lister_seek(), begins to
 * look. Takes view. */
void lister_open(struct lister *l, struct kv_view *view);
/* Lets go of the view: memory and pages. Whatever it gave is gone. Any number of times. */
void lister_close(struct lister *l);
void lister_free(struct lister *l);

/* NOT_FOUND at the end; CORRUPT, TIMEOUT or IO as kv_cursor_ops has them, and TIMEOUT when it was
 * closed. */
MUST_CHECK int lister_next(struct lister *l, struct lister_item *ret_item);

/* A token for what was given last, to go on after it at another time. Appends to out. */
void lister_token(const struct lister *l, struct buf *out);
/* Begin after that. Untrusted bytes: INVALID when it is no token, or one of another prefix. */
MUST_CHECK int lister_seek(struct lister *l, const void *token, size_t len);

#endif
