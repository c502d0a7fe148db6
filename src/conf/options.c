/* SPDX-License-Identifier: MIT */
#include "conf/options.h"

#include <stdio.h>
#include <string.h>

#include "base/limits.h"

#define FIELD(f) .offset = offsetof(struct conf, f)

#define SECOND ((uint64_t)1000)
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)

#define GIB (1024 * (uint64_t)MIB)

/* In the order of enum log_level and enum log_target (base/log.h). */
static const char *const level_words[] = {"error", "warn", "info", "debug", NULL};
static const char *const target_words[] = {"stderr", "syslog", NULL};

/* clang-format off */
const struct conf_option conf_options[CONF_OPTIONS] = {
    [CONF_BIND_ADDR] = {
        NULL, "bind-addr", CONF_TYPE_ADDR, FIELD(bind_addr),
        .fallback = "127.0.0.1:8080", .flag = "bind-addr", .flag_arg = "HOST:PORT",
        .help = "address to listen on for clients and peers"},
    [CONF_ADVERTISE_ADDR] = {
        NULL, "advertise-addr", CONF_TYPE_ADDR, FIELD(advertise_addr),
        .computed = "the value of bind-addr", .flag = "advertise-addr", .flag_arg = "HOST:PORT",
        .help = "address that others reach this node by; needed when bind-addr is a wildcard"},
    [CONF_DATA_DIR] = {
        NULL, "data-dir", CONF_TYPE_PATH, FIELD(data_dir),
        .computed = "$XDG_STATE_HOME/crabcluster/HOST-PORT, or below ~/.local/state",
        .flag = "data-dir", .flag_arg = "DIR",
        .help = "directory for everything this node stores"},
    [CONF_PEERS] = {
        NULL, "peers", CONF_TYPE_ADDRS, FIELD(peers), .max = LIMIT_PEERS,
        .fallback = "{}", .flag = "peer", .flag_arg = "HOST:PORT",
        .help = "advertised addresses of all nodes, this one too, in the same order on every node"},
    [CONF_AUTO_INIT] = {
        NULL, "auto-init", CONF_TYPE_BOOL, FIELD(auto_init),
        .fallback = "true",
        .help = "without peers, on loopback: the first client write makes a one-voter cluster"},
    [CONF_ALLOW_INSECURE] = {
        NULL, "allow-insecure", CONF_TYPE_BOOL, FIELD(allow_insecure),
        .fallback = "false",
        .help = "permit a bind-addr that is not loopback, where anyone may read and write"},
    [CONF_ALLOWED_ORIGINS] = {
        NULL, "allowed-origins", CONF_TYPE_ORIGINS, FIELD(allowed_origins), .max = 64,
        .fallback = "{}",
        .help = "origins of web pages that may use this node"},

    [CONF_HEARTBEAT_INTERVAL] = {
        "raft", "heartbeat-interval", CONF_TYPE_DURATION, FIELD(heartbeat_interval_ms),
        .min = 10, .max = 1 * MINUTE, .fallback = "100ms",
        .help = "time between signs of life of the leader"},
    [CONF_ELECTION_TIMEOUT_MIN] = {
        "raft", "election-timeout-min", CONF_TYPE_DURATION, FIELD(election_timeout_min_ms),
        .min = 20, .max = 10 * MINUTE, .fallback = "200ms",
        .help = "shortest silence of the leader that starts an election"},
    [CONF_ELECTION_TIMEOUT_MAX] = {
        "raft", "election-timeout-max", CONF_TYPE_DURATION, FIELD(election_timeout_max_ms),
        .min = 21, .max = 20 * MINUTE, .fallback = "400ms",
        .help = "longest silence of the leader that starts an election"},
    [CONF_MAX_PAYLOAD_ENTRIES] = {
        "raft", "max-payload-entries", CONF_TYPE_COUNT, FIELD(max_payload_entries),
        .min = 1, .max = LIMIT_APPEND_ENTRIES, .fallback = "500",
        .help = "most log entries in one message to a peer"},
    [CONF_MAX_PAYLOAD_BYTES] = {
        "raft", "max-payload-bytes", CONF_TYPE_SIZE, FIELD(max_payload_bytes),
        .min = 4 * KIB, .max = 32 * MIB, .fallback = "1M",
        .help = "size at which a message to a peer takes no further log entry"},
    [CONF_REPLICATION_LAG_THRESHOLD] = {
        "raft", "replication-lag-threshold", CONF_TYPE_DURATION,
        FIELD(replication_lag_threshold_ms),
        .min = 100, .max = 1 * HOUR, .fallback = "2s",
        .help = "how far behind the leader a learner may be and still count as caught up"},
    [CONF_CLOCK_DRIFT_MAX] = {
        "raft", "clock-drift-max", CONF_TYPE_DURATION, FIELD(clock_drift_max_ms),
        .min = 0, .max = 1 * MINUTE, .fallback = "0ms",
        .help = "most that two nodes' clocks drift apart in an election timeout; 0ms: no lease"},
    [CONF_CHECKPOINT_ENTRIES] = {
        "raft", "checkpoint-entries", CONF_TYPE_COUNT, FIELD(checkpoint_entries),
        .min = 10, .max = 100000000, .fallback = "300000",
        .help = "log entries after which the state is made durable"},
    [CONF_CHECKPOINT_BYTES] = {
        "raft", "checkpoint-bytes", CONF_TYPE_SIZE, FIELD(checkpoint_bytes),
        .min = 64 * KIB, .max = 1 * GIB, .fallback = "32M",
        .help = "memory of changes after which the state is made durable"},
    [CONF_CHECKPOINT_INTERVAL] = {
        "raft", "checkpoint-interval", CONF_TYPE_DURATION, FIELD(checkpoint_interval_ms),
        .min = 1 * SECOND, .max = 24 * HOUR, .fallback = "5m",
        .help = "age of a change at which the state is made durable"},
    [CONF_LOG_TAIL_ENTRIES] = {
        "raft", "log-tail-entries", CONF_TYPE_COUNT, FIELD(log_tail_entries),
        .min = 0, .max = 100000000, .fallback = "10000",
        .help = "log entries kept behind a checkpoint for followers that are behind"},
    [CONF_LOG_TAIL_BYTES] = {
        "raft", "log-tail-bytes", CONF_TYPE_SIZE, FIELD(log_tail_bytes),
        .min = 64 * KIB, .max = 16 * GIB, .fallback = "64M",
        .help = "most bytes of log kept behind a checkpoint"},
    [CONF_DISK_STALL_TIMEOUT] = {
        "raft", "disk-stall-timeout", CONF_TYPE_DURATION, FIELD(disk_stall_timeout_ms),
        .min = 100, .max = 1 * HOUR, .fallback = "2s",
        .help = "a leader whose disk completes nothing for so long gives up leadership"},

    [CONF_MAX_VALUE_SIZE] = {
        "limits", "max-value-size", CONF_TYPE_SIZE, FIELD(max_value_bytes),
        .min = 1, .max = LIMIT_VALUE_BYTES, .fallback = "1M", .reloadable = true,
        .help = "largest value that a client may write"},
    [CONF_MAX_CONNECTIONS] = {
        "limits", "max-connections", CONF_TYPE_COUNT, FIELD(max_connections),
        .min = 1, .max = 1000000, .fallback = "10000", .reloadable = true,
        .help = "most connections of clients at the same time"},
    [CONF_REQUEST_TIMEOUT] = {
        "limits", "request-timeout", CONF_TYPE_DURATION, FIELD(request_timeout_ms),
        .min = 10, .max = 10 * MINUTE, .fallback = "5s", .reloadable = true,
        .help = "longest time until a request is answered, if only by an error"},

    [CONF_HTTP_THREADS] = {
        "http", "threads", CONF_TYPE_COUNT, FIELD(http_threads),
        .min = 0, .max = 64, .fallback = "0",
        .help = "threads that serve connections; 0: as many as cores, at most 4"},

    [CONF_LOG_LEVEL] = {
        "log", "level", CONF_TYPE_WORD, FIELD(log_level), .words = level_words,
        .fallback = "info", .flag = "log-level", .flag_arg = "LEVEL", .env = "CRABCLUSTER_LOG",
        .reloadable = true,
        .help = "least severe lines to log"},
    [CONF_LOG_TARGET] = {
        "log", "target", CONF_TYPE_WORD, FIELD(log_target), .words = target_words,
        .fallback = "stderr",
        .help = "where log lines go"},
};

