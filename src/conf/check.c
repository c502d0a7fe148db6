/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE /* sched_getaffinity */
#include "conf/check.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/assert.h"
#include "base/mem.h"
#include "conf/set.h"

#define HTTP_THREADS_AUTO_MAX 4

/* Addresses in conf were parsed before. */
static struct addr addr_of(const char *text)
{
    struct addr a;
    int r = addr_parse(text, &a);
    ASSERT(r == 0);
    return a;
}

/* The cores that this process may use, which a container or taskset may limit. */
static uint64_t cores(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1;
    int n = CPU_COUNT(&set);
    return n > 0 ? (uint64_t)n : 1;
}

static int complete_data_dir(struct conf *conf, struct conf_error *error)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    bool has_state = state && state[0] == '/'; /* relative ones are to be ignored, XDG 0.8 */
    if (!has_state && !(home && home[0] == '/'))
        return conf_fail(conf, CONF_DATA_DIR, error,
                         "not given, and neither XDG_STATE_HOME nor HOME is set; write data-dir = "
                         "\"/var/lib/crabcluster\" or --data-dir DIR");
    struct addr a = addr_of(conf->bind_addr);
    struct buf path = BUF_INIT;
    buf_printf(&path, "%s%s/crabcluster/%s-%u", has_state ? state : home,
               has_state ? "" : "/.local/state", a.host, (unsigned)a.port);
    struct conf_texts texts = {0};
    conf_texts_add(&texts, buf_str(&path));
    buf_free(&path);
    int r = conf_set(conf, CONF_DATA_DIR, (struct conf_origin){CONF_DEFAULT, 0}, &texts, error);
    conf_texts_free(&texts);
    return r;
}

int conf_complete(struct conf *conf, struct conf_error *error)
{
    if (!conf->advertise_addr)
        conf->advertise_addr = mem_strdup(conf->bind_addr);
    if (conf->http_threads == 0)
        conf->http_threads = cores() < HTTP_THREADS_AUTO_MAX ? cores() : HTTP_THREADS_AUTO_MAX;
    return conf->data_dir ? 0 : complete_data_dir(conf, error);
}

static int check_addresses(const struct conf *conf, struct conf_error *error)
{
    struct addr bind = addr_of(conf->bind_addr);
    struct addr advertise = addr_of(conf->advertise_addr);
    bool advertise_given = conf->origin[CONF_ADVERTISE_ADDR].source != CONF_DEFAULT;
    if (addr_host_is_wildcard(bind.host) && !advertise_given)
        return conf_fail(conf, CONF_BIND_ADDR, error,
                         "%s is a wildcard, which others cannot reach this node by; write "
                         "advertise-addr = HOST:PORT too",
                         conf->bind_addr);
    if (addr_host_is_wildcard(advertise.host))
        return conf_fail(conf, CONF_ADVERTISE_ADDR, error,
                         "%s is a wildcard; write an address that others reach this node by",
                         conf->advertise_addr);
    if (!addr_host_is_loopback(bind.host) && !conf->allow_insecure)
        return conf_fail(conf, CONF_BIND_ADDR, error,
                         "%s is not a loopback address, and anyone who reaches it could read and "
                         "write without TLS or a password; write allow-insecure = true if the "
                         "network is trusted, or bind-addr = \"127.0.0.1:%u\"",
                         conf->bind_addr, (unsigned)bind.port);
    return 0;
}

static int check_peers(const struct conf *conf, struct conf_error *error)
{
    bool found = conf->peers.n == 0;
    for (size_t i = 0; i < conf->peers.n; i++) {
        const char *peer = conf->peers.items[i];
        if (addr_host_is_wildcard(addr_of(peer).host))
            return conf_fail(conf, CONF_PEERS, error,
                             "%s is a wildcard; write the address that the peer advertises", peer);
        found = found || strcmp(peer, conf->advertise_addr) == 0;
    }
    if (!found)
        return conf_fail(conf, CONF_PEERS, error,
                         "this node's own address %s is not among them; write all nodes, in the "
                         "same order everywhere, or correct advertise-addr",
                         conf->advertise_addr);
    return 0;
}

static int check_times(const struct conf *conf, struct conf_error *error)
{
    if (conf->election_timeout_min_ms >= conf->election_timeout_max_ms)
        return conf_fail(conf, CONF_ELECTION_TIMEOUT_MIN, error,
                         "%llums is not less than election-timeout-max, %llums; write less",
                         (unsigned long long)conf->election_timeout_min_ms,
                         (unsigned long long)conf->election_timeout_max_ms);
    if (conf->heartbeat_interval_ms > conf->election_timeout_min_ms / 2)
        return conf_fail(conf, CONF_HEARTBEAT_INTERVAL, error,
                         "%llums is more than half of election-timeout-min, %llums; write at most "
                         "%llums",
                         (unsigned long long)conf->heartbeat_interval_ms,
                         (unsigned long long)conf->election_timeout_min_ms,
                         (unsigned long long)conf->election_timeout_min_ms / 2);
    /* More, and the lease that is left is hardly ever long enough (raft/lease.c). */
    if (conf->clock_drift_max_ms > conf->election_timeout_min_ms / 2)
        return conf_fail(conf, CONF_CLOCK_DRIFT_MAX, error,
                         "%llums is more than half of election-timeout-min, %llums; write at most "
                         "%llums, or 0ms for no reads by lease",
                         (unsigned long long)conf->clock_drift_max_ms,
                         (unsigned long long)conf->election_timeout_min_ms,
                         (unsigned long long)conf->election_timeout_min_ms / 2);
    return 0;
}

int conf_check(const struct conf *conf, struct conf_error *error)
{
    int r = check_addresses(conf, error);
    if (r == 0)
        r = check_peers(conf, error);
    return r == 0 ? check_times(conf, error) : r;
}
