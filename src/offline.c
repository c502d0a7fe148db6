/* SPDX-License-Identifier: MIT
 * Either way what comes of it is a node that is the only voter of a cluster
 * with an id of its own, so that members of the cluster before, whatever they
 * still want, are refused (PITFALLS 34).
 */
#include "offline.h"

#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "node/machine.h"
#include "node/meta.h"
#include "node/node.h"
#include "store/identity.h"
#include "store/offline.h"
#include "store/store.h"

#define VIEW_MS (24 * 3600 * 1000u) /* nobody else waits for what it keeps */

int offline_fail(struct buf *reason)
{
    fprintf(stderr, "crabcluster: %s\n", buf_str(reason));
    return 1;
}

/* Files that root made in the directory of the daemon's user would keep the daemon from starting,
 * at a time when somebody has trouble enough. */
static int check_owner(const char *dir, struct buf *reason)
{
    struct stat st;
    if (stat(dir, &st) != 0 || st.st_uid == geteuid())
        return 0;
    const struct passwd *owner = getpwuid(st.st_uid);
    buf_printf(reason, "%s belongs to ", dir);
    if (owner)
        buf_printf(reason, "the user %s: do this as that user: runuser -u %s -- and the command",
                   owner->pw_name, owner->pw_name);
    else
        buf_printf(reason, "user id %u: do this as that user", (unsigned)st.st_uid);
    return ERR_PERMISSION;
}

/* What a node is told when it begins a cluster of its own, and where its meta is. */
struct founding {
    struct store_founding store;
    struct buf meta; /* owned */
};

/* Fills in everything but the node's id and incarnation. */
static int found(const struct conf *conf, const struct buf *meta, struct founding *f,
                 struct buf *reason)
{
    struct storage_identity other;
    int err = store_identity_make(&other, reason);
    if (err)
        return err;
    f->store.identity.cluster = other.node; /* as random as any */
    f->store.identity.promised = UUID_ZERO;
    f->store.identity.contacted = f->store.identity.outsider = false;
    f->store.meta = &f->meta;
    err = node_meta_refound(meta->data, meta->len, &f->store.identity, conf->advertise_addr,
                            &f->meta, &f->store.base);
    if (err)
        buf_printf(reason, "the state cannot be used: %s", err_text(err));
    return err;
}

static void say(const struct founding *f, const struct conf *conf, const char *what,
                const char *next)
{
    char node[UUID_TEXT_LEN + 1], cluster[UUID_TEXT_LEN + 1];
    printf("crabcluster: %s: node %s is the only one of the new cluster %s, reached at %s; %s\n",
           what, uuid_format(f->store.identity.node, node),
           uuid_format(f->store.identity.cluster, cluster), conf->advertise_addr, next);
}

/* ---- restore ---- */

static int restore(const struct conf *conf, struct run *backup, const struct buf *meta,
                   struct founding *f, struct buf *reason)
{
    int err = store_identity_make(&f->store.identity, reason);
    if (!err)
        err = found(conf, meta, f, reason);
    return err ? err : store_restore(conf->data_dir, backup, &f->store, reason);
}

int offline_restore(const struct conf *conf, const char *file)
{
    struct founding f = {.meta = BUF_INIT};
    struct buf meta = BUF_INIT, reason = BUF_INIT;
    struct run *backup = NULL;
    int err = check_owner(conf->data_dir, &reason); /* before hours of reading */
    if (!err)
        err = store_check_unused(conf->data_dir, &reason);
    if (!err)
        err = store_backup_open(file, node_meta_kv_info, &backup, &meta, &reason);
    if (!err)
        err = restore(conf, backup, &meta, &f, &reason);
    if (!err) {
        struct buf what = BUF_INIT;
        buf_printf(&what, "restored %" PRIu64 " keys as of revision %" PRIu64 " into %s",
                   run_info(backup).n_records, f.store.base.pos.index - NODE_META_SKIP,
                   conf->data_dir);
        say(&f, conf, buf_str(&what),
            "start it, then add other nodes that have empty data directories");
        buf_free(&what);
    }
    run_unref(&backup);
    int status = err ? offline_fail(&reason) : 0;
    buf_free(&f.meta);
    buf_free(&meta);
    buf_free(&reason);
    return status;
}

