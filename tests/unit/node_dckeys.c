/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../user/node/dckeys.h"

static char dir[64], key_file[96], file[112];

static void setup(void)
{
	snprintf(dir, sizeof(dir), "/tmp/ntm-keys-XXXXXX");
	cr_assert_not_null(mkdtemp(dir));
	snprintf(key_file, sizeof(key_file), "%s/node.key", dir);
	snprintf(file, sizeof(file), "%s.dc-keys", key_file);
}

static void teardown(void)
{
	unlink(file);
	cr_assert_eq(rmdir(dir), 0);
}

TestSuite(dckeys, .init = setup, .fini = teardown);

static struct ntm_key_list configured(uint8_t first)
{
	struct ntm_key_list l = {.n = 1};

	memset(l.keys[0], first, NTM_DH_LEN);
	return l;
}

static const uint8_t *key(uint8_t fill)
{
	static uint8_t k[8][NTM_DH_LEN];

	memset(k[fill % 8], fill, NTM_DH_LEN);
	return k[fill % 8];
}

static struct ntm_sig told(unsigned n, const uint8_t (*list)[2])
{
	struct ntm_sig m;

	ntm_sig_init(&m, NTM_M_REGISTRATION_RESPONSE, 1);
	for (unsigned i = 0; i < n; i++) {
		m.dc_keys[i].state = list[i][0];
		memset(m.dc_keys[i].key, list[i][1], NTM_DH_LEN);
	}
	m.n_dc_keys = n;
	m.have = NTM_SIG_BIT(NTM_F_DC_KEY);
	return m;
}

static void expect_keys(const struct ntm_dckeys *k, unsigned n, const uint8_t *fills)
{
	cr_assert_eq(k->n, n);
	for (unsigned i = 0; i < n; i++)
		cr_assert_arr_eq(k->items[i].key, key(fills[i]), NTM_DH_LEN);
}

Test(dckeys, those_that_the_dc_names_and_no_others)
{
	struct ntm_key_list conf = configured(1);
	struct ntm_dckeys k, again;
	struct ntm_sig m;
	struct stat st;

	cr_assert_eq(ntm_dckeys_init(&k, &conf, key_file), 0);
	expect_keys(&k, 1, (uint8_t[]){1});
	m = told(1, (const uint8_t[][2]){{NTM_DC_KEY_CURRENT, 1}});
	cr_assert_not(ntm_dckeys_learn(&k, &m, key(1)), "as configured");
	m = told(2, (const uint8_t[][2]){{NTM_DC_KEY_NEXT, 2}, {NTM_DC_KEY_CURRENT, 1}});
	cr_assert(ntm_dckeys_learn(&k, &m, key(1)));
	expect_keys(&k, 2, (uint8_t[]){1, 2});
	cr_assert_eq(stat(file, &st), 0);
	cr_assert_eq(st.st_mode & 0777, 0600);
	m = told(2, (const uint8_t[][2]){{NTM_DC_KEY_CURRENT, 2}, {NTM_DC_KEY_PREVIOUS, 1}});
	cr_assert(ntm_dckeys_learn(&k, &m, key(1)));
	expect_keys(&k, 2, (uint8_t[]){2, 1});

	cr_assert_eq(ntm_dckeys_init(&again, &conf, key_file), 0);
	expect_keys(&again, 2, (uint8_t[]){2, 1});
	m = told(1, (const uint8_t[][2]){{NTM_DC_KEY_CURRENT, 2}});
	cr_assert(ntm_dckeys_learn(&again, &m, key(2)));
	ntm_dckeys_free(&again);
	cr_assert_eq(ntm_dckeys_init(&again, &conf, key_file), 0);
	expect_keys(&again, 1, (uint8_t[]){2}); /* the configured one is the DC's no longer */
	cr_assert_eq(ntm_dckeys_find(&again, key(1)), again.n);
	ntm_dckeys_free(&again);
	ntm_dckeys_free(&k);
}

Test(dckeys, a_new_configuration_counts_again)
{
	struct ntm_key_list conf = configured(1);
	struct ntm_dckeys k;
	struct ntm_sig m = told(1, (const uint8_t[][2]){{NTM_DC_KEY_CURRENT, 2}});

	cr_assert_eq(ntm_dckeys_init(&k, &conf, key_file), 0);
	cr_assert(ntm_dckeys_learn(&k, &m, key(2)));
	ntm_dckeys_free(&k);
	conf = configured(3);
	cr_assert_eq(ntm_dckeys_init(&k, &conf, key_file), 0);
	expect_keys(&k, 1, (uint8_t[]){3});
	ntm_dckeys_free(&k);
}

Test(dckeys, nonsense_is_ignored)
{
	static const struct {
		unsigned n;
		uint8_t list[3][2];
	} bad[] = {
	    {0, {{0, 0}}},
	    {1, {{NTM_DC_KEY_NEXT, 1}}},
	    {1, {{NTM_DC_KEY_CURRENT, 2}}}, /* not the session's */
	    {2, {{NTM_DC_KEY_CURRENT, 1}, {NTM_DC_KEY_CURRENT, 2}}},
	    {2, {{NTM_DC_KEY_CURRENT, 1}, {0, 2}}},
	    {2, {{NTM_DC_KEY_CURRENT, 1}, {9, 2}}},
	};
	struct ntm_key_list conf = configured(1);
	struct ntm_dckeys k;

	cr_assert_eq(ntm_dckeys_init(&k, &conf, key_file), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct ntm_sig m = told(bad[i].n, bad[i].list);

		cr_assert_not(ntm_dckeys_learn(&k, &m, key(1)), "%zu", i);
		expect_keys(&k, 1, (uint8_t[]){1});
	}
	cr_assert_eq(access(file, F_OK), -1);
	ntm_dckeys_free(&k);
}

Test(dckeys, a_damaged_file_is_ignored)
{
	static const char *const texts[] = {
	    "configured nonsense\n",
	    "current AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=",
	    "configured AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n",
	    "configured AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\nother AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=\n",
	    "configured AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\nnext AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=\n",
	    "\n",
	};
	struct ntm_key_list conf = configured(1);
	struct ntm_dckeys k;

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		FILE *f = fopen(file, "w");

		fputs(texts[i], f);
		fclose(f);
		cr_assert_eq(ntm_dckeys_init(&k, &conf, key_file), 0);
		expect_keys(&k, 1, (uint8_t[]){1});
		ntm_dckeys_free(&k);
	}
}
