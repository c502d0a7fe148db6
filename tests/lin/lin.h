/* SPDX-License-Identifier: MIT
 * Says whether what clients saw of a store of registers is linearizable: is
 * there one order of all operations that each key's answers agree with, in
 * which no operation comes before one that had ended when it began?
 *
 *      time ->   client 1  |--write 7--|
 *                client 2        |--read: absent--|   |--read: absent--|
 *                                  fine, it may         never: the write had
 *                                  precede the write    ended before it began
 *
 * Each key is judged alone, which suffices (Herlihy and Wing 1990, theorem 1).
 * A batch over several keys is fed as one operation for each of them; that it
 * is atomic is then not examined.
 *
 *      struct lin *lin = lin_new();
 *      size_t id = lin_begin(lin, &(struct lin_op){.key = 1, .kind = LIN_WRITE, .value = 7,
 *                                                  .client = 2, .call = now});
 *      lin_end(lin, id, later, LIN_OK, LIN_ANY);       or never: the outcome is unknown then
 *      struct lin_report report;
 *      if (lin_check(lin, NULL, &report) == LIN_VIOLATED)
 *          puts(report.explanation);
 *      lin_clear(lin);                                 and the next history
 *
 * No threads, no clock, no randomness: the same history gives the same report.
 */
#ifndef TESTS_LIN_LIN_H
#define TESTS_LIN_LIN_H

#include <stddef.h>
#include <stdint.h>

/* A value is a number that the caller chooses: a unique one for each write or
 * a hash. The more of them differ, the more is found and the faster. These
 * three are no values of a write: */
#define LIN_ABSENT  ((uint64_t)0)    /* the key is not there; so every key begins */
#define LIN_PRESENT (UINT64_MAX - 1) /* as a result: some value, nobody said which */
#define LIN_ANY     UINT64_MAX       /* as a result: nothing was told */

enum lin_kind {
    LIN_READ,   /* result: what it saw */
    LIN_WRITE,  /* value; result: the value before, or LIN_ANY */
    LIN_DELETE, /* result: the value before, or LIN_ANY */
    LIN_CAS,    /* value, if the register holds `expected`; result: with LIN_MISMATCH */
};

enum lin_outcome {
    LIN_UNKNOWN,  /* took effect once at any time after the call, or never will */
    LIN_OK,       /* took effect once between call and end */
    LIN_MISMATCH, /* cas only: the register held another value, `result` or LIN_ANY */
    LIN_FAILED,   /* certainly without effect, and tells nothing */
};

struct lin_op {
    uint64_t key;
    enum lin_kind kind;
    enum lin_outcome outcome;
    uint64_t client; /* for the explanation only */
    uint64_t value;
    uint64_t expected;
    uint64_t result; /* read with LIN_OK and LIN_MISMATCH only */
    /* On one clock for the whole history. An end and a call at the same time count as
     * overlapping, so number the events rather than counting milliseconds. */
    uint64_t call;
    uint64_t end; /* >= call; of no meaning when the outcome is unknown */
};

struct lin; /* opaque */

struct lin *lin_new(void);
void lin_free(struct lin **lin);
/* Forgets all operations and keeps the memory for the next. */
void lin_clear(struct lin *lin);

/* Notes a call and returns its number for lin_end(); outcome, result and end of op are not read. */
size_t lin_begin(struct lin *lin, const struct lin_op *op);
/* outcome may be LIN_UNKNOWN; result is read as described at struct lin_op, else LIN_ANY. */
void lin_end(struct lin *lin, size_t id, uint64_t end, enum lin_outcome outcome, uint64_t result);
/* Notes a whole operation. Write and delete too have a result here. */
void lin_add(struct lin *lin, const struct lin_op *op);
size_t lin_count(const struct lin *lin);

enum lin_verdict {
    LIN_LINEARIZABLE,
    LIN_VIOLATED, /* some key is not linearizable */
    LIN_GAVE_UP,  /* the limits did not suffice for some key, and no other is violated */
};

/* The search is exponential at worst; these bound it, for each key. */
struct lin_limits {
    uint64_t steps; /* operations placed in an order */
    size_t bytes;   /* memory for the states already seen */
};
#define LIN_STEPS_DEFAULT 5000000
#define LIN_BYTES_DEFAULT ((size_t)512 << 20)

struct lin_report {
    enum lin_verdict verdict;
    size_t n_ops;
    size_t n_keys; /* judged; all, unless violated */
    size_t n_keys_gave_up;
    uint64_t steps;
    uint64_t key;            /* the violated one, or the first one given up */
    const char *explanation; /* for people; borrowed until lin_check, lin_clear or lin_free */
};

/* Judges all keys in ascending order up to the first one violated. limits NULL: the defaults. */
enum lin_verdict lin_check(struct lin *lin, const struct lin_limits *limits,
                           struct lin_report *ret_report);

#endif
