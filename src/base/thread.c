/* SPDX-License-Identifier: MIT */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* pthread_setname_np */
#endif
#include "base/thread.h"

#include <pthread.h>
#include <stdio.h>

#define NAME_BYTES 16

void thread_name(const char *name)
{
    char text[NAME_BYTES];
    snprintf(text, sizeof text, "%s", name);
    (void)pthread_setname_np(pthread_self(), text);
}
