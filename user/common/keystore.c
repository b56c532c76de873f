/* SPDX-License-Identifier: BSD-2-Clause */
#include "keystore.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "crypto.h"
#include "log.h"

void ntm_key_to_text(const uint8_t key[NTM_DH_LEN], char out[NTM_KEY_TEXT_LEN + 1])
{
	EVP_EncodeBlock((unsigned char *)out, key, NTM_DH_LEN);
}

int ntm_key_from_text(const char *text, uint8_t out[NTM_DH_LEN])
{
	uint8_t raw[NTM_DH_LEN + 1]; /* 44 characters decode to 33 bytes, the last of them padding */
	char again[NTM_KEY_TEXT_LEN + 1];
	size_t n;
	int ret = -EINVAL;

	while (isspace((unsigned char)*text))
		text++;
	n = strlen(text);
	while (n && isspace((unsigned char)text[n - 1]))
		n--;
	if (n == NTM_KEY_TEXT_LEN && text[n - 1] == '=' && text[n - 2] != '=' &&
	    EVP_DecodeBlock(raw, (const unsigned char *)text, NTM_KEY_TEXT_LEN) == NTM_DH_LEN + 1) {
		/* one key, one spelling: stray bits in the last character are refused */
		ntm_key_to_text(raw, again);
		if (ntm_equal(again, text, NTM_KEY_TEXT_LEN)) {
			memcpy(out, raw, NTM_DH_LEN);
			ret = 0;
		}
	}
	ntm_wipe(raw, sizeof(raw));
	ntm_wipe(again, sizeof(again));
	return ret;
}

int ntm_key_load(const char *path, uint8_t priv[NTM_DH_LEN], uint8_t pub[NTM_DH_LEN], char *why, size_t cap)
{
	uint8_t key[NTM_DH_LEN], derived[NTM_DH_LEN];
	char text[128];
	struct stat st;
	ssize_t n;
	int ret, fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) < 0) {
		ret = -errno;
		snprintf(why, cap, "%s: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return ret;
	}
	n = read(fd, text, sizeof(text) - 1);
	if (n < 0) {
		ret = -errno;
		snprintf(why, cap, "%s: %s", path, strerror(errno));
		close(fd);
		return ret;
	}
	close(fd);
	text[n] = 0;
	/* A full buffer: there may be more in the file, so it is not one key. */
	ret = strlen(text) == (size_t)n && (size_t)n < sizeof(text) - 1 ? ntm_key_from_text(text, key) : -EINVAL;
	ntm_wipe(text, sizeof(text));
	if (ret) {
		snprintf(why, cap, "%s: not a private key; make one with `ntm genkey`", path);
		return ret;
	}
	if (st.st_mode & 077)
		ntm_warn("%s can be read by others: chmod 600 %s", path, path);
	ret = ntm_x25519_public(key, derived);
	if (ret) {
		snprintf(why, cap, "%s: OpenSSL refused the key", path);
	} else {
		memcpy(priv, key, NTM_DH_LEN);
		memcpy(pub, derived, NTM_DH_LEN);
	}
	ntm_wipe(key, sizeof(key));
	return ret;
}
