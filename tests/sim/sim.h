/* SPDX-License-Identifier: MIT
 * The deterministic simulator: a cluster of drivers (node/driver.h, the same
 * objects as the daemon) in one process, with network, disks and clocks made
 * up, and everything that is random derived from one 64-bit seed.
 *
 *      plan.c       what a seed decides            net.c       struct transport, links
 *      sim.c        the world and its time         disk.c      struct storage
 *      process.c    nodes: life, turns, clocks     clients.c   writes and reads
 *      files.c      state and snapshots on disks
 *      operator.c   membership commands            faults.c    what goes wrong, and when
 *      backup.c     backups, compared with the model
 *      checkers.c   the promises of Raft           model.c     the state machine, made anew
 *      asks.c       operations of /v1              past.c      what each key ever was
 *      history.c    linearizability             liveness.c  the end: all must work again
 *      promises.c   promises about messages, time and the way to a change of leader
 *      report.c     the last events, failures      main.c      seeds, workers, figures
 *
 * Nothing here may depend on addresses in memory, uninitialised bytes, the
 * order in which arguments are evaluated, or the machine's clock.
 */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include "base/list.h"
#include "base/rng.h"
#include "counts.h"
#include "past.h"
#include "base/err.h"
#include "kv/idempotency.h"
#include "node/driver.h"
#include "kv/command.h"

#define SIM_NODES      8
#define SIM_MS         ((uint64_t)1000) /* in microseconds, the unit of simulated time */
#define SIM_S          (1000 * SIM_MS)
#define SIM_KEYS_MAX   24
#define SIM_CLIENTS    12
#define SIM_REPLAYS    32
#define SIM_BATCH_KEYS 4
#define SIM_WIPED      16

/* ---- what a seed decides ---- */

struct plan {
    unsigned n_founders, n_slots;
    bool by_peers; /* founders are configured as peers of each other */
    struct node_options options;
    unsigned n_clients, n_keys;
    uint64_t think_us; /* of a client, in the mean */
    unsigned pct_read, pct_lease, pct_delete, pct_batch, pct_retry, pct_twin, pct_once, ppm_vanish,
        ppm_oversized;
    unsigned pct_v1; /* of what could be asked by the classic dialect too */
    bool long_commands;
    size_t value_max, oversized_max;
    uint64_t latency_min_us, latency_max_us;
    unsigned ppm_drop, ppm_delay, ppm_delay_vote, ppm_duplicate, ppm_reset, ppm_replay;
    uint64_t disk_min_us, disk_max_us;
    unsigned drift_ppm_max;
    uint64_t fault_gap_us, fault_time_us; /* in the mean */
    unsigned pct_at_leader;               /* of the faults of one node */
    unsigned weights[SIM_FAULT_KINDS];    /* of the faults that faults.c picks from */
    uint64_t operator_gap_us;             /* 0: nobody changes the membership */
    uint64_t storm_us, round_us;          /* all in all; and so long until all must work again */
    unsigned ppm_hunt;
};

/* ---- events ---- */

enum event_kind {
    EVENT_TURN,   /* node: a turn of its loop */
    EVENT_NET,    /* what: struct flight */
    EVENT_DISK,   /* node: the write under way is durable */
    EVENT_FILES,  /* node: the first job of lane b is done */
    EVENT_CLIENT, /* node: number of the client; this and what follows: a: of which storm */
    EVENT_OPERATOR,
    EVENT_BACKUP,
    EVENT_FAULT, /* the next fault is due */
    EVENT_HUNT,  /* node: to be killed at an awkward moment */
    EVENT_STALK, /* node: was leading when it was cut off; b: what to do */
    EVENT_HEAL,  /* a: struct remedy's kind, node, b */
};

struct event {
    uint64_t at_us, seq;
    enum event_kind kind;
    unsigned node;
    uint64_t a, b;
    void *what;
};

struct events {
    struct event *items; /* binary heap by (at_us, seq) */
    size_t n, cap;
    uint64_t seq;
};

