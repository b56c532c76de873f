/* SPDX-License-Identifier: BSD-2-Clause */
/* Keys that change: a node's, a relay's, the DC's own. */
#include "../harness/dc_rig.h"

#include "../../user/common/key_proof.h"
#include "../../user/common/keystore.h"
#include "../../user/common/relay_crypto.h"

TestSuite(rekey, .init = setup, .fini = teardown, .timeout = 30);

struct key {
	uint8_t priv[NTM_DH_LEN], pub[NTM_DH_LEN];
};

static struct key make_key(void)
{
	struct key k;

	cr_assert_eq(ntm_x25519_generate(k.priv, k.pub), 0);
	return k;
}

static struct ntm_sig update_as(struct testnode *t, const struct key *announced, const struct key *proven)
{
	struct ntm_sig m, answer;

	testnode_request(t, &m, NTM_M_KEY_UPDATE_REQUEST);
	memcpy(m.public_key, announced->pub, NTM_DH_LEN);
	cr_assert_eq(ntm_key_proof(proven->priv, t->dc_pub, t->pub, announced->pub, m.key_proof), 0);
	m.have = NTM_SIG_BIT(NTM_F_PUBLIC_KEY) | NTM_SIG_BIT(NTM_F_KEY_PROOF);
	cr_assert_eq(testnode_ask(t, &m, &answer), 0);
	return answer;
}

static struct ntm_sig update(struct testnode *t, const struct key *k)
{
	return update_as(t, k, k);
}

static void use(struct testnode *t, const struct key *k)
{
	memcpy(t->priv, k->priv, NTM_DH_LEN);
	memcpy(t->pub, k->pub, NTM_DH_LEN);
	cr_assert_eq(testnode_connect(t), 0);
}

Test(rekey, a_node_goes_over_to_a_new_key)
{
	struct key was, now = make_key();
	struct testnode a, b;
	struct ntm_sig first = join(&a, "alice"), r, d;

	join(&b, "bob");
	memcpy(was.priv, a.priv, NTM_DH_LEN);
	memcpy(was.pub, a.pub, NTM_DH_LEN);
	r = update(&a, &now);
	cr_assert_eq(r.msg, NTM_M_KEY_UPDATE_RESPONSE, "%s", r.error_text);
	cr_assert_arr_eq(r.public_key, now.pub, NTM_DH_LEN);
	cr_assert_eq(dc.counters.key_changes, 1);
	r = update(&a, &now);
	cr_assert_eq(r.msg, NTM_M_KEY_UPDATE_RESPONSE, "the same again is no error");
	cr_assert_eq(dc.counters.key_changes, 1);
	/* the running session stays, and others hear of the new key */
	cr_assert_eq(testnode_register(&a, "alice", NULL, &r), 0);
	cr_assert_eq(r.msg, NTM_M_REGISTRATION_RESPONSE, "%s", r.error_text);
	cr_assert_eq(testnode_direct(&b, "alice", &d), 0);
	cr_assert_arr_eq(d.public_key, now.pub, NTM_DH_LEN);
	await_direction(&a);
	use(&a, &now);
	cr_assert_eq(testnode_register(&a, "alice", NULL, &r), 0);
	cr_assert_eq(r.msg, NTM_M_REGISTRATION_RESPONSE, "%s", r.error_text);
	cr_assert_arr_eq(r.vip6, first.vip6, 16);
	/* the former key is nobody's */
	use(&a, &was);
	cr_assert_eq(testnode_register(&a, "alice", NULL, &r), 0);
	expect_error(&r, NTM_E_BAD_TOKEN);
	/* also after a restart */
	stop_dc();
	start_dc();
	use(&a, &now);
	cr_assert_eq(testnode_register(&a, "alice", NULL, &r), 0);
	cr_assert_arr_eq(r.vip6, first.vip6, 16);
	testnode_close(&a);
	testnode_close(&b);
}

