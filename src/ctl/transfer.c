/* SPDX-License-Identifier: MIT */
#include "ctl/transfer.h"

#include <string.h>

#define CONNECT_MS       2000
#define SILENCE_S        8                   /* above the daemon's request-timeout of 5 s */
#define SLOW_SILENCE_S   660                 /* a backup is made before its first byte is sent */
#define ANSWER_BYTES_MAX (256 * 1024 * 1024) /* a value in JSON and base64, and some more */

static size_t on_header(char *p, size_t size, size_t n, void *ctx)
{
    struct transfer *t = ctx;
    answer_header(t->answer, p, size * n);
    return size * n;
}

static size_t on_body(char *p, size_t size, size_t n, void *ctx)
{
    struct transfer *t = ctx;
    long status = 0;
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
    if (t->request->sink && status / 100 == 2) {
        if (!t->begun) /* silence may now be ours: whoever reads our output takes his time */
            curl_easy_setopt(t->curl, CURLOPT_LOW_SPEED_TIME, (long)SLOW_SILENCE_S);
        t->begun = true;
        t->sink_failed = t->request->sink(t->request->ctx, p, size * n) < 0;
        return t->sink_failed ? 0 : size * n;
    }
    t->too_large = t->answer->body.len + size * n > ANSWER_BYTES_MAX;
    if (t->too_large)
        return 0;
    buf_append(&t->answer->body, p, size * n);
    return size * n;
}

static struct curl_slist *make_headers(const struct request *r)
{
    struct curl_slist *list = curl_slist_append(NULL, "Expect:");
    bool typed = false;
    for (unsigned i = 0; i < r->n_headers; i++) {
        list = curl_slist_append(list, r->headers[i]);
        typed = typed || strncmp(r->headers[i], "Content-Type:", 13) == 0;
    }
    if (!typed)
        list = curl_slist_append(list, "Content-Type:");
    if (r->repeat == REQUEST_ONCE) {
        char line[REQUEST_ONCE_MAX + 32];
        snprintf(line, sizeof line, "Idempotency-Key: %s", r->once);
        list = curl_slist_append(list, line);
    }
    return list;
}

/* Silence, not time as such: a large value may take its time. */
static void set_limits(CURL *curl, uint64_t timeout_ms, bool slow)
{
    long silence_s = slow ? SLOW_SILENCE_S : SILENCE_S;
    if (timeout_ms > 0)
        silence_s = (long)(timeout_ms / 1000) + 2; /* the daemon answers before */
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, silence_s);
}

void transfer_start(struct transfer *t, CURL *curl, const struct client *client, unsigned endpoint,
                    struct request *r, struct answer *ret_answer)
{
    struct buf url = BUF_INIT;
    *t = (struct transfer){.curl = curl,
                           .client = client,
                           .endpoint = endpoint,
                           .request = r,
                           .answer = ret_answer,
                           .headers = make_headers(r)};
    buf_append_str(&url, client_base(client, endpoint));
    buf_append(&url, r->target.data, r->target.len);
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, buf_str(&url));
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "crabclusterctl/" CTL_VERSION);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, t->headers);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, t->error);
    curl_easy_setopt(curl, CURLOPT_PRIVATE, t);
    if (r->body) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body_len);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, r->body);
    }
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, r->method);
    /* libcurl sends again by itself what a kept connection did not answer (PITFALLS part 2). */
    curl_easy_setopt(curl, CURLOPT_FRESH_CONNECT, r->repeat == REQUEST_UNSAFE ? 1L : 0L);
    set_limits(curl, client_timeout_ms(client), r->slow);
    buf_free(&url);
}

struct outcome transfer_end(struct transfer *t, CURLcode code, struct buf *why)
{
    long status = 0, sent = 0;
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(t->curl, CURLINFO_REQUEST_SIZE, &sent);
    curl_slist_free_all(t->headers);
    t->headers = NULL;
    buf_clear(why);
    if (code == CURLE_OK) {
        t->answer->status = (unsigned)status;
        if (status / 100 != 2)
            client_reason(t->answer, why);
    } else if (!t->sink_failed) { /* the sink has said why */
        buf_printf(why, "%s: %s", client_addr(t->client, t->endpoint),
                   t->too_large  ? "the answer is too large"
                   : t->error[0] ? t->error
                                 : curl_easy_strerror(code));
    }
    return (struct outcome){sent > 0, t->begun || t->too_large};
}
