/* SPDX-License-Identifier: BSD-2-Clause */
/* What the sub-commands of `ntm` share. Each is one *_main in one file and returns the exit code. */
#ifndef NTM_CTL_CTL_H
#define NTM_CTL_CTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <json-c/json.h>

#define CTL_NODE_DIR "/run/ntm"
#define CTL_DC_DIR "/run/ntm-dc"

enum ctl_exit { CTL_OK = 0, CTL_FAILED = 1, CTL_USAGE = 2 };

struct ctl {
	const char *runtime_dir; /* NULL: the default of the daemon that the command is for */
	bool json;
	const char *usage; /* of the command that runs, for ctl_usage() */
};

struct ctl_command {
	const char *name;
	int (*main)(const struct ctl *ctl, int argc, char **argv); /* argv[0] is the command's name */
	const char *usage;                                         /* arguments and options */
	const char *text;                                          /* what it does, a few words */
};
/* Looks argv[0] up in a table that ends with an empty entry, and runs it. prefix: "ntm" or "ntm dc". */
int ctl_dispatch(const struct ctl_command *table, const char *prefix, const struct ctl *ctl, int argc, char **argv);
void ctl_help(const struct ctl_command *table, const char *prefix);

int genkey_main(const struct ctl *ctl, int argc, char **argv);
int pubkey_main(const struct ctl *ctl, int argc, char **argv);
int status_main(const struct ctl *ctl, int argc, char **argv);
int peers_main(const struct ctl *ctl, int argc, char **argv);
int paths_main(const struct ctl *ctl, int argc, char **argv);
int relays_main(const struct ctl *ctl, int argc, char **argv);
int netcheck_main(const struct ctl *ctl, int argc, char **argv);
int resolve_main(const struct ctl *ctl, int argc, char **argv);
int ping_main(const struct ctl *ctl, int argc, char **argv);
int doctor_main(const struct ctl *ctl, int argc, char **argv);
int moved_main(const struct ctl *ctl, int argc, char **argv);
int monitor_main(const struct ctl *ctl, int argc, char **argv);
int rotate_key_main(const struct ctl *ctl, int argc, char **argv);
int dc_main(const struct ctl *ctl, int argc, char **argv);

/* One sentence to stderr; both return what main returns. */
int ctl_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
int ctl_usage(const struct ctl *ctl, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Refuses arguments of a command that takes none. 0 or CTL_USAGE. */
int ctl_no_arguments(const struct ctl *ctl, int argc, char **argv);

/* A request object {"cmd": cmd}; and one more member (takes value's reference). */
json_object *ctl_request(const char *cmd);
void ctl_add(json_object *request, const char *key, json_object *value);
/* Sends request (takes the reference) and gives the result; else prints why not and returns CTL_FAILED. */
int ctl_call(const struct ctl *ctl, const char *default_dir, json_object *request, int timeout_ms,
	     bool (*on_event)(json_object *ev, void *arg), void *arg, json_object **result);

/* "90", "90s", "30m", "1h", "7d" to seconds. 0 or -EINVAL. */
int ctl_parse_duration(const char *text, uint32_t *seconds);

/* output.c */
enum ctl_kind { CTL_TEXT, CTL_INT, CTL_BYTES, CTL_MS, CTL_AGE, CTL_BOOL };
struct ctl_column {
	const char *title, *key;
	enum ctl_kind kind;
};
#define CTL_CELL_LEN 96
/* A member as people read it, "-" if it is null or missing. Returns out. */
const char *ctl_cell(json_object *o, const char *key, enum ctl_kind kind, char out[CTL_CELL_LEN]);
const char *ctl_format_bytes(uint64_t bytes, char out[CTL_CELL_LEN]);
const char *ctl_format_age(double seconds, char out[CTL_CELL_LEN]);
/* An array of objects as aligned columns; `nothing` is printed for an empty one. */
void ctl_print_table(json_object *array, const struct ctl_column *columns, size_t n, const char *nothing);
void ctl_print_json(json_object *o);
json_object *ctl_member(json_object *o, const char *key); /* NULL if missing or null */
const char *ctl_text(json_object *o, const char *key);    /* its string or NULL */

#endif
