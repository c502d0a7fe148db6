/* SPDX-License-Identifier: MIT
 * The state of the core and what its files call of each other.
 *
 *      raft.c         life, dispatch, ticks, questions
 *      outbox.c       what goes out: effects, and answers that wait for the disk
 *      election.c     campaigns, votes, check-quorum, change of role and term
 *      follower.c     appends as they are received
 *      replication.c  appends as they are sent; the commit rule
 *      membership.c   changes of the configuration
 *      read.c         ReadIndex
 *      lease.c        reads by lease
 *      transfer.c     handing over leadership
 *      compact.c      where the log begins; snapshots by name
 *      snapshot_out.c snapshots as they are sent
 *      snapshot_in.c  snapshots as they are received and installed
 *      room.c         disks that are full
 *      check.c        invariants
 *      log.c history.c progress.c quorum.c config.c   the pieces
 */
#ifndef RAFT_CORE_H
#define RAFT_CORE_H

#include "base/rng.h"
#include "raft/history.h"
#include "raft/log.h"
#include "raft/progress.h"
#include "raft/quorum.h"
#include "raft/raft.h"
#include "raft/snapshot.h"

#define RAFT_SNAPSHOT_BYTES ((uint32_t)1 << 20) /* snapshot_bytes_max, when it is not given */

/* Effects while they are collected; then they stay as long as the caller may look at them. */
struct raft_outbox {
    struct {
        struct raft_message *items;
        size_t n, cap;
    } messages;
    struct {
        struct raft_entry **items; /* with references */
        size_t n, cap;
    } apply, persist;
    struct {
        struct raft_read_result *items;
        size_t n, cap;
    } reads;
    struct {
        struct raft_load *items;
        size_t n, cap;
    } loads;
    struct {
        uint64_t *items;
        size_t n, cap;
    } dropped;
    struct raft_piece piece; /* with a reference, and owned data; snapshot NULL: none */
};

/* A snapshot that is being received. */
struct raft_incoming {
    struct raft_snapshot *snapshot; /* NULL: none */
    uint64_t term;                  /* in which it was begun */
    uint64_t written;               /* up to this offset */
    uint32_t writing;               /* bytes in the piece that is being written; 0: there is none */
    struct uuid from;               /* whoever sent that piece waits for an answer */
    uint64_t seq;
};

/* An answer that waits for the disk. */
struct raft_held {
    struct raft_message message;
    uint64_t need_durable; /* index; 0: only term and vote matter */
};

/* Appends with a higher seq were sent at this tick or later. */
struct raft_sent {
    uint64_t tick, seq;
};

enum { RAFT_SENT_SAMPLES = 32 };

/* An append, or a piece of a snapshot, that is not answered for so many heartbeat intervals is
 * lost. */
enum { RAFT_LOST_AFTER_HEARTBEATS = 4 };

/* Who asked for a read. */
struct raft_reader {
    struct uuid from; /* zero: this node */
    uint64_t id;      /* ctx here, seq of the question from a follower */
};

struct raft_readers {
    struct raft_reader *items;
    size_t n, cap;
};

/* A read that was passed on to the leader. */
struct raft_asked {
    uint64_t seq, ctx, tick;
};

struct raft {
    struct raft_options opt;
    struct rng rng;
    bool started;
    uint64_t tick; /* since the start */
    uint64_t seq;  /* last one used */

    /* what is durable, or becomes so */
    uint64_t term;
    struct uuid vote;
    uint64_t commit;
    struct raft_log *log;
    struct raft_history *history;
    uint64_t applied;
    bool hard_state_dirty;   /* term or vote are in no persist record yet */
    uint64_t hard_state_seq; /* else: the record they are in */
    uint64_t persist_seq;    /* last record handed out */
    uint64_t persisted_seq;  /* last record durable */
    uint64_t disk_tick;      /* when the disk last completed a record, or was idle */

    enum raft_role role;
    struct uuid leader;        /* zero: not known */
    uint64_t election_elapsed; /* ticks since the timer was set */
    uint64_t election_timeout; /* ticks */

    /* follower */
    uint64_t contact_tick; /* when the leader was last heard; meaningful with a leader */
    uint64_t verified;     /* index: the log equals the leader's up to here; >= commit */

    uint64_t no_vote_before; /* tick: a leader relies on it */
    bool full;               /* the own disk; see raft_set_full() */
    bool leader_full;        /* follower: what the leader last said */

    /* candidate: a ballot for each member of the configuration in force */
    uint64_t round_first_seq, round_last_seq;
    enum raft_ballot ballots[LIMIT_MEMBERS];

