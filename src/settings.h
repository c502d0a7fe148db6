/* SPDX-License-Identifier: MIT
 * The configuration as GET /v1/config shows it: conf/ and api/ do not know each
 * other.
 */
#ifndef SETTINGS_H
#define SETTINGS_H

struct api;
struct conf;

/* Copies. At the start, and whenever values were taken over. */
void settings_publish(struct api *a, const struct conf *conf);

#endif
