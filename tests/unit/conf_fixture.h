/* SPDX-License-Identifier: MIT
 * Loading configurations from texts, for the tests of conf/.
 */
#ifndef TESTS_UNIT_CONF_FIXTURE_H
#define TESTS_UNIT_CONF_FIXTURE_H

#include "conf/conf.h"

extern char dir[];  /* of this test */
extern char file[]; /* dir/c, what the texts are written to */

/* The last load's answers. */
extern struct conf conf;
extern enum conf_action action;
extern struct conf_error error;

void write_file(const char *text);
/* Loads with text (unless NULL) in the file that --config names, and words as further flags. */
MUST_CHECK int load_words(const char *text, const char *words);
/* The same, which must succeed. */
void loads(const char *text, const char *words);
/* The same, which must be refused with one line that starts with place (in
 * which "FILE" stands for the file) and holds what. */
void refuses(const char *text, const char *words, const char *place, const char *what);

int conf_fixture_setup(void **state);
int conf_fixture_teardown(void **state);

#endif