void events_push(struct events *q, struct event e);
/* False: there is none. */
bool events_pop(struct events *q, struct event *ret_event);

/* ---- nodes ---- */

struct sim;

#define SIM_LANES     4
#define SIM_SNAPSHOTS 8

struct snapshot_file {
    uint64_t id; /* 0: free */
    struct buf bytes;
    struct kv_base *state; /* received and complete; owned */
};

struct files {
    struct kv_base *state; /* with meta and applied: durable */
    struct buf meta;       /* empty: no checkpoint yet */
    uint64_t applied;
    struct snapshot_file snapshots[SIM_SNAPSHOTS];
    struct list jobs[SIM_LANES]; /* struct storage_job, in order */
};

struct disk {
    struct storage storage; /* first */
    struct sim *sim;
    unsigned self;
    struct storage_identity identity; /* what follows is durable */
    struct raft_hard_state hard_state;
    struct raft_base base;   /* index 0: it begins at the beginning */
    struct raft_entry **log; /* log[i] has index i + 1; NULL before the base */
    uint64_t n_log, cap_log;
    struct list queue, under_way; /* struct storage_write */
    struct list loads;            /* struct storage_load */
    struct files files;
    bool busy;
    uint64_t stalled_until_us;
    uint64_t full_until_us;
    bool has_log_room;    /* while it is full */
    enum sim_fault fails; /* the next write ends so: FAULT_EIO_*; SIM_FAULT_KINDS: it does not */
};

struct link {
    struct transport transport; /* first */
    struct sim *sim;
    unsigned self;
};

#define CLOCK_STANDS (-1000000) /* drift of a suspended machine */

struct node_clock {
    uint64_t base_us, since_us; /* shows base_us at since_us */
    int64_t drift_ppm;
};

struct sim_node {
    struct driver *driver; /* NULL: down */
    uint32_t life;         /* counts starts: events of an earlier one mean nothing */
    bool dying;
    struct node_options options;
    struct disk disk;
    struct link link;
    struct node_clock clock;
    struct list visitors;         /* struct flight: questions that it has not answered */
    uint64_t heard_term;          /* the highest that an answer told it */
    unsigned heard_now;           /* bit mask: whose answers wait for the next turn */
    uint64_t heard_ms[SIM_NODES]; /* by its own clock: the last answer of each */
    uint64_t led_since_ms, config_since_ms;
    struct uuid voted_for;
    uint64_t voted_term;
    struct list requests, written, loaded, worked, answered; /* what comes in, as in node.c */
    uint64_t turn_at_us;                                     /* UINT64_MAX: none is due */
    uint64_t paused_until_us;
    uint64_t slow_us, slow_until_us; /* a turn takes so much longer */
    unsigned moves;
    bool squatted;     /* it is down, and another cluster has a node at its address */
    bool lost;         /* a wiped disk: the id it had is gone */
    bool id_used_up;   /* another disk had this id before */
    unsigned wiped_as; /* the number of the last time its disk was wiped; 0: never */
    bool ever_voted;   /* it was a voter of some configuration, with this disk */
    /* as of the last check */
    struct raft_status seen;
    bool seen_outsider;
    uint64_t seen_applied; /* by its state machine */
    uint64_t seen_begun;   /* what it was in the middle of; 0: nothing */
    struct raft_config seen_config;
    struct raft_pos seen_config_pos;
    uint64_t lag_max; /* entries behind the committed log, since it was last level */
};

/* ---- the world ---- */

/* One command that was committed. */
struct committed {
    struct raft_entry *entry; /* a reference */
    uint64_t known_in_term;
    uint64_t at_us;  /* when it was */
    bool effective;  /* a command seen for the first time */
    uint32_t keys;   /* bit mask of what it writes */
    uint64_t digest; /* of the state after it, by the first node that applied it */
    bool has_digest;
};

enum op_type {
    OP_READ,
    OP_SET,
    OP_DELETE,
    OP_BATCH,
    OP_PUT, /* this and what follows: of /v1 */
    OP_REMOVE,
    OP_REMOVE_PREFIX,
    OP_INCR,
    OP_APPEND,
};

