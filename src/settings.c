/* SPDX-License-Identifier: MIT */
#include "settings.h"

#include <stdio.h>

#include "api/api.h"
#include "base/mem.h"
#include "conf/conf.h"
#include "conf/options.h"
#include "conf/value.h"

#define WHERE_BYTES 300

struct shown {
    char name[CONF_NAME_MAX], where[WHERE_BYTES];
    struct conf_texts values;
};

static const char *const origins[] = {
    [CONF_DEFAULT] = "default",
    [CONF_FILE] = "file",
    [CONF_ENVIRONMENT] = "environment",
    [CONF_FLAG] = "flag",
};

static void say_where(const struct conf *conf, enum conf_id id, char out[WHERE_BYTES])
{
    const struct conf_option *o = &conf_options[id];
    switch (conf->origin[id].source) {
    case CONF_FILE:
        snprintf(out, WHERE_BYTES, "%s:%u", conf->config_file, conf->origin[id].line);
        break;
    case CONF_ENVIRONMENT:
        snprintf(out, WHERE_BYTES, "%s", o->env);
        break;
    case CONF_FLAG:
        snprintf(out, WHERE_BYTES, "--%s", o->flag);
        break;
    case CONF_DEFAULT:
        out[0] = 0;
        break;
    }
}

static struct api_setting setting_of(const struct conf *conf, enum conf_id id, struct shown *shown)
{
    const struct conf_option *o = &conf_options[id];
    conf_option_label(o, shown->name);
    conf_value_texts(o, conf, &shown->values);
    say_where(conf, id, shown->where);
    return (struct api_setting){
        .name = shown->name,
        .values = (const char *const *)shown->values.items,
        .n_values = shown->values.n,
        .is_list = conf_option_is_list(o),
        .is_bare = o->type == CONF_TYPE_BOOL || o->type == CONF_TYPE_COUNT,
        .origin = origins[conf->origin[id].source],
        .where = shown->where[0] ? shown->where : NULL,
        .reloadable = o->reloadable,
    };
}

void settings_publish(struct api *a, const struct conf *conf)
{
    struct api_setting settings[CONF_OPTIONS];
    struct shown *shown = mem_array(CONF_OPTIONS, sizeof *shown);
    for (int id = 0; id < CONF_OPTIONS; id++)
        settings[id] = setting_of(conf, (enum conf_id)id, &shown[id]);
    api_set_config(a, conf->config_file, settings, CONF_OPTIONS);
    for (int id = 0; id < CONF_OPTIONS; id++)
        conf_texts_free(&shown[id].values);
    mem_free(shown);
}
