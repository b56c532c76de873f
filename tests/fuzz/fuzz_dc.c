/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The DC, and members of its zone that say what they like. Input: steps of
 *   who (low 3 bits: alice, bob, carol, a relay, a stranger; else nobody) and how much later (next 3 bits)
 *   how: 1 what they can know is filled in, 2 by a new session, 4 from another port, 8 the datagram comes twice
 *   the message's length, big-endian, and the message
 * Each datagram is sealed and opened as always; sockets, handshakes and time are the harness's. Nobody learns what is
 * not theirs, and what the DC remembers stays bounded, agrees with itself, and is gone when all fall silent.
 */
#include <endian.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <ntm/wire.h>

#include "../../dc/clock.h"
#include "../../dc/dc.h"
#include "../../user/common/crypto.h"
#include "../../user/common/key_proof.h"
#include "../../user/common/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ALICE, BOB, CAROL, RELAY, STRANGER, PARTIES, WHO = 7, STEPS = 400, MONDAY = 1700000000 };
enum { FILL_IN = 1, NEW_SESSION = 2, MOVE = 4, TWICE = 8 };

static const unsigned later_ms[8] = {0, 10, 60, 500, 3000, 12000, 130000, 3700000};
static const char *const names[PARTIES] = {"alice", "bob", "carol", "rs1", "mallory"};

static struct party {
	uint8_t priv[2][NTM_DH_LEN], pub[2][NTM_DH_LEN];
	unsigned key; /* which of them it uses */
	struct ntm_session s;
	struct ntm_dc_route from;
	bool member;
	uint64_t path_id; /* the last that it heard of */
	struct ntm_path_ticket ticket;
	uint32_t asked; /* the DC's last request to it */
} parties[PARTIES];
static uint64_t sessions; /* made for this input */

static struct ntm_dc dc;
static uv_loop_t loop;
static struct ntm_dc_config conf;
static uint8_t dc_priv[NTM_DH_LEN], dc_pub[NTM_DH_LEN];
static struct ntm_addr listen_addr, relay_addrs[2];
static struct ntm_dc_remote relay_conf = {.name = (char *)"rs1"}, *relay_list[] = {&relay_conf};
static char dir[64], db[PATH_MAX], empty_db[1 << 20];
static size_t empty_len;
static struct ntm_store_ops ops; /* SQLite's, without its thread: the same input does the same */

static void require(int holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "fuzz_dc: %s\n", what);
	abort();
}

/* The time is what the input says, for the loop, the sessions and the store. */
static atomic_ullong elapsed_ms;

int clock_gettime(clockid_t id, struct timespec *ts)
{
	if (id != CLOCK_MONOTONIC && id != CLOCK_MONOTONIC_COARSE)
		return (int)syscall(SYS_clock_gettime, id, ts);
	ts->tv_sec = (time_t)(1000 + elapsed_ms / 1000);
	ts->tv_nsec = (long)(elapsed_ms % 1000 * 1000000);
	return 0;
}

struct timespec ntm_dc_wall(void)
{
	return (struct timespec){.tv_sec = MONDAY + (time_t)(elapsed_ms / 1000)};
}

/* No input is a handshake. */
int ntm_dc_responder_start(struct ntm_dc_responder **out, uv_loop_t *l, struct ntm_dc_kept *kept,
			   ntm_dc_handshake_done done, void *arg)
{
	(void)out, (void)l, (void)kept, (void)done, (void)arg;
	return 0;
}

void ntm_dc_responder_set_keys(struct ntm_dc_responder *r, const struct ntm_dc_identities *ids)
{
	(void)r, (void)ids;
}

int ntm_dc_responder_ask(struct ntm_dc_responder *r, const struct ntm_dc_handshake *h)
{
	(void)r, (void)h;
	return -1;
}

void ntm_dc_responder_stop(struct ntm_dc_responder *r)
{
	(void)r;
}

static bool holds_key_of(const uint8_t *text, size_t len, int who)
{
	return memmem(text, len, parties[who].pub[0], NTM_DH_LEN) || memmem(text, len, parties[who].pub[1], NTM_DH_LEN);
}

