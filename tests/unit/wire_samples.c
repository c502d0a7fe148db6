/* SPDX-License-Identifier: MIT
 * See wire_samples.h.
 */
#include "wire_samples.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/mem.h"

const enum wire_type wire_types[WIRE_TYPES] = {
    WIRE_APPEND,
    WIRE_APPEND_REPLY,
    WIRE_VOTE,
    WIRE_VOTE_REPLY,
    WIRE_READ_INDEX,
    WIRE_TIMEOUT_NOW,
    WIRE_TIMEOUT_NOW_REPLY,
    WIRE_SNAPSHOT,
    WIRE_SNAPSHOT_REPLY,
    WIRE_READ_INDEX_REPLY,
    WIRE_REFUSED,
    WIRE_HELLO,
    WIRE_HELLO_REPLY,
    WIRE_FORWARD,
    WIRE_FORWARD_REPLY,
    WIRE_ADMIN,
    WIRE_ADMIN_REPLY,
    WIRE_FORM,
    WIRE_FORM_REPLY,
    WIRE_DIGEST,
    WIRE_DIGEST_REPLY,
    WIRE_STATUS,
    WIRE_STATUS_REPLY,
};

#define MAX UINT64_MAX

static const struct uuid uuid_most = {MAX, MAX};

static struct uuid pick_uuid(enum wire_sample s, uint64_t plain)
{
    return s == WIRE_SAMPLE_LEAST  ? UUID_ZERO
           : s == WIRE_SAMPLE_MOST ? uuid_most
                                   : (struct uuid){plain, plain + 1};
}

static uint64_t pick(enum wire_sample s, uint64_t plain)
{
    return s == WIRE_SAMPLE_LEAST ? 0 : s == WIRE_SAMPLE_MOST ? MAX : plain;
}

static struct raft_pos pick_pos(enum wire_sample s, uint64_t plain)
{
    return (struct raft_pos){pick(s, plain), pick(s, plain + 1000)};
}

static void pick_addr(enum wire_sample s, unsigned plain, char addr[LIMIT_ADDR_BYTES + 1])
{
    if (s == WIRE_SAMPLE_LEAST)
        addr[0] = 0;
    else if (s == WIRE_SAMPLE_PLAIN)
        snprintf(addr, LIMIT_ADDR_BYTES + 1, "node%u.example:%u", plain, 8000 + plain);
    else
        snprintf(addr, LIMIT_ADDR_BYTES + 1, "%0253u:65535", plain);
}

/* ---- raft ---- */

static struct raft_entry *make_entry(enum raft_entry_type type, struct raft_pos pos, uint32_t len)
{
    struct raft_entry *e = raft_entry_new(type, pos, len);
    for (uint32_t i = 0; i < len; i++)
        e->data[i] = (uint8_t)(i + pos.index);
    return e;
}

static void make_append(enum wire_sample s, struct wire_message *m)
{
    if (s == WIRE_SAMPLE_LEAST)
        return;
    struct raft_pos prev =
        s == WIRE_SAMPLE_PLAIN ? (struct raft_pos){5, 300} : (struct raft_pos){MAX - 1, MAX - 3};
    m->raft.append.prev = prev;
    m->raft.append.commit = pick(s, 299);
    m->raft.append.full = s == WIRE_SAMPLE_MOST;
    m->raft.append.n_entries = 3;
    m->raft.append.entries = mem_array(3, sizeof(struct raft_entry *));
    struct raft_entry **entries = m->raft.append.entries;
    entries[0] =
        make_entry(RAFT_ENTRY_NOOP, (struct raft_pos){prev.term, prev.index + 1}, RAFT_NOOP_BYTES);
    entries[1] = make_entry(RAFT_ENTRY_COMMAND, (struct raft_pos){prev.term + 1, prev.index + 2},
                            s == WIRE_SAMPLE_PLAIN ? 5 : 200);
    entries[2] = make_entry(RAFT_ENTRY_CONFIG, (struct raft_pos){prev.term + 1, prev.index + 3}, 1);
}

