/* SPDX-License-Identifier: MIT
 * A history: the real store at work, recorded, and what it must remember of it.
 * Every write leads to a state, numbered from 0 (nothing was written). What is
 * found after a power loss must be exactly one of those from the last promised
 * one up to the last begun one.
 */
#ifndef POWER_HISTORY_H
#define POWER_HISTORY_H

#include "node/storage.h"
#include "trace.h"

/* Of a log by index, whatever the order in which it is read. */
struct state {
    uint64_t base, last; /* indices: the log is base + 1 to last */
    uint64_t digest;     /* sum over its entries */
    struct raft_hard_state hard_state;
    struct uuid cluster, promised; /* of the identity */
    bool contacted;
};

struct history {
    uint64_t seed;
    unsigned kind;
    struct trace trace;
    size_t first_point;   /* operations before it only make what was there at the beginning */
    struct state *states; /* owned */
    size_t n_states, cap_states;
    struct storage_identity identity; /* as the store made it */
};

/* The entry of this place in this history: bytes follow from it. One reference, the caller's. */
struct raft_entry *history_entry(const struct history *h, struct raft_pos pos);
uint64_t history_entry_digest(const struct raft_entry *e);

/* Kinds of work that are recorded. */
unsigned history_kinds(void);
const char *history_kind_name(unsigned kind);

/* Records a history in the directory root/data; root exists and is empty. Ends the process when
 * the store fails without any fault. The caller frees it. */
struct history *history_record(const char *root, unsigned kind, uint64_t seed);
void history_free(struct history **h);

/* A map that is large enough for every history, and quickly mapped. */
#define HISTORY_MAP_BYTES (64 * MIB)

#endif
