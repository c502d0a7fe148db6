/* SPDX-License-Identifier: MIT
 * Replay: operations are gathered and carried out many at a time in the order of
 * their keys. One by one, in the order of the log, each costs a dozen cache
 * misses in the memtable and as many below; in order of keys the places follow
 * on each other, and what leads to them is in the cache already.
 *
 * That changes nothing: an operation depends on its own key alone, and those of
 * one key stay in the order of the log. What a command means for its session is
 * settled at once; its answer is filled in when it is known, if the session
 * still has its place then. What concerns more than single keys is applied alone,
 * after what was gathered: Remove-prefix, batches with Deletes, whose answers
 * may be too large, and what has a name or is about time (kv/idempotency.h).
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "kv/core.h"

#define OPS_MAX           65536
#define BYTES_MAX         (8 * MIB)
#define COMMAND_BYTES_MAX (BYTES_MAX / 8) /* a larger one is worth no copy */
#define HEADS             2

struct gathered {
    uint64_t head[HEADS]; /* the first bytes of the key, as numbers that compare like them */
    const uint8_t *key;
    const uint8_t *op; /* encoded; behind it the origin, where there is an answer to fill in */
    uint64_t index;    /* of the log */
    uint32_t number;   /* in the order of the log */
    uint32_t op_len;
    uint16_t key_len;
    bool has_answer;
};

struct kv_replay {
    struct gathered *ops;
    unsigned n_ops;
    uint8_t *bytes; /* what ops[] point to */
    size_t n_bytes;
};

/* ---- gathering ---- */

static void start(struct kv *kv)
{
    kv->replay = mem_zalloc(sizeof *kv->replay);
    kv->replay->ops = mem_array(OPS_MAX, sizeof *kv->replay->ops);
    kv->replay->bytes = mem_alloc(BYTES_MAX);
}

void replay_free(struct kv *kv)
{
    if (!kv->replay)
        return;
    mem_free(kv->replay->ops);
    mem_free(kv->replay->bytes);
    MEM_FREE(kv->replay);
}

static bool may_gather(const struct kv_command_reader *command, size_t len)
{
    struct bytes_reader ops = command->ops;
    struct kv_op op;
    if (command->once.name_len > 0 || len > COMMAND_BYTES_MAX)
        return false;
    if (command->kind == KV_BATCH)
        return command->only_sets;
    return kv_op_next(&ops, &op) && op.type != KV_OP_REMOVE_PREFIX; /* a KV_CLOCK has none */
}

static const uint8_t *keep(struct kv_replay *r, const void *p, size_t len)
{
    uint8_t *copy = r->bytes + r->n_bytes;
    memcpy(copy, p, len);
    r->n_bytes += len;
    return copy;
}

static void read_head(struct gathered *g)
{
    uint8_t bytes[8 * HEADS] = {0};
    memcpy(bytes, g->key, g->key_len < sizeof bytes ? g->key_len : sizeof bytes);
    for (unsigned i = 0; i < HEADS; i++)
        g->head[i] = bytes_get_be(bytes + 8 * i, 8);
}

static void gather(struct kv *kv, const struct kv_command_reader *command)
{
    struct kv_replay *r = kv->replay;
    if (command->n_ops == 0)
        return;
    const uint8_t *copy = keep(r, command->ops.p, command->ops.left);
    struct bytes_reader ops = bytes_reader(copy, command->ops.left);
    struct kv_op op;
    for (const uint8_t *from = ops.p; kv_op_next(&ops, &op); from = ops.p) {
        struct gathered *g = &r->ops[r->n_ops];
        *g = (struct gathered){.key = op.key,
                               .key_len = (uint16_t)op.key_len,
                               .op = from,
                               .op_len = (uint32_t)(ops.p - from),
                               .index = kv->at.index,
                               .number = r->n_ops++,
                               .has_answer = op.type != KV_OP_SET};
        read_head(g);
        if (g->has_answer) /* the only one of its command */
            keep(r, &command->origin, sizeof command->origin);
    }
}

/* ---- carrying out ---- */

static int compare(const void *a, const void *b)
{
    const struct gathered *x = a, *y = b;
    for (unsigned i = 0; i < HEADS; i++)
        if (x->head[i] != y->head[i])
            return x->head[i] < y->head[i] ? -1 : 1;
    int order = memcmp(x->key, y->key, x->key_len < y->key_len ? x->key_len : y->key_len);
    if (order)
        return order;
    if (x->key_len != y->key_len)
        return x->key_len < y->key_len ? -1 : 1;
    return x->number < y->number ? -1 : x->number > y->number;
}

static void fill_answer(struct kv *kv, const struct gathered *g)
{
    struct kv_origin origin;
    memcpy(&origin, g->op + g->op_len, sizeof origin);
    struct session_answer *answer = session_find_answer(kv->sessions, &origin, g->index);
    if (!answer)
        return;
    answer->len = (uint32_t)kv->answer.len;
    answer->bytes = mem_dup(kv->answer.data, kv->answer.len);
}

static int carry_out(struct kv *kv, const struct gathered *g)
{
    struct bytes_reader bytes = bytes_reader(g->op, g->op_len);
    struct kv_op op;
    if (!kv_op_next(&bytes, &op))
        return ERR_CORRUPT;
    kv->at.index = g->index;
    buf_clear(&kv->answer);
    int err = operation_apply(kv, &op);
    if (!err && g->has_answer)
        fill_answer(kv, g);
    return err;
}

/* Carries out what was gathered. */
static int settle(struct kv *kv)
{
    struct kv_replay *r = kv->replay;
    struct kv_pos at = kv->at;
    struct memtable_place near;
    int err = 0;
    if (!r || r->n_ops == 0)
        return 0;
    qsort(r->ops, r->n_ops, sizeof *r->ops, compare);
    memtable_begin(kv->active, &near);
    kv->near = &near;
    for (unsigned i = 0; i < r->n_ops && !err; i++)
        err = carry_out(kv, &r->ops[i]);
    kv->near = NULL;
    kv->at = at;
    r->n_ops = 0;
    r->n_bytes = 0;
    kv_end_batch(kv);
    return err;
}

/* ---- what others call ---- */

static int make_room(struct kv *kv, const struct kv_command_reader *command, size_t len)
{
    if (!kv->replay)
        start(kv);
    if (kv->replay->n_ops + command->n_ops <= OPS_MAX &&
        kv->replay->n_bytes + len + sizeof command->origin <= BYTES_MAX)
        return 0;
    return settle(kv);
}

static int replay_alone(struct kv *kv, struct kv_pos pos, const void *command, size_t len)
{
    struct kv_result result;
    int err = settle(kv);
    return err ? err : kv_apply(kv, pos, command, len, &result);
}

int kv_replay(struct kv *kv, struct kv_pos pos, const void *command, size_t len)
{
    struct kv_command_reader reader;
    struct session_answer *answer;
    if (kv_command_open(command, len, &reader) != 0 || !may_gather(&reader, len))
        return replay_alone(kv, pos, command, len);
    int err = make_room(kv, &reader, len);
    if (err)
        return err;
    entry_begin(kv, pos);
    if (session_admit(kv->sessions, &reader.origin, &answer) == 0 && answer->pos.index == 0) {
        answer->pos = pos;
        answer->len = (uint32_t)reader.n_ops; /* of Sets; of others when it is known */
        gather(kv, &reader);
    }
    entry_finish(kv);
    return 0;
}

int kv_replay_end(struct kv *kv)
{
    int err = settle(kv);
    replay_free(kv);
    return err;
}
