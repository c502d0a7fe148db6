/* SPDX-License-Identifier: MIT
 * The part of a node that saves its state, makes snapshots and takes them in.
 * A snapshot is some bytes that depend on its name and their place.
 */
#ifndef TESTS_SCENARIO_SNAPSHOTS_H
#define TESTS_SCENARIO_SNAPSHOTS_H

#include "words.h"
#include "world.h"

/* What the effects say of snapshots. */
void snapshots_take(struct world *w, unsigned node, const struct raft_effects *e);
/* Makes what is wanted and writes what has come, unless that is held. True: the core was told. */
bool snapshots_serve(struct world *w, unsigned node);
/* What ends with the process. */
void snapshots_forget(struct node *n);
/* State machine and log are replaced, on the disk. */
void snapshots_install(struct world *w, unsigned node, const struct raft_snapshot *s);
/* The log begins there from now on, on the disk. */
void snapshots_set_base(struct world *w, unsigned node, const struct raft_base *base);
/* The bytes of the piece in m, into bytes[0..WORLD_PIECE). */
void snapshots_read_piece(struct raft_message *m, uint8_t bytes[]);

/* Commands; NULL or what is wrong. */
const char *snapshots_compact(struct world *w, const struct words *a);
const char *snapshots_hold(struct world *w, const struct words *a);
const char *snapshots_release(struct world *w, const struct words *a);
const char *snapshots_make(struct world *w, const struct words *a);
const char *snapshots_fail(struct world *w, const struct words *a);
const char *snapshots_write(struct world *w, const struct words *a);
const char *snapshots_damage(struct world *w, const struct words *a);

#endif
