/* SPDX-License-Identifier: MIT */
#include "ctl/commands.h"

#include <stddef.h>

#include "ctl/handlers.h"

#define F(id)    ((uint64_t)1 << FLAG_##id)
#define READ     (F(CONSISTENCY) | F(MIN_REVISION))
#define OFFLINE  (F(CONFIG) | F(BIND_ADDR) | F(ADVERTISE_ADDR) | F(DAEMON))
#define LOAD     (F(MIX) | F(CLIENTS) | F(KEYS) | F(VALUE_SIZE) | F(DURATION) | F(FILL))
#define ANY_WORD ARGS_WORDS_MAX

_Static_assert(FLAG_IDS <= 64, "a bit for each flag");

/* clang-format off */
const struct flag flags[FLAG_IDS] = {
    [FLAG_ENDPOINTS] = {"endpoints", "HOST:PORT,...", "nodes to ask, the first that answers counts"},
    [FLAG_TIMEOUT] = {"timeout", "DURATION", "how long a request may take"},
    [FLAG_JSON] = {"json", NULL, "print JSON"},
    [FLAG_QUIET] = {"quiet", NULL, "print nothing but results and errors"},
    [FLAG_CURL] = {"curl", NULL, "print the equivalent curl command, and do nothing else"},
    [FLAG_VERSION] = {"version", NULL, "print the version, then exit"},
    [FLAG_HELP] = {"help", NULL, "print this text, or that of a command, then exit"},
    [FLAG_KEY_B64] = {"key-b64", NULL, "the key is given in base64"},
    [FLAG_CONSISTENCY] = {"consistency", "WORD", "linearizable (the default), lease or stale"},
    [FLAG_MIN_REVISION] = {"min-revision", "REVISION", "wait until the node has come so far"},
    [FLAG_IF_ABSENT] = {"if-absent", NULL, "only where there is no such key"},
    [FLAG_IF_REVISION] = {"if-revision", "REVISION", "only while the key has this revision"},
    [FLAG_CONTENT_TYPE] = {"content-type", "TYPE", "kept with the value, and answered with it"},
    [FLAG_FILE] = {"file", "FILE", "take the value from this file"},
    [FLAG_PREFIX] = {"prefix", "PREFIX", "all keys that begin so"},
    [FLAG_ALL] = {"all", NULL, "all keys there are"},
    [FLAG_LONG] = {"long", NULL, "print revisions, versions and sizes as well"},
    [FLAG_LIMIT] = {"limit", "N", "at most so many"},
    [FLAG_DELIMITER] = {"delimiter", "TEXT", "keys that have this behind the prefix count once"},
    [FLAG_REVERSE] = {"reverse", NULL, "the last key first"},
    [FLAG_LEARNER] = {"learner", NULL, "without a vote"},
    [FLAG_FORCE] = {"force", NULL, "do it although something speaks against it"},
    [FLAG_DATA_DIR] = {"data-dir", "DIR", "the data directory to make"},
    [FLAG_CONFIG] = {"config", "FILE", "the daemon's configuration, see crabcluster(8)"},
    [FLAG_BIND_ADDR] = {"bind-addr", "HOST:PORT", "the node's address to listen on"},
    [FLAG_ADVERTISE_ADDR] = {"advertise-addr", "HOST:PORT", "the address others reach the node by"},
    [FLAG_DAEMON] = {"daemon", "FILE", "the program crabcluster, when it is not found by itself"},
    [FLAG_YES] = {"yes", NULL, "do not ask"},
    [FLAG_DRY_RUN] = {"dry-run", NULL, "show what there is, and change nothing"},
    [FLAG_MIX] = {"mix", "OP=N,...", "shares of put, get, stale, incr and del"},
    [FLAG_CLIENTS] = {"clients", "N", "connections, each with one request at a time"},
    [FLAG_KEYS] = {"keys", "N", "different keys, taken at random"},
    [FLAG_VALUE_SIZE] = {"value-size", "SIZE", "bytes of a value"},
    [FLAG_DURATION] = {"duration", "DURATION", "how long"},
    [FLAG_FILL] = {"fill", NULL, "write every key once before"},
};

const struct command commands[] = {
    {"status", "", 0, 0, 0, false, "how the cluster and each member is", cluster_status},
    {"get", "KEY", 1, 1, F(KEY_B64) | READ, false,
     "print a key's value", key_get},
    {"put", "KEY [VALUE]", 1, 2,
     F(KEY_B64) | F(FILE) | F(CONTENT_TYPE) | F(IF_ABSENT) | F(IF_REVISION), false,
     "store a value: the word, a file, or standard input", key_put},
    {"del", "[KEY]", 0, 1, F(KEY_B64) | F(IF_REVISION) | F(PREFIX) | F(ALL), false,
     "delete a key, or all that begin with a prefix", key_del},
    {"incr", "KEY [BY]", 1, 2, F(KEY_B64), false,
     "add to a counter (1, or BY, which may be negative) and print it", key_incr},
    {"ls", "[PREFIX]", 0, 1,
     F(KEY_B64) | F(LONG) | F(LIMIT) | F(DELIMITER) | F(REVERSE) | READ, false,
     "list keys", key_ls},
    {"member list", "", 0, 0, 0, false, "the nodes of the cluster", member_list},
    {"member add", "HOST:PORT", 1, 1, F(LEARNER), false,
     "add a new node, as a voter once it has caught up", member_add},
    {"member remove", "ID|HOST:PORT", 1, 1, 0, false,
     "remove a node, alive or dead", member_remove},
    {"member promote", "ID|HOST:PORT", 1, 1, 0, false, "make a learner a voter", member_promote},
    {"member demote", "ID|HOST:PORT", 1, 1, 0, false, "make a voter a learner", member_demote},
    {"leader show", "", 0, 0, 0, false, "print the id and address of the leader", leader_show},
    {"leader transfer", "[ID|HOST:PORT]", 0, 1, 0, false,
     "let another node lead", leader_transfer},
    {"init", "", 0, 0, 0, false, "make one node a cluster of its own", cluster_init},
    {"snapshot save", "FILE", 1, 1, F(FORCE), false, "back up the whole state", snapshot_save},
    {"snapshot status", "FILE", 1, 1, F(DAEMON), true,
     "verify a backup, and print what it holds", snapshot_status},
    {"snapshot restore", "FILE", 1, 1, F(DATA_DIR) | OFFLINE, true,
     "make a new node of a backup", snapshot_restore},
    {"recover", "DIR...", 1, ANY_WORD, OFFLINE | F(YES) | F(DRY_RUN) | F(FORCE), true,
     "after the loss of a majority: let the best data directory go on alone", recover_run},
    {"export", "[FILE]", 0, 1, F(PREFIX), false,
     "write keys and values as lines of JSON", export_run},
    {"import", "[FILE]", 0, 1, F(IF_ABSENT) | F(CLIENTS), false,
     "store what export wrote", import_run},
    {"bench", "", 0, 0, LOAD | F(PREFIX), true, "put load on the cluster and measure it", bench_run},
    {"completion", "bash", 1, 1, 0, true, "print the completion for a shell", completion_run},
    {NULL, NULL, 0, 0, 0, false, NULL, NULL},
};
/* clang-format on */

bool command_takes(const struct command *cmd, enum flag_id id)
{
    return id < FLAG_GLOBALS || cmd->flags >> id & 1;
}
