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
#include "node/storage.h"
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

/* What kv's part says of the state. CORRUPT; VERSION. */
MUST_CHECK int node_meta_kv_info(const void *p, size_t len, struct kv_meta_info *ret_info);

/* Between the last revision of a state and the first of a cluster that is made of it: so that no
 * revision that the cluster before gave to anybody, after the state was taken, is given again. */
#define NODE_META_SKIP ((uint64_t)1 << 32)

/* The meta of the same state in a cluster of one node (id, incarnation and cluster of *who),
 * reached at addr: NODE_META_SKIP later, with this node as its only voter. Untrusted bytes:
 * CORRUPT, VERSION. Appends to out. *ret_base: where that node's log begins. */
MUST_CHECK int node_meta_refound(const void *p, size_t len, const struct storage_identity *who,
                                 const char *addr, struct buf *out, struct raft_base *ret_base);

#endif
