/* SPDX-License-Identifier: MIT
 * The commands of a story about the network: see commands_help(). NULL, or
 * what is wrong with the words.
 */
#ifndef TESTS_SCENARIO_NETWORK_H
#define TESTS_SCENARIO_NETWORK_H

#include "words.h"

const char *network_settle(struct world *w, const struct words *a);
const char *network_deliver(struct world *w, const struct words *a);
const char *network_votes(struct world *w, const struct words *a);
const char *network_drop(struct world *w, const struct words *a);
const char *network_stash(struct world *w, const struct words *a);
const char *network_copy(struct world *w, const struct words *a);
const char *network_unstash(struct world *w, const struct words *a);
const char *network_flight(struct world *w, const struct words *a);
const char *network_cut(struct world *w, const struct words *a);
const char *network_heal(struct world *w, const struct words *a);
const char *network_unreachable(struct world *w, const struct words *a);

#endif
