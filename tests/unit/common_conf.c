/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../user/common/conf.h"

struct remote {
	char name[64];
	struct ntm_addr endpoint;
	uint32_t weight;
};
struct conf {
	char label[64], zone[254], *file, *text;
	uint16_t port;
	uint32_t number;
	bool flag;
	uint8_t key[32];
	struct ntm_prefix pool;
	struct ntm_addr_list addrs;
	struct ntm_string_list names;
	struct remote remotes[4];
	unsigned n_remotes;
};

#define F(m) offsetof(struct conf, m)
static const struct ntm_conf_key keys[] = {
    {"main", "label", ntm_conf_label, F(label), true},
    {"main", "zone", ntm_conf_zone, F(zone), false},
    {"main", "file", ntm_conf_path, F(file), false},
    {"main", "text", ntm_conf_string, F(text), false},
    {"main", "port", ntm_conf_port, F(port), false},
    {"main", "number", ntm_conf_uint, F(number), false},
    {"main", "flag", ntm_conf_bool, F(flag), false},
    {"main", "key", ntm_conf_key32, F(key), false},
    {"other", "pool", ntm_conf_prefix, F(pool), false},
    {"other", "addrs", ntm_conf_addrs, F(addrs), false},
    {"other", "names", ntm_conf_strings, F(names), false},
    {"remote *", "endpoint", ntm_conf_addr, offsetof(struct remote, endpoint), true},
    {"remote *", "weight", ntm_conf_uint, offsetof(struct remote, weight), false},
};

static void *new_remote(void *conf, const char *kind, const char *name, char *why, size_t cap)
{
	struct conf *c = conf;

	cr_assert_str_eq(kind, "remote");
	if (!strcmp(name, "evil")) {
		snprintf(why, cap, "not this one");
		return NULL;
	}
	snprintf(c->remotes[c->n_remotes].name, sizeof(c->remotes[0].name), "%s", name);
	return &c->remotes[c->n_remotes++];
}

static char dir[] = "/tmp/ntm-conf-XXXXXX", path[64], err[512];
static struct conf c;

static void setup(void)
{
	cr_assert_not_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/t.conf", dir);
}

static void teardown(void)
{
	unlink(path);
	rmdir(dir);
	free(c.file);
	free(c.text);
	free(c.addrs.addrs);
	for (size_t i = 0; i < c.names.n; i++)
		free(c.names.items[i]);
	free(c.names.items);
}

TestSuite(conf, .init = setup, .fini = teardown);

static int load_bytes(const char *text, size_t len)
{
	FILE *f = fopen(path, "w");

	cr_assert(f && fwrite(text, 1, len, f) == len && fclose(f) == 0);
	err[0] = 0;
	return ntm_conf_load(path, keys, sizeof(keys) / sizeof(*keys), new_remote, &c, err, sizeof(err));
}

static int load(const char *text)
{
	return load_bytes(text, strlen(text));
}

/* `line` 0: no line is named. */
static void refuses(const char *text, unsigned line, const char *what)
{
	char want[600];

	if (line)
		snprintf(want, sizeof(want), "%s:%u: %s", path, line, what);
	else
		snprintf(want, sizeof(want), "%s: %s", path, what);
	cr_assert_eq(load(text), -EINVAL, "%s", text);
	cr_assert_str_eq(err, want);
}

Test(conf, everything)
{
	char want[64], a[NTM_ADDR_STRLEN];

	cr_assert_eq(load("\xef\xbb\xbf# comment\n"
			  "[ main ]\n"
			  "  label = Alice\n"
			  "\tzone=NTM.Example.\n"
			  "file = node.key ; inline\n"
			  "text = some words\n"
			  "port = 4680\r\n"
			  "number = 4294967295\n"
			  "flag = YES\n"
			  "key = q5LuaJkYUWj9zhh6dM6o0rMvUmTBQ7mHR/Q5aRXbP2o=\n"
			  "[remote   rs1] # a relay\n"
			  "endpoint = 192.0.2.20:4680\n"
			  "[other]\n"
			  "pool = 100.96.0.0/12\n"
			  "addrs = 192.0.2.1:1 , [2001:db8::1]:2\n"
			  "names = eth0,  wlan0\n"
			  "[remote rs2]\n"
			  "endpoint = 192.0.2.21:4680\n"
			  "weight = 3"),
		     0, "%s", err);
	cr_assert_str_eq(c.label, "alice");
	cr_assert_str_eq(c.zone, "ntm.example");
	snprintf(want, sizeof(want), "%s/node.key", dir);
	cr_assert_str_eq(c.file, want);
	cr_assert_str_eq(c.text, "some words");
	cr_assert(c.port == 4680 && c.number == 4294967295 && c.flag && c.key[0] == 0xab && c.pool.len == 108);
	cr_assert(c.addrs.n == 2 && c.names.n == 2 && c.n_remotes == 2);
	cr_assert_str_eq(ntm_addr_format(&c.addrs.addrs[1], a), "[2001:db8::1]:2");
	cr_assert_str_eq(c.names.items[1], "wlan0");
	cr_assert_str_eq(c.remotes[1].name, "rs2");
	cr_assert_str_eq(ntm_addr_format(&c.remotes[0].endpoint, a), "192.0.2.20:4680");
	cr_assert_eq(c.remotes[1].weight, 3);
}

