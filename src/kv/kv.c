/* SPDX-License-Identifier: MIT
 * The state machine: a command is opened, admitted by its node's session,
 * carried out and answered. Nothing here depends on anything but the log.
 */
#include "kv/kv.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "kv/core.h"

void entry_begin(struct kv *kv, struct kv_pos pos)
{
    ASSERT(!kv->removal.under_way);
    ASSERT(pos.index > kv->applied.index);
    ASSERT(pos.term >= kv->applied.term);
    kv->at = pos;
}

void entry_finish(struct kv *kv)
{
    kv->applied = kv->at;
    kv_publish(kv);
}

/* ---- commands ---- */

/* Whether the answer stays within its bound. Every old value answered was
 * either there before (once for each key) or is set by the command itself. */
static int check_answer_fits(struct kv *kv, const struct kv_command_reader *command, bool *ret_fits)
{
    struct bytes_reader ops = command->ops;
    struct kv_op op;
    size_t bytes = 0;
    while (kv_op_next(&ops, &op)) {
        struct kv_value old = {.len = 0};
        bytes += BYTES_VARINT_MAX + 1;
        if (op.type == KV_OP_SET) {
            bytes += op.value_len;
            continue;
        }
        int err = kv_get(kv, op.key, op.key_len, &old);
        if (err && err != ERR_NOT_FOUND)
            return err;
        bytes += old.len;
    }
    *ret_fits = bytes <= KV_ANSWER_BYTES_MAX;
    return 0;
}

static bool prefetch_pays(const struct kv *kv)
{
    return kv->n_keys >= kv->ahead_keys;
}

/* What the next operations of a batch will look at. */
static void prefetch_ops(struct kv *kv, struct bytes_reader ops)
{
    struct kv_bytes keys[KV_PREFETCH_MAX];
    unsigned n = 0;
    struct kv_op op;
    while (n < KV_PREFETCH_MAX && kv_op_next(&ops, &op))
        keys[n++] = (struct kv_bytes){op.key, op.key_len};
    records_find_ahead(kv, keys, n);
}

/* Only Sets leave no bytes. */
static void keep_answer(struct kv *kv, struct session_answer *answer, bool only_sets)
{
    answer->len = (uint32_t)kv->answer.len;
    if (!only_sets)
        answer->bytes = mem_dup(kv->answer.data, kv->answer.len);
}

static int carry_out(struct kv *kv, struct kv_command_reader *command,
                     struct session_answer *answer)
{
    struct kv_op op;
    bool prefetch = command->kind == KV_BATCH && prefetch_pays(kv);
    buf_clear(&kv->answer);
    for (size_t i = 0; i < command->n_ops; i++) {
        if (prefetch && i % KV_PREFETCH_MAX == 0)
            prefetch_ops(kv, command->ops);
        ASSERT(kv_op_next(&command->ops, &op));
        if (op.type == KV_OP_REMOVE_PREFIX) { /* the only one of its command */
            removal_begin(kv, &op, answer);
            return 0;
        }
        int err = operation_apply(kv, &op);
        if (err)
            return err;
    }
    keep_answer(kv, answer, command->only_sets);
    return 0;
}

static int apply_first_time(struct kv *kv, struct kv_command_reader *command,
                            struct session_answer *answer)
{
    bool fits = true;
    if (command->kind == KV_BATCH && !command->only_sets) {
        int err = check_answer_fits(kv, command, &fits);
        if (err)
            return err;
    }
    answer->pos = kv->at;
    if (fits)
        return carry_out(kv, command, answer);
    answer->err = ERR_TOO_LARGE;
    return 0;
}

/* ---- names of clients ---- */

static void note_pending(struct kv *kv, const struct kv_once *once)
{
    kv->once_pending = *once;
    kv->once_pending.name = kv->once_name;
    memcpy(kv->once_name, once->name, once->name_len);
}

/* The command was carried out: from now on this is its answer, whoever asks under that name. */
static void settle_pending(struct kv *kv, const struct session_answer *answer)
{
    if (kv->once_pending.name_len > 0)
        once_add(kv->once, &kv->once_pending, answer);
    kv->once_pending.name_len = 0;
}

/* First time in its session; maybe not the first of this name. */
static int apply_once(struct kv *kv, struct kv_command_reader *command,
                      struct session_answer *answer)
{
    const struct session_answer *known;
    once_forget(kv->once, KV_ONCE_PER_COMMAND);
    int err = once_find(kv->once, &command->once, &known);
    if (err == 0) {
        *answer = *known;
        if (known->bytes)
            answer->bytes = mem_dup(known->bytes, known->len);
    } else if (err == ERR_CONFLICT || once_is_full(kv->once)) {
        answer->pos = kv->at;
        answer->err = err == ERR_CONFLICT ? err : ERR_OVERLOADED;
    } else {
        note_pending(kv, &command->once);
        return apply_first_time(kv, command, answer);
    }
    return 0;
}

static void apply_clock(struct kv *kv, const struct kv_command_reader *command,
                        struct kv_result *ret_result)
{
    once_clock(kv->once, command->elapsed_ms);
    once_forget(kv->once, KV_ONCE_PER_CLOCK);
    *ret_result = (struct kv_result){.pos = kv->at};
}

