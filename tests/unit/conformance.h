/* SPDX-License-Identifier: MIT
 * Finds the conformance data and reads what is in the form of etcd-io/raft's
 * transcripts: comments with #, a directive with arguments, lines of input,
 * ----, the expected output up to a blank line.
 */
#ifndef TESTS_UNIT_CONFORMANCE_H
#define TESTS_UNIT_CONFORMANCE_H

#include <stdint.h>
#include <stdio.h>

enum { CASE_TEXT = 4096, CASE_ARGS = 8, CASE_VALUES = 64 };

struct conformance_arg {
    char key[32];
    char values[CASE_VALUES][32];
    unsigned n_values;
};

struct conformance_case {
    const char *file; /* path */
    unsigned line;
    char command[32];
    struct conformance_arg args[CASE_ARGS];
    unsigned n_args;
    char input[CASE_TEXT];
    char expected[CASE_TEXT]; /* with its newlines */
};

typedef void conformance_run(const struct conformance_case *c, void *context);

/* Runs every case of every *.txt in this directory of the conformance data, a
 * file at a time; begin() comes before each file. Without data: as conformance_path(). */
void conformance_each(const char *directory, void (*begin)(void *context), conformance_run *run,
                      void *context);

/* The path of this directory of the conformance data, in ret_path. Skips the test (says so) when
 * it is not there; fails it when it is required. */
void conformance_path(const char *directory, char *ret_path, size_t size);

/* NULL: not given. */
const struct conformance_arg *conformance_arg(const struct conformance_case *c, const char *key);

#endif
