/* SPDX-License-Identifier: MIT
 * Operators who take backups at any node, several at a time, and vanish now and
 * then. What they get is compared with the model, key by key, at the index it is
 * said to be of.
 */
#include "sim.h"

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

static void compare(struct sim *s, const struct backup *b)
{
    struct bytes_reader r = bytes_reader(b->bytes.data, b->bytes.len);
    struct kv_meta_info info;
    struct kv_record record;
    uint32_t found = 0;
    size_t len = 0;
    const uint8_t *meta = bytes_read_string(&r, b->bytes.len, &len);
    SIM_SAFE(s, meta && node_meta_kv_info(meta, len, &info) == 0 && info.applied.index == b->index,
             "a backup has another meta than that of %llu", ull(b->index));
    while (!bytes_reader_done(&r)) {
        SIM_SAFE(s, files_next_record(&r, &record), "a backup has a record that is none");
        int key = client_key_of(record.key, record.key_len);
        SIM_SAFE(s, key >= 0 && model_is_key(s, (unsigned)key, b->index, &record.value),
                 "a backup of %llu has another value of key %d than write %llu", ull(b->index), key,
                 ull(past_at(s, key < 0 ? 0 : (unsigned)key, b->index)->op));
        found |= 1u << key;
    }
    for (unsigned key = 0; key < s->plan.n_keys; key++)
        SIM_SAFE(s, (found >> key & 1) || model_is_key(s, key, b->index, NULL),
                 "a backup of %llu lacks key %u", ull(b->index), key);
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
