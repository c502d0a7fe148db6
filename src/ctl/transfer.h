/* SPDX-License-Identifier: MIT
 * One attempt at one node: a request as a transfer of libcurl's, alone or
 * among others.
 */
#ifndef CTL_TRANSFER_H
#define CTL_TRANSFER_H

#include <curl/curl.h>

#include "ctl/client.h"
#include "ctl/request.h"

struct transfer {
    CURL *curl; /* borrowed, and all below */
    const struct client *client;
    unsigned endpoint;
    struct request *request;
    struct answer *answer;
    struct curl_slist *headers; /* owned */
    bool begun;                 /* the sink has got something */
    bool too_large, sink_failed;
    char error[CURL_ERROR_SIZE];
};

struct outcome {
    bool sent;  /* the request may have left this machine */
    bool begun; /* the answer was partly used, so that no other can take its place */
};

/* Prepares curl, a handle that may have been used before. What is given outlives the transfer,
 * which stays where it is. */
void transfer_start(struct transfer *t, CURL *curl, const struct client *client, unsigned endpoint,
                    struct request *r, struct answer *ret_answer);
/* After the transfer: the answer's status is there if one came. `why` becomes what is wrong, for
 * people, and empty when nothing is or the sink said it. */
struct outcome transfer_end(struct transfer *t, CURLcode code, struct buf *why);

#endif
