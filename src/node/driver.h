/* SPDX-License-Identifier: MIT
 * The driver: one thread's worth of event handling where the core, the state
 * machine, the storage, the transport and the clients meet. It has no thread,
 * lock or clock of its own: node.c runs it in the daemon, the simulator runs it
 * in a test. Every input is a function here; driver_pump() afterwards carries
 * out what follows from it:
 *
 *      request of a client or peer --+                +--> storage->write, load
 *      storage: written, loaded -----+--> raft --> effects --> transport->send
 *      transport: answered ----------+                +--> state machine --> request->done
 *      time: driver_advance ---------+
 *
 *      driver.c    life, time, effects        machine.c   state machine behind a lock
 *      apply.c     what was committed, into the state machine
 *      peer.c      questions of others        propose.c   writes of clients
 *      outbound.c  questions put to others,   batches.c   writes that others forwarded
 *      exchange.c  as long as they are open   reads.c     reads
 *      waits.c     long polls
 *      admin.c, joining.c, voters.c  membership commands
 *      form.c      how a cluster comes to be  move.c      a member at a new address
 *      status.c    questions about all this   overview.c  and what the leader knows
 *      snapshot.c  the state for who comes too late
 *      backup.c    files of snapshots made here, shared by followers and operators
 *      checkpoint.c  state made durable, the log before it let go of
 *      figures.c   counts and durations
 *      digest.c    are all members' states the same?
 *      clock.c     the time that passes in the state
 *      room.c      what a full disk refuses, and what not
 *      stop.c      an orderly end: leadership is handed over
 */
#ifndef NODE_DRIVER_H
#define NODE_DRIVER_H

#include "base/rng.h"
#include "node/exchange.h"
#include "node/machine.h"
#include "node/node.h"
#include "node/request.h"
#include "node/storage.h"
#include "node/transport.h"
#include "raft/raft.h"
#include "wire/wire.h"

#define DRIVER_TICK_MS         10
#define DRIVER_LAG_SAMPLES     32 /* of the leader's last index, to tell who has caught up */
#define DRIVER_ALIVE_ELECTIONS 2  /* who answers within so many of the longest election timeouts */
#define DRIVER_FORWARDS_MAX    4  /* batches of writes on their way to the leader at once */
/* A new node waits so long for others before a write makes it a cluster of its own. */
#define DRIVER_FIRST_WRITE_MS 1000

/* ---- writes of this node's clients (propose.c) ---- */

struct write {
    struct list link; /* in waiting, while not under way */
    struct node_request *request;
    uint64_t seq;
    bool under_way;    /* proposed here or sent to the leader, no answer yet */
    bool attempted;    /* may be in some log */
    uint64_t term;     /* in which it was last sent on its way */
    uint64_t exchange; /* by which it was last forwarded */
    uint64_t sent_us;  /* when it was last sent on its way; 0: never */
};

struct writes {
    struct list waiting;   /* struct write, by seq */
    struct write **by_seq; /* ring, cap a power of two */
    uint64_t cap;
    uint64_t boot; /* of this node's session */
    uint64_t seq_last, floor;
    uint64_t member_since;       /* this node's, by what is applied here; 0: not a member */
    uint64_t generation;         /* of leaders */
    unsigned forwards_in_flight; /* to the present one */
    uint64_t pause_until_ms;     /* nothing is sent to it before */
};

/* ---- writes of other nodes' clients (batches.c) ---- */

struct batches {
    struct list open;     /* struct batch: not answered yet */
    struct list proposed; /* struct proposed: their commands, in log order */
    struct list held;     /* struct node_request: FORWARDs that may not be proposed yet */
};

/* ---- reads (reads.c) ---- */

struct reads {
    struct list waiting;   /* struct node_request: no batch yet */
    struct list by_lease;  /* the same, to be read by lease if there is one */
    struct list asked;     /* struct read_batch: asked for an index */
    struct list confirmed; /* struct read_batch: waits for apply */
    struct list later;     /* struct node_request: waits for its own index to be applied */
    uint64_t later_least;  /* of these indexes */
    uint64_t ctx_last;
};

/* ---- long polls (waits.c) ---- */

#define DRIVER_WAIT_BUCKETS 1024

struct waits {
    struct list buckets[DRIVER_WAIT_BUCKETS]; /* struct wait, by key */
    struct list touched;                      /* struct wait: its key was written */
    unsigned n;
    uint64_t next_expiry_ms; /* not before */
};

/* ---- checkpoints (checkpoint.c) ---- */

enum { DRIVER_TAIL_SAMPLES = 64 };

