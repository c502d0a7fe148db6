/* SPDX-License-Identifier: MIT */
#include "conf/value.h"

#include <string.h>
#include <strings.h>

#include "base/addr.h"
#include "base/assert.h"
#include "base/mem.h"

#define PATH_BYTES_MAX 3000 /* leaves room for the names of files below it in PATH_MAX */

/* Words are stored in enums that count from 0, through an unsigned. */
_Static_assert(sizeof(enum log_level) == sizeof(unsigned), "enum log_level");
_Static_assert(sizeof(enum log_target) == sizeof(unsigned), "enum log_target");

struct unit {
    const char *name;
    uint64_t factor;
};

/* Smallest first. */
static const struct unit duration_units[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {NULL, 0}};
static const struct unit size_units[] = {
    {"", 1}, {"K", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30}, {NULL, 0}};
static const struct unit count_units[] = {{"", 1}, {NULL, 0}};

static const struct unit *units_of(enum conf_type type)
{
    if (type == CONF_TYPE_DURATION)
        return duration_units;
    return type == CONF_TYPE_SIZE ? size_units : count_units;
}

void conf_texts_add(struct conf_texts *t, const char *text)
{
    t->items = mem_realloc(t->items, (t->n + 1) * sizeof *t->items);
    t->items[t->n++] = mem_strdup(text);
}

void conf_texts_free(struct conf_texts *t)
{
    for (size_t i = 0; i < t->n; i++)
        mem_free(t->items[i]);
    mem_free(t->items);
    *t = (struct conf_texts){0};
}

static void *field(const struct conf_option *o, struct conf *conf)
{
    return (char *)conf + o->offset;
}

static const void *field_const(const struct conf_option *o, const struct conf *conf)
{
    return (const char *)conf + o->offset;
}

/* Numbers */

void conf_number_write(const struct conf_option *o, uint64_t value, struct buf *out)
{
    const struct unit *u = units_of(o->type), *best = u;
    for (; value && u->name; u++) {
        if (value % u->factor == 0)
            best = u;
    }
    buf_printf(out, "%llu%s", (unsigned long long)(value / best->factor), best->name);
}

static int number_complain(const struct conf_option *o, const char *text, struct buf *why)
{
    static const char *const forms[] = {
        [CONF_TYPE_COUNT] = "a decimal number without leading zeros",
        [CONF_TYPE_DURATION] = "a decimal number and its unit ms, s, m or h without a blank",
        [CONF_TYPE_SIZE] = "a decimal number of bytes, or with K, M or G behind it"};
    buf_printf(why, "'%s' is not understood; write %s, for example %s", text, forms[o->type],
               o->fallback);
    return ERR_INVALID;
}

static int range_complain(const struct conf_option *o, const char *text, struct buf *why)
{
    buf_printf(why, "'%s' is out of range; write a value from ", text);
    conf_number_write(o, o->min, why);
    buf_append_str(why, " to ");
    conf_number_write(o, o->max, why);
    return ERR_INVALID;
}

static int number_read(const struct conf_option *o, const char *text, uint64_t *ret,
                       struct buf *why)
{
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || (text[0] == '0' && digits > 1))
        return number_complain(o, text, why);
    const struct unit *u = units_of(o->type);
    while (u->name && strcmp(u->name, text + digits) != 0)
        u++;
    if (!u->name)
        return number_complain(o, text, why);
    uint64_t number = 0;
    for (size_t i = 0; i < digits; i++) {
        number = number * 10 + (uint64_t)(text[i] - '0');
        if (number > o->max) /* long before 64 bits are full */
            return range_complain(o, text, why);
    }
    if (number > o->max / u->factor || number * u->factor < o->min)
        return range_complain(o, text, why);
    *ret = number * u->factor;
    return 0;
}

/* Words */

static int word_read(const struct conf_option *o, const char *text, unsigned *ret, struct buf *why)
{
    for (unsigned i = 0; o->words[i]; i++) {
        if (strcmp(o->words[i], text) == 0) {
            *ret = i;
            return 0;
        }
    }
    buf_printf(why, "'%s' is not known; write one of:", text);
    for (unsigned i = 0; o->words[i]; i++)
        buf_printf(why, " %s", o->words[i]);
    return ERR_INVALID;
}

