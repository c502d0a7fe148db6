/* SPDX-License-Identifier: MIT
 * What a story can say.
 */
#include "commands.h"

#include <inttypes.h>
#include <string.h>

#include "base/mem.h"
#include "network.h"
#include "snapshots.h"
#include "trace.h"
#include "words.h"

static void say_error(struct world *w, unsigned node, int rc)
{
    if (rc < 0)
        buf_printf(w->trace, "  %u refuses: %s\n", node, err_name(rc));
}

/* ---- life ---- */

static const char *do_nodes(struct world **w, struct buf *trace, const struct words *a)
{
    unsigned n, learners = 0, spares = 0, drift = 0, min = 10, max = 40, seed = 1, stall = 0;
    unsigned window = 4, batch = 16, bytes = 10, piece = 4;
    const struct {
        const char *name;
        unsigned *value;
    } options[] = {{"learners", &learners}, {"spares", &spares}, {"timeout-min", &min},
                   {"timeout-max", &max},   {"seed", &seed},     {"disk-stall", &stall},
                   {"drift", &drift},       {"window", &window}, {"batch", &batch},
                   {"snapshot", &bytes},    {"piece", &piece}};
    if (!words_number(a->w[1], &n) || n < 1)
        return WORDS_NOT_SO;
    for (unsigned i = 2; i < a->n; i += 2) {
        unsigned k = 0;
        while (k < sizeof options / sizeof options[0] && strcmp(options[k].name, a->w[i]) != 0)
            k++;
        if (k == sizeof options / sizeof options[0] || !words_number(a->w[i + 1], options[k].value))
            return WORDS_NOT_SO;
    }
    if (n + learners + spares > WORLD_NODES)
        return WORDS_NO_NODE;
    if (bytes == 0 || piece == 0 || piece > WORLD_PIECE)
        return WORDS_NOT_SO;
    struct raft_options o = {.heartbeat_ticks = 2,
                             .election_ticks_min = min,
                             .election_ticks_max = max,
                             .append_entries_max = batch,
                             .append_bytes_max = 4096,
                             .window = window,
                             .cache_bytes = 1024,
                             .snapshot_bytes_max = piece,
                             .uncommitted_bytes_max = 1 << 16,
                             .disk_stall_ticks = stall,
                             .clock_drift_ticks = drift,
                             .seed = seed};
    *w = world_new(trace, &o, n, learners, spares);
    (*w)->snapshot_bytes = bytes;
    size_t len = trace->len;
    for (unsigned i = 1; i <= (*w)->n_nodes; i++)
        world_pump(*w, i);
    if (n > 1)
        trace->len = len; /* that all are followers of nobody goes without saying */
    return NULL;
}

static const char *do_crash(struct world *w, const struct words *a)
{
    unsigned node;
    const char *wrong = words_up(w, a->w[1], &node);
    if (!wrong)
        world_crash(w, node);
    return wrong;
}

static const char *do_restart(struct world *w, const struct words *a)
{
    unsigned node;
    if (!words_node(w, a->w[1], &node))
        return WORDS_NO_NODE;
    if (w->nodes[node].core)
        return "it is up";
    world_start(w, node);
    world_pump(w, node);
    return NULL;
}

static const char *do_plant(struct world *w, const struct words *a)
{
    unsigned node, term, n;
    if (!words_node(w, a->w[1], &node) || !words_number(a->w[2], &term) ||
        !words_number(a->w[3], &n))
        return WORDS_NOT_SO;
    if (w->nodes[node].core)
        return "it is up";
    world_plant(w, node, term, n);
    return NULL;
}

static const char *do_set_back(struct world *w, const struct words *a)
{
    unsigned node, index;
    if (!words_node(w, a->w[1], &node) || !words_number(a->w[2], &index))
        return WORDS_NOT_SO;
    if (w->nodes[node].core)
        return "it is up";
    world_set_back(w, node, index);
    return NULL;
}

/* ---- time ---- */

static void tick(struct world *w, unsigned node)
{
    raft_tick(w->nodes[node].core);
    world_pump(w, node);
}

