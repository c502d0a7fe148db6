/* SPDX-License-Identifier: MIT
 * A state machine over a base in memory, to try operations of /v1 on. Checks by
 * cmocka's assertions.
 */
#ifndef TESTS_KV_OPERATIONS_H
#define TESTS_KV_OPERATIONS_H

#include "kv/kv.h"
#include "mem_base.h"

struct fixture {
    struct kv *kv;
    struct kv_base *base;
    uint64_t index, seq;        /* the last ones */
    struct kv_answer_item item; /* the answer of the last operation */
};

/* cmocka's: *state is the fixture. */
int setup(void **state);
int teardown(void **state);

struct kv_pos next_pos(struct fixture *f);
/* Everything applied goes into the base. Checks the digest. */
void checkpoint(struct fixture *f);

/* A command of the one member, appended. */
void encode(const struct fixture *f, uint64_t seq, const struct kv_op *op, struct buf *out);
/* Applies it with this number of the session; f->item is the answer, borrowed until the next. */
struct kv_result apply_seq(struct fixture *f, uint64_t seq, struct kv_op op);
/* Applies an operation of /v1 with the next number. */
enum kv_code apply(struct fixture *f, struct kv_op op);
/* The only answer of a result. */
struct kv_answer_item item_of(const struct kv_result *r);

/* An operation on a key and nothing more. */
struct kv_op op_on(enum kv_op_type type, const char *key);
struct kv_op set_op(const char *key, const char *value);
struct kv_op put_op(const char *key, const char *value, const char *attrs);
struct kv_op incr_op(const char *key, int64_t by);
struct kv_op append_op(const char *key, const char *value, uint64_t max);
struct kv_op remove_prefix_op(const char *prefix, uint64_t max);

void assert_text(const uint8_t *p, size_t len, const char *expected);
/* NULL: it is not there. By the writer's read and by a view. */
void assert_key(struct fixture *f, const char *key, const char *value, const char *attrs);
/* Of the last answer. */
void assert_revisions(const struct fixture *f, uint64_t revision, uint64_t create_revision,
                      uint64_t version);

#endif
