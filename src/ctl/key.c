/* SPDX-License-Identifier: MIT */
#include "ctl/key.h"

#include <string.h>

#include "base/limits.h"
#include "ctl/text.h"

int key_word(const struct ctl *c, struct buf *key)
{
    const char *word = c->args->words[0];
    if (!args_has(c->args, FLAG_KEY_B64)) {
        buf_append_str(key, word);
    } else if (text_from_base64(word, strlen(word), key) < 0) {
        ctl_fail(CTL_USAGE, "--key-b64: '%s' is not base64", word);
        return ERR_INVALID;
    }
    if (key->len >= 1 && key->len <= LIMIT_KEY_BYTES)
        return 0;
    ctl_fail(CTL_USAGE, "a key has 1 to %d bytes", LIMIT_KEY_BYTES);
    return ERR_INVALID;
}