static const char *do_tick(struct world *w, const struct words *a)
{
    unsigned node, n = 1;
    const char *wrong = words_up(w, a->w[1], &node);
    if (wrong || (a->n > 2 && !words_number(a->w[2], &n)))
        return wrong ? wrong : WORDS_NOT_SO;
    while (n-- > 0)
        tick(w, node);
    return NULL;
}

static unsigned count_votes_asked(const struct world *w, unsigned node)
{
    unsigned n = 0;
    for (const struct letter *l = w->in_flight; l; l = l->next)
        n += l->m.type == RAFT_VOTE && world_node(l->m.from) == node;
    return n;
}

static const char *do_campaign(struct world *w, const struct words *a)
{
    unsigned node;
    const char *wrong = words_up(w, a->w[1], &node);
    if (wrong)
        return wrong;
    unsigned asked = count_votes_asked(w, node);
    enum raft_role role = raft_status(w->nodes[node].core).role;
    for (unsigned i = 0; i < 2 * w->options.election_ticks_max; i++) {
        tick(w, node);
        if (count_votes_asked(w, node) > asked || raft_status(w->nodes[node].core).role != role)
            return NULL;
    }
    buf_printf(w->trace, "  %u does not campaign\n", node);
    return NULL;
}

/* So long that it does not hold on to its leader, and yet does not campaign. */
static const char *forget(struct world *w, unsigned node)
{
    for (unsigned i = 0; i < w->options.election_ticks_min; i++)
        tick(w, node);
    return raft_status(w->nodes[node].core).role == RAFT_FOLLOWER
               ? NULL
               : "it campaigns by itself: another seed is needed";
}

static const char *do_forget(struct world *w, const struct words *a)
{
    const char *wrong = a->n > 1 ? NULL : WORDS_TOO_FEW;
    for (unsigned i = 1; i < a->n && !wrong; i++) {
        unsigned node;
        wrong = words_up(w, a->w[i], &node);
        if (!wrong)
            wrong = forget(w, node);
    }
    return wrong;
}

static const char *do_elect(struct world *w, const struct words *a)
{
    unsigned node;
    const char *wrong = words_up(w, a->w[1], &node);
    for (unsigned i = 1; i <= w->n_nodes && !wrong; i++)
        if (i != node && w->nodes[i].core && !uuid_is_zero(raft_status(w->nodes[i].core).leader) &&
            raft_status(w->nodes[i].core).role == RAFT_FOLLOWER)
            wrong = forget(w, i);
    if (!wrong)
        wrong = do_campaign(w, a);
    if (!wrong)
        wrong = network_settle(w, a);
    if (!wrong && raft_status(w->nodes[node].core).role != RAFT_LEADER)
        wrong = "it is not elected";
    return wrong;
}

static const char *do_run(struct world *w, const struct words *a)
{
    unsigned n;
    if (!words_number(a->w[1], &n))
        return WORDS_NOT_SO;
    while (n-- > 0) {
        for (unsigned i = 1; i <= w->n_nodes; i++)
            if (w->nodes[i].core)
                tick(w, i);
        network_settle(w, a);
    }
    return NULL;
}

/* ---- disk and state machine ---- */

static const char *set_flag(struct world *w, const struct words *a, bool disk, bool value)
{
    unsigned node;
    const char *wrong = words_up(w, a->w[1], &node);
    if (wrong)
        return wrong;
    if (disk)
        w->nodes[node].hold_disk = value;
    else
        w->nodes[node].hold_apply = value;
    if (!value && disk)
        world_persist(w, node, UINT32_MAX, true);
    else if (!value)
        world_apply(w, node);
    return NULL;
}

static const char *do_hold_disk(struct world *w, const struct words *a)
{
    return set_flag(w, a, true, true);
}

static const char *do_release_disk(struct world *w, const struct words *a)
{
    return set_flag(w, a, true, false);
}

static const char *do_hold_apply(struct world *w, const struct words *a)
{
    return set_flag(w, a, false, true);
}

static const char *do_release_apply(struct world *w, const struct words *a)
{
    return set_flag(w, a, false, false);
}

