/* SPDX-License-Identifier: MIT
 * A history: the real store at work, recorded, and what it must remember of it.
 * Every write leads to a state, numbered from 0 (nothing was written). What is
 * found after a power loss must be exactly one of those from the last promised
 * one up to the last begun one.
 */
#ifndef POWER_HISTORY_H
#define POWER_HISTORY_H

#include "kv/cursor.h"
#include "kv/kv.h"
#include "node/storage.h"
#include "trace.h"

struct expected {
    uint64_t base, last; /* a log: base + 1 to last; a state: last is its position */
    uint64_t checkpoint; /* of a node: where its checkpointed state ends */
    uint64_t records;    /* of a node: digest of its keys at the commit */
    uint64_t base_term;
    uint64_t digest;                   /* sum over its entries or records, whatever their order */
    struct raft_hard_state hard_state; /* a state: the term of its position */
    struct uuid cluster, promised;     /* of the identity */
    bool contacted, outsider;
};

struct history {
    uint64_t seed;
    unsigned kind;
    struct trace trace;
    size_t first_point;      /* operations before it only make what was there at the beginning */
    struct expected *states; /* owned */
    size_t n_states, cap_states;
    struct storage_identity identity; /* as the store made it */
    /* Sees every operation as it is recorded; NULL: nobody does. */
    void (*watch)(void *ctx, const struct trace_op *op);
    void *watch_ctx;
};

/* Kinds of work that are recorded: of the log, of the checkpointed state, of a node's both. */
enum history_group { HISTORY_LOG, HISTORY_STATE, HISTORY_NODE, HISTORY_GROUPS };
unsigned history_kinds(void);
const char *history_kind_name(unsigned kind);
enum history_group history_group(unsigned kind);
/* Its number within its group. */
unsigned history_kind_in_group(unsigned kind);

/* Records a history in the directory root/data; root exists and is empty. Ends the process when
 * the store fails without any fault. The caller frees it. */
struct history *history_record(const char *root, unsigned kind, uint64_t seed);
void history_free(struct history **h);

/* ---- logs ---- */

extern const unsigned history_log_kinds;
const char *history_log_kind_name(unsigned kind);
void history_log_work(struct history *h, const char *dir);
/* Opens what a loss of power left. */
void history_log_recover(struct history *h, const char *dir);

/* The entry of this place in this history: bytes follow from it. One reference, the caller's. */
struct raft_entry *history_entry(const struct history *h, struct raft_pos pos);
uint64_t history_entry_digest(const struct raft_entry *e);

/* ---- states: MARK_BOOT is the generation ---- */

extern const unsigned history_state_kinds;
const char *history_state_kind_name(unsigned kind);
void history_state_work(struct history *h, const char *dir);
/* The same; gen 0: the first generation was not made. And merges what is to be merged. */
void history_state_recover(struct history *h, const char *dir, uint64_t gen);

uint64_t history_record_digest(const struct kv_record *r);
/* Where a run's meta says that it is; a callback of the state. */
int history_meta_pos(const void *meta, size_t len, struct kv_pos *ret_pos);

/* ---- nodes: log and state (history_node.h) ---- */

extern const unsigned history_node_kinds;
const char *history_node_kind_name(unsigned kind);
void history_node_work(struct history *h, const char *dir);
/* Opens what a loss left, or restores again what was not restored, or begins a new cluster with it.
 */
void history_node_recover(struct history *h, const char *dir, const uint64_t marks[MARKS]);
/* It begins with a backup: state 1 is the one restored, and before it there is nothing. */
bool history_node_is_restored(const struct history *h);

/* ---- for all ---- */

uint64_t history_mixed(uint64_t a, uint64_t b);
void history_add_state(struct history *h, const struct expected *s);
_Noreturn void history_broken(const char *what, const char *why);

/* A map that is large enough for every history, and quickly mapped. */
#define HISTORY_MAP_BYTES     (64 * MIB)
#define HISTORY_JOURNAL_BYTES (32 * KIB) /* settled every few dozen writes */

#endif
