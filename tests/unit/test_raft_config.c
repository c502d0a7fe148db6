/* SPDX-License-Identifier: MIT
 * raft/config: against etcd-io/raft's test data; the bytes of a configuration.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/rng.h"
#include "conformance.h"
#include "raft/config.h"

/* ---- the transcripts ---- */

enum { IDS = 64 };

/* What etcd-io/raft's Changer holds: the configuration, a progress for each
 * node, and how many steps there were, failed ones too. */
struct changer {
    struct raft_config config;
    uint64_t next[IDS]; /* by id; 0: no progress */
    uint64_t last_index;
};

static struct raft_member member(uint64_t id)
{
    return (struct raft_member){.id = {0, id}, .addr = "host:1"};
}

static unsigned read_changes(const struct conformance_case *c, struct raft_change changes[])
{
    char input[CASE_TEXT];
    memcpy(input, c->input, sizeof input);
    unsigned n = 0;
    char *rest = NULL;
    for (char *t = strtok_r(input, " \t\r\n", &rest); t; t = strtok_r(NULL, " \t\r\n", &rest)) {
        enum raft_change_type type = t[0] == 'v'   ? RAFT_ADD_VOTER
                                     : t[0] == 'l' ? RAFT_ADD_LEARNER
                                     : t[0] == 'r' ? RAFT_REMOVE
                                                   : RAFT_UPDATE;
        assert_non_null(strchr("vlru", t[0]));
        uint64_t id = strtoull(t + 1, NULL, 10);
        assert_true(n < CASE_VALUES && id < IDS);
        changes[n++] = (struct raft_change){type, member(id)};
    }
    return n;
}

/* A progress begins where a node is first tracked and ends where nothing tracks it. */
static void track_changes(struct changer *ch, bool joint, const struct raft_change changes[],
                          unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        uint64_t id = changes[i].member.id.lo;
        const struct raft_member *before = raft_config_find(&ch->config, changes[i].member.id);
        bool outgoing = joint && before && (before->roles & RAFT_VOTER);
        bool adds = changes[i].type == RAFT_ADD_VOTER || changes[i].type == RAFT_ADD_LEARNER;
        if (id == 0)
            continue;
        if (adds && ch->next[id] == 0)
            ch->next[id] = ch->last_index > 1 ? ch->last_index : 1;
        if (changes[i].type == RAFT_REMOVE && !outgoing)
            ch->next[id] = 0;
    }
}

static void track_leave(struct changer *ch, const struct raft_config *left)
{
    for (uint64_t id = 1; id < IDS; id++)
        if (!raft_config_find(left, (struct uuid){0, id}))
            ch->next[id] = 0;
}

/* The words of etcd-io/raft for our codes. */
static const char *error_text(const struct conformance_case *c, int err, bool had_voters)
{
    bool simple = strcmp(c->command, "simple") == 0;
    switch (err) {
    case ERR_EMPTY:
        return simple || had_voters ? "removed all voters" : "can't make a zero-voter config joint";
    case ERR_NOT_ALLOWED:
        return "more than one voter changed without entering joint config";
    case ERR_IN_PROGRESS:
        return simple ? "can't apply simple config change in joint config"
                      : "config is already joint";
    case ERR_INVALID:
        return "can't leave a non-joint config";
    default:
        return err_name(err);
    }
}

/* Adds "name=(1 2)" of all members with the roles `all` and none of `none`. */
static void print_set(struct buf *b, const char *before, const struct raft_config *config,
                      uint8_t all, bool even_if_empty)
{
    unsigned n = 0;
    struct buf ids = BUF_INIT;
    for (unsigned i = 0; i < config->n_members; i++)
        if ((config->members[i].roles & all) == all)
            buf_printf(&ids, "%s%llu", n++ ? " " : "",
                       (unsigned long long)config->members[i].id.lo);
    if (n > 0 || even_if_empty)
        buf_printf(b, "%s(%s)", before, buf_str(&ids));
    buf_free(&ids);
}

