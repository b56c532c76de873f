/* SPDX-License-Identifier: BSD-2-Clause */
/* rotate-key: a new key for a node or a relay that runs. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../common/crypto.h"
#include "../common/keystore.h"
#include "ctl.h"

enum { ANSWER_MS = 10000 };

/* The new private key, on the disk before anybody hears of it. One that an earlier attempt left is taken again. */
static int make_key(const char *file, uint8_t pub[NTM_DH_LEN])
{
	uint8_t priv[NTM_DH_LEN];
	char text[NTM_KEY_TEXT_LEN + 2], why[PATH_MAX + 128];
	int fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600), err;

	if (fd < 0 && errno == EEXIST) {
		err = ntm_key_load(file, priv, pub, why, sizeof(why));
		ntm_wipe(priv, sizeof(priv));
		return err ? ctl_fail("%s", why) : CTL_OK;
	}
	if (fd < 0)
		return ctl_fail("%s: %s", file, strerror(errno));
	err = ntm_x25519_generate(priv, pub);
	if (!err) {
		ntm_key_to_text(priv, text);
		text[NTM_KEY_TEXT_LEN] = '\n';
		if (write(fd, text, sizeof(text) - 1) != (ssize_t)sizeof(text) - 1 || fsync(fd))
			err = errno ? -errno : -EIO;
	}
	ntm_wipe(priv, sizeof(priv));
	ntm_wipe(text, sizeof(text));
	if (close(fd) && !err)
		err = -errno;
	if (!err)
		return CTL_OK;
	unlink(file);
	return ctl_fail("%s: %s", file, strerror(-err));
}

static int sync_directory(const char *file)
{
	char dir[PATH_MAX];
	char *slash;
	int fd, err;

	snprintf(dir, sizeof(dir), "%s", file);
	slash = strrchr(dir, '/');
	if (!slash)
		return 0;
	slash[slash == dir] = 0;
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	err = fd < 0 || fsync(fd) ? -errno : 0;
	if (fd >= 0)
		close(fd);
	return err;
}

static int key_file(const struct ctl *ctl, char file[PATH_MAX])
{
	json_object *result;
	const char *text;
	int ret = ctl_call(ctl, CTL_NODE_DIR, ctl_request("key_file"), ANSWER_MS, NULL, NULL, &result);

	if (ret)
		return ret;
	text = ctl_text(result, "file");
	if (text && strlen(text) < PATH_MAX)
		memcpy(file, text, strlen(text) + 1);
	else
		ret = ctl_fail("the agent's answer has no file: is it of another version?");
	json_object_put(result);
	return ret;
}

int rotate_key_main(const struct ctl *ctl, int argc, char **argv)
{
	char file[PATH_MAX], next[PATH_MAX + 8], text[NTM_KEY_TEXT_LEN + 1];
	int ret = ctl_no_arguments(ctl, argc, argv), err;
	uint8_t pub[NTM_DH_LEN];
	json_object *result, *o;

	if (!ret && ntm_crypto_init())
		ret = ctl_fail("OpenSSL failed");
	if (!ret)
		ret = key_file(ctl, file);
	if (ret)
		return ret;
	snprintf(next, sizeof(next), "%s.next", file);
	ret = make_key(next, pub);
	if (ret)
		return ret;
	ntm_key_to_text(pub, text);
	err = sync_directory(next);
	if (err)
		return ctl_fail("%s: %s", next, strerror(-err));
	ret = ctl_call(ctl, CTL_NODE_DIR, ctl_request("rotate_key"), ANSWER_MS, NULL, NULL, &result);
	if (ret) {
		fprintf(stderr, "ntm: the new key, %s, stays in %s; the same command again uses it\n", text, next);
		return ret;
	}
	json_object_put(result);
	if (rename(next, file) || sync_directory(file))
		return ctl_fail("the key has changed, but %s is not renamed to %s: %s", next, file, strerror(errno));
	if (!ctl->json) {
		puts(text);
		return CTL_OK;
	}
	o = json_object_new_object();
	json_object_object_add(o, "public_key", json_object_new_string(text));
	ctl_print_json(o);
	json_object_put(o);
	return CTL_OK;
}
