/* SPDX-License-Identifier: MIT
 * What the tests of wire/ say about bytes; a failed check ends the test.
 */
#ifndef TESTS_UNIT_WIRE_CHECKS_H
#define TESTS_UNIT_WIRE_CHECKS_H

#include <stddef.h>

#include "wire/wire.h"

/* Decodes a copy of just this size, so that reading on is seen by a sanitizer.
 * The message must not be used beyond wire_message_free(). */
int wire_decode_copy(const void *p, size_t len, struct wire_message *ret_message);
/* Refused with this error, and nothing written. */
void wire_assert_refused(const void *p, size_t len, int err);
/* The payload in a frame with a right checksum; the buffer is empty afterwards. */
void wire_assert_payload_refused(enum wire_type type, uint64_t term, struct buf *payload);
void wire_assert_payload_taken(enum wire_type type, uint64_t term, struct buf *payload);

#endif
