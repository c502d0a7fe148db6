/* SPDX-License-Identifier: MIT
 * raft/quorum: against etcd-io/raft's test data and against counting by hand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/rng.h"
#include "conformance.h"
#include "raft/quorum.h"

/* Members in the order of the data: the quorum does not need them sorted. */
static void add_voters(struct raft_config *config, const struct conformance_arg *ids, uint8_t role)
{
    for (unsigned i = 0; ids && i < ids->n_values; i++) {
        if (strcmp(ids->values[i], "zero") == 0)
            continue;
        struct uuid id = {0, strtoull(ids->values[i], NULL, 10)};
        unsigned k = 0;
        while (k < config->n_members && !uuid_equal(config->members[k].id, id))
            k++;
        if (k == config->n_members) {
            assert_true(config->n_members < LIMIT_MEMBERS);
            config->members[config->n_members++].id = id;
        }
        config->members[k].roles |= role;
    }
}

static const char *last_line(const char *text)
{
    size_t len = strlen(text);
    while (len > 0 && text[len - 1] == '\n')
        len--;
    while (len > 0 && text[len - 1] != '\n')
        len--;
    return text + len;
}

static uint64_t expected_index(const struct conformance_case *c)
{
    const char *line = last_line(c->expected);
    return strstr(line, "\xe2\x88\x9e") ? UINT64_MAX : strtoull(line, NULL, 10); /* infinity sign */
}

static void run_committed(const struct conformance_case *c, const struct raft_config *config)
{
    uint64_t indexes[LIMIT_MEMBERS] = {0};
    const struct conformance_arg *idx = conformance_arg(c, "idx");
    for (unsigned i = 0; idx && i < idx->n_values; i++)
        indexes[i] = strtoull(idx->values[i], NULL, 10); /* "_" is 0: nothing known */
    uint64_t got = raft_quorum_index(config, indexes);
    if (got != expected_index(c))
        fail_msg("%s:%u: got %llu, expected %s", c->file, c->line, (unsigned long long)got,
                 c->expected);
}

static void run_vote(const struct conformance_case *c, const struct raft_config *config)
{
    enum raft_ballot ballots[LIMIT_MEMBERS] = {RAFT_BALLOT_NONE};
    const struct conformance_arg *votes = conformance_arg(c, "votes");
    for (unsigned i = 0; votes && i < votes->n_values; i++)
        ballots[i] = votes->values[i][0] == 'y'   ? RAFT_BALLOT_YES
                     : votes->values[i][0] == 'n' ? RAFT_BALLOT_NO
                                                  : RAFT_BALLOT_NONE;
    static const char *const texts[] = {"VotePending", "VoteLost", "VoteWon"};
    const char *got = texts[raft_quorum_vote(config, ballots)];
    if (strncmp(last_line(c->expected), got, strlen(got)) != 0)
        fail_msg("%s:%u: got %s, expected %s", c->file, c->line, got, c->expected);
}

static void run_case(const struct conformance_case *c, void *context)
{
    (void)context;
    struct raft_config config = {0};
    add_voters(&config, conformance_arg(c, "cfg"), RAFT_VOTER);
    add_voters(&config, conformance_arg(c, "cfgj"), RAFT_VOTER_OLD);
    if (strcmp(c->command, "committed") == 0)
        run_committed(c, &config);
    else if (strcmp(c->command, "vote") == 0)
        run_vote(c, &config);
    else
        fail_msg("%s:%u: unknown command %s", c->file, c->line, c->command);
}

static void begin(void *context)
{
    (void)context;
}

static void test_quorum_conformance_data_agrees(void **state)
{
    (void)state;
    conformance_each("quorum", begin, run_case, NULL);
}

static struct raft_config random_config(struct rng *rng)
{
    static const uint8_t roles[] = {RAFT_VOTER, RAFT_VOTER | RAFT_VOTER_OLD, RAFT_VOTER_OLD,
                                    RAFT_VOTER_OLD | RAFT_LEARNER_NEXT, RAFT_LEARNER};
    struct raft_config config = {.n_members = (unsigned)rng_range(rng, 0, 9)};
    for (unsigned i = 0; i < config.n_members; i++) {
        config.members[i].id = (struct uuid){0, i + 1};
        config.members[i].roles = roles[rng_range(rng, 0, 4)];
    }
    return config;
}

/* The majority of each set that exists says yes. */
static bool all_majorities(const struct raft_config *config, const bool yes[])
{
    for (uint8_t role = RAFT_VOTER; role <= RAFT_VOTER_OLD; role = (uint8_t)(role * 2)) {
        unsigned n = 0, n_yes = 0;
        for (unsigned i = 0; i < config->n_members; i++) {
            n += (config->members[i].roles & role) != 0;
            n_yes += (config->members[i].roles & role) && yes[i];
        }
        if (n > 0 && 2 * n_yes <= n)
            return false;
    }
    return true;
}

static uint64_t slow_index(const struct raft_config *config, const uint64_t indexes[])
{
    bool yes[LIMIT_MEMBERS] = {false};
    if (all_majorities(config, yes))
        return UINT64_MAX;
    uint64_t best = 0;
    for (uint64_t candidate = 0; candidate <= 12; candidate++) {
        for (unsigned i = 0; i < config->n_members; i++)
            yes[i] = indexes[i] >= candidate;
        if (all_majorities(config, yes))
            best = candidate;
    }
    return best;
}

static void test_quorum_index_agrees_with_brute_force(void **state)
{
    (void)state;
    struct rng rng = {1};
    for (unsigned n = 0; n < 20000; n++) {
        struct raft_config config = random_config(&rng);
        uint64_t indexes[LIMIT_MEMBERS];
        for (unsigned i = 0; i < LIMIT_MEMBERS; i++)
            indexes[i] = rng_range(&rng, 0, 12);
        assert_int_equal(raft_quorum_index(&config, indexes), slow_index(&config, indexes));
    }
}

/* Won: all majorities are there already. Lost: not even if all others said yes. */
static void test_quorum_vote_agrees_with_brute_force(void **state)
{
    (void)state;
    struct rng rng = {2};
    unsigned seen[3] = {0};
    for (unsigned n = 0; n < 20000; n++) {
        struct raft_config config = random_config(&rng);
        enum raft_ballot ballots[LIMIT_MEMBERS];
        bool yes[LIMIT_MEMBERS], not_no[LIMIT_MEMBERS];
        for (unsigned i = 0; i < LIMIT_MEMBERS; i++) {
            ballots[i] = (enum raft_ballot)rng_range(&rng, 0, 2);
            yes[i] = ballots[i] == RAFT_BALLOT_YES;
            not_no[i] = ballots[i] != RAFT_BALLOT_NO;
        }
        enum raft_vote_result expected = all_majorities(&config, yes)      ? RAFT_VOTE_WON
                                         : all_majorities(&config, not_no) ? RAFT_VOTE_PENDING
                                                                           : RAFT_VOTE_LOST;
        assert_int_equal(raft_quorum_vote(&config, ballots), expected);
        seen[expected]++;
    }
    assert_true(seen[0] > 100 && seen[1] > 100 && seen[2] > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quorum_conformance_data_agrees),
        cmocka_unit_test(test_quorum_index_agrees_with_brute_force),
        cmocka_unit_test(test_quorum_vote_agrees_with_brute_force),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
