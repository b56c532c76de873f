/* SPDX-License-Identifier: BSD-2-Clause */
/* Log lines to stderr: `<level> <module>: text`, with systemd's <N> priority prefix when it reads them. */
#ifndef NTM_LOG_H
#define NTM_LOG_H

enum ntm_log_level { NTM_LOG_ERROR, NTM_LOG_WARN, NTM_LOG_INFO, NTM_LOG_DEBUG };

/* Sets the program's name and the highest level printed (environment NTM_LOG=error|warn|info|debug wins). */
void ntm_log_init(const char *program, enum ntm_log_level max);
/* From now on lines go there, up to that level, and nowhere else. fn NULL: to stderr again. For libraries. */
void ntm_log_to(void (*fn)(enum ntm_log_level level, const char *line), enum ntm_log_level max);
void ntm_log(enum ntm_log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/*
 * As ntm_log, but at most 10 lines a second from this call site; what was left out is counted in the
 * next line. For anything that an unauthenticated sender can cause.
 */
struct ntm_log_limit {
	unsigned long long window_start_ms;
	unsigned in_window, suppressed;
};
void ntm_log_limited(struct ntm_log_limit *lim, enum ntm_log_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#define ntm_err(...) ntm_log(NTM_LOG_ERROR, __VA_ARGS__)
#define ntm_warn(...) ntm_log(NTM_LOG_WARN, __VA_ARGS__)
#define ntm_info(...) ntm_log(NTM_LOG_INFO, __VA_ARGS__)
#define ntm_debug(...) ntm_log(NTM_LOG_DEBUG, __VA_ARGS__)
#define ntm_warn_limited(...)                                      \
	do {                                                       \
		static struct ntm_log_limit lim_;                  \
		ntm_log_limited(&lim_, NTM_LOG_WARN, __VA_ARGS__); \
	} while (0)

#endif