static void check_direction(int who, const struct ntm_sig *m)
{
	const struct ntm_dc_path *p = ntm_dc_path_by_id(&dc.paths, m->path_id);
	const struct ntm_dc_node *me = ntm_dc_node_by_key(&dc.nodes, parties[who].pub[parties[who].key]);
	size_t len = strcspn(m->name, ".");

	require(!p || !me || p->ends[0] == me || p->ends[1] == me, "a direction of others' path");
	require(!strcmp(m->name + len, ".ntm.example"), "a node of no zone");
	for (int i = 0; i < STRANGER; i++) {
		if (strlen(names[i]) == len && !memcmp(names[i], m->name, len))
			require(holds_key_of(m->public_key, NTM_DH_LEN, i), "another one's key under this name");
	}
	parties[who].path_id = m->path_id;
	require(m->n_tickets == 1 && be64toh(m->tickets[0].path_id) == m->path_id, "a path without a ticket");
	parties[who].ticket = m->tickets[0];
}

/* What the DC says to one of them. */
static void heard(int who, const uint8_t *text, size_t len)
{
	struct party *p = &parties[who];
	static struct ntm_sig m;

	require(!ntm_sig_decode(&m, text, len), "a message that nobody can read");
	if (who == ALICE || who == CAROL)
		require(!holds_key_of(text, len, ALICE + CAROL - who), "the policy forbids them to know each other");
	if (who != RELAY)
		require(m.msg != NTM_M_RELAY_DIRECTION && !ntm_sig_has(&m, NTM_F_RELAY_SECRET), "it is no relay");
	require(m.msg == NTM_M_ROUTE_DIRECTION || !ntm_sig_has(&m, NTM_F_PSK), "a key of no path");
	switch (m.msg) {
	case NTM_M_REGISTRATION_RESPONSE:
		p->member = true;
		break;
	case NTM_M_ROUTE_DIRECTION:
		p->asked = m.txid;
		check_direction(who, &m);
		break;
	case NTM_M_RELAY_DIRECTION:
	case NTM_M_RELEASE:
		p->asked = m.txid;
		p->path_id = m.path_id;
		break;
	case NTM_M_KEY_UPDATE_RESPONSE:
		require(holds_key_of(m.public_key, NTM_DH_LEN, who), "a key that nobody proved to have");
		p->key = memcmp(m.public_key, p->pub[0], NTM_DH_LEN) != 0;
		break;
	case NTM_M_KEEP_ALIVE_RESPONSE:
	case NTM_M_PATH_REPORT_RESPONSE:
	case NTM_M_ERROR:
		break;
	default:
		require(0, "not a message for a node");
	}
	require(p->member || m.msg == NTM_M_ERROR, "a stranger hears more than that it is one");
}

/* Session IDs say whose they are, and keys follow from them. */
static void make_session(uint64_t id, bool node, struct ntm_session *s)
{
	*s = (struct ntm_session){.local_id = id, .remote_id = id, .lifetime_s = NTM_DC_SESSION_LIFETIME_S};
	memcpy(node ? s->tx_key : s->rx_key, &id, sizeof(id));
	memcpy(node ? s->rx_key : s->tx_key, &id, sizeof(id));
	(node ? s->rx_key : s->tx_key)[NTM_KEY_LEN - 1] = 1;
	s->created_ms = ntm_dc_now(&dc);
}

int ntm_dc_net_open(struct ntm_dc_net **out, uv_loop_t *l, const struct ntm_addr *addrs, size_t n,
		    ntm_dc_receive receive, void *arg, char *why, size_t cap)
{
	(void)l, (void)addrs, (void)n, (void)receive, (void)arg, (void)why, (void)cap;
	*out = (struct ntm_dc_net *)&listen_addr; /* it is handed back only */
	return 0;
}

void ntm_dc_net_close(struct ntm_dc_net *net)
{
	(void)net;
}

const struct ntm_addr *ntm_dc_net_bound(const struct ntm_dc_net *net, uint16_t sock)
{
	(void)net, (void)sock;
	return &listen_addr;
}

const struct ntm_dc_net_stats *ntm_dc_net_stats(const struct ntm_dc_net *net)
{
	static const struct ntm_dc_net_stats none;

	(void)net;
	return &none;
}

int ntm_dc_net_route(const struct ntm_dc_net *net, const struct ntm_addr *peer, const struct ntm_addr *via,
		     struct ntm_dc_route *out)
{
	(void)net, (void)via;
	*out = (struct ntm_dc_route){.peer = *peer};
	return 0;
}

