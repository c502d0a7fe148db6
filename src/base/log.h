/* SPDX-License-Identifier: MIT
 * The daemon's log. A call formats its line, puts it into a bounded ring and
 * returns: it never waits for the terminal, journald or a disk. A thread of
 * its own writes. When the ring is full the line is counted and dropped.
 *
 * Before log_start() and after log_stop(), lines go to standard error at once.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_target { LOG_TARGET_STDERR, LOG_TARGET_SYSLOG };

void log_start(enum log_target target);
/* Writes what waits, ends the thread. */
void log_stop(void);
void log_set_level(enum log_level level);
/* Whether a line of this level would be written. */
bool log_wants(enum log_level level);
/* "error", "warn", "info", "debug". ERR_INVALID for another word. */
MUST_CHECK int log_level_parse(const char *word, enum log_level *ret_level);
const char *log_level_name(enum log_level level);
/* Lines dropped since the start because the ring was full. */
uint64_t log_dropped(void);

/* Lines are cut at 1,000 bytes; control characters in them are replaced. */
void log_line(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

#define LOG_ERROR(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define LOG_WARN(...)  log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define LOG_INFO(...)  log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define LOG_DEBUG(...)                                                                             \
    (log_wants(LOG_LEVEL_DEBUG) ? log_line(LOG_LEVEL_DEBUG, __VA_ARGS__) : (void)0)

/* For what a peer or a client can trigger: true at most once per interval. The
 * state is the caller's, zero-initialised, and may be shared by threads. */
struct log_limit {
    _Atomic uint64_t next_ms;
};
bool log_allow(struct log_limit *limit, uint64_t interval_ms);

#endif
