/* SPDX-License-Identifier: MIT */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* pthread_setname_np, gettid */
#endif
#include "base/thread.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#define NAME_BYTES      16
#define BACKGROUND_NICE 10

void thread_name(const char *name)
{
    char text[NAME_BYTES];
    snprintf(text, sizeof text, "%s", name);
    (void)pthread_setname_np(pthread_self(), text);
}

/* Of Linux: other systems have one priority for all threads of a process (setpriority(2)). */
void thread_in_background(void)
{
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), BACKGROUND_NICE);
}