void ntm_dc_net_send(struct ntm_dc_net *net, const struct ntm_dc_route *to, const void *data, size_t len)
{
	uint8_t plain[NTM_SIGNAL_MAX];
	struct ntm_session s;
	struct ntm_hdr hdr;
	size_t n = 0;
	int who;

	(void)net;
	require(len >= sizeof(hdr) && len <= NTM_SIGNAL_MAX, "a datagram that no node takes");
	memcpy(&hdr, data, sizeof(hdr));
	who = (int)(be64toh(hdr.id) & WHO);
	make_session(be64toh(hdr.id), true, &s);
	require(who < PARTIES && !ntm_session_open(&s, data, len, plain, sizeof(plain), &n), "sealed for nobody");
	require(to->peer.ip[15] == parties[who].from.peer.ip[15], "sent to another one's address");
	heard(who, plain, n);
}

static void move(struct party *p)
{
	p->from.peer.port = htobe16((uint16_t)(be16toh(p->from.peer.port) + 1));
}

static void begin_session(int who)
{
	struct party *p = &parties[who];
	struct ntm_session theirs;
	uint64_t id = ++sessions << 8 | (uint64_t)who;

	make_session(id, true, &p->s);
	make_session(id, false, &theirs);
	memcpy(theirs.peer_key, p->pub[p->key], NTM_DH_LEN);
	require(ntm_dc_session_add(&dc.sessions, &theirs, &p->from, ntm_dc_now(&dc)) != NULL, "no session");
}

static void say(int who, unsigned how, const uint8_t *text, size_t len)
{
	struct party *p = &parties[who];
	uint8_t out[NTM_DC_DATAGRAM_MAX], copy[NTM_DC_DATAGRAM_MAX];
	size_t n;

	if (how & MOVE)
		move(p);
	if (how & NEW_SESSION || !ntm_dc_session_find(&dc.sessions, p->s.local_id))
		begin_session(who);
	if (ntm_session_seal(&p->s, text, len, out, sizeof(out), &n))
		return;
	for (int i = 0; i <= !!(how & TWICE); i++) {
		memcpy(copy, out, n);
		ntm_dc_receive_datagram(&dc, &p->from, copy, n);
	}
}

static void say_message(int who, const struct ntm_sig *m, unsigned how)
{
	uint8_t text[NTM_SIGNAL_MAX];
	size_t len;

	if (!ntm_sig_encode(m, text, sizeof(text), &len))
		say(who, how, text, len);
}

/* Random to all others, so no input can hold it: the path's ID and ticket, what is answered, the proof of a key. */
static void fill_in(const struct party *p, struct ntm_sig *m)
{
	unsigned other = !p->key;

	m->path_id = p->path_id;
	m->stale_path_id = p->path_id;
	if (m->msg == NTM_M_ROUTE_ACK || m->msg == NTM_M_RELAY_RESPONSE || m->msg == NTM_M_ERROR)
		m->txid = p->asked;
	/* its own, or another one's that it has got hold of */
	for (unsigned i = 0; i < m->n_tickets; i++)
		m->tickets[i] = parties[(m->txid + i) % PARTIES].ticket;
	if (m->msg == NTM_M_KEY_UPDATE_REQUEST) {
		memcpy(m->public_key, p->pub[other], NTM_DH_LEN);
		require(!ntm_key_proof(p->priv[other], dc_pub, p->pub[p->key], p->pub[other], m->key_proof),
			"no proof");
	}
}

static size_t count_fresh(void)
{
	const struct ntm_dc_path *p;
	size_t n = 0;

	TAILQ_FOREACH(p, &dc.paths.fresh, fresh_link)
	n++;
	return n;
}

static void check_node(void *arg, struct ntm_dc_node *n)
{
	(void)arg;
	require(n->n_candidates <= NTM_CANDIDATES_MAX && n->n_rtts <= NTM_DC_RTTS_MAX, "a node with too much of it");
	require(!n->session || (n->session->node == n && n->session->state == NTM_DC_BOUND), "a session of two nodes");
	require(n->budget <= 2000, "more new paths than anyone may ask for at once");
}

