/* SPDX-License-Identifier: MIT
 * The faults are synchronous: they come on the thread that reads, inside of a
 * plain memory access, so that a jump out of the handler is well defined.
 *
 * The handlers are put in place once and stay: they belong to the process, and
 * taking them out after one thread's guard would pull them from under another's.
 */
#include "store/guard.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>

static _Thread_local sigjmp_buf *active; /* the innermost; NULL: no guard */
static _Thread_local volatile sig_atomic_t paused;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of who writes what follows */
static struct sigaction old_segv, old_bus;               /* whose turn it is without a guard */

void store_guard_trip(void)
{
    if (active && !paused)
        siglongjmp(*active, 1);
}

void store_guard_pause(bool pause)
{
    paused = pause;
}

/* Nobody guards this: as if there were no handler here. Returning repeats the access, and so the
 * fault; a signal that was sent (by kill) has to be sent again. */
static void on_fault(int signal_number, siginfo_t *info, void *context)
{
    (void)context;
    bool sent = info->si_code <= 0;
    if (!sent)
        store_guard_trip();
    sigaction(signal_number, signal_number == SIGBUS ? &old_bus : &old_segv, NULL);
    if (sent)
        raise(signal_number);
}

static void put_in_place(int signal_number, struct sigaction *ret_old)
{
    struct sigaction fault = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO}, old;
    sigemptyset(&fault.sa_mask);
    sigaction(signal_number, &fault, &old);
    if (!(old.sa_flags & SA_SIGINFO) || old.sa_sigaction != on_fault)
        *ret_old = old;
}

void store_guard_prepare(void)
{
    pthread_mutex_lock(&lock);
    put_in_place(SIGSEGV, &old_segv);
    put_in_place(SIGBUS, &old_bus);
    pthread_mutex_unlock(&lock);
}

/* A jump out of the handler leaves its signal blocked. Put right here, it costs a system call only
 * when there was a fault; sigsetjmp() would take one each time to save the mask. */
static void unblock(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGSEGV);
    sigaddset(&set, SIGBUS);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

bool store_guard(int (*fn)(void *ctx), void *ctx, int *ret_result)
{
    sigjmp_buf here;
    sigjmp_buf *volatile outer = active;
    volatile sig_atomic_t outer_paused = paused;
    volatile bool returned = false;
    pthread_once(&once, store_guard_prepare);
    if (sigsetjmp(here, 0) == 0) {
        active = &here;
        paused = false;
        *ret_result = fn(ctx);
        returned = true;
    } else {
        unblock();
    }
    active = outer;
    paused = outer_paused;
    return returned;
}
