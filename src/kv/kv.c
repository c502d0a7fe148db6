/* SPDX-License-Identifier: MIT
 * The state machine: a command is opened, admitted by its node's session, and
 * carried out on the active memtable. Old values come from there, from the
 * frozen memtable or from the base. Nothing here depends on anything but the log.
 */
#include "kv/kv.h"

#include "base/assert.h"
#include "base/mem.h"
#include "kv/core.h"
#include "kv/digest.h"

static void advance(struct kv *kv, struct kv_pos pos)
{
    ASSERT(pos.index > kv->applied.index);
    ASSERT(pos.term >= kv->applied.term);
    kv->applied = pos;
}

/* ---- old records ---- */

void kv_end_batch(struct kv *kv)
{
    if (kv->below)
        kv->below->ops->close(kv->below);
    kv->below = NULL;
}

static int get_from_base(struct kv *kv, const void *key, size_t key_len, struct kv_value *ret_value)
{
    if (!kv->base)
        return ERR_NOT_FOUND;
    if (!kv->below)
        kv->below = kv->base->ops->view(kv->base);
    return kv->below->ops->get(kv->below, key, key_len, ret_value);
}

static int get_below_active(struct kv *kv, const void *key, size_t key_len,
                            struct kv_value *ret_value)
{
    struct kv_record r;
    if (kv->frozen && memtable_get(kv->frozen, key, key_len, MEMTABLE_NEWEST, &r) == 0) {
        if (r.deleted)
            return ERR_NOT_FOUND;
        *ret_value = r.value;
        return 0;
    }
    int err = get_from_base(kv, key, key_len, ret_value);
    if (err == ERR_TIMEOUT) { /* the process was stopped in the middle of a batch */
        kv_end_batch(kv);
        err = get_from_base(kv, key, key_len, ret_value);
    }
    return err;
}

/* The live value that the newest source has, and where the key's place in the active memtable is.
 * NOT_FOUND, or what went wrong in the base. */
static int look_up(struct kv *kv, const void *key, size_t key_len, struct memtable_place *ret_place,
                   struct kv_value *ret_value)
{
    struct kv_record r;
    if (!memtable_find(kv->active, key, key_len, ret_place, &r))
        return get_below_active(kv, key, key_len, ret_value);
    if (r.deleted)
        return ERR_NOT_FOUND;
    *ret_value = r.value;
    return 0;
}

int kv_get(struct kv *kv, const void *key, size_t key_len, struct kv_value *ret_value)
{
    struct memtable_place place;
    return look_up(kv, key, key_len, &place, ret_value);
}

/* ---- new records ---- */

/* The memtable remembers the digest of what it has; below it is made from the value again. */
static uint64_t digest_of_old(const struct memtable_place *place, const struct kv_value *old,
                              const struct kv_record *new)
{
    if (!old || place->node)
        return old ? place->digest : 0;
    struct kv_record record = {.key = new->key, .key_len = new->key_len, .value = *old};
    return kv_record_digest(&record);
}

void kv_replace(struct kv *kv, struct memtable_place *place, const struct kv_value *old,
                const struct kv_record *new)
{
    kv->digest -= digest_of_old(place, old, new);
    if (old) {
        kv->n_keys--;
        kv->bytes -= new->key_len + old->len;
    }
    if (!new->deleted) {
        kv->n_keys++;
        kv->bytes += new->key_len + new->value.len;
    }
    place->digest = kv_record_digest(new);
    kv->digest += place->digest;
    memtable_put(kv->active, place, new);
}

/* ---- commands ---- */

/* Whether the answer stays within its bound. Every old value answered was
 * either there before (once for each key) or is set by the command itself. */
