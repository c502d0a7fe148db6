/* SPDX-License-Identifier: MIT
 * What api/ decodes of paths, queries and headers, over any bytes. What is
 * taken must be what the same thing encoded again would be taken for.
 */
#include <stdio.h>
#include <string.h>

#include "api/decode.h"
#include "api/etag.h"
#include "api/json_out.h"
#include "base/assert.h"
#include "base/mem.h"
#include "fuzz.h"

static void percent(const char *in, size_t len, bool plus)
{
    char *out = mem_alloc(len + 1), *again = mem_alloc(len + 1);
    struct buf encoded = BUF_INIT;
    size_t n = 0, n_again = 0;
    int err = decode_percent(in, len, plus, out, len, &n);
    ASSERT(err == 0 || err == ERR_INVALID);
    if (err == 0) {
        ASSERT(n <= len);
        for (size_t i = 0; i < n; i++)
            buf_printf(&encoded, "%%%02X", (unsigned)(uint8_t)out[i]);
        err = decode_percent((char *)encoded.data, encoded.len, plus, again, len, &n_again);
        ASSERT(err == 0 && n_again == n && memcmp(out, again, n) == 0);
        ASSERT(n == 0 || decode_percent(in, len, plus, again, n - 1, &n_again) == ERR_TOO_LARGE);
    }
    buf_free(&encoded);
    mem_free(out);
    mem_free(again);
}

static void base64(const char *in, size_t len)
{
    struct buf out = BUF_INIT, member = BUF_INIT, again = BUF_INIT;
    static const uint8_t not_text = 0xff;
    if (decode_base64(in, len, &out) == 0) {
        buf_append(&out, &not_text, 1);
        json_out_member(&member, "k", out.data, out.len); /* "k_b64":"..." */
        int err = decode_base64((char *)member.data + 9, member.len - 10, &again);
        ASSERT(err == 0 && again.len == out.len && memcmp(again.data, out.data, out.len) == 0);
    } else {
        ASSERT(out.len == 0);
    }
    buf_free(&out);
    buf_free(&member);
    buf_free(&again);
}

static void numbers(const char *in, size_t len)
{
    char text[32];
    uint64_t u = 0, u_again = 0, ms;
    int64_t i = 0, i_again = 0;
    if (decode_u64(in, len, &u) == 0) {
        int n = snprintf(text, sizeof text, "%llu", (unsigned long long)u);
        ASSERT(decode_u64(text, (size_t)n, &u_again) == 0 && u_again == u);
        ASSERT(decode_i64(in, len, &i) == (u > INT64_MAX ? ERR_TOO_LARGE : 0));
    } else if (decode_i64(in, len, &i) == 0) {
        int n = snprintf(text, sizeof text, "%lld", (long long)i);
        ASSERT(decode_i64(text, (size_t)n, &i_again) == 0 && i_again == i);
    }
    if (decode_duration(in, len, &ms) == 0) {
        int n = snprintf(text, sizeof text, "%llums", (unsigned long long)ms);
        ASSERT(decode_duration(text, (size_t)n, &u_again) == 0 && u_again == ms);
    }
}

static void etags(const char *in, size_t len)
{
    struct etag_list list = {.n = 0}, again;
    char *text = mem_alloc(len + 1);
    struct buf written = BUF_INIT;
    memcpy(text, in, len);
    text[len] = 0;
    if (etag_parse(text, &list) == 0) {
        ASSERT(list.any ? list.n == 0 : list.n > 0 && list.n <= ETAG_MAX);
        for (unsigned i = 0; i < list.n; i++)
            buf_printf(&written, "%s%s\"%llu\"", i ? "," : "", list.tags[i].weak ? "W/" : "",
                       (unsigned long long)list.tags[i].revision);
        if (list.any)
            buf_append_str(&written, "*");
        ASSERT(etag_parse(buf_str(&written), &again) == 0);
        ASSERT(again.any == list.any && again.n == list.n);
        for (unsigned i = 0; i < list.n; i++)
            ASSERT(again.tags[i].revision == list.tags[i].revision &&
                   again.tags[i].weak == list.tags[i].weak);
    }
    buf_free(&written);
    mem_free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const char *text = (const char *)data;
    percent(text, len, false);
    percent(text, len, true);
    base64(text, len);
    numbers(text, len);
    etags(text, len);
    return 0;
}

static const char *const seeds[] = {
    "a/b%2Fc//..%00%ff+",
    "QUJDREVG+/8=",
    "_-8A",
    "18446744073709551615",
    "-9223372036854775808",
    "30s",
    "600000ms",
    "\"17\", W/\"18\" , \"abc\",19",
    "*",
};

unsigned fuzz_n_seeds(void)
{
    return sizeof seeds / sizeof *seeds;
}

void fuzz_seed(unsigned i, struct buf *out)
{
    buf_append_str(out, seeds[i]);
}