static int bool_read(const char *text, bool *ret, struct buf *why)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(words[i], text) == 0) {
            *ret = i % 2;
            return 0;
        }
    }
    buf_printf(why, "'%s' is neither yes nor no; write true or false", text);
    return ERR_INVALID;
}

/* Strings: each check answers with an owned copy in its usual form. */

/* Names of hosts are the same in small letters and in capitals (RFC 4343), and whoever compares
 * addresses compares bytes. */
static void lower(char *host)
{
    for (; *host; host++)
        if (*host >= 'A' && *host <= 'Z')
            *host = (char)(*host + ('a' - 'A'));
}

static int addr_read(const char *text, char **ret, struct buf *why)
{
    struct addr a;
    if (addr_parse(text, &a) < 0) {
        buf_printf(why, "'%s' is not HOST:PORT; write for example 127.0.0.1:8080 or [::1]:8080",
                   text);
        return ERR_INVALID;
    }
    char out[ADDR_TEXT_MAX + 1];
    lower(a.host);
    *ret = mem_strdup(addr_format(&a, out));
    return 0;
}

static int path_read(const char *text, char **ret, struct buf *why)
{
    size_t len = strlen(text);
    if (len > PATH_BYTES_MAX) {
        buf_printf(why, "the path is longer than %d bytes; write a shorter one", PATH_BYTES_MAX);
        return ERR_INVALID;
    }
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f) {
            buf_printf(why, "the path holds a control character; write it without");
            return ERR_INVALID;
        }
    }
    if (strstr(text, "${")) {
        buf_printf(why, "'%s': variables are not expanded here; write the whole path", text);
        return ERR_INVALID;
    }
    if (text[0] != '/') {
        buf_printf(why, "'%s' is not an absolute path; write one that starts with /", text);
        return ERR_INVALID;
    }
    *ret = mem_strdup(text);
    return 0;
}

/* scheme://host[:port] as a browser's Origin header says it, RFC 6454 section 6.2. */
static int origin_read(const char *text, char **ret, struct buf *why)
{
    bool https = strncmp(text, "https://", 8) == 0;
    bool http = strncmp(text, "http://", 7) == 0;
    const char *host = text + (https ? 8 : http ? 7 : 0);
    const char *colon = strrchr(host, ':');
    /* The last colon starts a port unless it is one inside [an IPv6 address]. */
    bool has_port = colon && !strchr(colon, ']');
    struct buf with_port = BUF_INIT;
    buf_printf(&with_port, "%s%s", host, has_port ? "" : ":80");
    struct addr a;
    int r = http || https ? addr_parse(buf_str(&with_port), &a) : ERR_INVALID;
    buf_free(&with_port);
    if (r < 0) {
        buf_printf(why, "'%s' is not an origin; write for example https://admin.example.org", text);
        return ERR_INVALID;
    }
    *ret = mem_strdup(text);
    return 0;
}

static int string_read(const struct conf_option *o, const char *text, char **ret, struct buf *why)
{
    switch (o->type) {
    case CONF_TYPE_ADDR:
    case CONF_TYPE_ADDRS:
        return addr_read(text, ret, why);
    case CONF_TYPE_ORIGINS:
        return origin_read(text, ret, why);
    default:
        ASSERT(o->type == CONF_TYPE_PATH);
        return path_read(text, ret, why);
    }
}

static void list_free(struct conf_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        mem_free(list->items[i]);
    mem_free(list->items);
    *list = (struct conf_list){0};
}

