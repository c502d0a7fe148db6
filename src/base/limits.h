/* SPDX-License-Identifier: MIT
 * Every maximum in one place. What an operator may change is an option of
 * crabcluster.conf instead, and its default is in conf/options.c.
 */
#ifndef BASE_LIMITS_H
#define BASE_LIMITS_H

#include "base/addr.h"

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

/* Keys and values. LMDB's default build takes keys of up to 511 bytes. */
#define LIMIT_KEY_BYTES          511
#define LIMIT_VALUE_BYTES        (64 * MIB) /* ceiling of max-value-size */
#define LIMIT_ATTRS_BYTES        255        /* of a value: its content type and the like */
#define LIMIT_CONTENT_TYPE_BYTES 200
#define LIMIT_BATCH_OPS          4096       /* Sets and Deletes in one Batch */
#define LIMIT_REMOVE_KEYS        250000     /* removed by one prefix */
#define LIMIT_COMMAND_OVERHEAD   (64 * KIB) /* of a command beyond its keys and values */

/* Writes that clients named (Idempotency-Key), and their answers, of which the last one may go
 * beyond. */
#define LIMIT_ONCE_NAME_BYTES 64
#define LIMIT_ONCE_RECORDS    100000
#define LIMIT_ONCE_BYTES      (16 * MIB)

/* Cluster. */
#define LIMIT_MEMBERS        32
#define LIMIT_PEERS          LIMIT_MEMBERS
#define LIMIT_ADDR_BYTES     ADDR_TEXT_MAX
#define LIMIT_APPEND_BYTES   (128 * MIB) /* one /raft-append body: a largest value and its frame */
#define LIMIT_APPEND_ENTRIES 65536       /* entries in one /raft-append */
#define LIMIT_FORWARDED_OPS  65536       /* writes of one node that wait for their answer */

/* HTTP. */
#define LIMIT_HEADER_BYTES  (16 * KIB)
#define LIMIT_JSON_DEPTH    16
#define LIMIT_JSON_VALUES   (8 * LIMIT_BATCH_OPS) /* in one body; the largest Batch has half */
#define LIMIT_CONTROL_BYTES (64 * KIB)            /* body of anything that is not a write */
#define LIMIT_PEER_PLACES   128                   /* connections kept free for peers */
/* Request bodies held at the same time, all together; small ones are not counted. */
#define LIMIT_CLIENT_BODIES_BYTES (256 * MIB)
#define LIMIT_PEER_BODIES_BYTES   (512 * MIB)
/* Likewise answers on their way to clients, who may be slow to take them. */
#define LIMIT_CLIENT_ANSWERS_BYTES (512 * MIB)

#endif
