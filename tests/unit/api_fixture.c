/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE /* strcasestr */
#include "api_fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>
#include <curl/curl.h>

#include "base/mem.h"

static uint16_t free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    close(fd);
    return ntohs(a.sin_port);
}

/* Somebody else may take the port between looking and binding: tries again then. */
static void start(struct fixture *f)
{
    struct buf reason = BUF_INIT;
    int err = ERR_BUSY;
    for (int i = 0; i < 10 && err == ERR_BUSY; i++) {
        f->port = free_port();
        snprintf(f->addr, sizeof f->addr, "127.0.0.1:%u", (unsigned)f->port);
        f->options.bind_addr = f->addr;
        err = api_listen(&f->options, &reason, &f->api);
    }
    if (err)
        fail_msg("api_listen: %s", buf_str(&reason));
    assert_int_equal(api_start(f->api, f->node, &reason), 0);
    buf_free(&reason);
}

int fixture_up(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);
    signal(SIGPIPE, SIG_IGN);
    f->node = stub_node_new();
    f->options = (struct api_options){
        .threads = 2,
        .version = "1.2.3",
        .limits = {.max_connections = 1000, .request_timeout_ms = 5000, .max_value_size = 1024}};
    start(f);
    *state = f;
    return 0;
}

void fixture_restart(struct fixture *f)
{
    api_stop(&f->api);
    start(f);
}

int fixture_down(void **state)
{
    struct fixture *f = *state;
    stub_node_hold(f->node, false);
    api_stop(&f->api);
    stub_node_free(&f->node);
    buf_free(&f->headers);
    buf_free(&f->body);
    mem_free(f);
    return 0;
}

static size_t collect(char *p, size_t size, size_t n, void *to)
{
    buf_append(to, p, size * n);
    return size * n;
}

long call_bytes(struct fixture *f, const char *method, const char *path, const void *body,
                size_t len, const char *const headers[])
{
    char url[600];
    long status = 0;
    struct curl_slist *list = NULL;
    CURL *c = curl_easy_init();
    snprintf(url, sizeof url, "http://%s%s", f->addr, path);
    for (; headers && *headers; headers++)
        list = curl_slist_append(list, *headers);
    buf_clear(&f->headers);
    buf_clear(&f->body);
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(c, CURLOPT_PROXY, "");
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_TIMEOUT, 20L);
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, list);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, collect);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, &f->body);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, collect);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, &f->headers);
    if (body) {
        curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)len);
        curl_easy_setopt(c, CURLOPT_POSTFIELDS, body);
    }
    if (strcmp(method, "HEAD") == 0)
        curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
    curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, method);
    CURLcode result = curl_easy_perform(c);
    if (result != CURLE_OK)
        fail_msg("%s %s: %s", method, path, curl_easy_strerror(result));
    curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
    curl_slist_free_all(list);
    curl_easy_cleanup(c);
    return status;
}

long call(struct fixture *f, const char *method, const char *path, const char *body)
{
    return call_bytes(f, method, path, body, body ? strlen(body) : 0, NULL);
}

const char *body_of(struct fixture *f)
{
    return buf_str(&f->body);
}

const char *header_of(struct fixture *f, const char *name)
{
    static char value[1000];
    size_t len = strlen(name);
    for (const char *p = buf_str(&f->headers); (p = strstr(p, "\r\n")); p += 2) {
        if (strncasecmp(p + 2, name, len) != 0 || p[2 + len] != ':')
            continue;
        snprintf(value, sizeof value, "%s", p + 2 + len + 2);
        value[strcspn(value, "\r")] = 0;
        return value;
    }
    return NULL;
}

int raw_connect(const struct fixture *f)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons(f->port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = 5};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(fd, (struct sockaddr *)&a, sizeof a) != 0)
        fail_msg("connect: %s", strerror(errno));
    return fd;
}

void raw_send(int fd, const char *text)
{
    size_t len = strlen(text);
    while (len > 0) {
        ssize_t n = send(fd, text, len, MSG_NOSIGNAL);
        if (n <= 0)
            return; /* the reader will notice */
        text += n;
        len -= (size_t)n;
    }
}

static char last_head[4000];

bool raw_last_said(const char *text)
{
    return strstr(last_head, text) != NULL;
}

/* One byte at a time, so that a pipelined answer stays in the socket. */
int raw_read_answer(int fd, struct buf *ret_body)
{
    struct buf head = BUF_INIT;
    int status = 0;
    char c;
    while (!(head.len >= 4 && memcmp(head.data + head.len - 4, "\r\n\r\n", 4) == 0)) {
        if (recv(fd, &c, 1, 0) != 1)
            break;
        buf_append(&head, &c, 1);
    }
    snprintf(last_head, sizeof last_head, "%s", buf_str(&head));
    const char *length = strcasestr(buf_str(&head), "content-length:");
    if (sscanf(buf_str(&head), "HTTP/1.%*d %d", &status) != 1)
        status = 0;
    if (status == 100) {
        buf_free(&head);
        return raw_read_answer(fd, ret_body);
    }
    for (unsigned long n = length ? strtoul(length + 15, NULL, 10) : 0; n > 0; n--) {
        if (recv(fd, &c, 1, 0) != 1)
            status = 0;
        else if (ret_body)
            buf_append(ret_body, &c, 1);
    }
    buf_free(&head);
    return status;
}

bool raw_is_closed_within(int fd, int ms)
{
    char c;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, ms) == 1 && recv(fd, &c, 1, 0) <= 0;
}
