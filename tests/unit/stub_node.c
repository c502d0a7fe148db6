/* SPDX-License-Identifier: MIT */
#include "stub_node.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "kv/kv.h"
#include "kv/view.h"

#define TYPES (NODE_SNAPSHOT_CLOSE + 1)

struct node {
    pthread_mutex_t lock;
    pthread_cond_t more;
    pthread_t thread;
    struct list waiting;
    bool holding, shut_down, ending;
    struct uuid id;
    atomic_ullong leader_hi, leader_lo, stopped_ms;
    struct kv *kv;
    uint64_t seq, index;
    unsigned n_seen[TYPES];
    struct node_request last[TYPES];
    struct node_request answer[TYPES]; /* err and ret */
    struct node_status status;
    int peer_status;
    uint64_t backup_size, backup_revision;
    struct node_freshness freshness;
};

struct node_request *node_request_new(enum node_request_type type)
{
    struct node_request *r = mem_zalloc(sizeof *r);
    r->type = type;
    return r;
}

void node_request_free(struct node_request **r)
{
    struct node_request *it = *r;
    if (!it)
        return;
    if (it->type == NODE_WRITE) {
        buf_free(&it->in.write.body);
        buf_free(&it->ret.write.answer);
    } else if (it->type == NODE_PEER) {
        buf_free(&it->in.peer.body);
        buf_free(&it->ret.reply.body);
    } else if (it->type == NODE_SNAPSHOT_READ) {
        buf_free(&it->ret.snapshot.data);
    } else if (it->type == NODE_STATUS) {
        mem_free(it->ret.status);
    }
    MEM_FREE(*r);
}

static void apply(struct node *n, const struct buf *body, struct kv_result *ret_result)
{
    uint8_t header[KV_ORIGIN_BYTES_MAX];
    struct kv_origin origin = {n->id, 1, ++n->seq, n->seq, 1};
    struct buf command = BUF_INIT;
    buf_append(&command, header, kv_origin_encode(&origin, header));
    buf_append(&command, body->data, body->len);
    int err =
        kv_apply(n->kv, (struct kv_pos){1, ++n->index}, command.data, command.len, ret_result);
    ASSERT(err == 0);
    buf_free(&command);
}

static void serve_write(struct node *n, struct node_request *r)
{
    struct kv_result result;
    apply(n, &r->in.write.body, &result);
    r->err = result.err;
    r->ret.write.log_id = (struct node_log_id){result.pos.index, 1, n->id};
    buf_append(&r->ret.write.answer, result.answer, result.answer_len);
}

uint8_t stub_node_backup_byte(uint64_t i)
{
    return (uint8_t)(i * 2654435761u >> 13);
}

static void serve_piece(const struct node *n, struct node_request *r)
{
    ASSERT(r->in.snapshot.id == 7);
    ASSERT(r->in.snapshot.offset + r->in.snapshot.len <= n->backup_size);
    buf_reserve(&r->ret.snapshot.data, r->in.snapshot.len);
    for (uint32_t i = 0; i < r->in.snapshot.len; i++)
        r->ret.snapshot.data.data[i] = stub_node_backup_byte(r->in.snapshot.offset + i);
    r->ret.snapshot.data.len = r->in.snapshot.len;
}

/* With the lock held. */
static void serve(struct node *n, struct node_request *r)
{
    const struct node_request *answer = &n->answer[r->type];
    r->err = n->shut_down ? ERR_SHUTDOWN : answer->err;
    switch (r->type) {
    case NODE_WRITE:
        if (!r->err)
            serve_write(n, r);
        break;
    case NODE_STATUS:
        r->ret.status = mem_dup(&n->status, sizeof n->status);
        break;
    case NODE_PEER:
        r->ret.reply.http_status = n->peer_status;
        buf_append(&r->ret.reply.body, r->in.peer.body.data, r->in.peer.body.len);
        break;
    case NODE_SNAPSHOT_OPEN:
        r->ret.snapshot.id = 7;
        r->ret.snapshot.size = n->backup_size;
        r->ret.snapshot.at = (struct node_log_id){n->backup_revision, 1, n->id};
        break;
    case NODE_SNAPSHOT_READ:
        if (!r->err)
            serve_piece(n, r);
        break;
    case NODE_SNAPSHOT_CLOSE:
        break;
    default:
        r->ret = answer->ret;
        break;
    }
}

