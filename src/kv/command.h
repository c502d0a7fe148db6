/* SPDX-License-Identifier: MIT
 * Commands of the state machine and their bytes, as they stand in log entries:
 *
 *      origin header                                body
 *      version u8 | node uuid | since | boot | seq | back   kind u8 | operations ...
 *                   16 bytes    varints
 *
 *      body of KV_ONCE:   3 u8 | name as string | fingerprint 16 bytes | kind u8 | operations ...
 *      body of KV_CLOCK:  4 u8 | elapsed_ms varint
 *
 * The body is made by whoever serves the client; the header is put before it
 * by the node that the client talked to. `since` is
 * member_since, `back` is seq - floor. Kinds and
 * operation numbers not listed are reserved for transactions and leases.
 *
 * An operation is its number as u8, and then (strings with their length before
 * them, max as varint, by as u64 in two's complement):
 *
 *      Set            key, value
 *      Delete         key
 *      Put            key, condition, want_prev u8, attrs, value
 *      Remove         key, condition, want_prev u8
 *      Remove-prefix  prefix, max
 *      Incr           key, condition, by
 *      Append         key, condition, max, value
 *
 * A condition is `what` as u8, and for KV_IF_REVISION the revision as varint.
 */
#ifndef KV_COMMAND_H
#define KV_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/limits.h"
#include "base/uuid.h"
#include "kv/answer.h"

#define KV_COMMAND_VERSION  1
#define KV_ORIGIN_BYTES_MAX (1 + 16 + 4 * 10)

/* A whole command and a body alone. That bounds the sum of a batch too. */
#define KV_COMMAND_BYTES_MAX (LIMIT_VALUE_BYTES + LIMIT_COMMAND_OVERHEAD)
#define KV_BODY_BYTES_MAX    (KV_COMMAND_BYTES_MAX - KV_ORIGIN_BYTES_MAX)

/* Who asks, and the how-manieth question it is: what makes a repeated command
 * known as a repetition (dissertation 6.3, PITFALLS 49). A node counts its
 * starts durably (boot) and its commands since then (seq, from 1). Every seq
 * below floor has been settled: its answer will never be asked for again. What
 * was seen of a node is forgotten when it leaves the cluster; should it come
 * back, a late copy from before is known by its member_since. */
struct kv_origin {
    struct uuid node;
    uint64_t boot;
    uint64_t seq;
    uint64_t floor;        /* 1 <= floor <= seq */
    uint64_t member_since; /* index of the configuration entry that made it a member,
                              kv_member_since() */
};

enum kv_kind {
    KV_SINGLE = 1, /* one operation */
    KV_BATCH = 2,  /* several, all in one step */
    KV_ONCE = 3,   /* stands before the body of one of these two, see struct kv_once */
    KV_CLOCK = 4,  /* so much time has passed; has no session: a leader puts it into its own log */
};

#define KV_FINGERPRINT_BYTES 16
#define KV_ELAPSED_MAX_MS    ((uint64_t)1 << 40)

/* The name under which a client may send the same request again, through any node, and what tells
 * it from others: the first answer is given again (kv/idempotency.h). */
struct kv_once {
    const uint8_t *name; /* borrowed; 1 to LIMIT_ONCE_NAME_BYTES bytes */
    size_t name_len;     /* 0: the command has no name */
    uint8_t fingerprint[KV_FINGERPRINT_BYTES];
};

enum kv_op_type {
    KV_OP_SET = 1, /* the classic two: alone or in a batch */
    KV_OP_DELETE = 2,
    KV_OP_PUT = 3, /* those of /v1 are alone in their command */
    KV_OP_REMOVE = 4,
    KV_OP_REMOVE_PREFIX = 5, /* all keys that begin so, in one step */
    KV_OP_INCR = 6,          /* a decimal number; what is not there counts as 0 */
    KV_OP_APPEND = 7,        /* what is not there counts as empty */
};

