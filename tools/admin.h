/*
 * admin - the admin verbs of the command line. Each talks to a running server's admin port with signed
 * requests, prints for people or with --json for programs (names: docs/ADMIN-API.md), and returns 0 only
 * when what was asked is done, 1 when it failed, 2 for a command line that cannot be right.
 */
#ifndef TOOLS_ADMIN_H
#define TOOLS_ADMIN_H

int admin_status_run(int argc, char **argv);
int admin_disk_run(int argc, char **argv);
int admin_bucket_run(int argc, char **argv);
int admin_explain_run(int argc, char **argv);
int admin_class_run(int argc, char **argv);
int admin_token_run(int argc, char **argv);
int admin_node_run(int argc, char **argv);
int admin_repair_run(int argc, char **argv);
int admin_rebalance_run(int argc, char **argv);
int admin_scrub_run(int argc, char **argv);
int admin_durability_run(int argc, char **argv);
int admin_fsck_run(int argc, char **argv);
int admin_trace_run(int argc, char **argv);
int admin_support_run(int argc, char **argv);
int admin_metadata_run(int argc, char **argv);

#endif
