/* SPDX-License-Identifier: MIT
 * Options of libcurl: PITFALLS part 2 says why each is there.
 */
#include "net/call.h"

#include <string.h>

#include "base/addr.h"
#include "base/assert.h"
#include "base/mem.h"

/* "http://", an address and the longest path */
enum { URL_BYTES_MAX = 7 + LIMIT_ADDR_BYTES + 64 };

#define SET(easy, option, value) ASSERT(curl_easy_setopt(easy, option, value) == CURLE_OK)

/* How much of an answer is taken. FORWARD's carries old values of deleted keys. */
static size_t reply_bytes_max(enum transport_path path)
{
    return path == TRANSPORT_FORWARD ? LIMIT_APPEND_BYTES : LIMIT_CONTROL_BYTES;
}

static size_t on_reply(char *p, size_t size, size_t n, void *ctx)
{
    struct call *c = ctx;
    size_t len = size * n;
    struct buf *reply = &c->r->reply;
    if (len > c->reply_bytes_max - reply->len)
        return 0; /* libcurl gives up: CURLE_WRITE_ERROR */
    buf_append(reply, p, len);
    return len;
}

struct curl_slist *call_headers_new(void)
{
    /* "Expect:" turns it off: a server that suspends a request would let us
     * wait for its 100 Continue. */
    struct curl_slist *list = curl_slist_append(NULL, "Expect:");
    list = curl_slist_append(list, "Accept:");
    list = curl_slist_append(list, "Content-Type: application/octet-stream");
    ASSERT(list);
    return list;
}

static void set_protocol(CURL *easy)
{
#if LIBCURL_VERSION_NUM >= 0x075500
    SET(easy, CURLOPT_PROTOCOLS_STR, "http");
#else
    SET(easy, CURLOPT_PROTOCOLS, (long)CURLPROTO_HTTP);
#endif
    SET(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(easy, CURLOPT_FOLLOWLOCATION, 0L);
    SET(easy, CURLOPT_PROXY, ""); /* never one of the environment's */
    SET(easy, CURLOPT_USERAGENT, "crabcluster");
    SET(easy, CURLOPT_POST, 1L);
}

static void set_connection(CURL *easy, const struct call_options *options)
{
    SET(easy, CURLOPT_NOSIGNAL, 1L);
    SET(easy, CURLOPT_TCP_NODELAY, 1L);
    SET(easy, CURLOPT_MAXAGE_CONN, (long)options->idle_max_s);
#if LIBCURL_VERSION_NUM >= 0x075700
    /* Names are looked up by libcurl's resolver threads (AsynchDNS). Ending a
     * transfer whose name is still being looked up joins that thread, and with
     * it everybody waits for a dead name server; this lets it go instead. */
    SET(easy, CURLOPT_QUICK_EXIT, 1L);
#endif
}

struct call *call_new(const struct call_options *options)
{
    struct call *c = mem_zalloc(sizeof *c);
    list_init(&c->link);
    c->easy = curl_easy_init();
    ASSERT(c->easy);
    set_protocol(c->easy);
    set_connection(c->easy, options);
    SET(c->easy, CURLOPT_HTTPHEADER, options->headers);
    SET(c->easy, CURLOPT_WRITEFUNCTION, on_reply);
    SET(c->easy, CURLOPT_WRITEDATA, c);
    SET(c->easy, CURLOPT_PRIVATE, c);
    return c;
}

void call_free(struct call **c)
{
    if (!*c)
        return;
    ASSERT(!(*c)->r);
    curl_easy_cleanup((*c)->easy);
    MEM_FREE(*c);
}

/* Nothing but HOST:PORT gets into a URL. */
static int make_url(const struct transport_request *r, char url[URL_BYTES_MAX + 1])
{
    struct addr addr;
    int err = addr_parse(r->addr, &addr);
    if (err < 0)
        return err;
    const char *path = transport_path_text(r->path);
    ASSERT(strlen(path) <= 64);
    strcpy(url, "http://");
    addr_format(&addr, url + strlen(url));
    strcat(url, path);
    return 0;
}

int call_prepare(struct call *c, const struct call_options *options, struct transport_request *r,
                 uint32_t timeout_ms)
{
    char url[URL_BYTES_MAX + 1];
    int err = make_url(r, url);
    if (err < 0)
        return err;
    uint32_t connect_ms =
        timeout_ms < options->connect_timeout_ms ? timeout_ms : options->connect_timeout_ms;
    SET(c->easy, CURLOPT_URL, url);
    SET(c->easy, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    SET(c->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms);
    /* Borrowed until the call is over. Without a pointer libcurl would ask a read function. */
    SET(c->easy, CURLOPT_POSTFIELDS, r->body.len ? (const char *)r->body.data : "");
    SET(c->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body.len);
    c->r = r;
    c->reply_bytes_max = reply_bytes_max(r->path);
    buf_clear(&r->reply);
    return 0;
}

/* The only place where libcurl's codes become ours.
 *
 * UNREACHABLE promises that the request did not arrive, so the error's name is
 * not enough: when a reused connection closes without an answer, libcurl sends
 * the POST again on a new one, up to five times, without a word
 * (Curl_retry_request; PITFALLS part 2 and item 59). If that one is refused,
 * the result is COULDNT_CONNECT although the first copy may have been carried
 * out. What counts is whether a byte of the request ever went out.
 *
 * The resending itself does no harm: raft messages are idempotent, forwarded
 * writes carry node, boot and sequence (PITFALLS 49), and membership commands
 * that are done already change nothing. */
static int translate(CURL *easy, CURLcode result)
{
    long sent_bytes = 0;
    if (result == CURLE_OK)
        return 0;
    if (curl_easy_getinfo(easy, CURLINFO_REQUEST_SIZE, &sent_bytes) == CURLE_OK && sent_bytes == 0)
        return ERR_UNREACHABLE;
    return result == CURLE_OPERATION_TIMEDOUT ? ERR_TIMEOUT : ERR_IO;
}

struct transport_request *call_finish(struct call *c, CURLcode result)
{
    struct transport_request *r = c->r;
    c->r = NULL;
    r->err = translate(c->easy, result);
    r->http_status = 0;
    if (r->err < 0) {
        buf_clear(&r->reply);
        return r;
    }
    long status = 0;
    ASSERT(curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status) == CURLE_OK);
    r->http_status = (int)status;
    return r;
}