static void print_state(struct buf *b, const struct changer *ch)
{
    const struct raft_config *config = &ch->config;
    print_set(b, "voters=", config, RAFT_VOTER, true);
    print_set(b, "&&", config, RAFT_VOTER_OLD, false);
    print_set(b, " learners=", config, RAFT_LEARNER, false);
    print_set(b, " learners_next=", config, RAFT_LEARNER_NEXT, false);
    buf_printf(b, "%s\n", config->auto_leave ? " autoleave" : "");
    for (uint64_t id = 1; id < IDS; id++) {
        const struct raft_member *m = raft_config_find(config, (struct uuid){0, id});
        assert_int_equal(m != NULL, ch->next[id] != 0);
        if (m)
            buf_printf(b, "%llu: StateProbe match=0 next=%llu%s\n", (unsigned long long)id,
                       (unsigned long long)ch->next[id], m->roles & RAFT_LEARNER ? " learner" : "");
    }
}

static int run_command(const struct conformance_case *c, struct changer *ch)
{
    struct raft_change changes[CASE_VALUES];
    unsigned n = read_changes(c, changes);
    struct raft_config to;
    int rc = ERR_UNKNOWN;
    bool simple = strcmp(c->command, "simple") == 0;
    if (strcmp(c->command, "leave-joint") == 0) {
        rc = raft_config_leave_joint(&ch->config, &to);
        if (rc == 0)
            track_leave(ch, &to);
    } else if (simple || strcmp(c->command, "enter-joint") == 0) {
        const struct conformance_arg *leave = conformance_arg(c, "autoleave");
        bool auto_leave = leave && strcmp(leave->values[0], "true") == 0;
        rc = simple ? raft_config_simple(&ch->config, changes, n, &to)
                    : raft_config_enter_joint(&ch->config, changes, n, auto_leave, &to);
        if (rc == 0)
            track_changes(ch, !simple, changes, n);
    }
    if (rc == 0)
        ch->config = to;
    return rc;
}

static void run_case(const struct conformance_case *c, void *context)
{
    struct changer *ch = context;
    bool had_voters = raft_config_n_voters(&ch->config) > 0;
    int rc = run_command(c, ch);
    ch->last_index++;
    struct buf got = BUF_INIT;
    if (rc == 0)
        print_state(&got, ch);
    else
        buf_printf(&got, "%s\n", error_text(c, rc, had_voters));
    if (strcmp(buf_str(&got), c->expected) != 0)
        fail_msg("%s:%u: got\n%s\nexpected\n%s", c->file, c->line, buf_str(&got), c->expected);
    buf_free(&got);
}

static void begin(void *context)
{
    memset(context, 0, sizeof(struct changer));
}

static void test_config_conformance_data_agrees(void **state)
{
    (void)state;
    static struct changer ch; /* large; and a skipped test does not return here */
    conformance_each("confchange", begin, run_case, &ch);
}

/* ---- properties ---- */

static bool is_in(const struct raft_config *c, uint64_t id, uint8_t roles)
{
    const struct raft_member *m = raft_config_find(c, (struct uuid){0, id});
    return m && (m->roles & roles);
}

/* Entering and leaving a joint configuration gives what the same changes give
 * one after the other, and its outgoing voters are the old voters. */
static void test_config_joint_of_any_changes_reaches_their_result(void **state)
{
    (void)state;
    struct rng rng = {3};
    struct raft_config c = {0};
    struct raft_change first = {RAFT_ADD_VOTER, member(1)};
    assert_int_equal(raft_config_simple(&c, &first, 1, &c), 0);
    unsigned n_changed = 0;
    for (unsigned round = 0; round < 5000; round++) {
        struct raft_change changes[6];
        unsigned n = (unsigned)rng_range(&rng, 0, 6);
        char last[10] = {0}; /* what is wished for each id in the end */
        for (unsigned i = 0; i < n; i++) {
            uint64_t id = rng_range(&rng, 1, 9);
            enum raft_change_type type = (enum raft_change_type)rng_range(&rng, 0, 2);
            changes[i] = (struct raft_change){type, member(id)};
            last[id] = "vlr"[type];
        }
        struct raft_config joint, left;
        if (raft_config_enter_joint(&c, changes, n, true, &joint) < 0)
            continue;
        assert_true(raft_config_is_joint(&joint));
        assert_int_equal(raft_config_leave_joint(&joint, &left), 0);
        for (uint64_t id = 1; id <= 9; id++) {
            assert_int_equal(is_in(&joint, id, RAFT_VOTER_OLD), is_in(&c, id, RAFT_VOTER));
            bool voter = last[id] ? last[id] == 'v' : is_in(&c, id, RAFT_VOTER);
            bool learner = last[id] ? last[id] == 'l' : is_in(&c, id, RAFT_LEARNER);
            assert_int_equal(is_in(&left, id, RAFT_VOTER), voter);
            assert_int_equal(is_in(&left, id, RAFT_LEARNER), learner);
        }
        assert_false(raft_config_is_joint(&left) || left.auto_leave);
        c = left;
        n_changed++;
    }
    assert_true(n_changed > 1000);
}

