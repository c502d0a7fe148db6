/* SPDX-License-Identifier: MIT
 * What every key of the clients ever was, and what operations do to a key: part
 * of the simulator's model of the state machine.
 */
#ifndef TESTS_SIM_PAST_H
#define TESTS_SIM_PAST_H

#include "kv/command.h"

struct sim;

/* A key from this index on. */
struct version {
    uint64_t index, op; /* op 0: not there, and what follows is 0 */
    uint64_t create, count;
    uint64_t attrs_op; /* whose attributes it has; 0: none */
    enum { HOW_WRITTEN, HOW_COUNTED, HOW_APPENDED } how;
    int64_t number; /* HOW_COUNTED */
    size_t before;  /* HOW_APPENDED: number of the version that it begins with, from 1; 0: none */
    size_t len;
};

struct past {
    struct version *items;
    size_t n, cap;
};

void past_free(struct sim *s);
/* What the key is at index. */
const struct version *past_at(const struct sim *s, unsigned key, uint64_t index);
/* Appends the bytes of this version of the key, which is there. */
void past_value(struct sim *s, unsigned key, const struct version *v, struct buf *out);
/* Appends the attributes that this operation would give. */
void past_attrs(uint64_t op, struct buf *out);
/* It has this value and these attributes. */
bool past_is_value(struct sim *s, unsigned key, const struct version *v, const uint8_t *value,
                   size_t len, const uint8_t *attrs, size_t attrs_len);
/* How an operation on one key must end. */
enum kv_code past_decide(const struct kv_op *op, const struct version *before);
/* Carries it out, as operation id (of no meaning for removals). */
enum kv_code past_apply(struct sim *s, unsigned key, const struct kv_op *op, uint64_t index,
                        uint64_t id);
void past_remove(struct sim *s, unsigned key, uint64_t index);
/* The keys whose names begin so, and how many of them are there at index. */
uint32_t past_keys_with(const struct sim *s, const uint8_t *prefix, size_t len);
unsigned past_count(const struct sim *s, uint32_t keys, uint64_t index);

#endif
