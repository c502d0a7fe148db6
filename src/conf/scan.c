/* SPDX-License-Identifier: MIT */
#include "conf/scan.h"

#include <stdio.h>
#include <string.h>

#include "conf/set.h"

#define SECTIONS_MAX 16 /* different sections in the table */

struct scanner {
    const char *file; /* borrowed */
    char *text;       /* borrowed, comments are blanked in it */
    size_t len;
    size_t at; /* next byte */
    unsigned line;

    char word[CONF_NAME_MAX]; /* the last bare word when '=' or '{' may follow it, else "" */
    unsigned word_line;
    char section[CONF_NAME_MAX]; /* inside this section, or "" */
    bool in_list;
    unsigned brace_line; /* of the innermost '{' */
    char brace_of[CONF_NAME_MAX];

    char seen[SECTIONS_MAX][CONF_NAME_MAX]; /* sections, and where they were */
    unsigned seen_line[SECTIONS_MAX];
    size_t n_seen;

    struct scan *out;
    struct conf_error *error;
};

static char peek(const struct scanner *s, size_t ahead)
{
    return s->at + ahead < s->len ? s->text[s->at + ahead] : 0;
}

static void blank(struct scanner *s)
{
    if (s->text[s->at] == '\n')
        s->line++;
    else
        s->text[s->at] = ' ';
    s->at++;
}

static void skip_line_comment(struct scanner *s)
{
    while (s->at < s->len && s->text[s->at] != '\n')
        blank(s);
}

static int skip_block_comment(struct scanner *s)
{
    unsigned start = s->line;
    blank(s);
    blank(s);
    while (s->at < s->len) {
        if (peek(s, 0) == '*' && peek(s, 1) == '/') {
            blank(s);
            blank(s);
            return 0;
        }
        blank(s);
    }
    return conf_error_set(s->error, "%s:%u: the comment is not closed; write */ at its end",
                          s->file, start);
}

/* A quoted string, on one line. Escapes other than \" and \\ mean different
 * things in the two kinds of quotes, and ${VAR} would be expanded. */
static int skip_string(struct scanner *s, char quote)
{
    s->at++;
    for (; s->at < s->len && s->text[s->at] != '\n'; s->at++) {
        char c = s->text[s->at];
        if (c == quote) {
            s->at++;
            return 0;
        }
        if (c == '\\') {
            s->at++;
            if (peek(s, 0) != quote && peek(s, 0) != '\\')
                return conf_error_set(s->error, "%s:%u: %s: a backslash in quotes; write \\\\",
                                      s->file, s->line, s->word);
        } else if (c == '$' && peek(s, 1) == '{') {
            return conf_error_set(s->error,
                                  "%s:%u: %s: variables are not expanded here; write the value",
                                  s->file, s->line, s->word);
        } else if (((unsigned char)c < 0x20 && c != '\t') || c == 0x7f) {
            return conf_error_set(s->error, "%s:%u: %s: control character 0x%02x in quotes",
                                  s->file, s->line, s->word, (unsigned char)c);
        }
    }
    return conf_error_set(s->error, "%s:%u: %s: the quotes are not closed; write %c at the end",
                          s->file, s->line, s->word, quote);
}

static bool is_word_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != 0 && strchr("._:/[]-", c));
}

static void take_word(struct scanner *s)
{
    size_t start = s->at;
    while (s->at < s->len && is_word_char(s->text[s->at]))
        s->at++;
    size_t n = s->at - start;
    if (n >= sizeof s->word)
        n = sizeof s->word - 1; /* no option's name is as long: it will be unknown */
    memcpy(s->word, s->text + start, n);
    s->word[n] = 0;
    s->word_line = s->line;
}

static int note_option(struct scanner *s)
{
    int id = conf_option_find(s->section[0] ? s->section : NULL, s->word);
    if (id < 0)
        return 0; /* libconfuse finds it, too */
    if (s->out->line[id]) {
        char label[CONF_NAME_MAX];
        return conf_error_set(s->error, "%s:%u: %s: given before in line %u; write it once",
                              s->file, s->word_line, conf_option_label(&conf_options[id], label),
                              s->out->line[id]);
    }
    s->out->line[id] = s->word_line;
    return 0;
}

