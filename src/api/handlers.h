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

/* list.c */
void list_start(struct http_exchange *x);
void list_finish(struct http_exchange *x);
void list_delete_start(struct http_exchange *x);
void list_delete_finish(struct http_exchange *x);

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

/* prometheus.c: answers with the text form of the NODE_STATUS that x asked for. */
void prometheus_answer(struct http_exchange *x);

/* status.c */
void status_start(struct http_exchange *x);
void status_finish(struct http_exchange *x);
void members_finish(struct http_exchange *x); /* started by status_start() */

/* members.c */
void member_add_start(struct http_exchange *x);
void member_add_finish(struct http_exchange *x);
void member_remove_start(struct http_exchange *x);
void member_remove_finish(struct http_exchange *x);
void member_promote_start(struct http_exchange *x);
void member_promote_finish(struct http_exchange *x);
void member_demote_start(struct http_exchange *x);
void member_demote_finish(struct http_exchange *x);
void transfer_start(struct http_exchange *x);
void transfer_finish(struct http_exchange *x);

/* health.c */
void healthz_start(struct http_exchange *x);
void readyz_start(struct http_exchange *x);
void readyz_finish(struct http_exchange *x);

/* config.c */
void config_write(struct buf *b, const char *file, const struct api_setting settings[], size_t n);
void config_start(struct http_exchange *x);
void prometheus_start(struct http_exchange *x);
void prometheus_finish(struct http_exchange *x);

/* openapi.c */
void openapi_start(struct http_exchange *x);

#endif
