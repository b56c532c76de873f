/* SPDX-License-Identifier: BSD-2-Clause */
/* What Prometheus' client libraries tell of their process, under the same names. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include "metrics.h"
#include "version.h"

/* Fields of /proc/self/stat behind the name in parentheses, which may itself have blanks: state is field 3. */
enum { STAT_FIRST = 3, STAT_THREADS = 20, STAT_START = 22, STAT_VSIZE = 23, STAT_RSS = 24, STAT_LAST = STAT_RSS };

static int read_file(const char *file, char *buf, size_t cap)
{
	FILE *f = fopen(file, "re");
	size_t n;

	if (!f)
		return -1;
	n = fread(buf, 1, cap - 1, f);
	buf[n] = 0;
	fclose(f);
	return n ? 0 : -1;
}

static int read_stat(unsigned long long out[STAT_LAST + 1])
{
	char buf[2048], *p;

	if (read_file("/proc/self/stat", buf, sizeof(buf)) || !(p = strrchr(buf, ')')))
		return -1;
	p += strcspn(p, " "); /* before the state, a letter */
	p += *p == ' ';
	for (int i = STAT_FIRST; i <= STAT_LAST; i++) {
		out[i] = strtoull(p, NULL, 10);
		p += strcspn(p, " ");
		p += *p == ' ';
	}
	return *p ? 0 : -1;
}

static double boot_time(void)
{
	char buf[16384];
	const char *line;

	if (read_file("/proc/stat", buf, sizeof(buf)))
		return 0;
	line = strstr(buf, "\nbtime ");
	/* many CPUs have long lines before it; the clocks tell as much */
	if (!line) {
		struct timespec real, boot;

		clock_gettime(CLOCK_REALTIME, &real);
		clock_gettime(CLOCK_BOOTTIME, &boot);
		return (double)(real.tv_sec - boot.tv_sec);
	}
	return strtod(line + 7, NULL);
}

static unsigned open_files(void)
{
	DIR *d = opendir("/proc/self/fd");
	const struct dirent *e;
	unsigned n = 0;

	if (!d)
		return 0;
	while ((e = readdir(d)))
		n += e->d_name[0] != '.';
	closedir(d);
	return n ? n - 1 : 0; /* not the one that looks */
}

static double seconds(const struct timeval *tv)
{
	return (double)tv->tv_sec + (double)tv->tv_usec / 1e6;
}

void ntm_metrics_process(struct ntm_metrics *m)
{
	static const char info[] = "ntm_build_info", threads[] = "process_threads";
	unsigned long long stat[STAT_LAST + 1];
	struct rlimit files;
	struct rusage usage;

	ntm_metrics_family(m, info, "gauge", "Version of the program, the value is 1.");
	ntm_metrics_sample(m, info, 1, "version", NTM_VERSION, NULL);
	if (!getrusage(RUSAGE_SELF, &usage))
		ntm_metrics_one(m, "process_cpu_seconds_total", "counter", "User and system CPU time.",
				seconds(&usage.ru_utime) + seconds(&usage.ru_stime));
	if (!read_stat(stat)) {
		ntm_metrics_one(m, "process_resident_memory_bytes", "gauge", "Resident memory.",
				(double)stat[STAT_RSS] * (double)sysconf(_SC_PAGESIZE));
		ntm_metrics_one(m, "process_virtual_memory_bytes", "gauge", "Virtual memory.",
				(double)stat[STAT_VSIZE]);
		ntm_metrics_one(m, threads, "gauge", "Threads.", (double)stat[STAT_THREADS]);
		ntm_metrics_one(m, "process_start_time_seconds", "gauge", "Start, seconds since 1970 UTC.",
				boot_time() + (double)stat[STAT_START] / (double)sysconf(_SC_CLK_TCK));
	}
	ntm_metrics_one(m, "process_open_fds", "gauge", "Open file descriptors.", open_files());
	if (!getrlimit(RLIMIT_NOFILE, &files))
		ntm_metrics_one(m, "process_max_fds", "gauge", "Most file descriptors that may be open.",
				files.rlim_cur == RLIM_INFINITY ? -1 : (double)files.rlim_cur);
}
