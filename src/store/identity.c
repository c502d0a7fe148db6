/* SPDX-License-Identifier: MIT
 * The id is libuuid's; the incarnation tells two disks apart that carry the
 * same id (PITFALLS 41), so it comes from the kernel and not from a library's
 * generator that may share the id's state.
 */
#include "store/identity.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>
/* libuuid and base/uuid.h both have a uuid_compare(). */
#define uuid_compare libuuid_compare
#include <uuid/uuid.h>
#undef uuid_compare

#include "base/bytes.h"

static struct uuid new_uuid(void)
{
    uuid_t bytes;
    uuid_generate(bytes);
    return (struct uuid){bytes_get_be(bytes, 8), bytes_get_be(bytes + 8, 8)};
}

int store_identity_make(struct storage_identity *ret_identity, struct buf *reason)
{
    uint64_t incarnation = 0;
    while (incarnation == 0) {
        ssize_t n = getrandom(&incarnation, sizeof incarnation, 0);
        if (n == (ssize_t)sizeof incarnation || (n < 0 && errno == EINTR))
            continue;
        buf_printf(reason, "cannot get random bytes: %s", strerror(errno));
        return ERR_IO;
    }
    *ret_identity = (struct storage_identity){.node = new_uuid(), .incarnation = incarnation};
    return 0;
}
