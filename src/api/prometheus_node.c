/* SPDX-License-Identifier: MIT
 * The text form of /metrics: what the node says of itself.
 */
#include "api/prometheus.h"

#include <inttypes.h>

/* Microseconds as seconds, exactly. */
static void write_seconds(struct buf *b, uint64_t us)
{
    buf_printf(b, " %" PRIu64 ".%06" PRIu64 "\n", us / 1000000, us % 1000000);
}

static void write_raft(struct buf *b, const struct node_status *s)
{
    prometheus_single(b, "crabcluster_has_leader", "gauge", "1 when this node knows a leader.",
                      !uuid_is_zero(s->leader));
    prometheus_single(b, "crabcluster_is_leader", "gauge", "1 when this node is the leader.",
                      s->state == NODE_STATE_LEADER);
    prometheus_single(b, "crabcluster_leader_changes_total", "counter",
                      "Leaders seen since the start.", s->figures.leader_changes);
    prometheus_single(b, "crabcluster_raft_term", "gauge", "Current term.", s->term);
    prometheus_single(b, "crabcluster_raft_commit_index", "gauge",
                      "Index of the last committed entry.", s->commit_index);
    prometheus_single(b, "crabcluster_raft_applied_index", "gauge",
                      "Index of the last applied entry.", s->applied.index);
    prometheus_single(b, "crabcluster_raft_last_log_index", "gauge",
                      "Index of the last entry of the log.", s->last_log_index);
    prometheus_single(b, "crabcluster_raft_first_log_index", "gauge",
                      "Index of the first entry that the log may hold.", s->base_index + 1);
    prometheus_single(b, "crabcluster_raft_snapshot_index", "gauge",
                      "Index up to which the state is durable without the log.", s->snapshot.index);
}

/* The rarer errors are counted together. */
static void write_failed(struct buf *b, const struct node_status *s)
{
    static const struct {
        int err;
        const char *reason;
    } reasons[] = {
        {ERR_NO_LEADER, "no_leader"},         {ERR_UNKNOWN, "unknown"},
        {ERR_OVERLOADED, "overloaded"},       {ERR_TOO_LARGE, "too_large"},
        {ERR_NO_SPACE, "no_space"},           {ERR_SHUTDOWN, "shutdown"},
        {ERR_UNINITIALIZED, "uninitialized"},
    };
    const char *name = "crabcluster_proposals_failed_total";
    uint64_t others = 0;
    prometheus_family(b, name, "counter",
                      "Writes through this node that were refused or whose outcome is unknown.");
    for (unsigned i = 0; i < ERR_CODES; i++)
        others += s->figures.failed[i];
    for (unsigned i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        uint64_t n = s->figures.failed[-reasons[i].err];
        others -= n;
        buf_printf(b, "%s{reason=\"%s\"} %" PRIu64 "\n", name, reasons[i].reason, n);
    }
    buf_printf(b, "%s{reason=\"other\"} %" PRIu64 "\n", name, others);
}

static void write_slow(struct buf *b, const struct node_status *s)
{
    static const char *const phases[NODE_PHASES] = {"queue", "commit", "read_index", "apply"};
    const char *name = "crabcluster_slow_requests_total";
    prometheus_family(
        b, name, "counter",
        "Writes and reads that took half a second or more, by where most of it went.");
    for (unsigned i = 0; i < NODE_PHASES; i++)
        buf_printf(b, "%s{phase=\"%s\"} %" PRIu64 "\n", name, phases[i], s->figures.slow[i]);
}

static void write_store(struct buf *b, const struct node_status *s)
{
    prometheus_single(b, "crabcluster_proposals_committed_total", "counter",
                      "Writes, of any node, that were committed and applied here.",
                      s->figures.committed);
    prometheus_single(b, "crabcluster_proposals_pending", "gauge",
                      "Entries of this node's log that are not known as committed.",
                      s->proposals_pending);
    write_failed(b, s);
    write_slow(b, s);
    prometheus_single(b, "crabcluster_keys", "gauge", "Keys in the store.", s->n_keys);
    prometheus_single(b, "crabcluster_memtable_bytes", "gauge",
                      "Memory held by changes since the last checkpoint.", s->memtable_bytes);
    prometheus_single(b, "crabcluster_idempotency_keys", "gauge",
                      "Idempotency keys that are remembered.", s->n_once);
    if (!s->has_disk)
        return;
    prometheus_single(b, "crabcluster_log_bytes", "gauge", "Disk space of the log.", s->log_bytes);
    prometheus_single(b, "crabcluster_state_bytes", "gauge",
                      "Disk space of the state, but for snapshots of it.", s->state_bytes);
    prometheus_single(b, "crabcluster_disk_free_bytes", "gauge",
                      "Disk space left for this process.", s->disk_free_bytes);
}