struct checkpoint {
    struct storage_job *job; /* frozen, and not durable in the log yet; NULL: none */
    bool under_way;          /* the storage has it */
    struct raft_pos pos;     /* of the last one that is durable */
    unsigned part;           /* of the limits, in PARTS: the next one is due there */
    uint64_t changed_ms; /* when the first entry after the last freeze was applied; 0: none was */
    uint64_t retry_ms;   /* the disk had no room: not before */
    uint64_t log_bytes;  /* applied since the start */
    enum { CHECKPOINT_LAST_NO, CHECKPOINT_LAST_WANTED, CHECKPOINT_LAST_FROZEN } last;
    struct tail_sample {
        uint64_t index, log_bytes;
    } tail[DRIVER_TAIL_SAMPLES]; /* ring, to tell how many bytes lie before a place */
    unsigned n_tail;             /* ever */
};

/* ---- files of snapshots made here (backup.c) ---- */

struct backups {
    struct list files;    /* struct snapshot_file, by age */
    struct list waiting;  /* struct node_request: OPEN, no file yet */
    struct list readers;  /* struct snapshot_reader */
    uint64_t reader_last; /* number */
    unsigned n_files, n_readers;
};

/* ---- figures (figures.c) ---- */

struct peer_figures {
    struct uuid id; /* zero: a free place */
    uint64_t send_failures;
    uint64_t rtt_us;   /* smoothed; 0: not known */
    uint64_t heard_us; /* when it last sent anything; 0: never */
    struct node_digest digest;
};

/* Where a member says it is now, while the configuration does not know it (move.c). */
struct moved_peer {
    struct uuid id; /* zero: none */
    char addr[LIMIT_ADDR_BYTES + 1];
};

/* ---- the whole ---- */

struct lag_sample {
    uint64_t at_ms, last_index;
};

/* ---- committed entries that wait for a command before them (apply.c) ---- */

struct backlog {
    struct raft_entry **entries; /* owned, with a reference to each from first on */
    unsigned first, n, cap;
};

struct driver {
    struct node_options o;
    struct storage *storage;
    struct transport *transport;
    struct machine *machine; /* shared with readers in other threads */
    struct storage_identity identity;
    struct raft *raft;
    struct rng rng;
    uint64_t now_ms, started_ms, next_tick_ms;
    uint64_t (*clock_us)(void); /* for figures only; NULL: as coarse as now_ms */
    uint64_t now_us;            /* by that clock, at the last driver_advance() */
    uint64_t restored_commit, restored_applied;
    bool stopping;
    bool founding;  /* the identity belongs into the same write as the log's first entry */
    bool unfounded; /* that write is not durable yet */
    uint64_t handover_until_ms; /* another should lead by then; 0: nobody waits for that */

    struct exchanges exchanges; /* our questions under way */
    struct list inbound;        /* struct inbound: questions of peers not answered yet */
    struct list large;          /* struct large: appends that wait for their turn (peer.c) */
    struct writes writes;
    struct batches batches;
    struct reads reads;
    struct waits waits;
    struct list admin_ops; /* struct admin_op */
    struct list overviews; /* struct overview: wait for the leader's word */
    struct list inits;     /* struct node_request: NODE_INIT waiting for the first leader */
    struct list promises;  /* struct promise: FORM waiting for the disk */
    struct {
        uint64_t next_ms; /* of the next attempt */
        unsigned n_waiting;
        bool asking;
        bool unpromised;         /* the own promise is not durable yet */
        struct form_peer *peers; /* one for each configured */
    } form;

    struct backlog backlog;
    struct checkpoint checkpoint;
    struct backups backups;
    uint64_t receiving_since_us; /* the snapshot that is coming in */

    struct {
        uint64_t term;     /* in which this node leads; 0: it does not */
        uint64_t since_ms; /* what passed since then is not in the log yet */
    } clock;
    uint64_t digest_next_ms; /* when the leader asks again */
    uint64_t move_next_ms;   /* of the next attempt to tell a new address */
    struct moved_peer moved[LIMIT_MEMBERS];

    struct lag_sample lag[DRIVER_LAG_SAMPLES];
    unsigned lag_next;
    uint64_t lag_next_ms;

    bool disk_stalled; /* as last logged */
    struct {
        bool full;             /* this node's disk */
        bool refuses;          /* the cluster is, as last logged */
        uint64_t log_room;     /* bytes, see struct storage_space */
        uint64_t hand_over_ms; /* not before this */
    } room;
    uint64_t term_seen;
    struct uuid leader_seen;
    enum raft_role role_seen;
    uint64_t role_changed_ms;
    struct node_figures figures;
    struct peer_figures peers[LIMIT_MEMBERS];
};

