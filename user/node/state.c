/* SPDX-License-Identifier: BSD-2-Clause */
#include "state.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <json-c/json.h>

#include "node.h"

enum { PEERS_MAX = 1 << 20, BUCKETS = 4096 };

struct peer {
	uint64_t path_id;
	uint32_t older; /* index + 1 of the entry before it in its bucket */
	char name[NTM_NAME_MAX + 1];
};

struct ntm_state {
	char *json_path, *json_tmp, *peers_path, *peers_tmp;
	struct ntm_identity id;
	struct peer *peers; /* in order of arrival: the last of an ID counts */
	size_t n, cap;
	uint32_t newest[BUCKETS]; /* index + 1 */
	FILE *append;
};

static int remember(struct ntm_state *s, uint64_t path_id, const char *name)
{
	if (s->n == s->cap) {
		size_t cap = s->cap ? 2 * s->cap : 64;
		struct peer *grown = cap > PEERS_MAX ? NULL : realloc(s->peers, cap * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		s->peers = grown;
		s->cap = cap;
	}
	s->peers[s->n].path_id = path_id;
	s->peers[s->n].older = s->newest[path_id % BUCKETS];
	snprintf(s->peers[s->n].name, sizeof(s->peers[s->n].name), "%s", name);
	s->newest[path_id % BUCKETS] = (uint32_t)++s->n;
	return 0;
}

static bool get_text(json_object *root, const char *key, char *out, size_t cap)
{
	json_object *v;
	const char *text;

	if (!json_object_object_get_ex(root, key, &v) || !json_object_is_type(v, json_type_string))
		return false;
	text = json_object_get_string(v);
	if (!text[0] || strlen(text) >= cap)
		return false;
	snprintf(out, cap, "%s", text);
	return true;
}

static bool read_zones(json_object *root, struct ntm_identity *id)
{
	json_object *list, *o;
	char text[64];

	if (!json_object_object_get_ex(root, "peer_zones", &list))
		return true;
	if (!json_object_is_type(list, json_type_array) || json_object_array_length(list) > NTM_PEER_POOLS)
		return false;
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		o = json_object_array_get_idx(list, i);
		if (!json_object_is_type(o, json_type_object) ||
		    !get_text(o, "zone", id->peer_zones[i], sizeof(id->peer_zones[i])) ||
		    !get_text(o, "pool4", text, sizeof(text)) || ntm_prefix_parse(text, &id->addrs.peers[i].pool4) ||
		    !get_text(o, "pool6", text, sizeof(text)) || ntm_prefix_parse(text, &id->addrs.peers[i].pool6))
			return false;
		id->addrs.n_peers++;
	}
	return true;
}

static bool read_identity(json_object *root, struct ntm_identity *id)
{
	char text[64];
	uint8_t ip[16];

	if (!json_object_is_type(root, json_type_object) || !get_text(root, "name", id->fqdn, sizeof(id->fqdn)) ||
	    !get_text(root, "zone", id->zone, sizeof(id->zone)))
		return false;
	if (!get_text(root, "vip4", text, sizeof(text)) || ntm_ip_parse(text, ip) || !ntm_ip_is_v4(ip))
		return false;
	memcpy(id->addrs.vip4, ip + 12, 4);
	if (!get_text(root, "vip6", text, sizeof(text)) || ntm_ip_parse(text, id->addrs.vip6))
		return false;
	if (!get_text(root, "pool4", text, sizeof(text)) || ntm_prefix_parse(text, &id->addrs.pool4))
		return false;
	if (!get_text(root, "pool6", text, sizeof(text)) || ntm_prefix_parse(text, &id->addrs.pool6))
		return false;
	id->known = true;
	return read_zones(root, id);
}

static void read_json(struct ntm_state *s)
{
	struct ntm_identity id = {0};
	json_object *root;

	if (access(s->json_path, F_OK))
		return;
	root = json_object_from_file(s->json_path);
	if (root && read_identity(root, &id))
		s->id = id;
	else
		ntm_warn("%s is damaged, ignored", s->json_path);
	json_object_put(root);
}

static void read_peers(struct ntm_state *s)
{
	char line[NTM_NAME_MAX + 32], name[NTM_NAME_MAX + 1];
	FILE *f = fopen(s->peers_path, "re");
	unsigned bad = 0;
	uint64_t id;

	if (!f)
		return;
	while (fgets(line, sizeof(line), f)) {
		int end = 0;

		if (sscanf(line, "%16" SCNx64 " %253[^ \n]%n", &id, name, &end) != 2 || line[end] != '\n' || !id) {
			bad++;
			continue;
		}
		if (remember(s, id, name))
			break;
	}
	fclose(f);
	if (bad)
		ntm_warn("%s: %u damaged lines ignored", s->peers_path, bad);
}

static int join(char **out, const char *dir, const char *name)
{
	return asprintf(out, "%s/%s", dir, name) < 0 ? -ENOMEM : 0;
}

int ntm_state_open(struct ntm_state **out, const char *runtime_dir)
{
	struct ntm_state *s = calloc(1, sizeof(*s));
	int err = s ? 0 : -ENOMEM;

	if (!err && mkdir(runtime_dir, 0755) && errno != EEXIST)
		err = -errno;
	if (!err)
		err = join(&s->json_path, runtime_dir, "state.json");
	if (!err)
		err = join(&s->json_tmp, runtime_dir, "state.json.new");
	if (!err)
		err = join(&s->peers_path, runtime_dir, "peers");
	if (!err)
		err = join(&s->peers_tmp, runtime_dir, "peers.new");
	if (err) {
		ntm_state_close(s);
		return err;
	}
	read_json(s);
	read_peers(s);
	*out = s;
	return 0;
}