static void check_state(void)
{
	size_t nodes = dc.nodes.by_key.n, paths = dc.paths.by_id.n;

	require(nodes <= PARTIES && dc.nodes.by_label.n == nodes && dc.nodes.by_index.n == nodes, "too many nodes");
	require(dc.nodes.n_online <= nodes, "more online than there are");
	require(paths <= PARTIES * (PARTIES - 1) / 2 && dc.paths.by_pair.n == paths, "more than one path for a pair");
	require(count_fresh() <= paths, "keys of paths that are gone");
	require(dc.sessions.n[NTM_DC_PENDING] <= NTM_DC_PENDING_MAX, "too many sessions without a message");
	require(dc.sessions.n[NTM_DC_STRANGER] <= NTM_DC_STRANGERS_MAX, "too many sessions of strangers");
	require(dc.sessions.n[NTM_DC_BOUND] <= nodes, "more than one session for a node");
	require(dc.outbox.by_txid.n <= NTM_DC_OUTBOX_MAX, "too many requests under way");
	require(dc.behind->n_gone <= NTM_DC_RELEASES_MAX, "too many paths to be forgotten");
	require(dc.behind->n_taken <= NTM_DC_BATCH, "too many paths to be remembered");
	ntm_dc_nodes_each(&dc.nodes, check_node, NULL);
}

static void wait_ms(unsigned ms)
{
	elapsed_ms += ms;
	uv_run(&loop, UV_RUN_NOWAIT);
}

