/* SPDX-License-Identifier: MIT */
#include "api/json_out.h"

#include <stdint.h>

#include "api/utf8.h"

/* What an ASCII character is written as when not as itself; "" for itself. */
static const char *escape_of(uint8_t c, char room[8])
{
    static const char hex[] = "0123456789abcdef";
    switch (c) {
    case '"':
        return "\\\"";
    case '\\':
        return "\\\\";
    case '\n':
        return "\\n";
    case '\r':
        return "\\r";
    case '\t':
        return "\\t";
    }
    if (c >= 0x20 && c != 0x7f)
        return "";
    room[0] = '\\', room[1] = 'u', room[2] = room[3] = '0';
    room[4] = hex[c >> 4], room[5] = hex[c & 15], room[6] = 0;
    return room;
}

/* Appends runs of plain characters at once and looks closely at the others. */
static int write_string(struct buf *b, const uint8_t *p, size_t len, const char *replacement)
{
    size_t before = b->len, i = 0, run = 0;
    char room[8];
    buf_reserve(b, len + 2);
    b->data[b->len++] = '"';
    while ((i += utf8_plain_len(p + i, len - i)) < len) {
        size_t n = utf8_char_len(p + i, len - i);
        const char *instead = n == 0 ? replacement : n == 1 ? escape_of(p[i], room) : "";
        if (!instead) {
            b->len = before;
            return ERR_INVALID;
        }
        if (*instead) {
            buf_append(b, p + run, i - run);
            buf_append_str(b, instead);
            run = i + (n ? n : 1);
        }
        i += n ? n : 1;
    }
    buf_append(b, p + run, len - run);
    buf_append(b, "\"", 1);
    return 0;
}

int json_out_string(struct buf *b, const void *p, size_t len)
{
    return write_string(b, p, len, NULL);
}

void json_out_text(struct buf *b, const void *p, size_t len)
{
    (void)write_string(b, p, len, "\xef\xbf\xbd");
}

static void write_base64(struct buf *b, const uint8_t *p, size_t len)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < len; i += 3) {
        size_t n = len - i < 3 ? len - i : 3;
        uint32_t v = (uint32_t)p[i] << 16;
        v |= n > 1 ? (uint32_t)p[i + 1] << 8 : 0;
        v |= n > 2 ? p[i + 2] : 0;
        char four[4] = {digit[v >> 18], digit[v >> 12 & 63], n > 1 ? digit[v >> 6 & 63] : '=',
                        n > 2 ? digit[v & 63] : '='};
        buf_append(b, four, sizeof four);
    }
}

void json_out_base64_url(struct buf *b, const void *p, size_t len)
{
    size_t before = b->len;
    write_base64(b, p, len);
    while (b->len > before && b->data[b->len - 1] == '=')
        b->len--;
    for (size_t i = before; i < b->len; i++)
        b->data[i] = b->data[i] == '+' ? '-' : b->data[i] == '/' ? '_' : b->data[i];
}

void json_out_value(struct buf *b, const void *p, size_t len)
{
    if (json_out_string(b, p, len) == 0)
        return;
    buf_append_str(b, "{\"value_b64\":\"");
    write_base64(b, p, len);
    buf_append_str(b, "\"}");
}

static void put_name(struct buf *b, const char *name, const char *end)
{
    buf_append_str(b, "\"");
    buf_append_str(b, name);
    buf_append_str(b, end);
}

void json_out_member(struct buf *b, const char *name, const void *p, size_t len)
{
    size_t before = b->len;
    put_name(b, name, "\":");
    if (json_out_string(b, p, len) == 0)
        return;
    b->len = before;
    put_name(b, name, "_b64\":\"");
    write_base64(b, p, len);
    buf_append(b, "\"", 1);
}

void json_out_uuid(struct buf *b, struct uuid id)
{
    char text[UUID_TEXT_LEN + 1];
    if (uuid_is_zero(id)) {
        buf_append_str(b, "null");
        return;
    }
    buf_append(b, "\"", 1);
    buf_append(b, uuid_format(id, text), UUID_TEXT_LEN);
    buf_append(b, "\"", 1);
}

void json_out_log_id(struct buf *b, const struct node_log_id *id)
{
    if (id->index == 0) {
        buf_append_str(b, "null");
        return;
    }
    buf_append_str(b, "{\"leader_id\":{\"term\":");
    buf_append_number(b, id->term);
    buf_append_str(b, ",\"node_id\":");
    json_out_uuid(b, id->leader);
    buf_append_str(b, "},\"index\":");
    buf_append_number(b, id->index);
    buf_append_str(b, "}");
}

/* ---- for people ---- */

static void new_line(struct buf *b, unsigned depth)
{
    buf_append(b, "\n", 1);
    for (unsigned i = 0; i < depth; i++)
        buf_append(b, "  ", 2);
}

/* The bytes of the string that begins at p, quotes included. */
static size_t string_len(const char *p, size_t left)
{
    size_t n = 1;
    while (n < left && p[n] != '"')
        n += p[n] == '\\' ? 2 : 1;
    return n < left ? n + 1 : left;
}

void json_out_pretty(struct buf *b, const void *json, size_t len)
{
    const char *p = json;
    unsigned depth = 0;
    for (size_t i = 0, n; i < len; i += n) {
        bool opens = p[i] == '{' || p[i] == '[', closes = p[i] == '}' || p[i] == ']';
        bool is_empty = opens && i + 1 < len && (p[i + 1] == '}' || p[i + 1] == ']');
        n = p[i] == '"' ? string_len(p + i, len - i) : is_empty ? 2 : 1;
        if (closes && depth > 0)
            new_line(b, --depth);
        buf_append(b, p + i, n);
        if (p[i] == ':')
            buf_append(b, " ", 1);
        else if (p[i] == ',')
            new_line(b, depth);
        else if (opens && !is_empty)
            new_line(b, ++depth);
    }
    buf_append(b, "\n", 1);
}
