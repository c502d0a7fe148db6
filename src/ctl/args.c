/* SPDX-License-Identifier: MIT */
#include "ctl/args.h"

#include <inttypes.h>
#include <string.h>

#include "ctl/commands.h"
#include "ctl/ctl.h"

struct reader {
    int argc;
    char *const *argv;
    int at;
    bool only_words; /* "--" was there */
    struct args *args;
    const char *raw[ARGS_WORDS_MAX + 2]; /* words as they come, the command's name among them */
    unsigned n_raw;
};

static int misused(const char *what, const char *which)
{
    ctl_fail(CTL_USAGE, what, which);
    return ERR_INVALID;
}

/* ---- flags ---- */

static enum flag_id find_flag(const char *name, size_t len)
{
    for (unsigned id = 0; id < FLAG_IDS; id++)
        if (strlen(flags[id].name) == len && memcmp(flags[id].name, name, len) == 0)
            return (enum flag_id)id;
    return FLAG_IDS;
}

static int take_flag(struct reader *r)
{
    const char *text = r->argv[r->at++] + 2;
    const char *equals = strchr(text, '=');
    size_t len = equals ? (size_t)(equals - text) : strlen(text);
    enum flag_id id = find_flag(text, len);
    const char *value = equals ? equals + 1 : NULL;
    if (id == FLAG_IDS)
        return misused("--%s: there is no such flag; crabclusterctl --help lists all", text);
    if (r->args->value[id])
        return misused("--%s: given twice", flags[id].name);
    if (!flags[id].arg && value)
        return misused("--%s: takes no value", flags[id].name);
    if (flags[id].arg && !value && r->at < r->argc)
        value = r->argv[r->at++];
    if (flags[id].arg && !value)
        return misused("--%s: its value is missing", flags[id].name);
    r->args->value[id] = value ? value : "";
    return 0;
}

static int take(struct reader *r)
{
    const char *text = r->argv[r->at];
    if (!r->only_words && strcmp(text, "--") == 0) {
        r->only_words = true;
        r->at++;
        return 0;
    }
    if (!r->only_words && strncmp(text, "--", 2) == 0)
        return take_flag(r);
    if (r->n_raw == sizeof r->raw / sizeof *r->raw)
        return misused("%s: there are too many words", text);
    r->raw[r->n_raw++] = text;
    r->at++;
    return 0;
}

/* ---- the command ---- */

/* How many words of the command's name the line begins with; 0: it is another one. */
static unsigned name_matches(const char *name, const char *const words[], unsigned n)
{
    const char *blank = strchr(name, ' ');
    size_t len = blank ? (size_t)(blank - name) : strlen(name);
    if (n == 0 || strlen(words[0]) != len || memcmp(words[0], name, len) != 0)
        return 0;
    if (!blank)
        return 1;
    return n > 1 && strcmp(words[1], blank + 1) == 0 ? 2 : 0;
}

static bool is_group(const char *word)
{
    size_t len = strlen(word);
    for (const struct command *c = commands; c->name; c++)
        if (strncmp(c->name, word, len) == 0 && c->name[len] == ' ')
            return true;
    return false;
}

static int find_command(struct reader *r)
{
    unsigned n = 0;
    for (const struct command *c = commands; c->name && n == 0; c++) {
        n = name_matches(c->name, r->raw, r->n_raw);
        if (n > 0)
            r->args->command = c;
    }
    if (n == 0 && r->n_raw > 0 && is_group(r->raw[0]))
        return misused("%s: a second word says what to do; crabclusterctl --help lists all",
                       r->raw[0]);
    if (n == 0 && r->n_raw > 0)
        return misused("%s: there is no such command; crabclusterctl --help lists all", r->raw[0]);
    for (; n < r->n_raw && r->args->n_words < ARGS_WORDS_MAX; n++)
        r->args->words[r->args->n_words++] = r->raw[n];
    return 0;
}

static int check(const struct args *a)
{
    const struct command *c = a->command;
    if (!c)
        return misused("%s; crabclusterctl --help lists all", "name a command");
    for (unsigned id = FLAG_GLOBALS; id < FLAG_IDS; id++) {
        if (!a->value[id] || command_takes(c, (enum flag_id)id))
            continue;
        ctl_fail(CTL_USAGE, "%s takes no --%s", c->name, flags[id].name);
        return ERR_INVALID;
    }
    if (a->n_words < c->n_min || a->n_words > c->n_max) {
        ctl_fail(CTL_USAGE, "usage: crabclusterctl %s%s%s", c->name, c->words[0] ? " " : "",
                 c->words);
        return ERR_INVALID;
    }
    if (c->offline && args_has(a, FLAG_CURL))
        return misused("%s sends no request that --curl could show", c->name);
    return 0;
}

int args_parse(int argc, char *const *argv, struct args *ret_args)
{
    struct reader r = {.argc = argc, .argv = argv, .at = 1, .args = ret_args};
    *ret_args = (struct args){.command = NULL};
    while (r.at < argc)
        if (take(&r) < 0)
            return ERR_INVALID;
    if (find_command(&r) < 0)
        return ERR_INVALID;
    if (args_has(ret_args, FLAG_HELP) || args_has(ret_args, FLAG_VERSION))
        return 0;
    return check(ret_args);
}

/* ---- values ---- */

bool args_has(const struct args *a, enum flag_id id)
{
    return a->value[id] != NULL;
}

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit no_units[] = {{"", 1}, {NULL, 0}};
static const struct unit durations[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {NULL, 0}};
static const struct unit sizes[] = {
    {"", 1}, {"K", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30}, {NULL, 0}};

static int read_number(const char *text, const struct unit *unit, uint64_t *ret)
{
    size_t digits = strspn(text, "0123456789");
    uint64_t n = 0;
    if (digits == 0 || digits > 19)
        return ERR_INVALID;
    for (size_t i = 0; i < digits; i++)
        n = n * 10 + (uint64_t)(text[i] - '0');
    while (unit->name && strcmp(unit->name, text + digits) != 0)
        unit++;
    if (!unit->name || n > UINT64_MAX / unit->factor)
        return ERR_INVALID;
    *ret = n * unit->factor;
    return 0;
}

static int number(const struct args *a, enum flag_id id, const struct unit *units, const char *form,
                  uint64_t min, uint64_t max, uint64_t fallback, uint64_t *ret)
{
    uint64_t n = fallback;
    if (a->value[id] && read_number(a->value[id], units, &n) < 0) {
        ctl_fail(CTL_USAGE, "--%s: '%s' is not understood; write %s", flags[id].name, a->value[id],
                 form);
        return ERR_INVALID;
    }
    if (a->value[id] && (n < min || n > max)) {
        ctl_fail(CTL_USAGE, "--%s: '%s' is out of range", flags[id].name, a->value[id]);
        return ERR_INVALID;
    }
    *ret = n;
    return 0;
}

int args_count(const struct args *a, enum flag_id id, uint64_t min, uint64_t max, uint64_t fallback,
               uint64_t *ret)
{
    return number(a, id, no_units, "a decimal number", min, max, fallback, ret);
}

int args_duration_ms(const struct args *a, enum flag_id id, uint64_t min, uint64_t max,
                     uint64_t fallback, uint64_t *ret)
{
    return number(a, id, durations, "a number and its unit ms, s, m or h, for example 5s", min, max,
                  fallback, ret);
}

int args_size(const struct args *a, enum flag_id id, uint64_t min, uint64_t max, uint64_t fallback,
              uint64_t *ret)
{
    return number(a, id, sizes, "a number of bytes, or with K, M or G behind it", min, max,
                  fallback, ret);
}
