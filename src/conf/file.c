/* SPDX-License-Identifier: MIT */
#include "conf/file.h"

#include <confuse.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "conf/scan.h"
#include "conf/set.h"

/* libconfuse's error callback takes no pointer of ours: where it finds them. */
static struct {
    const char *path;
    struct conf_error *error;
    bool failed;
} parsing;

/* Someone who wrote "5 s" or put an option into the wrong section is told so. */
static const char *unknown_hint(const char *name, const char *section, char *out, size_t size)
{
    static const char *const units[] = {"ms", "s", "m", "h", "K", "M", "G"};
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (strcmp(name, units[i]) == 0)
            return "; write a number and its unit without a blank, for example 5s";
    }
    const char *dot = strrchr(name, '.');
    const char *last = dot ? dot + 1 : name;
    for (int i = 0; i < CONF_OPTIONS; i++) {
        const struct conf_option *o = &conf_options[i];
        if (strcmp(o->name, last) != 0)
            continue;
        if (o->section)
            snprintf(out, size, "; write it as %s { %s = ... }", o->section, o->name);
        else
            snprintf(out, size, "; it belongs outside of section %s", section);
        return out;
    }
    return "; crabcluster.conf(5) lists all options";
}

static void unknown_option(cfg_t *cfg, const char *name)
{
    char hint[2 * CONF_NAME_MAX + 32];
    bool inside = cfg->name && conf_section_exists(cfg->name);
    const char *section = inside ? cfg->name : "";
    conf_error_set(parsing.error, "%s:%d: %s%s%s: unknown option%s", parsing.path, cfg->line,
                   section, inside ? "." : "", name,
                   unknown_hint(name, section, hint, sizeof hint));
}

static void on_error(cfg_t *cfg, const char *fmt, va_list args)
{
    if (parsing.failed) /* the first says most */
        return;
    parsing.failed = true;
    if (strncmp(fmt, "no such option", 14) == 0) {
        unknown_option(cfg, va_arg(args, const char *));
        return;
    }
    char what[CONF_ERROR_MAX / 2];
    vsnprintf(what, sizeof what, fmt, args);
    conf_error_set(parsing.error, "%s:%d: %s; write option = value, or section { option = value }",
                   parsing.path, cfg->line, what);
}

/* All options are strings for libconfuse, because it would read 010 as 8. */
static cfg_opt_t *make_options(const char *section)
{
    cfg_opt_t *opts = mem_array(2 * CONF_OPTIONS + 1, sizeof *opts);
    size_t n = 0;
    for (int i = 0; i < CONF_OPTIONS; i++) {
        const struct conf_option *o = &conf_options[i];
        bool here = section ? o->section && strcmp(o->section, section) == 0 : !o->section;
        cfg_flag_t flags = CFGF_NODEFAULT | (conf_option_is_list(o) ? CFGF_LIST : CFGF_NONE);
        bool first = i == 0 || !conf_options[i - 1].section ||
                     (o->section && strcmp(conf_options[i - 1].section, o->section) != 0);
        if (here)
            opts[n++] = (cfg_opt_t){.name = o->name, .type = CFGT_STR, .flags = flags};
        else if (!section && o->section && first)
            opts[n++] = (cfg_opt_t){
                .name = o->section, .type = CFGT_SEC, .subopts = make_options(o->section)};
    }
    opts[n] = (cfg_opt_t)CFG_END();
    return opts;
}

static void free_options(cfg_opt_t *opts)
{
    for (size_t i = 0; opts[i].name; i++) {
        if (opts[i].subopts)
            free_options(opts[i].subopts);
    }
    mem_free(opts);
}

static int set_option(cfg_t *cfg, enum conf_id id, unsigned line, struct conf *conf,
                      struct conf_error *error)
{
    const struct conf_option *o = &conf_options[id];
    cfg_t *section = o->section ? cfg_getsec(cfg, o->section) : cfg;
    cfg_opt_t *opt = section ? cfg_getopt(section, o->name) : NULL;
    ASSERT(opt);
    struct conf_texts texts = {0};
    for (unsigned i = 0; i < cfg_opt_size(opt); i++)
        conf_texts_add(&texts, cfg_opt_getnstr(opt, i));
    int r = conf_set(conf, id, (struct conf_origin){CONF_FILE, line}, &texts, error);
    conf_texts_free(&texts);
    return r;
}

static int parse_into(cfg_t *cfg, const char *path, char *text, struct conf_error *error)
{
    FILE *in = fmemopen(text, strlen(text), "r");
    if (!in)
        return conf_error_set(error, "%s: %s", path, strerror(errno));
    parsing.path = path;
    parsing.error = error;
    parsing.failed = false;
    cfg_set_error_function(cfg, on_error);
    int r = cfg_parse_fp(cfg, in);
    fclose(in);
    if (r == CFG_SUCCESS && !parsing.failed)
        return 0;
    if (!parsing.failed)
        conf_error_set(error, "%s: cannot be parsed", path);
    return ERR_INVALID;
}

int conf_file_parse(const char *path, char *text, size_t len, struct conf *conf,
                    struct conf_error *error)
{
    struct scan scan;
    int r = conf_scan(path, text, len, &scan, error);
    if (r < 0 || text[0] == 0) /* fmemopen may refuse an empty buffer */
        return r;
    cfg_opt_t *opts = make_options(NULL);
    cfg_t *cfg = cfg_init(opts, CFGF_NONE);
    r = cfg ? parse_into(cfg, path, text, error) : conf_error_set(error, "%s: no memory", path);
    for (int id = 0; r == 0 && id < CONF_OPTIONS; id++) {
        if (scan.line[id])
            r = set_option(cfg, (enum conf_id)id, scan.line[id], conf, error);
    }
    if (cfg)
        cfg_free(cfg);
    free_options(opts);
    return r;
}

static int read_all(const char *path, FILE *in, struct buf *text, struct conf_error *error)
{
    char chunk[4096];
    size_t n;
    while ((n = fread(chunk, 1, sizeof chunk, in)) > 0) {
        buf_append(text, chunk, n);
        if (text->len > CONF_FILE_BYTES_MAX)
            return conf_error_set(error, "%s: larger than %zu bytes; is this the right file?", path,
                                  CONF_FILE_BYTES_MAX);
    }
    if (ferror(in))
        return conf_error_set(error, "%s: cannot be read: %s", path, strerror(errno));
    return 0;
}

int conf_file_read(const char *path, bool must_exist, struct conf *conf, struct conf_error *error)
{
    FILE *in = fopen(path, "re");
    if (!in && errno == ENOENT && !must_exist)
        return 0;
    if (!in)
        return conf_error_set(error, "%s: cannot be opened: %s", path, strerror(errno));
    struct buf text = BUF_INIT;
    int r = read_all(path, in, &text, error);
    fclose(in);
    mem_free(conf->config_file);
    conf->config_file = mem_strdup(path);
    if (r == 0) {
        buf_str(&text);
        r = conf_file_parse(path, (char *)text.data, text.len, conf, error);
    }
    buf_free(&text);
    return r;
}
