/* SPDX-License-Identifier: MIT
 * Changing configurations, and their bytes.
 *
 *      version  1 byte    1; 2 when a role is in it that version 1 does not know
 *      flags    1 byte    bit 0: auto_leave
 *      count    1 byte    members; each:
 *          id           16 bytes
 *          incarnation   8 bytes
 *          roles         1 byte
 *          addr         varint length, bytes
 */
#include "raft/config.h"

#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"

enum { CONFIG_VERSION = 1, CONFIG_VERSION_SOON = 2, FLAG_AUTO_LEAVE = 1 };

bool raft_config_is_joint(const struct raft_config *c)
{
    for (unsigned i = 0; i < c->n_members; i++)
        if (c->members[i].roles & RAFT_VOTER_OLD)
            return true;
    return false;
}

unsigned raft_config_n_voters(const struct raft_config *c)
{
    unsigned n = 0;
    for (unsigned i = 0; i < c->n_members; i++)
        n += (c->members[i].roles & RAFT_VOTER) != 0;
    return n;
}

/* The place of the member with this id, or where it belongs. */
static unsigned position(const struct raft_config *c, struct uuid id)
{
    unsigned i = 0;
    while (i < c->n_members && uuid_compare(c->members[i].id, id) < 0)
        i++;
    return i;
}

const struct raft_member *raft_config_find(const struct raft_config *c, struct uuid id)
{
    unsigned i = position(c, id);
    return i < c->n_members && uuid_equal(c->members[i].id, id) ? &c->members[i] : NULL;
}

static struct raft_member *find(struct raft_config *c, struct uuid id)
{
    unsigned i = position(c, id);
    return i < c->n_members && uuid_equal(c->members[i].id, id) ? &c->members[i] : NULL;
}

static int insert(struct raft_config *c, const struct raft_member *like, uint8_t roles)
{
    if (c->n_members == LIMIT_MEMBERS)
        return ERR_TOO_LARGE;
    unsigned i = position(c, like->id);
    memmove(&c->members[i + 1], &c->members[i], (c->n_members - i) * sizeof c->members[0]);
    c->members[i] = *like;
    c->members[i].roles = roles;
    c->n_members++;
    return 0;
}

/* Who has no role left is no member. */
static void drop_without_roles(struct raft_config *c)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < c->n_members; i++)
        if (c->members[i].roles)
            c->members[kept++] = c->members[i];
    c->n_members = kept;
}

static int add_voter(struct raft_config *c, const struct raft_member *wish)
{
    struct raft_member *m = find(c, wish->id);
    if (!m)
        return insert(c, wish, RAFT_VOTER);
    m->roles = (uint8_t)((m->roles & RAFT_VOTER_OLD) | RAFT_VOTER);
    return 0;
}

/* A voter of the outgoing set cannot be a learner before the joint
 * configuration is left: it is noted as LEARNER_NEXT. */
static int add_learner(struct raft_config *c, const struct raft_member *wish)
{
    struct raft_member *m = find(c, wish->id);
    if (!m)
        return insert(c, wish, RAFT_LEARNER);
    m->roles = m->roles & RAFT_VOTER_OLD ? RAFT_VOTER_OLD | RAFT_LEARNER_NEXT : RAFT_LEARNER;
    return 0;
}

static int add_voter_soon(struct raft_config *c, const struct raft_member *wish)
{
    struct raft_member *m = find(c, wish->id);
    if (!m)
        return insert(c, wish, RAFT_LEARNER | RAFT_VOTER_SOON);
    if (m->roles & RAFT_LEARNER)
        m->roles |= RAFT_VOTER_SOON;
    return 0;
}

static void remove_member(struct raft_config *c, struct uuid id)
{
    struct raft_member *m = find(c, id);
    if (!m)
        return;
    m->roles &= RAFT_VOTER_OLD;
    drop_without_roles(c);
}

/* Its address may change, its disk may not: what the old one promised is gone (PITFALLS 41). */
static int update_member(struct raft_config *c, const struct raft_member *wish)
{
    struct raft_member *m = find(c, wish->id);
    if (!m)
        return 0;
    if (m->incarnation != wish->incarnation)
        return ERR_INCARNATION_MISMATCH;
    uint8_t roles = m->roles;
    *m = *wish;
    m->roles = roles;
    return 0;
}

static int apply(struct raft_config *c, const struct raft_change changes[], unsigned n)
{
    int rc = 0;
    for (unsigned i = 0; i < n && rc == 0; i++) {
        const struct raft_member *wish = &changes[i].member;
        if (uuid_is_zero(wish->id))
            continue; /* as etcd-io/raft: the zero id names nobody */
        switch (changes[i].type) {
        case RAFT_ADD_VOTER:
            rc = add_voter(c, wish);
            break;
        case RAFT_ADD_LEARNER:
            rc = add_learner(c, wish);
            break;
        case RAFT_ADD_VOTER_SOON:
            rc = add_voter_soon(c, wish);
            break;
        case RAFT_REMOVE:
            remove_member(c, wish->id);
            break;
        case RAFT_UPDATE:
            rc = update_member(c, wish);
            break;
        default:
            rc = ERR_INVALID;
        }
    }
    if (rc == 0 && raft_config_n_voters(c) == 0)
        rc = ERR_EMPTY;
    return rc;
}

