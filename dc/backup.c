/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../user/common/log.h"
#include "dc.h"

enum { BUSY_MS = 5000 };

struct ntm_dc_backup_job {
	uv_work_t work;
	struct ntm_dc *dc;
	struct ntm_ctl_client *client; /* NULL: gone */
	char *store, *file;
	char why[256]; /* "": it worked */
};

/* All pages in one step: one read transaction, which in WAL mode keeps no writer waiting. */
static void copy_store(struct ntm_dc_backup_job *j)
{
	sqlite3 *from = NULL, *to = NULL;
	sqlite3_backup *b = NULL;
	int rc = sqlite3_open_v2(j->store, &from, SQLITE_OPEN_READONLY, NULL);

	if (rc == SQLITE_OK) {
		sqlite3_busy_timeout(from, BUSY_MS);
		rc = sqlite3_open_v2(j->file, &to, SQLITE_OPEN_READWRITE, NULL);
	}
	if (rc == SQLITE_OK)
		b = sqlite3_backup_init(to, "main", from, "main");
	if (b) {
		sqlite3_backup_step(b, -1);
		rc = sqlite3_backup_finish(b);
	} else if (rc == SQLITE_OK) {
		rc = sqlite3_errcode(to);
	}
	if (rc != SQLITE_OK)
		snprintf(j->why, sizeof(j->why), "%s", sqlite3_errstr(rc));
	sqlite3_close(to);
	sqlite3_close(from);
}

static void on_work(uv_work_t *w)
{
	struct ntm_dc_backup_job *j = w->data;
	/* made by us, with the owner's access only: whatever is there already is left alone */
	int fd = open(j->file, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0) {
		snprintf(j->why, sizeof(j->why), "%s", strerror(errno));
		return;
	}
	close(fd);
	copy_store(j);
	if (*j->why)
		unlink(j->file); /* no half of a backup is left */
}

static void on_done(uv_work_t *w, int status)
{
	struct ntm_dc_backup_job *j = w->data;
	json_object *result;

	if (status)
		snprintf(j->why, sizeof(j->why), "%s", uv_strerror(status));
	j->dc->backup = NULL;
	if (*j->why)
		ntm_err("backup to %s failed: %s", j->file, j->why);
	else
		ntm_info("backup written to %s", j->file);
	ntm_dc_audit(j->dc, "control", "backup", j->file, *j->why ? j->why : NULL);
	if (j->client && *j->why) {
		ntm_ctl_error(j->client, "failed", "backup to %s: %s", j->file, j->why);
	} else if (j->client) {
		result = json_object_new_object();
		json_object_object_add(result, "file", json_object_new_string(j->file));
		ntm_ctl_result(j->client, result);
	}
	free(j->store);
	free(j->file);
	free(j);
}

void ntm_dc_backup(struct ntm_dc *dc, struct ntm_ctl_client *c, const char *file)
{
	struct ntm_dc_backup_job *j;

	if (ntm_ctl_peer(c) != 0 && ntm_ctl_peer(c) != geteuid()) {
		ntm_ctl_error(c, "denied", "this DC writes files for root only");
		return;
	}
	if (!strncmp(dc->conf->store_file, "postgres:", 9)) {
		ntm_ctl_error(c, "unsupported", "the store is PostgreSQL: use pg_dump");
		return;
	}
	if (!file || *file != '/') {
		ntm_ctl_error(c, "bad_argument", "backup needs an absolute file name");
		return;
	}
	if (dc->backup) {
		ntm_ctl_error(c, "busy", "another backup is under way");
		return;
	}
	j = calloc(1, sizeof(*j));
	if (j) {
		j->store = strdup(dc->conf->store_file);
		j->file = strdup(file);
	}
	if (!j || !j->store || !j->file)
		goto failed;
	j->dc = dc;
	j->client = c;
	j->work.data = j;
	if (uv_queue_work(dc->loop, &j->work, on_work, on_done))
		goto failed;
	dc->backup = j;
	return;
failed:
	if (j) {
		free(j->store);
		free(j->file);
		free(j);
	}
	ntm_ctl_error(c, "internal", "out of memory");
}

void ntm_dc_backup_closed(struct ntm_dc *dc, const struct ntm_ctl_client *c)
{
	if (dc->backup && dc->backup->client == c)
		dc->backup->client = NULL;
}
