/* SPDX-License-Identifier: MIT
 * What the commands do, as the table of ctl/commands.c names them.
 */
#ifndef CTL_HANDLERS_H
#define CTL_HANDLERS_H

#include "ctl/commands.h"

command_fn key_get, key_put, key_del, key_incr, key_ls;
command_fn cluster_status, cluster_init, leader_show, leader_transfer;
command_fn member_list, member_add, member_remove, member_promote, member_demote;
command_fn snapshot_save, snapshot_status, snapshot_restore, recover_run;
command_fn export_run, import_run, bench_run, completion_run;

#endif
