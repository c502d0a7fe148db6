/* SPDX-License-Identifier: MIT
 * store/: a data directory made from a backup, and one whose node begins a
 * cluster of its own; each killed at every system call that it makes.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/mem.h"
#include "store/dir.h"
#include "store/offline.h"

#define KEYS 200
#define SKIP ((uint64_t)1 << 32)

static const struct uuid writer = {0x10, 1}, node = {0x11, 1}, cluster = {0x22, 1},
                         other_cluster = {0x33, 1};

struct fixture {
    char root[64], dir[80], file[80]; /* the data directory and the backup within root */
    struct buf meta, founding_meta;
    struct store_founding founding;
    struct buf reason;
};

/* ---- a backup ---- */

static void put(struct kv *kv, unsigned i)
{
    char key[16], value[40];
    uint8_t header[KV_ORIGIN_BYTES_MAX];
    struct kv_origin origin = {writer, 1, i + 1, i + 1, 1};
    struct kv_op op = {.type = KV_OP_SET, .key = (uint8_t *)key, .value = (uint8_t *)value};
    struct buf command = BUF_INIT;
    struct kv_result result;
    op.key_len = (size_t)snprintf(key, sizeof key, "key%03u", i);
    op.value_len = (size_t)snprintf(value, sizeof value, "value of %u", i);
    buf_append(&command, header, kv_origin_encode(&origin, header));
    kv_body_encode(KV_SINGLE, &op, 1, &command);
    assert_int_equal(kv_apply(kv, (struct kv_pos){3, i + 2}, command.data, command.len, &result),
                     0);
    buf_free(&command);
}

/* The run has this many records; the meta says KEYS. */
static void write_backup(struct fixture *f, struct kv *kv, unsigned n_records)
{
    struct run_writer *w;
    struct kv_record r;
    struct kv_view *view = kv_view_new(kv);
    struct kv_cursor *c = kv_view_cursor(view);
    assert_int_equal(run_writer_new(f->file, &w, &f->reason), 0);
    int err = kv_cursor_seek(c, NULL, 0, &r);
    for (unsigned i = 0; i < n_records; i++, err = kv_cursor_next(c, &r)) {
        assert_int_equal(err, 0);
        (void)run_writer_put(w, &r);
    }
    assert_int_equal(run_writer_finish(&w, f->meta.data, f->meta.len, NULL, &f->reason), 0);
    kv_cursor_close(&c);
    kv_view_close(&view);
}

static void make_backup(struct fixture *f, unsigned n_records)
{
    struct kv *kv = kv_new();
    kv_apply_members(kv, (struct kv_pos){1, 1}, &writer, 1);
    for (unsigned i = 0; i < KEYS; i++)
        put(kv, i);
    kv_end_batch(kv);
    buf_clear(&f->meta);
    kv_meta(kv, &f->meta);
    write_backup(f, kv, n_records);
    kv_free(&kv);
}

static void make_founding(struct fixture *f, struct uuid of, uint64_t skip, const struct buf *meta)
{
    struct kv_meta_info info;
    assert_int_equal(kv_meta_info(meta->data, meta->len, &info), 0);
    struct kv_pos to = {info.applied.term, info.applied.index + skip};
    struct raft_pos pos = {to.term, to.index};
    buf_clear(&f->founding_meta);
    assert_int_equal(kv_meta_move(meta->data, meta->len, to, &node, 1, &f->founding_meta), 0);
    f->founding = (struct store_founding){.identity = {.node = node, .incarnation = 5},
                                          .base = {.pos = pos, .config_pos = pos},
                                          .meta = &f->founding_meta};
    f->founding.identity.cluster = of;
    f->founding.base.config.n_members = 1;
    f->founding.base.config.members[0] = (struct raft_member){node, 5, RAFT_VOTER, "127.0.0.1:1"};
}

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);
    snprintf(f->root, sizeof f->root, "/tmp/crab-offline-XXXXXX");
    assert_non_null(mkdtemp(f->root));
    snprintf(f->dir, sizeof f->dir, "%s/data", f->root);
    snprintf(f->file, sizeof f->file, "%s/backup", f->root);
    make_backup(f, KEYS);
    make_founding(f, cluster, SKIP, &f->meta);
    *state = f;
    return 0;
}

