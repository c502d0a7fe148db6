/* SPDX-License-Identifier: MIT
 * Commands <-> bytes. Decoding is bounded by limits.h before it
 * believes any length.
 */
#include "kv/command.h"

#include "base/assert.h"
#include "base/mem.h"

/* ---- encoding ---- */

/* Which of its members an operation has, in the order of its bytes. */
struct shape {
    bool is_batched; /* may stand in a batch */
    bool condition, want_prev, by, max, attrs, value;
};

static const struct shape *shape_of(unsigned type)
{
    static const struct shape shapes[] = {
        [KV_OP_SET] = {.is_batched = true, .value = true},
        [KV_OP_DELETE] = {.is_batched = true},
        [KV_OP_PUT] = {.condition = true, .want_prev = true, .attrs = true, .value = true},
        [KV_OP_REMOVE] = {.condition = true, .want_prev = true},
        [KV_OP_REMOVE_PREFIX] = {.max = true},
        [KV_OP_INCR] = {.condition = true, .by = true},
        [KV_OP_APPEND] = {.condition = true, .max = true, .value = true},
    };
    return type >= KV_OP_SET && type <= KV_OP_APPEND ? &shapes[type] : NULL;
}

static void put_condition(struct buf *out, const struct kv_condition *condition)
{
    buf_put_u8(out, (uint8_t)condition->what);
    if (condition->what == KV_IF_REVISION)
        buf_put_varint(out, condition->revision);
}

static void put_op(struct buf *out, const struct kv_op *op)
{
    const struct shape *shape = shape_of(op->type);
    ASSERT(op->key_len <= LIMIT_KEY_BYTES);
    ASSERT(op->key_len >= 1 || op->type == KV_OP_REMOVE_PREFIX);
    ASSERT(op->value_len <= LIMIT_VALUE_BYTES);
    ASSERT(op->attrs_len <= LIMIT_ATTRS_BYTES);
    buf_put_u8(out, (uint8_t)op->type);
    buf_put_string(out, op->key, op->key_len);
    if (shape->condition)
        put_condition(out, &op->condition);
    if (shape->want_prev)
        buf_put_u8(out, op->want_prev);
    if (shape->by)
        buf_put_u64(out, (uint64_t)op->by);
    if (shape->max)
        buf_put_varint(out, op->max);
    if (shape->attrs)
        buf_put_string(out, op->attrs, op->attrs_len);
    if (shape->value)
        buf_put_string(out, op->value, op->value_len);
}

void kv_body_encode(enum kv_kind kind, const struct kv_op ops[], size_t n_ops, struct buf *out)
{
    ASSERT(kind == KV_BATCH ? n_ops <= LIMIT_BATCH_OPS : n_ops == 1);
    size_t start = out->len;
    buf_put_u8(out, (uint8_t)kind);
    if (kind == KV_BATCH)
        buf_put_varint(out, n_ops);
    for (size_t i = 0; i < n_ops; i++)
        put_op(out, &ops[i]);
    ASSERT(out->len - start <= KV_BODY_BYTES_MAX);
}

static size_t put_varint(uint8_t *p, uint64_t v)
{
    size_t n = 0;
    for (; v > 0x7f; v >>= 7)
        p[n++] = (uint8_t)(v | 0x80);
    p[n++] = (uint8_t)v;
    return n;
}

size_t kv_origin_encode(const struct kv_origin *origin, uint8_t out[KV_ORIGIN_BYTES_MAX])
{
    ASSERT(origin->floor >= 1 && origin->floor <= origin->seq);
    size_t n = 0;
    out[n++] = KV_COMMAND_VERSION;
    bytes_put_be(out + n, origin->node.hi, 8);
    bytes_put_be(out + n + 8, origin->node.lo, 8);
    n += 16;
    n += put_varint(out + n, origin->member_since);
    n += put_varint(out + n, origin->boot);
    n += put_varint(out + n, origin->seq);
    n += put_varint(out + n, origin->seq - origin->floor);
    return n;
}

void kv_once_encode(const struct kv_once *once, struct buf *out)
{
    ASSERT(once->name_len >= 1 && once->name_len <= LIMIT_ONCE_NAME_BYTES);
    buf_put_u8(out, KV_ONCE);
    buf_put_string(out, once->name, once->name_len);
    buf_append(out, once->fingerprint, sizeof once->fingerprint);
}

