/* SPDX-License-Identifier: MIT
 * Texts of option values <-> values: numbers with units, words, addresses,
 * paths, lists. Strict on purpose: libconfuse itself would read 010 as 8.
 */
#ifndef CONF_VALUE_H
#define CONF_VALUE_H

#include "base/buf.h"
#include "conf/options.h"

/* Texts of one option: one for most, any number for a list. */
struct conf_texts {
    char **items; /* owned, and each item */
    size_t n;
};

void conf_texts_add(struct conf_texts *t, const char *text);
void conf_texts_free(struct conf_texts *t);

/* Reads the texts into the option's field of conf, freeing what was there.
 * ERR_INVALID with what is wrong and what to write appended to why; the field
 * is untouched then. */
MUST_CHECK int conf_value_read(const struct conf_option *o, const struct conf_texts *texts,
                               struct conf *conf, struct buf *why);
/* Appends the field's value as the file would say it. */
void conf_value_write(const struct conf_option *o, const struct conf *conf, struct buf *out);
/* The field's value as texts that conf_value_read() takes: one, or any number for a list. Adds to
 * ret. */
void conf_value_texts(const struct conf_option *o, const struct conf *conf, struct conf_texts *ret);
/* Appends a number in the option's unit: 2000 of a duration is "2s". */
void conf_number_write(const struct conf_option *o, uint64_t value, struct buf *out);
/* Frees what the option's field owns and empties it. */
void conf_value_free(const struct conf_option *o, struct conf *conf);

#endif