const struct conf_flag conf_flags[FLAG_COUNT] = {
    [FLAG_CONFIG] = {"config", "FILE", "read this file, which must exist"},
    [FLAG_CHECK_CONFIG] = {"check-config", NULL, "print the effective values, then exit"},
    [FLAG_RECOVER] = {"recover", NULL,
                      "tell what the data directory (with --restore: the backup) holds, then exit"},
    [FLAG_RESTORE] = {"restore", "FILE", "make the data directory from a backup, then exit"},
    [FLAG_FORCE_NEW_CLUSTER] = {"force-new-cluster", NULL,
                                "make this node's data a cluster of its own, then exit"},
    [FLAG_VERSION] = {"version", NULL, "print the version, then exit"},
    [FLAG_HELP] = {"help", NULL, "print this text, then exit"},
};
/* clang-format on */

static bool same_section(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

int conf_option_find(const char *section, const char *name)
{
    for (int i = 0; i < CONF_OPTIONS; i++) {
        const struct conf_option *o = &conf_options[i];
        if (same_section(o->section, section) && strcmp(o->name, name) == 0)
            return i;
    }
    return -1;
}

bool conf_section_exists(const char *section)
{
    for (int i = 0; i < CONF_OPTIONS; i++) {
        if (conf_options[i].section && strcmp(conf_options[i].section, section) == 0)
            return true;
    }
    return false;
}

bool conf_option_is_list(const struct conf_option *o)
{
    return o->type == CONF_TYPE_ADDRS || o->type == CONF_TYPE_ORIGINS;
}

char *conf_option_label(const struct conf_option *o, char out[CONF_NAME_MAX])
{
    snprintf(out, CONF_NAME_MAX, "%s%s%s", o->section ? o->section : "", o->section ? "." : "",
             o->name);
    return out;
}
