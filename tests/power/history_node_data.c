/* SPDX-License-Identifier: MIT
 * Entries of a node, what they mean, and what a data directory holds of them.
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "history_node.h"
#include "kv/view.h"

#define KEYS 40

const struct uuid history_node_member = {7, 7};

/* ---- entries and what they mean ---- */

struct raft_entry *history_node_entry(const struct history *h, struct raft_pos pos)
{
    struct rng rng = {history_mixed(h->seed, history_mixed(pos.index, pos.term))};
    struct kv_origin origin = {history_node_member, 1, pos.index, pos.index, 1};
    uint8_t head[KV_ORIGIN_BYTES_MAX];
    struct buf command = BUF_INIT, value = BUF_INIT;
    char key[16];
    snprintf(key, sizeof key, "key-%02u", (unsigned)rng_range(&rng, 0, KEYS - 1));
    bool deletes = rng_range(&rng, 0, 3) == 0;
    for (uint64_t left = rng_range(&rng, 0, history_node_value_max(h)); left > 0; left--)
        buf_append(&value, &(uint8_t){(uint8_t)rng_next(&rng)}, 1);
    struct kv_op op = {.type = deletes ? KV_OP_DELETE : KV_OP_SET,
                       .key = (const uint8_t *)key,
                       .key_len = strlen(key),
                       .value = value.data,
                       .value_len = deletes ? 0 : value.len};
    buf_append(&command, head, kv_origin_encode(&origin, head));
    kv_body_encode(KV_SINGLE, &op, 1, &command);
    struct raft_entry *e = raft_entry_new(RAFT_ENTRY_COMMAND, pos, (uint32_t)command.len);
    memcpy(e->data, command.data, command.len);
    buf_free(&command);
    buf_free(&value);
    return e;
}

int history_node_apply(struct kv *kv, const struct raft_entry *e)
{
    struct kv_pos pos = {e->pos.term, e->pos.index};
    struct kv_result result;
    if (pos.index == 1) {
        kv_apply_members(kv, pos, &history_node_member, 1);
        return 0;
    }
    int err = kv_apply(kv, pos, e->data, e->len, &result);
    return err ? err : result.err;
}

int history_node_digest(struct kv *kv, uint64_t *ret_digest)
{
    struct kv_view *view = kv_view_new(kv);
    struct kv_cursor *c = kv_view_cursor(view);
    struct kv_record record;
    uint64_t digest = kv_applied(kv).index;
    int err = kv_cursor_seek(c, NULL, 0, &record);
    for (; !err; err = kv_cursor_next(c, &record))
        digest += history_record_digest(&record);
    kv_cursor_close(&c);
    kv_view_close(&view);
    *ret_digest = digest;
    return err == ERR_NOT_FOUND ? 0 : err;
}

struct raft_base history_node_base(struct raft_pos pos, struct raft_pos config_pos)
{
    struct raft_base base = {.pos = pos, .config_pos = config_pos};
    base.config.n_members = 1;
    base.config.members[0] = (struct raft_member){
        .id = history_node_member, .incarnation = 7, .roles = RAFT_VOTER, .addr = "a:1"};
    return base;
}

/* ---- what a data directory holds ---- */

struct scan {
    struct expected found;
    struct kv *kv;
    uint64_t last_term;
    bool all; /* counts as committed */
};

static int on_state(void *ctx, const void *meta, size_t len, struct kv_base *base)
{
    struct scan *s = ctx;
    int err = kv_restore(meta, len, base, &s->kv);
    if (!err)
        s->found.checkpoint = kv_applied(s->kv).index;
    return err;
}

/* Nobody has what lies between (PITFALLS 26). */
static int on_base(void *ctx, const struct raft_base *base)
{
    struct scan *s = ctx;
    s->found.base = s->found.last = base->pos.index;
    s->found.base_term = s->last_term = base->pos.term;
    return base->pos.index > s->found.checkpoint ? ERR_CORRUPT : 0;
}

static void on_hard_state(void *ctx, struct raft_hard_state hs)
{
    struct scan *s = ctx;
    s->found.hard_state = hs;
}

static int on_entry(void *ctx, struct raft_entry *e)
{
    struct scan *s = ctx;
    if (e->pos.index != s->found.last + 1 || e->pos.term < s->last_term)
        return ERR_INVALID;
    s->found.last = e->pos.index;
    s->last_term = e->pos.term;
    s->found.digest += history_entry_digest(e);
    bool is_committed = s->all || e->pos.index <= s->found.hard_state.commit;
    return is_committed && e->pos.index > s->found.checkpoint ? history_node_apply(s->kv, e) : 0;
}

int history_node_scan(struct store *store, bool all, struct expected *ret_found, struct kv **ret_kv,
                      struct buf *reason)
{
    struct scan s = {.all = all};
    struct store_visitor visitor = {.state = on_state,
                                    .base = on_base,
                                    .hard_state = on_hard_state,
                                    .entry = on_entry,
                                    .ctx = &s};
    int err = store_scan(store, &visitor, reason);
    if (!err) {
        kv_end_batch(s.kv);
        err = history_node_digest(s.kv, &s.found.records);
        if (err)
            buf_printf(reason, "reading the state: %s", err_text(err));
    }
    if (err) {
        kv_free(&s.kv);
        return err;
    }
    *ret_found = s.found;
    *ret_kv = s.kv;
    return 0;
}
