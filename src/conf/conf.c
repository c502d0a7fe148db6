/* SPDX-License-Identifier: MIT */
#include "conf/conf.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"
#include "conf/check.h"
#include "conf/file.h"
#include "conf/flags.h"
#include "conf/set.h"

#define DEFAULT_FILE SYSCONFDIR "/crabcluster.conf"

static void set_defaults(struct conf *conf)
{
    struct conf_error error;
    for (int id = 0; id < CONF_OPTIONS; id++) {
        const struct conf_option *o = &conf_options[id];
        if (!o->fallback || conf_option_is_list(o)) /* lists are empty */
            continue;
        struct conf_texts texts = {0};
        conf_texts_add(&texts, o->fallback);
        int r =
            conf_set(conf, (enum conf_id)id, (struct conf_origin){CONF_DEFAULT, 0}, &texts, &error);
        ASSERT(r == 0);
        conf_texts_free(&texts);
    }
}

static int apply_environment(struct conf *conf, struct conf_error *error)
{
    int r = 0;
    for (int id = 0; r == 0 && id < CONF_OPTIONS; id++) {
        const char *value = conf_options[id].env ? getenv(conf_options[id].env) : NULL;
        if (!value || !value[0])
            continue;
        struct conf_texts texts = {0};
        conf_texts_add(&texts, value);
        r = conf_set(conf, (enum conf_id)id, (struct conf_origin){CONF_ENVIRONMENT, 0}, &texts,
                     error);
        conf_texts_free(&texts);
    }
    return r;
}

/* A shell's user means a path from where he is; in the file it must be absolute. */
static int make_absolute(struct conf_texts *texts, struct conf_error *error)
{
    if (texts->n == 0 || texts->items[0][0] == '/')
        return 0;
    char *here = getcwd(NULL, 0);
    if (!here)
        return conf_error_set(error, "--data-dir: the current directory is gone; write a path that "
                                     "starts with /");
    struct buf path = BUF_INIT;
    buf_printf(&path, "%s/%s", here, texts->items[0]);
    mem_free(texts->items[0]);
    texts->items[0] = mem_strdup(buf_str(&path));
    buf_free(&path);
    free(here);
    return 0;
}

static int apply_flags(struct conf *conf, struct flags *flags, struct conf_error *error)
{
    int r = make_absolute(&flags->given[CONF_DATA_DIR], error);
    for (int id = 0; r == 0 && id < CONF_OPTIONS; id++) {
        if (flags->given[id].n)
            r = conf_set(conf, (enum conf_id)id, (struct conf_origin){CONF_FLAG, 0},
                         &flags->given[id], error);
    }
    return r;
}

static int load(const char *default_file, struct flags *flags, struct conf *conf,
                struct conf_error *error)
{
    const char *path = flags->config_file ? flags->config_file : default_file;
    set_defaults(conf);
    int r = conf_file_read(path, flags->config_file != NULL, conf, error);
    if (r == 0)
        r = apply_environment(conf, error);
    if (r == 0)
        r = apply_flags(conf, flags, error);
    if (r == 0)
        r = conf_complete(conf, error);
    return r == 0 ? conf_check(conf, error) : r;
}

int conf_load_from(const char *default_file, int argc, char *const *argv, struct conf *ret_conf,
                   enum conf_action *ret_action, struct conf_error *ret_error)
{
    struct flags flags;
    struct conf conf = {0};
    int r = flags_parse(argc, argv, &flags, ret_error);
    if (r == 0 && flags.action != CONF_HELP && flags.action != CONF_VERSION)
        r = load(default_file, &flags, &conf, ret_error);
    if (r == 0 && flags.restore_file)
        conf.restore_file = mem_strdup(flags.restore_file);
    if (r == 0) {
        *ret_conf = conf;
        *ret_action = flags.action;
    } else {
        conf_free(&conf);
    }
    flags_free(&flags);
    return r;
}

int conf_load(int argc, char *const *argv, struct conf *ret_conf, enum conf_action *ret_action,
              struct conf_error *ret_error)
{
    return conf_load_from(DEFAULT_FILE, argc, argv, ret_conf, ret_action, ret_error);
}

void conf_free(struct conf *conf)
{
    for (int id = 0; id < CONF_OPTIONS; id++)
        conf_value_free(&conf_options[id], conf);
    mem_free(conf->config_file);
    mem_free(conf->restore_file);
    *conf = (struct conf){0};
}

/* Copies a value that owns no memory. */
static void take_over(const struct conf_option *o, struct conf *to, const struct conf *from)
{
    ASSERT(o->type == CONF_TYPE_COUNT || o->type == CONF_TYPE_DURATION ||
           o->type == CONF_TYPE_SIZE || o->type == CONF_TYPE_WORD);
    size_t bytes = o->type == CONF_TYPE_WORD ? sizeof(unsigned) : sizeof(uint64_t);
    memcpy((char *)to + o->offset, (const char *)from + o->offset, bytes);
}

void conf_reload(struct conf *running, const struct conf *fresh, struct buf *changed,
                 struct buf *restart)
{
    for (int id = 0; id < CONF_OPTIONS; id++) {
        const struct conf_option *o = &conf_options[id];
        char label[CONF_NAME_MAX];
        struct buf before = BUF_INIT, after = BUF_INIT;
        conf_value_write(o, running, &before);
        conf_value_write(o, fresh, &after);
        if (strcmp(buf_str(&before), buf_str(&after)) != 0) {
            struct buf *report = o->reloadable ? changed : restart;
            buf_printf(report, "%s%s: %s -> %s", report->len ? ", " : "",
                       conf_option_label(o, label), buf_str(&before), buf_str(&after));
        }
        if (o->reloadable) {
            take_over(o, running, fresh);
            running->origin[id] = fresh->origin[id];
        }
        buf_free(&before);
        buf_free(&after);
    }
}
