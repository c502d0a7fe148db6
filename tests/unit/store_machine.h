/* SPDX-License-Identifier: MIT
 * A state machine over a store, as a node has one: it applies what it appends,
 * takes checkpoints, sends and installs snapshots, and after a reopen replays
 * the log. What it must hold follows from the index alone.
 */
#ifndef STORE_MACHINE_H
#define STORE_MACHINE_H

#include "kv/view.h"
#include "raft/snapshot.h"
#include "store_fixture.h"

#define MACHINE_KEYS 60

struct store_machine {
    struct store_fixture *f; /* borrowed */
    struct kv *kv;           /* NULL: not open */
    struct raft_base base;   /* as read at the open */
    uint64_t restored;       /* index of the checkpointed state at the open */
    uint64_t n_scanned;      /* entries that the log gave at the open */
    uint64_t last;           /* of the log */
    uint64_t checkpointed;   /* index of the last checkpoint or install */
};

/* Opens, restores and starts; the code of store_open() or store_scan(), the reason in f. */
int machine_try_open(struct store_machine *m);
void machine_open(struct store_machine *m);
void machine_close(struct store_machine *m);
void machine_reopen(struct store_machine *m);

/* Appends n entries and applies them. */
void machine_write(struct store_machine *m, unsigned n);
/* Freezes what was applied. The job is the caller's. */
struct storage_job *machine_freeze(struct store_machine *m);
/* All of a checkpoint; it must succeed. */
void machine_checkpoint(struct store_machine *m);
/* The log begins after this index. */
void machine_compact(struct store_machine *m, uint64_t index);

/* Every key is as after this index, and this was applied. */
void machine_check_at(struct store_machine *m, uint64_t index);
/* The same of what was written last. */
void machine_check(struct store_machine *m);
/* The same of a view. */
void machine_check_view(struct kv_view *view, uint64_t index);

/* What a leader has: a snapshot of what was applied, made in its store. One reference. */
struct raft_snapshot *machine_snapshot(struct store_machine *m, uint64_t id);
/* Hands in a piece; the job that comes back is the caller's. */
struct storage_job *machine_piece_new(const struct raft_snapshot *s, uint64_t offset,
                                      const void *data, size_t len);
int machine_send_piece(struct store_machine *to, const struct raft_snapshot *s, uint64_t offset,
                       const void *data, size_t len);
/* Reads pieces of `from` and writes them to `to`, up to this offset; the last answer. */
int machine_transfer(struct store_machine *from, struct store_machine *to,
                     const struct raft_snapshot *s, uint64_t upto);
/* The write that installs it, not handed in. */
struct storage_write *machine_install_new(struct store_machine *to, const struct raft_snapshot *s);
/* Hands it in, waits, and goes on from there. */
void machine_install(struct store_machine *to, const struct raft_snapshot *s);
void machine_drop(struct store_machine *m, uint64_t id);
/* Eight runs wait, as many as may, and will not be merged, because the first one is damaged. */
void machine_stop_merging(struct store_machine *m);
/* A checkpoint without a key, at the next index, which the log does not have. */
struct storage_job *machine_freeze_nothing(struct store_machine *m);
/* All its bytes, owned by the caller. */
uint8_t *machine_read_all(struct store_machine *m, const struct raft_snapshot *s);

/* The data directory has `n_states` generations and `n_files` snapshots; what is deleted in the
 * background has its time. */
void machine_check_files(const struct store_machine *m, unsigned n_states, unsigned n_files);

/* Two nodes: the one that sends snapshots, and the one that gets them. */
struct store_world {
    struct store_machine leader, follower;
};
/* cmocka's setup and teardown: both are open. */
int store_world_setup(void **state);
int store_world_teardown(void **state);

#endif