/* One operation of a client; its number is the value it writes, or adds or subtracts. */
struct op {
    enum op_type type;
    enum op_type asked; /* what was chosen at first, in words of the classic dialect */
    unsigned client;
    unsigned n_keys, keys[SIM_BATCH_KEYS];
    uint32_t value_len;
    uint64_t invoked, returned; /* numbers of moments, of s->moments; returned 0: never */
    uint64_t index;             /* where it took effect; 0: nowhere as yet */
    uint64_t read_op;           /* OP_READ: the value found; 0: none */
    bool refused;               /* told that it was not attempted */
    bool unknown;               /* told that nobody knows */
    uint64_t name;              /* under which it may be sent again; 0: none */
    unsigned n_calls;           /* how often it was sent */
    bool conflicted;            /* its name stood for another one when it was committed */
    /* asked by /v1 */
    struct kv_condition condition;
    bool want_prev;
    int64_t by;
    uint64_t max;
    unsigned prefix_len;  /* of the name of keys[0] */
    uint32_t prefix_keys; /* bit mask */
    /* and answered: */
    enum kv_code code;
    uint64_t seen; /* the write that the key had before; 0: none */
};

struct call {
    struct list link;
    struct sim *sim;
    struct node_request *request;
    uint64_t op;
    unsigned node, client;
    bool vanished, twin;
    uint64_t floor;    /* OP_READ: must see at least this index */
    uint64_t asked_us; /* of an operator */
    /* as it was when the request was done */
    bool reset;       /* the node died */
    uint64_t applied; /* OP_READ */
    bool found;
    struct kv_value info; /* without the bytes, which are here: */
    struct buf value, attrs;
};

/* One that an operator takes. */
struct backup {
    struct node_request *request; /* under way; NULL: this place is free */
    uint64_t id, size, index;
    struct buf bytes;
};
#define SIM_BACKUPS 3

struct client {
    unsigned node; /* talked to last */
    bool waiting, retry;
    uint64_t again; /* a named operation that failed; 0: none */
};

struct replay {
    enum transport_path path;
    unsigned from;
    char addr[LIMIT_ADDR_BYTES + 1];
    struct buf body;
};

struct model; /* model.c */

struct trace_line {
    uint64_t at_us;
    char text[120];
};
#define SIM_TRACE 128

struct sim {
    uint64_t seed, seconds;
    bool verbose, has_failed;
    struct plan plan;
    struct rng rng;
    struct counts *counts;
    uint64_t now_us;
    struct events events;
    uint64_t hash; /* of all that happened */
    uint64_t turns;
    uint64_t storm, storm_ends_us; /* its number */
    bool healing;                  /* it is over: no more faults */

    struct sim_node nodes[SIM_NODES];
    unsigned n_disks; /* made so far */
    struct {
        struct uuid id;
        uint64_t incarnation, at_us;
    } wiped[SIM_WIPED]; /* the last disks that were wiped, a ring */
    unsigned n_wiped;
    struct uuid cluster;

    /* net.c */
    bool cut[SIM_NODES][SIM_NODES]; /* from, to */
    bool clogged[SIM_NODES][SIM_NODES];
    struct list held[SIM_NODES][SIM_NODES]; /* struct flight */
    uint64_t sent, arrived[SIM_NODES][SIM_NODES];
    struct replay replays[SIM_REPLAYS];
    unsigned replays_next;

    /* clients.c, operator.c */
    struct client clients[SIM_CLIENTS];
    struct op *ops; /* ops[0] is unused */
    uint64_t n_ops, cap_ops;
    struct list calls;             /* struct call under way */
    struct list completed;         /* struct call, to be looked at after the turn */
    uint64_t clock_term, clock_ms; /* what was told in that term of the time that passed */
    uint64_t acked;                /* the highest index a client has seen the effect of */
    struct rng asks_rng;
    uint64_t seen_revisions[SIM_KEYS_MAX]; /* told to some client last */
    uint64_t moments;
    struct backup backups[SIM_BACKUPS];
    unsigned admin_calls;       /* under way */
    uint64_t admin_quiet_at_us; /* no command of an operator is about any more */

