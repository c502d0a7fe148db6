/* SPDX-License-Identifier: MIT
 * Reads the log of a Jepsen test of one register, one event a line:
 *
 *      INFO  jepsen.util - <process> <:invoke|:ok|:fail|:info> <:read|:write|:cas> <value>
 *
 * with value nil, a number, [expected new] or :timed-out. Times are numbers of
 * lines. What may have happened is unknown: :info, and every write or cas that
 * timed out, whatever it is called. A cas that failed met another value.
 */
#ifndef TESTS_LIN_JEPSEN_H
#define TESTS_LIN_JEPSEN_H

#include <stdio.h>

#include "base/err.h"
#include "lin/lin.h"

/* The register's values 0, 1 ... become these; nil is LIN_ABSENT. */
#define JEPSEN_VALUE(n) ((uint64_t)(n) + 1)

/* Adds all operations to lin, as of key 0. Lines of other loggers and of the nemesis are passed
 * over. INVALID: the line *ret_line is not understood, and what was added is of no use. */
MUST_CHECK int jepsen_read(FILE *f, struct lin *lin, unsigned *ret_line);

#endif
