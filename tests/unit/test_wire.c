/* SPDX-License-Identifier: MIT
 * wire/: what is sent comes back the same, and nothing else is believed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "base/rng.h"
#include "wire/wire.h"

#include "wire_checks.h"
#include "wire_samples.h"

static void for_each_sample(void (*test)(enum wire_type type, const uint8_t *p, size_t len))
{
    for (unsigned i = 0; i < WIRE_TYPES; i++) {
        for (unsigned s = 0; s < WIRE_SAMPLES; s++) {
            struct wire_message m;
            struct buf b = BUF_INIT;
            wire_sample_make(wire_types[i], (enum wire_sample)s, &m);
            wire_encode(&m, &b);
            test(wire_types[i], b.data, b.len);
            wire_message_free(&m);
            buf_free(&b);
        }
    }
}

/* ---- there and back ---- */

static void assert_bytes_equal(struct wire_bytes a, struct wire_bytes b)
{
    assert_int_equal(a.len, b.len);
    if (a.len > 0)
        assert_memory_equal(a.data, b.data, a.len);
}

static void assert_entries_equal(const struct wire_message *a, const struct wire_message *b)
{
    assert_true(raft_pos_equal(a->raft.append.prev, b->raft.append.prev));
    assert_int_equal(a->raft.append.commit, b->raft.append.commit);
    assert_int_equal(a->raft.append.n_entries, b->raft.append.n_entries);
    for (unsigned i = 0; i < a->raft.append.n_entries; i++) {
        const struct raft_entry *x = a->raft.append.entries[i], *y = b->raft.append.entries[i];
        assert_int_equal(x->type, y->type);
        assert_true(raft_pos_equal(x->pos, y->pos));
        assert_bytes_equal((struct wire_bytes){x->data, x->len},
                           (struct wire_bytes){y->data, y->len});
    }
}

static void assert_forward_equal(const struct wire_message *a, const struct wire_message *b)
{
    assert_int_equal(a->forward.n_commands, b->forward.n_commands);
    for (unsigned i = 0; i < a->forward.n_commands; i++)
        assert_bytes_equal(a->forward.commands[i], b->forward.commands[i]);
}

static void assert_results_equal(const struct wire_message *a, const struct wire_message *b)
{
    assert_int_equal(a->forward_reply.n_results, b->forward_reply.n_results);
    for (unsigned i = 0; i < a->forward_reply.n_results; i++) {
        const struct wire_forward_result *x = &a->forward_reply.results[i];
        const struct wire_forward_result *y = &b->forward_reply.results[i];
        assert_int_equal(x->err, y->err);
        assert_true(raft_pos_equal(x->pos, y->pos));
        assert_true(uuid_equal(x->leader, y->leader));
        assert_bytes_equal(x->answer, y->answer);
    }
}

static void assert_pieces_equal(const struct wire_message *a, const struct wire_message *b)
{
    const struct raft_snapshot *x = a->raft.snapshot.snapshot, *y = b->raft.snapshot.snapshot;
    assert_int_equal(x->id, y->id);
    assert_memory_equal(&x->base, &y->base, sizeof x->base);
    assert_int_equal(x->size, y->size);
    assert_int_equal(x->digest, y->digest);
    assert_int_equal(a->raft.snapshot.offset, b->raft.snapshot.offset);
    assert_int_equal(a->raft.snapshot.len, b->raft.snapshot.len);
    assert_memory_equal(a->raft.snapshot.data, b->raft.snapshot.data, a->raft.snapshot.len);
}

