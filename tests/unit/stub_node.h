/* SPDX-License-Identifier: MIT
 * A node for the tests of api/: one thread, a real state machine and no
 * consensus. What it does with requests is scripted.
 */
#ifndef TESTS_UNIT_STUB_NODE_H
#define TESTS_UNIT_STUB_NODE_H

#include "node/request.h"

#define STUB_NODE_ID "550e8400-e29b-41d4-a716-446655440000"

struct node *stub_node_new(void);
/* Completes what it holds with SHUTDOWN, then ends. Call after api_stop(). */
void stub_node_free(struct node **n);

/* What requests of this type get from now on (0: served); ret is copied for all but
 * NODE_WRITE, NODE_STATUS and NODE_PEER. */
void stub_node_script(struct node *n, enum node_request_type type, int err,
                      const struct node_request *ret);
/* What NODE_PEER gets. The reply is the request's body. */
void stub_node_script_peer(struct node *n, int http_status);
void stub_node_set_status(struct node *n, const struct node_status *status);
/* What backups hold: size bytes, of which stub_node_backup_byte(i) is the i-th. */
void stub_node_set_backup(struct node *n, uint64_t size, uint64_t revision);
uint8_t stub_node_backup_byte(uint64_t i);
/* A member, 7 ms old, unless it is told otherwise; applied is what is. */
void stub_node_set_freshness(struct node *n, struct node_freshness f);
void stub_node_set_leader(struct node *n, struct uuid leader);
/* Its loop has stood still for so long. */
void stub_node_set_stopped(struct node *n, uint64_t ms);

/* While it holds, no request is completed. */
void stub_node_hold(struct node *n, bool hold);
/* Everything is completed with SHUTDOWN at once, what is held and what comes. */
void stub_node_shut_down(struct node *n);
unsigned stub_node_waiting(struct node *n);
/* Requests that came since the start. */
unsigned stub_node_count(struct node *n, enum node_request_type type);

/* Writes a value as /v1 could: any bytes. */
void stub_node_put(struct node *n, const char *key, const void *value, size_t len);

/* A copy of the last one of each, without what it owned; text of the last address. */
struct node_request stub_node_last(struct node *n, enum node_request_type type);

#endif
