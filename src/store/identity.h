/* SPDX-License-Identifier: MIT
 * A new identity: who this node is from now on.
 */
#ifndef STORE_IDENTITY_H
#define STORE_IDENTITY_H

#include "base/buf.h"
#include "node/storage.h"

/* A random id and a random incarnation, boot 0, no cluster. IO when the kernel
 * gives no random bytes, with a reason. */
MUST_CHECK int store_identity_make(struct storage_identity *ret_identity, struct buf *reason);

#endif
