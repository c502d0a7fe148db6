/* SPDX-License-Identifier: MIT */
#include "node/turns.h"

#include <time.h>

#include "base/assert.h"

/* A guest has other work: he takes no turn when the last one was as long as this. */
#define SHORT_US 200

void turns_init(struct turns *t)
{
    pthread_condattr_t attr;
    *t = (struct turns){0};
    ASSERT(pthread_mutex_init(&t->lock, NULL) == 0);
    ASSERT(pthread_condattr_init(&attr) == 0);
    ASSERT(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
    ASSERT(pthread_cond_init(&t->more, &attr) == 0);
    pthread_condattr_destroy(&attr);
}

void turns_free(struct turns *t)
{
    pthread_cond_destroy(&t->more);
    pthread_mutex_destroy(&t->lock);
}

void turns_lock(struct turns *t)
{
    pthread_mutex_lock(&t->lock);
}

void turns_unlock(struct turns *t)
{
    pthread_mutex_unlock(&t->lock);
}

void turns_await_guest(struct turns *t)
{
    t->awaits_guest = true;
    while (t->has_guest)
        pthread_cond_wait(&t->more, &t->lock);
    t->awaits_guest = false;
}

void turns_sleep(struct turns *t, uint64_t until_ms)
{
    struct timespec until = {.tv_sec = (time_t)(until_ms / 1000),
                             .tv_nsec = (long)(until_ms % 1000) * 1000000};
    t->asleep = true;
    pthread_cond_timedwait(&t->more, &t->lock, &until);
    t->asleep = false;
}

void turns_took(struct turns *t, uint64_t us)
{
    atomic_store_explicit(&t->are_short, us < SHORT_US, memory_order_relaxed);
}

enum turns_part turns_join(struct turns *t, bool has_time)
{
    if (!t->asleep)
        return TURNS_NONE; /* it, or a guest, looks for more before it sleeps */
    t->asleep = false;
    t->has_guest = has_time && atomic_load_explicit(&t->are_short, memory_order_relaxed);
    return t->has_guest ? TURNS_GUEST : TURNS_WAKE;
}

bool turns_leave(struct turns *t, bool more)
{
    bool wake = more || t->awaits_guest;
    t->has_guest = false;
    t->asleep = !wake; /* as he found it */
    return wake;
}

void turns_wake(struct turns *t)
{
    pthread_cond_signal(&t->more);
}
