/* SPDX-License-Identifier: BSD-2-Clause */
/* What a simulated node says and how it takes the DC's answers. */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../../user/common/crypto.h"
#include "dcload.h"
#include "dcload_clients.h"
#include "dcload_net.h"

/* Session IDs are random: they are their own hash. Entries of sessions that are over stay, unused. */
enum { ID_SLOTS = 1 << 19 };
static struct id_slot {
	uint64_t id;
	struct sim_node *node;
} ids[ID_SLOTS];

static struct sim_node *find_id(uint64_t id)
{
	for (uint64_t i = id;; i++) {
		struct id_slot *slot = &ids[i % ID_SLOTS];

		if (!slot->id || slot->id == id)
			return slot->node;
	}
}

static int add_id(uint64_t id, struct sim_node *node)
{
	for (uint64_t i = 0; i < ID_SLOTS; i++) {
		struct id_slot *slot = &ids[(id + i) % ID_SLOTS];

		if (!slot->id) {
			*slot = (struct id_slot){id, node};
			return 0;
		}
	}
	return -ENOSPC;
}

uint64_t sim_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

int sim_keys(unsigned i, uint8_t priv[NTM_DH_LEN], uint8_t pub[NTM_DH_LEN])
{
	struct ntm_iov v[] = {{"dcload node", 11}, {&i, sizeof(i)}};
	int err = ntm_hash(priv, v, 2);

	return err ? err : ntm_x25519_public(priv, pub);
}

int sim_open(struct sim *s, const struct ntm_addr *dc, const uint8_t dc_pub[NTM_DH_LEN], unsigned total)
{
	int err;

	memset(s, 0, sizeof(*s));
	TAILQ_INIT(&s->flight);
	memcpy(s->dc_pub, dc_pub, NTM_DH_LEN);
	s->total = total;
	s->seed = 1;
	s->next_txid = 0x80000000;
	s->nodes = calloc(total, sizeof(*s->nodes));
	if (!s->nodes)
		return -ENOMEM;
	err = ntm_cookie_client_init(&s->cookies, dc_pub);
	for (int i = 0; !err && i < SOCKETS; i++)
		err = sim_socket(&s->fd[i], dc);
	for (unsigned i = 0; !err && i < total; i++)
		err = sim_keys(i, s->nodes[i].priv, s->nodes[i].pub);
	return err;
}

void sim_close(struct sim *s)
{
	for (int i = 0; i < SOCKETS; i++)
		close(s->fd[i]);
	for (unsigned i = 0; i < s->total; i++)
		free(s->nodes[i].hs);
	free(s->nodes);
}

static unsigned draw(struct sim *s)
{
	s->seed = s->seed * 6364136223846793005 + 1442695040888963407; /* Knuth's MMIX */
	return (unsigned)(s->seed >> 33) % s->n;
}

struct sim_node *sim_idle_node(struct sim *s)
{
	for (int i = 0; i < 64; i++) {
		struct sim_node *node = &s->nodes[draw(s)];

		if (node->up && !node->busy)
			return node;
	}
	return NULL;
}

static int send_message(struct sim *s, struct sim_node *node, const struct ntm_sig *m)
{
	uint8_t plain[NTM_SIGNAL_MAX], data[NTM_SIGNAL_MAX];
	size_t len;
	int err = ntm_sig_encode(m, plain, sizeof(plain) - sizeof(struct ntm_hdr) - NTM_TAG_LEN, &len);

	if (!err)
		err = ntm_session_seal(&node->keys, plain, len, data, sizeof(data), &len);
	if (!err)
		sim_queue(s, node->sock, data, len);
	return err;
}

/* As an agent with one interface registers: two host candidates, the MTU of its uplink. */
static int send_registration(struct sim *s, struct sim_node *node)
{
	static struct ntm_sig m;
	unsigned i = (unsigned)(node - s->nodes);

	ntm_sig_init(&m, NTM_M_REGISTRATION_REQUEST, node->txid);
	snprintf(m.name, sizeof(m.name), "n%u", i);
	ntm_addr_parse("192.0.2.1:4680", 0, &m.candidates[0].addr);
	ntm_addr_parse("[2001:db8::1]:4680", 0, &m.candidates[1].addr);
	m.candidates[0].addr.ip[15] = m.candidates[1].addr.ip[15] = (uint8_t)(1 + i % 250);
	m.candidates[0].kind = m.candidates[1].kind = NTM_CAND_HOST;
	m.n_candidates = 2;
	m.mtu = 1500;
	m.have = 1u << NTM_F_NAME | 1u << NTM_F_CANDIDATE | 1u << NTM_F_MTU;
	return send_message(s, node, &m);
}

static int send_direction(struct sim *s, struct sim_node *node)
{
	static struct ntm_sig m;
	unsigned other;

	do /* run() sees to it that more than one is up */
		other = draw(s);
	while (&s->nodes[other] == node || !s->nodes[other].up);
	ntm_sig_init(&m, NTM_M_DIRECTION_REQUEST, node->txid);
	snprintf(m.name, sizeof(m.name), "n%u", other);
	m.have = 1u << NTM_F_NAME;
	return send_message(s, node, &m);
}

int sim_prepare(struct sim *s, struct sim_node *node)
{
	int err;

	free(node->hs);
	node->hs = malloc(sizeof(*node->hs));
	if (!node->hs)
		return -ENOMEM;
	err = ntm_session_begin(&node->hs->st, node->priv, node->pub, s->dc_pub, &s->cookies, sim_now() / 1000000);
	if (!err)
		err = add_id(node->hs->st.local_id, node);
	node->answered = false;
	node->prepared = !err;
	return err;
}