Test(rekey, only_who_has_the_new_key_and_a_free_one)
{
	struct key now = make_key(), other = make_key(), bobs, again = make_key();
	struct testnode a, b, rs;
	struct ntm_sig m, r;

	join(&a, "alice");
	join(&b, "bob");
	join_relay(&rs, "rs1", 0);
	memcpy(bobs.priv, b.priv, NTM_DH_LEN);
	memcpy(bobs.pub, b.pub, NTM_DH_LEN);
	testnode_request(&a, &m, NTM_M_KEY_UPDATE_REQUEST);
	memcpy(m.public_key, now.pub, NTM_DH_LEN);
	m.have = NTM_SIG_BIT(NTM_F_PUBLIC_KEY);
	cr_assert_eq(testnode_ask(&a, &m, &r), 0);
	expect_error(&r, NTM_E_MALFORMED);
	r = update_as(&a, &now, &other);
	expect_error(&r, NTM_E_DENIED);
	r = update(&a, &bobs);
	expect_error(&r, NTM_E_NAME_TAKEN);
	memcpy(other.priv, rs.priv, NTM_DH_LEN);
	memcpy(other.pub, rs.pub, NTM_DH_LEN);
	r = update(&a, &other);
	expect_error(&r, NTM_E_NAME_TAKEN);
	cr_assert_eq(dc.counters.key_changes, 0);
	r = update(&a, &now);
	cr_assert_eq(r.msg, NTM_M_KEY_UPDATE_RESPONSE, "%s", r.error_text);
	memcpy(a.pub, now.pub, NTM_DH_LEN);
	r = update(&a, &again);
	expect_error(&r, NTM_E_BUSY);
	ntm_dc_node_by_label(&dc.nodes, "alice")->rekeyed_ms -= 1000;
	r = update(&a, &again);
	cr_assert_eq(r.msg, NTM_M_KEY_UPDATE_RESPONSE, "%s", r.error_text);
	testnode_close(&a);
	testnode_close(&b);
	testnode_close(&rs);
}

static void pin(const struct key *k)
{
	memcpy(relay_conf[0].keys.keys[relay_conf[0].keys.n++], k->pub, NTM_DH_LEN);
	cr_assert_eq(ntm_dc_relays_apply(&dc, &conf.relays), 0);
}

Test(rekey, a_relay_needs_its_new_key_in_the_configuration)
{
	struct key now = make_key();
	struct testnode rs, a;
	struct ntm_sig r, offer;
	uint8_t secret[NTM_KEY_LEN];
	uint64_t id;

	join_relay(&rs, "rs1", 0);
	join(&a, "alice");
	r = update(&rs, &now);
	expect_error(&r, NTM_E_DENIED);
	pin(&now);
	r = update(&rs, &now);
	cr_assert_eq(r.msg, NTM_M_KEY_UPDATE_RESPONSE, "%s", r.error_text);
	use(&rs, &now);
	r = register_relay(&rs, "rs1", 0);
	cr_assert_eq(r.msg, NTM_M_REGISTRATION_RESPONSE, "%s", r.error_text);
	cr_assert_eq(ntm_probe_secret(dc_priv, now.pub, secret), 0);
	cr_assert_arr_eq(r.relay_secret, secret, sizeof(secret));
	cr_assert_eq(dc.relays.n, 1);
	cr_assert_eq(dc.relays.items[0]->state, NTM_DC_RELAY_READY);
	/* nodes are told how to probe it now */
	cr_assert_eq(keep_alive(&a, &offer), 0);
	cr_assert_eq(offer.n_offers, 1);
	cr_assert_eq(ntm_probe_id(secret, a.pub, &id), 0);
	cr_assert_eq(offer.offers[0].probe_id, id);
	/* the former key goes from the configuration: nothing happens to the relay */
	memcpy(relay_conf[0].keys.keys[0], now.pub, NTM_DH_LEN);
	relay_conf[0].keys.n = 1;
	cr_assert_eq(ntm_dc_relays_apply(&dc, &conf.relays), 0);
	cr_assert_eq(dc.relays.items[0]->state, NTM_DC_RELAY_READY);
	stop_dc();
	start_dc();
	cr_assert_eq(dc.relays.n, 1);
	cr_assert_arr_eq(dc.relays.items[0]->public_key, now.pub, NTM_DH_LEN);
	testnode_close(&rs);
	testnode_close(&a);
}

/* Its key file was replaced, and it was started again. */
Test(rekey, a_relay_comes_with_its_other_key)
{
	struct key now = make_key();
	struct testnode rs;
	struct ntm_sig first = join_relay(&rs, "rs1", 0), r;

	pin(&now);
	use(&rs, &now);
	r = register_relay(&rs, "rs1", 0);
	cr_assert_eq(r.msg, NTM_M_REGISTRATION_RESPONSE, "%s", r.error_text);
	cr_assert_arr_eq(r.vip6, first.vip6, 16, "it is the same node");
	cr_assert_eq(dc.counters.key_changes, 1);
	cr_assert_eq(dc.relays.items[0]->state, NTM_DC_RELAY_READY);
	testnode_close(&rs);
}

static char next_file[96], previous_file[96];

static void write_key(const char *file, const struct key *k)
{
	char text[NTM_KEY_TEXT_LEN + 1];
	FILE *f = fopen(file, "w");

	cr_assert_not_null(f);
	ntm_key_to_text(k->priv, text);
	fprintf(f, "%s\n", text);
	cr_assert_eq(fclose(f), 0);
	cr_assert_eq(chmod(file, 0600), 0);
}

