/* SPDX-License-Identifier: MIT
 * A write of the log <-> bytes in the journal:
 *
 *      kind u8 | term u64, vote 16 bytes, commit u64 | truncate from u64 | entries u32
 *      and of each entry:  term u64 | index u64 | type u8 | length u32 | data
 *
 * kind is 1 with a hard state, 2 without one, in whose place there is nothing; 0 is no write: what
 * fills up the last sector.
 */
#ifndef STORE_JOURNAL_WRITE_H
#define STORE_JOURNAL_WRITE_H

#include "base/bytes.h"
#include "node/storage.h"

/* Of a write without install, base and identity. */
size_t journal_write_bytes(const struct storage_write *w);
/* Hands its bytes to put(), piece by piece. */
void journal_write_encode(const struct storage_write *w,
                          void (*put)(void *ctx, const void *p, size_t len), void *ctx);
/* The first place of the log that it changes; UINT64_MAX: none. */
uint64_t journal_write_first_index(const struct storage_write *w);
/* Reads the next one, owned by the caller. False: there is none, or, as the reader says then, it is
 * malformed. */
bool journal_write_next(struct bytes_reader *r, struct storage_write **ret_write);

#endif
