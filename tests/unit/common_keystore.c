/* SPDX-License-Identifier: BSD-2-Clause */
/* Key files: RFC 7748 section 6.1's second key pair as text, and what is refused. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../user/common/crypto.h"
#include "../../user/common/keystore.h"

#define KEY "XasIfmJKikt54X+Lg4AO5m87sSkmGLb9HC+LJ/+I4Os="
#define PUB "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08="

static int load_bytes(const char *text, size_t len, mode_t mode, char pub_text[45])
{
	char path[] = "/tmp/ntm-key-XXXXXX", why[256] = "";
	uint8_t priv[32], pub[32];
	int fd = mkstemp(path), ret;

	cr_assert(fd >= 0 && write(fd, text, len) == (ssize_t)len && !fchmod(fd, mode));
	close(fd);
	ret = ntm_key_load(path, priv, pub, why, sizeof(why));
	unlink(path);
	cr_assert_eq(!!ret, !!why[0]);
	if (!ret)
		ntm_key_to_text(pub, pub_text);
	return ret;
}

static int load(const char *text, mode_t mode, char pub_text[45])
{
	return load_bytes(text, strlen(text), mode, pub_text);
}

Test(keystore, text)
{
	static const char *const bad[] = {"", "XasIfmJKikt54X+Lg4AO5m87sSkmGLb9HC+LJ/+I4Ot=", KEY "A", KEY " x",
					  "=" KEY};
	uint8_t key[32];
	char text[45], cut[45] = KEY;

	cr_assert_eq(ntm_key_from_text(" \t" KEY "\r\n", key), 0);
	ntm_key_to_text(key, text);
	cr_assert_str_eq(text, KEY);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		cr_assert_eq(ntm_key_from_text(bad[i], key), -EINVAL, "%s", bad[i]);
	cut[43] = 0;
	cr_assert_eq(ntm_key_from_text(cut, key), -EINVAL);
}

Test(keystore, files)
{
	uint8_t priv[32], pub[32];
	char text[45], why[256] = "", spaces[300];

	cr_assert_eq(ntm_crypto_init(), 0);
	cr_assert_eq(load(KEY "\n", 0600, text), 0);
	cr_assert_str_eq(text, PUB);
	cr_assert_eq(load(KEY, 0644, text), 0, "a warning only");
	cr_assert_eq(load("garbage\n", 0600, text), -EINVAL);
	cr_assert_eq(load("", 0600, text), -EINVAL);
	cr_assert_eq(load_bytes(KEY "\0x", sizeof(KEY) + 1, 0600, text), -EINVAL, "more behind a NUL");
	memset(spaces, ' ', sizeof(spaces));
	memcpy(spaces, KEY, strlen(KEY));
	memcpy(spaces + sizeof(spaces) - 8, "garbage", 8);
	cr_assert_eq(load(spaces, 0600, text), -EINVAL, "more behind blanks");
	cr_assert_eq(ntm_key_load("/nonexistent/key", priv, pub, why, sizeof(why)), -ENOENT);
	cr_assert(why[0]);
}