static const char *persist(struct world *w, const struct words *a, bool told)
{
    unsigned node, n = UINT32_MAX;
    const char *wrong = words_up(w, a->w[1], &node);
    if (wrong || (a->n > 2 && !words_number(a->w[2], &n)))
        return wrong ? wrong : WORDS_NOT_SO;
    if (!w->nodes[node].writing)
        return "nothing is being written";
    world_persist(w, node, n, told);
    return NULL;
}

static const char *do_persist(struct world *w, const struct words *a)
{
    return persist(w, a, true);
}

static const char *do_persist_untold(struct world *w, const struct words *a)
{
    return persist(w, a, false);
}

/* ---- requests ---- */

static const char *do_propose(struct world *w, const struct words *a)
{
    unsigned node, n = a->n - 2;
    const char *wrong = words_up(w, a->w[1], &node);
    if (wrong || a->n < 3)
        return wrong ? wrong : WORDS_TOO_FEW;
    struct raft_entry *entries[WORDS_MAX];
    for (unsigned i = 0; i < n; i++) {
        size_t len = strlen(a->w[i + 2]);
        entries[i] = raft_entry_new(RAFT_ENTRY_COMMAND, (struct raft_pos){0, 0}, (uint32_t)len);
        memcpy(entries[i]->data, a->w[i + 2], len);
    }
    struct raft_pos first = {0, 0};
    int rc = raft_propose(w->nodes[node].core, entries, n, &first);
    say_error(w, node, rc);
    struct node *sim = &w->nodes[node];
    for (unsigned i = 0; i < n; i++) {
        raft_entry_unref(&entries[i]); /* taken on success: NULL then */
        if (rc < 0 || sim->n_waiters == WORLD_WAITERS)
            continue;
        struct raft_pos pos = {first.term, first.index + i};
        sim->waiters[sim->n_waiters++] = (struct waiter){mem_strdup(a->w[i + 2]), pos};
    }
    world_pump(w, node);
    return NULL;
}

static const char *do_read(struct world *w, const struct words *a)
{
    unsigned node;
    const char *wrong = words_up(w, a->w[1], &node);
    if (wrong || a->n < 3 || w->last_ctx == WORLD_READS)
        return wrong ? wrong : WORDS_TOO_FEW;
    w->read_names[++w->last_ctx] = mem_strdup(a->w[2]);
    if (strcmp(a->w[0], "read-lease") == 0)
        raft_read_lease(w->nodes[node].core, w->last_ctx);
    else
        raft_read(w->nodes[node].core, w->last_ctx);
    world_pump(w, node);
    return NULL;
}

static const char *do_change(struct world *w, const struct words *a)
{
    static const char *const verbs[] = {"add", "learner", "remove", "update"};
    struct raft_change changes[WORDS_MAX / 2];
    unsigned node, n = 0, who;
    const char *wrong = words_up(w, a->w[1], &node);
    if (wrong)
        return wrong;
    for (unsigned i = 2; i < a->n; i += 2) {
        unsigned type = 0;
        while (type < 4 && strcmp(verbs[type], a->w[i]) != 0)
            type++;
        if (type == 4 || !words_node(w, a->w[i + 1], &who))
            return WORDS_NOT_SO;
        changes[n++] = (struct raft_change){(enum raft_change_type)type, world_member(who)};
    }
    struct raft_pos pos;
    say_error(w, node, raft_change_config(w->nodes[node].core, changes, n, &pos));
    world_pump(w, node);
    return NULL;
}

static const char *do_transfer(struct world *w, const struct words *a)
{
    unsigned node, to;
    const char *wrong = words_up(w, a->w[1], &node);
    if (wrong || !words_node(w, a->w[2], &to))
        return wrong ? wrong : WORDS_NO_NODE;
    say_error(w, node, raft_transfer(w->nodes[node].core, world_id(to)));
    world_pump(w, node);
    return NULL;
}

static const char *do_step_down(struct world *w, const struct words *a)
{
    unsigned node;
    const char *wrong = words_up(w, a->w[1], &node);
    if (wrong)
        return wrong;
    raft_step_down(w->nodes[node].core);
    world_pump(w, node);
    return NULL;
}

/* ---- questions ---- */

