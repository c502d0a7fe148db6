/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE /* memmem */
#include "api/lister.h"

#include <string.h>

#include "base/assert.h"

enum { TOKEN_KEY = 'k', TOKEN_GROUP = 'g' };

/* ---- places ---- */

static bool begins_with(const void *p, size_t len, const struct buf *prefix)
{
    return len >= prefix->len && (prefix->len == 0 || memcmp(p, prefix->data, prefix->len) == 0);
}

/* Makes b the least key above all that begin with it; false: there is none. */
static bool step_over(struct buf *b)
{
    while (b->len > 0 && b->data[b->len - 1] == 0xff)
        b->len--;
    if (b->len == 0)
        return false;
    b->data[b->len - 1]++;
    return true;
}

/* The bytes of the group that a key belongs to; 0: none. */
static size_t group_len(const struct lister *l, const uint8_t *key, size_t len)
{
    const uint8_t *d = l->delimiter.data;
    size_t from = l->prefix.len, n = l->delimiter.len;
    const uint8_t *found = n > 0 ? memmem(key + from, len - from, d, n) : NULL;
    return found ? (size_t)(found - key) + n : 0;
}

/* ---- moves ---- */

/* The first one after what was given last, wherever the cursor stands. */
static int first_forwards(struct lister *l, struct kv_record *ret_record)
{
    struct buf from = BUF_INIT;
    const struct buf *start = l->last.len > 0 ? &l->last : &l->prefix;
    bool is_any = true;
    buf_append(&from, start->data, start->len);
    if (l->last.len > 0 && l->last_is_group)
        is_any = step_over(&from);
    int err = is_any ? kv_cursor_seek(l->cursor, from.data, from.len, ret_record) : ERR_NOT_FOUND;
    if (!err && l->last.len > 0 && ret_record->key_len == from.len &&
        memcmp(ret_record->key, from.data, from.len) == 0 && !l->last_is_group)
        err = kv_cursor_next(l->cursor, ret_record);
    buf_free(&from);
    return err;
}

static int backwards(struct lister *l, struct kv_record *ret_record)
{
    if (l->last.len > 0)
        return kv_cursor_below(l->cursor, l->last.data, l->last.len, ret_record);
    struct buf bound = BUF_INIT;
    buf_append(&bound, l->prefix.data, l->prefix.len);
    if (!step_over(&bound))
        buf_clear(&bound); /* from the last of all */
    int err = kv_cursor_below(l->cursor, bound.data, bound.len, ret_record);
    buf_free(&bound);
    return err;
}

static int move(struct lister *l, struct kv_record *ret_record)
{
    if (l->reverse)
        return backwards(l, ret_record);
    if (l->moved && !l->last_is_group)
        return kv_cursor_next(l->cursor, ret_record);
    return first_forwards(l, ret_record);
}

static void note(struct lister *l, const uint8_t *key, size_t len, bool is_group)
{
    buf_clear(&l->last);
    buf_append(&l->last, key, len);
    l->last_is_group = is_group;
    l->moved = true;
}

int lister_next(struct lister *l, struct lister_item *ret_item)
{
    struct kv_record r;
    if (l->at_end)
        return ERR_NOT_FOUND;
    if (!l->cursor)
        return ERR_TIMEOUT;
    int err = move(l, &r);
    if (!err && !begins_with(r.key, r.key_len, &l->prefix))
        err = ERR_NOT_FOUND;
    l->at_end = err == ERR_NOT_FOUND;
    if (err)
        return err;
    size_t group = group_len(l, r.key, r.key_len);
    note(l, r.key, group ? group : r.key_len, group > 0);
    *ret_item = (struct lister_item){
        .is_group = group > 0, .key = l->last.data, .key_len = l->last.len, .value = r.value};
    return 0;
}

/* ---- tokens ---- */

void lister_token(const struct lister *l, struct buf *out)
{
    ASSERT(l->last.len > 0);
    buf_put_u8(out, l->last_is_group ? TOKEN_GROUP : TOKEN_KEY);
    buf_append(out, l->last.data, l->last.len);
}

int lister_seek(struct lister *l, const void *token, size_t len)
{
    const uint8_t *p = token;
    bool is_group = len > 0 && p[0] == TOKEN_GROUP;
    if (len < 2 || len > 1 + LIMIT_KEY_BYTES || (!is_group && p[0] != TOKEN_KEY) ||
        !begins_with(p + 1, len - 1, &l->prefix))
        return ERR_INVALID;
    note(l, p + 1, len - 1, is_group);
    l->moved = false;
    return 0;
}

/* ---- life ---- */

void lister_open(struct lister *l, struct kv_view *view)
{
    l->view = view;
    l->cursor = kv_view_cursor(view);
    l->moved = false;
}

void lister_close(struct lister *l)
{
    kv_cursor_close(&l->cursor);
    kv_view_close(&l->view);
}

void lister_free(struct lister *l)
{
    lister_close(l);
    buf_free(&l->prefix);
    buf_free(&l->delimiter);
    buf_free(&l->last);
}
