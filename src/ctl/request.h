/* SPDX-License-Identifier: MIT
 * One HTTP request to a node, the same whichever node it goes to, and the
 * answer. Pure data and its making; ctl/client.h sends it.
 */
#ifndef CTL_REQUEST_H
#define CTL_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "ctl/args.h"

#define REQUEST_HEADERS_MAX 8
#define REQUEST_ONCE_MAX    64

/* What may be done when nobody knows whether the node has carried it out. */
enum request_repeat {
    REQUEST_READ,  /* changes nothing: ask anybody again */
    REQUEST_ONCE,  /* has an Idempotency-Key: sent again it is not applied again */
    REQUEST_UNSAFE /* must not be sent again */
};

struct request {
    const char *method; /* static */
    struct buf target;  /* path and query, encoded */
    char *headers[REQUEST_HEADERS_MAX];
    unsigned n_headers;
    const void *body; /* borrowed; NULL: none */
    size_t body_len;
    const char *body_file; /* --curl: where the body comes from, "-" for standard input, or NULL */
    enum request_repeat repeat;
    bool slow;                   /* may take longer than an answer usually does, while it goes on */
    char once[REQUEST_ONCE_MAX]; /* the Idempotency-Key of REQUEST_ONCE */
    /* NULL: the answer's body is collected. Else it gets the body of a 2xx answer piece by piece;
     * less than 0 ends the transfer. */
    int (*sink)(void *ctx, const void *p, size_t len);
    void *ctx;
};

/* path is a format, its text already encoded. REQUEST_ONCE makes the key. */
void request_init(struct request *r, const char *method, enum request_repeat repeat,
                  const char *path);
void request_free(struct request *r);
/* "/v1/kv/KEY". What a path cannot carry goes into the query. */
void request_key(struct request *r, const void *key, size_t len);
/* Appends NAME=VALUE to the query; the value is encoded. */
void request_query(struct request *r, const char *name, const void *value, size_t len);
void request_query_str(struct request *r, const char *name, const char *value);
void request_header(struct request *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Whether the text can be a Content-Type. It may come from somebody else's file, and with an end of
 * line in it would be more than one header, or another request. */
bool request_is_content_type(const char *text);
/* Takes over --consistency and --min-revision. INVALID after a line on standard error. */
MUST_CHECK int request_read_flags(struct request *r, const struct args *args);

/* The line for a shell that sends the same to a node at base ("http://127.0.0.1:8080"). */
void request_curl_line(const struct request *r, const char *base, struct buf *out);

struct answer {
    unsigned status; /* 0: none came */
    struct buf body;
    char *content_type; /* owned, NULL when there was none */
    uint64_t revision, create_revision, version;
    uint64_t size; /* Content-Length, 0 when it was not given */
};

void answer_free(struct answer *a);
/* Takes one header line of len bytes, as it came. */
void answer_header(struct answer *a, const char *line, size_t len);

#endif
