/* SPDX-License-Identifier: MIT
 * The core embedded in a hundred lines: three nodes in one process agree on a
 * log. Each turn takes one node's effects and carries them out, in the way that
 * raft.h asks for. Here "durable" is at once and the network is a queue; a real
 * embedder writes to a disk, sends to a socket, and calls the same functions.
 */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "raft/raft.h"

#define NODES     3
#define QUEUE_MAX 1000

struct toy {
    struct raft *core;
    char said[200]; /* the state machine: what was applied, one after the other */
};

static struct toy toys[NODES];
static struct raft_message queue[QUEUE_MAX]; /* the network; entries are ours while they fly */
static unsigned queued;

static struct uuid id_of(unsigned node)
{
    return (struct uuid){0, node + 1};
}

static void start(unsigned node)
{
    struct raft_options options = {.id = id_of(node),
                                   .heartbeat_ticks = 1,
                                   .election_ticks_min = 10,
                                   .election_ticks_max = 20,
                                   .append_entries_max = 100,
                                   .append_bytes_max = 1 << 20,
                                   .window = 4,
                                   .cache_bytes = 1 << 20,
                                   .uncommitted_bytes_max = 1 << 20,
                                   .seed = node};
    toys[node].core = raft_new(&options);
    raft_start(toys[node].core); /* a restart would give back hard state and log before this */
}

static void send(const struct raft_message *m)
{
    ASSERT(queued < QUEUE_MAX);
    queue[queued] = *m;
    struct raft_entry **copies = NULL;
    if (m->type == RAFT_APPEND && m->append.n_entries > 0) {
        copies = mem_array(m->append.n_entries, sizeof(struct raft_entry *));
        for (unsigned i = 0; i < m->append.n_entries; i++)
            copies[i] = raft_entry_ref(m->append.entries[i]);
        queue[queued].append.entries = copies;
    }
    queued++;
}

static void carry_out_effects(struct toy *t)
{
    const struct raft_effects *fx = raft_effects(t->core);
    uint64_t persisted = fx->persist.seq; /* written: hard state, truncation, entries */
    for (unsigned i = 0; i < fx->n_messages; i++)
        send(&fx->messages[i]);
    for (unsigned i = 0; i < fx->n_apply; i++)
        if (fx->apply[i]->type == RAFT_ENTRY_COMMAND)
            strncat(t->said, (const char *)fx->apply[i]->data, fx->apply[i]->len);
    if (persisted)
        raft_persisted(t->core, persisted);
}

static void deliver_one(void)
{
    struct raft_message m = queue[0];
    memmove(queue, queue + 1, --queued * sizeof queue[0]);
    struct toy *to = &toys[m.to.lo - 1];
    ASSERT(raft_receive(to->core, &m) == 0);
    if (m.type == RAFT_APPEND && m.append.n_entries > 0) {
        for (unsigned i = 0; i < m.append.n_entries; i++)
            raft_entry_unref(&m.append.entries[i]);
        mem_free(m.append.entries);
    }
}

static void pass_time(unsigned ticks)
{
    for (unsigned k = 0; k < ticks; k++) {
        for (unsigned i = 0; i < NODES; i++)
            raft_tick(toys[i].core);
        do {
            for (unsigned i = 0; i < NODES; i++)
                carry_out_effects(&toys[i]);
            if (queued)
                deliver_one();
        } while (queued);
    }
}

static struct toy *leader(void)
{
    for (unsigned i = 0; i < NODES; i++)
        if (raft_status(toys[i].core).role == RAFT_LEADER)
            return &toys[i];
    return NULL;
}

static void say(const char *words)
{
    struct raft_pos first;
    uint32_t len = (uint32_t)strlen(words);
    struct raft_entry *e = raft_entry_new(RAFT_ENTRY_COMMAND, (struct raft_pos){0, 0}, len);
    memcpy(e->data, words, len);
    ASSERT(raft_propose(leader()->core, &e, 1, &first) == 0);
}

int main(void)
{
    struct raft_config config = {.n_members = NODES};
    for (unsigned i = 0; i < NODES; i++) {
        start(i);
        config.members[i] =
            (struct raft_member){.id = id_of(i), .incarnation = 1, .roles = RAFT_VOTER};
    }
    ASSERT(raft_bootstrap(toys[0].core, &config) == 0);
    pass_time(100);
    ASSERT(leader());
    say("hello, ");
    say("world");
    pass_time(10);
    int status = 0;
    for (unsigned i = 0; i < NODES; i++) {
        printf("node %u: term %d, %s: \"%s\"\n", i + 1, (int)raft_status(toys[i].core).term,
               &toys[i] == leader() ? "leads" : "follows", toys[i].said);
        status |= strcmp(toys[i].said, "hello, world") != 0;
    }
    for (unsigned i = 0; i < NODES; i++)
        raft_free(&toys[i].core);
    return status;
}
