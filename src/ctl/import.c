/* SPDX-License-Identifier: MIT
 * import: lines of JSON become keys again, many at a time. A key that is under
 * way waits for itself, so that of two lines with one key the later one counts.
 *
 * Every write stands by itself and says the same each time, so that it is sent
 * again when nobody knows whether it was carried out: the table of
 * Idempotency-Keys would not hold a large import's.
 */
#include "ctl/handlers.h"

#include <curl/curl.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "ctl/client.h"
#include "ctl/ctl.h"
#include "ctl/doc.h"
#include "ctl/progress.h"
#include "ctl/text.h"
#include "ctl/transfer.h"

#define CLIENTS        32
#define CLIENTS_MAX    256
#define BYTES_AT_ONCE  (96 * MIB) /* of values under way; one is always allowed */
#define GIVE_UP_MS     30000      /* of trying one write */
#define PAUSE_MS       100
#define LINE_BYTES_MAX ((size_t)LIMIT_VALUE_BYTES * 7)

/* A line that is being stored. */
struct job {
    bool busy, waiting; /* waiting: to be tried again at again_ms */
    CURL *curl;         /* owned */
    struct transfer transfer;
    struct request request;
    struct answer answer;
    struct buf key, value;
    uint64_t line, begin_ms, again_ms;
    unsigned endpoint, n_tries;
};

struct import {
    struct ctl *c;
    CURLM *multi;
    struct job *jobs;  /* owned */
    unsigned endpoint; /* where writes begin: the last one that nothing spoke against */
    unsigned n_jobs, n_busy;
    size_t busy_bytes;
    uint64_t n_lines, n_stored, n_skipped;
    int status; /* of the first failure */
    struct progress progress;
    uint64_t at, total; /* bytes of the input */
};

/* ---- one write ---- */

static void start(struct import *im, struct job *j)
{
    answer_free(&j->answer);
    j->answer = (struct answer){.status = 0};
    j->waiting = false;
    transfer_start(&j->transfer, j->curl, im->c->client, j->endpoint, &j->request, &j->answer);
    curl_multi_add_handle(im->multi, j->curl);
}

static void end(struct import *im, struct job *j)
{
    im->busy_bytes -= j->value.len;
    im->n_busy--;
    j->busy = j->waiting = false;
    request_free(&j->request);
    answer_free(&j->answer);
    buf_free(&j->value);
    buf_clear(&j->key);
}

static void fail(struct import *im, const struct job *j, int status, const char *why)
{
    if (im->status != CTL_OK)
        return;
    im->status = status;
    ctl_fail(CTL_FAILURE, "line %" PRIu64 ": %s", j->line, why);
}

/* At once when nobody was there, unless nobody was anywhere. */
static void go_elsewhere(struct import *im, struct job *j, bool sent)
{
    unsigned n = client_n_endpoints(im->c->client);
    if (j->endpoint == im->endpoint)
        im->endpoint = (im->endpoint + 1) % n;
    j->endpoint = (j->endpoint + 1) % n;
    j->n_tries++;
    j->again_ms = clock_now_ms() + (sent || j->n_tries % n == 0 ? PAUSE_MS : 0);
}

/* An attempt is over. */
static void settle(struct import *im, struct job *j, CURLcode code)
{
    struct buf why = BUF_INIT;
    struct outcome o = transfer_end(&j->transfer, code, &why);
    unsigned status = j->answer.status;
    bool absent_only = args_has(im->c->args, FLAG_IF_ABSENT);
    bool again = client_judge(REQUEST_ONCE, o.sent, status) != VERDICT_DONE || status == 429;
    if (again && im->status == CTL_OK && clock_now_ms() - j->begin_ms < GIVE_UP_MS) {
        go_elsewhere(im, j, o.sent);
        j->waiting = true;
        buf_free(&why);
        return;
    }
    if (status / 100 == 2)
        im->n_stored++;
    else if (status == 412 && absent_only)
        im->n_skipped++;
    else
        fail(im, j, client_exit_status(REQUEST_ONCE, status), buf_str(&why));
    end(im, j);
    buf_free(&why);
}

