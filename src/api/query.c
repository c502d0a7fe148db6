/* SPDX-License-Identifier: MIT */
#include "api/query.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "api/decode.h"
#include "api/reply.h"
#include "api/route.h"

/* Of a value that is a word, a number or a duration, decoded. */
#define SHORT_BYTES 64

static const char *const names[] = {
#define X(name, text) text,
    QUERY_LIST(X)
#undef X
};

const char *query_name_text(enum query_name name)
{
    return names[name];
}

bool query_has(const struct http_exchange *x, enum query_name name)
{
    return x->query.raw[name].text != NULL;
}

static bool refuse(struct http_exchange *x, enum query_name name, const char *expected)
{
    reply_bad_request(x, "the query parameter %s is not understood; it takes %s", names[name],
                      expected);
    return false;
}

/* A short value as a string; false when it is none. */
static bool short_text(const struct http_exchange *x, enum query_name name,
                       char out[SHORT_BYTES + 1], size_t *ret_len)
{
    if (decode_percent(x->query.raw[name].text, x->query.raw[name].len, true, out, SHORT_BYTES,
                       ret_len) != 0)
        return false;
    out[*ret_len] = 0;
    return true;
}

static bool refuse_word(struct http_exchange *x, enum query_name name, const char *const words[])
{
    char expected[200] = "";
    size_t used = 0;
    for (unsigned i = 0; words[i]; i++)
        used += (size_t)snprintf(expected + used, sizeof expected - used, "%s%s", i ? ", " : "",
                                 words[i]);
    return refuse(x, name, expected);
}

bool query_word(struct http_exchange *x, enum query_name name, const char *const words[],
                unsigned *ret)
{
    char text[SHORT_BYTES + 1];
    size_t len = 0;
    if (!query_has(x, name))
        return true;
    if (!short_text(x, name, text, &len))
        return refuse_word(x, name, words);
    for (unsigned i = 0; words[i]; i++) {
        if (strlen(words[i]) == len && memcmp(words[i], text, len) == 0) {
            *ret = i;
            return true;
        }
    }
    return refuse_word(x, name, words);
}

bool query_flag(struct http_exchange *x, enum query_name name, bool *ret)
{
    static const char *const words[] = {"0", "1", "false", "true", "no", "yes", NULL};
    unsigned word = 1;
    if (!query_has(x, name))
        return true;
    if (x->query.raw[name].len > 0 && !query_word(x, name, words, &word))
        return false;
    *ret = word % 2;
    return true;
}

bool query_u64(struct http_exchange *x, enum query_name name, uint64_t min, uint64_t max,
               uint64_t *ret)
{
    char text[SHORT_BYTES + 1], expected[100];
    size_t len = 0;
    uint64_t value = 0;
    if (!query_has(x, name))
        return true;
    if (short_text(x, name, text, &len) && decode_u64(text, len, &value) == 0 && value >= min &&
        value <= max) {
        *ret = value;
        return true;
    }
    snprintf(expected, sizeof expected, "a decimal number from %" PRIu64 " to %" PRIu64, min, max);
    return refuse(x, name, expected);
}

bool query_i64(struct http_exchange *x, enum query_name name, int64_t *ret)
{
    static const char expected[] = "a decimal number within 64 bits";
    char text[SHORT_BYTES + 1];
    size_t len = 0;
    if (!query_has(x, name))
        return true;
    if (!short_text(x, name, text, &len))
        return refuse(x, name, expected);
    const char *digits = text[0] == ' ' ? text + 1 : text; /* a plus, which is a space here */
    return decode_i64(digits, len - (size_t)(digits - text), ret) == 0 || refuse(x, name, expected);
}

bool query_duration(struct http_exchange *x, enum query_name name, uint64_t min_ms, uint64_t max_ms,
                    uint64_t *ret_ms)
{
    char text[SHORT_BYTES + 1], expected[160];
    size_t len = 0;
    uint64_t ms = 0;
    if (!query_has(x, name))
        return true;
    if (short_text(x, name, text, &len) && decode_duration(text, len, &ms) == 0 && ms >= min_ms &&
        ms <= max_ms) {
        *ret_ms = ms;
        return true;
    }
    snprintf(expected, sizeof expected,
             "a decimal number and its unit ms, s, m or h, such as 30s, from %" PRIu64
             "ms to %" PRIu64 "s",
             min_ms, max_ms / 1000);
    return refuse(x, name, expected);
}

bool query_bytes(struct http_exchange *x, enum query_name name, size_t max, struct buf *ret)
{
    size_t len = 0;
    if (!query_has(x, name))
        return true;
    buf_reserve(ret, max);
    int err = decode_percent(x->query.raw[name].text, x->query.raw[name].len, true,
                             (char *)ret->data + ret->len, max, &len);
    if (err == ERR_TOO_LARGE)
        reply_too_large(x, "the query parameter %s is longer than %zu bytes (no option)",
                        names[name], max);
    else if (err)
        return refuse(x, name, "percent-encoded bytes");
    ret->len += len;
    return err == 0;
}

/* ---- all of them ---- */

static int number_of(const char *name, size_t len)
{
    for (int i = 0; i < QUERY_NAMES; i++)
        if (strlen(names[i]) == len && memcmp(names[i], name, len) == 0)
            return i;
    return -1;
}

static bool note(void *ctx, const char *name, size_t name_len, const char *value, size_t value_len)
{
    struct http_exchange *x = ctx;
    struct query *q = &x->query;
    int i = number_of(name, name_len);
    unsigned bit = i < 0 ? 0 : 1u << i;
    int shown = (int)(name_len < SHORT_BYTES ? name_len : SHORT_BYTES);
    if (bit & QUERY_LATER)
        reply_err(x, 501, "NotImplemented",
                  "not_implemented: this version has no query parameter \"%.*s\"", shown, name);
    else if (!(bit & x->route->query))
        reply_bad_request(x, "%s takes no query parameter \"%.*s\"", x->route->path, shown, name);
    else if (q->raw[i].text)
        reply_bad_request(x, "the query parameter %s is there twice", names[i]);
    else {
        q->raw[i].text = value ? value : "";
        q->raw[i].len = value ? value_len : 0;
    }
    return x->status == 0;
}

void query_read(struct http_exchange *x)
{
    static const char *const consistencies[] = {"linearizable", "lease", "stale", NULL};
    struct query *q = &x->query;
    unsigned consistency = 0;
    uint64_t timeout_ms = 0;
    http_visit_query(x, note, x);
    if (x->status == 0 && query_flag(x, QUERY_PRETTY, &q->pretty) &&
        query_word(x, QUERY_CONSISTENCY, consistencies, &consistency) &&
        query_u64(x, QUERY_MIN_REVISION, 0, UINT64_MAX, &q->min_revision) &&
        query_duration(x, QUERY_TIMEOUT, 1, QUERY_DURATION_MAX_MS, &timeout_ms)) {
        q->consistency = (enum query_consistency)consistency;
        q->timeout_ms = (uint32_t)timeout_ms;
    }
}