static int send_init(struct sim *s, struct sim_node *node)
{
	int err = node->prepared ? 0 : sim_prepare(s, node);

	if (!err)
		sim_queue(s, node->sock, &node->hs->st.msg, sizeof(node->hs->st.msg));
	node->prepared = false;
	return err;
}

int sim_begin(struct sim *s, struct sim_node *node, enum op op, uint64_t due_ns)
{
	int err;

	node->op = op;
	node->txid = s->next_txid++;
	node->due_ns = due_ns;
	node->sent_ns = sim_now();
	node->own_ns = 0;
	switch (op) {
	case OP_SESSION:
	case OP_HANDSHAKE:
		err = send_init(s, node);
		break;
	case OP_FIRST:
		err = send_registration(s, node);
		break;
	case OP_REGISTER:
		node->sock = (uint8_t)((node->sock + 1) % SOCKETS);
		err = send_registration(s, node);
		break;
	default:
		err = send_direction(s, node);
	}
	if (err)
		return err;
	node->busy = true;
	TAILQ_INSERT_TAIL(&s->flight, node, link);
	s->in_flight++;
	return 0;
}

static void end(struct sim *s, struct sim_node *node)
{
	TAILQ_REMOVE(&s->flight, node, link);
	s->in_flight--;
	node->busy = false;
}

static void done(struct sim *s, struct sim_node *node)
{
	if (s->latency && s->done < s->latency_cap)
		s->latency[s->done] = (struct sim_latency){
		    .due_ns = node->due_ns,
		    .came_ns = s->arrived_ns,
		    .ns = s->arrived_ns - node->due_ns - node->own_ns,
		};
	s->done++;
	end(s, node);
}

static void on_response(struct sim *s, struct sim_node *node, const uint8_t *data, size_t len)
{
	if (!node->busy || node->answered || len != sizeof(node->hs->resp))
		return;
	memcpy(&node->hs->resp, data, len);
	node->answered = true;
	node->answered_ns = s->arrived_ns;
	if (node->op == OP_HANDSHAKE) {
		end(s, node);
		return;
	}
	node->away = true;
	clients_ask(node);
}

/* The node has its keys, or there was no answer to OP_HANDSHAKE or a wrong one. */
static void take_keys(struct sim *s, struct sim_node *node)
{
	struct sim_handshake *hs = node->hs;

	node->away = false;
	node->up = !hs->err;
	node->keys = hs->keys;
	if (hs->err && !s->failed++)
		fprintf(stderr, "dcload: the answer to a handshake: %s\n", strerror(-hs->err));
	free(hs);
	node->hs = NULL;
}

void sim_finished(struct sim *s)
{
	struct sim_node *node;

	while ((node = clients_finished())) {
		take_keys(s, node);
		if (!node->busy || node->op != OP_SESSION)
			continue;
		if (!node->up || send_registration(s, node)) {
			s->failed += node->up;
			end(s, node);
			continue;
		}
		sim_flush(s);
		node->own_ns = sim_now() - node->answered_ns;
	}
}

void sim_finish(struct sim *s, unsigned from, unsigned to)
{
	unsigned n = 0;

	for (unsigned i = from; i < to; i++) {
		if (!s->nodes[i].answered || !s->nodes[i].hs)
			continue;
		clients_ask(&s->nodes[i]);
		n++;
	}
	while (n) {
		struct sim_node *node = clients_finished();

		if (node) {
			take_keys(s, node);
			n--;
		} else {
			clients_wait();
		}
	}
}

static void on_signal(struct sim *s, struct sim_node *node, const uint8_t *data, size_t len)
{
	static struct ntm_sig m, ack;
	uint8_t plain[NTM_SIGNAL_MAX];

	if (!node->up || ntm_session_open(&node->keys, data, len, plain, sizeof(plain), &len) ||
	    ntm_sig_decode(&m, plain, len))
		return;
	if (node->busy && m.txid == node->txid) {
		enum ntm_msg want = node->op == OP_DIRECT ? NTM_M_ROUTE_DIRECTION : NTM_M_REGISTRATION_RESPONSE;

		if (m.msg == want) {
			done(s, node);
			return;
		}
		if (!s->failed++)
			fprintf(stderr, "dcload: answered by %s %s\n", ntm_msg_name(m.msg), m.error_text);
		end(s, node);
	} else if (m.msg == NTM_M_ROUTE_DIRECTION) {
		ntm_sig_init(&ack, NTM_M_ROUTE_ACK, m.txid);
		ack.path_id = m.path_id;
		ack.have = 1u << NTM_F_PATH_ID;
		if (send_message(s, node, &ack))
			s->failed++;
	}
}

void sim_take(struct sim *s, const uint8_t *data, size_t len)
{
	const struct ntm_hdr *hdr = (const void *)data;
	struct sim_node *node;

	if (len < sizeof(*hdr))
		return;
	node = find_id(be64toh(hdr->id));
	if (node && ntm_hdr_type(hdr) == NTM_T_SESSION_RESP)
		on_response(s, node, data, len);
	else if (node && ntm_hdr_type(hdr) == NTM_T_SIGNAL)
		on_signal(s, node, data, len);
}

void sim_expire(struct sim *s)
{
	uint64_t now = sim_now();
	struct sim_node *node;

	while ((node = TAILQ_FIRST(&s->flight)) && !node->away && now - node->sent_ns >= LOST_NS) {
		s->lost++;
		end(s, node);
	}
}
