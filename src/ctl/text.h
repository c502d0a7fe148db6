/* SPDX-License-Identifier: MIT
 * Bytes as text and back: base64, percent-encoding, shell words, UTF-8, and
 * keys as people may read them.
 */
#ifndef CTL_TEXT_H
#define CTL_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

bool text_is_utf8(const void *p, size_t len);

void text_base64(const void *p, size_t len, struct buf *out);
/* Both alphabets of RFC 4648, with or without padding. INVALID; out may have grown then. */
MUST_CHECK int text_from_base64(const char *text, size_t len, struct buf *out);

/* For a path (keeps '/') or a value in a query. */
void text_percent(const void *p, size_t len, bool keep_slash, struct buf *out);

/* One word of a shell, in quotes when it needs them. The bytes hold no NUL. */
void text_shell(const char *word, struct buf *out);

/* Printable UTF-8 as it is; a backslash twice, other bytes as \xNN: one line, nothing that a
 * terminal would obey, and no two keys alike. */
void text_visible(const void *p, size_t len, struct buf *out);

/* 1536 -> "1.5 KiB". */
void text_bytes(double n, struct buf *out);
/* "1 key", "2 keys". */
void text_keys(unsigned long long n, struct buf *out);
/* 1234567 -> "1,234,567". */
void text_grouped(unsigned long long n, struct buf *out);

#endif
