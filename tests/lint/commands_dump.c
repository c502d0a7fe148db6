/* SPDX-License-Identifier: MIT
 * The tables of crabclusterctl as text, for commands.sh.
 */
#include <stdio.h>
#include <stdlib.h>

#include "ctl/commands.h"

/* "flag NAME ARGUMENT", "command NAME WORDS" and "takes NAME FLAG", with tabs. */
int main(void)
{
    for (unsigned id = 0; id < FLAG_IDS; id++)
        printf("flag\t%s\t%s\n", flags[id].name, flags[id].arg ? flags[id].arg : "-");
    for (const struct command *c = commands; c->name; c++) {
        printf("command\t%s\t%s\n", c->name, c->words[0] ? c->words : "-");
        for (unsigned id = FLAG_GLOBALS; id < FLAG_IDS; id++)
            if (command_takes(c, (enum flag_id)id))
                printf("takes\t%s\t%s\n", c->name, flags[id].name);
    }
    return EXIT_SUCCESS;
}
