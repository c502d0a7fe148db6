/* SPDX-License-Identifier: MIT
 * A look at the file's text before libconfuse gets it. It refuses what
 * libconfuse 3.3 takes in silence or stumbles over (PITFALLS part 2): unclosed
 * sections, options and sections given twice, ${VAR}, stray characters; it
 * blanks comments, which put libconfuse's line count wrong; and it notes the
 * line of each option.
 */
#ifndef CONF_SCAN_H
#define CONF_SCAN_H

#include "conf/options.h"

struct scan {
    unsigned line[CONF_OPTIONS]; /* where an option is given, 0 when it is not */
};

/* Blanks the comments in text (len bytes) in place and fills ret_scan.
 * ERR_INVALID with "file:line: ..." in error. */
MUST_CHECK int conf_scan(const char *file, char *text, size_t len, struct scan *ret_scan,
                         struct conf_error *error);

#endif
