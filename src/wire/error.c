/* SPDX-License-Identifier: MIT
 * Error codes on the wire have numbers of their own: the list in base/err.h may
 * be reordered, the numbers here stay. Never reuse one.
 */
#include "wire/codec.h"

#define WIRE_ERRORS(X)                                                                             \
    X(1, INVALID)                                                                                  \
    X(2, TOO_LARGE)                                                                                \
    X(3, NOT_FOUND)                                                                                \
    X(4, EXISTS)                                                                                   \
    X(5, BUSY)                                                                                     \
    X(6, OVERLOADED)                                                                               \
    X(7, NO_LEADER)                                                                                \
    X(8, NOT_LEADER)                                                                               \
    X(9, UNKNOWN)                                                                                  \
    X(10, STALE)                                                                                   \
    X(11, TIMEOUT)                                                                                 \
    X(12, UNREACHABLE)                                                                             \
    X(13, NOT_ALLOWED)                                                                             \
    X(14, IN_PROGRESS)                                                                             \
    X(15, LAGGING)                                                                                 \
    X(16, EMPTY)                                                                                   \
    X(17, ID_MISMATCH)                                                                             \
    X(18, CLUSTER_MISMATCH)                                                                        \
    X(19, INCARNATION_MISMATCH)                                                                    \
    X(20, VERSION)                                                                                 \
    X(21, CORRUPT)                                                                                 \
    X(22, IO)                                                                                      \
    X(23, NO_SPACE)                                                                                \
    X(24, PERMISSION)                                                                              \
    X(25, UNINITIALIZED)                                                                           \
    X(26, SHUTDOWN)                                                                                \
    X(27, NO_QUORUM)                                                                               \
    X(28, CONFLICT)

enum { WIRE_ERROR_UNKNOWN = 9 };

static uint64_t error_number(int code)
{
    switch (code) {
    case 0:
        return 0;
#define X(number, name)                                                                            \
    case ERR_##name:                                                                               \
        return number;
        WIRE_ERRORS(X)
#undef X
    default:
        return WIRE_ERROR_UNKNOWN;
    }
}

static int error_code(uint64_t number)
{
    switch (number) {
    case 0:
        return 0;
#define X(n, name)                                                                                 \
    case n:                                                                                        \
        return ERR_##name;
        WIRE_ERRORS(X)
#undef X
    default:
        return ERR_UNKNOWN; /* a newer version's: it is an error, more is not known */
    }
}

void wire_put_error(struct buf *out, int code)
{
    buf_put_varint(out, error_number(code));
}

int wire_read_error(struct bytes_reader *r)
{
    return error_code(bytes_read_varint(r));
}