/* Both were zeroed first, and what is compared whole has no padding but zeroes. */
static void assert_messages_equal(const struct wire_message *a, const struct wire_message *b)
{
    assert_memory_equal(&a->header, &b->header, sizeof a->header);
    if (a->header.type <= WIRE_SNAPSHOT_REPLY) {
        assert_memory_equal(&a->raft, &b->raft, offsetof(struct raft_message, append));
        if (a->header.type == WIRE_APPEND)
            assert_entries_equal(a, b);
        else if (a->header.type == WIRE_SNAPSHOT)
            assert_pieces_equal(a, b);
        else
            assert_memory_equal(&a->raft, &b->raft, sizeof a->raft);
    } else if (a->header.type == WIRE_FORWARD) {
        assert_forward_equal(a, b);
    } else if (a->header.type == WIRE_FORWARD_REPLY) {
        assert_results_equal(a, b);
    } else {
        assert_memory_equal(a, b, sizeof *a);
    }
}

static void test_every_message_comes_back_as_it_was(void **state)
{
    (void)state;
    for (unsigned i = 0; i < WIRE_TYPES; i++) {
        for (unsigned s = 0; s < WIRE_SAMPLES; s++) {
            static struct wire_message m, back;
            memset(&back, 0, sizeof back);
            struct buf b = BUF_INIT;
            wire_sample_make(wire_types[i], (enum wire_sample)s, &m);
            buf_append_str(&b, "before"); /* what is in the buffer stays */
            wire_encode(&m, &b);
            assert_int_equal(wire_decode(b.data + 6, b.len - 6, &back), 0);
            assert_messages_equal(&m, &back);
            wire_message_free(&back);
            wire_message_free(&m);
            buf_free(&b);
        }
    }
}

static void test_append_of_most_entries_comes_back(void **state)
{
    (void)state;
    static struct wire_message m, back;
    struct buf b = BUF_INIT;
    wire_sample_make(WIRE_APPEND, WIRE_SAMPLE_LEAST, &m);
    m.header.term = m.raft.term = 1;
    m.raft.append.entries = mem_array(LIMIT_APPEND_ENTRIES, sizeof(struct raft_entry *));
    for (uint64_t i = 0; i < LIMIT_APPEND_ENTRIES; i++)
        m.raft.append.entries[m.raft.append.n_entries++] =
            raft_entry_new(RAFT_ENTRY_NOOP, (struct raft_pos){1, i + 1}, RAFT_NOOP_BYTES);
    wire_encode(&m, &b);
    assert_int_equal(wire_decode(b.data, b.len, &back), 0);
    assert_messages_equal(&m, &back);
    wire_message_free(&back);
    wire_message_free(&m);
    buf_free(&b);
}

static void test_every_error_comes_back_as_it_was(void **state)
{
    (void)state;
    static const int codes[] = {0,
#define X(name, text) ERR_##name,
                                ERR_LIST(X)
#undef X
    };
    for (unsigned i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        struct wire_message m;
        struct buf b = BUF_INIT;
        wire_sample_make(WIRE_FORM_REPLY, WIRE_SAMPLE_LEAST, &m);
        m.form_reply.err = codes[i];
        wire_encode(&m, &b);
        m.form_reply.err = 1;
        assert_int_equal(wire_decode(b.data, b.len, &m), 0);
        assert_int_equal(m.form_reply.err, codes[i]);
        buf_free(&b);
    }
}

/* The numbers of crabcluster-protocol(7), from 1 on. */
static void test_error_numbers_are_those_of_the_manual(void **state)
{
    (void)state;
    static const int codes[] = {
        0,
        ERR_INVALID,
        ERR_TOO_LARGE,
        ERR_NOT_FOUND,
        ERR_EXISTS,
        ERR_BUSY,
        ERR_OVERLOADED,
        ERR_NO_LEADER,
        ERR_NOT_LEADER,
        ERR_UNKNOWN,
        ERR_STALE,
        ERR_TIMEOUT,
        ERR_UNREACHABLE,
        ERR_NOT_ALLOWED,
        ERR_IN_PROGRESS,
        ERR_LAGGING,
        ERR_EMPTY,
        ERR_ID_MISMATCH,
        ERR_CLUSTER_MISMATCH,
        ERR_INCARNATION_MISMATCH,
        ERR_VERSION,
        ERR_CORRUPT,
        ERR_IO,
        ERR_NO_SPACE,
        ERR_PERMISSION,
        ERR_UNINITIALIZED,
        ERR_SHUTDOWN,
        ERR_NO_QUORUM,
        ERR_CONFLICT,
    };
    for (unsigned i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        struct wire_message m;
        struct buf b = BUF_INIT;
        wire_sample_make(WIRE_FORM_REPLY, WIRE_SAMPLE_LEAST, &m);
        m.form_reply.err = codes[i];
        wire_encode(&m, &b);
        assert_int_equal(b.data[WIRE_HEADER_BYTES], i);
        buf_free(&b);
    }
}