struct driver *driver_new(const struct node_options *o, const struct storage_identity *identity);
void driver_free(struct driver **d);

/* As in node.h, in this order, before driver_start(). CORRUPT, INVALID, VERSION. */
MUST_CHECK int driver_restore_state(struct driver *d, const void *meta, size_t len,
                                    struct kv_base *base);
MUST_CHECK int driver_restore_base(struct driver *d, const struct raft_base *base);
void driver_restore_hard_state(struct driver *d, struct raft_hard_state hs);
MUST_CHECK int driver_restore_entry(struct driver *d, struct raft_entry *e);
MUST_CHECK int driver_restore_end(struct driver *d);
/* Borrows storage and transport for good. */
void driver_start(struct driver *d, struct storage *storage, struct transport *transport,
                  uint64_t now_ms);

/* Inputs; each takes what it is given. */
void driver_advance(struct driver *d, uint64_t now_ms);
void driver_request(struct driver *d, struct node_request *r);
void driver_written(struct driver *d, struct storage_write *w);
void driver_loaded(struct driver *d, struct storage_load *l);
void driver_worked(struct driver *d, struct storage_job *j);
void driver_answered(struct driver *d, struct transport_request *t);
/* Carries out everything that follows from the inputs since the last call. */
void driver_pump(struct driver *d);
/* In the middle of something: to be called again soon, after the inputs until then. */
bool driver_is_applying(const struct driver *d);
/* Hands over leadership, if any; all else goes on. Then ask driver_is_handing_over(). */
void driver_hand_over(struct driver *d);
bool driver_is_handing_over(const struct driver *d);
/* Hands over leadership, if any; from now on nothing new is taken. */
void driver_stop(struct driver *d);
/* Completes whatever still waits (SHUTDOWN, UNKNOWN). */
void driver_abandon(struct driver *d);
/* No request of a client waits for its answer, and no leadership for its successor. */
bool driver_is_idle(const struct driver *d);

/* ---- between the files of the driver ---- */

/* The X_answered functions get the exchange (not owned) and either err 0 and the answer, or what
 * went wrong: UNREACHABLE (for certain not delivered), a code with m of type WIRE_REFUSED, or
 * another code with m NULL (perhaps delivered). */

static inline bool driver_is_leader(const struct driver *d)
{
    return raft_status(d->raft).role == RAFT_LEADER;
}

/* Belongs to a cluster, or is about to (its configuration is not known yet). */
static inline bool driver_is_member(const struct driver *d)
{
    return !uuid_is_zero(d->identity.cluster);
}

/* Ends the process with one line for people: what is to be done next cannot be done, and to go on
 * without it would make this node another than the others. */
void driver_die(const char *what, int err) __attribute__((noreturn));
/* Completes a request. */
static inline void driver_done(struct node_request *r, int err)
{
    r->err = err;
    r->done(r);
}

/* Writes the identity; in order with the log. */
void driver_save_identity(struct driver *d);

/* status.c */

struct node_log_id driver_log_id(const struct driver *d, struct raft_pos pos);
/* The member with this id in the configuration in force, or NULL. */
const struct raft_member *driver_member(const struct driver *d, struct uuid id);
void driver_status(const struct driver *d, struct node_status *ret_status);
/* Takes over what the leader says of the members (a STATUS_REPLY). */
void driver_status_merge(const struct driver *d, struct node_status *status,
                         const struct wire_message *m);
/* Leader only: the member has answered lately, or is this node. */
bool driver_is_alive(const struct driver *d, struct uuid id);
/* Tells the readers in other threads how this node stands to its cluster. */
void driver_note_standing(struct driver *d);
/* The peer has acknowledged what the leader had replication-lag-threshold ago. *ret_distance:
 * entries missing to the log's end. */
bool driver_has_caught_up(const struct driver *d, struct uuid id, uint64_t *ret_distance);

/* peer.c */
enum {
    PEER_HTTP_OK = 200,
    PEER_HTTP_REFUSED = 409,    /* with a REFUSED in the body */
    PEER_REFUSAL_LOG_MS = 10000 /* between lines about the same thing */
};
void peer_request(struct driver *d, struct node_request *r);
/* The core asks others such questions. */
bool peer_is_question_of_core(enum wire_type type);
/* The core's answer to a question of a peer's; false: nobody waits for it any more. */
bool peer_answer_question(struct driver *d, const struct raft_message *m);
/* Answers a request of a peer with a status and a line for people. Takes r. */
void peer_fail(struct node_request *r, int http_status, const char *why);
/* Answers a request of a peer with an encoded message. Takes r. */
void peer_answer(struct driver *d, struct node_request *r, const struct wire_header *question,
                 struct wire_message *answer);
