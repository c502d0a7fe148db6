/* SPDX-License-Identifier: MIT
 * The configuration of the daemon: defaults, crabcluster.conf, environment and
 * command line become one struct with every effective value. Nothing in here
 * prints on its own or exits: that is main's business.
 */
#ifndef CONF_CONF_H
#define CONF_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"

/* One id for each option; conf/options.c says what it is. */
enum conf_id {
    CONF_BIND_ADDR,
    CONF_ADVERTISE_ADDR,
    CONF_DATA_DIR,
    CONF_PEERS,
    CONF_AUTO_INIT,
    CONF_ALLOW_INSECURE,
    CONF_ALLOWED_ORIGINS,
    CONF_HEARTBEAT_INTERVAL,
    CONF_ELECTION_TIMEOUT_MIN,
    CONF_ELECTION_TIMEOUT_MAX,
    CONF_MAX_PAYLOAD_ENTRIES,
    CONF_MAX_PAYLOAD_BYTES,
    CONF_REPLICATION_LAG_THRESHOLD,
    CONF_CLOCK_DRIFT_MAX,
    CONF_CHECKPOINT_ENTRIES,
    CONF_CHECKPOINT_BYTES,
    CONF_CHECKPOINT_INTERVAL,
    CONF_LOG_TAIL_ENTRIES,
    CONF_LOG_TAIL_BYTES,
    CONF_DISK_STALL_TIMEOUT,
    CONF_MAX_VALUE_SIZE,
    CONF_MAX_CONNECTIONS,
    CONF_REQUEST_TIMEOUT,
    CONF_HTTP_THREADS,
    CONF_LOG_LEVEL,
    CONF_LOG_TARGET,
    CONF_OPTIONS
};

/* Where an effective value came from; a later one wins over an earlier one. */
enum conf_source { CONF_DEFAULT, CONF_FILE, CONF_ENVIRONMENT, CONF_FLAG };

struct conf_origin {
    enum conf_source source;
    unsigned line; /* of the file, 0 for other sources */
};

struct conf_list {
    char **items; /* owned, and each item */
    size_t n;
};

/* Plain data. Zero-initialised it is empty and may be freed. */
struct conf {
    char *config_file;  /* owned; the file that was read, NULL when none was */
    char *restore_file; /* owned; CONF_RESTORE, CONF_RECOVER: the backup, as it was given */

    char *bind_addr;      /* owned, HOST:PORT */
    char *advertise_addr; /* owned, HOST:PORT, never a wildcard */
    char *data_dir;       /* owned, absolute */
    struct conf_list peers;
    bool auto_init;
    bool allow_insecure;
    struct conf_list allowed_origins;

    uint64_t heartbeat_interval_ms;
    uint64_t election_timeout_min_ms;
    uint64_t election_timeout_max_ms;
    uint64_t max_payload_entries;
    uint64_t max_payload_bytes;
    uint64_t replication_lag_threshold_ms;
    uint64_t clock_drift_max_ms; /* 0: no reads by lease */
    uint64_t checkpoint_entries;
    uint64_t checkpoint_bytes;
    uint64_t checkpoint_interval_ms;
    uint64_t log_tail_entries;
    uint64_t log_tail_bytes;
    uint64_t disk_stall_timeout_ms;

    uint64_t max_value_bytes;
    uint64_t max_connections;
    uint64_t request_timeout_ms;

    uint64_t http_threads; /* at least 1: the option's 0 is resolved */

    enum log_level log_level;
    enum log_target log_target;

    struct conf_origin origin[CONF_OPTIONS];
};

enum conf_action {
    CONF_RUN,
    CONF_CHECK_CONFIG,
    CONF_RECOVER, /* tell what data_dir holds, or restore_file when there is one */
    CONF_RESTORE, /* restore_file into data_dir */
    CONF_FORCE_NEW_CLUSTER,
    CONF_HELP,
    CONF_VERSION
};

#define CONF_ERROR_MAX 1024

/* One line without a newline: "FILE:LINE: option: what is wrong; what to write". */
struct conf_error {
    char text[CONF_ERROR_MAX];
};

/* Reads flags, environment and file. Returns 0 and what the caller asked for;
 * ret_conf is filled (conf_free) but for CONF_HELP and CONF_VERSION, where it
 * is empty. Else a negative code with ret_error filled and nothing to
 * free. Not for several threads at once: libconfuse keeps its scanner in global
 * variables. May be called again, for a reload. */
MUST_CHECK int conf_load(int argc, char *const *argv, struct conf *ret_conf,
                         enum conf_action *ret_action, struct conf_error *ret_error);
/* The same with another file in place of SYSCONFDIR/crabcluster.conf, for tests. */
MUST_CHECK int conf_load_from(const char *default_file, int argc, char *const *argv,
                              struct conf *ret_conf, enum conf_action *ret_action,
                              struct conf_error *ret_error);
/* Frees what conf owns and leaves it empty. */
void conf_free(struct conf *conf);

/* Takes over fresh's values of the options that may change while the daemon
 * runs (log level and limits). Appends to changed what did ("log.level: info ->
 * debug", separated by ", ") and to restart what differs but needs a restart. */
void conf_reload(struct conf *running, const struct conf *fresh, struct buf *changed,
                 struct buf *restart);

/* Every effective value with its origin, as a file that would be read back to
 * the same values. For --check-config. */
void conf_print(const struct conf *conf, FILE *out);
/* Usage, flags, environment and options, from the table. For --help. */
void conf_print_help(FILE *out);

#endif