/* ---- whole commands ---- */

static void tell(const struct kv *kv, const struct session_answer *answer,
                 struct kv_result *ret_result)
{
    *ret_result = (struct kv_result){
        .err = answer->err,
        .pos = answer->pos,
        .answer = answer->bytes ? answer->bytes : kv->all_set,
        .answer_len = answer->len,
    };
}

/* Without telling the views. */
static int apply_command(struct kv *kv, const void *command, size_t len,
                         struct kv_result *ret_result)
{
    struct kv_command_reader reader;
    struct session_answer *answer;
    *ret_result = (struct kv_result){.err = ERR_INVALID};
    if (kv_command_open(command, len, &reader) != 0)
        return 0;
    if (reader.kind == KV_CLOCK) {
        apply_clock(kv, &reader, ret_result);
        return 0;
    }
    ret_result->err = session_admit(kv->sessions, &reader.origin, &answer);
    if (ret_result->err)
        return 0;
    bool first = answer->pos.index == 0;
    int err = !first                     ? 0
              : reader.once.name_len > 0 ? apply_once(kv, &reader, answer)
                                         : apply_first_time(kv, &reader, answer);
    if (err)
        return err;
    if (kv->removal.under_way) {
        *ret_result = (struct kv_result){.more = true};
        return 0;
    }
    settle_pending(kv, answer);
    tell(kv, answer, ret_result);
    return 0;
}

/* A batch does it itself. */
void kv_prefetch(struct kv *kv, const struct kv_bytes commands[], unsigned n)
{
    struct kv_bytes keys[KV_PREFETCH_MAX];
    unsigned n_keys = 0;
    struct kv_command_reader reader;
    struct kv_op op;
    records_end_ahead(kv);
    if (!prefetch_pays(kv))
        return;
    for (unsigned i = 0; i < n && n_keys < KV_PREFETCH_MAX; i++)
        if (kv_command_peek(commands[i].p, commands[i].len, &reader) == 0 &&
            reader.kind == KV_SINGLE && kv_op_next(&reader.ops, &op))
            keys[n_keys++] = (struct kv_bytes){op.key, op.key_len};
    if (n_keys > 1)
        records_find_ahead(kv, keys, n_keys);
}

int kv_apply_begin(struct kv *kv, struct kv_pos pos, const void *command, size_t len,
                   struct kv_result *ret_result)
{
    struct kv_result result;
    entry_begin(kv, pos);
    int err = apply_command(kv, command, len, &result);
    if (err)
        return err;
    if (!result.more)
        entry_finish(kv);
    *ret_result = result;
    return 0;
}

int kv_apply_more(struct kv *kv, struct kv_result *ret_result)
{
    ASSERT(kv->removal.under_way);
    int err = removal_step(kv);
    if (err)
        return err;
    if (kv->removal.under_way) {
        *ret_result = (struct kv_result){.more = true};
        return 0;
    }
    keep_answer(kv, kv->removal.answer, false);
    settle_pending(kv, kv->removal.answer);
    tell(kv, kv->removal.answer, ret_result);
    entry_finish(kv);
    return 0;
}

void kv_on_change(struct kv *kv, kv_change_fn *fn, void *ctx)
{
    kv->on_change = fn;
    kv->on_change_ctx = ctx;
}

void kv_set_sizes(struct kv *kv, unsigned slice_keys, unsigned ahead_keys)
{
    kv->slice_keys = slice_keys ? slice_keys : SLICE_KEYS;
    kv->ahead_keys = ahead_keys ? ahead_keys : AHEAD_KEYS;
}

bool kv_is_applying(const struct kv *kv)
{
    return kv->removal.under_way;
}

int kv_apply(struct kv *kv, struct kv_pos pos, const void *command, size_t len,
             struct kv_result *ret_result)
{
    int err = kv_apply_begin(kv, pos, command, len, ret_result);
    while (err == 0 && ret_result->more)
        err = kv_apply_more(kv, ret_result);
    return err;
}

void kv_apply_members(struct kv *kv, struct kv_pos pos, const struct uuid ids[], unsigned n)
{
    entry_begin(kv, pos);
    session_table_set_members(kv->sessions, pos.index, ids, n);
    entry_finish(kv);
}

uint64_t kv_member_since(const struct kv *kv, struct uuid node)
{
    return session_member_since(kv->sessions, node);
}

void kv_apply_nothing(struct kv *kv, struct kv_pos pos)
{
    entry_begin(kv, pos);
    entry_finish(kv);
}

struct kv_pos kv_applied(const struct kv *kv)
{
    return kv->applied;
}

uint64_t kv_visible(const struct kv *kv)
{
    return atomic_load_explicit(&kv->published, memory_order_acquire);
}

uint64_t kv_digest(const struct kv *kv)
{
    return kv->digest;
}

struct kv_stats kv_stats(const struct kv *kv)
{
    return (struct kv_stats){
        .n_keys = kv->n_keys,
        .bytes = kv->bytes,
        .memtable_bytes =
            memtable_bytes(kv->active) + (kv->frozen ? memtable_bytes(kv->frozen) : 0),
        .n_sessions = session_table_count(kv->sessions),
        .n_once = once_count(kv->once),
        .clock_ms = once_now_ms(kv->once),
    };
}
