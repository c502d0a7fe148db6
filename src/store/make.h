/* SPDX-License-Identifier: MIT
 * A log is made whole or not at all, with the names that lead to it.
 */
#ifndef STORE_MAKE_H
#define STORE_MAKE_H

#include "store/log.h"

#define STORE_LOG_DIR     "log"
#define STORE_NEW_LOG_DIR "log.new" /* that is being made: nothing in it was ever promised */
#define STORE_FORMAT_FILE "format"

/* Errors of all with a reason. */

/* There is a log, or there was one: the directory was in use. */
bool store_log_exists(const char *dir);
bool store_was_in_use(const char *dir);

/* Makes DIR/log with this identity and base; what is left of an earlier try goes. Its name is
 * durable. Of the options: the sizes. */
MUST_CHECK int store_make_log(const char *dir, const struct store_options *options,
                              const struct storage_identity *identity,
                              const struct store_base *base, struct buf *reason);
/* The same with a new identity and without a past. CORRUPT when the directory was in use. */
MUST_CHECK int store_make_first_log(const char *dir, const struct store_options *options,
                                    struct buf *reason);
/* For one that is open and has nothing in it. */
MUST_CHECK int store_fill_first_log(const char *dir, const struct store_options *options,
                                    struct store_log *log, struct buf *reason);
/* Removes DIR/NAME, a log that nobody has open; it need not be there. */
MUST_CHECK int store_remove_log(const char *dir, const char *name, struct buf *reason);
/* LMDB syncs its file and never the directories that name it (PITFALLS 52). */
MUST_CHECK int store_make_names_durable(const char *dir, struct buf *reason);

#endif
