/* SPDX-License-Identifier: MIT
 * Sends requests to the nodes that --endpoints names, one after another until
 * one answers. A write goes to another node only when it is known not to have
 * been attempted, or when it carries an Idempotency-Key, so that it is never
 * applied twice.
 */
#ifndef CTL_CLIENT_H
#define CTL_CLIENT_H

#include "ctl/ctl.h"
#include "ctl/request.h"

#define CLIENT_ENDPOINTS_MAX 32

struct client; /* opaque */

/* INVALID after one line on standard error: the endpoints are not understood. */
MUST_CHECK int client_new(const struct args *args, struct client **ret_client);
void client_free(struct client **client);

unsigned client_n_endpoints(const struct client *client);
/* "http://HOST:PORT", and the "HOST:PORT" of it. Borrowed. */
const char *client_base(const struct client *client, unsigned i);
const char *client_addr(const struct client *client, unsigned i);
/* --timeout; 0: not given. */
uint64_t client_timeout_ms(const struct client *client);

/* Sends the request. CTL_OK: the answer is 2xx. Otherwise what is wrong was said, and the exit
 * status is returned; ret_answer holds what came, if anything did. CTL_PRINTED: --curl was given,
 * and its line is all there is to do. answer_free() in any case. */
#define CTL_PRINTED (-1)
MUST_CHECK int client_send(const struct ctl *c, struct request *r, struct answer *ret_answer);
/* The same, but sent whatever was given: what has to be found out first, by a request that changes
 * nothing. */
MUST_CHECK int client_ask(const struct ctl *c, struct request *r, struct answer *ret_answer);
/* Whether --curl was given. */
bool client_prints(const struct ctl *c);

/* What an attempt came to. */
enum verdict {
    VERDICT_DONE,      /* this answer counts */
    VERDICT_ELSEWHERE, /* not attempted, or it does not matter: another node may do it */
    VERDICT_UNSETTLED  /* an error of which nobody knows what it did */
};
/* `sent`: the request may have left this machine; http_status 0: no answer came. */
enum verdict client_judge(enum request_repeat repeat, bool sent, unsigned http_status);
/* The exit status for an answer that is not 2xx, to such a request. */
int client_exit_status(enum request_repeat repeat, unsigned http_status);
/* What an answer that is not 2xx says, for people, on one line. */
void client_reason(const struct answer *a, struct buf *out);

#endif
