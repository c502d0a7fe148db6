/* SPDX-License-Identifier: MIT */
#include "ctl/table.h"

#include <stdarg.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

#define COLUMNS_MAX 12
#define BOLD        "\033[1m"
#define END         "\033[0m"

struct cell {
    char *text; /* owned */
    enum table_color color;
};

struct table {
    unsigned n_columns;
    char *heads[COLUMNS_MAX]; /* owned */
    bool right[COLUMNS_MAX];
    struct cell *cells; /* owned */
    size_t n_cells;
};

struct table *table_new(const char *heads)
{
    struct table *t = mem_zalloc(sizeof *t);
    for (const char *p = heads; t->n_columns < COLUMNS_MAX; p++) {
        size_t len = strcspn(p, "|");
        bool right = p[0] == '>';
        char *head = mem_zalloc(len + 1);
        memcpy(head, p + right, len - right);
        t->right[t->n_columns] = right;
        t->heads[t->n_columns++] = head;
        p += len;
        if (!*p)
            break;
    }
    return t;
}

void table_free(struct table **table)
{
    struct table *t = *table;
    if (!t)
        return;
    for (unsigned i = 0; i < t->n_columns; i++)
        mem_free(t->heads[i]);
    for (size_t i = 0; i < t->n_cells; i++)
        mem_free(t->cells[i].text);
    mem_free(t->cells);
    MEM_FREE(*table);
}

void table_cell(struct table *t, enum table_color color, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if ((t->n_cells & (t->n_cells - 1)) == 0) /* doubles at powers of two */
        t->cells = mem_realloc(t->cells, (t->n_cells ? 2 * t->n_cells : 1) * sizeof *t->cells);
    t->cells[t->n_cells++] = (struct cell){mem_strdup(text), color};
}

/* Columns on a terminal, as far as every character takes one. */
static size_t width_of(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

const char *table_color_start(bool color, enum table_color which)
{
    static const char *const codes[] = {"", "\033[32m", "\033[31m", "\033[2m"};
    return color ? codes[which] : "";
}

const char *table_color_end(bool color, enum table_color which)
{
    return color && which != TABLE_PLAIN ? END : "";
}

static void put(FILE *out, const char *text, size_t width, bool right, bool last)
{
    size_t used = width_of(text);
    int fill = used < width ? (int)(width - used) : 0;
    if (right)
        fprintf(out, "%*s%s", fill, "", text);
    else
        fprintf(out, "%s%*s", text, last ? 0 : fill, "");
}

/* Columns to print: an empty end of a line leaves no blanks behind. */
static unsigned n_used(const struct table *t, size_t row)
{
    unsigned n = t->n_columns;
    while (n > 1 && t->cells[row * t->n_columns + n - 1].text[0] == '\0')
        n--;
    return n;
}

static void print_row(const struct table *t, const size_t *widths, size_t row, bool color,
                      FILE *out)
{
    unsigned n = n_used(t, row);
    for (unsigned c = 0; c < n; c++) {
        const struct cell *cell = &t->cells[row * t->n_columns + c];
        fputs(table_color_start(color, cell->color), out);
        put(out, cell->text, widths[c], t->right[c], c + 1 == n);
        fputs(table_color_end(color, cell->color), out);
        fputs(c + 1 == n ? "\n" : "  ", out);
    }
}

void table_print(const struct table *t, bool color, FILE *out)
{
    size_t widths[COLUMNS_MAX];
    for (unsigned c = 0; c < t->n_columns; c++) {
        widths[c] = width_of(t->heads[c]);
        for (size_t i = c; i < t->n_cells; i += t->n_columns) {
            size_t width = width_of(t->cells[i].text);
            widths[c] = width > widths[c] ? width : widths[c];
        }
    }
    fputs(color ? BOLD : "", out);
    for (unsigned c = 0; c < t->n_columns; c++) {
        put(out, t->heads[c], widths[c], t->right[c], c + 1 == t->n_columns);
        fputs(c + 1 < t->n_columns ? "  " : "", out);
    }
    fputs(color ? END "\n" : "\n", out);
    for (size_t row = 0; row < t->n_cells / t->n_columns; row++)
        print_row(t, widths, row, color, out);
}
