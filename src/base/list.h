/* SPDX-License-Identifier: MIT
 * Intrusive doubly linked list with a sentinel head.
 *
 *     struct list waiting;               list_init(&waiting);
 *     list_push_back(&waiting, &w->link);
 *     LIST_FOREACH_SAFE(it, next, &waiting) {
 *         struct waiter *w = LIST_ENTRY(it, struct waiter, link);
 *         ...
 *     }
 */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *prev, *next;
};

#define LIST_ENTRY(node, type, member) ((type *)((char *)(node)-offsetof(type, member)))
#define LIST_FOREACH(it, head)         for (struct list *it = (head)->next; it != (head); it = it->next)
/* The element at `it` may be removed inside the loop. */
#define LIST_FOREACH_SAFE(it, following, head)                                                     \
    for (struct list *it = (head)->next, *following = it->next; it != (head);                      \
         it = following, following = it->next)

static inline void list_init(struct list *l)
{
    l->prev = l->next = l;
}

static inline bool list_is_empty(const struct list *l)
{
    return l->next == l;
}

static inline void list_push_back(struct list *head, struct list *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

/* Leaves the node linked to itself, so that removing it again does no harm. */
static inline void list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

static inline struct list *list_pop_front(struct list *head)
{
    if (list_is_empty(head))
        return NULL;
    struct list *node = head->next;
    list_remove(node);
    return node;
}

/* Moves all of src to the end of dst; src is empty afterwards. */
static inline void list_splice(struct list *dst, struct list *src)
{
    if (list_is_empty(src))
        return;
    src->next->prev = dst->prev;
    dst->prev->next = src->next;
    src->prev->next = dst;
    dst->prev = src->prev;
    list_init(src);
}

#endif
