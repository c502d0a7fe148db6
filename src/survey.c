/* SPDX-License-Identifier: MIT
 * Looking at a data directory, or at a backup, without going on with it: what
 * an operator needs to know to choose between survivors. The position of the
 * last entry is what Raft itself compares (dissertation 3.6.1).
 */
#include "offline.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"
#include "node/machine.h"
#include "node/meta.h"
#include "node/node.h"
#include "store/offline.h"
#include "store/store.h"

struct survey {
    struct storage_identity identity;
    struct machine *machine; /* owned */
    struct raft_config config;
    uint64_t term, commit;
};

static void print_uuid(const char *name, struct uuid id)
{
    char text[UUID_TEXT_LEN + 1];
    printf("%s %s\n", name, uuid_is_zero(id) ? "none" : uuid_format(id, text));
}

static void print_members(const struct raft_config *config)
{
    char id[UUID_TEXT_LEN + 1];
    for (unsigned i = 0; i < config->n_members; i++) {
        const struct raft_member *m = &config->members[i];
        printf("%s %s %s\n", raft_member_votes(m) ? "voter" : "learner", uuid_format(m->id, id),
               m->addr);
    }
}

/* ---- a data directory ---- */

static int on_state(void *ctx, const void *meta, size_t len, struct kv_base *base)
{
    struct survey *s = ctx;
    struct raft_base *at = mem_zalloc(sizeof *at);
    int err = machine_restore(s->machine, meta, len, base, at);
    if (!err)
        s->config = at->config;
    mem_free(at);
    return err;
}

static int on_base(void *ctx, const struct raft_base *base)
{
    struct survey *s = ctx;
    s->config = base->config;
    return 0;
}

static void on_hard_state(void *ctx, struct raft_hard_state hs)
{
    struct survey *s = ctx;
    s->term = hs.term;
    s->commit = hs.commit;
}

static int on_entry(void *ctx, struct raft_entry *e)
{
    struct survey *s = ctx;
    if (e->type == RAFT_ENTRY_CONFIG) {
        int err = raft_config_decode(e->data, e->len, &s->config);
        if (err)
            return err;
    }
    if (e->pos.index <= machine_applied(s->machine).index)
        return 0;
    return machine_apply(s->machine, &e, 1, NULL, NULL);
}

static void print_survey(const struct survey *s)
{
    struct raft_pos last = machine_applied(s->machine);
    const struct raft_member *self = raft_config_find(&s->config, s->identity.node);
    print_uuid("node", s->identity.node);
    print_uuid("cluster", s->identity.cluster);
    printf("address %s\n", self ? self->addr : "none");
    printf("term %" PRIu64 "\nlast-term %" PRIu64 "\nlast-index %" PRIu64 "\ncommit %" PRIu64
           "\nkeys %" PRIu64 "\n",
           s->term, last.term, last.index, s->commit, machine_stats(s->machine).n_keys);
    print_members(&s->config);
}

static int survey_directory(const struct conf *conf, struct survey *s, struct buf *reason)
{
    struct store_visitor visitor = {.state = on_state,
                                    .base = on_base,
                                    .hard_state = on_hard_state,
                                    .entry = on_entry,
                                    .ctx = s};
    struct store *store = NULL;
    int err = offline_open(conf, &s->identity, &store, reason);
    if (!err)
        err = store_scan(store, &visitor, reason);
    if (err && reason->len == 0)
        buf_printf(reason, "cannot replay the log of %s: %s", conf->data_dir, err_text(err));
    if (!err)
        print_survey(s);
    machine_free(&s->machine); /* before the store, which has what it reads */
    store_close(&store);
    return err;
}

/* ---- a backup ---- */

static int survey_backup(const char *file, struct buf *reason)
{
    struct run *backup = NULL;
    struct buf bytes = BUF_INIT;
    struct node_meta *meta = mem_zalloc(sizeof *meta);
    int err = store_backup_open(file, node_meta_kv_info, &backup, &bytes, reason);
    if (!err)
        err = node_meta_decode(bytes.data, bytes.len, meta);
    if (err && reason->len == 0)
        buf_printf(reason, "%s is no backup that this version knows: %s", file, err_text(err));
    if (!err) {
        struct run_info info = run_info(backup);
        print_uuid("cluster", meta->cluster);
        printf("last-term %" PRIu64 "\nlast-index %" PRIu64 "\nkeys %" PRIu64 "\nbytes %" PRIu64
               "\nfile-bytes %" PRIu64 "\ndigest %08" PRIx32 "\n",
               meta->base.pos.term, meta->base.pos.index, info.n_records, info.content_bytes,
               info.file_bytes, info.digest);
        print_members(&meta->base.config);
    }
    run_unref(&backup);
    buf_free(&bytes);
    mem_free(meta);
    return err;
}

int offline_survey(const struct conf *conf)
{
    struct buf reason = BUF_INIT;
    struct survey *s = NULL;
    int err;
    if (conf->restore_file) {
        err = survey_backup(conf->restore_file, &reason);
    } else {
        s = mem_zalloc(sizeof *s);
        s->machine = machine_new();
        err = survey_directory(conf, s, &reason);
    }
    int status = err ? offline_fail(&reason) : 0;
    mem_free(s);
    buf_free(&reason);
    return status;
}
