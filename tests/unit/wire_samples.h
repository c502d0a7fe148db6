/* SPDX-License-Identifier: MIT
 * Messages of every type, from nothing to the limits; for test_wire and as
 * the seeds of fuzz_wire.
 */
#ifndef TESTS_UNIT_WIRE_SAMPLES_H
#define TESTS_UNIT_WIRE_SAMPLES_H

#include "wire/wire.h"

/* Least: zero and nothing. Plain: every field has another value. Most: the
 * largest numbers, full addresses, full lists of members. */
enum wire_sample { WIRE_SAMPLE_LEAST, WIRE_SAMPLE_PLAIN, WIRE_SAMPLE_MOST, WIRE_SAMPLES };

#define WIRE_TYPES 23
extern const enum wire_type wire_types[WIRE_TYPES];

/* Fills *ret_message, which owns what it owns after decoding (wire_message_free). */
void wire_sample_make(enum wire_type type, enum wire_sample sample,
                      struct wire_message *ret_message);

/* A frame with a right checksum around any payload, made without wire_encode(). */
void wire_sample_seal(unsigned type, uint64_t term, const void *payload, size_t len,
                      struct buf *out);
/* Makes the checksum at the end right again. */
void wire_sample_reseal(uint8_t *bytes, size_t len);

#endif