    /* leader: one for each member of the configuration in force (itself too, unused) */
    struct raft_progress peers[LIMIT_MEMBERS];
    unsigned n_peers;
    bool peer_lost_data;       /* of one of them that is news */
    uint64_t leader_first_seq; /* of this term's appends */
    uint64_t heartbeat_elapsed;
    uint64_t leave_elapsed; /* ticks since it has known that it is no voter any more */
    size_t uncommitted_bytes;
    struct uuid transfer_to; /* zero: no transfer is under way */
    uint64_t n_transfers;    /* begun since the start */
    uint64_t transfer_tick;  /* when it began */
    uint64_t transfer_seq;   /* of the TIMEOUT_NOW that is not answered; 0: there is none */

    struct raft_sent sent[RAFT_SENT_SAMPLES]; /* ring */
    unsigned n_sent;                          /* ever */
    bool no_lease;                            /* in this term any more */

    /* reads */
    struct raft_readers waiting; /* for the next round */
    struct raft_readers round;   /* for the round that is under way */
    uint64_t round_seq;          /* appends from here on confirm the round; 0: there is none */
    uint64_t round_index;
    struct {
        struct raft_asked *items;
        size_t n, cap;
    } asked;

    /* snapshots */
    struct raft_base base;          /* for a persist record */
    bool base_dirty;                /* it is in none yet */
    struct raft_snapshot *outgoing; /* leader: the one it sends; NULL: none */
    bool snapshot_wanted;           /* leader: that is to be told */
    bool snapshot_asked;            /* leader: that was told, no answer yet */
    uint64_t snapshot_retry_tick;   /* leader: none could be made; not before this */
    struct raft_incoming incoming;
    struct raft_snapshot *installing; /* in the log, and not durable yet; NULL: none */
    uint64_t install_seq;             /* the record it is in; 0: in none yet */

    /* what goes out */
    struct {
        struct raft_held *items;
        size_t n, cap;
    } held;
    struct raft_outbox out, taken;
    struct raft_effects effects;
    struct raft_status told; /* role, term, leader as of the last effects */
    struct raft_pos told_config;
    bool told_config_committed;
};

/* ---- shared questions ---- */

const struct raft_config *raft_config_in_force(const struct raft *r);
/* The place of a member in the configuration in force; -1: not in it. */
int raft_member_index(const struct raft *r, struct uuid id);
/* peers[i] is this node. */
bool raft_is_self(const struct raft *r, unsigned i);
/* This node votes in the configuration in force. */
bool raft_is_voter(const struct raft *r);
/* This node may have to lead. */
bool raft_may_campaign(const struct raft *r);
/* An entry of the current term is committed. */
bool raft_in_own_term(const struct raft *r);
bool raft_hard_state_is_durable(const struct raft *r);
/* The disk owes a record and has done nothing for too long. */
bool raft_disk_is_stalled(const struct raft *r);

/* room.c: see raft_status.full. */
bool raft_is_full(const struct raft *r);

/* ---- raft.c ---- */

/* Moves the commit index and all that hangs on it; index <= last. */
void raft_set_commit(struct raft *r, uint64_t index);
/* Appends to the own log and puts configurations in force. Borrows e. */
void raft_append_entry(struct raft *r, struct raft_entry *e);
void raft_truncate_log(struct raft *r, uint64_t from);

/* ---- outbox.c ---- */

/* A message to this peer with addresses, term and a place in the outbox. Valid until the next. */
struct raft_message *raft_send(struct raft *r, enum raft_message_type type, struct uuid to);
/* An answer, sent as soon as term and vote are durable, and the log up to need_durable. */
void raft_answer(struct raft *r, const struct raft_message *answer, uint64_t need_durable);
/* Something became durable. */
void raft_release_held(struct raft *r);
/* The term moved on: answers that still wait turn into refusals. */
void raft_refuse_held(struct raft *r);
void raft_outbox_free(struct raft_outbox *o);

/* ---- election.c ---- */

void raft_reset_election_timer(struct raft *r);
/* Ends whatever role there was. term >= current. */
void raft_become_follower(struct raft *r, uint64_t term, struct uuid leader);
/* Begins with a pre-vote; does nothing when raft_may_campaign() says no. */
void raft_campaign(struct raft *r);
/* As the leader wishes: without a pre-vote, and past the stickiness of the others. */
void raft_campaign_at_once(struct raft *r);
void raft_on_vote(struct raft *r, const struct raft_message *m);
void raft_on_vote_reply(struct raft *r, const struct raft_message *m);
/* The own vote counts from now on. */
void raft_on_vote_durable(struct raft *r);
/* Leader: a quorum was heard within the longest election timeout. */
bool raft_has_quorum_contact(const struct raft *r);

/* ---- follower.c ---- */

