/* SPDX-License-Identifier: MIT
 * wire/: frames with a right checksum that no node of ours sends.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "wire/wire.h"

#include "wire_checks.h"
#include "wire_samples.h"

/* ---- frames of others ---- */

static void test_frame_of_another_kind_is_refused(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    wire_sample_seal(WIRE_HELLO, 0, NULL, 0, &b);
    struct wire_message m;
    assert_int_equal(wire_decode(b.data, b.len, &m), 0);
    wire_assert_refused(b.data, 0, ERR_INVALID);
    wire_assert_refused("GET / HTTP/1.1\r\n", 16, ERR_INVALID);
    wire_assert_refused("CRAB\2 of the future", 19, ERR_VERSION);
    b.data[7] = 1; /* a flag */
    wire_sample_reseal(b.data, b.len);
    wire_assert_refused(b.data, b.len, ERR_INVALID);
    buf_free(&b);
}

static void test_type_that_is_none_is_refused(void **state)
{
    (void)state;
    static const unsigned types[] = {0, 9, 15, 29, 128, 255};
    for (unsigned i = 0; i < sizeof types / sizeof types[0]; i++) {
        struct buf b = BUF_INIT;
        wire_sample_seal(types[i], 0, NULL, 0, &b);
        wire_assert_refused(b.data, b.len, ERR_INVALID);
        buf_free(&b);
    }
}

/* ---- payloads that no node sends ---- */

/* An append of term 5 with one entry. */
static void put_append(struct buf *b, struct raft_pos prev, unsigned type, uint64_t term,
                       size_t len)
{
    buf_put_varint(b, prev.term);
    buf_put_varint(b, prev.index);
    buf_put_varint(b, 0);
    buf_put_u8(b, 0);
    buf_put_varint(b, 1);
    buf_put_u8(b, (uint8_t)type);
    buf_put_varint(b, term);
    buf_put_string(b, "0123456789abcdef", len);
}

static void test_append_that_no_leader_sends_is_refused(void **state)
{
    (void)state;
    static const struct {
        struct raft_pos prev;
        unsigned type;
        uint64_t term;
        size_t len;
        bool taken;
    } cases[] = {
        {{3, 9}, RAFT_ENTRY_COMMAND, 3, 10, true},
        {{3, 9}, RAFT_ENTRY_NOOP, 5, RAFT_NOOP_BYTES, true},
        {{0, 0}, RAFT_ENTRY_CONFIG, 1, 10, true},
        {{5, UINT64_MAX - 1}, RAFT_ENTRY_COMMAND, 5, 10, true},
        {{3, 9}, RAFT_ENTRY_COMMAND, 2, 10, false},          /* the term falls */
        {{3, 9}, RAFT_ENTRY_COMMAND, 6, 10, false},          /* above the leader's */
        {{0, 0}, RAFT_ENTRY_COMMAND, 0, 10, false},          /* no term */
        {{6, 9}, RAFT_ENTRY_COMMAND, 6, 10, false},          /* prev above the leader's */
        {{0, 9}, RAFT_ENTRY_COMMAND, 3, 10, false},          /* half a position */
        {{3, 0}, RAFT_ENTRY_COMMAND, 3, 10, false},          /* the other half */
        {{5, UINT64_MAX}, RAFT_ENTRY_COMMAND, 5, 10, false}, /* no index left */
        {{3, 9}, 3, 3, 10, false},                           /* no such entry */
        {{3, 9}, RAFT_ENTRY_NOOP, 3, 1, false},              /* noop without an id */
    };
    struct buf b = BUF_INIT;
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        put_append(&b, cases[i].prev, cases[i].type, cases[i].term, cases[i].len);
        if (cases[i].taken)
            wire_assert_payload_taken(WIRE_APPEND, 5, &b);
        else
            wire_assert_payload_refused(WIRE_APPEND, 5, &b);
    }
    buf_free(&b);
}

static void test_heartbeat_above_the_leaders_term_is_refused(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    buf_append(&b, "\5\11\0\1\0", 5); /* prev of term 5, full, no entries */
    wire_assert_payload_taken(WIRE_APPEND, 5, &b);
    buf_append(&b, "\6\11\0\1\0", 5);
    wire_assert_payload_refused(WIRE_APPEND, 5, &b);
    buf_append(&b, "\5\11\0\2\0", 5); /* neither full nor not */
    wire_assert_payload_refused(WIRE_APPEND, 5, &b);
    buf_free(&b);
}