void kv_clock_encode(uint64_t elapsed_ms, struct buf *out)
{
    const struct kv_origin nobody = {.node = UUID_ZERO, .seq = 1, .floor = 1};
    uint8_t header[KV_ORIGIN_BYTES_MAX];
    ASSERT(elapsed_ms <= KV_ELAPSED_MAX_MS);
    buf_append(out, header, kv_origin_encode(&nobody, header));
    buf_put_u8(out, KV_CLOCK);
    buf_put_varint(out, elapsed_ms);
}

/* ---- decoding ---- */

/* A length of 0 to max and as many bytes. */
static int read_string(struct bytes_reader *r, size_t max, const uint8_t **ret_p, size_t *ret_len)
{
    uint64_t len = bytes_read_varint(r);
    if (bytes_reader_ok(r) && len > max)
        return ERR_TOO_LARGE;
    const uint8_t *p = bytes_read(r, (size_t)len);
    if (!p)
        return ERR_INVALID;
    *ret_p = p;
    *ret_len = (size_t)len;
    return 0;
}

static int read_condition(struct bytes_reader *r, struct kv_condition *ret_condition)
{
    uint8_t what = bytes_read_u8(r);
    if (what > KV_IF_REVISION)
        return ERR_INVALID;
    ret_condition->what = what;
    if (what == KV_IF_REVISION)
        ret_condition->revision = bytes_read_varint(r);
    return 0;
}

/* What the operations of /v1 have between key and value. */
static int read_details(struct bytes_reader *r, const struct shape *shape, struct kv_op *op)
{
    int err = shape->condition ? read_condition(r, &op->condition) : 0;
    if (err)
        return err;
    if (shape->want_prev) {
        uint8_t want_prev = bytes_read_u8(r);
        if (want_prev > 1)
            return ERR_INVALID;
        op->want_prev = want_prev;
    }
    if (shape->by)
        op->by = (int64_t)bytes_read_u64(r);
    if (shape->max)
        op->max = bytes_read_varint(r);
    if (shape->attrs)
        err = read_string(r, LIMIT_ATTRS_BYTES, &op->attrs, &op->attrs_len);
    if (op->type == KV_OP_REMOVE_PREFIX && op->max > LIMIT_REMOVE_KEYS)
        return ERR_TOO_LARGE;
    return err ? err : bytes_reader_ok(r) ? 0 : ERR_INVALID;
}

/* Into *op, of no meaning after an error: this is read twice for every command that is applied. */
static int read_op(struct bytes_reader *r, struct kv_op *op)
{
    *op = (struct kv_op){.type = bytes_read_u8(r)};
    const struct shape *shape = shape_of(op->type);
    if (!shape)
        return ERR_INVALID;
    int err = read_string(r, LIMIT_KEY_BYTES, &op->key, &op->key_len);
    if (err)
        return err;
    if (op->key_len == 0 && op->type != KV_OP_REMOVE_PREFIX)
        return ERR_INVALID;
    if (!shape->is_batched)
        err = read_details(r, shape, op);
    if (!err && shape->value)
        err = read_string(r, LIMIT_VALUE_BYTES, &op->value, &op->value_len);
    return err;
}

/* All operations are there and nothing follows them. */
static int check_ops(struct kv_command_reader *command)
{
    struct bytes_reader ops = command->ops;
    command->only_sets = true;
    for (size_t i = 0; i < command->n_ops; i++) {
        struct kv_op op;
        int err = read_op(&ops, &op);
        if (err)
            return err;
        if (command->kind == KV_BATCH && !shape_of(op.type)->is_batched)
            return ERR_INVALID;
        command->only_sets &= op.type == KV_OP_SET;
    }
    return bytes_reader_done(&ops) ? 0 : ERR_INVALID;
}

static int read_once(struct bytes_reader *r, struct kv_once *once)
{
    int err = read_string(r, LIMIT_ONCE_NAME_BYTES, &once->name, &once->name_len);
    if (err)
        return err;
    const uint8_t *fingerprint = bytes_read(r, KV_FINGERPRINT_BYTES);
    if (!fingerprint || once->name_len == 0)
        return ERR_INVALID;
    memcpy(once->fingerprint, fingerprint, KV_FINGERPRINT_BYTES);
    return 0;
}

static int open_clock(struct bytes_reader *r, struct kv_command_reader *command)
{
    command->elapsed_ms = bytes_read_varint(r);
    command->n_ops = 0;
    command->ops = *r;
    if (!bytes_reader_done(r) || command->once.name_len > 0 ||
        command->elapsed_ms > KV_ELAPSED_MAX_MS)
        return ERR_INVALID;
    return 0;
}