static void test_config_too_many_members_refused(void **state)
{
    (void)state;
    struct raft_config c = {0};
    for (uint64_t id = 1; id <= LIMIT_MEMBERS; id++) {
        struct raft_change add = {RAFT_ADD_VOTER, member(id)};
        assert_int_equal(raft_config_simple(&c, &add, 1, &c), 0);
    }
    struct raft_change more = {RAFT_ADD_LEARNER, member(LIMIT_MEMBERS + 1)};
    assert_int_equal(raft_config_simple(&c, &more, 1, &c), ERR_TOO_LARGE);
    assert_int_equal(c.n_members, LIMIT_MEMBERS);
}

static void test_config_update_replaces_addr_never_the_disk(void **state)
{
    (void)state;
    struct raft_config c = {0};
    struct raft_change change = {RAFT_ADD_VOTER, member(1)};
    assert_int_equal(raft_config_simple(&c, &change, 1, &c), 0);
    change.type = RAFT_UPDATE;
    strcpy(change.member.addr, "other:2");
    assert_int_equal(raft_config_simple(&c, &change, 1, &c), 0);
    assert_string_equal(c.members[0].addr, "other:2");
    assert_int_equal(c.members[0].roles, RAFT_VOTER);
    change.member.incarnation++; /* 41: an old id is not given to a new disk */
    strcpy(change.member.addr, "other:3");
    assert_int_equal(raft_config_simple(&c, &change, 1, &c), ERR_INCARNATION_MISMATCH);
    assert_string_equal(c.members[0].addr, "other:2");
}

/* ---- bytes ---- */

static struct raft_config sample(void)
{
    struct raft_config c = {.n_members = 3, .auto_leave = true};
    c.members[0] = member(1);
    c.members[0].roles = RAFT_VOTER | RAFT_VOTER_OLD;
    c.members[1] = member(2);
    c.members[1].roles = RAFT_VOTER_OLD | RAFT_LEARNER_NEXT;
    c.members[1].incarnation = 0x0123456789abcdef;
    c.members[2] = member(9);
    c.members[2].roles = RAFT_LEARNER;
    memset(c.members[2].addr, 'a', LIMIT_ADDR_BYTES);
    return c;
}

static void test_config_learner_to_be_voter_is_marked_until_it_is(void **state)
{
    (void)state;
    struct raft_config c = {0}, back;
    struct buf b = BUF_INIT;
    struct raft_change changes[] = {{RAFT_ADD_VOTER, member(1)}, {RAFT_ADD_VOTER_SOON, member(2)}};
    assert_int_equal(raft_config_simple(&c, changes, 2, &c), 0);
    assert_int_equal(c.members[1].roles, RAFT_LEARNER | RAFT_VOTER_SOON);
    raft_config_encode(&c, &b);
    assert_int_equal(b.data[0], 2); /* an older program says what it does not know */
    assert_int_equal(raft_config_decode(b.data, b.len, &back), 0);
    assert_int_equal(back.members[1].roles, RAFT_LEARNER | RAFT_VOTER_SOON);
    changes[0].type = RAFT_ADD_VOTER_SOON; /* of a voter: nothing */
    changes[1].type = RAFT_ADD_LEARNER;    /* takes the mark away */
    assert_int_equal(raft_config_simple(&c, changes, 2, &c), 0);
    assert_int_equal(c.members[0].roles, RAFT_VOTER);
    assert_int_equal(c.members[1].roles, RAFT_LEARNER);
    changes[1].type = RAFT_ADD_VOTER_SOON;
    assert_int_equal(raft_config_simple(&c, changes, 2, &c), 0);
    changes[1].type = RAFT_ADD_VOTER;
    assert_int_equal(raft_config_simple(&c, changes, 2, &c), 0);
    assert_int_equal(c.members[1].roles, RAFT_VOTER);
    buf_free(&b);
}

