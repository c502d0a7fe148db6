/* SPDX-License-Identifier: MIT
 * Completion for bash: a function that knows every command and its flags.
 */
#include <stdio.h>
#include <string.h>

#include "ctl/ctl.h"
#include "ctl/handlers.h"

static void print_flags(const struct command *c)
{
    printf("    '%s') flags=\"", c->name);
    const char *blank = "";
    for (unsigned id = 0; id < FLAG_IDS; id++) {
        if (!command_takes(c, (enum flag_id)id))
            continue;
        printf("%s--%s", blank, flags[id].name);
        blank = " ";
    }
    printf("\" ;;\n");
}

/* The first words of all commands, each once; or the second ones of those that begin with group. */
static void print_words(const char *group)
{
    const char *before = "", *blank = "";
    size_t before_len = 0, group_len = group ? strlen(group) : 0;
    for (const struct command *c = commands; c->name; c++) {
        const char *word = c->name;
        if (group) {
            if (strncmp(word, group, group_len) != 0 || word[group_len] != ' ')
                continue;
            word += group_len + 1;
        }
        size_t len = strcspn(word, " ");
        if (len == before_len && memcmp(word, before, len) == 0)
            continue;
        printf("%s%.*s", blank, (int)len, word);
        before = word, before_len = len, blank = " ";
    }
}

static void print_groups(void)
{
    const char *before = "";
    for (const struct command *c = commands; c->name; c++) {
        size_t len = strcspn(c->name, " ");
        if (c->name[len] == '\0' || strncmp(before, c->name, len + 1) == 0)
            continue;
        char group[32];
        snprintf(group, sizeof group, "%.*s", (int)len, c->name);
        printf("    %s) subcommands='", group);
        print_words(group);
        printf("' ;;\n");
        before = c->name;
    }
}

static void print_valued(void)
{
    const char *bar = "";
    for (unsigned id = 0; id < FLAG_IDS; id++) {
        if (!flags[id].arg)
            continue;
        printf("%s--%s", bar, flags[id].name);
        bar = " | ";
    }
}

static void print_script(void)
{
    printf("# bash completion for crabclusterctl\n"
           "_crabclusterctl() {\n"
           "    local cur=${COMP_WORDS[COMP_CWORD]} command= subcommand= subcommands= flags= i\n"
           "    COMPREPLY=()\n"
           "    case ${COMP_WORDS[COMP_CWORD - 1]} in\n"
           "    --config | --file | --data-dir | --daemon) compopt -o default; return ;;\n"
           "    --consistency)\n"
           "        COMPREPLY=($(compgen -W 'linearizable lease stale' -- \"$cur\")); return ;;\n"
           "    ");
    print_valued();
    printf(") return ;;\n"
           "    esac\n"
           "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
           "        case ${COMP_WORDS[i]} in\n"
           "        ");
    print_valued();
    printf(") ((i++)) ;;\n"
           "        -*) ;;\n"
           "        *) if [ -z \"$command\" ]; then command=${COMP_WORDS[i]}\n"
           "           elif [ -z \"$subcommand\" ]; then subcommand=${COMP_WORDS[i]}; fi ;;\n"
           "        esac\n"
           "    done\n"
           "    case $command in\n");
    print_groups();
    printf("    esac\n"
           "    if [ -n \"$subcommands\" ] && [ -z \"$subcommand\" ] && [[ $cur != -* ]]; then\n"
           "        COMPREPLY=($(compgen -W \"$subcommands\" -- \"$cur\")); return\n"
           "    fi\n"
           "    [ -z \"$subcommands\" ] || command+=\" $subcommand\"\n"
           "    case $command in\n"
           "    '') flags='");
    for (unsigned id = 0; id < FLAG_GLOBALS; id++)
        printf("%s--%s", id ? " " : "", flags[id].name);
    printf("' ;;\n");
    for (const struct command *c = commands; c->name; c++)
        print_flags(c);
    printf("    esac\n"
           "    if [[ $cur = -* ]]; then\n"
           "        COMPREPLY=($(compgen -W \"$flags\" -- \"$cur\"))\n"
           "    elif [ -z \"$command\" ]; then\n"
           "        COMPREPLY=($(compgen -W '");
    print_words(NULL);
    printf("' -- \"$cur\"))\n"
           "    else\n"
           "        case $command in\n"
           "        completion) COMPREPLY=($(compgen -W bash -- \"$cur\")) ;;\n"
           "        snapshot* | recover | export | import) compopt -o default ;;\n"
           "        esac\n"
           "    fi\n"
           "}\n"
           "complete -F _crabclusterctl crabclusterctl\n");
}

int completion_run(struct ctl *c)
{
    if (strcmp(c->args->words[0], "bash") != 0)
        return ctl_fail(CTL_USAGE, "%s: only bash is known", c->args->words[0]);
    print_script();
    return CTL_OK;
}
