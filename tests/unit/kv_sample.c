/* SPDX-License-Identifier: MIT */
#include "kv_sample.h"

#include <string.h>

#include "base/assert.h"
#include "base/crc32c.h"

static const struct uuid nodes[] = {{0xa, 1}, {0xb, 2}, {0xc, 3}};

struct command {
    unsigned node;
    uint64_t boot, seq, floor;
    unsigned n_ops;
    const char *ops[3]; /* "key=value", or "key" to delete it */
};

static const struct command commands[KV_SAMPLE_COMMANDS] = {
    {0, 1, 1, 1, 1, {KV_SAMPLE_KEY "=value"}},
    {0, 1, 2, 1, 1, {"gone=some value that is answered later"}},
    {0, 1, 5, 2, 1, {"gone"}},                 /* an old value; 3 and 4 were not seen */
    {0, 1, 6, 2, 1, {"gone"}},                 /* none */
    {1, 9, 300, 299, 3, {"x=1", "x", "y=2"}},  /* a batch */
    {1, 9, 301, 299, 3, {"p=1", "q=2", "r="}}, /* only Sets */
    {1, 9, 320, 299, 2, {"z=1", "z=2"}},       /* beyond the first ring */
    {1, 9, 321, 299, 2, {"never there", "nor this"}},
    {1, 9, 322, 299, 1, {"gone=again"}},
    {1, 9, 323, 299, 1, {"gone"}}, /* some time passes after it */
    {1, 9, 324, 299, 2, {"x", "y"}},
};

/* That the client gave it. */
static const char *const names[KV_SAMPLE_COMMANDS] = {
    [8] = "some-name", [9] = "another name", [10] = "and one more"};

static const struct command new_commands[] = {
    {0, 2, 1, 1, 1, {KV_SAMPLE_KEY "=new"}},
    {0, 2, 2, 1, 1, {KV_SAMPLE_KEY}},
    {0, 2, 3, 1, 2, {"s=1", KV_SAMPLE_KEY}},
};

static void encode(const struct kv *kv, const struct command *c, const char *name, struct buf *out)
{
    struct kv_op ops[3];
    uint8_t header[KV_ORIGIN_BYTES_MAX];
    struct kv_origin origin = {nodes[c->node], c->boot, c->seq, c->floor,
                               kv_member_since(kv, nodes[c->node])};
    for (unsigned i = 0; i < c->n_ops; i++) {
        const char *text = c->ops[i], *equals = strchr(text, '=');
        ops[i] = (struct kv_op){
            .type = KV_OP_DELETE, .key = (const uint8_t *)text, .key_len = strlen(text)};
        if (equals)
            ops[i] = (struct kv_op){.type = KV_OP_SET,
                                    .key = (const uint8_t *)text,
                                    .key_len = (size_t)(equals - text),
                                    .value = (const uint8_t *)equals + 1,
                                    .value_len = strlen(equals + 1)};
    }
    buf_append(out, header, kv_origin_encode(&origin, header));
    if (name) {
        struct kv_once once = {.name = (const uint8_t *)name, .name_len = strlen(name)};
        kv_once_encode(&once, out);
    }
    kv_body_encode(c->n_ops > 1 ? KV_BATCH : KV_SINGLE, ops, c->n_ops, out);
}

struct kv_result kv_sample_apply(struct kv *kv, unsigned i)
{
    struct buf b = BUF_INIT;
    struct kv_result result;
    struct kv_pos pos = {kv_applied(kv).term, kv_applied(kv).index + 1};
    encode(kv, &commands[i], names[i], &b);
    int err = kv_apply(kv, pos, b.data, b.len, &result);
    ASSERT(err == 0);
    buf_free(&b);
    return result;
}

static void pass(struct kv *kv)
{
    struct kv_result result;
    struct buf b = BUF_INIT;
    kv_clock_encode(12345, &b);
    struct kv_pos pos = {kv_applied(kv).term, kv_applied(kv).index + 1};
    int err = kv_apply(kv, pos, b.data, b.len, &result);
    ASSERT(err == 0 && result.err == 0);
    buf_free(&b);
}

struct kv *kv_sample_new(void)
{
    struct kv *kv = kv_new();
    kv_apply_members(kv, (struct kv_pos){2, 200}, nodes, 3);
    for (unsigned i = 0; i < KV_SAMPLE_COMMANDS; i++) {
        if (i == KV_SAMPLE_COMMANDS - 1)
            pass(kv);
        ASSERT(kv_sample_apply(kv, i).err == 0);
    }
    return kv;
}

void kv_sample_new_command(const struct kv *kv, unsigned i, struct buf *out)
{
    encode(kv, &new_commands[i], NULL, out);
}

void kv_sample_reseal(uint8_t *meta, size_t len)
{
    if (len >= 4)
        bytes_put_be(meta + len - 4, crc32c(0, meta, len - 4), 4);
}
