/* SPDX-License-Identifier: MIT */
#include "base/err.h"

const char *err_text(int code)
{
    switch (code) {
    case 0:
        return "ok";
#define X(name, text)                                                                              \
    case ERR_##name:                                                                               \
        return text;
        ERR_LIST(X)
#undef X
    default:
        return "unknown error";
    }
}

const char *err_name(int code)
{
    switch (code) {
    case 0:
        return "OK";
#define X(name, text)                                                                              \
    case ERR_##name:                                                                               \
        return #name;
        ERR_LIST(X)
#undef X
    default:
        return "UNLISTED";
    }
}
