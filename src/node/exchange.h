/* SPDX-License-Identifier: MIT
 * Questions this node has put to others and that are not answered yet: what
 * each was about, so that the answer, or its failure, finds its way back.
 */
#ifndef NODE_EXCHANGE_H
#define NODE_EXCHANGE_H

#include "base/list.h"
#include "node/transport.h"
#include "raft/types.h"
#include "wire/wire.h"

enum exchange_kind {
    EXCHANGE_RAFT,
    EXCHANGE_FORWARD,
    EXCHANGE_ADMIN,
    EXCHANGE_HELLO, /* for an admin operation */
    EXCHANGE_FORM_HELLO,
    EXCHANGE_FORM,
    EXCHANGE_MOVE_HELLO,
    EXCHANGE_DIGEST,
    EXCHANGE_STATUS,
};

struct exchange {
    struct list link;
    uint64_t id;
    enum exchange_kind kind;
    struct uuid peer; /* zero: not known yet */
    /* ADMIN, HELLO: the operation. STATUS: the overview. FORM_HELLO, FORM: the peer's place.
     * FORWARD: the generation of leaders. */
    uint64_t owner;
    uint64_t asked_us; /* of a sign of life, which is answered at once; 0: it is another question */
    uint64_t *seqs;    /* EXCHANGE_FORWARD: which writes, owned */
    unsigned n_seqs;
};

struct exchanges {
    struct list open;
    uint64_t id_last;
};

void exchanges_init(struct exchanges *x);
void exchanges_free(struct exchanges *x);

struct driver;
/* Encodes m and sends it to addr; returns the exchange for the caller to note what it needs.
 * Takes nothing. The answer comes to the kind's _answered function; NULL message: it failed. */
struct exchange *exchange_ask(struct driver *d, enum exchange_kind kind, enum transport_path path,
                              enum transport_lane lane, const char *addr, uint32_t timeout_ms,
                              const struct wire_message *m);
/* Finds and unlinks the exchange of an answer. NULL: none. The caller owns it. */
struct exchange *exchanges_take(struct exchanges *x, uint64_t id);
void exchange_free(struct exchange **x);

#endif