/* INVALID: entries that cannot be right for our log; nothing changed. */
MUST_CHECK int raft_check_append(const struct raft *r, const struct raft_message *m);
void raft_on_append(struct raft *r, const struct raft_message *m);
/* An append of an older term: tell our term (PITFALLS 7). */
void raft_refuse_append(struct raft *r, const struct raft_message *m);

/* The leader says that another entry is at this place than the one that we know: nobody may take
 * back what is committed, or what this term's leader sent before. */
bool raft_contradicts(const struct raft *r, const struct raft_message *m, struct raft_pos pos);
/* It claims to lead a term that another is known to lead. */
bool raft_is_other_leader(const struct raft *r, const struct raft_message *m);
/* The sender leads this term. */
void raft_hear_leader(struct raft *r, const struct raft_message *m);

/* ---- compact.c ---- */

/* Names it as one that is needed no more, drops the reference and nulls the pointer; NULL is
 * accepted. */
void raft_drop_snapshot(struct raft *r, struct raft_snapshot **s);

/* ---- snapshot_out.c ---- */

/* Leader: the peer needs entries from before the base. Sends it what comes next. */
void raft_send_snapshot(struct raft *r, unsigned i);
void raft_on_snapshot_reply(struct raft *r, const struct raft_message *m);
void raft_snapshot_tick(struct raft *r, struct raft_progress *p);
/* Drops the snapshot when nobody needs it. */
void raft_release_outgoing(struct raft *r);

/* ---- snapshot_in.c ---- */

/* INVALID: cannot be right; nothing changed. */
MUST_CHECK int raft_check_snapshot(const struct raft *r, const struct raft_message *m);
void raft_on_snapshot(struct raft *r, const struct raft_message *m);
/* A piece of an older term: tell our term. */
void raft_refuse_snapshot(struct raft *r, const struct raft_message *m);
/* What is being received will not be needed. */
void raft_abandon_incoming(struct raft *r);
/* The install may have become durable. */
void raft_finish_install(struct raft *r);

/* ---- replication.c ---- */

/* Makes peers[] fit the configuration in force. */
void raft_align_peers(struct raft *r);
void raft_free_peers(struct raft *r);
/* Something was lost on the way to this peer. */
void raft_probe_again(struct raft *r, struct raft_progress *p);
void raft_on_append_reply(struct raft *r, const struct raft_message *m);
void raft_send_heartbeat(struct raft *r, unsigned i);
/* The peer's log is durable and ours up to here. */
void raft_peer_matched(struct raft *r, struct raft_progress *p, uint64_t match);
/* Tells the commit index to all who have the entries and were not told. */
void raft_tell_commit(struct raft *r);
/* Sends whatever the windows allow. */
void raft_replicate(struct raft *r);
/* The commit rule, and what follows from it. */
void raft_advance_commit(struct raft *r);
void raft_replication_tick(struct raft *r);

/* ---- membership.c ---- */

/* Leader: leaves a committed joint configuration, or begins to leave itself. */
void raft_membership_committed(struct raft *r);
void raft_membership_tick(struct raft *r);

/* ---- lease.c ---- */

void raft_lease_start(struct raft *r);
/* Promises the leader, who was heard just now, a vote for nobody else; for how long. */
uint64_t raft_lease_promise(struct raft *r);
/* A promise is in force: no vote, no pre-vote, no campaign. */
bool raft_lease_forbids_vote(const struct raft *r);
void raft_lease_lead(struct raft *r);
void raft_lease_tick(struct raft *r);
/* An answer with a promise came. */
void raft_lease_note(struct raft *r, struct raft_progress *p, const struct raft_message *m);
/* No lease in this term any more. */
void raft_lease_drop(struct raft *r);
/* For so long nobody else can lead; 0: no lease. */
uint64_t raft_lease_ticks(const struct raft *r);

/* ---- transfer.c ---- */

bool raft_is_transferring(const struct raft *r);
/* Tells the target to campaign when it has everything. */
void raft_transfer_advance(struct raft *r);
void raft_transfer_tick(struct raft *r);
void raft_on_timeout_now(struct raft *r, const struct raft_message *m);
void raft_on_timeout_now_reply(struct raft *r, const struct raft_message *m);

/* ---- read.c ---- */

void raft_on_read_index(struct raft *r, const struct raft_message *m);
void raft_on_read_index_reply(struct raft *r, const struct raft_message *m);
/* Answers confirmed rounds, starts the next. */
void raft_reads_advance(struct raft *r);
/* Whether this voter's answer is missing for the round that is under way. */
bool raft_read_round_needs(const struct raft *r, unsigned i);
/* Leadership ended, or the leader is another: all reads fail. */
void raft_reads_fail(struct raft *r);
void raft_reads_tick(struct raft *r);

#endif