void peer_expire(struct driver *d, bool all);
struct wire_header peer_header(const struct driver *d, enum wire_type type, struct uuid to,
                               uint64_t to_incarnation);

/* outbound.c */
void peer_send(struct driver *d, const struct raft_message *m);
/* A question of our core to a peer, whole. */
void peer_ask(struct driver *d, const struct raft_message *m);
/* Sends one of the large ones that wait. */
void peer_pump(struct driver *d);
void peer_free(struct driver *d);

/* apply.c */
/* Committed entries, borrowed. */
void apply_committed(struct driver *d, struct raft_entry *const entries[], unsigned n);
/* The next slice of a command that takes long. */
void apply_pump(struct driver *d);
/* A snapshot holds whatever waits. */
void apply_installed(struct driver *d);
void apply_free(struct driver *d);

/* checkpoint.c */
/* n entries were applied. */
void checkpoint_applied(struct driver *d, struct raft_entry *const entries[], unsigned n);
void checkpoint_pump(struct driver *d);
/* Takes j. */
void checkpoint_done(struct driver *d, struct storage_job *j);
/* The disk takes the state in more slowly than it changes: what is not proposed yet is to wait. */
bool checkpoint_is_behind(const struct driver *d);
/* A last one before the end, if it is worth it; then, or when it cannot be made, all is settled. */
void checkpoint_last(struct driver *d);
bool checkpoint_is_settled(const struct driver *d);
void checkpoint_init(struct driver *d);
void checkpoint_free(struct driver *d);

/* backup.c */
void backup_init(struct driver *d);
void backup_free(struct driver *d);
/* The core wants a snapshot; raft_snapshot_made() is called, now or later. */
void backup_for_core(struct driver *d);
/* The core needs this one no more; false: it is none that was made here. */
bool backup_core_dropped(struct driver *d, uint64_t id);
/* NODE_SNAPSHOT_*. */
void backup_request(struct driver *d, struct node_request *r);
/* A file was made, or read for an operator; takes j. */
void backup_made(struct driver *d, struct storage_job *j);
void backup_was_read(struct driver *d, struct storage_job *j);
void backup_pump(struct driver *d);
void backup_expire(struct driver *d, bool all);
/* The log is needed from here on by whoever gets the snapshot that is being made; UINT64_MAX: none
 * is. */
uint64_t backup_needs_log_from(const struct driver *d);

/* snapshot.c */
/* A message of type SNAPSHOT, whose bytes are to be read first. */
void snapshot_send(struct driver *d, const struct raft_message *m);
void snapshot_write(struct driver *d, const struct raft_piece *piece);
void snapshot_drop(struct driver *d, uint64_t id);
/* The state was replaced on the disk; takes over what it is now. */
void snapshot_installed(struct driver *d, struct storage_write *w);
/* A job for snapshots is done; takes j. */
void snapshot_worked(struct driver *d, struct storage_job *j);

/* figures.c */
uint64_t figures_clock_us(const struct driver *d);
/* It began at from_us and ends now. */
void figures_took(struct driver *d, enum node_duration what, uint64_t from_us);
/* A write came to this. */
void figures_failed(struct driver *d, int err);
/* A request ends that was taken at taken_us and passed from its first phase to its second at
 * passed_us, 0: never. */
void figures_request_ended(struct driver *d, uint64_t taken_us, uint64_t passed_us,
                           enum node_phase first, enum node_phase second);
/* Nothing is kept of ids that are no members. */
struct peer_figures figures_peer(const struct driver *d, struct uuid id);
void figures_heard(struct driver *d, struct uuid id);
void figures_send_failed(struct driver *d, struct uuid id);
void figures_round_trip(struct driver *d, struct uuid id, uint64_t asked_us);
void figures_digest(struct driver *d, struct uuid id, const struct node_digest *digest);
/* What an earlier leadership found out. */
void figures_forget_digests(struct driver *d);

/* clock.c */
void clock_pump(struct driver *d);

/* digest.c */
/* A DIGEST of another node; takes r. */
void digest_question(struct driver *d, struct node_request *r, const struct wire_header *h);
void digest_answered(struct driver *d, struct exchange *x, int err, const struct wire_message *m);
void digest_pump(struct driver *d);