/* The least has no term to be of, so it is of the first. */
static void make_snapshot(enum wire_sample s, struct wire_message *m)
{
    static uint8_t piece[200];
    struct raft_snapshot *snapshot = mem_zalloc(sizeof *snapshot);
    bool least = s == WIRE_SAMPLE_LEAST;
    if (least)
        m->header.term = m->raft.term = 1;
    snapshot->id = pick(s, 0x6162636465666768);
    snapshot->base.pos = least ? (struct raft_pos){1, 1} : pick_pos(s, 6);
    snapshot->base.config_pos =
        least ? (struct raft_pos){1, 1} : (struct raft_pos){snapshot->base.pos.term, 3};
    snapshot->base.config.n_members = 1;
    snapshot->base.config.members[0].id = (struct uuid){1, 2};
    snapshot->base.config.members[0].roles = RAFT_VOTER;
    snprintf(snapshot->base.config.members[0].addr, LIMIT_ADDR_BYTES, "%s", "host:1");
    snapshot->size = least ? 1 : pick(s, 5000);
    snapshot->digest = (uint32_t)pick(s, 0x71727374);
    m->raft.snapshot.offset = least ? 1 : pick(s, 5000) - sizeof piece;
    m->raft.snapshot.len = least ? 0 : sizeof piece;
    m->raft.snapshot.data = piece;
    m->raft.snapshot.snapshot = raft_snapshot_new(snapshot);
    mem_free(snapshot);
}

static void make_raft(enum wire_type type, enum wire_sample s, struct wire_message *m)
{
    m->raft.type = (enum raft_message_type)type;
    m->raft.from = m->header.from;
    m->raft.to = m->header.to;
    m->raft.to_incarnation = m->header.to_incarnation;
    m->raft.term = m->header.term;
    m->raft.seq = m->header.seq;
    bool yes = s != WIRE_SAMPLE_LEAST;
    if (type == WIRE_APPEND) {
        make_append(s, m);
    } else if (type == WIRE_APPEND_REPLY) {
        m->raft.append_reply.success = yes;
        m->raft.append_reply.match = pick(s, 70);
        m->raft.append_reply.rejected = pick(s, 71);
        m->raft.append_reply.promise_ticks = pick(s, 19);
        m->raft.append_reply.full = s == WIRE_SAMPLE_MOST;
        m->raft.append_reply.hint = (struct raft_pos){pick(s, 3), pick(s, 72)};
    } else if (type == WIRE_VOTE) {
        m->raft.vote.pre = s == WIRE_SAMPLE_MOST;
        m->raft.vote.handed_over = s == WIRE_SAMPLE_PLAIN;
        m->raft.vote.last = pick_pos(s, 6);
    } else if (type == WIRE_VOTE_REPLY) {
        m->raft.vote_reply.pre = s == WIRE_SAMPLE_MOST;
        m->raft.vote_reply.granted = yes;
    } else if (type == WIRE_READ_INDEX_REPLY) {
        m->raft.read_index_reply.ok = yes;
        m->raft.read_index_reply.index = pick(s, 900);
    } else if (type == WIRE_TIMEOUT_NOW_REPLY) {
        m->raft.timeout_now_reply.ok = yes;
    } else if (type == WIRE_SNAPSHOT) {
        make_snapshot(s, m);
    } else if (type == WIRE_SNAPSHOT_REPLY) {
        m->raft.snapshot_reply.id = pick(s, 0x5152535455565758);
        m->raft.snapshot_reply.installed = yes;
        m->raft.snapshot_reply.offset = pick(s, 4711);
        m->raft.snapshot_reply.match = pick(s, 4712);
    }
}

/* ---- the others ---- */

static const uint8_t some_bytes[300] = "the bytes of a command are kv's business";

