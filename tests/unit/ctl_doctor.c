/* SPDX-License-Identifier: BSD-2-Clause */
/* What the doctor makes of an agent's status, of the UDP port and of the stub. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../user/ctl/ctl.h"
#include "../../user/ctl/doctor.h"

#define REGISTERED                                                                                    \
	"\"name\":\"a.x\",\"pid\":1,\"vip4\":\"100.96.0.1\",\"dc\":{\"connected\":true,\"endpoint\":" \
	"\"192.0.2.1:4680\"}"

static struct doctor d;

static void begin(const char *status)
{
	json_object_put(d.checks);
	json_object_put(d.status);
	d = (struct doctor){.port = 4680, .ifname = "ntm0"};
	d.checks = json_object_new_array();
	d.status = status ? json_tokener_parse(status) : NULL;
}

/* The state of a check, "" if there is none. */
static const char *state(const char *check)
{
	for (size_t i = 0; i < json_object_array_length(d.checks); i++) {
		json_object *o = json_object_array_get_idx(d.checks, i);
		const char *s = ctl_text(o, "state");

		if (strcmp(ctl_text(o, "check"), check) != 0)
			continue;
		/* Whoever is told of a trouble is told what to do, and only then. */
		cr_assert_eq(ctl_text(o, "advice") != NULL, strcmp(s, "ok") != 0, "%s", ctl_text(o, "text"));
		return s;
	}
	return "";
}

Test(doctor, agent)
{
	begin("{" REGISTERED ",\"counters\":{\"rx_bad_tag\":{\"packets\":0},\"tx_ok\":{\"packets\":9}}}");
	doctor_agent(&d);
	cr_assert_str_eq(state("agent"), "ok");
	cr_assert_str_eq(state("DC"), "ok");
	cr_assert_str_eq(state("counters"), "");

	begin("{\"name\":\"a\",\"vip4\":null,\"dc\":{\"connected\":false,\"error\":\"bad_token\"}}");
	doctor_agent(&d);
	cr_assert_str_eq(state("DC"), "fail");
	cr_assert_eq(d.count[DOCTOR_FAIL], 1);

	begin("{\"name\":\"a\",\"vip4\":null,\"dc\":{\"connected\":true}}");
	doctor_agent(&d);
	cr_assert_str_eq(state("DC"), "fail");
}

Test(doctor, gateway)
{
	struct ntm_prefix near;
	struct ntm_node_config conf = {.gateway_routes = {&near, 1}};

	/* What has a route everywhere: this host itself. */
	cr_assert_eq(ntm_prefix_parse("127.0.0.1/32", &near), 0);
	begin("{" REGISTERED "}");
	doctor_gateway(&d);
	cr_assert_str_eq(state("gateway"), "", "no configuration to compare with");

	begin("{" REGISTERED "}");
	d.conf = &conf;
	doctor_gateway(&d);
	cr_assert_str_eq(state("gateway"), "warn", "started before it was configured");

	begin("{" REGISTERED ",\"gateway\":{\"peer\":null}}");
	d.conf = &conf;
	doctor_gateway(&d);
	cr_assert_str_eq(state("gateway"), "warn", "none is there");

	begin("{" REGISTERED ",\"gateway\":{\"peer\":\"rs.x\"}}");
	d.conf = &conf;
	doctor_gateway(&d);
	cr_assert_str_eq(state("gateway"), "warn", "something else comes first");

	begin("{\"name\":\"a.x\",\"vip4\":\"127.0.0.1\",\"gateway\":{\"peer\":\"rs.x\"}}");
	d.conf = &conf;
	doctor_gateway(&d);
	cr_assert_str_eq(state("gateway"), "ok");

	conf.gateway_routes.n = 0;
	begin("{" REGISTERED "}");
	d.conf = &conf;
	doctor_gateway(&d);
	cr_assert_str_eq(state("gateway"), "", "none is wanted");
}

Test(doctor, counters)
{
	begin("{" REGISTERED ",\"counters\":{\"rx_bad_tag\":{\"packets\":2},\"rx_clear\":{\"packets\":1},"
	      "\"tx_no_path\":{\"packets\":200},\"tx_ok\":{\"packets\":1000}}}");
	doctor_agent(&d);
	cr_assert_str_eq(state("counters"), "warn");
	cr_assert_eq(d.count[DOCTOR_WARN], 3);
	cr_assert_eq(d.count[DOCTOR_FAIL], 0);

	begin("{" REGISTERED ",\"counters\":{\"tx_no_path\":{\"packets\":90},\"tx_ok\":{\"packets\":0}}}");
	doctor_agent(&d);
	cr_assert_str_eq(state("counters"), "", "the first packets to a peer are no trouble");
}

/* A UDP socket on 127.0.0.1 with a port of the kernel's choice. */
static int bound(uint16_t *port)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	socklen_t len = sizeof(in);

	cr_assert_eq(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&in, &len), 0);
	*port = ntohs(in.sin_port);
	return fd;
}

Test(doctor, port)
{
	uint16_t port;
	int fd = bound(&port);

	begin(NULL);
	d.port = port;
	doctor_net(&d);
	cr_assert_str_eq(state("port"), "fail");

	begin("{" REGISTERED ",\"dns\":{\"mode\":\"off\"}}");
	d.port = port;
	doctor_net(&d);
	cr_assert_str_eq(state("port"), "ok");
	cr_assert_str_eq(state("DNS"), "warn");

	close(fd);
	begin(NULL);
	d.port = port;
	doctor_net(&d);
	cr_assert_str_eq(state("port"), "ok");
}

/* Answers one question with the same id. */
static void *answer(void *arg)
{
	uint8_t q[512];
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	int fd = *(int *)arg;
	ssize_t n = recvfrom(fd, q, sizeof(q), 0, (struct sockaddr *)&from, &len);
	static const uint8_t question[] = "\1a\1x\0\0\1\0\1";

	if (n == 12 + 9 && !memcmp(q + 12, question, 9)) {
		q[2] |= 0x80;
		sendto(fd, q, (size_t)n, 0, (struct sockaddr *)&from, len);
	}
	return NULL;
}

Test(doctor, stub, .timeout = 30)
{
	char status[300];
	pthread_t thread;
	uint16_t port;
	int fd = bound(&port);

	snprintf(status, sizeof(status), "{" REGISTERED ",\"dns\":{\"mode\":\"auto\",\"listen\":\"127.0.0.1:%u\"}}",
		 port);
	pthread_create(&thread, NULL, answer, &fd);
	begin(status);
	doctor_net(&d);
	pthread_join(thread, NULL);
	cr_assert_str_eq(state("DNS stub"), "ok");
	cr_assert_str_eq(state("resolv.conf"), "warn", "the stub is not on port 53");

	close(fd);
	begin(status);
	doctor_net(&d);
	cr_assert_str_eq(state("DNS stub"), "fail");
}