static void test_error_number_of_a_newer_version_is_unknown(void **state)
{
    (void)state;
    struct buf payload = BUF_INIT, b = BUF_INIT;
    struct wire_message m;
    buf_put_varint(&payload, 1000);
    wire_sample_seal(WIRE_FORM_REPLY, 0, payload.data, payload.len, &b);
    assert_int_equal(wire_decode(b.data, b.len, &m), 0);
    assert_int_equal(m.form_reply.err, ERR_UNKNOWN);
    buf_free(&payload);
    buf_free(&b);
}

/* Written by hand from crabcluster-protocol(7): the format does not change by accident. */
static void test_bytes_are_those_of_the_manual(void **state)
{
    (void)state;
    static const char expected[] =
        "\x43\x52\x41\x42\x01\x01\x00\x00\x01\x02\x03\x04\x05\x06\x07\x08"
        "\x01\x02\x03\x04\x05\x06\x07\x09\x11\x12\x13\x14\x15\x16\x17\x18"
        "\x11\x12\x13\x14\x15\x16\x17\x19\x21\x22\x23\x24\x25\x26\x27\x28"
        "\x21\x22\x23\x24\x25\x26\x27\x29\x31\x32\x33\x34\x35\x36\x37\x38"
        "\x41\x42\x43\x44\x45\x46\x47\x48\x00\x00\x00\x00\x00\x00\x00\x07"
        "\x00\x00\x03\x00\x00\x00\x00\x09\x05\xac\x02\xab\x02\x00\x03\x00"
        "\x05\x10\x2d\x2e\x2f\x30\x31\x32\x33\x34\x35\x36\x37\x38\x39\x3a"
        "\x3b\x3c\x01\x06\x05\x2e\x2f\x30\x31\x32\x02\x06\x01\x2f\x85\xe4"
        "\x88\x0b";
    struct wire_message m;
    struct buf b = BUF_INIT;
    wire_sample_make(WIRE_APPEND, WIRE_SAMPLE_PLAIN, &m);
    wire_encode(&m, &b);
    assert_int_equal(b.len, sizeof expected - 1);
    assert_memory_equal(b.data, expected, b.len);
    wire_message_free(&m);
    buf_free(&b);
}

/* ---- damage ---- */

static void check_truncations(enum wire_type type, const uint8_t *p, size_t len)
{
    (void)type;
    static struct wire_message m;
    for (size_t cut = 0; cut < len; cut += cut < 2000 ? 1 : 97)
        assert_true(wire_decode_copy(p, cut, &m) < 0);
}

static void test_every_truncation_is_refused(void **state)
{
    (void)state;
    for_each_sample(check_truncations);
}