    /* checkers.c, model.c */
    struct committed *log; /* log[i] has index i + 1 */
    uint64_t n_log, cap_log;
    struct {
        unsigned *items; /* of a term: node + 1 */
        uint64_t cap;
    } leaders;
    struct model *model;
    struct past pasts[SIM_KEYS_MAX];
    struct raft_config config; /* the last one committed */
    struct raft_pos config_pos;

    struct trace_line trace[SIM_TRACE];
    uint64_t n_trace;
};

/* ---- sim.c ---- */

static inline bool sim_chance(struct sim *s, unsigned ppm)
{
    return rng_range(&s->rng, 0, 999999) < ppm;
}

static inline uint64_t sim_random(struct sim *s, uint64_t lo, uint64_t hi)
{
    return rng_range(&s->rng, lo, hi);
}

/* Around mean, now and then much more: exponential in steps, by integers. */
uint64_t sim_random_gap(struct sim *s, uint64_t mean_us);
void sim_at(struct sim *s, uint64_t at_us, enum event_kind kind, unsigned node, uint64_t a,
            uint64_t b, void *what);
void sim_mix(struct sim *s, uint64_t value);
/* Runs until the simulated time, or until `until` says that it is enough. */
void sim_run(struct sim *s, uint64_t end_us, bool (*until)(struct sim *s));
struct sim *sim_new(uint64_t seed, uint64_t seconds, struct counts *counts);
void sim_free(struct sim **s);
/* The whole life of a seed; ends the process when a promise is broken. */
void sim_live(struct sim *s);

/* ---- plan.c ---- */
void plan_make(struct sim *s);

/* ---- process.c ---- */
void process_init(struct sim *s, unsigned i);
void process_start(struct sim *s, unsigned i);
/* A second daemon on the same data directory. */
void process_start_twice(struct sim *s, unsigned i);
/* As SIGKILL, or a loss of power. */
void process_kill(struct sim *s, unsigned i);
/* As SIGTERM: leadership is handed over; process_kill() is to follow. */
void process_stop(struct sim *s, unsigned i);
/* False: it does not lead. */
bool process_transfer(struct sim *s, unsigned i);
void process_turn(struct sim *s, unsigned i, uint64_t at_us);
/* A new, empty disk and with it a new id at the same address, or the same id with a new
 * incarnation. */
void process_wipe(struct sim *s, unsigned i, bool same_id);
/* To another address, while it is down. */
void process_move(struct sim *s, unsigned i);
/* The loop has something to do. */
void process_wake(struct sim *s, unsigned i);
void process_submit(struct sim *s, unsigned i, struct node_request *r);
uint64_t process_now_ms(const struct sim *s, unsigned i);
void clock_set(struct sim *s, unsigned i, uint64_t now_us, int64_t drift_ppm);
uint64_t clock_us(const struct sim *s, unsigned i);
static inline bool is_up(const struct sim *s, unsigned i)
{
    return s->nodes[i].driver != NULL;
}
/* -1: nobody has this id with this disk (any more). */
int process_of(const struct sim *s, const struct raft_member *m);
/* The member that a node is, by id and disk, or NULL. */
const struct raft_member *process_member(const struct sim *s, unsigned i);

/* ---- disk.c ---- */
void disk_init(struct sim *s, unsigned i);
void disk_done(struct sim *s, unsigned i, uint64_t life);
/* What was not answered yet is there or not. */
void disk_crash(struct sim *s, unsigned i);
void disk_wipe(struct disk *d, bool same_id);
/* Changes one bit of one entry. False: there is none, or nobody noticed when it was read again. */
bool disk_flip_bit(struct sim *s, unsigned i);
void disk_free(struct disk *d);
bool disk_has(const struct disk *d, struct raft_pos pos);
/* Where its log ends. */
struct raft_pos disk_last(const struct disk *d);