static void *run(void *arg)
{
    struct node *n = arg;
    pthread_mutex_lock(&n->lock);
    for (;;) {
        while (!n->ending && (list_is_empty(&n->waiting) || n->holding) &&
               !(n->shut_down && !list_is_empty(&n->waiting)))
            pthread_cond_wait(&n->more, &n->lock);
        if (list_is_empty(&n->waiting))
            break;
        struct list batch;
        list_init(&batch);
        list_splice(&batch, &n->waiting);
        LIST_FOREACH (it, &batch)
            serve(n, LIST_ENTRY(it, struct node_request, link));
        pthread_mutex_unlock(&n->lock);
        for (struct list *it; (it = list_pop_front(&batch));) {
            struct node_request *r = LIST_ENTRY(it, struct node_request, link);
            r->done(r);
        }
        pthread_mutex_lock(&n->lock);
    }
    pthread_mutex_unlock(&n->lock);
    return NULL;
}

struct node *stub_node_new(void)
{
    struct node *n = mem_zalloc(sizeof *n);
    pthread_mutex_init(&n->lock, NULL);
    pthread_cond_init(&n->more, NULL);
    list_init(&n->waiting);
    if (uuid_parse_text(STUB_NODE_ID, UUID_TEXT_LEN, &n->id) != 0)
        return NULL;
    n->kv = kv_new();
    n->index = 1;
    n->peer_status = 200;
    n->freshness = (struct node_freshness){.member = true, .known = true, .age_ms = 7};
    kv_apply_members(n->kv, (struct kv_pos){1, 1}, &n->id, 1);
    pthread_create(&n->thread, NULL, run, n);
    return n;
}

void stub_node_free(struct node **n)
{
    struct node *it = *n;
    stub_node_shut_down(it);
    pthread_mutex_lock(&it->lock);
    it->ending = true;
    pthread_cond_signal(&it->more);
    pthread_mutex_unlock(&it->lock);
    pthread_join(it->thread, NULL);
    pthread_mutex_destroy(&it->lock);
    pthread_cond_destroy(&it->more);
    kv_free(&it->kv);
    MEM_FREE(*n);
}

void node_submit(struct node *n, struct node_request *r)
{
    pthread_mutex_lock(&n->lock);
    bool was_empty = list_is_empty(&n->waiting);
    list_push_back(&n->waiting, &r->link);
    n->n_seen[r->type]++;
    if (r->type != NODE_WRITE)
        n->last[r->type] = *r;
    pthread_mutex_unlock(&n->lock);
    if (was_empty)
        pthread_cond_signal(&n->more);
}

void node_submit_all(struct node *n, struct list *requests)
{
    struct list *it;
    while ((it = list_pop_front(requests)) != NULL)
        node_submit(n, LIST_ENTRY(it, struct node_request, link));
}

int node_get(struct node *n, const void *key, size_t key_len, struct buf *out)
{
    struct kv_value v;
    pthread_mutex_lock(&n->lock);
    int err = kv_get(n->kv, key, key_len, &v);
    if (!err)
        buf_append(out, v.data, v.len);
    pthread_mutex_unlock(&n->lock);
    return err;
}

int node_get_value(struct node *n, const void *key, size_t key_len, struct kv_value *ret_info,
                   struct buf *value, struct buf *attrs)
{
    struct kv_value v;
    pthread_mutex_lock(&n->lock);
    int err = kv_get(n->kv, key, key_len, &v);
    if (!err && value)
        buf_append(value, v.data, v.len);
    if (!err && attrs)
        buf_append(attrs, v.attrs, v.attrs_len);
    if (!err)
        *ret_info = v;
    pthread_mutex_unlock(&n->lock);
    return err;
}

