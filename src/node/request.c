/* SPDX-License-Identifier: MIT */
#include "node/request.h"

#include "base/mem.h"

struct node_request *node_request_new(enum node_request_type type)
{
    struct node_request *r = mem_zalloc(sizeof *r);
    r->type = type;
    return r;
}

void node_request_free(struct node_request **r)
{
    if (!*r)
        return;
    switch ((*r)->type) {
    case NODE_WRITE:
        buf_free(&(*r)->in.write.body);
        buf_free(&(*r)->ret.write.answer);
        break;
    case NODE_PEER:
        buf_free(&(*r)->in.peer.body);
        buf_free(&(*r)->ret.reply.body);
        break;
    case NODE_STATUS:
        mem_free((*r)->ret.status);
        break;
    case NODE_SNAPSHOT_READ:
        buf_free(&(*r)->ret.snapshot.data);
        break;
    case NODE_READ:
    case NODE_WAIT_KEY:
    case NODE_INIT:
    case NODE_ADD_LEARNER:
    case NODE_CHANGE_MEMBERSHIP:
    case NODE_MEMBER_ADD:
    case NODE_MEMBER_REMOVE:
    case NODE_MEMBER_PROMOTE:
    case NODE_MEMBER_DEMOTE:
    case NODE_TRANSFER:
    case NODE_SNAPSHOT_OPEN:
    case NODE_SNAPSHOT_CLOSE:
        break;
    }
    MEM_FREE(*r);
}
