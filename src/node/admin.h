/* SPDX-License-Identifier: MIT
 * What the files about membership commands share: an operation under way, and
 * its steps at the leader. The rest of the node sees driver.h only.
 *
 *      admin.c    life of an operation, asking the leader, the phases
 *      joining.c  newcomers: who lives at an address, learners, promotion
 *      voters.c   who votes: change, remove, demote; handing over leadership
 */
#ifndef NODE_ADMIN_H
#define NODE_ADMIN_H

#include "node/driver.h"

enum admin_phase {
    ADMIN_START,
    ADMIN_ASKED,    /* the leader, which is another */
    ADMIN_HELLO,    /* whoever lives at the address */
    ADMIN_PROPOSED, /* a learner */
    ADMIN_CATCH_UP, /* it has to, or to become a voter then */
    ADMIN_HANDOVER, /* leadership, to another */
    ADMIN_SETTLING, /* proposed; done when it is committed and no joint configuration is left */
};

struct admin_op {
    struct list link;
    uint64_t id;
    struct node_request *request;
    bool of_peer; /* request is a NODE_PEER with this question */
    struct wire_header question;

    enum wire_admin_op op;
    struct uuid ids[LIMIT_MEMBERS];
    unsigned n_ids;
    uint64_t incarnation; /* of ids[0], learned by HELLO */
    char addr[LIMIT_ADDR_BYTES + 1];

    enum admin_phase phase;
    uint64_t deadline_ms, retry_ms;
    bool attempted;
    bool handed_over;    /* tried once, as this leader */
    int hindered;        /* why it had to wait, if it had; 0: nothing */
    struct uuid leader;  /* TRANSFER: whom it was first asked of; zero: nobody yet */
    struct raft_pos pos; /* of the configuration proposed */
    struct node_admin_result result;
};

/* ---- admin.c ---- */

/* Ends the operation. Takes op. */
void admin_finish(struct driver *d, struct admin_op *op, int err);
/* Looks at it from the beginning, a little later. */
void admin_restart(const struct driver *d, struct admin_op *op);
/* The same, because another change is under way. */
void admin_wait(const struct driver *d, struct admin_op *op);
/* A newcomer is a member already: by an earlier try of this same command, or it is refused. Takes
 * op, or keeps it for later. */
void admin_already_member(struct driver *d, struct admin_op *op, struct uuid id);
/* What raft_change_config() said: on success the operation goes on in this phase. Takes op, or
 * keeps it for later. */
void admin_proposed(struct driver *d, struct admin_op *op, int err, enum admin_phase next);

/* ---- joining.c, all at the leader ---- */

void joining_start(struct driver *d, struct admin_op *op);
void joining_hello_answered(struct driver *d, struct admin_op *op, int err,
                            const struct wire_message *m);
/* The learner is in the configuration. */
void joining_advance(struct driver *d, struct admin_op *op);
/* PROMOTE. */
void joining_start_promotion(struct driver *d, struct admin_op *op);
/* Learners that are to become voters do, when they have caught up. */
void joining_pump(struct driver *d);

/* ---- voters.c, all at the leader ---- */

void voters_start_change(struct driver *d, struct admin_op *op);
/* REMOVE and DEMOTE. */
void voters_start_taking(struct driver *d, struct admin_op *op);
void voters_start_transfer(struct driver *d, struct admin_op *op);
/* Whether somebody else leads by now. */
void voters_advance_handover(struct driver *d, struct admin_op *op);

#endif
