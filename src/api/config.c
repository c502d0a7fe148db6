/* SPDX-License-Identifier: MIT
 * GET /v1/config: the effective options, as the daemon wrote them down when it
 * started or took over a change; GET /v1/metrics: Prometheus text for any client.
 */
#include "api/handlers.h"

#include <string.h>

#include "api/json_out.h"
#include "api/reply.h"

static void put_text(struct buf *b, const char *text)
{
    if (text)
        json_out_text(b, text, strlen(text));
    else
        buf_append_str(b, "null");
}

static void put_value(struct buf *b, const struct api_setting *s)
{
    buf_append_str(b, s->is_list ? "[" : "");
    for (size_t i = 0; i < s->n_values; i++) {
        buf_append_str(b, i ? "," : "");
        if (s->is_bare)
            buf_append_str(b, s->values[i]);
        else
            put_text(b, s->values[i]);
    }
    buf_append_str(b, s->is_list ? "]" : "");
}

void config_write(struct buf *b, const char *file, const struct api_setting settings[], size_t n)
{
    buf_append_str(b, "{\"file\":");
    put_text(b, file);
    buf_append_str(b, ",\"options\":{");
    for (size_t i = 0; i < n; i++) {
        const struct api_setting *s = &settings[i];
        buf_append_str(b, i ? "," : "");
        put_text(b, s->name);
        buf_append_str(b, ":{\"value\":");
        put_value(b, s);
        buf_append_str(b, ",\"origin\":");
        put_text(b, s->origin);
        buf_append_str(b, ",\"where\":");
        put_text(b, s->where);
        buf_printf(b, ",\"reloadable\":%s}", s->reloadable ? "true" : "false");
    }
    buf_append_str(b, "}}");
}

void config_start(struct http_exchange *x)
{
    struct http_server *s = x->server;
    pthread_mutex_lock(&s->config_lock);
    buf_append(&x->out, s->config.data, s->config.len);
    pthread_mutex_unlock(&s->config_lock);
    reply_ok(x);
}

void prometheus_start(struct http_exchange *x)
{
    http_submit(x, node_request_new(NODE_STATUS));
}

void prometheus_finish(struct http_exchange *x)
{
    if (x->request->err)
        reply_node_error(x);
    else
        prometheus_answer(x);
}