static int note_section(struct scanner *s)
{
    for (size_t i = 0; i < s->n_seen; i++) {
        if (strcmp(s->seen[i], s->word) == 0)
            return conf_error_set(s->error,
                                  "%s:%u: %s: this section was there before, in line %u; write all "
                                  "its options in one",
                                  s->file, s->word_line, s->word, s->seen_line[i]);
    }
    memcpy(s->section, s->word, sizeof s->section);
    if (conf_section_exists(s->word) && s->n_seen < SECTIONS_MAX) {
        memcpy(s->seen[s->n_seen], s->word, sizeof s->word);
        s->seen_line[s->n_seen++] = s->word_line;
    }
    return 0;
}

static int take_open(struct scanner *s, bool after_equals)
{
    if (s->in_list || (s->section[0] && !after_equals))
        return conf_error_set(s->error, "%s:%u: %s: unexpected '{'", s->file, s->line, s->word);
    s->brace_line = s->line;
    memcpy(s->brace_of, s->word, sizeof s->brace_of);
    if (after_equals) {
        s->in_list = true;
        return 0;
    }
    if (!s->word[0])
        return conf_error_set(s->error, "%s:%u: unexpected '{'", s->file, s->line);
    return note_section(s);
}

static int take_close(struct scanner *s)
{
    if (s->in_list)
        s->in_list = false;
    else if (s->section[0])
        s->section[0] = 0;
    else
        return conf_error_set(s->error, "%s:%u: '}' without a '{' before it; remove it", s->file,
                              s->line);
    s->word[0] = 0;
    return 0;
}

static int stray(struct scanner *s, char c)
{
    if (c == '$' || (unsigned char)c <= 0x20 || (unsigned char)c >= 0x7f)
        return conf_error_set(s->error,
                              "%s:%u: unexpected byte 0x%02x; write such values in double quotes",
                              s->file, s->line, (unsigned char)c);
    return conf_error_set(
        s->error, "%s:%u: unexpected character '%c'; write values that hold it in double quotes",
        s->file, s->line, c);
}

/* One token. after_equals says whether '=' came just before and is kept up to date. */
static int take_token(struct scanner *s, bool *after_equals)
{
    char c = s->text[s->at];
    bool was_equals = *after_equals;
    *after_equals = c == '=';
    if (c == '"' || c == '\'')
        return skip_string(s, c);
    if (is_word_char(c)) {
        /* A value must not be taken for a name: "5 s" would then be a section s. */
        if (!was_equals && !s->in_list)
            take_word(s);
        else
            while (s->at < s->len && is_word_char(s->text[s->at]))
                s->at++;
        return 0;
    }
    s->at++;
    switch (c) {
    case '=':
        return s->in_list || was_equals ? stray(s, c) : note_option(s);
    case '{':
        return take_open(s, was_equals);
    case '}':
        return take_close(s);
    case ',':
        return 0;
    default:
        return stray(s, c);
    }
}

/* At a token's start, as in libconfuse: "http://x" holds no comment. */
static bool is_comment(const struct scanner *s)
{
    char c = peek(s, 0), d = peek(s, 1);
    return c == '#' || (c == '/' && (d == '/' || d == '*'));
}

static int skip_comment(struct scanner *s)
{
    if (peek(s, 0) == '/' && peek(s, 1) == '*')
        return skip_block_comment(s);
    skip_line_comment(s);
    return 0;
}

int conf_scan(const char *file, char *text, size_t len, struct scan *ret_scan,
              struct conf_error *error)
{
    struct scan found = {{0}};
    struct scanner s = {
        .file = file, .text = text, .len = len, .line = 1, .out = &found, .error = error};
    bool after_equals = false;
    while (s.at < s.len) {
        char c = text[s.at];
        int r = 0;
        if (c == '\n' || c == ' ' || c == '\t' || c == '\r')
            blank(&s);
        else if (is_comment(&s))
            r = skip_comment(&s);
        else
            r = take_token(&s, &after_equals);
        if (r < 0)
            return r;
    }
    if (s.in_list || s.section[0])
        return conf_error_set(error, "%s:%u: %s: the '{' is never closed; write '}' at its end",
                              file, s.brace_line, s.brace_of);
    *ret_scan = found;
    return 0;
}