static void load_keys(const struct key *next, const struct key *previous)
{
	char why[256];

	snprintf(next_file, sizeof(next_file), "%s/next.key", dir);
	snprintf(previous_file, sizeof(previous_file), "%s/previous.key", dir);
	conf.next_key_file = conf.previous_key_file = NULL;
	if (next) {
		write_key(next_file, next);
		conf.next_key_file = next_file;
	}
	if (previous) {
		write_key(previous_file, previous);
		conf.previous_key_file = previous_file;
	}
	cr_assert_eq(ntm_dc_identities_load(&dc.ids, &conf, why, sizeof(why)), 0, "%s", why);
	ntm_dc_responder_set_keys(dc.responder, &dc.ids);
	unlink(next_file);
	unlink(previous_file);
}

Test(rekey, the_dc_announces_its_next_key_and_answers_for_the_previous)
{
	struct key now = make_key(), was;
	struct testnode a, b;
	struct ntm_sig r = join(&a, "alice"), again, m;
	char why[256];

	memcpy(was.priv, dc_priv, NTM_DH_LEN);
	memcpy(was.pub, dc_pub, NTM_DH_LEN);
	cr_assert_eq(r.n_dc_keys, 1);
	cr_assert_eq(r.dc_keys[0].state, NTM_DC_KEY_CURRENT);
	cr_assert_arr_eq(r.dc_keys[0].key, dc_pub, NTM_DH_LEN);
	cr_assert_eq(keep_alive(&a, &r), 0);
	cr_assert_eq(r.n_dc_keys, 0, "told already");

	load_keys(&now, NULL);
	testnode_request(&a, &m, NTM_M_KEEP_ALIVE);
	cr_assert_eq(testnode_ask(&a, &m, &r), 0);
	cr_assert_eq(testnode_ask(&a, &m, &again), 0);
	cr_assert_arr_eq(&r, &again, sizeof(r), "the same request has the same answer");
	cr_assert_eq(r.n_dc_keys, 2);
	cr_assert_eq(r.dc_keys[1].state, NTM_DC_KEY_NEXT);
	cr_assert_arr_eq(r.dc_keys[1].key, now.pub, NTM_DH_LEN);
	load_keys(&now, NULL);
	cr_assert_eq(keep_alive(&a, &r), 0);
	cr_assert_eq(r.n_dc_keys, 0, "nothing new");

	/* the change: who knows the new key uses it, who was away comes with the old one and is told */
	stop_dc();
	memcpy(dc_priv, now.priv, NTM_DH_LEN);
	memcpy(dc_pub, now.pub, NTM_DH_LEN);
	conf.next_key_file = NULL;
	start_dc();
	load_keys(NULL, &was);
	cr_assert_eq(testnode_connect(&a), 0);
	cr_assert_eq(testnode_register(&a, "alice", NULL, &r), 0);
	cr_assert_eq(r.msg, NTM_M_REGISTRATION_RESPONSE, "%s", r.error_text);
	cr_assert_eq(r.dc_keys[0].state, NTM_DC_KEY_CURRENT);
	cr_assert_arr_eq(r.dc_keys[0].key, now.pub, NTM_DH_LEN);
	cr_assert_eq(r.dc_keys[1].state, NTM_DC_KEY_PREVIOUS);
	join(&b, "bob");
	cr_assert_arr_eq(b.dc_pub, now.pub, NTM_DH_LEN);

	load_keys(NULL, NULL);
	a.patience_ms = 500;
	cr_assert_eq(testnode_connect(&a), -ETIMEDOUT, "the previous key is gone");
	/* a key that is there twice is a mistake, and changes nothing */
	write_key(next_file, &now);
	conf.next_key_file = next_file;
	cr_assert_eq(ntm_dc_identities_load(&dc.ids, &conf, why, sizeof(why)), -EINVAL);
	cr_assert(strstr(why, "has already"), "%s", why);
	cr_assert_eq(dc.ids.n, 1);
	unlink(next_file);
	conf.next_key_file = NULL;
	testnode_close(&a);
	testnode_close(&b);
}

/* A node that connects by one of the DC's other keys may change its own there as well. */
Test(rekey, on_a_session_of_the_previous_key)
{
	struct key other = make_key(), mine = make_key();
	struct testnode a;
	struct ntm_sig r;

	join(&a, "alice");
	load_keys(NULL, &other);
	memcpy(a.dc_pub, other.pub, NTM_DH_LEN);
	cr_assert_eq(ntm_cookie_client_init(&a.cookies, a.dc_pub), 0);
	cr_assert_eq(testnode_connect(&a), 0);
	cr_assert_eq(testnode_register(&a, "alice", NULL, &r), 0);
	cr_assert_eq(r.n_dc_keys, 2);
	r = update(&a, &mine);
	cr_assert_eq(r.msg, NTM_M_KEY_UPDATE_RESPONSE, "%s", r.error_text);
	testnode_close(&a);
}
