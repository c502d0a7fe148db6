/* SPDX-License-Identifier: MIT
 * The state machine: a command is opened, admitted by its node's session, and
 * carried out on the memtable. Nothing here depends on anything but the log.
 */
#include "kv/kv.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "kv/memtable.h"
#include "kv/session.h"

struct kv {
    struct kv_pos applied;
    struct memtable *keys;
    struct session_table *sessions;
    struct buf answer;                /* of the last command; reused */
    uint8_t all_set[LIMIT_BATCH_OPS]; /* the answer of as many Sets */
};

struct kv *kv_new(void)
{
    struct kv *kv = mem_zalloc(sizeof *kv);
    kv->keys = memtable_new();
    kv->sessions = session_table_new();
    memset(kv->all_set, KV_ANSWER_SET, sizeof kv->all_set);
    return kv;
}

void kv_free(struct kv **kv)
{
    if (!*kv)
        return;
    memtable_free(&(*kv)->keys);
    session_table_free(&(*kv)->sessions);
    buf_free(&(*kv)->answer);
    MEM_FREE(*kv);
}

static void advance(struct kv *kv, struct kv_pos pos)
{
    ASSERT(pos.index > kv->applied.index);
    ASSERT(pos.term >= kv->applied.term);
    kv->applied = pos;
}

/* Whether the answer stays within its bound. Every old value answered was
 * either there before (once for each key) or is set by the command itself. */
static bool answer_fits(const struct kv *kv, const struct kv_command_reader *command)
{
    struct bytes_reader ops = command->ops;
    struct kv_op op;
    size_t bytes = 0;
    bool deletes = false;
    while (kv_op_next(&ops, &op)) {
        struct kv_value old;
        deletes |= op.type == KV_OP_DELETE;
        bytes += BYTES_VARINT_MAX + 1;
        if (op.type == KV_OP_SET)
            bytes += op.value_len;
        else if (memtable_get(kv->keys, op.key, op.key_len, &old) == 0)
            bytes += old.len;
    }
    return !deletes || bytes <= KV_ANSWER_BYTES_MAX;
}

static void delete_key(struct kv *kv, const struct kv_op *op)
{
    struct kv_answer_item item = {.what = KV_ANSWER_NONE};
    struct kv_value old;
    if (memtable_get(kv->keys, op->key, op->key_len, &old) == 0)
        item = (struct kv_answer_item){KV_ANSWER_OLD, old.data, old.len};
    kv_answer_put(&kv->answer, &item);
    if (item.what == KV_ANSWER_OLD)
        memtable_delete(kv->keys, op->key, op->key_len);
}

/* Carries out every operation and leaves the answer; NULL bytes: only Sets. */
static void carry_out(struct kv *kv, struct kv_command_reader *command,
                      struct session_answer *answer)
{
    struct kv_op op;
    bool only_sets = true;
    buf_clear(&kv->answer);
    while (kv_op_next(&command->ops, &op)) {
        if (op.type == KV_OP_DELETE) {
            only_sets = false;
            delete_key(kv, &op);
            continue;
        }
        memtable_put(kv->keys, op.key, op.key_len, op.value, op.value_len, kv->applied.index);
        buf_put_u8(&kv->answer, KV_ANSWER_SET);
    }
    answer->len = (uint32_t)kv->answer.len;
    if (!only_sets)
        answer->bytes = mem_dup(kv->answer.data, kv->answer.len);
}

static void apply_first_time(struct kv *kv, struct kv_command_reader *command,
                             struct session_answer *answer)
{
    answer->pos = kv->applied;
    if (command->kind == KV_BATCH && !answer_fits(kv, command))
        answer->err = ERR_TOO_LARGE;
    else
        carry_out(kv, command, answer);
}

void kv_apply(struct kv *kv, struct kv_pos pos, const void *command, size_t len,
              struct kv_result *ret_result)
{
    advance(kv, pos);
    struct kv_command_reader reader;
    struct session_answer *answer;
    *ret_result = (struct kv_result){.err = ERR_INVALID};
    if (kv_command_open(command, len, &reader) != 0)
        return;
    ret_result->err = session_admit(kv->sessions, &reader.origin, &answer);
    if (ret_result->err)
        return;
    if (answer->pos.index == 0)
        apply_first_time(kv, &reader, answer);
    ret_result->err = answer->err;
    ret_result->pos = answer->pos;
    ret_result->answer = answer->bytes ? answer->bytes : kv->all_set;
    ret_result->answer_len = answer->len;
}

void kv_apply_members(struct kv *kv, struct kv_pos pos, const struct uuid ids[], unsigned n)
{
    advance(kv, pos);
    session_table_set_members(kv->sessions, pos.index, ids, n);
}

uint64_t kv_member_since(const struct kv *kv, struct uuid node)
{
    return session_member_since(kv->sessions, node);
}

void kv_apply_nothing(struct kv *kv, struct kv_pos pos)
{
    advance(kv, pos);
}

struct kv_pos kv_applied(const struct kv *kv)
{
    return kv->applied;
}

int kv_get(const struct kv *kv, const void *key, size_t key_len, struct kv_value *ret_value)
{
    return memtable_get(kv->keys, key, key_len, ret_value);
}

void kv_visit(const struct kv *kv, const void *from, size_t from_len, kv_visit_fn *fn, void *ctx)
{
    memtable_visit(kv->keys, from, from_len, fn, ctx);
}

struct kv_stats kv_stats(const struct kv *kv)
{
    return (struct kv_stats){
        .n_keys = memtable_n_keys(kv->keys),
        .bytes = memtable_bytes(kv->keys),
        .n_sessions = session_table_count(kv->sessions),
    };
}
