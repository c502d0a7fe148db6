/* SPDX-License-Identifier: MIT
 * Prometheus exposition format 0.0.4, for the text form of /metrics. Only what
 * is measured; never a key as a label.
 */
#ifndef API_PROMETHEUS_H
#define API_PROMETHEUS_H

#include "base/buf.h"
#include "node/request.h"

/* The head of a family; and one with a single value. type: counter, gauge, histogram. */
void prometheus_family(struct buf *out, const char *name, const char *type, const char *help);
void prometheus_single(struct buf *out, const char *name, const char *type, const char *help,
                       uint64_t value);

/* The families that come from the node. */
void prometheus_write_node(const struct node_status *status, struct buf *out);

#endif
