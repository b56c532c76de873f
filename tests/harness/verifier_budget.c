/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * verifier_budget OBJECT...: loads each program alone and prints what the verifier spent on it, a line each:
 *
 *   OBJECT PROGRAM  instructions processed  largest stack frame in bytes  milliseconds      (tab-separated)
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <libgen.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOG_STATS = 4, LOG_BYTES = 1 << 20 };

static int silent(enum libbpf_print_level level, const char *format, va_list args)
{
	return level == LIBBPF_WARN ? vfprintf(stderr, format, args) : 0;
}

static long number_behind(const char *log, const char *words)
{
	const char *p = strstr(log, words);

	return p ? strtol(p + strlen(words), NULL, 10) : -1;
}

/* "stack depth 480+16+24": of the program and its subprograms, each by itself */
static long largest_frame(const char *log)
{
	const char *p = strstr(log, "stack depth ");
	long most = -1;

	for (p = p ? p + strlen("stack depth ") : NULL; p; p = *p == '+' ? p + 1 : NULL) {
		char *end;
		long n = strtol(p, &end, 10);

		if (end == p)
			break;
		most = n > most ? n : most;
		p = end;
	}
	return most;
}

static int spend(const char *file, const char *program, char *log)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .kernel_log_buf = log, .kernel_log_size = LOG_BYTES,
		    .kernel_log_level = LOG_STATS);
	struct bpf_object *obj = bpf_object__open_file(file, &opts);
	struct bpf_program *p;
	char copy[4096];
	long insns;
	int err;

	if (!obj) {
		fprintf(stderr, "%s: %s\n", file, strerror(errno));
		return -errno;
	}
	bpf_object__for_each_program(p, obj) bpf_program__set_autoload(p, !strcmp(bpf_program__name(p), program));
	log[0] = 0;
	err = bpf_object__load(obj);
	insns = number_behind(log, "processed ");
	if (!err && insns < 0)
		err = -ENODATA;
	if (err)
		fprintf(stderr, "%s: %s: %s\n%s\n", file, program, strerror(-err), log);
	snprintf(copy, sizeof(copy), "%s", file);
	if (!err)
		printf("%s\t%s\t%ld\t%ld\t%.1f\n", basename(copy), program, insns, largest_frame(log),
		       (double)number_behind(log, "verification time ") / 1000);
	bpf_object__close(obj);
	return err;
}

int main(int argc, char **argv)
{
	char *log = malloc(LOG_BYTES);
	int failed = 0;

	if (argc < 2 || !log)
		return 2;
	libbpf_set_print(silent);
	for (int i = 1; i < argc; i++) {
		struct bpf_object *obj = bpf_object__open_file(argv[i], NULL);
		struct bpf_program *p;

		if (!obj) {
			fprintf(stderr, "%s: %s\n", argv[i], strerror(errno));
			failed = 1;
			continue;
		}
		bpf_object__for_each_program(p, obj) failed |= spend(argv[i], bpf_program__name(p), log) != 0;
		bpf_object__close(obj);
	}
	free(log);
	return failed;
}