static void start_dc(void)
{
	char why[256];
	int fd = open(db, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	require(fd >= 0 && write(fd, empty_db, empty_len) == (ssize_t)empty_len, "no store");
	close(fd);
	require(!uv_loop_init(&loop), "no loop");
	require(!ntm_dc_start(&dc, &loop, &conf, dc_priv, dc_pub, why, sizeof(why)), "no DC");
}

static void stop_dc(void)
{
	ntm_dc_stop(&dc);
	uv_run(&loop, UV_RUN_DEFAULT);
	ntm_dc_free(&dc);
	require(!uv_loop_close(&loop), "a handle is left");
}

static void remove_files(void)
{
	unlink(db);
	unlink(conf.policy_file);
	rmdir(dir);
}

static void make_keys(void)
{
	for (int i = 0; i < PARTIES; i++) {
		for (int k = 0; k < 2; k++) {
			memset(parties[i].priv[k], 0x40 + 2 * i + k, NTM_DH_LEN);
			require(!ntm_x25519_public(parties[i].priv[k], parties[i].pub[k]), "no key");
		}
		parties[i].from.peer = listen_addr;
		parties[i].from.peer.ip[15] = (uint8_t)(10 + i);
	}
	memset(dc_priv, 0x3f, sizeof(dc_priv));
	require(!ntm_x25519_public(dc_priv, dc_pub), "no key");
	memcpy(relay_conf.keys.keys, parties[RELAY].pub, sizeof(parties[RELAY].pub));
	relay_conf.keys.n = 2;
	relay_conf.endpoints.addrs = relay_addrs;
	relay_conf.endpoints.n = 2;
	ntm_addr_parse("192.0.2.20:4680", 0, &relay_addrs[0]);
	ntm_addr_parse("[2001:db8::20]:4680", 0, &relay_addrs[1]);
	conf.relays.items = relay_list;
	conf.relays.n = 1;
}

/* A store with the three nodes, and a token that lets anybody in. */
static void make_store(void)
{
	static char policy[PATH_MAX];
	static const char text[] = "deny alice <-> carol\n";
	FILE *f;

	snprintf(dir, sizeof(dir), "%s/ntm-fuzz-dc-XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	require(mkdtemp(dir) != NULL, "no directory");
	snprintf(db, sizeof(db), "%s/dc.db", dir);
	snprintf(policy, sizeof(policy), "%s/policy", dir);
	conf.store_file = db;
	conf.policy_file = policy;
	atexit(remove_files);
	f = fopen(policy, "we");
	require(f && fputs(text, f) >= 0 && !fclose(f), "no policy");
	start_dc();
	for (int i = 0; i < RELAY; i++) {
		struct ntm_enrolment e = {names[i], parties[i].pub[0], names[i], conf.pool.last, MONDAY};
		struct ntm_node_record rec;
		const char *why;

		require(!dc.store->ops->token_create(dc.store, names[i], names[i], MONDAY, INT32_MAX), "no token");
		require(!dc.store->ops->enrol(dc.store, &e, &rec, &why), "not enrolled");
	}
	require(!dc.store->ops->token_create(dc.store, "open sesame", NULL, MONDAY, INT32_MAX), "no token");
	ops = *dc.store->ops;
	ops.save_begin = NULL;
	stop_dc();
	f = fopen(db, "re");
	empty_len = f ? fread(empty_db, 1, sizeof(empty_db), f) : 0;
	require(empty_len && empty_len < sizeof(empty_db) && !fclose(f), "no store");
}

static void once(void)
{
	char why[128];

	ntm_log_init("fuzz_dc", NTM_LOG_ERROR);
	require(!ntm_crypto_init(), "no cryptography");
	strcpy(conf.zone, "ntm.example");
	conf.cookie_threshold = 2000;
	conf.lifetime_s = 120;
	conf.keepalive_s = 15;
	conf.listen.addrs = &listen_addr;
	conf.listen.n = 1;
	ntm_addr_parse("198.51.100.1:4680", 0, &listen_addr);
	ntm_prefix_parse("100.96.0.0/28", &conf.vip4_pool);
	ntm_prefix_parse("fd4e:544d::/48", &conf.vip6_pool);
	require(!ntm_pool_init(&conf.pool, &conf.vip4_pool, &conf.vip6_pool, why, sizeof(why)), why);
	make_keys();
	make_store();
}

/* The three and the relay register, as they should. */
static void begin(void)
{
	struct ntm_sig m;

	sessions = 0;
	elapsed_ms = 0;
	start_dc();
	require(dc.store->ops->save_begin != NULL, "a store without a thread");
	dc.store->ops = &ops;
	for (int i = 0; i < PARTIES; i++) {
		struct party *p = &parties[i];

		p->key = 0;
		p->member = false;
		p->path_id = p->asked = 0;
		p->ticket = (struct ntm_path_ticket){0};
		p->from.peer.port = listen_addr.port;
		begin_session(i);
		if (i == STRANGER)
			continue;
		ntm_sig_init(&m, NTM_M_REGISTRATION_REQUEST, 1);
		strcpy(m.name, names[i]);
		m.candidates[0] = (struct ntm_candidate){.addr = p->from.peer, .kind = NTM_CAND_HOST};
		m.n_candidates = 1;
		m.load = (struct ntm_load){.paths_max = 1000, .flags = NTM_LOAD_GATEWAY};
		m.have =
		    NTM_SIG_BIT(NTM_F_NAME) | NTM_SIG_BIT(NTM_F_CANDIDATE) | (i == RELAY ? NTM_SIG_BIT(NTM_F_LOAD) : 0);
		say_message(i, &m, 0);
		require(p->member, "not registered");
	}
}

/* Nobody says anything any more. */
static void end(void)
{
	for (int i = 0; i < 20; i++) /* a copy each time; of the next request, if a relay is silent */
		wait_ms(500);
	require(!dc.outbox.by_txid.n, "requests that are repeated for ever");
	wait_ms(61000);
	wait_ms(1000); /* releases at relays */
	require(!count_fresh() && !dc.n_retired, "keys, or former paths, are kept for ever");
	wait_ms(130000);
	require(!dc.nodes.n_online, "silent nodes that are online");
	wait_ms(3700000);
	for (int i = 0; i < NTM_DC_SESSION_STATES; i++)
		require(!dc.sessions.n[i], "sessions without an end");
	check_state();
	stop_dc();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct ntm_sig m;
	unsigned who, how, step;
	size_t len;

	if (!empty_len)
		once();
	begin();
	for (step = 0; size >= 4 && step < STEPS; step++) {
		who = data[0] & WHO;
		wait_ms(later_ms[data[0] >> 3 & 7]);
		how = data[1];
		len = (size_t)(data[2] << 8 | data[3]);
		data += 4, size -= 4;
		if (len > size)
			len = size;
		if (len > NTM_DC_DATAGRAM_MAX - sizeof(struct ntm_hdr) - NTM_TAG_LEN)
			len = NTM_DC_DATAGRAM_MAX - sizeof(struct ntm_hdr) - NTM_TAG_LEN;
		if (who < PARTIES && how & FILL_IN && !ntm_sig_decode(&m, data, len)) {
			fill_in(&parties[who], &m);
			say_message((int)who, &m, how);
		} else if (who < PARTIES) {
			say((int)who, how, data, len);
		}
		check_state();
		data += len, size -= len;
	}
	end();
	return 0;
}