/* ---- all that are under way ---- */

static void restart_waiting(struct import *im)
{
    uint64_t now = clock_now_ms();
    for (unsigned i = 0; i < im->n_jobs; i++)
        if (im->jobs[i].waiting && now >= im->jobs[i].again_ms)
            start(im, &im->jobs[i]);
}

static void turn(struct import *im)
{
    int n_running, n_left;
    CURLMsg *m;
    restart_waiting(im);
    curl_multi_perform(im->multi, &n_running);
    while ((m = curl_multi_info_read(im->multi, &n_left)) != NULL) {
        struct transfer *t = NULL;
        CURLcode code = m->data.result;
        CURL *curl = m->easy_handle;
        curl_easy_getinfo(curl, CURLINFO_PRIVATE, &t);
        curl_multi_remove_handle(im->multi, curl);
        settle(im, (struct job *)((char *)t - offsetof(struct job, transfer)), code);
    }
    progress_bytes(&im->progress, im->at, im->total);
}

static void wait_a_turn(struct import *im)
{
    curl_multi_poll(im->multi, NULL, 0, PAUSE_MS, NULL);
    turn(im);
}

static bool key_is_busy(const struct import *im, const struct buf *key)
{
    for (unsigned i = 0; i < im->n_jobs; i++) {
        const struct job *j = &im->jobs[i];
        if (j->busy && j->key.len == key->len && memcmp(j->key.data, key->data, key->len) == 0)
            return true;
    }
    return false;
}

static struct job *free_job(struct import *im)
{
    unsigned i = 0;
    while (im->jobs[i].busy)
        i++;
    return &im->jobs[i];
}

/* Waits until this write may begin: NULL after a failure. */
static struct job *take_job(struct import *im, const struct buf *key, size_t value_len)
{
    while (im->status == CTL_OK && (im->n_busy == im->n_jobs || key_is_busy(im, key) ||
                                    (im->n_busy > 0 && im->busy_bytes + value_len > BYTES_AT_ONCE)))
        wait_a_turn(im);
    return im->status == CTL_OK ? free_job(im) : NULL;
}

/* ---- lines ---- */

static int bad_line(struct import *im, const char *why)
{
    im->status = ctl_fail(CTL_FAILURE, "line %" PRIu64 ": %s", im->n_lines, why);
    return im->status;
}

static void make_request(const struct import *im, const struct buf *key, const struct buf *value,
                         const char *content_type, struct request *r)
{
    request_init(r, "PUT", REQUEST_READ, ""); /* sent again as reads are, see above */
    request_key(r, key->data, key->len);
    if (content_type)
        request_header(r, "Content-Type: %s", content_type);
    if (args_has(im->c->args, FLAG_IF_ABSENT))
        request_header(r, "If-None-Match: *");
    r->body = value->data ? (const void *)value->data : "";
    r->body_len = value->len;
}

static void print_line(struct import *im, struct buf *key, struct buf *value,
                       const char *content_type)
{
    struct request r;
    struct answer a;
    make_request(im, key, value, content_type, &r);
    int printed = client_send(im->c, &r, &a);
    ASSERT(printed == CTL_PRINTED);
    request_free(&r);
}

/* Takes key and value. */
static void store(struct import *im, struct buf *key, struct buf *value, const char *content_type)
{
    struct job *j = take_job(im, key, value->len);
    if (!j) {
        buf_free(key);
        buf_free(value);
        return;
    }
    buf_free(&j->key);
    j->key = *key;
    j->value = *value;
    j->busy = true;
    j->line = im->n_lines;
    j->begin_ms = clock_now_ms();
    j->endpoint = im->endpoint;
    j->n_tries = 0;
    im->n_busy++;
    im->busy_bytes += value->len;
    make_request(im, &j->key, &j->value, content_type, &j->request);
    start(im, j);
    turn(im);
}

