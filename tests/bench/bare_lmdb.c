/* SPDX-License-Identifier: MIT
 * LMDB alone, as the ceiling for limits.sh: synced commits of 256 entries that
 * are appended, as a log does it and with the environment of src/store/env.c;
 * and copying the bytes of as many entries from one place in memory to another.
 * Old entries are taken away, so that the file stays small.
 */
#include <lmdb.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

#define ENTRIES     256
#define ENTRY_BYTES 128
#define KEPT        100000
#define MAP_BYTES   ((size_t)1 << 30)
#define COPY_BYTES  ((size_t)64 << 20) /* more than any cache */

static MDB_env *env;
static MDB_dbi db;

static void check(int rc)
{
    if (rc == 0)
        return;
    fprintf(stderr, "bare_lmdb: %s\n", mdb_strerror(rc));
    exit(1);
}

static void open_env(const char *dir)
{
    MDB_txn *txn;
    check(mdb_env_create(&env));
    check(mdb_env_set_mapsize(env, MAP_BYTES));
    check(mdb_env_open(env, dir, MDB_NOTLS, 0600));
    check(mdb_txn_begin(env, NULL, 0, &txn));
    check(mdb_dbi_open(txn, NULL, MDB_INTEGERKEY, &db));
    check(mdb_txn_commit(txn));
}

static void commit(size_t first)
{
    char entry[ENTRY_BYTES];
    MDB_txn *txn;
    check(mdb_txn_begin(env, NULL, 0, &txn));
    for (size_t i = first; i < first + ENTRIES; i++) {
        memset(entry, (int)i, sizeof entry);
        MDB_val key = {sizeof i, &i}, data = {sizeof entry, entry};
        check(mdb_put(txn, db, &key, &data, MDB_APPEND));
        size_t old = i - KEPT;
        MDB_val old_key = {sizeof old, &old};
        if (i >= KEPT)
            check(mdb_del(txn, db, &old_key, NULL));
    }
    check(mdb_txn_commit(txn));
}

static double commits_a_second(uint64_t seconds)
{
    uint64_t begin = clock_now_us(), end = begin + seconds * 1000000;
    size_t n = 0;
    while (clock_now_us() < end)
        commit(n++ * ENTRIES);
    return (double)n * 1e6 / (double)(clock_now_us() - begin);
}

static double copies_a_second(void)
{
    char *from = mem_alloc(COPY_BYTES), *to = mem_alloc(COPY_BYTES);
    size_t n = COPY_BYTES / ENTRY_BYTES;
    unsigned sum = 0;
    memset(from, 1, COPY_BYTES);
    memset(to, 2, COPY_BYTES);
    uint64_t begin = clock_now_us();
    for (size_t i = 0; i < n; i++) {
        /* In an order that no prefetcher foresees: an odd number steps through all places. */
        size_t place = i * 40503 % n * ENTRY_BYTES;
        memcpy(to + place, from + i * ENTRY_BYTES, ENTRY_BYTES);
    }
    uint64_t took_us = clock_now_us() - begin;
    for (size_t i = 0; i < COPY_BYTES; i += ENTRY_BYTES) /* so that the copy is needed */
        sum += (unsigned char)to[i];
    mem_free(from);
    mem_free(to);
    return sum == n ? (double)n * 1e6 / (double)(took_us + 1) : 0;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: bare_lmdb DIR SECONDS; prints: entries committed per second, "
                        "entries copied per second\n");
        return 2;
    }
    open_env(argv[1]);
    printf("%.0f", commits_a_second(strtoull(argv[2], NULL, 10)) * ENTRIES);
    printf(" %.0f\n", copies_a_second());
    mdb_env_close(env);
    return 0;
}