static void test_positions_and_flags_that_cannot_be_are_refused(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    buf_append(&b, "\0\3\7", 3); /* vote: last entry of term 3 */
    wire_assert_payload_taken(WIRE_VOTE, 3, &b);
    buf_append(&b, "\0\4\7", 3);
    wire_assert_payload_refused(WIRE_VOTE, 3, &b);
    buf_append(&b, "\2\3\7", 3); /* handed over */
    wire_assert_payload_taken(WIRE_VOTE, 3, &b);
    buf_append(&b, "\3\3\7", 3); /* no such kind */
    wire_assert_payload_refused(WIRE_VOTE, 3, &b);
    buf_append(&b, "\0\1", 2);
    wire_assert_payload_taken(WIRE_VOTE_REPLY, 3, &b);
    buf_append(&b, "\0\2", 2);
    wire_assert_payload_refused(WIRE_VOTE_REPLY, 3, &b);
    buf_append(&b, "\2", 1);
    wire_assert_payload_refused(WIRE_TIMEOUT_NOW_REPLY, 3, &b);
    buf_append(&b, "\0\0\7\3\6\0\0", 7); /* append reply: hint of term 3 */
    wire_assert_payload_taken(WIRE_APPEND_REPLY, 3, &b);
    buf_append(&b, "\0\0\7\4\6\0\0", 7);
    wire_assert_payload_refused(WIRE_APPEND_REPLY, 3, &b);
    buf_append(&b, "\0", 1); /* refused for no reason */
    wire_assert_payload_refused(WIRE_REFUSED, 3, &b);
    buf_free(&b);
}

static void put_hello_reply(struct buf *b, const char *addr, size_t len)
{
    buf_put_u8(b, 0);
    buf_put_string(b, addr, len);
    buf_put_uuid(b, UUID_ZERO);
    buf_put_string(b, "", 0);
}

static void test_address_that_is_none_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"x", "a b:80", "a/b:80", "u@a:80", "a:80/", ":80", "a:0"};
    struct buf b = BUF_INIT;
    put_hello_reply(&b, "[::1]:80", 8);
    wire_assert_payload_taken(WIRE_HELLO_REPLY, 0, &b);
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        put_hello_reply(&b, bad[i], strlen(bad[i]));
        wire_assert_payload_refused(WIRE_HELLO_REPLY, 0, &b);
    }
    put_hello_reply(&b, "a:80\0b", 6);
    wire_assert_payload_refused(WIRE_HELLO_REPLY, 0, &b);
    char longest[LIMIT_ADDR_BYTES + 2];
    snprintf(longest, sizeof longest, "%0259d:80", 0);
    put_hello_reply(&b, longest, LIMIT_ADDR_BYTES + 1);
    wire_assert_payload_refused(WIRE_HELLO_REPLY, 0, &b);
    buf_free(&b);
}

static void put_admin(struct buf *b, unsigned op, unsigned n_ids)
{
    buf_put_u8(b, (uint8_t)op);
    buf_put_u32(b, 1);
    buf_put_u64(b, 1);
    buf_put_string(b, "", 0);
    buf_put_varint(b, n_ids);
    for (unsigned i = 0; i < n_ids; i++)
        buf_put_uuid(b, UUID_ZERO);
}

static void test_admin_and_form_beyond_their_limits_are_refused(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    put_admin(&b, WIRE_ADMIN_JOIN, LIMIT_MEMBERS);
    wire_assert_payload_taken(WIRE_ADMIN, 0, &b);
    put_admin(&b, WIRE_ADMIN_JOIN, LIMIT_MEMBERS + 1);
    wire_assert_payload_refused(WIRE_ADMIN, 0, &b);
    put_admin(&b, 0, 1);
    wire_assert_payload_refused(WIRE_ADMIN, 0, &b);
    put_admin(&b, WIRE_ADMIN_LAST + 1, 1);
    wire_assert_payload_refused(WIRE_ADMIN, 0, &b);
    for (unsigned n = LIMIT_PEERS; n <= LIMIT_PEERS + 1; n++) {
        buf_put_uuid(&b, UUID_ZERO);
        buf_put_varint(&b, n);
        for (unsigned i = 0; i < n; i++)
            buf_put_string(&b, "a:1", 3);
        if (n == LIMIT_PEERS)
            wire_assert_payload_taken(WIRE_FORM, 0, &b);
        else
            wire_assert_payload_refused(WIRE_FORM, 0, &b);
    }
    buf_free(&b);
}

/* ---- counts ---- */