/* ---- files.c ---- */
void files_init(struct disk *d);
void files_work(struct storage *storage, struct storage_job *j);
void files_done(struct sim *s, unsigned i, uint64_t life, unsigned lane);
/* The state becomes what was received; w gets its answer. */
void files_install(struct disk *d, struct storage_write *w);
void files_crash(struct disk *d);
void files_wipe(struct disk *d);
void files_free(struct disk *d);
/* The next record of a snapshot, after its meta. False: there is none, or it is damaged. */
bool files_next_record(struct bytes_reader *r, struct kv_record *ret);

/* ---- net.c ---- */
struct flight;
void net_init(struct sim *s, unsigned i);
void net_event(struct sim *s, struct flight *f);
void net_free(struct sim *s);
void net_unclog(struct sim *s, unsigned from, unsigned to);
void net_heal(struct sim *s);
/* Sends an old message again; `foreign`: as a node of another cluster would, whose ids are the same
 * (a restored backup, PITFALLS 34). */
void net_replay(struct sim *s, bool foreign);
void flight_free(struct flight *f);
/* A question that this node, after its turn, should have answered by now, or NULL. A vote or an
 * append waits for nothing but the disk, whatever its term (PITFALLS 4, 7); writes of others
 * for nothing at all at a node that does not lead (PITFALLS 51). */
const struct transport_request *net_overdue(const struct sim *s, unsigned i);

/* ---- clients.c ---- */
void clients_start(struct sim *s);
void client_act(struct sim *s, unsigned client);
/* Judges what was completed in the turn that just ended. */
void clients_completed(struct sim *s);
struct op *op_of(struct sim *s, uint64_t id);
/* One write or read at this node, for the liveness phase; its number. */
uint64_t client_probe(struct sim *s, unsigned node, enum op_type type);
/* A write under a name that was used before, and that nobody should remember; 0: there was none. */
uint64_t client_probe_old_name(struct sim *s, unsigned node);
/* A leader was cut off or hands over: reads and writes there, and writes elsewhere, while it may
 * not know of the next. */
void clients_stalk(struct sim *s, unsigned leader);
void client_stalk(struct sim *s, unsigned leader, enum op_type type, bool elsewhere);
/* Any other request; operator_completed() gets it back. */
void call_submit(struct sim *s, unsigned node, struct node_request *r);
size_t client_key(unsigned key, char out[8]);
/* -1: no key of a client. */
int client_key_of(const uint8_t *key, size_t len);

/* ---- operator.c ---- */
void operator_start(struct sim *s);
void operator_act(struct sim *s);
/* Makes the cluster. */
void operator_found(struct sim *s);
void operator_completed(struct sim *s, struct call *c);

/* ---- backup.c ---- */
void backups_start(struct sim *s);
void backup_act(struct sim *s);
/* A call of type NODE_SNAPSHOT_*. */
void backup_completed(struct sim *s, struct call *c);

/* ---- faults.c ---- */
void faults_start(struct sim *s);
void fault_act(struct sim *s);
void fault_hunt(struct sim *s, unsigned i);
/* Node i has just begun with a command that takes long. */
void fault_begun(struct sim *s, unsigned i);
/* What goes on where the last storm was interrupted. */
void faults_resume(struct sim *s);
void fault_heal(struct sim *s, const struct event *e);
/* A write fails: the process ends. */
void fault_disk_failed(struct sim *s, unsigned i);
void faults_end(struct sim *s);
static inline void fault_count(struct sim *s, enum sim_fault f)
{
    s->counts->faults[f]++;
}
static inline void probe(struct sim *s, enum sim_probe p)
{
    s->counts->probes[p]++;
}

/* ---- checkers.c ---- */
void check_started(struct sim *s, unsigned i);
void check_turn(struct sim *s, unsigned i);
void check_end(struct sim *s);
/* Whether these nodes (a bit mask) are a quorum of the configuration: counted here, not by the
 * product. */
