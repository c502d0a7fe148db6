/* SPDX-License-Identifier: MIT
 * An api on a free port of loopback, over a stub node, and clients for it:
 * libcurl for what is well-formed, raw sockets for the rest.
 */
#ifndef TESTS_UNIT_API_FIXTURE_H
#define TESTS_UNIT_API_FIXTURE_H

#include "api/api.h"
#include "base/buf.h"
#include "stub_node.h"

struct fixture {
    struct node *node;
    struct api *api;
    struct api_options options;
    char addr[32]; /* 127.0.0.1:PORT */
    uint16_t port;
    struct buf headers, body; /* of the last answer */
};

/* With two loops, 1 KiB values, 5 s timeout, 1000 connections. */
int fixture_up(void **state);
int fixture_down(void **state);
/* Starts the api again with f->options, on a new port. */
void fixture_restart(struct fixture *f);

/* Sends and returns the status. body NULL: none; headers: up to three, NULL for none. */
long call(struct fixture *f, const char *method, const char *path, const char *body);
long call_bytes(struct fixture *f, const char *method, const char *path, const void *body,
                size_t len, const char *const headers[]);
const char *body_of(struct fixture *f);
/* The value of a header of the last answer, in static storage; NULL when absent. */
const char *header_of(struct fixture *f, const char *name);

/* A connected socket that gives up waiting after 5 s. */
int raw_connect(const struct fixture *f);
void raw_send(int fd, const char *text);
/* Reads one answer with a Content-Length; its status, or 0 when the connection ended. */
int raw_read_answer(int fd, struct buf *ret_body);
/* The head of that answer contains the text. */
bool raw_last_said(const char *text);
/* The other side closes within ms. */
bool raw_is_closed_within(int fd, int ms);

#endif
