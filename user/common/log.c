/* SPDX-License-Identifier: BSD-2-Clause */
#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_LEN = 1024, LINES_A_SECOND = 10 };

static const char *const level_names[] = {"error", "warn", "info", "debug"};
static const char *program_name = "ntm";
static enum ntm_log_level max_level = NTM_LOG_INFO;
static bool to_journal;
static void (*sink)(enum ntm_log_level level, const char *line);

/* systemd.exec(5): JOURNAL_STREAM is "device:inode" of the stream that the journal reads. */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	return stream && sscanf(stream, "%llu:%llu", &dev, &ino) == 2 && fstat(STDERR_FILENO, &st) == 0 &&
	       st.st_dev == dev && st.st_ino == ino;
}

void ntm_log_init(const char *program, enum ntm_log_level max)
{
	const char *wanted = getenv("NTM_LOG");

	program_name = program;
	max_level = max;
	to_journal = stderr_is_journal();
	if (!wanted)
		return;
	for (unsigned i = 0; i < sizeof(level_names) / sizeof(*level_names); i++) {
		if (!strcmp(wanted, level_names[i])) {
			max_level = (enum ntm_log_level)i;
			return;
		}
	}
	ntm_log(NTM_LOG_WARN, "NTM_LOG=%s: not one of error, warn, info, debug", wanted);
}

void ntm_log_to(void (*fn)(enum ntm_log_level level, const char *line), enum ntm_log_level max)
{
	sink = fn;
	max_level = max;
}

static size_t append(char *line, size_t len, const char *fmt, va_list ap)
{
	int n = vsnprintf(line + len, LINE_MAX_LEN - len, fmt, ap);

	if (n < 0)
		return len;
	return len + (size_t)n < LINE_MAX_LEN ? len + (size_t)n : LINE_MAX_LEN - 1;
}

static __attribute__((format(printf, 3, 4))) size_t appendf(char *line, size_t len, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	len = append(line, len, fmt, ap);
	va_end(ap);
	return len;
}

/* One write a line, so that lines of several processes don't mix. */
static void emit(enum ntm_log_level level, unsigned suppressed, const char *fmt, va_list ap)
{
	static const int syslog_priority[] = {3, 4, 6, 7};
	char line[LINE_MAX_LEN + 1];
	int saved = errno;
	size_t len = 0;

	if (sink)
		len = 0;
	else if (to_journal)
		len = appendf(line, len, "<%d>%s: ", syslog_priority[level], program_name);
	else
		len = appendf(line, len, "%s %s: ", level_names[level], program_name);
	errno = saved; /* for %m */
	len = append(line, len, fmt, ap);
	if (suppressed)
		len = appendf(line, len, " (and %u more such lines left out)", suppressed);

	/* What others sent may be quoted in it: no forged lines, no terminal sequences. */
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = '?';
	if (sink) {
		line[len] = 0;
		sink(level, line);
		errno = saved;
		return;
	}
	line[len++] = '\n';
	/* There is nowhere to report that stderr is gone. */
	if (write(STDERR_FILENO, line, len) < 0)
		errno = saved;
	errno = saved;
}

void ntm_log(enum ntm_log_level level, const char *fmt, ...)
{
	va_list ap;

	if (level > max_level)
		return;
	va_start(ap, fmt);
	emit(level, 0, fmt, ap);
	va_end(ap);
}

void ntm_log_limited(struct ntm_log_limit *lim, enum ntm_log_level level, const char *fmt, ...)
{
	unsigned long long now_ms;
	unsigned suppressed;
	struct timespec ts;
	va_list ap;

	if (level > max_level)
		return;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	now_ms = (unsigned long long)ts.tv_sec * 1000 + (unsigned long long)ts.tv_nsec / 1000000;
	if (now_ms - lim->window_start_ms >= 1000) {
		lim->window_start_ms = now_ms;
		lim->in_window = 0;
	}
	if (lim->in_window >= LINES_A_SECOND) {
		lim->suppressed++;
		return;
	}
	lim->in_window++;
	suppressed = lim->suppressed;
	lim->suppressed = 0;
	va_start(ap, fmt);
	emit(level, suppressed, fmt, ap);
	va_end(ap);
}