static int list_read(const struct conf_option *o, const struct conf_texts *texts,
                     struct conf_list *list, struct buf *why)
{
    if (texts->n > o->max) {
        buf_printf(why, "%zu entries are too many; write at most %llu", texts->n,
                   (unsigned long long)o->max);
        return ERR_INVALID;
    }
    struct conf_list fresh = {mem_array(texts->n, sizeof *fresh.items), 0};
    for (size_t i = 0; i < texts->n; i++) {
        if (string_read(o, texts->items[i], &fresh.items[i], why) < 0) {
            list_free(&fresh);
            return ERR_INVALID;
        }
        fresh.n++;
        for (size_t j = 0; j < i; j++) {
            if (strcasecmp(fresh.items[i], fresh.items[j]) == 0) {
                buf_printf(why, "'%s' is there twice; write it once", fresh.items[i]);
                list_free(&fresh);
                return ERR_INVALID;
            }
        }
    }
    list_free(list);
    *list = fresh;
    return 0;
}

int conf_value_read(const struct conf_option *o, const struct conf_texts *texts, struct conf *conf,
                    struct buf *why)
{
    void *p = field(o, conf);
    if (conf_option_is_list(o))
        return list_read(o, texts, p, why);
    ASSERT(texts->n == 1);
    const char *text = texts->items[0];
    char *string = NULL;
    unsigned word = 0;
    switch (o->type) {
    case CONF_TYPE_BOOL:
        return bool_read(text, p, why);
    case CONF_TYPE_COUNT:
    case CONF_TYPE_DURATION:
    case CONF_TYPE_SIZE:
        return number_read(o, text, p, why);
    case CONF_TYPE_WORD:
        if (word_read(o, text, &word, why) < 0)
            return ERR_INVALID;
        memcpy(p, &word, sizeof word);
        return 0;
    default:
        if (string_read(o, text, &string, why) < 0)
            return ERR_INVALID;
        mem_free(*(char **)p);
        *(char **)p = string;
        return 0;
    }
}

static void quoted_write(const char *s, struct buf *out)
{
    buf_append_str(out, "\"");
    for (; *s; s++) {
        if (*s == '"' || *s == '\\')
            buf_append_str(out, "\\");
        buf_append(out, s, 1);
    }
    buf_append_str(out, "\"");
}

static void list_write(const struct conf_list *list, struct buf *out)
{
    buf_append_str(out, list->n ? "{ " : "{");
    for (size_t i = 0; i < list->n; i++) {
        buf_append_str(out, i ? ", " : "");
        quoted_write(list->items[i], out);
    }
    buf_append_str(out, list->n ? " }" : "}");
}

void conf_value_write(const struct conf_option *o, const struct conf *conf, struct buf *out)
{
    const void *p = field_const(o, conf);
    unsigned word;
    switch (o->type) {
    case CONF_TYPE_ADDR:
    case CONF_TYPE_PATH:
        quoted_write(*(char *const *)p, out);
        break;
    case CONF_TYPE_ADDRS:
    case CONF_TYPE_ORIGINS:
        list_write(p, out);
        break;
    case CONF_TYPE_BOOL:
        buf_append_str(out, *(const bool *)p ? "true" : "false");
        break;
    case CONF_TYPE_COUNT:
    case CONF_TYPE_DURATION:
    case CONF_TYPE_SIZE:
        conf_number_write(o, *(const uint64_t *)p, out);
        break;
    case CONF_TYPE_WORD:
        memcpy(&word, p, sizeof word);
        buf_append_str(out, o->words[word]);
        break;
    }
}

void conf_value_texts(const struct conf_option *o, const struct conf *conf, struct conf_texts *ret)
{
    const void *p = field_const(o, conf);
    struct buf text = BUF_INIT;
    if (conf_option_is_list(o)) {
        const struct conf_list *list = p;
        for (size_t i = 0; i < list->n; i++)
            conf_texts_add(ret, list->items[i]);
    } else if (o->type == CONF_TYPE_ADDR || o->type == CONF_TYPE_PATH) {
        conf_texts_add(ret, *(char *const *)p);
    } else {
        conf_value_write(o, conf, &text);
        conf_texts_add(ret, buf_str(&text));
    }
    buf_free(&text);
}

void conf_value_free(const struct conf_option *o, struct conf *conf)
{
    void *p = field(o, conf);
    if (conf_option_is_list(o))
        list_free(p);
    else if (o->type == CONF_TYPE_ADDR || o->type == CONF_TYPE_PATH)
        MEM_FREE(*(char **)p);
}
