/* SPDX-License-Identifier: MIT
 * recover: after a majority was lost for good, the survivor with the most goes
 * on alone, in a new cluster. The most is what Raft's elections call up to
 * date: the higher term of the last entry, then the higher index (dissertation
 * 3.6.1), so that of what survived nothing that was acknowledged is given up.
 */
#include "ctl/handlers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "ctl/daemon.h"
#include "ctl/doc.h"
#include "ctl/table.h"

#define VOTERS_MAX 64

struct survivor {
    const char *dir; /* borrowed */
    char *node, *cluster, *address, *keys, *last_term, *last_index;
    char *trouble; /* NULL: it can go on */
    uint64_t term, index;
    char *voters[VOTERS_MAX]; /* "ID HOST:PORT" */
    unsigned n_voters;
};

struct recovery {
    struct ctl *c;
    struct survivor *all; /* owned */
    unsigned n;
    const struct survivor *best; /* NULL: none can go on */
    bool done;
};

/* ---- looking ---- */

static void read_survey(struct survivor *s, const struct daemon_call *d)
{
    s->node = daemon_line(d, "node", 0);
    s->cluster = daemon_line(d, "cluster", 0);
    s->address = daemon_line(d, "address", 0);
    s->keys = daemon_line(d, "keys", 0);
    s->last_term = daemon_line(d, "last-term", 0);
    s->last_index = daemon_line(d, "last-index", 0);
    s->term = s->last_term ? strtoull(s->last_term, NULL, 10) : 0;
    s->index = s->last_index ? strtoull(s->last_index, NULL, 10) : 0;
    while (s->n_voters < VOTERS_MAX &&
           (s->voters[s->n_voters] = daemon_line(d, "voter", s->n_voters)) != NULL)
        s->n_voters++;
    if (!s->cluster || strcmp(s->cluster, "none") == 0)
        s->trouble = mem_strdup("the node belongs to no cluster");
}

static int look_at(const struct recovery *r, struct survivor *s)
{
    struct daemon_call d;
    int status = daemon_find(r->c, &d);
    if (status != CTL_OK)
        return status;
    daemon_pass_flags(&d, r->c->args);
    daemon_arg(&d, "--data-dir", s->dir);
    daemon_arg(&d, "--recover", NULL);
    if (daemon_run(&d) == CTL_OK)
        read_survey(s, &d);
    else
        s->trouble = mem_strdup(buf_str(&d.said));
    daemon_free(&d);
    return CTL_OK;
}

static bool is_better(const struct survivor *a, const struct survivor *b)
{
    return !b || a->term > b->term || (a->term == b->term && a->index > b->index);
}

static void choose(struct recovery *r)
{
    for (unsigned i = 0; i < r->n; i++)
        if (!r->all[i].trouble && is_better(&r->all[i], r->best))
            r->best = &r->all[i];
}

/* ---- showing ---- */

static const char *or_dash(const char *text)
{
    return text ? text : "-";
}

static void print_table(const struct recovery *r)
{
    struct table *t = table_new("DIRECTORY|NODE|ADDRESS|>LAST TERM|>LAST INDEX|>KEYS|STATE");
    for (unsigned i = 0; i < r->n; i++) {
        const struct survivor *s = &r->all[i];
        bool best = s == r->best;
        table_cell(t, TABLE_PLAIN, "%s", s->dir);
        table_cell(t, TABLE_PLAIN, "%.8s", or_dash(s->node));
        table_cell(t, TABLE_PLAIN, "%s", or_dash(s->address));
        table_cell(t, TABLE_PLAIN, "%s", or_dash(s->last_term));
        table_cell(t, TABLE_PLAIN, "%s", or_dash(s->last_index));
        table_cell(t, TABLE_PLAIN, "%s", or_dash(s->keys));
        table_cell(t,
                   best         ? TABLE_GOOD
                   : s->trouble ? TABLE_BAD
                                : TABLE_PLAIN,
                   "%s",
                   best         ? "best"
                   : s->trouble ? s->trouble
                                : "");
    }
    table_print(t, r->c->color, stdout);
    table_free(&t);
}

static void add_row(struct json_object *rows, const struct survivor *s)
{
    struct json_object *row = json_object_new_object();
    doc_add_text(row, "directory", s->dir);
    doc_add_text(row, "node", s->node);
    doc_add_text(row, "cluster", s->cluster);
    doc_add_text(row, "address", s->address);
    doc_add_number(row, "last_term", s->term);
    doc_add_number(row, "last_index", s->index);
    doc_add_number(row, "keys", s->keys ? strtoull(s->keys, NULL, 10) : 0);
    doc_add_text(row, "error", s->trouble);
    json_object_array_add(rows, row);
}

