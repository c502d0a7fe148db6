/* SPDX-License-Identifier: MIT
 * kv_command_decode() and kv_answer_next() over any bytes. What is taken must
 * encode to a command that decodes to the same; and a kv must be able to apply
 * it, and answer it with items that can be read.
 */
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "fuzz.h"
#include "kv/attrs.h"
#include "kv/kv.h"

static const struct uuid NODE = {1, 2};

static bool same(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
    return a_len == b_len && (a_len == 0 || memcmp(a, b, a_len) == 0);
}

static void check_same_op(const struct kv_op *a, const struct kv_op *b)
{
    ASSERT(a->type == b->type && a->condition.what == b->condition.what);
    ASSERT(a->condition.revision == b->condition.revision);
    ASSERT(a->want_prev == b->want_prev && a->by == b->by && a->max == b->max);
    ASSERT(same(a->key, a->key_len, b->key, b->key_len));
    ASSERT(same(a->value, a->value_len, b->value, b->value_len));
    ASSERT(same(a->attrs, a->attrs_len, b->attrs, b->attrs_len));
}

static void check_reencoding(const struct kv_command *c)
{
    uint8_t header[KV_ORIGIN_BYTES_MAX];
    struct kv_command again;
    struct buf b = BUF_INIT;
    buf_append(&b, header, kv_origin_encode(&c->origin, header));
    if (c->once.name_len > 0)
        kv_once_encode(&c->once, &b);
    kv_body_encode(c->kind, c->ops, c->n_ops, &b);
    ASSERT(kv_command_decode(b.data, b.len, &again) == 0);
    ASSERT(again.kind == c->kind && again.n_ops == c->n_ops);
    for (size_t i = 0; i < c->n_ops; i++)
        check_same_op(&c->ops[i], &again.ops[i]);
    kv_command_free(&again);
    buf_free(&b);
}

/* Items, and attributes in them, up to where they end. */
static void read_answer(const uint8_t *p, size_t len, bool must_be_whole)
{
    struct bytes_reader r = bytes_reader(p, len);
    struct kv_answer_item item;
    size_t attr_len;
    while (r.left > 0 && kv_answer_next(&r, &item))
        if (item.attrs_len > 0)
            kv_attrs_get(item.attrs, item.attrs_len, KV_ATTR_LEASE, &attr_len);
    ASSERT(!must_be_whole || bytes_reader_done(&r));
}

/* On a state that has a number, and then once more, as a copy that came late. */
static void apply(const struct kv_command *c, const uint8_t *data, size_t len)
{
    struct kv *kv = kv_new();
    struct kv_result first, second;
    kv_apply_members(kv, (struct kv_pos){1, 1}, &c->origin.node, 1);
    int err = kv_apply(kv, (struct kv_pos){1, 2}, data, len, &first);
    ASSERT(err == 0 && first.err != ERR_INVALID);
    read_answer(first.answer, first.answer_len, true);
    struct kv_stats before = kv_stats(kv);
    err = kv_apply(kv, (struct kv_pos){1, 3}, data, len, &second);
    ASSERT(err == 0 && second.err == first.err);
    ASSERT(kv_stats(kv).n_keys == before.n_keys && kv_stats(kv).bytes == before.bytes);
    kv_free(&kv);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct kv_command c;
    uint8_t *exact = mem_dup(data, len); /* a read beyond it is seen */
    read_answer(exact, len, false);
    if (kv_command_decode(exact, len, &c) == 0) {
        if (c.kind != KV_CLOCK) {
            check_reencoding(&c);
            apply(&c, exact, len);
        }
        kv_command_free(&c);
    }
    mem_free(exact);
    return 0;
}

/* One of each operation, and a batch. */
unsigned fuzz_n_seeds(void)
{
    return KV_OP_APPEND + 1;
}

void fuzz_seed(unsigned i, struct buf *out)
{
    static const uint8_t attrs[] = {KV_ATTR_CONTENT_TYPE, 3, 'a', '/', 'b'};
    struct kv_origin origin = {NODE, 1, 7, 5, 1};
    uint8_t header[KV_ORIGIN_BYTES_MAX];
    struct kv_op op = {
        .type = KV_OP_SET + i,
        .key = (const uint8_t *)"key",
        .key_len = 3,
        .value = (const uint8_t *)"17",
        .value_len = 2,
        .attrs = attrs,
        .attrs_len = sizeof attrs,
        .condition = {.what = i % 2 ? KV_IF_REVISION : KV_IF_ABSENT, .revision = 300},
        .want_prev = true,
        .by = -1,
        .max = 1000,
    };
    struct kv_op batch[] = {op, op};
    batch[0].type = KV_OP_SET;
    batch[1].type = KV_OP_DELETE;
    buf_append(out, header, kv_origin_encode(&origin, header));
    if (i < KV_OP_APPEND)
        kv_body_encode(KV_SINGLE, &op, 1, out);
    else
        kv_body_encode(KV_BATCH, batch, 2, out);
}
