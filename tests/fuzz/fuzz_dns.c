/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DNS: whatever is asked, the answer is one to it, well-formed and within bounds. The first byte: bit 0 TCP, 1 a client
 * that may transfer the zone, 2..3 the policy, 4 a source that fails, 5 read as an answer to an UPDATE instead.
 */
#include "../harness/dns_rig.h"

#include "../../dc/dns_update_msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "fuzz_dns: %s\n", what);
	abort();
}

static void check_answer(const uint8_t *query, const uint8_t *out, size_t len, size_t limit)
{
	ldns_pkt *p = NULL;

	require(len >= NTM_DNS_HEADER && len <= limit, "an answer of a wrong length");
	require(!memcmp(query, out, 2) && out[2] & 0x80, "an answer to something else");
	require(ldns_wire2pkt(&p, out, len) == LDNS_STATUS_OK, "an answer that cannot be read");
	ldns_pkt_free(p);
}

/* What was kept for others is what an answerer that keeps nothing says. */
static void check_again(const struct dns_rig *rig, struct ntm_dns_answerer *a, const struct ntm_dns_client *client,
			const uint8_t *query, size_t size, const uint8_t *first, size_t len, size_t limit)
{
	static uint8_t out[NTM_DNS_TCP_MAX];
	struct ntm_dns_answerer *none = ntm_dns_answerer_new(&rig->zone, 0);
	bool transfer;

	require(none != NULL, "no memory");
	require(ntm_dns_answer(a, client, query, size, out, limit, &transfer) == len && !memcmp(out, first, len),
		"another answer the second time");
	require(ntm_dns_answer(none, client, query, size, out, limit, &transfer) == len && !memcmp(out, first, len),
		"another answer than without a cache");
	ntm_dns_answerer_free(none);
}

static void transfer_all(struct ntm_dns_answerer *a, const uint8_t *query, size_t len, uint8_t *out, size_t cap)
{
	struct ntm_dns_transfer *t;
	int n;

	require(!ntm_dns_transfer_begin(a, query, len, &t), "a transfer that was granted does not begin");
	while ((n = ntm_dns_transfer_next(t, out, cap)) > 0)
		check_answer(query, out, (size_t)n, cap);
	ntm_dns_transfer_end(t);
}

static void as_update_answer(const uint8_t *data, size_t size)
{
	struct ntm_dns_signer signer = {(char *)"k.", (char *)"c2VjcmV0"};
	struct ntm_dns_message m = {0};
	int rcode;

	m.id = size >= 2 ? (uint16_t)(data[0] << 8 | data[1]) : 0;
	m.mac = ldns_rdf_new_frm_data(LDNS_RDF_TYPE_INT16_DATA, 2, "\0\0");
	require(ntm_dns_message_answered(&m, &signer, data, size, &rcode) < 0, "an answer without our key is believed");
	ntm_dns_message_clear(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t out[NTM_DNS_TCP_MAX];
	static struct dns_rig rig;
	struct ntm_dns_client client = {0};
	struct ntm_dns_answerer *a;
	size_t len, limit;
	uint8_t *query;
	bool transfer;

	if (!size)
		return 0;
	require(!rig_init(&rig, (enum ntm_dns_publish)((data[0] >> 2 & 3) % 3), 100, 40), "no rig");
	a = ntm_dns_answerer_new(&rig.zone, 4096);
	/* exactly as long as it is: reading on is seen */
	query = malloc(size > 1 ? size - 1 : 1);
	require(a && query, "no memory");
	memcpy(query, data + 1, size - 1);
	client.tcp = data[0] & 1;
	rig.err = data[0] & 16 ? -EIO : 0;
	limit = client.tcp ? NTM_DNS_TCP_MAX : NTM_DNS_UDP_MAX;
	require(!ntm_ip_parse(data[0] & 2 ? "192.0.2.130" : "192.0.2.1", client.ip), "no address");
	if (data[0] & 32) {
		as_update_answer(query, size - 1);
	} else {
		len = ntm_dns_answer(a, &client, query, size - 1, out, limit, &transfer);
		require(!transfer || (!len && client.tcp && data[0] & 2), "a transfer that is not allowed");
		if (len)
			check_answer(query, out, len, limit);
		check_again(&rig, a, &client, query, size - 1, out, len, limit);
		len = ntm_dns_answer_truncated(query, size - 1, out);
		require(len < size, "a truncated answer longer than its query");
		if (len)
			check_answer(query, out, len, limit);
		if (transfer)
			transfer_all(a, query, size - 1, out, sizeof(out));
	}
	free(query);
	ntm_dns_answerer_free(a);
	ntm_dns_zone_free(&rig.zone);
	return 0;
}