static int take_line(struct import *im, const char *line, size_t len)
{
    struct buf key = BUF_INIT, value = BUF_INIT;
    im->n_lines++;
    if (strspn(line, " \t\r\n") >= len)
        return CTL_OK;
    struct json_object *doc = len <= LINE_BYTES_MAX ? doc_parse(line, len) : NULL;
    if (!doc)
        return bad_line(im, "is no JSON");
    const char *type = doc_text(doc, "content_type");
    if (doc_bytes(doc, "key", &key) < 0 || doc_bytes(doc, "value", &value) < 0)
        bad_line(im, "needs \"key\" and \"value\", or key_b64 and value_b64");
    else if (key.len == 0 || key.len > LIMIT_KEY_BYTES || value.len > LIMIT_VALUE_BYTES)
        bad_line(im, "a key has 1 to 511 bytes, and a value at most 64 MiB");
    else if (type && !request_is_content_type(type))
        bad_line(im, "content_type is printable ASCII, at most 200 bytes");
    if (im->status != CTL_OK) {
        buf_free(&key);
        buf_free(&value);
    } else if (client_prints(im->c)) {
        print_line(im, &key, &value, type);
        buf_free(&key);
        buf_free(&value);
    } else {
        store(im, &key, &value, type);
    }
    json_object_put(doc);
    return im->status;
}

static void read_all(struct import *im, FILE *in, const char *name)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;
    struct stat st;
    if (fstat(fileno(in), &st) == 0 && S_ISREG(st.st_mode))
        im->total = (uint64_t)st.st_size;
    errno = 0;
    while ((len = getline(&line, &cap, in)) >= 0) {
        im->at += (uint64_t)len;
        if (take_line(im, line, (size_t)len) != CTL_OK)
            break;
    }
    if (im->status == CTL_OK && ferror(in))
        im->status = ctl_fail(CTL_FAILURE, "%s: %s", name, strerror(errno));
    free(line);
    while (im->n_busy > 0)
        wait_a_turn(im);
}

/* ---- the whole ---- */

static void finish(struct import *im)
{
    for (unsigned i = 0; i < im->n_jobs; i++) {
        curl_easy_cleanup(im->jobs[i].curl);
        buf_free(&im->jobs[i].key);
    }
    mem_free(im->jobs);
    curl_multi_cleanup(im->multi);
}

static void tell(const struct import *im)
{
    struct buf stored = BUF_INIT, skipped = BUF_INIT;
    text_keys(im->n_stored, &stored);
    text_grouped(im->n_skipped, &skipped);
    if (im->n_skipped > 0)
        ctl_say(im->c, "%s stored, %s there already", buf_str(&stored), buf_str(&skipped));
    else
        ctl_say(im->c, "%s stored", buf_str(&stored));
    buf_free(&stored);
    buf_free(&skipped);
}

int import_run(struct ctl *c)
{
    struct import im = {.c = c, .multi = curl_multi_init()};
    const char *name = c->args->n_words > 0 ? c->args->words[0] : "-";
    uint64_t n_jobs;
    if (args_count(c->args, FLAG_CLIENTS, 1, CLIENTS_MAX, CLIENTS, &n_jobs) < 0)
        return CTL_USAGE;
    FILE *in = strcmp(name, "-") == 0 ? stdin : fopen(name, "rb");
    if (!in)
        return ctl_fail(CTL_FAILURE, "%s: %s", name, strerror(errno));
    im.n_jobs = (unsigned)n_jobs;
    im.jobs = mem_array(im.n_jobs, sizeof *im.jobs);
    for (unsigned i = 0; i < im.n_jobs; i++)
        im.jobs[i].curl = curl_easy_init();
    progress_start(&im.progress, c->progress && !client_prints(c), "import");
    read_all(&im, in, name);
    progress_end(&im.progress);
    if (!client_prints(c))
        tell(&im);
    finish(&im);
    if (in != stdin)
        fclose(in);
    return im.status;
}
