/* SPDX-License-Identifier: MIT
 * The faults are synchronous: they come on the thread that reads, inside of a
 * plain memory access, so that a jump out of the handler is well defined.
 */
#include "store/guard.h"

#include <setjmp.h>
#include <signal.h>
#include <stddef.h>

static _Thread_local sigjmp_buf *active; /* NULL: no guard */
static _Thread_local volatile sig_atomic_t paused;

void store_guard_trip(void)
{
    if (active && !paused)
        siglongjmp(*active, 1);
}

void store_guard_pause(bool pause)
{
    paused = pause;
}

/* Returning after the default action is restored repeats the access, which then ends the process
 * as it would have without a guard. */
static void on_fault(int signal_number)
{
    store_guard_trip();
    signal(signal_number, SIG_DFL);
}

bool store_guard(int (*fn)(void *ctx), void *ctx, int *ret_result)
{
    sigjmp_buf here;
    struct sigaction fault = {.sa_handler = on_fault}, old_segv, old_bus;
    volatile bool returned = false;
    sigaction(SIGSEGV, &fault, &old_segv);
    sigaction(SIGBUS, &fault, &old_bus);
    if (sigsetjmp(here, 1) == 0) {
        active = &here;
        paused = false;
        *ret_result = fn(ctx);
        returned = true;
    }
    active = NULL;
    sigaction(SIGSEGV, &old_segv, NULL);
    sigaction(SIGBUS, &old_bus, NULL);
    return returned;
}
