/* SPDX-License-Identifier: MIT
 * Query parameters. One table has every name that API.md knows; each route says
 * which of them it takes (struct route, api/route.h). Whatever else a client
 * asks for is refused, never ignored: 400, or 501 for what comes in a later
 * version.
 */
#ifndef API_QUERY_H
#define API_QUERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define QUERY_LIST(X)                                                                              \
    X(CONSISTENCY, "consistency")                                                                  \
    X(MIN_REVISION, "min_revision")                                                                \
    X(TIMEOUT, "timeout")                                                                          \
    X(PRETTY, "pretty")                                                                            \
    X(KEY_B64, "key_b64")                                                                          \
    X(WAIT, "wait")                                                                                \
    X(PREV, "prev")                                                                                \
    X(OP, "op")                                                                                    \
    X(BY, "by")                                                                                    \
    X(PREFIX, "prefix")                                                                            \
    X(LIMIT, "limit")                                                                              \
    X(CURSOR, "cursor")                                                                            \
    X(DELIMITER, "delimiter")                                                                      \
    X(KEYS_ONLY, "keys_only")                                                                      \
    X(REVERSE, "reverse")                                                                          \
    X(CONFIRM, "confirm")                                                                          \
    X(LEASE, "lease")                                                                              \
    X(TTL, "ttl")

enum query_name {
#define X(name, text) QUERY_##name,
    QUERY_LIST(X)
#undef X
        QUERY_NAMES /* how many */
};

#define QUERY_BIT(name) (1u << QUERY_##name)
/* Everywhere under /v1. */
#define QUERY_V1                                                                                   \
    (QUERY_BIT(CONSISTENCY) | QUERY_BIT(MIN_REVISION) | QUERY_BIT(TIMEOUT) | QUERY_BIT(PRETTY))
/* What a later version brings. */
#define QUERY_LATER (QUERY_BIT(LEASE) | QUERY_BIT(TTL))

/* Of `timeout` and `wait`. */
#define QUERY_DURATION_MAX_MS (10 * 60 * 1000)

/* Writes are linearizable whatever is asked for, and see every revision. */
enum query_consistency { QUERY_LINEARIZABLE, QUERY_BY_LEASE, QUERY_STALE };

struct query {
    struct {
        const char *text; /* as it came, still percent-encoded; borrowed; NULL: absent */
        size_t len;
    } raw[QUERY_NAMES];
    enum query_consistency consistency;
    uint64_t min_revision; /* 0: any */
    uint32_t timeout_ms;   /* 0: none given */
    bool pretty;
};

struct http_exchange;

const char *query_name_text(enum query_name name);

/* Reads the query of a request whose route is known into x->query, or refuses the request. */
void query_read(struct http_exchange *x);

bool query_has(const struct http_exchange *x, enum query_name name);
/* Each leaves *ret as it is when the parameter is absent, and answers false, the request then being
 * refused, when it is not what it should be. */
/* "", 1, true, yes or 0, false, no. */
bool query_flag(struct http_exchange *x, enum query_name name, bool *ret);
bool query_u64(struct http_exchange *x, enum query_name name, uint64_t min, uint64_t max,
               uint64_t *ret);
bool query_i64(struct http_exchange *x, enum query_name name, int64_t *ret);
bool query_duration(struct http_exchange *x, enum query_name name, uint64_t min_ms, uint64_t max_ms,
                    uint64_t *ret_ms);
/* Any bytes, decoded, appended to ret: at most max, or 413. */
bool query_bytes(struct http_exchange *x, enum query_name name, size_t max, struct buf *ret);
/* One of the words; their end is NULL. *ret becomes its number. */
bool query_word(struct http_exchange *x, enum query_name name, const char *const words[],
                unsigned *ret);

#endif
