/* SPDX-License-Identifier: MIT */
#include "kv/attrs.h"

#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"

#define CONTENT_TYPE_CURL "application/x-www-form-urlencoded"

void kv_attrs_put(struct buf *out, enum kv_attr tag, const void *p, size_t len)
{
    ASSERT(len + 2 <= LIMIT_ATTRS_BYTES);
    buf_put_u8(out, (uint8_t)tag);
    buf_put_u8(out, (uint8_t)len);
    buf_append(out, p, len);
}

/* Media types may be written in capitals. `what` is in small letters. */
static bool is_text(const uint8_t *p, size_t len, const char *what)
{
    if (len != strlen(what))
        return false;
    for (size_t i = 0; i < len; i++)
        if ((p[i] >= 'A' && p[i] <= 'Z' ? p[i] + ('a' - 'A') : p[i]) != what[i])
            return false;
    return true;
}

int kv_attrs_put_content_type(struct buf *out, const void *text, size_t len)
{
    const uint8_t *p = text;
    if (len > LIMIT_CONTENT_TYPE_BYTES)
        return ERR_TOO_LARGE;
    for (size_t i = 0; i < len; i++)
        if (p[i] < ' ' || p[i] > '~')
            return ERR_INVALID;
    if (len > 0 && !is_text(p, len, KV_CONTENT_TYPE_DEFAULT) && !is_text(p, len, CONTENT_TYPE_CURL))
        kv_attrs_put(out, KV_ATTR_CONTENT_TYPE, p, len);
    return 0;
}

const uint8_t *kv_attrs_get(const uint8_t *attrs, size_t attrs_len, enum kv_attr tag,
                            size_t *ret_len)
{
    struct bytes_reader r = bytes_reader(attrs, attrs_len);
    while (r.left > 0) {
        uint8_t found = bytes_read_u8(&r);
        size_t len = bytes_read_u8(&r);
        const uint8_t *p = bytes_read(&r, len);
        if (!p)
            return NULL;
        if (found == tag) {
            *ret_len = len;
            return p;
        }
    }
    return NULL;
}
