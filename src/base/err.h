/* SPDX-License-Identifier: MIT
 * The one list of error codes. Functions return 0 or a negative code from it;
 * codes of libraries are translated once, where the library is included.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#define ERR_LIST(X)                                                                                \
    X(INVALID, "invalid argument or malformed input")                                              \
    X(TOO_LARGE, "larger than its limit")                                                          \
    X(NOT_FOUND, "not found")                                                                      \
    X(EXISTS, "exists already")                                                                    \
    X(CONFLICT, "the idempotency key was used for another request")                                \
    X(BUSY, "in use by another process")                                                           \
    X(OVERLOADED, "too much work is waiting")                                                      \
    X(NO_LEADER, "no leader is known")                                                             \
    X(NOT_LEADER, "this node is not the leader")                                                   \
    X(UNKNOWN, "the outcome is unknown")                                                           \
    X(STALE, "an older copy of a request that was settled before")                                 \
    X(TIMEOUT, "the time allowed has passed")                                                      \
    X(UNREACHABLE, "the address cannot be reached")                                                \
    X(NOT_ALLOWED, "not allowed in this state")                                                    \
    X(IN_PROGRESS, "a membership change is in progress")                                           \
    X(LAGGING, "the learner is lagging behind")                                                    \
    X(EMPTY, "nothing given where something is needed")                                            \
    X(ID_MISMATCH, "another node id lives at that address")                                        \
    X(CLUSTER_MISMATCH, "the node belongs to another cluster")                                     \
    X(INCARNATION_MISMATCH, "the node id is known with another disk")                              \
    X(VERSION, "unknown format or protocol version")                                               \
    X(CORRUPT, "checksum or structure is damaged")                                                 \
    X(IO, "input or output failed")                                                                \
    X(NO_SPACE, "no space is left")                                                                \
    X(PERMISSION, "permission denied")                                                             \
    X(UNINITIALIZED, "this node belongs to no cluster yet")                                        \
    X(SHUTDOWN, "the node is shutting down")                                                       \
    X(NO_QUORUM, "the voters that answer would be no majority")

enum err_code {
    ERR_POSITIVE_NAMES_START = 0,
#define X(name, text) ERR_N_##name,
    ERR_LIST(X)
#undef X
        ERR_CODES /* how many, and 0 for success: an array of so many has a place for each -code */
};

enum {
#define X(name, text) ERR_##name = -(int)ERR_N_##name,
    ERR_LIST(X)
#undef X
};

#define MUST_CHECK             __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

/* The text of a code, for people; "ok" for 0. Never NULL. Static storage. */
const char *err_text(int code);
/* The name of a code ("NO_LEADER"), for logs. Never NULL. Static storage. */
const char *err_name(int code);

#endif