static void say_status(struct world *w, unsigned node)
{
    const struct node *n = &w->nodes[node];
    buf_printf(w->trace, "  %u ", node);
    if (!n->core) {
        buf_append_str(w->trace, "down\n");
        return;
    }
    struct raft_status s = raft_status(n->core);
    buf_printf(w->trace, "%s, term %" PRIu64 ", log", trace_role_name(s.role), s.term);
    trace_log(w->trace, n->core);
    buf_printf(w->trace, ", commit %" PRIu64, s.commit);
    if (s.durable < s.last.index)
        buf_printf(w->trace, ", durable %" PRIu64, s.durable);
    if (s.lease_ticks)
        buf_printf(w->trace, ", lease for %" PRIu64 " ticks", s.lease_ticks);
    if (!uuid_is_zero(s.transfer_to))
        buf_printf(w->trace, ", hands over to %u", world_node(s.transfer_to));
    if (s.disk_stalled)
        buf_append_str(w->trace, ", disk stalled");
    buf_append_str(w->trace, "\n");
}

static const char *do_status(struct world *w, const struct words *a)
{
    unsigned node;
    for (unsigned i = 1; a->n == 1 && i <= w->n_nodes; i++)
        say_status(w, i);
    for (unsigned i = 1; i < a->n; i++) {
        if (!words_node(w, a->w[i], &node))
            return WORDS_NO_NODE;
        say_status(w, node);
    }
    return NULL;
}

static const char *do_config(struct world *w, const struct words *a)
{
    unsigned node;
    const char *wrong = words_up(w, a->w[1], &node);
    if (wrong)
        return wrong;
    struct raft_pos pos;
    const struct raft *core = w->nodes[node].core;
    buf_printf(w->trace, "  %u ", node);
    trace_config(w->trace, raft_config(core, &pos));
    buf_printf(w->trace, " of %" PRIu64 ", %scommitted\n", pos.index,
               raft_config_is_committed(core) ? "" : "not ");
    return NULL;
}

static const char *do_peer(struct world *w, const struct words *a)
{
    unsigned node, peer;
    const char *wrong = words_up(w, a->w[1], &node);
    if (wrong || !words_node(w, a->w[2], &peer))
        return wrong ? wrong : WORDS_NO_NODE;
    struct raft_peer_status p;
    int rc = raft_peer(w->nodes[node].core, world_id(peer), &p);
    say_error(w, node, rc);
    if (rc == 0)
        buf_printf(w->trace,
                   "  %u in the eyes of %u: match %" PRIu64 ", next %" PRIu64 ", %u in flight%s",
                   peer, node, p.match, p.next, p.in_flight, p.lost_data ? ", lost data" : "");
    if (rc == 0 && p.in_snapshot)
        buf_printf(w->trace, ", has %" PRIu64 " bytes of a snapshot", p.snapshot_offset);
    if (rc == 0)
        buf_append_str(w->trace, "\n");
    return NULL;
}

/* ---- all of them ---- */