static void make_forward(enum wire_sample s, struct wire_message *m)
{
    unsigned n = s == WIRE_SAMPLE_LEAST ? 0 : s == WIRE_SAMPLE_PLAIN ? 3 : 100;
    m->forward.n_commands = n;
    m->forward.commands = n ? mem_array(n, sizeof(struct wire_bytes)) : NULL;
    for (unsigned i = 0; i < n; i++)
        m->forward.commands[i] = (struct wire_bytes){some_bytes, i};
}

static void make_forward_reply(enum wire_sample s, struct wire_message *m)
{
    unsigned n = s == WIRE_SAMPLE_LEAST ? 0 : s == WIRE_SAMPLE_PLAIN ? 3 : 100;
    m->forward_reply.n_results = n;
    m->forward_reply.results = n ? mem_array(n, sizeof(struct wire_forward_result)) : NULL;
    for (unsigned i = 0; i < n; i++)
        m->forward_reply.results[i] = (struct wire_forward_result){
            .err = i == 1 ? ERR_NOT_LEADER : 0,
            .pos = pick_pos(s, i + 1),
            .leader = pick_uuid(s, i + 10),
            .answer = {some_bytes, 2 * i},
        };
}

static void make_admin(enum wire_sample s, struct wire_message *m)
{
    m->admin.op = s == WIRE_SAMPLE_LEAST   ? WIRE_ADMIN_ADD_LEARNER
                  : s == WIRE_SAMPLE_PLAIN ? WIRE_ADMIN_CHANGE
                                           : WIRE_ADMIN_TRANSFER;
    m->admin.timeout_ms = (uint32_t)pick(s, 4500);
    m->admin.incarnation = pick(s, 0x1122334455667788);
    pick_addr(s, 1, m->admin.addr);
    m->admin.n_ids = s == WIRE_SAMPLE_LEAST ? 0 : s == WIRE_SAMPLE_PLAIN ? 3 : LIMIT_MEMBERS;
    for (unsigned i = 0; i < m->admin.n_ids; i++)
        m->admin.ids[i] = pick_uuid(s, i + 20);
}

static void make_admin_reply(enum wire_sample s, struct wire_message *m)
{
    m->admin_reply.err = s == WIRE_SAMPLE_LEAST   ? 0
                         : s == WIRE_SAMPLE_PLAIN ? ERR_LAGGING
                                                  : ERR_NO_QUORUM;
    if (m->admin_reply.err == ERR_NO_QUORUM) {
        m->admin_reply.n_voters = LIMIT_MEMBERS;
        m->admin_reply.n_alive = 2;
    }
    m->admin_reply.pos = pick_pos(s, 2);
    m->admin_reply.pos_leader = pick_uuid(s, 31);
    m->admin_reply.id = pick_uuid(s, 32);
    m->admin_reply.found = pick_uuid(s, 33);
    m->admin_reply.cluster = pick_uuid(s, 34);
    m->admin_reply.distance = pick(s, 35);
}

static void make_form(enum wire_sample s, struct wire_message *m)
{
    m->form.new_cluster = pick_uuid(s, 41);
    m->form.n_peers = s == WIRE_SAMPLE_LEAST ? 0 : s == WIRE_SAMPLE_PLAIN ? 3 : LIMIT_PEERS;
    for (unsigned i = 0; i < m->form.n_peers; i++)
        pick_addr(s, i, m->form.peers[i]);
}

static void make_status_reply(enum wire_sample s, struct wire_message *m)
{
    bool yes = s != WIRE_SAMPLE_LEAST;
    m->status_reply.leads = m->status_reply.full = m->status_reply.joint = yes;
    m->status_reply.config_pos = pick_pos(s, 61);
    m->status_reply.n_members = s == WIRE_SAMPLE_LEAST   ? 0
                                : s == WIRE_SAMPLE_PLAIN ? 3
                                                         : LIMIT_MEMBERS;
    for (unsigned i = 0; i < m->status_reply.n_members; i++) {
        struct wire_member_status *out = &m->status_reply.members[i];
        *out = (struct wire_member_status){.id = pick_uuid(s, i + 62),
                                           .roles = (uint8_t)i,
                                           .match = pick(s, 94),
                                           .lag = pick(s, 95),
                                           .rtt_us = pick(s, 96),
                                           .heard_us_ago = pick(s, 97),
                                           .digest_index = pick(s, 98),
                                           .digest = pick(s, 99),
                                           .digest_compared = (uint8_t)(i % 3),
                                           .alive = i & 1,
                                           .heard = i & 2,
                                           .lost_data = i & 4,
                                           .in_snapshot = i & 8,
                                           .full = i & 16,
                                           .caught_up = i % 3 == 1};
        pick_addr(s, i, out->addr);
    }
}