static void put_count(struct buf *b, enum wire_type type, uint64_t count)
{
    if (type == WIRE_APPEND)
        buf_append(b, "\0\0\0\0", 4);
    else if (type == WIRE_ADMIN)
        buf_append(b,
                   "\1" /* timeout, incarnation, address */ "\0\0\0\0"
                   "\0\0\0\0\0\0\0\0"
                   "\0",
                   14);
    else if (type == WIRE_FORM)
        buf_put_uuid(b, UUID_ZERO);
    else if (type == WIRE_STATUS_REPLY)
        buf_append(b, "\0\0\0" /* position */ "\0\0", 5);
    buf_put_varint(b, count);
}

/* Counts and lengths far beyond what is there, in messages of both sizes. */
static void decode_hostile_counts(void)
{
    static const enum wire_type types[] = {WIRE_APPEND, WIRE_FORWARD, WIRE_FORWARD_REPLY,
                                           WIRE_ADMIN,  WIRE_FORM,    WIRE_STATUS_REPLY};
    static const uint64_t counts[] = {1,          33,         65537,           1u << 20,  1u << 31,
                                      1ull << 32, 1ull << 40, UINT64_MAX / 16, UINT64_MAX};
    static const uint8_t nothing[64];
    struct buf b = BUF_INIT;
    for (unsigned t = 0; t < sizeof types / sizeof types[0]; t++) {
        for (unsigned c = 0; c < 2 * sizeof counts / sizeof counts[0]; c++) {
            put_count(&b, types[t], counts[c / 2]);
            buf_append(&b, nothing, c % 2 && counts[c / 2] > 2 ? sizeof nothing : 0);
            wire_assert_payload_refused(types[t], 5, &b);
        }
    }
    buf_free(&b);
}

/* A length instead: one command of very many bytes. */
static void decode_hostile_lengths(void)
{
    static const uint64_t lengths[] = {65, 1u << 31, 1ull << 32, 1ull << 63, UINT64_MAX};
    struct buf b = BUF_INIT;
    for (unsigned i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        buf_put_varint(&b, 1);
        buf_put_varint(&b, lengths[i]);
        wire_assert_payload_refused(WIRE_FORWARD, 5, &b);
        buf_append(&b, "\0\0\0\0\1\1\1", 7);
        buf_put_varint(&b, lengths[i]);
        wire_assert_payload_refused(WIRE_APPEND, 5, &b);
    }
    buf_free(&b);
}

/* As many elements as fit, each of the least size: 16 MiB that make little of themselves. */
static void decode_many_small(void)
{
    static struct wire_message m;
    static uint8_t zeros[16 << 20];
    struct buf payload = BUF_INIT, b = BUF_INIT;
    buf_put_varint(&payload, LIMIT_FORWARDED_OPS);
    buf_append(&payload, zeros, LIMIT_FORWARDED_OPS);
    wire_sample_seal(WIRE_FORWARD, 0, payload.data, payload.len, &b);
    assert_int_equal(wire_decode(b.data, b.len, &m), 0);
    assert_int_equal(m.forward.n_commands, LIMIT_FORWARDED_OPS);
    wire_message_free(&m);
    buf_clear(&payload);
    buf_append(&payload, "\0\0\0\0", 4);
    buf_put_varint(&payload, sizeof zeros / 4);
    buf_append(&payload, zeros, sizeof zeros);
    wire_assert_payload_refused(WIRE_APPEND, 5, &payload);
    buf_free(&payload);
    buf_free(&b);
}

/* Sanitizers map terabytes of their own: without a bound then, but they refuse
 * single allocations of such sizes by themselves. */
static void bound_memory(size_t bytes)
{
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    struct rlimit limit = {bytes, bytes};
    assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
#else
    (void)bytes;
#endif
}

static void test_hostile_counts_are_refused_in_little_memory(void **state)
{
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        bound_memory(192 << 20);
        decode_hostile_counts();
        decode_hostile_lengths();
        decode_many_small();
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frame_of_another_kind_is_refused),
        cmocka_unit_test(test_type_that_is_none_is_refused),
        cmocka_unit_test(test_append_that_no_leader_sends_is_refused),
        cmocka_unit_test(test_heartbeat_above_the_leaders_term_is_refused),
        cmocka_unit_test(test_positions_and_flags_that_cannot_be_are_refused),
        cmocka_unit_test(test_address_that_is_none_is_refused),
        cmocka_unit_test(test_admin_and_form_beyond_their_limits_are_refused),
        cmocka_unit_test(test_hostile_counts_are_refused_in_little_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
