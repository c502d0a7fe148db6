/* SPDX-License-Identifier: MIT
 * Operators who take backups at any node, several at a time, and vanish now and
 * then. What they get is compared with the model, key by key, at the index it is
 * said to be of.
 */
#include "sim.h"

#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "node/meta.h"

#define GAP_MS      3000 /* in the mean */
#define PATIENCE_MS 20000
#define PIECE_BYTES 4000
#define VANISH_PPM  20000 /* of the pieces */

static unsigned long long ull(uint64_t v)
{
    return (unsigned long long)v;
}

/* ---- comparing ---- */

static void read_keys(struct sim *s, const struct backup *b, struct bytes_reader *r,
                      uint64_t found[SIM_KEYS_MAX])
{
    memset(found, 0, SIM_KEYS_MAX * sizeof *found);
    while (!bytes_reader_done(r)) {
        size_t key_len = 0, len = 0;
        const uint8_t *key = bytes_read_string(r, LIMIT_KEY_BYTES, &key_len);
        uint64_t revision = bytes_read_varint(r);
        (void)bytes_read_varint(r);
        (void)bytes_read_varint(r);
        const uint8_t *value = bytes_read_string(r, LIMIT_VALUE_BYTES, &len);
        SIM_SAFE(s, key && value && key_len == 3, "a backup has a record that is none");
        unsigned n = (unsigned)(key[1] - '0') * 10 + (unsigned)(key[2] - '0');
        SIM_SAFE(s, n < SIM_KEYS_MAX && model_parse_value(s, value, len, &found[n]),
                 "a backup has what nobody wrote");
        SIM_SAFE(s, revision <= b->index && s->ops[found[n]].index == revision,
                 "a backup of %llu has key %u as of %llu", ull(b->index), n, ull(revision));
    }
}

static void compare(struct sim *s, const struct backup *b)
{
    struct bytes_reader r = bytes_reader(b->bytes.data, b->bytes.len);
    struct kv_meta_info info;
    uint64_t found[SIM_KEYS_MAX];
    size_t len = 0;
    const uint8_t *meta = bytes_read_string(&r, b->bytes.len, &len);
    SIM_SAFE(s, meta && node_meta_kv_info(meta, len, &info) == 0 && info.applied.index == b->index,
             "a backup has another meta than that of %llu", ull(b->index));
    read_keys(s, b, &r, found);
    for (unsigned key = 0; key < s->plan.n_keys; key++) {
        uint64_t expected = model_value(s, key, b->index);
        SIM_SAFE(s, found[key] == expected, "a backup of %llu has value %llu of key %u, not %llu",
                 ull(b->index), ull(found[key]), key, ull(expected));
    }
    probe(s, PROBE_BACKUP);
}

/* ---- taking ---- */

static void submit(struct sim *s, unsigned node, struct backup *b, enum node_request_type type)
{
    struct node_request *r = node_request_new(type);
    r->in.snapshot.id = b->id;
    r->deadline_ms = process_now_ms(s, node) + PATIENCE_MS;
    if (type == NODE_SNAPSHOT_READ) {
        uint64_t left = b->size - b->bytes.len;
        r->in.snapshot.offset = b->bytes.len;
        r->in.snapshot.len = (uint32_t)sim_random(s, 1, left < PIECE_BYTES ? left : PIECE_BYTES);
    }
    b->request = type == NODE_SNAPSHOT_CLOSE ? NULL : r;
    call_submit(s, node, r);
}

static void end(struct backup *b)
{
    buf_free(&b->bytes);
    *b = (struct backup){0};
}

static void next_at(struct sim *s)
{
    uint64_t gap_us = sim_random_gap(s, GAP_MS * SIM_MS);
    sim_at(s, s->now_us + gap_us, EVENT_BACKUP, 0, s->storm, 0, NULL);
}

void backup_act(struct sim *s)
{
    struct backup *b = &s->backups[sim_random(s, 0, SIM_BACKUPS - 1)];
    unsigned node = (unsigned)sim_random(s, 0, SIM_NODES - 1);
    if (s->healing)
        return;
    if (!b->request && is_up(s, node)) {
        trace(s, "a backup at node %u", node);
        submit(s, node, b, NODE_SNAPSHOT_OPEN);
    }
    next_at(s);
}

void backups_start(struct sim *s)
{
    next_at(s);
}

static void opened(struct sim *s, struct backup *b, const struct node_request *r)
{
    b->id = r->ret.snapshot.id;
    b->size = r->ret.snapshot.size;
    b->index = r->ret.snapshot.at.index;
    SIM_SAFE(s, b->size > 0 && b->index > 0, "a backup of nothing");
    for (unsigned i = 0; i < SIM_BACKUPS; i++)
        if (&s->backups[i] != b && s->backups[i].request && s->backups[i].index == b->index)
            probe(s, PROBE_BACKUP_SHARED);
}

static void go_on(struct sim *s, struct backup *b, unsigned node)
{
    if (b->bytes.len == b->size) {
        compare(s, b);
        submit(s, node, b, NODE_SNAPSHOT_CLOSE);
        end(b);
    } else if (sim_chance(s, VANISH_PPM)) {
        end(b); /* the node finds out by itself */
    } else {
        submit(s, node, b, NODE_SNAPSHOT_READ);
    }
}

void backup_completed(struct sim *s, struct call *c)
{
    const struct node_request *r = c->request;
    struct backup *b = NULL;
    for (unsigned i = 0; i < SIM_BACKUPS; i++)
        if (s->backups[i].request == r)
            b = &s->backups[i];
    if (!b) /* a CLOSE */
        return;
    if (c->reset || r->err != 0) {
        trace(s, "the backup at node %u: %s", c->node, c->reset ? "reset" : err_text(r->err));
        end(b);
        return;
    }
    if (r->type == NODE_SNAPSHOT_OPEN)
        opened(s, b, r);
    else
        buf_append(&b->bytes, r->ret.snapshot.data.data, r->ret.snapshot.data.len);
    if (r->type == NODE_SNAPSHOT_READ)
        SIM_SAFE(s, r->ret.snapshot.data.len == r->in.snapshot.len, "a piece of another length");
    if (machine_applied(s->nodes[c->node].driver->machine).index > b->index)
        probe(s, PROBE_BACKUP_LATE);
    go_on(s, b, c->node);
}
