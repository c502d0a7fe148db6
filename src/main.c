/* SPDX-License-Identifier: MIT
 * The daemon: reads its configuration, starts the parts in order, waits for a
 * signal, ends them in the reverse order. No logic of its own.
 *
 *      listen --> store --> node --> net --> serve     start
 *      api drains, node drains, checkpoint, then all stop          end
 */
#include "config.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif
#ifdef HAVE_MIMALLOC
#include <mimalloc.h>
#endif

#include "api/api.h"
#include "base/addr.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "conf/conf.h"
#include "net/net.h"
#include "node/node.h"
#include "node/request.h"
#include "offline.h"
#include "settings.h"
#include "store/store.h"

#define DRAIN_API_MS     700
#define DRAIN_NODE_MS    400
#define HAND_OVER_MS     400
#define SETTLE_MS        2000
#define WATCHDOG_LOOP_MS 1000
#define STALLED_LOOP_MS  5000

struct daemon {
    struct conf conf;
    struct store *store;
    struct node *node;
    struct net *net;
    struct api *api;
    bool serving;
};

/* Linked, mimalloc is there for malloc() and its kin, our own and the libraries'. It must be named
 * once, or a linker may leave it out. */
static void tell_allocator(void)
{
#ifdef HAVE_MIMALLOC
    LOG_DEBUG("memory comes from mimalloc %d", mi_version());
#endif
}

static int fail(const char *text)
{
    fprintf(stderr, "crabcluster: %s\n", text);
    return 1;
}

static int fail_for(struct buf *reason)
{
    fail(buf_str(reason));
    buf_free(reason);
    return 1;
}

static void notify(const char *state)
{
#ifdef HAVE_SYSTEMD
    sd_notify(0, state);
#else
    (void)state;
#endif
}

/* ---- options of the parts ---- */

static bool binds_loopback(const struct conf *conf)
{
    struct addr a;
    return addr_parse(conf->bind_addr, &a) == 0 && addr_host_is_loopback(a.host);
}

static struct node_options node_options(const struct conf *conf)
{
    struct node_options o = {
        .auto_init = conf->auto_init && binds_loopback(conf),
        .n_peers = (unsigned)conf->peers.n,
        .heartbeat_ms = (uint32_t)conf->heartbeat_interval_ms,
        .election_min_ms = (uint32_t)conf->election_timeout_min_ms,
        .election_max_ms = (uint32_t)conf->election_timeout_max_ms,
        .lag_threshold_ms = (uint32_t)conf->replication_lag_threshold_ms,
        .disk_stall_ms = (uint32_t)conf->disk_stall_timeout_ms,
        .clock_drift_ms = (uint32_t)conf->clock_drift_max_ms,
        .checkpoint_entries = conf->checkpoint_entries,
        .checkpoint_bytes = conf->checkpoint_bytes,
        .checkpoint_age_ms = (uint32_t)conf->checkpoint_interval_ms,
        .log_tail_entries = conf->log_tail_entries,
        .log_tail_bytes = conf->log_tail_bytes,
        .append_entries_max = (unsigned)conf->max_payload_entries,
        .append_bytes_max = conf->max_payload_bytes,
        .window = 1,
    };
    snprintf(o.addr, sizeof o.addr, "%s", conf->advertise_addr);
    for (unsigned i = 0; i < o.n_peers && i < LIMIT_PEERS; i++)
        snprintf(o.peers[i], sizeof o.peers[i], "%s", conf->peers.items[i]);
    if (getrandom(&o.seed, sizeof o.seed, 0) != sizeof o.seed)
        o.seed = clock_now_us();
    return o;
}

static struct api_limits api_limits(const struct conf *conf)
{
    return (struct api_limits){
        .max_connections = (unsigned)conf->max_connections,
        .request_timeout_ms = (uint32_t)conf->request_timeout_ms,
        .max_value_size = conf->max_value_bytes,
    };
}

static struct api_options api_options(const struct conf *conf)
{
    return (struct api_options){
        .bind_addr = conf->bind_addr,
        .advertise_addr = conf->advertise_addr,
        .allowed_origins = (const char *const *)conf->allowed_origins.items,
        .n_allowed_origins = (unsigned)conf->allowed_origins.n,
        .threads = (unsigned)conf->http_threads,
        .has_peers = conf->peers.n > 0,
        .version = PACKAGE_VERSION,
        .limits = api_limits(conf),
    };
}

/* ---- start ---- */

/* Connections are descriptors: takes as many as the system lets us have. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* Threads inherit the mask; the main thread takes these signals one by one. */
static sigset_t block_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return set;
}

static int on_state(void *ctx, const void *meta, size_t len, struct kv_base *base)
{
    return node_restore_state(ctx, meta, len, base);
}

static int on_base(void *ctx, const struct raft_base *base)
{
    return node_restore_base(ctx, base);
}

static void on_hard_state(void *ctx, struct raft_hard_state hs)
{
    node_restore_hard_state(ctx, hs);
}

static int on_entry(void *ctx, struct raft_entry *e)
{
    return node_restore_entry(ctx, e);
}

static int restore(struct daemon *d, struct buf *reason)
{
    struct store_visitor visitor = {.state = on_state,
                                    .base = on_base,
                                    .hard_state = on_hard_state,
                                    .entry = on_entry,
                                    .ctx = d->node};
    uint64_t start_ms = clock_now_ms();
    int err = store_scan(d->store, &visitor, reason);
    if (err == 0)
        err = node_restore_end(d->node);
    if (err < 0 && reason->len == 0)
        buf_printf(reason, "data directory %s: cannot replay the log: %s", d->conf.data_dir,
                   err_text(err));
    if (err == 0)
        LOG_DEBUG("log replayed in %llu ms", (unsigned long long)(clock_now_ms() - start_ms));
    return err;
}

