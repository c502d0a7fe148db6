/* SPDX-License-Identifier: MIT
 * The node's meta as bytes; whoever keeps them has a checksum over them.
 */
#include "node/meta.h"

#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/limits.h"
#include "base/mem.h"
#include "node/node.h"

#define CONFIG_BYTES_MAX LIMIT_CONTROL_BYTES

/* Answers: as many bytes of sessions as one may have, LIMIT_ONCE_BYTES and the last one of names;
 * and some 60 MiB of numbers and names. */
#define KV_BYTES_MAX (4 * LIMIT_VALUE_BYTES)

static void put_pos(struct buf *out, struct raft_pos pos)
{
    buf_put_varint(out, pos.term);
    buf_put_varint(out, pos.index);
}

static struct raft_pos read_pos(struct bytes_reader *r)
{
    uint64_t term = bytes_read_varint(r), index = bytes_read_varint(r);
    return (struct raft_pos){term, index};
}

void node_meta_encode(const struct node_meta *m, struct buf *out)
{
    struct buf config = BUF_INIT;
    ASSERT(m->n_terms <= NODE_META_TERMS);
    ASSERT(m->kv_len <= KV_BYTES_MAX); /* or it could not be read again */
    raft_config_encode(&m->base.config, &config);
    buf_put_u8(out, NODE_META_VERSION);
    buf_put_uuid(out, m->cluster);
    put_pos(out, m->base.pos);
    put_pos(out, m->base.config_pos);
    buf_put_string(out, config.data, config.len);
    buf_put_u8(out, (uint8_t)m->n_terms);
    for (unsigned i = 0; i < m->n_terms; i++) {
        buf_put_varint(out, m->terms[i].term);
        buf_put_uuid(out, m->terms[i].leader);
    }
    buf_put_string(out, m->kv, m->kv_len);
    buf_free(&config);
}

static bool decode(struct bytes_reader *r, struct node_meta *m)
{
    size_t len = 0;
    m->cluster = bytes_read_uuid(r);
    m->base.pos = read_pos(r);
    m->base.config_pos = read_pos(r);
    const uint8_t *config = bytes_read_string(r, CONFIG_BYTES_MAX, &len);
    if (!config || raft_config_decode(config, len, &m->base.config) != 0)
        return false;
    m->n_terms = bytes_read_u8(r);
    if (m->n_terms > NODE_META_TERMS)
        return false;
    for (unsigned i = 0; i < m->n_terms; i++) {
        m->terms[i].term = bytes_read_varint(r);
        m->terms[i].leader = bytes_read_uuid(r);
    }
    m->kv = bytes_read_string(r, KV_BYTES_MAX, &m->kv_len);
    return bytes_reader_done(r) && m->base.pos.index > 0 &&
           m->base.config_pos.index <= m->base.pos.index;
}

int node_meta_decode(const void *p, size_t len, struct node_meta *ret_meta)
{
    struct bytes_reader r = bytes_reader(p, len);
    if (bytes_read_u8(&r) != NODE_META_VERSION)
        return bytes_reader_ok(&r) ? ERR_VERSION : ERR_CORRUPT;
    struct node_meta *m = mem_zalloc(sizeof *m);
    bool sane = decode(&r, m);
    if (sane)
        *ret_meta = *m;
    mem_free(m);
    return sane ? 0 : ERR_CORRUPT;
}

int node_meta_pos(const void *meta, size_t len, struct kv_pos *ret_pos)
{
    struct node_meta *m = mem_alloc(sizeof *m);
    int err = node_meta_decode(meta, len, m);
    if (err == 0)
        *ret_pos = (struct kv_pos){.term = m->base.pos.term, .index = m->base.pos.index};
    mem_free(m);
    return err;
}

int node_meta_kv_info(const void *p, size_t len, struct kv_meta_info *ret_info)
{
    struct node_meta *m = mem_alloc(sizeof *m);
    int err = node_meta_decode(p, len, m);
    if (err == 0)
        err = kv_meta_info(m->kv, m->kv_len, ret_info);
    mem_free(m);
    return err;
}

static void make_only_voter(struct raft_config *config, const struct storage_identity *who,
                            const char *addr)
{
    size_t len = strlen(addr);
    ASSERT(len <= LIMIT_ADDR_BYTES);
    memset(config, 0, sizeof *config);
    config->n_members = 1;
    config->members[0].id = who->node;
    config->members[0].incarnation = who->incarnation;
    config->members[0].roles = RAFT_VOTER;
    memcpy(config->members[0].addr, addr, len);
}

int node_meta_refound(const void *p, size_t len, const struct storage_identity *who,
                      const char *addr, struct buf *out, struct raft_base *ret_base)
{
    struct node_meta *m = mem_zalloc(sizeof *m);
    struct buf kv = BUF_INIT;
    int err = node_meta_decode(p, len, m);
    if (err == 0 && m->base.pos.index > UINT64_MAX / 2)
        err = ERR_CORRUPT;
    if (err == 0) {
        m->cluster = who->cluster;
        m->base.pos.index += NODE_META_SKIP;
        m->base.config_pos = m->base.pos;
        make_only_voter(&m->base.config, who, addr);
        err = kv_meta_move(m->kv, m->kv_len, (struct kv_pos){m->base.pos.term, m->base.pos.index},
                           &who->node, 1, &kv);
    }
    if (err == 0) {
        m->kv = kv.data;
        m->kv_len = kv.len;
        node_meta_encode(m, out);
        *ret_base = m->base;
    }
    buf_free(&kv);
    mem_free(m);
    return err == ERR_INVALID ? ERR_CORRUPT : err;
}
