/* SPDX-License-Identifier: MIT
 * The map is address space, which LMDB wants to know beforehand: the file may
 * grow up to it. It can be made larger while no transaction is open in the
 * process (lmdb.h), so views wait or end for it; that is as rare as the doubling
 * of what is generous at first.
 */
#include <sys/mman.h>
#include <time.h>

#include "base/log.h"
#include "store/state_impl.h"

/* Views of single reads end by themselves meanwhile. */
#define DRAIN_MS 50

static bool has_address_space(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p != MAP_FAILED)
        munmap(p, bytes);
    return p != MAP_FAILED;
}

/* With the lock held, so that no view begins. */
static void drain_views(struct state *s)
{
    struct timespec deadline;
    state_deadline(&deadline, DRAIN_MS * 1000);
    while (s->n_views > 0 && state_await_close(s, &deadline))
        ;
    state_end_views(s, 0, STATE_ALL);
}

bool state_grow_map(struct state *s)
{
    size_t bytes = 2 * (size_t)state_db_map(&s->db);
    if (bytes == 0 || !has_address_space(bytes))
        return false;
    pthread_mutex_lock(&s->lock);
    drain_views(s);
    int rc = mdb_env_set_mapsize(s->db.env, bytes);
    pthread_mutex_unlock(&s->lock);
    if (rc)
        state_die(s, "cannot map the state's file anew");
    else
        LOG_INFO("%s/data.mdb may grow to %zu MiB now", s->dir, bytes / MIB);
    return !rc;
}