/* Voters of one configuration that are not voters of the other. */
static unsigned voters_missing(const struct raft_config *of, const struct raft_config *in)
{
    unsigned n = 0;
    for (unsigned i = 0; i < of->n_members; i++) {
        if (!(of->members[i].roles & RAFT_VOTER))
            continue;
        const struct raft_member *m = raft_config_find(in, of->members[i].id);
        n += !m || !(m->roles & RAFT_VOTER);
    }
    return n;
}

int raft_config_simple(const struct raft_config *c, const struct raft_change changes[], unsigned n,
                       struct raft_config *ret_config)
{
    if (raft_config_is_joint(c))
        return ERR_IN_PROGRESS;
    struct raft_config changed = *c;
    int rc = apply(&changed, changes, n);
    if (rc < 0)
        return rc;
    if (voters_missing(c, &changed) + voters_missing(&changed, c) > 1)
        return ERR_NOT_ALLOWED;
    *ret_config = changed;
    return 0;
}

int raft_config_enter_joint(const struct raft_config *c, const struct raft_change changes[],
                            unsigned n, bool auto_leave, struct raft_config *ret_config)
{
    if (raft_config_is_joint(c))
        return ERR_IN_PROGRESS;
    if (raft_config_n_voters(c) == 0)
        return ERR_EMPTY;
    struct raft_config changed = *c;
    for (unsigned i = 0; i < changed.n_members; i++)
        if (changed.members[i].roles & RAFT_VOTER)
            changed.members[i].roles |= RAFT_VOTER_OLD;
    int rc = apply(&changed, changes, n);
    if (rc < 0)
        return rc;
    changed.auto_leave = auto_leave;
    *ret_config = changed;
    return 0;
}

int raft_config_leave_joint(const struct raft_config *c, struct raft_config *ret_config)
{
    if (!raft_config_is_joint(c))
        return ERR_INVALID;
    struct raft_config changed = *c;
    for (unsigned i = 0; i < changed.n_members; i++) {
        struct raft_member *m = &changed.members[i];
        if (m->roles & RAFT_LEARNER_NEXT)
            m->roles = RAFT_LEARNER;
        m->roles &= (uint8_t)~RAFT_VOTER_OLD;
    }
    drop_without_roles(&changed);
    changed.auto_leave = false;
    *ret_config = changed;
    return 0;
}

/* Old programs go on reading whatever holds nothing new. */
static uint8_t version_needed(const struct raft_config *c)
{
    for (unsigned i = 0; i < c->n_members; i++)
        if (c->members[i].roles & RAFT_VOTER_SOON)
            return CONFIG_VERSION_SOON;
    return CONFIG_VERSION;
}

void raft_config_encode(const struct raft_config *c, struct buf *out)
{
    buf_put_u8(out, version_needed(c));
    buf_put_u8(out, c->auto_leave ? FLAG_AUTO_LEAVE : 0);
    buf_put_u8(out, (uint8_t)c->n_members);
    for (unsigned i = 0; i < c->n_members; i++) {
        const struct raft_member *m = &c->members[i];
        buf_put_uuid(out, m->id);
        buf_put_u64(out, m->incarnation);
        buf_put_u8(out, m->roles);
        buf_put_string(out, m->addr, strlen(m->addr));
    }
}

static bool roles_are_valid(uint8_t roles)
{
    switch (roles) {
    case RAFT_VOTER:
    case RAFT_VOTER | RAFT_VOTER_OLD:
    case RAFT_VOTER_OLD:
    case RAFT_VOTER_OLD | RAFT_LEARNER_NEXT:
    case RAFT_LEARNER:
    case RAFT_LEARNER | RAFT_VOTER_SOON:
        return true;
    default:
        return false;
    }
}

static bool decode_member(struct bytes_reader *r, struct raft_member *m)
{
    memset(m, 0, sizeof *m);
    m->id = bytes_read_uuid(r);
    m->incarnation = bytes_read_u64(r);
    m->roles = bytes_read_u8(r);
    size_t len = 0;
    const uint8_t *addr = bytes_read_string(r, LIMIT_ADDR_BYTES, &len);
    if (!addr || memchr(addr, 0, len))
        return false;
    memcpy(m->addr, addr, len);
    return !uuid_is_zero(m->id) && roles_are_valid(m->roles);
}

int raft_config_decode(const void *p, size_t len, struct raft_config *ret_config)
{
    struct bytes_reader r = bytes_reader(p, len);
    uint8_t version = bytes_read_u8(&r);
    uint8_t flags = bytes_read_u8(&r);
    uint8_t n = bytes_read_u8(&r);
    if (!bytes_reader_ok(&r))
        return ERR_INVALID;
    if (version != CONFIG_VERSION && version != CONFIG_VERSION_SOON)
        return ERR_VERSION;
    if (n > LIMIT_MEMBERS)
        return ERR_TOO_LARGE;
    struct raft_config c = {.n_members = n, .auto_leave = (flags & FLAG_AUTO_LEAVE) != 0};
    for (unsigned i = 0; i < n; i++) {
        if (!decode_member(&r, &c.members[i]))
            return ERR_INVALID;
        if (i > 0 && uuid_compare(c.members[i - 1].id, c.members[i].id) >= 0)
            return ERR_INVALID;
    }
    if (!bytes_reader_done(&r) || (flags & ~FLAG_AUTO_LEAVE) || version != version_needed(&c))
        return ERR_INVALID;
    if (raft_config_n_voters(&c) == 0 || (c.auto_leave && !raft_config_is_joint(&c)))
        return ERR_INVALID;
    *ret_config = c;
    return 0;
}
