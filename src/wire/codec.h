/* SPDX-License-Identifier: MIT
 * wire/'s own: the payloads behind the header. Encoders append to out; what
 * they assert is the caller's duty. Decoders read untrusted bytes and say
 * what is wrong by the reader's sticky error; what they allocated until then
 * hangs on the message, where wire_message_free() finds it.
 */
#ifndef WIRE_CODEC_H
#define WIRE_CODEC_H

#include "base/bytes.h"
#include "wire/wire.h"

void wire_append_encode(const struct wire_message *m, struct buf *out);
void wire_append_decode(struct bytes_reader *r, struct wire_message *m);
void wire_append_free(struct wire_message *m);
void wire_append_reply_encode(const struct wire_message *m, struct buf *out);
void wire_append_reply_decode(struct bytes_reader *r, struct wire_message *m);
void wire_vote_encode(const struct wire_message *m, struct buf *out);
void wire_vote_decode(struct bytes_reader *r, struct wire_message *m);
void wire_vote_reply_encode(const struct wire_message *m, struct buf *out);
void wire_vote_reply_decode(struct bytes_reader *r, struct wire_message *m);
void wire_read_index_reply_encode(const struct wire_message *m, struct buf *out);
void wire_read_index_reply_decode(struct bytes_reader *r, struct wire_message *m);
void wire_timeout_now_reply_encode(const struct wire_message *m, struct buf *out);
void wire_timeout_now_reply_decode(struct bytes_reader *r, struct wire_message *m);

void wire_snapshot_encode(const struct wire_message *m, struct buf *out);
void wire_snapshot_decode(struct bytes_reader *r, struct wire_message *m);
void wire_snapshot_free(struct wire_message *m);
void wire_snapshot_reply_encode(const struct wire_message *m, struct buf *out);
void wire_snapshot_reply_decode(struct bytes_reader *r, struct wire_message *m);

void wire_forward_encode(const struct wire_message *m, struct buf *out);
void wire_forward_decode(struct bytes_reader *r, struct wire_message *m);
void wire_forward_free(struct wire_message *m);
void wire_forward_reply_encode(const struct wire_message *m, struct buf *out);
void wire_forward_reply_decode(struct bytes_reader *r, struct wire_message *m);
void wire_forward_reply_free(struct wire_message *m);

void wire_refused_encode(const struct wire_message *m, struct buf *out);
void wire_refused_decode(struct bytes_reader *r, struct wire_message *m);
void wire_hello_reply_encode(const struct wire_message *m, struct buf *out);
void wire_hello_reply_decode(struct bytes_reader *r, struct wire_message *m);
void wire_admin_encode(const struct wire_message *m, struct buf *out);
void wire_admin_decode(struct bytes_reader *r, struct wire_message *m);
void wire_admin_reply_encode(const struct wire_message *m, struct buf *out);
void wire_admin_reply_decode(struct bytes_reader *r, struct wire_message *m);
void wire_form_encode(const struct wire_message *m, struct buf *out);
void wire_form_decode(struct bytes_reader *r, struct wire_message *m);
void wire_form_reply_encode(const struct wire_message *m, struct buf *out);
void wire_form_reply_decode(struct bytes_reader *r, struct wire_message *m);
void wire_digest_reply_encode(const struct wire_message *m, struct buf *out);
void wire_digest_reply_decode(struct bytes_reader *r, struct wire_message *m);

void wire_status_reply_encode(const struct wire_message *m, struct buf *out);
void wire_status_reply_decode(struct bytes_reader *r, struct wire_message *m);

/* Pieces that several payloads share. */

/* One byte, 0 or 1. */
void wire_put_bool(struct buf *out, bool value);
bool wire_read_bool(struct bytes_reader *r);
/* Term and index as varints; index 0 and term 0 come together or not at all. */
void wire_put_pos(struct buf *out, struct raft_pos pos);
struct raft_pos wire_read_pos(struct bytes_reader *r);
/* HOST:PORT of at most LIMIT_ADDR_BYTES, or nothing. */
void wire_put_addr(struct buf *out, const char addr[LIMIT_ADDR_BYTES + 1]);
void wire_read_addr(struct bytes_reader *r, char ret_addr[LIMIT_ADDR_BYTES + 1]);
/* A number of elements, at most max, each of at least element_bytes_min bytes:
 * bounded by what is there before anybody allocates for it. */
unsigned wire_read_count(struct bytes_reader *r, size_t max, size_t element_bytes_min);
/* 0 or ERR_* as a number of the protocol's own table (crabcluster-protocol(7)).
 * A number that is not in it reads as ERR_UNKNOWN. */
void wire_put_error(struct buf *out, int code);
int wire_read_error(struct bytes_reader *r);

#endif
