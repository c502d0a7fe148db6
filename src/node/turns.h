/* SPDX-License-Identifier: MIT
 * Who takes the next turn: the thread that is there for it, or, while that
 * sleeps and turns are short, a guest: whoever brings something and has time.
 * To wake the thread would take longer than such a turn.
 *
 *      thread  lock, turns_await_guest; nothing to do: turns_sleep, again
 *              else unlock, turn, turns_took
 *      others  lock, leave something, turns_join, unlock
 *              TURNS_WAKE:   turns_wake
 *              TURNS_GUEST:  turn, turns_took, lock, turns_leave, unlock; true: turns_wake
 */
#ifndef NODE_TURNS_H
#define NODE_TURNS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct turns {
    pthread_mutex_t lock; /* also of what is left for the next turn */
    pthread_cond_t more;
    bool asleep;       /* the thread, and nobody has woken it or acts for it */
    bool has_guest;    /* a guest's turn goes on */
    bool awaits_guest; /* the thread, to be woken at its end */
    atomic_bool are_short;
};

enum turns_part { TURNS_NONE, TURNS_WAKE, TURNS_GUEST };

void turns_init(struct turns *t);
void turns_free(struct turns *t);
void turns_lock(struct turns *t);
void turns_unlock(struct turns *t);

/* The thread, with the lock held: returns when no guest's turn goes on. */
void turns_await_guest(struct turns *t);
/* The thread, with the lock held, no guest and nothing to do: sleeps until it is woken or until_ms,
 * or for no reason. */
void turns_sleep(struct turns *t, uint64_t until_ms);
/* After each turn. */
void turns_took(struct turns *t, uint64_t us);
/* Others, with the lock held, which they release before what they are to do. TURNS_NONE: what they
 * left is seen without them. */
enum turns_part turns_join(struct turns *t, bool has_time);
/* The guest, with the lock held: his turn is over, and left something to do, or not. True: the
 * thread is to be woken. */
bool turns_leave(struct turns *t, bool more);
void turns_wake(struct turns *t);

#endif
