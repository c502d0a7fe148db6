/* SPDX-License-Identifier: MIT
 * Members of the cluster, as /v1/members lists them.
 */
#ifndef CTL_MEMBERS_H
#define CTL_MEMBERS_H

#include "base/uuid.h"
#include "ctl/ctl.h"
#include "ctl/doc.h"

/* The id of the node that text names: an id, the beginning of one that no other shares, or an
 * address. Only an id asks nobody. The exit status; CTL_OK: ret_id is filled. */
MUST_CHECK int member_find(const struct ctl *c, const char *text, char ret_id[UUID_TEXT_LEN + 1]);

/* What a member is, for people. Borrowed. */
const char *member_role(struct json_object *m);

#endif