/* Up to the operations of a command that has any. */
static int open_head(struct bytes_reader *r, struct kv_command_reader *command)
{
    command->kind = bytes_read_u8(r);
    command->once.name_len = 0;
    if (command->kind == KV_ONCE) {
        int err = read_once(r, &command->once);
        if (err)
            return err;
        command->kind = bytes_read_u8(r);
    }
    if (command->kind == KV_CLOCK)
        return open_clock(r, command);
    if (command->kind != KV_SINGLE && command->kind != KV_BATCH)
        return ERR_INVALID;
    uint64_t n_ops = command->kind == KV_BATCH ? bytes_read_varint(r) : 1;
    if (!bytes_reader_ok(r))
        return ERR_INVALID;
    if (n_ops > LIMIT_BATCH_OPS)
        return ERR_TOO_LARGE;
    command->n_ops = (size_t)n_ops;
    command->ops = *r;
    return 0;
}

static int open_body(struct bytes_reader *r, struct kv_command_reader *command)
{
    int err = open_head(r, command);
    return err ? err : check_ops(command);
}

int kv_body_check(const void *p, size_t len)
{
    if (len > KV_BODY_BYTES_MAX)
        return ERR_TOO_LARGE;
    struct bytes_reader r = bytes_reader(p, len);
    struct kv_command_reader command;
    return open_body(&r, &command);
}

int kv_body_peek(const void *p, size_t len, struct kv_command_reader *ret_reader)
{
    struct bytes_reader r = bytes_reader(p, len);
    struct kv_command_reader command = {.origin = {.seq = 0}};
    int err = open_head(&r, &command);
    if (!err)
        *ret_reader = command;
    return err;
}

bool kv_body_grows(const void *p, size_t len)
{
    struct kv_command_reader command;
    struct kv_op op;
    if (kv_body_peek(p, len, &command) != 0)
        return true;
    while (kv_op_next(&command.ops, &op))
        if (op.type != KV_OP_DELETE && op.type != KV_OP_REMOVE && op.type != KV_OP_REMOVE_PREFIX)
            return true;
    return false;
}

static int read_origin(struct bytes_reader *r, struct kv_origin *origin)
{
    uint8_t version = bytes_read_u8(r);
    if (bytes_reader_ok(r) && version != KV_COMMAND_VERSION)
        return ERR_VERSION;
    origin->node = bytes_read_uuid(r);
    origin->member_since = bytes_read_varint(r);
    origin->boot = bytes_read_varint(r);
    origin->seq = bytes_read_varint(r);
    uint64_t back = bytes_read_varint(r);
    if (!bytes_reader_ok(r) || back >= origin->seq)
        return ERR_INVALID;
    origin->floor = origin->seq - back;
    return 0;
}

int kv_origin_decode(const void *p, size_t len, struct kv_origin *ret_origin)
{
    struct bytes_reader r = bytes_reader(p, len);
    struct kv_origin origin;
    int err = read_origin(&r, &origin);
    if (!err)
        *ret_origin = origin;
    return err;
}

int kv_command_open(const void *p, size_t len, struct kv_command_reader *ret_reader)
{
    if (len > KV_COMMAND_BYTES_MAX)
        return ERR_TOO_LARGE;
    struct bytes_reader r = bytes_reader(p, len);
    struct kv_command_reader command;
    int err = read_origin(&r, &command.origin);
    if (!err)
        err = open_body(&r, &command);
    if (!err)
        *ret_reader = command;
    return err;
}

int kv_command_peek(const void *p, size_t len, struct kv_command_reader *ret_reader)
{
    struct bytes_reader r = bytes_reader(p, len);
    struct kv_command_reader command;
    int err = read_origin(&r, &command.origin);
    if (!err)
        err = open_head(&r, &command);
    if (!err)
        *ret_reader = command;
    return err;
}

bool kv_op_next(struct bytes_reader *r, struct kv_op *ret_op)
{
    return r->left > 0 && read_op(r, ret_op) == 0;
}

int kv_command_decode(const void *p, size_t len, struct kv_command *ret_command)
{
    struct kv_command_reader reader;
    int err = kv_command_open(p, len, &reader);
    if (err)
        return err;
    ret_command->origin = reader.origin;
    ret_command->once = reader.once;
    ret_command->kind = reader.kind;
    ret_command->n_ops = reader.n_ops;
    ret_command->ops = mem_array(reader.n_ops, sizeof *ret_command->ops);
    for (size_t i = 0; i < reader.n_ops; i++)
        ASSERT(kv_op_next(&reader.ops, &ret_command->ops[i]));
    return 0;
}

void kv_command_free(struct kv_command *command)
{
    MEM_FREE(command->ops);
    command->n_ops = 0;
}
