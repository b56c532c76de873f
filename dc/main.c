/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "../user/common/crypto.h"
#include "../user/common/keystore.h"
#include "../user/common/log.h"
#include "../user/common/sdnotify.h"
#include "dc.h"

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_CONFIG = 2 };

static const char usage[] = "usage: ntm-dc -c FILE\n"
			    "NTMobile's Direction Coordinator. Stays in the foreground and logs to stderr.\n"
			    "  -c, --config FILE  configuration (dc.conf)\n"
			    "  -h, --help         this text\n"
			    "  -V, --version      print the version\n"
			    "SIGTERM ends it, SIGHUP rereads the configuration. Exit status: 0 ended as asked,\n"
			    "1 failed, 2 wrong configuration or usage.\n";

struct program {
	struct ntm_dc dc;
	struct ntm_dc_config conf;
	const char *file;
	uv_signal_t term, interrupt, hangup;
};

static void notify(const char *state)
{
	int err = ntm_sdnotify(state);

	if (err < 0)
		ntm_warn("cannot notify the service manager: %s", strerror(-err));
}

static void on_end(uv_signal_t *s, int number)
{
	struct program *p = s->data;

	ntm_info("ending: %s", strsignal(number));
	notify("STOPPING=1");
	ntm_dc_stop(&p->dc);
	uv_close((uv_handle_t *)&p->term, NULL);
	uv_close((uv_handle_t *)&p->interrupt, NULL);
	uv_close((uv_handle_t *)&p->hangup, NULL);
}

/* What is in use stays so: the settings that may change are few, and copied. */
static void on_hangup(uv_signal_t *s, int number)
{
	struct program *p = s->data;
	struct ntm_dc_config now;
	char err[512];
	int rc = ntm_sdnotify_reloading();

	(void)number;
	if (rc < 0)
		ntm_warn("cannot notify the service manager: %s", strerror(-rc));
	if (ntm_dc_config_load(p->file, &now, err, sizeof(err))) {
		ntm_err("%s: nothing is changed", err);
	} else {
		ntm_dc_reload(&p->dc, &now);
		p->conf.cookie_threshold = now.cookie_threshold;
		p->conf.lifetime_s = now.lifetime_s;
		p->conf.keepalive_s = now.keepalive_s;
		ntm_dc_config_free(&now);
		ntm_info("configuration read again");
	}
	notify("READY=1");
}

static void watch(struct program *p, uv_signal_t *handle, int number, uv_signal_cb cb)
{
	uv_signal_init(p->dc.loop, handle);
	handle->data = p;
	uv_signal_start(handle, cb, number);
}

static int run(struct program *p)
{
	uint8_t priv[NTM_DH_LEN], pub[NTM_DH_LEN];
	char why[512], text[NTM_ADDR_STRLEN];
	uv_loop_t loop;
	int err = ntm_crypto_init();

	if (err) {
		ntm_err("OpenSSL lacks an algorithm that is needed: %s", strerror(-err));
		return EXIT_FAILED;
	}
	if (ntm_key_load(p->conf.private_key_file, priv, pub, why, sizeof(why))) {
		ntm_err("%s", why);
		return EXIT_CONFIG;
	}
	err = uv_loop_init(&loop);
	if (err) {
		ntm_err("event loop: %s", uv_strerror(err));
		return EXIT_FAILED;
	}
	err = ntm_dc_start(&p->dc, &loop, &p->conf, priv, pub, why, sizeof(why));
	ntm_wipe(priv, sizeof(priv));
	if (!err) {
		err = ntm_dc_drop_privileges();
		if (err) {
			snprintf(why, sizeof(why), "cannot drop capabilities: %s", strerror(-err));
			ntm_dc_stop(&p->dc);
		}
	}
	if (err) {
		ntm_err("%s", why);
	} else {
		watch(p, &p->term, SIGTERM, on_end);
		watch(p, &p->interrupt, SIGINT, on_end);
		watch(p, &p->hangup, SIGHUP, on_hangup);
		for (size_t i = 0; i < p->conf.listen.n; i++)
			ntm_info("zone %s: listening on %s", p->conf.zone,
				 ntm_addr_format(ntm_dc_net_bound(p->dc.net, (uint16_t)i), text));
		notify("READY=1");
	}
	uv_run(&loop, UV_RUN_DEFAULT);
	ntm_dc_free(&p->dc);
	uv_loop_close(&loop);
	return err ? EXIT_FAILED : EXIT_OK;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
	    {"config", required_argument, NULL, 'c'},
	    {"help", no_argument, NULL, 'h'},
	    {"version", no_argument, NULL, 'V'},
	    {0},
	};
	static struct program p;
	char err[512];
	int opt, rc;

	while ((opt = getopt_long(argc, argv, "c:hV", options, NULL)) != -1) {
		switch (opt) {
		case 'c':
			p.file = optarg;
			break;
		case 'h':
			fputs(usage, stdout);
			return EXIT_OK;
		case 'V':
			puts("ntm-dc " NTM_VERSION);
			return EXIT_OK;
		default:
			fputs(usage, stderr);
			return EXIT_CONFIG;
		}
	}
	if (!p.file || optind != argc) {
		fputs(usage, stderr);
		return EXIT_CONFIG;
	}
	ntm_log_init("ntm-dc", NTM_LOG_INFO);
	if (ntm_dc_config_load(p.file, &p.conf, err, sizeof(err))) {
		ntm_err("%s", err);
		return EXIT_CONFIG;
	}
	rc = run(&p);
	ntm_dc_config_free(&p.conf);
	return rc;
}