/* ---- a new cluster ---- */

static int on_state(void *ctx, const void *meta, size_t len, struct kv_base *base)
{
    struct raft_base *at = mem_alloc(sizeof *at);
    int err = machine_restore(ctx, meta, len, base, at);
    mem_free(at);
    return err;
}

static void on_hard_state(void *ctx, struct raft_hard_state hs)
{
    (void)ctx, (void)hs; /* commit is a hint, and everything counts as committed */
}

static int on_entry(void *ctx, struct raft_entry *e)
{
    if (e->pos.index <= machine_applied(ctx).index)
        return 0;
    return machine_replay(ctx, e);
}

/* The meta of the machine's state; its configuration does not matter, it will be another. */
static void meta_of(const struct machine *m, const struct storage_identity *who, struct buf *out)
{
    struct raft_config *any = mem_zalloc(sizeof *any);
    any->n_members = 1;
    any->members[0] = (struct raft_member){who->node, who->incarnation, RAFT_VOTER, "0.0.0.0:1"};
    machine_meta(m, who->cluster, any, machine_applied(m), out);
    mem_free(any);
}

static int refound(const struct conf *conf, struct store *store, struct machine *machine,
                   struct founding *f, struct buf *reason)
{
    struct store_visitor visitor = {
        .state = on_state, .hard_state = on_hard_state, .entry = on_entry, .ctx = machine};
    struct buf meta = BUF_INIT;
    if (uuid_is_zero(f->store.identity.cluster)) {
        buf_printf(reason, "the node of %s belongs to no cluster: there is nothing to go on with",
                   conf->data_dir);
        return ERR_UNINITIALIZED;
    }
    int err = store_scan(store, &visitor, reason);
    if (!err)
        err = machine_replay_end(machine);
    if (err && reason->len == 0)
        buf_printf(reason, "cannot replay the log of %s: %s", conf->data_dir, err_text(err));
    if (err)
        return err;
    meta_of(machine, &f->store.identity, &meta);
    err = found(conf, &meta, f, reason);
    if (!err) {
        struct kv_view *view = machine_view(machine);
        err = store_refound(store, view, &f->store, reason);
        kv_view_close(&view);
    }
    buf_free(&meta);
    return err;
}

int offline_open(const struct conf *conf, struct storage_identity *ret_identity,
                 struct store **ret_store, struct buf *reason)
{
    struct store_options options = {.meta_pos = node_meta_pos, .view_ms_max = VIEW_MS};
    if (!store_exists(conf->data_dir)) {
        buf_printf(reason, "%s is no data directory of a node that ever ran", conf->data_dir);
        return ERR_NOT_FOUND;
    }
    return store_open(conf->data_dir, &options, ret_identity, ret_store, reason);
}

int offline_force_new_cluster(const struct conf *conf)
{
    struct founding f = {.meta = BUF_INIT};
    struct buf reason = BUF_INIT;
    struct store *store = NULL;
    struct machine *machine = machine_new();
    int err = check_owner(conf->data_dir, &reason);
    if (!err)
        err = offline_open(conf, &f.store.identity, &store, &reason);
    if (!err)
        err = refound(conf, store, machine, &f, &reason);
    if (!err) {
        struct buf what = BUF_INIT;
        buf_printf(&what,
                   "%s goes on alone from revision %" PRIu64
                   ", everything in its log counting as committed",
                   conf->data_dir, f.store.base.pos.index - NODE_META_SKIP);
        say(&f, conf, buf_str(&what),
            "start it, and add the others as new nodes, with empty data directories");
        buf_free(&what);
    }
    machine_free(&machine);
    store_close(&store);
    int status = err ? offline_fail(&reason) : 0;
    buf_free(&f.meta);
    buf_free(&reason);
    return status;
}
