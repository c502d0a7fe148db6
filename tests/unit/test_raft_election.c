/* SPDX-License-Identifier: MIT
 * raft/: elections, as protocol stories.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "raft_cluster.h"

static void test_election_of_three_voters_gives_one_leader(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct cluster *c = cluster_new(seed, 3, 3);
        unsigned leader = cluster_elect(c);
        cluster_write_entries(c, leader, 50);
        cluster_run(c, 2 * HEARTBEAT_TICKS);
        for (unsigned i = 0; i < 3; i++) {
            struct raft_status s = raft_status(c->nodes[i].core);
            assert_true(uuid_equal(s.leader, cluster_id(leader)));
            assert_int_equal(s.commit, 52);
            assert_int_equal(c->nodes[i].applied, 52);
        }
        cluster_free(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_election_of_three_voters_gives_one_leader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
