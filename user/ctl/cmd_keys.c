/* SPDX-License-Identifier: BSD-2-Clause */
/* genkey and pubkey, as those of wg(8). */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../common/crypto.h"
#include "../common/keystore.h"
#include "ctl.h"

static void print_key(const uint8_t key[NTM_DH_LEN])
{
	char text[NTM_KEY_TEXT_LEN + 1];

	ntm_key_to_text(key, text);
	puts(text);
	ntm_wipe(text, sizeof(text));
}

int genkey_main(const struct ctl *ctl, int argc, char **argv)
{
	uint8_t priv[NTM_DH_LEN], pub[NTM_DH_LEN];
	int bad = ctl_no_arguments(ctl, argc, argv);
	struct stat st;

	if (bad)
		return bad;
	if (ntm_crypto_init() || ntm_x25519_generate(priv, pub))
		return ctl_fail("cannot make a key: the random number generator or OpenSSL failed");
	if (!fstat(STDOUT_FILENO, &st) && S_ISREG(st.st_mode) && st.st_mode & 077)
		fputs("ntm: warning: others can read that file; use `umask 077` before\n", stderr);
	print_key(priv);
	ntm_wipe(priv, sizeof(priv));
	return CTL_OK;
}

int pubkey_main(const struct ctl *ctl, int argc, char **argv)
{
	uint8_t priv[NTM_DH_LEN], pub[NTM_DH_LEN];
	int bad = ctl_no_arguments(ctl, argc, argv), err;
	char text[128];
	size_t len;

	if (bad)
		return bad;
	setvbuf(stdin, NULL, _IONBF, 0); /* no copy of the key stays in a buffer */
	len = fread(text, 1, sizeof(text) - 1, stdin);
	text[len] = 0;
	err = strlen(text) != len || ntm_key_from_text(text, priv);
	ntm_wipe(text, sizeof(text));
	if (err)
		return ctl_fail("stdin is not a private key: 44 characters of base64, as `ntm genkey` writes them");
	err = ntm_crypto_init();
	if (!err)
		err = ntm_x25519_public(priv, pub);
	ntm_wipe(priv, sizeof(priv));
	if (err)
		return ctl_fail("cannot compute the public key: %s", strerror(-err));
	print_key(pub);
	return CTL_OK;
}