static void wipe(const struct fixture *f)
{
    char command[120];
    snprintf(command, sizeof command, "rm -rf %s", f->dir);
    assert_int_equal(system(command), 0);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    wipe(f);
    unlink(f->file);
    rmdir(f->root);
    buf_free(&f->meta);
    buf_free(&f->founding_meta);
    buf_free(&f->reason);
    mem_free(f);
    return 0;
}

/* ---- what there is ---- */

static int open_backup(struct fixture *f, struct run **ret_run)
{
    struct buf meta = BUF_INIT;
    buf_clear(&f->reason);
    int err = store_backup_open(f->file, kv_meta_info, ret_run, &meta, &f->reason);
    buf_free(&meta);
    return err;
}

static int restore(struct fixture *f)
{
    struct run *backup;
    int err = open_backup(f, &backup);
    assert_int_equal(err, 0);
    err = store_restore(f->dir, backup, &f->founding, &f->reason);
    run_unref(&backup);
    return err;
}

struct seen {
    struct kv *kv;
    struct buf meta;
    struct raft_base base;
    struct raft_hard_state hs;
    unsigned n_entries;
};

static int see_state(void *ctx, const void *meta, size_t len, struct kv_base *base)
{
    struct seen *s = ctx;
    buf_append(&s->meta, meta, len);
    return kv_restore(meta, len, base, &s->kv);
}

static int see_base(void *ctx, const struct raft_base *base)
{
    ((struct seen *)ctx)->base = *base;
    return 0;
}

static void see_hard_state(void *ctx, struct raft_hard_state hs)
{
    ((struct seen *)ctx)->hs = hs;
}

static int see_entry(void *ctx, struct raft_entry *e)
{
    (void)e;
    ((struct seen *)ctx)->n_entries++;
    return 0;
}

static struct store *open_store(struct fixture *f, struct storage_identity *ret_identity,
                                struct seen *ret_seen)
{
    struct store_options options = {0};
    struct store *store;
    struct store_visitor visitor = {see_state, see_base, see_hard_state, see_entry, ret_seen};
    memset(ret_seen, 0, sizeof *ret_seen);
    buf_clear(&f->reason);
    if (store_open(f->dir, &options, ret_identity, &store, &f->reason) != 0 ||
        store_scan(store, &visitor, &f->reason) != 0)
        fail_msg("%s", buf_str(&f->reason));
    return store;
}

static void close_store(struct store **store, struct seen *s)
{
    kv_free(&s->kv);
    store_close(store);
    buf_free(&s->meta);
}

static void check_keys(struct kv *kv)
{
    struct kv_view *view = kv_view_new(kv);
    struct kv_cursor *c = kv_view_cursor(view);
    struct kv_record r;
    char value[40];
    int err = kv_cursor_seek(c, NULL, 0, &r);
    for (unsigned i = 0; i < KEYS; i++, err = kv_cursor_next(c, &r)) {
        size_t len = (size_t)snprintf(value, sizeof value, "value of %u", i);
        assert_int_equal(err, 0);
        assert_int_equal(r.value.len, len);
        assert_memory_equal(r.value.data, value, len);
        assert_int_equal(r.value.revision, i + 2);
    }
    assert_int_equal(err, ERR_NOT_FOUND);
    kv_cursor_close(&c);
    kv_view_close(&view);
}

/* The directory is that of a node which is alone in this cluster, so much after the backup. */
static void check_founded(struct fixture *f, const struct storage_identity *is,
                          const struct seen *s, struct uuid of, uint64_t skipped)
{
    struct kv_meta_info info;
    assert_int_equal(kv_meta_info(f->meta.data, f->meta.len, &info), 0);
    assert_true(uuid_equal(is->cluster, of) && uuid_equal(is->node, node));
    assert_int_equal(s->base.pos.index, info.applied.index + skipped);
    assert_int_equal(s->base.pos.term, info.applied.term);
    assert_int_equal(s->base.config.n_members, 1);
    assert_true(uuid_equal(s->base.config.members[0].id, is->node));
    assert_int_equal(s->base.config.members[0].incarnation, is->incarnation);
    assert_int_equal(s->hs.term, info.applied.term);
    assert_int_equal(s->hs.commit, s->base.pos.index);
    assert_int_equal(s->n_entries, 0);
    assert_int_equal(kv_applied(s->kv).index, s->base.pos.index);
    assert_int_equal(kv_member_since(s->kv, writer), 0);
    assert_int_equal(kv_member_since(s->kv, node), info.applied.index + SKIP); /* since restored */
    check_keys(s->kv);
}

