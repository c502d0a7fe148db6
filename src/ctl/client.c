/* SPDX-License-Identifier: MIT */
#include "ctl/client.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/clock.h"
#include "base/mem.h"
#include "ctl/commands.h"
#include "ctl/doc.h"
#include "ctl/transfer.h"

#define DEFAULT_ENDPOINTS "127.0.0.1:8080"
#define RETRY_MS          10000
#define PAUSE_US          100000

struct client {
    char *base[CLIENT_ENDPOINTS_MAX]; /* owned */
    unsigned n_endpoints;
    unsigned current;    /* the one that answered last */
    uint64_t timeout_ms; /* 0: not given */
    CURL *curl;          /* owned; NULL before the first request */
};

/* ---- endpoints ---- */

static int add_endpoint(struct client *client, const char *text, size_t len)
{
    char addr_text[ADDR_TEXT_MAX + 16], url[ADDR_TEXT_MAX + 32];
    struct addr addr;
    static const char scheme[] = "http://";
    snprintf(addr_text, sizeof addr_text, "%.*s", (int)len, text);
    const char *rest = addr_text;
    if (strncmp(rest, scheme, sizeof scheme - 1) == 0)
        rest += sizeof scheme - 1;
    size_t n = strlen(rest);
    if (n > 0 && rest[n - 1] == '/')
        addr_text[strlen(addr_text) - 1] = '\0';
    if (len >= sizeof addr_text || addr_parse(rest, &addr) < 0) {
        ctl_fail(CTL_USAGE, "endpoints: '%.*s' is no HOST:PORT", (int)len, text);
        return ERR_INVALID;
    }
    if (client->n_endpoints == CLIENT_ENDPOINTS_MAX) {
        ctl_fail(CTL_USAGE, "endpoints: at most %d", CLIENT_ENDPOINTS_MAX);
        return ERR_INVALID;
    }
    snprintf(url, sizeof url, "%s%s", scheme, addr_format(&addr, addr_text));
    client->base[client->n_endpoints++] = mem_strdup(url);
    return 0;
}

static int read_endpoints(struct client *client, const char *list)
{
    while (*list) {
        size_t len = strcspn(list, ", ");
        if (len > 0 && add_endpoint(client, list, len) < 0)
            return ERR_INVALID;
        list += len + (list[len] != '\0');
    }
    if (client->n_endpoints > 0)
        return 0;
    ctl_fail(CTL_USAGE, "endpoints: none is named");
    return ERR_INVALID;
}

int client_new(const struct args *args, struct client **ret_client)
{
    struct client *client = mem_zalloc(sizeof *client);
    const char *list = args->value[FLAG_ENDPOINTS];
    if (!list)
        list = getenv("CRABCLUSTER_ENDPOINTS");
    int err = read_endpoints(client, list && list[0] ? list : DEFAULT_ENDPOINTS);
    if (!err)
        err = args_duration_ms(args, FLAG_TIMEOUT, 1, 600000, 0, &client->timeout_ms);
    if (err)
        client_free(&client);
    else
        *ret_client = client;
    return err;
}

void client_free(struct client **client)
{
    struct client *c = *client;
    if (!c)
        return;
    if (c->curl)
        curl_easy_cleanup(c->curl);
    for (unsigned i = 0; i < c->n_endpoints; i++)
        mem_free(c->base[i]);
    MEM_FREE(*client);
}

unsigned client_n_endpoints(const struct client *client)
{
    return client->n_endpoints;
}

const char *client_base(const struct client *client, unsigned i)
{
    return client->base[i];
}

const char *client_addr(const struct client *client, unsigned i)
{
    return client->base[i] + strlen("http://");
}

uint64_t client_timeout_ms(const struct client *client)
{
    return client->timeout_ms;
}

/* ---- one attempt ---- */

static struct outcome attempt(const struct ctl *c, unsigned endpoint, struct request *r,
                              struct answer *ret_answer, struct buf *why)
{
    struct client *client = c->client;
    struct transfer t;
    if (!client->curl)
        client->curl = curl_easy_init();
    transfer_start(&t, client->curl, client, endpoint, r, ret_answer);
    return transfer_end(&t, curl_easy_perform(client->curl), why);
}

enum verdict client_judge(enum request_repeat repeat, bool sent, unsigned http_status)
{
    if (http_status == 0 ? !sent : http_status == 503) /* 503: not attempted */
        return VERDICT_ELSEWHERE;
    if (http_status != 0 && http_status != 504)
        return VERDICT_DONE;
    return repeat == REQUEST_READ ? VERDICT_ELSEWHERE : VERDICT_UNSETTLED;
}

/* ---- what an answer means ---- */