void ntm_state_close(struct ntm_state *s)
{
	if (!s)
		return;
	if (s->append)
		fclose(s->append);
	free(s->json_path);
	free(s->json_tmp);
	free(s->peers_path);
	free(s->peers_tmp);
	free(s->peers);
	free(s);
}

int ntm_state_get_identity(const struct ntm_state *s, struct ntm_identity *id)
{
	if (!s->id.known)
		return -ENOENT;
	*id = s->id;
	return 0;
}

static FILE *create(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "w");

	if (!f && fd >= 0)
		close(fd);
	return f;
}

/* Closes f and moves it into place; the old file stays if anything failed. */
static int replace(FILE *f, int err, const char *tmp, const char *path)
{
	if (ferror(f) && !err)
		err = -EIO;
	if (fclose(f) && !err)
		err = -errno;
	if (!err && rename(tmp, path))
		err = -errno;
	if (err)
		unlink(tmp);
	return err;
}

static void add(json_object *o, const char *key, const char *value)
{
	json_object_object_add(o, key, json_object_new_string(value));
}

static void add_zones(json_object *o, const struct ntm_identity *id)
{
	json_object *list = id->addrs.n_peers ? json_object_new_array() : NULL, *z;
	char text[NTM_ADDR_STRLEN];

	for (unsigned i = 0; list && i < id->addrs.n_peers; i++) {
		z = json_object_new_object();
		if (!z)
			break;
		add(z, "zone", id->peer_zones[i]);
		add(z, "pool4", ntm_prefix_format(&id->addrs.peers[i].pool4, text));
		add(z, "pool6", ntm_prefix_format(&id->addrs.peers[i].pool6, text));
		json_object_array_add(list, z);
	}
	if (list)
		json_object_object_add(o, "peer_zones", list);
}

int ntm_state_set_identity(struct ntm_state *s, const struct ntm_identity *id)
{
	char text[NTM_ADDR_STRLEN];
	json_object *o;
	uint8_t v4[16];
	FILE *f;
	int err = 0;

	if (s->id.known && !strcmp(s->id.fqdn, id->fqdn) && !strcmp(s->id.zone, id->zone) &&
	    !memcmp(&s->id.addrs, &id->addrs, sizeof(id->addrs)) &&
	    !memcmp(s->id.peer_zones, id->peer_zones, sizeof(id->peer_zones)))
		return 0;
	f = create(s->json_tmp);
	if (!f)
		return -errno;
	o = json_object_new_object();
	if (!o) {
		err = -ENOMEM;
	} else {
		add(o, "name", id->fqdn);
		add(o, "zone", id->zone);
		ntm_ip_from_v4(v4, id->addrs.vip4);
		add(o, "vip4", ntm_ip_format(v4, text));
		add(o, "vip6", ntm_ip_format(id->addrs.vip6, text));
		add(o, "pool4", ntm_prefix_format(&id->addrs.pool4, text));
		add(o, "pool6", ntm_prefix_format(&id->addrs.pool6, text));
		add_zones(o, id);
		fprintf(f, "%s\n", json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY));
		json_object_put(o);
	}
	err = replace(f, err, s->json_tmp, s->json_path);
	if (!err)
		s->id = *id;
	return err;
}

const char *ntm_state_peer_name(const struct ntm_state *s, uint64_t path_id)
{
	for (uint32_t i = s->newest[path_id % BUCKETS]; i; i = s->peers[i - 1].older)
		if (s->peers[i - 1].path_id == path_id)
			return s->peers[i - 1].name;
	return "";
}

size_t ntm_state_peers(const struct ntm_state *s)
{
	return s->n;
}

int ntm_state_add_peer(struct ntm_state *s, uint64_t path_id, const char *name)
{
	int err;

	if (!name[0] || !strcmp(ntm_state_peer_name(s, path_id), name))
		return 0;
	err = remember(s, path_id, name);
	if (err)
		return err;
	if (!s->append)
		s->append = fopen(s->peers_path, "ae");
	if (!s->append)
		return -errno;
	fprintf(s->append, "%016" PRIx64 " %s\n", path_id, name);
	return fflush(s->append) ? -errno : 0;
}

int ntm_state_compact(struct ntm_state *s, bool (*keep)(void *arg, uint64_t path_id), void *arg)
{
	FILE *f = create(s->peers_tmp);
	size_t n = s->n;
	int err = 0;

	if (!f)
		return -errno;
	s->n = 0;
	memset(s->newest, 0, sizeof(s->newest));
	for (size_t i = 0; i < n; i++) {
		struct peer p = s->peers[i];

		if (!keep(arg, p.path_id))
			continue;
		fprintf(f, "%016" PRIx64 " %s\n", p.path_id, p.name);
		err = remember(s, p.path_id, p.name); /* never more than there were */
	}
	err = replace(f, err, s->peers_tmp, s->peers_path);
	/* The stream would go on writing to the file that was replaced. */
	if (s->append) {
		fclose(s->append);
		s->append = NULL;
	}
	return err;
}