static int check_answer_fits(struct kv *kv, const struct kv_command_reader *command, bool *ret_fits)
{
    struct bytes_reader ops = command->ops;
    struct kv_op op;
    size_t bytes = 0;
    bool deletes = false;
    while (kv_op_next(&ops, &op)) {
        struct kv_value old = {.len = 0};
        deletes |= op.type == KV_OP_DELETE;
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
    *ret_fits = !deletes || bytes <= KV_ANSWER_BYTES_MAX;
    return 0;
}

static int set_key(struct kv *kv, const struct kv_op *op)
{
    struct memtable_place place;
    struct kv_value old;
    struct kv_record new = {
        .key = op->key,
        .key_len = op->key_len,
        .value = {op->value, op->value_len, kv->applied.index, kv->applied.index, 1},
    };
    int err = look_up(kv, op->key, op->key_len, &place, &old);
    if (err && err != ERR_NOT_FOUND)
        return err;
    if (err == 0) {
        new.value.create_revision = old.create_revision;
        new.value.version = old.version + 1;
    }
    kv_replace(kv, &place, err == 0 ? &old : NULL, &new);
    buf_put_u8(&kv->answer, KV_ANSWER_SET);
    return 0;
}

static int delete_key(struct kv *kv, const struct kv_op *op)
{
    struct kv_answer_item item = {.what = KV_ANSWER_NONE};
    struct memtable_place place;
    struct kv_value old;
    struct kv_record tombstone = {
        .key = op->key,
        .key_len = op->key_len,
        .deleted = true,
        .value = {.revision = kv->applied.index},
    };
    int err = look_up(kv, op->key, op->key_len, &place, &old);
    if (err && err != ERR_NOT_FOUND)
        return err;
    if (err == 0)
        item = (struct kv_answer_item){KV_ANSWER_OLD, old.data, old.len};
    kv_answer_put(&kv->answer, &item);
    if (err == 0)
        kv_replace(kv, &place, &old, &tombstone);
    return 0;
}

/* Carries out every operation and leaves the answer; NULL bytes: only Sets. */
static int carry_out(struct kv *kv, struct kv_command_reader *command,
                     struct session_answer *answer)
{
    struct kv_op op;
    bool only_sets = true;
    buf_clear(&kv->answer);
    while (kv_op_next(&command->ops, &op)) {
        only_sets = only_sets && op.type == KV_OP_SET;
        int err = op.type == KV_OP_SET ? set_key(kv, &op) : delete_key(kv, &op);
        if (err)
            return err;
    }
    answer->len = (uint32_t)kv->answer.len;
    if (!only_sets)
        answer->bytes = mem_dup(kv->answer.data, kv->answer.len);
    return 0;
}

static int apply_first_time(struct kv *kv, struct kv_command_reader *command,
                            struct session_answer *answer)
{
    bool fits = true;
    if (command->kind == KV_BATCH) {
        int err = check_answer_fits(kv, command, &fits);
        if (err)
            return err;
    }
    answer->pos = kv->applied;
    if (fits)
        return carry_out(kv, command, answer);
    answer->err = ERR_TOO_LARGE;
    return 0;
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
    ret_result->err = session_admit(kv->sessions, &reader.origin, &answer);
    if (ret_result->err)
        return 0;
    int err = answer->pos.index == 0 ? apply_first_time(kv, &reader, answer) : 0;
    if (err)
        return err;
    ret_result->err = answer->err;
    ret_result->pos = answer->pos;
    ret_result->answer = answer->bytes ? answer->bytes : kv->all_set;
    ret_result->answer_len = answer->len;
    return 0;
}

int kv_apply(struct kv *kv, struct kv_pos pos, const void *command, size_t len,
             struct kv_result *ret_result)
{
    struct kv_result result;
    advance(kv, pos);
    int err = apply_command(kv, command, len, &result);
    if (err)
        return err;
    kv_publish(kv);
    *ret_result = result;
    return 0;
}

void kv_apply_members(struct kv *kv, struct kv_pos pos, const struct uuid ids[], unsigned n)
{
    advance(kv, pos);
    session_table_set_members(kv->sessions, pos.index, ids, n);
    kv_publish(kv);
}

uint64_t kv_member_since(const struct kv *kv, struct uuid node)
{
    return session_member_since(kv->sessions, node);
}

void kv_apply_nothing(struct kv *kv, struct kv_pos pos)
{
    advance(kv, pos);
    kv_publish(kv);
}

struct kv_pos kv_applied(const struct kv *kv)
{
    return kv->applied;
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
    };
}
