/* SPDX-License-Identifier: MIT
 * What options have to do with each other, and defaults that follow from others.
 */
#ifndef CONF_CHECK_H
#define CONF_CHECK_H

#include "conf/options.h"

/* Fills advertise_addr, data_dir and http_threads where nobody gave them. */
MUST_CHECK int conf_complete(struct conf *conf, struct conf_error *error);
/* Refuses what does not go together. conf is complete. */
MUST_CHECK int conf_check(const struct conf *conf, struct conf_error *error);

#endif
