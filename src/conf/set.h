/* SPDX-License-Identifier: MIT
 * Setting one option from one source, and saying where an error is.
 */
#ifndef CONF_SET_H
#define CONF_SET_H

#include "conf/options.h"
#include "conf/value.h"

/* Writes "PLACE: option: ..." by the option's origin into error; returns ERR_INVALID. */
int conf_fail(const struct conf *conf, enum conf_id id, struct conf_error *error, const char *fmt,
              ...) PRINTF_LIKE(4, 5);
/* Writes one line, control characters replaced; returns ERR_INVALID. */
int conf_error_set(struct conf_error *error, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Gives the option these texts from this origin, replacing an earlier one. */
MUST_CHECK int conf_set(struct conf *conf, enum conf_id id, struct conf_origin origin,
                        const struct conf_texts *texts, struct conf_error *error);

#endif
