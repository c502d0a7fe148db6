/* SPDX-License-Identifier: MIT
 * See wire_checks.h.
 */
#include "wire_checks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "wire_samples.h"

/* Decodes a copy of just this size, so that reading on is seen by a sanitizer. */
int wire_decode_copy(const void *p, size_t len, struct wire_message *ret_message)
{
    void *copy = malloc(len ? len : 1);
    assert_non_null(copy);
    memcpy(copy, p, len);
    int err = wire_decode(copy, len, ret_message);
    free(copy);
    return err;
}

/* Refused with this error, and nothing written. */
void wire_assert_refused(const void *p, size_t len, int err)
{
    static struct wire_message before, m;
    memset(&before, 0x5a, sizeof before);
    memcpy(&m, &before, sizeof m);
    assert_int_equal(wire_decode_copy(p, len, &m), err);
    assert_memory_equal(&m, &before, sizeof m);
}

void wire_assert_payload_refused(enum wire_type type, uint64_t term, struct buf *payload)
{
    struct buf b = BUF_INIT;
    wire_sample_seal(type, term, payload->data, payload->len, &b);
    wire_assert_refused(b.data, b.len, ERR_INVALID);
    buf_free(&b);
    buf_clear(payload);
}

void wire_assert_payload_taken(enum wire_type type, uint64_t term, struct buf *payload)
{
    struct buf b = BUF_INIT;
    struct wire_message m;
    wire_sample_seal(type, term, payload->data, payload->len, &b);
    assert_int_equal(wire_decode(b.data, b.len, &m), 0);
    wire_message_free(&m);
    buf_free(&b);
    buf_clear(payload);
}