static void check_bit_flips(enum wire_type type, const uint8_t *p, size_t len)
{
    (void)type;
    static struct wire_message m;
    uint8_t *copy = mem_dup(p, len);
    for (size_t bit = 0; bit < len * 8; bit += bit < 4000 ? 1 : 101) {
        copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
        int err = wire_decode(copy, len, &m);
        assert_int_equal(err, bit < 32 ? ERR_INVALID : bit < 40 ? ERR_VERSION : ERR_CORRUPT);
        copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    mem_free(copy);
}

static void test_every_flipped_bit_is_refused(void **state)
{
    (void)state;
    for_each_sample(check_bit_flips);
}

/* Also when the checksum is right: every cut of the payload, and a byte too many. */
static void check_wrong_lengths(enum wire_type type, const uint8_t *p, size_t len)
{
    (void)type;
    uint8_t *copy = mem_zalloc(len + 1);
    for (size_t cut = WIRE_HEADER_BYTES + 4; cut <= len + 1; cut += cut < 2000 ? 1 : 97) {
        if (cut == len)
            continue;
        memcpy(copy, p, len);
        copy[len] = 0;
        wire_sample_reseal(copy, cut);
        wire_assert_refused(copy, cut, ERR_INVALID);
    }
    mem_free(copy);
}

static void test_payload_of_wrong_length_is_refused_though_checksum_is_right(void **state)
{
    (void)state;
    for_each_sample(check_wrong_lengths);
}

/* What is taken must be something that we could have sent ourselves. */
static void assert_reencodes(struct wire_message *m)
{
    static struct wire_message again;
    struct buf b = BUF_INIT, c = BUF_INIT;
    wire_encode(m, &b);
    assert_int_equal(wire_decode(b.data, b.len, &again), 0);
    wire_encode(&again, &c);
    assert_int_equal(b.len, c.len);
    assert_memory_equal(b.data, c.data, b.len);
    wire_message_free(&again);
    buf_free(&b);
    buf_free(&c);
}

static unsigned n_taken;

static void check_random_changes(enum wire_type type, const uint8_t *p, size_t len)
{
    static struct wire_message m;
    struct rng rng = {type};
    uint8_t *copy = mem_alloc(len);
    for (unsigned round = 0; round < 500; round++) {
        memcpy(copy, p, len);
        for (unsigned i = (unsigned)rng_range(&rng, 1, 4); i > 0; i--)
            copy[rng_range(&rng, WIRE_HEADER_BYTES - 16, len - 5)] = (uint8_t)rng_next(&rng);
        wire_sample_reseal(copy, len);
        if (wire_decode_copy(copy, len, &m) < 0)
            continue;
        wire_message_free(&m); /* the copy it borrowed from is gone */
        assert_int_equal(wire_decode(copy, len, &m), 0);
        assert_reencodes(&m);
        wire_message_free(&m);
        n_taken++;
    }
    mem_free(copy);
}

static void test_random_changes_are_refused_or_make_sense(void **state)
{
    (void)state;
    n_taken = 0;
    for_each_sample(check_random_changes);
    assert_true(n_taken > 1000); /* the test reaches what lies behind the checks */
}

static void test_random_bytes_are_refused(void **state)
{
    (void)state;
    static struct wire_message m;
    struct rng rng = {1};
    uint8_t bytes[400];
    for (unsigned round = 0; round < 20000; round++) {
        size_t len = rng_range(&rng, 0, sizeof bytes);
        for (size_t i = 0; i < len; i++)
            bytes[i] = (uint8_t)rng_next(&rng);
        if (round % 2 && len > 5)
            memcpy(bytes, "CRAB\1", 5);
        assert_true(wire_decode_copy(bytes, len, &m) < 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_message_comes_back_as_it_was),
        cmocka_unit_test(test_append_of_most_entries_comes_back),
        cmocka_unit_test(test_every_error_comes_back_as_it_was),
        cmocka_unit_test(test_error_numbers_are_those_of_the_manual),
        cmocka_unit_test(test_error_number_of_a_newer_version_is_unknown),
        cmocka_unit_test(test_bytes_are_those_of_the_manual),
        cmocka_unit_test(test_every_truncation_is_refused),
        cmocka_unit_test(test_every_flipped_bit_is_refused),
        cmocka_unit_test(test_payload_of_wrong_length_is_refused_though_checksum_is_right),
        cmocka_unit_test(test_random_changes_are_refused_or_make_sense),
        cmocka_unit_test(test_random_bytes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