/* room.c */
void room_advance(struct driver *d);
/* Entries of so many bytes can be written for sure. */
bool room_for(const struct driver *d, uint64_t bytes);
/* Some writes may have to be refused. */
bool room_is_short(const struct driver *d);
/* This write of a client, which was sent nowhere yet, is refused now. */
bool room_refuses(const struct driver *d, const struct node_request *r);

/* stop.c */
void stop_advance(struct driver *d);

/* propose.c */
void writes_init(struct driver *d);
void writes_free(struct driver *d);
void writes_add(struct driver *d, struct node_request *r);
void writes_forward_answered(struct driver *d, struct exchange *x, int err,
                             const struct wire_message *m);
void writes_pump(struct driver *d);
void writes_applied(struct driver *d, const struct raft_entry *e, const struct kv_result *result);
/* A configuration was applied. */
void writes_membership_applied(struct driver *d);
/* A snapshot was installed: what became of our writes meanwhile, nobody saw. */
void writes_installed(struct driver *d);
void writes_role_changed(struct driver *d);
void writes_expire(struct driver *d, bool all);

/* batches.c */
void batches_init(struct driver *d);
void batches_free(struct driver *d);
/* A FORWARD of another node; takes r. */
void batches_take(struct driver *d, struct node_request *r, const struct wire_message *m);
/* Those that waited for the end of a transfer, or for the disk. */
void batches_release_held(struct driver *d);
/* False: it was none of theirs. */
bool batches_applied(struct driver *d, const struct raft_entry *e, const struct kv_result *result);
/* What was proposed in an earlier term may or may not come to be: their nodes are told so, and send
 * them again (PITFALLS 50, 51). */
void batches_role_changed(struct driver *d);
void batches_expire(struct driver *d, bool all);

/* reads.c */
void reads_init(struct driver *d);
void reads_add(struct driver *d, struct node_request *r);
void reads_pump(struct driver *d);
void reads_result(struct driver *d, const struct raft_read_result *result);
void reads_applied(struct driver *d);
void reads_expire(struct driver *d, bool all);

/* waits.c */
void waits_init(struct driver *d);
void waits_add(struct driver *d, struct node_request *r);
/* Answers those whose key has changed. */
void waits_pump(struct driver *d);
/* The whole state was replaced. */
void waits_installed(struct driver *d);
void waits_expire(struct driver *d, bool all);

/* admin.c */
void admin_add(struct driver *d, struct node_request *r);
/* An ADMIN of another node; takes r. */
void admin_forwarded(struct driver *d, struct node_request *r, const struct wire_message *m);
void admin_answered(struct driver *d, struct exchange *x, int err, const struct wire_message *m);
void admin_pump(struct driver *d);
void admin_expire(struct driver *d, bool all);

/* overview.c */
/* NODE_STATUS. */
void overview_request(struct driver *d, struct node_request *r);
/* A STATUS of another node; takes r. */
void overview_forwarded(struct driver *d, struct node_request *r, const struct wire_message *m);
void overview_answered(struct driver *d, struct exchange *x, int err, const struct wire_message *m);
void overview_expire(struct driver *d, bool all);

/* form.c */
/* What this node lacks of the peers it is to form a cluster with. */
void form_status(const struct driver *d, struct node_status *status);
void form_init_request(struct driver *d, struct node_request *r);
/* Whether a client's write may make this node a cluster of its own, and does so when it may.
 * 0: it is one now; IN_PROGRESS: not yet, ask again; UNINITIALIZED. */
MUST_CHECK int form_first_write(struct driver *d);
/* A FORM of another node; takes r. */
void form_forwarded(struct driver *d, struct node_request *r, const struct wire_message *m);
void form_answered(struct driver *d, struct exchange *x, int err, const struct wire_message *m);
/* Our promise, if there is one, is durable now. */
void form_written(struct driver *d, const struct storage_identity *written);
void form_abandon(struct driver *d);
/* A message named this cluster, or none (zero). */
void form_note_cluster(struct driver *d, struct uuid cluster);
void form_pump(struct driver *d);
void form_free(struct driver *d);

/* move.c */
void move_pump(struct driver *d);
void move_answered(struct driver *d, int err, const struct wire_message *m);
/* A member told where it is now. */
void move_note(struct driver *d, struct uuid id, const char *addr);
/* It was not there. */
void move_forget(struct driver *d, struct uuid id);
/* Where to reach a member: by its own word if it gave one, else by the configuration. Borrowed. */
const char *move_addr(const struct driver *d, const struct raft_member *m);

#endif