static bool is_there(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* ---- killed at every system call ---- */

/* Runs fn in a child and kills that at its nth system call. False: it was done before. */
static bool killed_at(struct fixture *f, void (*fn)(struct fixture *f), unsigned n)
{
    int status = 0;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
            _exit(2);
        raise(SIGSTOP);
        fn(f);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    for (unsigned stops = 0; WIFSTOPPED(status) && stops < 2 * n; stops++) { /* entry and exit */
        assert_int_equal(ptrace(PTRACE_SYSCALL, pid, NULL, NULL), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
    }
    if (WIFSTOPPED(status)) {
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        return true;
    }
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return false;
}

static void do_restore(struct fixture *f)
{
    if (restore(f) != 0)
        _exit(3);
}

static void test_restore_killed_at_every_step_is_all_or_nothing(void **state)
{
    struct fixture *f = *state;
    struct storage_identity identity;
    struct seen seen;
    unsigned n = 1, n_done = 0;
    for (; killed_at(f, do_restore, n); n++) {
        if (n % 2 == 0) { /* it is done again */
            int err = restore(f);
            assert_true(err == 0 || err == ERR_EXISTS);
        }
        struct store *store = open_store(f, &identity, &seen);
        if (n % 2 == 0 || !uuid_is_zero(identity.cluster)) {
            check_founded(f, &identity, &seen, cluster, SKIP);
            n_done++;
        } else {
            assert_int_equal(kv_applied(seen.kv).index, 0);
            assert_int_equal(kv_stats(seen.kv).n_keys, 0);
        }
        close_store(&store, &seen);
        wipe(f);
    }
    assert_true(n > 100 && n_done > n / 2 && n_done < n - 10);
}

/* While no file may grow beyond so many bytes. */
static int refound_within(struct fixture *f, rlim_t bytes)
{
    struct storage_identity identity;
    struct seen seen;
    struct store *store = open_store(f, &identity, &seen);
    struct kv_view *view = kv_view_new(seen.kv);
    make_founding(f, other_cluster, SKIP, &seen.meta);
    limit_files(bytes);
    int err = store_refound(store, view, &f->founding, &f->reason);
    limit_files(RLIM_INFINITY);
    kv_view_close(&view);
    close_store(&store, &seen);
    return err;
}

static void refound(struct fixture *f)
{
    if (refound_within(f, RLIM_INFINITY) != 0)
        fail_msg("%s", buf_str(&f->reason));
}

static void test_refound_goes_on_with_all_keys_in_another_cluster(void **state)
{
    struct fixture *f = *state;
    struct storage_identity identity;
    struct seen seen;
    assert_int_equal(restore(f), 0);
    refound(f);
    struct store *store = open_store(f, &identity, &seen);
    check_founded(f, &identity, &seen, other_cluster, 2 * SKIP);
    close_store(&store, &seen);
}

static void test_refound_killed_at_every_step_is_all_or_nothing(void **state)
{
    struct fixture *f = *state;
    struct storage_identity identity;
    struct seen seen;
    unsigned n = 1, n_done = 0;
    assert_int_equal(restore(f), 0);
    for (; killed_at(f, refound, n); n++) {
        struct store *store = open_store(f, &identity, &seen);
        bool done = uuid_equal(identity.cluster, other_cluster);
        check_founded(f, &identity, &seen, done ? other_cluster : cluster, done ? 2 * SKIP : SKIP);
        close_store(&store, &seen);
        if (done) {
            n_done++;
            wipe(f);
            make_founding(f, cluster, SKIP, &f->meta);
            assert_int_equal(restore(f), 0);
        }
    }
    assert_true(n > 100 && n_done > 3 && n_done < n / 2);
}

/* ---- refusals ---- */

static void test_restore_gives_a_node_of_its_own(void **state)
{
    struct fixture *f = *state;
    struct storage_identity identity;
    struct seen seen;
    struct stat st;
    assert_int_equal(restore(f), 0);
    struct store *store = open_store(f, &identity, &seen);
    check_founded(f, &identity, &seen, cluster, SKIP);
    close_store(&store, &seen);
    assert_int_equal(stat(f->dir, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(stat(f->file, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(restore(f), ERR_EXISTS);
}

static void test_part_of_a_state_is_no_backup(void **state)
{
    struct fixture *f = *state;
    struct run *run;
    make_backup(f, KEYS - 1);
    assert_int_equal(open_backup(f, &run), ERR_INVALID);
    assert_non_null(strstr(buf_str(&f->reason), "a part of a state only"));
}

static void flip_byte(const char *path, long at)
{
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    int c = fgetc(file);
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    fputc(c ^ 1, file);
    fclose(file);
}

/* Between verifying and copying. */
static void test_restore_that_fails_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    struct run *backup;
    for (int existed = 0; existed < 2; existed++) {
        if (existed)
            assert_int_equal(mkdir(f->dir, 0700), 0);
        assert_int_equal(open_backup(f, &backup), 0);
        flip_byte(f->file, 3000);
        assert_int_not_equal(store_restore(f->dir, backup, &f->founding, &f->reason), 0);
        assert_true(f->reason.len > 0);
        assert_int_equal(is_there(f->dir), existed);
        if (existed)
            assert_int_equal(rmdir(f->dir), 0); /* it is empty */
        run_unref(&backup);
        flip_byte(f->file, 3000);
        buf_clear(&f->reason);
    }
}

/* Files may not grow beyond the limit, whichever it is that does first. */
static void test_restore_that_cannot_write_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    unsigned n_failed = 0;
    int err = -1;
    for (rlim_t bytes = 0; err != 0; bytes += 1000) {
        limit_files(bytes);
        err = restore(f);
        limit_files(RLIM_INFINITY);
        assert_true(err == 0 || !is_there(f->dir));
        n_failed += err != 0;
    }
    assert_true(n_failed > 10);
}

static void test_refound_that_cannot_write_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct storage_identity identity;
    struct seen seen;
    unsigned n_failed = 0;
    assert_int_equal(restore(f), 0);
    for (rlim_t bytes = 0; refound_within(f, bytes) != 0; bytes += 1000) {
        struct store *store = open_store(f, &identity, &seen);
        check_founded(f, &identity, &seen, cluster, SKIP);
        close_store(&store, &seen);
        n_failed++;
    }
    assert_true(n_failed > 10);
}

static void test_directory_in_use_is_not_restored_into(void **state)
{
    struct fixture *f = *state;
    struct storage_identity identity;
    struct store_options options = {0};
    struct store *store;
    assert_int_equal(store_open(f->dir, &options, &identity, &store, &f->reason), 0);
    assert_int_equal(restore(f), ERR_BUSY);
    store_close(&store);
    assert_int_equal(restore(f), ERR_EXISTS);
    assert_int_equal(store_check_unused(f->dir, &f->reason), ERR_EXISTS);
}

/* To say that it is missing would be to say: throw the rest away. */
static void test_file_that_cannot_be_looked_at_is_not_missing(void **state)
{
    struct fixture *f = *state;
    struct buf loop = BUF_INIT;
    assert_int_equal(store_dir_make(f->dir, &f->reason), 0);
    buf_printf(&loop, "%s/loop", f->dir);
    assert_int_equal(symlink("loop", buf_str(&loop)), 0);
    assert_true(store_file_exists(f->dir, "loop"));
    assert_false(store_file_exists(f->dir, "no"));
    assert_int_equal(unlink(buf_str(&loop)), 0);
    buf_free(&loop);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_restore_gives_a_node_of_its_own),
        TEST(test_restore_killed_at_every_step_is_all_or_nothing),
        TEST(test_refound_goes_on_with_all_keys_in_another_cluster),
        TEST(test_refound_killed_at_every_step_is_all_or_nothing),
        TEST(test_part_of_a_state_is_no_backup),
        TEST(test_restore_that_fails_leaves_nothing),
        TEST(test_restore_that_cannot_write_leaves_nothing),
        TEST(test_refound_that_cannot_write_changes_nothing),
        TEST(test_directory_in_use_is_not_restored_into),
        TEST(test_file_that_cannot_be_looked_at_is_not_missing),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
