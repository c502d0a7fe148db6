/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/thread.h"

#define LINE_BYTES 1000
#define RING_LINES 512

struct line {
    enum log_level level;
    char text[LINE_BYTES];
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t more;
    pthread_t thread;
    enum log_target target;
    bool running, stopping;
    unsigned first, n; /* of ring */
    struct line ring[RING_LINES];
} logger = {.lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER};

static atomic_int max_level = LOG_LEVEL_INFO;
static atomic_ullong n_dropped;
static const char *const level_names[] = {"error", "warn", "info", "debug"};

int log_level_parse(const char *word, enum log_level *ret_level)
{
    for (unsigned i = 0; i < sizeof level_names / sizeof *level_names; i++)
        if (strcmp(word, level_names[i]) == 0) {
            *ret_level = (enum log_level)i;
            return 0;
        }
    return ERR_INVALID;
}

const char *log_level_name(enum log_level level)
{
    return level_names[level];
}

void log_set_level(enum log_level level)
{
    atomic_store(&max_level, (int)level);
}

bool log_wants(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&max_level, memory_order_relaxed);
}

uint64_t log_dropped(void)
{
    return atomic_load(&n_dropped);
}

bool log_allow(struct log_limit *limit, uint64_t interval_ms)
{
    uint64_t now = clock_now_ms();
    uint64_t next = atomic_load(&limit->next_ms);
    return now >= next && atomic_compare_exchange_strong(&limit->next_ms, &next, now + interval_ms);
}

static void write_line(enum log_target target, const struct line *line)
{
    static const int priorities[] = {LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG};
    if (target == LOG_TARGET_SYSLOG) {
        syslog(priorities[line->level], "%s", line->text);
        return;
    }
    char out[LINE_BYTES + 32];
    int len = snprintf(out, sizeof out, "crabcluster: %s%s%s\n",
                       line->level == LOG_LEVEL_INFO ? "" : level_names[line->level],
                       line->level == LOG_LEVEL_INFO ? "" : ": ", line->text);
    ssize_t written = write(STDERR_FILENO, out, (size_t)len);
    (void)written; /* nobody left to tell */
}

static void *run(void *unused)
{
    (void)unused;
    thread_name("logger");
    pthread_mutex_lock(&logger.lock);
    while (!logger.stopping || logger.n > 0) {
        if (logger.n == 0) {
            pthread_cond_wait(&logger.more, &logger.lock);
            continue;
        }
        struct line line = logger.ring[logger.first];
        logger.first = (logger.first + 1) % RING_LINES;
        logger.n--;
        pthread_mutex_unlock(&logger.lock);
        write_line(logger.target, &line);
        pthread_mutex_lock(&logger.lock);
    }
    pthread_mutex_unlock(&logger.lock);
    return NULL;
}

void log_start(enum log_target target)
{
    if (target == LOG_TARGET_SYSLOG)
        openlog("crabcluster", LOG_PID, LOG_DAEMON);
    pthread_mutex_lock(&logger.lock);
    ASSERT(!logger.running);
    logger.target = target;
    logger.stopping = false;
    logger.running = pthread_create(&logger.thread, NULL, run, NULL) == 0;
    pthread_mutex_unlock(&logger.lock);
}

void log_stop(void)
{
    pthread_mutex_lock(&logger.lock);
    bool was_running = logger.running;
    logger.stopping = true;
    pthread_cond_signal(&logger.more);
    pthread_mutex_unlock(&logger.lock);
    if (was_running)
        pthread_join(logger.thread, NULL);
    pthread_mutex_lock(&logger.lock);
    logger.running = false;
    pthread_mutex_unlock(&logger.lock);
}

static void put_line(const struct line *line)
{
    pthread_mutex_lock(&logger.lock);
    bool direct = !logger.running;
    if (!direct && logger.n == RING_LINES) {
        atomic_fetch_add(&n_dropped, 1);
    } else if (!direct) {
        logger.ring[(logger.first + logger.n) % RING_LINES] = *line;
        logger.n++;
        pthread_cond_signal(&logger.more);
    }
    pthread_mutex_unlock(&logger.lock);
    if (direct)
        write_line(LOG_TARGET_STDERR, line);
}

void log_line(enum log_level level, const char *fmt, ...)
{
    if (!log_wants(level))
        return;
    struct line line = {.level = level};
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line.text, sizeof line.text, fmt, ap);
    va_end(ap);
    for (char *c = line.text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    put_line(&line);
}