struct kv_view *node_view(struct node *n)
{
    pthread_mutex_lock(&n->lock);
    struct kv_view *view = kv_view_new(n->kv);
    pthread_mutex_unlock(&n->lock);
    return view;
}

struct node_freshness node_freshness(struct node *n)
{
    pthread_mutex_lock(&n->lock);
    struct node_freshness f = n->freshness;
    f.applied = n->index;
    pthread_mutex_unlock(&n->lock);
    return f;
}

void stub_node_set_freshness(struct node *n, struct node_freshness f)
{
    pthread_mutex_lock(&n->lock);
    n->freshness = f;
    pthread_mutex_unlock(&n->lock);
}

struct uuid node_id(const struct node *n)
{
    return n->id;
}

struct uuid node_leader_hint(const struct node *n)
{
    return (struct uuid){atomic_load(&n->leader_hi), atomic_load(&n->leader_lo)};
}

uint64_t node_last_turn_ms(const struct node *n)
{
    uint64_t stopped_ms = atomic_load(&n->stopped_ms);
    return clock_now_ms() - stopped_ms;
}

void stub_node_set_stopped(struct node *n, uint64_t ms)
{
    atomic_store(&n->stopped_ms, ms);
}

void stub_node_script(struct node *n, enum node_request_type type, int err,
                      const struct node_request *ret)
{
    pthread_mutex_lock(&n->lock);
    n->answer[type] = ret ? *ret : (struct node_request){.type = type};
    n->answer[type].err = err;
    pthread_mutex_unlock(&n->lock);
}

void stub_node_script_peer(struct node *n, int http_status)
{
    pthread_mutex_lock(&n->lock);
    n->peer_status = http_status;
    pthread_mutex_unlock(&n->lock);
}

void stub_node_set_status(struct node *n, const struct node_status *status)
{
    pthread_mutex_lock(&n->lock);
    n->status = *status;
    pthread_mutex_unlock(&n->lock);
}

void stub_node_set_backup(struct node *n, uint64_t size, uint64_t revision)
{
    pthread_mutex_lock(&n->lock);
    n->backup_size = size;
    n->backup_revision = revision;
    pthread_mutex_unlock(&n->lock);
}

void stub_node_set_leader(struct node *n, struct uuid leader)
{
    atomic_store(&n->leader_hi, leader.hi);
    atomic_store(&n->leader_lo, leader.lo);
}

void stub_node_hold(struct node *n, bool hold)
{
    pthread_mutex_lock(&n->lock);
    n->holding = hold;
    pthread_cond_signal(&n->more);
    pthread_mutex_unlock(&n->lock);
}

void stub_node_shut_down(struct node *n)
{
    pthread_mutex_lock(&n->lock);
    n->shut_down = true;
    pthread_cond_signal(&n->more);
    pthread_mutex_unlock(&n->lock);
}

unsigned stub_node_waiting(struct node *n)
{
    unsigned waiting = 0;
    pthread_mutex_lock(&n->lock);
    LIST_FOREACH (it, &n->waiting)
        waiting++;
    pthread_mutex_unlock(&n->lock);
    return waiting;
}

unsigned stub_node_count(struct node *n, enum node_request_type type)
{
    pthread_mutex_lock(&n->lock);
    unsigned seen = n->n_seen[type];
    pthread_mutex_unlock(&n->lock);
    return seen;
}

void stub_node_put(struct node *n, const char *key, const void *value, size_t len)
{
    struct kv_op op = {.type = KV_OP_SET,
                       .key = (const uint8_t *)key,
                       .key_len = strlen(key),
                       .value = value,
                       .value_len = len};
    struct buf body = BUF_INIT;
    struct kv_result result;
    kv_body_encode(KV_SINGLE, &op, 1, &body);
    pthread_mutex_lock(&n->lock);
    apply(n, &body, &result);
    pthread_mutex_unlock(&n->lock);
    buf_free(&body);
}

struct node_request stub_node_last(struct node *n, enum node_request_type type)
{
    pthread_mutex_lock(&n->lock);
    struct node_request last = n->last[type];
    pthread_mutex_unlock(&n->lock);
    return last;
}