Test(conf, structure)
{
	refuses("[main]\nlabel = a\n[nonsense]\n", 3, "unknown section [nonsense]");
	refuses("[main]\nlabel = a\n[nonsense]\nx = 1\n", 3, "unknown section [nonsense]");
	refuses("[main]\nlabel = a\nlabels = b\n", 3, "unknown key labels in [main]");
	refuses("[main]\nlabel = a\npool = 10.0.0.0/8\n", 3, "unknown key pool in [main]");
	refuses("[main]\nlabel = a\n\n\nlabel = b\n", 5, "label is given twice in [main]");
	refuses("[main]\nlabel = a\n[other]\n[main]\nlabel = b\n", 5, "label is given twice in [main]");
	refuses("label = a\n", 1, "label stands before the first [section]");
	refuses("[main]\nlabel = a\nwhat is this\n", 3, "neither [section] nor key = value");
	refuses("[main]\nwhat is this\nfoo = 1\n", 2, "neither [section] nor key = value");
	refuses("[main\nlabel = a\n", 1, "a section is one line, [NAME]");
	refuses("[main] label = a\n", 1, "a section is one line, [NAME]");
	refuses("[remote]\n", 1, "unknown section [remote]");
	refuses("[remote ]\n", 1, "unknown section [remote]");
	refuses("[remote evil]\n", 1, "section [remote evil]: not this one");
	refuses("[remote a]\nendpoint = 1.2.3.4:5\n[remote  a]\n", 3, "section [remote a] is there already, in line 1");
}

Test(conf, missing)
{
	refuses("", 0, "label is missing in [main]");
	refuses("[other]\npool = 10.0.0.0/8\n", 0, "label is missing in [main]");
	refuses("# x\n[main]\nport = 1\n", 2, "label is missing in [main]");
	refuses("[main]\nlabel = a\n[remote x]\nweight = 1\n", 3, "endpoint is missing in [remote x]");
	c.n_remotes = 0;
	refuses("[main]\nlabel = a\n[remote y]\n", 3, "endpoint is missing in [remote y]");
}

Test(conf, values)
{
	static const struct {
		const char *line, *why;
	} bad[] = {
	    {"port = 0", "port: not a port number, 1 to 65535"},
	    {"port = 65536", "port: not a port number, 1 to 65535"},
	    {"port = +1", "port: not a port number, 1 to 65535"},
	    {"port =", "port: not a port number, 1 to 65535"},
	    {"number = 4294967296", "number: not a number, 0 to 4294967295"},
	    {"number = 99999999999999999999999", "number: not a number, 0 to 4294967295"},
	    {"flag = maybe", "flag: neither yes nor no"},
	    {"text =", "text: empty"},
	    {"file =", "file: empty"},
	    {"key = q5LuaJkYUWj9zhh6dM6o0rMvUmTBQ7mHR/Q5aRXbP2o",
	     "key: not a key: 44 characters of base64, as `ntm pubkey` writes them"},
	    {"zone = a..b", "zone: not a domain name"},
	    {"zone = -a.b", "zone: not a domain name"},
	    {"zone = a_b.c", "zone: not a domain name"},
	    {"zone = .", "zone: not a domain name of 1 to 253 characters"},
	};
	char text[300];

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		snprintf(text, sizeof(text), "[main]\nlabel = a\n%s\n", bad[i].line);
		refuses(text, 3, bad[i].why);
	}
	refuses("[main]\nlabel = -a\n", 2, "label: not a name of 1 to 63 letters, digits and inner hyphens");
	refuses("[other]\npool = 10.0.0.1/8\n", 2, "pool: not a prefix, ADDRESS/LENGTH with zero host bits");
	refuses("[other]\naddrs = 1.2.3.4:5, 1.2.3.4\n", 2,
		"addrs: 1.2.3.4: not an address with port, 192.0.2.1:4680 or [2001:db8::1]:4680");
	refuses("[other]\nnames = a,,b\n", 2, "names: an empty item between commas");
	refuses("[other]\nnames = a,\n", 2, "names: an empty item between commas");
}

Test(conf, label_bounds)
{
	char label[70], out[64] = "kept", why[100];

	memset(label, 'a', sizeof(label));
	label[64] = 0;
	cr_assert_eq(ntm_conf_label(label, out, why, sizeof(why)), -EINVAL);
	cr_assert_str_eq(out, "kept");
	label[63] = 0;
	cr_assert_eq(ntm_conf_label(label, out, why, sizeof(why)), 0);
	cr_assert_str_eq(out, label);
}

Test(conf, lines)
{
	char text[1000] = "[main]\nlabel = a\ntext = ", section[400] = "[remote ";

	memset(text + strlen(text), 'x', 300);
	strcat(text, "\n");
	cr_assert_eq(load(text), -EINVAL);
	cr_assert_not_null(strstr(err, "t.conf:3: longer than "), "%s", err);

	cr_assert_eq(load_bytes("[main]\nlab\0el = a\n", 18), -EINVAL);
	cr_assert_not_null(strstr(err, ":2: a NUL byte"), "%s", err);

	/* A name that libinih alone would cut. */
	memset(section + strlen(section), 'n', 60);
	strcat(section, "]\nendpoint = 1.2.3.4:5\n[main]\nlabel = a\n#");
	memset(section + strlen(section), '.', 250);
	cr_assert_eq(load(section), 0, "%s", err);
	cr_assert_eq(strlen(c.remotes[0].name), 60);
}

Test(conf, unreadable)
{
	snprintf(path, sizeof(path), "%s/none.conf", dir);
	cr_assert_eq(ntm_conf_load(path, keys, 1, NULL, &c, err, sizeof(err)), -ENOENT);
	cr_assert_not_null(strstr(err, "none.conf: cannot open it: No such file"), "%s", err);
	cr_assert_eq(ntm_conf_load(dir, keys, 1, NULL, &c, err, sizeof(err)), -EISDIR);
	cr_assert_not_null(strstr(err, ": cannot read it: Is a directory"), "%s", err);
}