static const struct command {
    const char *name, *arguments, *help;
    const char *(*run)(struct world *w, const struct words *a); /* NULL: what is wrong */
} commands[] = {
    {"crash", "N", "loses what is not written", do_crash},
    {"restart", "N", "from its disk; the state machine has what it saved", do_restart},
    {"plant", "N TERM COUNT", "puts entries on the disk of a node that is down", do_plant},
    {"set-back", "N INDEX", "the disk of a node that is down loses all after INDEX", do_set_back},
    {"tick", "N [COUNT]", "time passes at one node", do_tick},
    {"campaign", "N", "ticks until it asks for votes, twice its longest timeout at most",
     do_campaign},
    {"forget", "N..", "so much time passes that they do not hold on to their leader", do_forget},
    {"elect", "N", "all forget, N campaigns, everything is delivered; it must lead then", do_elect},
    {"run", "COUNT", "time passes everywhere, messages arrive at once and are not told", do_run},
    {"deliver", "[LINE [NAME] [COUNT]]",
     "messages now in flight; without words: all, and what follows from them", network_deliver},
    {"votes", "N", "delivers the votes that N asks for and their answers, nothing else",
     network_votes},
    {"settle", "", "deliver, but messages are not told", network_settle},
    {"drop", "LINE [NAME] [COUNT]", "loses messages in flight", network_drop},
    {"stash", "LINE [NAME] [COUNT]", "puts messages aside: they are late", network_stash},
    {"copy", "LINE [NAME] [COUNT]", "puts copies aside: they come twice", network_copy},
    {"unstash", "", "what was put aside is in flight again, behind all others", network_unstash},
    {"flight", "[LINE [NAME]]", "tells what is in flight", network_flight},
    {"cut", "N.. | N.. or FROM>TO", "what arrives over these lines is lost", network_cut},
    {"heal", "", "no line is cut", network_heal},
    {"unreachable", "N PEER", "N hears that a message to PEER was lost for certain",
     network_unreachable},
    {"hold-disk", "N", "from now on it writes only on persist", do_hold_disk},
    {"release-disk", "N", "writes what waits, and prompt from now on", do_release_disk},
    {"persist", "N [COUNT]", "the oldest records reach the disk, and the core hears of it",
     do_persist},
    {"persist-untold", "N [COUNT]", "the same, but the core does not hear of it",
     do_persist_untold},
    {"hold-apply", "N", "from now on its state machine is slow", do_hold_apply},
    {"release-apply", "N", "applies what waits, and prompt from now on", do_release_apply},
    {"compact", "N [INDEX]", "saves the state, and lets go of the log up to INDEX",
     snapshots_compact},
    {"hold-snapshots", "N", "from now on it makes and writes snapshots only when told",
     snapshots_hold},
    {"release-snapshots", "N", "does what waits, and prompt from now on", snapshots_release},
    {"make-snapshot", "N", "the one that is wanted", snapshots_make},
    {"fail-snapshot", "N", "none could be made", snapshots_fail},
    {"write-piece", "N", "the one that waits", snapshots_write},
    {"damage-piece", "N", "the same, but the pieces do not make up the snapshot", snapshots_damage},
    {"propose", "N WORD..", "commands, as one batch", do_propose},
    {"read", "N NAME", "asks for a linearizable read", do_read},
    {"read-lease", "N NAME", "the same, by lease if there is one", do_read},
    {"change", "N (add|learner|remove|update M)..", "of the configuration", do_change},
    {"transfer", "N M", "N hands leadership over to M", do_transfer},
    {"step-down", "N", "N gives up leadership", do_step_down},
    {"status", "[N..]", "of the nodes", do_status},
    {"config", "N", "in force at N", do_config},
    {"peer", "N M", "what leader N knows of M", do_peer},
};

void commands_help(FILE *to)
{
    fputs("nodes VOTERS [learners N] [spares N] [timeout-min N] [timeout-max N] [seed N]\n"
          "      [disk-stall N] [drift N] [window N] [batch N] [snapshot N] [piece N]\n"
          "    Comes first. Spares are up and know nothing; the others have the first\n"
          "    configuration as 1(t1), committed. A snapshot has 10 bytes, 4 to a message.\n"
          "quiet COMMAND\n    The same, and nothing is told.\n",
          to);
    for (unsigned i = 0; i < sizeof commands / sizeof commands[0]; i++)
        fprintf(to, "%s %s\n    %s\n", commands[i].name, commands[i].arguments, commands[i].help);
}

static const char *run_words(struct world **w, struct buf *trace, const struct words *a)
{
    if (strcmp(a->w[0], "nodes") == 0)
        return *w ? "there are nodes already" : do_nodes(w, trace, a);
    if (!*w)
        return "nodes comes first";
    for (unsigned i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (strcmp(commands[i].name, a->w[0]) == 0)
            return commands[i].run(*w, a);
    return "no such command";
}

const char *commands_run(struct world **w, struct buf *trace, const char *line)
{
    bool quiet = strncmp(line, "quiet ", 6) == 0;
    size_t len = trace->len;
    unsigned n_broken = *w ? (*w)->n_broken : 0;
    char *copy = mem_strdup(quiet ? line + 6 : line);
    struct words a;
    const char *wrong = words_split(copy, &a);
    if (!wrong)
        wrong = run_words(w, trace, &a);
    mem_free(copy);
    if (*w)
        world_check(*w);
    if (quiet && (!*w || (*w)->n_broken == n_broken))
        trace->len = len;
    return wrong;
}