int client_exit_status(enum request_repeat repeat, unsigned http_status)
{
    switch (http_status) {
    case 401:
    case 403:
        return CTL_NOT_ALLOWED;
    case 404:
        return CTL_NOT_FOUND;
    case 412:
        return CTL_CONDITION;
    case 0:
    case 503:
        return CTL_UNREACHABLE;
    case 504:
        return repeat == REQUEST_READ ? CTL_UNREACHABLE : CTL_UNKNOWN;
    default:
        return CTL_FAILURE;
    }
}

void client_reason(const struct answer *a, struct buf *out)
{
    struct json_object *doc = doc_parse(a->body.data, a->body.len);
    struct json_object *error = doc_member(doc, "error"), *classic = doc_member(doc, "Err");
    const char *text = doc_text(error, "message");
    if (text)
        buf_append_str(out, text);
    else if (classic)
        buf_printf(out, "HTTP status %u: %s", a->status,
                   json_object_to_json_string_ext(classic, JSON_C_TO_STRING_PLAIN));
    else
        buf_printf(out, "HTTP status %u", a->status);
    json_object_put(doc);
}

/* After an attempt of which nobody knows: this answer is of the log, and so settles it. */
static bool settles(unsigned http_status)
{
    return http_status / 100 == 2 || http_status == 404 || http_status == 409 || http_status == 412;
}

/* ---- all attempts ---- */

struct sending {
    const struct ctl *c;
    struct request *request;
    struct answer *answer;
    unsigned n_endpoints;
    bool unsettled;
    struct buf why; /* of the last attempt that came to nothing */
};

/* True: it is over. */
static bool try_one(struct sending *s, unsigned endpoint, int *ret_status)
{
    answer_free(s->answer);
    *s->answer = (struct answer){.status = 0};
    struct outcome o = attempt(s->c, endpoint, s->request, s->answer, &s->why);
    enum request_repeat repeat = s->request->repeat;
    enum verdict v = client_judge(repeat, o.sent, s->answer->status);
    if (v == VERDICT_DONE && s->unsettled && !settles(s->answer->status))
        v = VERDICT_UNSETTLED;
    if (v == VERDICT_DONE) {
        s->c->client->current = endpoint;
        *ret_status =
            s->answer->status / 100 == 2 ? CTL_OK : client_exit_status(repeat, s->answer->status);
        return true;
    }
    s->unsettled = s->unsettled || v == VERDICT_UNSETTLED;
    *ret_status = CTL_FAILURE;
    if (o.begun && repeat == REQUEST_READ)
        return true;
    *ret_status = CTL_UNKNOWN;
    return s->unsettled && repeat == REQUEST_UNSAFE;
}

static bool try_all(struct sending *s, int *ret_status)
{
    unsigned start = s->c->client->current;
    for (unsigned i = 0; i < s->n_endpoints; i++)
        if (try_one(s, (start + i) % s->n_endpoints, ret_status))
            return true;
    return false;
}

static int send_to(const struct ctl *c, struct request *r, unsigned n_endpoints,
                   struct answer *ret_answer)
{
    struct sending s = {.c = c, .request = r, .answer = ret_answer, .n_endpoints = n_endpoints};
    uint64_t limit_ms = c->client->timeout_ms ? c->client->timeout_ms : RETRY_MS;
    uint64_t deadline_ms = clock_now_ms() + limit_ms;
    int status = CTL_FAILURE;
    bool over = try_all(&s, &status);
    while (!over && s.unsettled && clock_now_ms() < deadline_ms) {
        usleep(PAUSE_US);
        over = try_all(&s, &status);
    }
    if (!over)
        status = s.unsettled ? CTL_UNKNOWN : client_exit_status(r->repeat, ret_answer->status);
    if (status == CTL_UNKNOWN)
        ctl_fail(CTL_UNKNOWN, "whether it was done is not known: %s", buf_str(&s.why));
    else if (status != CTL_OK && s.why.len > 0)
        ctl_fail(CTL_FAILURE, "%s", buf_str(&s.why));
    buf_free(&s.why);
    return status;
}

bool client_prints(const struct ctl *c)
{
    return args_has(c->args, FLAG_CURL);
}

static void add_timeout(const struct ctl *c, struct request *r)
{
    if (args_has(c->args, FLAG_TIMEOUT) && strncmp((char *)r->target.data, "/v1/", 4) == 0)
        request_query_str(r, "timeout", c->args->value[FLAG_TIMEOUT]);
}

int client_ask(const struct ctl *c, struct request *r, struct answer *ret_answer)
{
    *ret_answer = (struct answer){.status = 0};
    add_timeout(c, r);
    return send_to(c, r, c->client->n_endpoints, ret_answer);
}

int client_send(const struct ctl *c, struct request *r, struct answer *ret_answer)
{
    if (!client_prints(c))
        return client_ask(c, r, ret_answer);
    *ret_answer = (struct answer){.status = 0};
    add_timeout(c, r);
    struct buf line = BUF_INIT;
    request_curl_line(r, c->client->base[0], &line);
    puts(buf_str(&line));
    buf_free(&line);
    return CTL_PRINTED;
}