static void make_hello_reply(enum wire_sample s, struct wire_message *m)
{
    m->hello_reply.has_data = s != WIRE_SAMPLE_LEAST;
    pick_addr(s, 2, m->hello_reply.addr);
    m->hello_reply.leader = pick_uuid(s, 51);
    pick_addr(s, 3, m->hello_reply.leader_addr);
}

static void make_small(enum wire_type type, enum wire_sample s, struct wire_message *m)
{
    if (type == WIRE_REFUSED)
        m->refused.code = s == WIRE_SAMPLE_LEAST ? ERR_UNINITIALIZED : ERR_CLUSTER_MISMATCH;
    else if (type == WIRE_FORM_REPLY)
        m->form_reply.err = s == WIRE_SAMPLE_LEAST ? 0 : ERR_NOT_ALLOWED;
}

static void make_digest_reply(enum wire_sample s, struct wire_message *m)
{
    m->digest_reply.index = pick(s, 900);
    m->digest_reply.digest = pick(s, 0x6162636465666768);
}

void wire_sample_make(enum wire_type type, enum wire_sample s, struct wire_message *ret_message)
{
    static void (*const makers[])(enum wire_sample, struct wire_message *) = {
        [WIRE_HELLO_REPLY] = make_hello_reply,     [WIRE_FORWARD] = make_forward,
        [WIRE_FORWARD_REPLY] = make_forward_reply, [WIRE_ADMIN] = make_admin,
        [WIRE_ADMIN_REPLY] = make_admin_reply,     [WIRE_FORM] = make_form,
        [WIRE_DIGEST_REPLY] = make_digest_reply,   [WIRE_FORM_REPLY] = NULL,
        [WIRE_STATUS_REPLY] = make_status_reply,
    };
    struct wire_message *m = ret_message;
    memset(m, 0, sizeof *m);
    m->header = (struct wire_header){
        .type = type,
        .cluster = pick_uuid(s, 0x0102030405060708),
        .from = pick_uuid(s, 0x1112131415161718),
        .to = pick_uuid(s, 0x2122232425262728),
        .to_incarnation = pick(s, 0x3132333435363738),
        .from_incarnation = pick(s, 0x4142434445464748),
        .term = pick(s, 7),
        .seq = pick(s, (uint64_t)3 << 40 | 9),
    };
    if (type <= WIRE_SNAPSHOT_REPLY)
        make_raft(type, s, m);
    else if (type < sizeof makers / sizeof makers[0] && makers[type])
        makers[type](s, m);
    else
        make_small(type, s, m);
}

/* ---- frames ---- */

void wire_sample_reseal(uint8_t *bytes, size_t len)
{
    ASSERT(len >= 4);
    bytes_put_be(bytes + len - 4, crc32c(0, bytes, len - 4), 4);
}

void wire_sample_seal(unsigned type, uint64_t term, const void *payload, size_t len,
                      struct buf *out)
{
    static const uint8_t zeros[WIRE_HEADER_BYTES];
    size_t start = out->len;
    buf_append(out, "CRAB\1", 5);
    buf_put_u8(out, (uint8_t)type);
    buf_append(out, zeros, 72 - 6);
    buf_put_u64(out, term);
    buf_put_u64(out, 0);
    buf_append(out, payload, len);
    buf_put_u32(out, 0);
    wire_sample_reseal(out->data + start, out->len - start);
}
