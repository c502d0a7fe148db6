/* SPDX-License-Identifier: MIT
 * What a node keeps beside the keys, wherever the state is kept: the place in
 * the log that the state is of, with the configuration there, the cluster, who
 * led in which term, and the state machine's own meta (kv/).
 *
 *      version u8 | cluster uuid | term, index: varints | config term, index: varints |
 *      config: string | n u8, n times (term varint, leader uuid) | kv's meta: string
 */
#ifndef NODE_META_H
#define NODE_META_H

#include "base/buf.h"
#include "base/err.h"
#include "raft/snapshot.h"

#define NODE_META_VERSION 1
#define NODE_META_TERMS   64

struct term_leader {
    uint64_t term;
    struct uuid leader;
};

struct node_meta {
    struct uuid cluster;
    struct raft_base base;
    unsigned n_terms;
    struct term_leader terms[NODE_META_TERMS];
    const uint8_t *kv; /* borrowed */
    size_t kv_len;
};

void node_meta_encode(const struct node_meta *m, struct buf *out);
/* Untrusted bytes. CORRUPT; VERSION. *ret_meta is untouched then. */
MUST_CHECK int node_meta_decode(const void *p, size_t len, struct node_meta *ret_meta);

#endif