/* Starts the parts; on failure those started before are there to be stopped. */
static int start(struct daemon *d, struct buf *reason)
{
    struct storage_identity identity;
    struct node_options node_opts = node_options(&d->conf);
    struct api_options api_opts = api_options(&d->conf);
    struct store_options store_opts = {.meta_pos = node_meta_pos};
    struct net_options net_opts = {.data_window = node_opts.window};
    int err = api_listen(&api_opts, reason, &d->api);
    if (err < 0)
        return err;
    err = store_open(d->conf.data_dir, &store_opts, &identity, &d->store, reason);
    if (err < 0)
        return err;
    d->node = node_new(&node_opts, &identity);
    if ((err = restore(d, reason)) < 0)
        return err;
    struct storage_events storage_events = node_storage_events(d->node);
    store_start(d->store, &storage_events);
    d->net = net_start(&net_opts, node_transport_events(d->node));
    node_start(d->node, store_storage(d->store), net_transport(d->net));
    settings_publish(d->api, &d->conf);
    if ((err = api_start(d->api, d->node, reason)) < 0)
        return err;
    d->serving = true;
    char id[UUID_TEXT_LEN + 1];
    LOG_INFO("node %s listens on %s, data in %s", uuid_format(identity.node, id), d->conf.bind_addr,
             d->conf.data_dir);
    return 0;
}

/* ---- end ---- */

static void stop(struct daemon *d)
{
    if (d->serving) {
        node_hand_over(d->node, HAND_OVER_MS); /* while peers still reach this node */
        api_drain(d->api, DRAIN_API_MS);
        node_drain(d->node, DRAIN_NODE_MS);
        node_settle(d->node, SETTLE_MS);
    }
    if (d->node)
        node_stop(d->node);
    api_stop(&d->api);
    net_stop(&d->net);
    if (d->store)
        store_stop(d->store);
    store_close(&d->store);
    node_free(&d->node);
}

/* ---- while it runs ---- */

static void reload(struct daemon *d, int argc, char *const *argv)
{
    struct conf fresh;
    enum conf_action action;
    struct conf_error error;
    struct buf changed = BUF_INIT, restart = BUF_INIT;
    if (conf_load(argc, argv, &fresh, &action, &error) < 0) {
        LOG_ERROR("reload: nothing changed: %s", error.text);
        return;
    }
    conf_reload(&d->conf, &fresh, &changed, &restart);
    struct api_limits limits = api_limits(&d->conf);
    api_set_limits(d->api, &limits);
    settings_publish(d->api, &d->conf);
    log_set_level(d->conf.log_level);
    LOG_INFO("reload: changed: %s; needs a restart: %s",
             changed.len ? buf_str(&changed) : "nothing",
             restart.len ? buf_str(&restart) : "nothing");
    buf_free(&changed);
    buf_free(&restart);
    conf_free(&fresh);
}

/* The watchdog is fed only while the raft loop turns. */
static void feed_watchdog(const struct daemon *d)
{
    if (clock_now_ms() - node_last_turn_ms(d->node) < STALLED_LOOP_MS)
        notify("WATCHDOG=1");
}

static void serve(struct daemon *d, const sigset_t *signals, int argc, char *const *argv)
{
    struct timespec turn = {.tv_sec = WATCHDOG_LOOP_MS / 1000};
    notify("READY=1");
    for (;;) {
        int sig = sigtimedwait(signals, NULL, &turn);
        if (sig == SIGTERM || sig == SIGINT)
            break;
        if (sig == SIGHUP)
            reload(d, argc, argv);
        feed_watchdog(d);
    }
    notify("STOPPING=1");
    LOG_INFO("stopping");
}

static int run(struct daemon *d, int argc, char *const *argv)
{
    struct buf reason = BUF_INIT;
    sigset_t signals = block_signals();
    raise_descriptor_limit();
    log_set_level(d->conf.log_level);
    log_start(d->conf.log_target);
    tell_allocator();
    int err = start(d, &reason);
    if (err == 0)
        serve(d, &signals, argc, argv);
    stop(d);
    log_stop();
    return err == 0 ? 0 : fail_for(&reason);
}

int main(int argc, char **argv)
{
    struct daemon d = {0};
    enum conf_action action;
    struct conf_error error;
    int status = 0;
    if (conf_load(argc, argv, &d.conf, &action, &error) < 0)
        return fail(error.text);
    switch (action) {
    case CONF_HELP:
        conf_print_help(stdout);
        break;
    case CONF_VERSION:
        printf("crabcluster %s\n", PACKAGE_VERSION);
        break;
    case CONF_CHECK_CONFIG:
        conf_print(&d.conf, stdout);
        break;
    case CONF_RECOVER:
        status = offline_survey(&d.conf);
        break;
    case CONF_RESTORE:
        status = offline_restore(&d.conf, d.conf.restore_file);
        break;
    case CONF_FORCE_NEW_CLUSTER:
        status = offline_force_new_cluster(&d.conf);
        break;
    case CONF_RUN:
        status = run(&d, argc, argv);
        break;
    }
    conf_free(&d.conf);
    return status;
}