/* What must hold of the key, or nothing is changed (KV_MISMATCH). */
struct kv_condition {
    enum { KV_IF_ANY, KV_IF_ABSENT, KV_IF_EXISTS, KV_IF_REVISION } what;
    uint64_t revision; /* KV_IF_REVISION: the key is there and has this one */
};

struct kv_op {
    enum kv_op_type type;
    /* Borrowed, 1 to LIMIT_KEY_BYTES; Remove-prefix: the prefix, may be empty. */
    const uint8_t *key;
    size_t key_len;
    const uint8_t *value; /* borrowed; Set, Put, Append */
    size_t value_len;
    const uint8_t *attrs; /* borrowed; Put: see kv/attrs.h. Incr and Append keep those of the key */
    size_t attrs_len;
    struct kv_condition condition; /* Put, Remove, Incr, Append */
    bool want_prev;                /* Put, Remove: the answer holds what was there before */
    int64_t by;                    /* Incr */
    /* Append: bytes of the whole value; Remove-prefix: keys, at most LIMIT_REMOVE_KEYS. */
    uint64_t max;
};

/* Appends a body to out. The operations must be within the limits. */
void kv_body_encode(enum kv_kind kind, const struct kv_op ops[], size_t n_ops, struct buf *out);
/* Appends what stands before such a body to make it one of KV_ONCE. */
void kv_once_encode(const struct kv_once *once, struct buf *out);
/* Appends a whole command, header and all; elapsed_ms is at most KV_ELAPSED_MAX_MS. */
void kv_clock_encode(uint64_t elapsed_ms, struct buf *out);
/* Writes the header into out, at most KV_ORIGIN_BYTES_MAX bytes; returns its length. */
size_t kv_origin_encode(const struct kv_origin *origin, uint8_t out[KV_ORIGIN_BYTES_MAX]);

struct kv_command {
    struct kv_origin origin;
    struct kv_once once;
    enum kv_kind kind; /* of the body proper */
    struct kv_op *ops; /* owned array; keys and values borrow from the bytes decoded */
    size_t n_ops;
};

/* Only the origin of a command. INVALID or VERSION. */
MUST_CHECK int kv_origin_decode(const void *p, size_t len, struct kv_origin *ret_origin);

/* Untrusted bytes. INVALID, VERSION or TOO_LARGE; *ret_command is untouched then. */
MUST_CHECK int kv_command_decode(const void *p, size_t len, struct kv_command *ret_command);
void kv_command_free(struct kv_command *command);
/* Checks a body alone (from a peer that forwards) without keeping anything. */
MUST_CHECK int kv_body_check(const void *p, size_t len);
/* Whether a body that was checked may make what is kept grow: all but Delete, Remove and
 * Remove-prefix. */
bool kv_body_grows(const void *p, size_t len);

/* The same without an array of its own: a command checked whole, to be read
 * operation by operation. */
struct kv_command_reader {
    struct kv_origin origin;
    struct kv_once once; /* name_len 0: none */
    enum kv_kind kind;   /* never KV_ONCE: that of the body proper */
    uint64_t elapsed_ms; /* KV_CLOCK, which has no operations */
    size_t n_ops;
    bool only_sets;
    struct bytes_reader ops; /* borrows from the bytes opened */
};
/* Untrusted bytes; errors as kv_command_decode(). */
MUST_CHECK int kv_command_open(const void *p, size_t len, struct kv_command_reader *ret_reader);
/* The same without a look at the operations, which end at the first that is malformed: of what was
 * checked before, or where it does not matter. only_sets has no meaning. */
MUST_CHECK int kv_command_peek(const void *p, size_t len, struct kv_command_reader *ret_reader);
MUST_CHECK int kv_body_peek(const void *p, size_t len, struct kv_command_reader *ret_reader);
/* The next operation of an opened command; false after the last one. */
bool kv_op_next(struct bytes_reader *r, struct kv_op *ret_op);

#endif