static void test_config_bytes_round_trip(void **state)
{
    (void)state;
    struct raft_config c = sample(), back;
    struct buf b = BUF_INIT, again = BUF_INIT;
    raft_config_encode(&c, &b);
    assert_int_equal(raft_config_decode(b.data, b.len, &back), 0);
    raft_config_encode(&back, &again);
    assert_int_equal(b.len, again.len);
    assert_memory_equal(b.data, again.data, b.len);
    assert_int_equal(back.members[1].incarnation, 0x0123456789abcdef);
    assert_int_equal(strlen(back.members[2].addr), LIMIT_ADDR_BYTES);
    assert_true(back.auto_leave);
    buf_free(&b);
    buf_free(&again);
}

static void expect_refused(const struct raft_config *c, int err)
{
    struct buf b = BUF_INIT;
    struct raft_config out = {.n_members = 7};
    raft_config_encode(c, &b);
    assert_int_equal(raft_config_decode(b.data, b.len, &out), err);
    assert_int_equal(out.n_members, 7);
    buf_free(&b);
}

static void test_config_bytes_of_impossible_configs_refused(void **state)
{
    (void)state;
    struct raft_config c = sample();
    c.members[2].id.lo = 2; /* twice */
    expect_refused(&c, ERR_INVALID);
    c = sample();
    c.members[2].id.lo = 1; /* not sorted */
    expect_refused(&c, ERR_INVALID);
    c = sample();
    c.members[2].roles = RAFT_LEARNER | RAFT_VOTER;
    expect_refused(&c, ERR_INVALID);
    c = sample();
    c.members[2].roles = 0;
    expect_refused(&c, ERR_INVALID);
    c = sample();
    c.members[0].id = UUID_ZERO;
    expect_refused(&c, ERR_INVALID);
    c = sample();
    c.members[0].roles = RAFT_LEARNER; /* nobody votes in the incoming set */
    expect_refused(&c, ERR_INVALID);
    c = sample();
    c.members[0].roles = RAFT_VOTER;
    c.members[1].roles = RAFT_LEARNER; /* auto_leave of nothing */
    expect_refused(&c, ERR_INVALID);
}

static void test_config_bytes_cut_or_damaged_are_no_danger(void **state)
{
    (void)state;
    struct raft_config c = sample(), out;
    struct buf b = BUF_INIT;
    raft_config_encode(&c, &b);
    for (size_t len = 0; len < b.len; len++)
        assert_true(raft_config_decode(b.data, len, &out) < 0);
    buf_append(&b, "x", 1);
    assert_int_equal(raft_config_decode(b.data, b.len, &out), ERR_INVALID);
    b.len--;
    b.data[0] = 2; /* which nothing in it needs */
    assert_int_equal(raft_config_decode(b.data, b.len, &out), ERR_INVALID);
    b.data[0] = 3;
    assert_int_equal(raft_config_decode(b.data, b.len, &out), ERR_VERSION);
    b.data[0] = 1;
    b.data[2] = LIMIT_MEMBERS + 1;
    assert_int_equal(raft_config_decode(b.data, b.len, &out), ERR_TOO_LARGE);
    b.data[2] = 3;
    struct rng rng = {4};
    for (unsigned i = 0; i < 20000; i++) {
        size_t at = rng_range(&rng, 0, b.len - 1);
        uint8_t old = b.data[at];
        b.data[at] = (uint8_t)rng_next(&rng);
        if (raft_config_decode(b.data, b.len, &out) == 0)
            assert_true(out.n_members <= LIMIT_MEMBERS && raft_config_n_voters(&out) > 0);
        b.data[at] = old;
    }
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config_conformance_data_agrees),
        cmocka_unit_test(test_config_joint_of_any_changes_reaches_their_result),
        cmocka_unit_test(test_config_too_many_members_refused),
        cmocka_unit_test(test_config_update_replaces_addr_never_the_disk),
        cmocka_unit_test(test_config_learner_to_be_voter_is_marked_until_it_is),
        cmocka_unit_test(test_config_bytes_round_trip),
        cmocka_unit_test(test_config_bytes_of_impossible_configs_refused),
        cmocka_unit_test(test_config_bytes_cut_or_damaged_are_no_danger),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