static void print_json(const struct recovery *r)
{
    struct json_object *doc = json_object_new_object(), *rows = json_object_new_array();
    for (unsigned i = 0; i < r->n; i++)
        add_row(rows, &r->all[i]);
    json_object_object_add(doc, "survivors", rows);
    doc_add_text(doc, "best", r->best ? r->best->dir : NULL);
    json_object_object_add(doc, "done", json_object_new_boolean(r->done));
    doc_print(doc);
    json_object_put(doc);
}

/* ---- whether it may be ---- */

static bool is_here(const struct recovery *r, const char *voter)
{
    for (unsigned i = 0; i < r->n; i++) {
        const char *node = r->all[i].node;
        if (node && !r->all[i].trouble && strncmp(voter, node, strlen(node)) == 0)
            return true;
    }
    return false;
}

static int check_majority(const struct recovery *r)
{
    unsigned n_here = 0, n_voters = r->best->n_voters;
    for (unsigned i = 0; i < n_voters; i++)
        n_here += is_here(r, r->best->voters[i]);
    ctl_say(r->c, "voters in the cluster: %u, of which the data are here: %u", n_voters, n_here);
    if (2 * n_here <= n_voters || args_has(r->c->args, FLAG_FORCE) ||
        args_has(r->c->args, FLAG_DRY_RUN))
        return CTL_OK;
    return ctl_fail(CTL_FAILURE,
                    "that is a majority: start these nodes as they are, and nothing is lost; "
                    "--force goes on all the same");
}

static int check(const struct recovery *r)
{
    if (!r->best && r->n == 1)
        return ctl_fail(CTL_FAILURE, "%s", r->all[0].trouble);
    if (!r->best)
        return ctl_fail(CTL_FAILURE, "none of these directories can go on");
    for (unsigned i = 0; i < r->n; i++)
        if (!r->all[i].trouble && strcmp(r->all[i].cluster, r->best->cluster) != 0)
            return ctl_fail(CTL_FAILURE, "%s and %s are of different clusters", r->best->dir,
                            r->all[i].dir);
    return check_majority(r);
}

static int ask(const struct recovery *r)
{
    char answer[16];
    if (args_has(r->c->args, FLAG_YES))
        return CTL_OK;
    if (!isatty(STDIN_FILENO))
        return ctl_fail(CTL_USAGE, "nobody can be asked: say --yes, or --dry-run");
    fflush(stdout);
    fprintf(stderr, "Let %s go on alone, as a new cluster? [y/N] ", r->best->dir);
    if (fgets(answer, sizeof answer, stdin) && (answer[0] == 'y' || answer[0] == 'Y'))
        return CTL_OK;
    return ctl_fail(CTL_FAILURE, "nothing was changed");
}

/* ---- doing it ---- */

static int refound(const struct recovery *r)
{
    struct daemon_call d;
    const struct args *a = r->c->args;
    int status = daemon_find(r->c, &d);
    if (status != CTL_OK)
        return status;
    daemon_pass_flags(&d, a);
    if (!args_has(a, FLAG_ADVERTISE_ADDR) && !args_has(a, FLAG_BIND_ADDR) &&
        strcmp(r->best->address, "none") != 0)
        daemon_arg(&d, "--advertise-addr", r->best->address);
    daemon_arg(&d, "--data-dir", r->best->dir);
    daemon_arg(&d, "--force-new-cluster", NULL);
    status = daemon_run(&d);
    if (status == CTL_OK && d.out.len > 0)
        ctl_say(r->c, "%.*s", (int)d.out.len - 1, (const char *)d.out.data);
    else if (status != CTL_OK)
        ctl_fail(CTL_FAILURE, "%s", buf_str(&d.said));
    daemon_free(&d);
    return status;
}

static int carry_out(struct recovery *r)
{
    int status = check(r);
    if (status != CTL_OK || args_has(r->c->args, FLAG_DRY_RUN))
        return status;
    status = ask(r);
    if (status == CTL_OK)
        status = refound(r);
    r->done = status == CTL_OK;
    return status;
}

static void forget(struct recovery *r)
{
    for (unsigned i = 0; i < r->n; i++) {
        struct survivor *s = &r->all[i];
        mem_free(s->node), mem_free(s->cluster), mem_free(s->address), mem_free(s->keys);
        mem_free(s->last_term), mem_free(s->last_index), mem_free(s->trouble);
        for (unsigned v = 0; v < s->n_voters; v++)
            mem_free(s->voters[v]);
    }
    mem_free(r->all);
}

int recover_run(struct ctl *c)
{
    struct recovery r = {.c = c, .n = c->args->n_words};
    int status = CTL_OK;
    r.all = mem_array(r.n, sizeof *r.all);
    for (unsigned i = 0; i < r.n && status == CTL_OK; i++) {
        r.all[i].dir = c->args->words[i];
        status = look_at(&r, &r.all[i]);
    }
    if (status == CTL_OK) {
        choose(&r);
        if (!c->json)
            print_table(&r);
        status = carry_out(&r);
        if (c->json)
            print_json(&r);
    }
    forget(&r);
    return status;
}
