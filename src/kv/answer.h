/* SPDX-License-Identifier: MIT
 * The answer of one command: for each operation what it found or did.
 */
#ifndef KV_ANSWER_H
#define KV_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/bytes.h"

/* How an operation of /v1 ended. Those other than KV_DONE changed nothing. */
enum kv_code {
    KV_DONE = 0,
    KV_MISMATCH = 1,     /* the condition did not hold */
    KV_NOT_FOUND = 2,    /* Remove: there is no such key */
    KV_NOT_A_NUMBER = 3, /* Incr: the value is no decimal number of 64 bits */
    KV_OVERFLOW = 4,     /* Incr: the sum is none */
    KV_TOO_LARGE = 5,    /* Append: beyond max; Remove-prefix: more keys than max */
};
#define KV_CODES 6

struct kv_answer_item {
    enum {
        KV_ANSWER_NONE,  /* no old value */
        KV_ANSWER_OLD,   /* old value */
        KV_ANSWER_SET,   /* "as you set it" */
        KV_ANSWER_RESULT /* of an operation of /v1: everything below */
    } what;
    const uint8_t *value; /* borrowed; OLD, and a RESULT that has_value */
    size_t value_len;
    enum kv_code code;
    /* Of the key. Done: those of this write, with the index where it took effect (Remove and
     * Remove-prefix: that index alone). Not done: what the key has; all 0 when it is not there. */
    uint64_t revision, create_revision, version;
    uint64_t n_deleted; /* Remove, Remove-prefix */
    bool created;       /* the key was not there before */
    /* want_prev: value and attributes that the key had before; Incr: the number it has now */
    bool has_value;
    const uint8_t *attrs; /* borrowed */
    size_t attrs_len;
};

/* Answer bytes: for each operation `what` as u8; after OLD the value with its length; after RESULT
 *
 *      code u8 | flags u8 | revision, create_revision, version, n_deleted: varints
 *      flags bit 0: created; bit 1: value and attrs follow, each with its length */
void kv_answer_put(struct buf *out, const struct kv_answer_item *item);
/* Reads item after item from answer bytes; false at the end or when malformed. */
bool kv_answer_next(struct bytes_reader *r, struct kv_answer_item *ret_item);

#endif
