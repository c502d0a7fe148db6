/* SPDX-License-Identifier: MIT
 * crabcluster.conf through libconfuse, the only place that includes it.
 */
#ifndef CONF_FILE_H
#define CONF_FILE_H

#include "conf/options.h"

#define CONF_FILE_BYTES_MAX ((size_t)1 << 20)

/* Reads the file and sets its options in conf, config_file too. must_exist
 * false: a missing file is no error and sets nothing. */
MUST_CHECK int conf_file_read(const char *path, bool must_exist, struct conf *conf,
                              struct conf_error *error);
/* The same for a text in memory; path is for messages. text (len bytes and a
 * NUL behind) is changed. */
MUST_CHECK int conf_file_parse(const char *path, char *text, size_t len, struct conf *conf,
                               struct conf_error *error);

#endif