bool check_has_quorum(const struct sim *s, const struct raft_config *c, unsigned mask);
/* The same with those whose disk was wiped a short time ago: they may have been heard before. */
bool check_had_quorum(const struct sim *s, const struct raft_config *c, unsigned mask);
/* A message that a node is about to answer. Returns the term that the answer tells of; 0: none. */
uint64_t check_answered(struct sim *s, unsigned node, const struct transport_request *t);
/* The answer to a message of another cluster. */
void check_refused(struct sim *s, unsigned node, const struct buf *answer);

/* ---- promises.c ---- */
/* After each turn, before it is noted as seen. */
void promises_check(struct sim *s, unsigned i, const struct raft_status *now);
/* The term that whoever gets this answer must be in; 0: none. */
uint64_t promise_told_term(const struct wire_message *answer);
/* An answer of `from` is on its way into node i. */
void promise_heard(struct sim *s, unsigned i, unsigned from, uint64_t told_term);
/* Node i is about to give its vote, or not. */
void promise_vote(struct sim *s, unsigned i, const struct raft_message *answer);
/* Node i goes by another configuration than before. */
void promise_config(struct sim *s, unsigned i);

/* ---- model.c ---- */
struct model *model_new(void);
void model_free(struct model **m);
/* The next committed entry. */
void model_commit(struct sim *s, struct committed *c);
/* What the keys of committed entries (from, to] are in node i, which has applied up to `applied`.
 */
void model_check_applied(struct sim *s, unsigned i, uint64_t from, uint64_t applied, uint64_t to);
/* The same for all keys. */
void model_check_all(struct sim *s, unsigned i);
/* The names that are remembered, if it has applied all that is committed. */
void model_check_names(struct sim *s, unsigned i);
/* How many should be. */
size_t model_n_once(const struct sim *s);
#define SIM_LEAP_MS                                                                                \
    (KV_ONCE_KEEP_MS - 30000) /* at least, of the cluster's clock: not by a leader */
/* Whether the key is this at index, NULL: not there. */
bool model_is_key(struct sim *s, unsigned key, uint64_t index, const struct kv_value *value);
/* A value's bytes; false when nobody can have written them. */
bool model_parse_value(struct sim *s, const void *p, size_t len, uint64_t *ret_op);
void model_make_value(struct sim *s, uint64_t op, uint32_t len, struct buf *out);

/* ---- asks.c ---- */
void asks_plan(struct sim *s);
/* Whether a node that has just begun with a command that takes long is cut off, for how long, and
 * how long each slice takes it. */
bool ask_is_cut_off(struct sim *s, uint64_t *ret_time_us, uint64_t *ret_slice_us);
/* Asks for the same by an operation of /v1, maybe. */
void ask_choose(struct sim *s, uint64_t id);
bool ask_is_v1(const struct op *op);
void ask_encode(struct sim *s, uint64_t id, struct buf *body);
/* The operation that a Put, Incr or Append in the log is. */
uint64_t ask_id(struct sim *s, const struct kv_op *kv);
/* An answer that says it took effect at index. */
void ask_judge(struct sim *s, const struct call *c, uint64_t index);

/* ---- history.c ---- */
void history_check(struct sim *s);

/* ---- liveness.c ---- */
/* `last`: nothing comes after it. */
void liveness_run(struct sim *s, bool last);

/* ---- report.c ---- */
enum { SIM_EXIT_SAFETY = 10, SIM_EXIT_LIVENESS = 11, SIM_EXIT_CRASH = 12, SIM_EXIT_PROBE = 13 };
void trace(struct sim *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* What is printed when the process fails from now on. */
void report_watch(struct sim *s);
_Noreturn void sim_fail(struct sim *s, int exit_code, const char *fmt, ...) PRINTF_LIKE(3, 4);
#define SIM_SAFE(s, fact, ...) ((fact) ? (void)0 : sim_fail((s), SIM_EXIT_SAFETY, __VA_ARGS__))

#endif