/* label is "" or as in {op="make"}, without braces. */
static void write_histogram(struct buf *b, const char *name, const char *label,
                            const struct histogram *h)
{
    const char *comma = *label ? "," : "", *open = *label ? "{" : "", *close = *label ? "}" : "";
    uint64_t n = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        n += h->bucket[i];
        buf_printf(b, "%s_bucket{%s%sle=\"%g\"} %" PRIu64 "\n", name, label, comma,
                   (double)histogram_bound_us[i] / 1e6, n);
    }
    n += h->bucket[HISTOGRAM_BUCKETS];
    buf_printf(b, "%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", name, label, comma, n);
    buf_printf(b, "%s_sum%s%s%s", name, open, label, close);
    write_seconds(b, h->sum_us);
    buf_printf(b, "%s_count%s%s%s %" PRIu64 "\n", name, open, label, close, n);
}

static void write_durations(struct buf *b, const struct node_status *s)
{
    static const struct {
        enum node_duration what;
        const char *name, *label, *help; /* no help: of the family before */
    } durations[NODE_TOOK_KINDS] = {
        {NODE_TOOK_COMMIT, "crabcluster_commit_duration_seconds", "",
         "Of writes through this node, from being sent on their way until committed."},
        {NODE_TOOK_APPLY, "crabcluster_apply_duration_seconds", "",
         "Of batches of committed entries."},
        {NODE_TOOK_READ_INDEX, "crabcluster_read_index_duration_seconds", "",
         "Until it was confirmed what linearizable reads have to see."},
        {NODE_TOOK_LOG_SYNC, "crabcluster_log_sync_duration_seconds", "",
         "Of batches of log entries, until durable."},
        {NODE_TOOK_CHECKPOINT, "crabcluster_checkpoint_duration_seconds", "",
         "Until a checkpoint was durable."},
        {NODE_TOOK_SNAPSHOT_MAKE, "crabcluster_snapshot_duration_seconds", "op=\"make\"",
         "Of snapshots: written, received from the leader, put into force."},
        {NODE_TOOK_SNAPSHOT_RECEIVE, "crabcluster_snapshot_duration_seconds", "op=\"receive\"",
         NULL},
        {NODE_TOOK_SNAPSHOT_INSTALL, "crabcluster_snapshot_duration_seconds", "op=\"install\"",
         NULL},
    };
    for (unsigned i = 0; i < NODE_TOOK_KINDS; i++) {
        if (durations[i].help)
            prometheus_family(b, durations[i].name, "histogram", durations[i].help);
        write_histogram(b, durations[i].name, durations[i].label,
                        &s->figures.duration[durations[i].what]);
    }
}

/* ---- other members ---- */

static void write_peer(struct buf *b, const char *name, const struct node_member_status *m)
{
    char id[UUID_TEXT_LEN + 1];
    buf_printf(b, "%s{peer=\"%s\"}", name, uuid_format(m->id, id));
}

static const struct node_member_status *next_peer(const struct node_status *s, unsigned *at)
{
    while (*at < s->n_members && uuid_equal(s->members[*at].id, s->id))
        (*at)++;
    return *at < s->n_members ? &s->members[(*at)++] : NULL;
}

static void write_contact(struct buf *b, const struct node_status *s)
{
    const struct node_member_status *m;
    const char *name = "crabcluster_peer_send_failures_total";
    prometheus_family(b, name, "counter", "Messages to another node that were not answered.");
    for (unsigned at = 0; (m = next_peer(s, &at)) != NULL;) {
        write_peer(b, name, m);
        buf_printf(b, " %" PRIu64 "\n", m->send_failures);
    }
    name = "crabcluster_peer_last_contact_seconds";
    prometheus_family(b, name, "gauge", "Since another node sent anything, if it ever did.");
    for (unsigned at = 0; (m = next_peer(s, &at)) != NULL;)
        if (m->heard) {
            write_peer(b, name, m);
            write_seconds(b, m->heard_us_ago);
        }
}

/* What only a leader knows. */
static void write_followers(struct buf *b, const struct node_status *s)
{
    const struct node_member_status *m;
    const char *name = "crabcluster_peer_rtt_seconds";
    if (s->state != NODE_STATE_LEADER)
        return;
    prometheus_family(b, name, "gauge", "From a heartbeat to its answer, smoothed; at the leader.");
    for (unsigned at = 0; (m = next_peer(s, &at)) != NULL;)
        if (m->rtt_us) {
            write_peer(b, name, m);
            write_seconds(b, m->rtt_us);
        }
    name = "crabcluster_peer_lag_entries";
    prometheus_family(b, name, "gauge",
                      "Entries that another node has not acknowledged; at the leader.");
    for (unsigned at = 0; (m = next_peer(s, &at)) != NULL;) {
        write_peer(b, name, m);
        buf_printf(b, " %" PRIu64 "\n", m->lag);
    }
}

static unsigned n_other_states(const struct node_status *s)
{
    unsigned n = 0;
    for (unsigned i = 0; i < s->n_members; i++)
        n += s->members[i].digest.compared == NODE_DIGEST_DIFFERS;
    return n;
}

void prometheus_write_node(const struct node_status *s, struct buf *out)
{
    write_raft(out, s);
    write_store(out, s);
    write_durations(out, s);
    write_contact(out, s);
    write_followers(out, s);
    prometheus_single(out, "crabcluster_state_hash_mismatch", "gauge",
                      "Members whose state differs from the leader's; at the leader.",
                      n_other_states(s));
}
