/* SPDX-License-Identifier: MIT
 * The handlers that the route table names. start() has the whole body in
 * x->body and answers or calls http_submit(); finish() has what the node made
 * of x->request and answers. One file per family of endpoints.
 */
#ifndef API_HANDLERS_H
#define API_HANDLERS_H

#include "api/http.h"
#include "base/limits.h"

/* All keys and values of one Batch, in bytes; max-value-size when that is more. */
#define WRITE_BATCH_BYTES (4 * MIB)

/* classic.c */
void write_start(struct http_exchange *x);
void write_finish(struct http_exchange *x);
void read_start(struct http_exchange *x);
void read_finish(struct http_exchange *x);

/* keys.c */
void keys_get_start(struct http_exchange *x);
void keys_get_finish(struct http_exchange *x);

/* keys_write.c */
void keys_put_start(struct http_exchange *x);
void keys_put_finish(struct http_exchange *x);
void keys_delete_start(struct http_exchange *x);
void keys_delete_finish(struct http_exchange *x);
void keys_post_start(struct http_exchange *x);
void keys_post_finish(struct http_exchange *x);

/* membership.c */
void init_start(struct http_exchange *x);
void init_finish(struct http_exchange *x);
void get_id_start(struct http_exchange *x);
void add_learner_start(struct http_exchange *x);
void add_learner_finish(struct http_exchange *x);
void change_membership_start(struct http_exchange *x);
void change_membership_finish(struct http_exchange *x);

/* metrics.c */
void metrics_start(struct http_exchange *x);
void metrics_finish(struct http_exchange *x);

/* peer.c */
void peer_start(struct http_exchange *x);
void peer_finish(struct http_exchange *x);

/* snapshot.c */
void snapshot_start(struct http_exchange *x);
void snapshot_finish(struct http_exchange *x);

/* prometheus.c: the text form of /metrics. */
void prometheus_write(struct http_server *server, const struct node_status *status,
                      struct buf *out);

#endif
