/* SPDX-License-Identifier: MIT */
#include "kv/digest.h"

#include "base/crc32c.h"

/* The fields times odd numbers: whichever single one differs, the sum differs. */
static uint64_t sum_of_fields(const struct kv_record *r)
{
    const struct kv_value *v = &r->value;
    uint32_t value = crc32c(0, v->data, v->len);
    if (v->attrs_len)
        value = crc32c(value, v->attrs, v->attrs_len);
    uint64_t bytes = (uint64_t)crc32c(0, r->key, r->key_len) << 32 | value;
    uint64_t lengths = (uint64_t)v->attrs_len << 48 | (uint64_t)v->len << 16 | r->key_len;
    return bytes + v->revision * 0x9e3779b97f4a7c15u + v->create_revision * 0xc2b2ae3d27d4eb4fu +
           v->version * 0x165667b19e3779f9u + lengths;
}

/* The end of splitmix64 (base/rng.h): sums of numbers that are alike must not be alike. */
uint64_t kv_record_digest(const struct kv_record *record)
{
    if (record->deleted)
        return 0;
    uint64_t z = sum_of_fields(record);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

int kv_view_digest(struct kv_view *view, uint64_t *ret_digest)
{
    struct kv_cursor *c = kv_view_cursor(view);
    struct kv_record r;
    uint64_t digest = 0;
    int err = kv_cursor_seek(c, NULL, 0, &r);
    for (; err == 0; err = kv_cursor_next(c, &r))
        digest += kv_record_digest(&r);
    kv_cursor_close(&c);
    if (err != ERR_NOT_FOUND)
        return err;
    *ret_digest = digest;
    return 0;
}
