/* SPDX-License-Identifier: MIT */
#include "api/once.h"

#include <gnutls/crypto.h>
#include <string.h>

#include "api/reply.h"
#include "api/route.h"
#include "base/assert.h"
#include "base/bytes.h"
#include "kv/command.h"

#define SHA256_BYTES       32
#define FULL_RETRY_AFTER_S 60 /* it empties slowly */
#define QUERY_OF_NO_MEANING                                                                        \
    (QUERY_V1 | QUERY_BIT(KEY_B64)) /* how to wait and to print; the key                           \
                                     */

bool once_check(struct http_exchange *x)
{
    const char *key = x->headers.idempotency_key;
    if (!key)
        return true;
    size_t len = strlen(key);
    if (x->headers.two_idempotency_keys)
        reply_bad_request(x, "more than one Idempotency-Key");
    else if (len == 0 || len > LIMIT_ONCE_NAME_BYTES)
        reply_bad_request(x, "an Idempotency-Key has 1 to %d bytes", LIMIT_ONCE_NAME_BYTES);
    return x->status == 0;
}

/* ---- the fingerprint ---- */

/* With its length, so that nothing can move from one part to the next. */
static void add(gnutls_hash_hd_t hash, const void *p, size_t len)
{
    uint8_t prefix[8];
    bytes_put_be(prefix, len, sizeof prefix);
    ASSERT(gnutls_hash(hash, prefix, sizeof prefix) == 0);
    if (len > 0)
        ASSERT(gnutls_hash(hash, p, len) == 0);
}

/* An absent one is not like an empty one. */
static void add_text(gnutls_hash_hd_t hash, const char *text)
{
    add(hash, text ? "+" : "-", 1);
    if (text)
        add(hash, text, strlen(text));
}

static void add_query(gnutls_hash_hd_t hash, const struct query *query)
{
    for (unsigned i = 0; i < QUERY_NAMES; i++) {
        uint8_t name = (uint8_t)i;
        if (!query->raw[i].text || (QUERY_OF_NO_MEANING >> i & 1))
            continue;
        add(hash, &name, 1);
        add(hash, query->raw[i].text, query->raw[i].len);
    }
}

static void fingerprint(const struct http_exchange *x, uint8_t out[KV_FINGERPRINT_BYTES])
{
    uint8_t digest[SHA256_BYTES];
    gnutls_hash_hd_t hash;
    ASSERT(gnutls_hash_init(&hash, GNUTLS_DIG_SHA256) == 0);
    add_text(hash, NULL); /* the caller, who is nobody yet */
    add_text(hash, http_method_text(x->method));
    add_text(hash, x->route->path);
    add(hash, x->param, x->param_len);
    add_query(hash, &x->query);
    add_text(hash, x->headers.if_match);
    add_text(hash, x->headers.if_none_match);
    add_text(hash, x->headers.content_type);
    add(hash, x->body.data, x->body.len);
    gnutls_hash_deinit(hash, digest);
    memcpy(out, digest, KV_FINGERPRINT_BYTES);
}

void once_put(const struct http_exchange *x, struct buf *body)
{
    const char *key = x->headers.idempotency_key;
    if (!key)
        return;
    struct kv_once once = {.name = (const uint8_t *)key, .name_len = strlen(key)};
    fingerprint(x, once.fingerprint);
    kv_once_encode(&once, body);
}

/* ---- errors ---- */

bool once_reply_error(struct http_exchange *x)
{
    const struct node_request *r = x->request;
    if (r->err == ERR_CONFLICT) {
        reply_err(x, 422, "IdempotencyKeyReused",
                  "this Idempotency-Key came with another request before; nothing was done");
        return true;
    }
    /* It has a place in the log: the store refused it, not a queue. */
    if (r->err != ERR_OVERLOADED || r->type != NODE_WRITE || r->ret.write.log_id.index == 0)
        return false;
    reply_api_err(x, 429, "Overloaded",
                  "too many idempotency keys, or answers too large all together, are remembered; "
                  "nothing was done. They are forgotten after ten minutes");
    x->retry_after_s = FULL_RETRY_AFTER_S;
    return true;
}
