/* SPDX-License-Identifier: MIT
 * What a value carries beside its bytes, as bytes: for each attribute its tag
 * as u8, its length as u8, and as many bytes. What keeps values (memtable, run
 * files, state) does not look into them. No attributes, no bytes.
 */
#ifndef KV_ATTRS_H
#define KV_ATTRS_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/limits.h"

enum kv_attr {
    KV_ATTR_CONTENT_TYPE = 1, /* text, at most LIMIT_CONTENT_TYPE_BYTES */
    KV_ATTR_LEASE = 2,        /* reserved */
};

#define KV_CONTENT_TYPE_DEFAULT "application/octet-stream"

/* Appends an attribute. All of them together are at most LIMIT_ATTRS_BYTES. */
void kv_attrs_put(struct buf *out, enum kv_attr tag, const void *p, size_t len);
/* Appends a content type; nothing for the default one and for the one that curl sends unasked
 * (application/x-www-form-urlencoded). TOO_LARGE; INVALID when it is no printable ASCII text, which
 * a header could not carry; out is as it was then. */
MUST_CHECK int kv_attrs_put_content_type(struct buf *out, const void *text, size_t len);

/* The first attribute with this tag, borrowed from the (untrusted) bytes; NULL: there is none. */
const uint8_t *kv_attrs_get(const uint8_t *attrs, size_t attrs_len, enum kv_attr tag,
                            size_t *ret_len);

#endif
