/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dcload sql NODES: INSERTs for the DC's store that make NODES nodes known.
 * dcload run DC-PUBLIC-KEY ADDRESS:PORT PID NODES ADDRESS:PORT PID NODES: load on the first of two DCs with one key;
 * the other has few nodes, and what an update costs the one is compared with what it costs the other. Prints
 * NAME<TAB>VALUE<TAB>UNIT a line.
 *
 * Rates of one core: requests answered per second of the DC's own CPU time, on CPU 0, while it never runs out of
 * requests. So what this program costs, on CPU 1, is in none of them.
 *
 * New sessions: handshakes are the work of as many threads as there are CPUs, so their rates are those of the whole
 * machine. Timed is all from a node's session init to the answer to its first registration, with this program's sockets
 * and sealing on the same CPUs; but not the X25519 of the nodes, who would have computers of their own: their inits are
 * made before, and after each ROUND of handshakes, which go along with the registrations of the round before, the clock
 * stands still until they have their keys. What CPU time the DC uses meanwhile counts as if it were timed.
 *
 * Latencies: of requests that leave by the clock, counted from when a request was to leave until the kernel took in the
 * answer, without what a node itself computes in between. Both programs have real-time priority then: what else runs on
 * this machine is not to be measured.
 *
 * A figure of a phase in which a request had no answer, or an error for one, is none: it is printed as "nan", and the
 * exit status is 3.
 */
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "../../user/common/crypto.h"
#include "../../user/common/keystore.h"
#include "dcload.h"
#include "dcload_clients.h"
#include "dcload_growth.h"
#include "dcload_stalls.h"

#define S 1000000000ULL

enum { WINDOW = 256, ROUND = 1500 /* the DC lets more than twice that wait */, FIRST_NODES = 1000, LATENCIES = 100000 };

/* The DC's loop and that of this program, the DC's threads, what nodes compute; the watches of stalls are above all. */
enum { LOOP_PRIORITY = 3, THREAD_PRIORITY = 2, CLIENT_PRIORITY = 1 };

struct phase {
	const char *name;
	enum op op;
	uint64_t ns;      /* how long; 0: until all nodes had their turn */
	unsigned at_rate; /* a second, by the clock; 0: as fast as the DC answers */
	unsigned again;   /* without a time: the first so many nodes have it, instead of those that had not */
	bool all_cpus;    /* both programs have them */
};

struct result {
	double cpu_s, wall_s, rate, core_rate, p99_ms;
	double p99_running_ms; /* of those that met no stall of the machine */
};

static struct sim sim;
static int dc_pid;
static clockid_t dc_clock;
/* The other DC. */
static struct sim few;
static int few_pid;
static struct sim_latency latencies[LATENCIES];
static bool real_time;
static bool incomplete; /* of some phase not all requests were answered */

static double cpu_now(void)
{
	struct timespec ts;

	clock_gettime(dc_clock, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Ticks that the hypervisor gave to others while something here wanted to run, all CPUs; 0 if it does not say. */
static double stolen_s(void)
{
	FILE *f = fopen("/proc/stat", "r");
	unsigned long ticks = 0;

	if (f && fscanf(f, "cpu %*u %*u %*u %*u %*u %*u %*u %lu", &ticks) != 1)
		ticks = 0;
	if (f)
		fclose(f);
	return (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

/* What the DC has given to the kernel for files; 0 if it is not to be seen. */
static double written_mib(void)
{
	char path[64], line[128];
	unsigned long bytes = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/io", dc_pid);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "wchar: %lu", &bytes) == 1)
			break;
	}
	if (f)
		fclose(f);
	return (double)bytes / (1 << 20);
}

static int by_latency(const void *a, const void *b)
{
	uint64_t x = ((const struct sim_latency *)a)->ns, y = ((const struct sim_latency *)b)->ns;

	return (x > y) - (x < y);
}

static double p99_ms(size_t n)
{
	return n ? (double)latencies[n * 99 / 100].ns / 1e6 : NAN;
}

static int by_time(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void settle_stalls(size_t n)
{
	static uint64_t due[LATENCIES], came[LATENCIES];

	for (size_t i = 0; i < n; i++) {
		due[i] = latencies[i].due_ns;
		came[i] = latencies[i].came_ns;
	}
	qsort(due, n, sizeof(due[0]), by_time);
	qsort(came, n, sizeof(came[0]), by_time);
	stalls_settle(due, came, n);
}

static void take_latencies(const struct phase *p, const struct stalls *s, struct result *r)
{
	size_t n = sim.done < LATENCIES ? sim.done : LATENCIES, running = 0;

	qsort(latencies, n, sizeof(latencies[0]), by_latency);
	r->p99_ms = p99_ms(n);
	settle_stalls(n);
	for (size_t i = 0; i < n; i++) {
		if (!stalls_met(latencies[i].due_ns, latencies[i].came_ns))
			latencies[running++] = latencies[i];
	}
	r->p99_running_ms = p99_ms(running);
	fprintf(stderr, "  %s: a CPU stood still %zu times, %.0f ms in all, %.1f ms the longest; %.1f %% met that\n",
		p->name, s->n, (double)s->total_ns / 1e6, (double)s->longest_ns / 1e6,
		100.0 * (double)(n - running) / (double)n);
}

/* All threads of the DC, which has begun those that it will have, get it from set. 0 or -errno */
static int each_thread(int pid, int (*set)(int tid, bool loop, bool on), bool on)
{
	char path[64];
	struct dirent *d;
	int err = 0;
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	tasks = opendir(path);
	if (!tasks)
		return -errno;
	while (!err && (d = readdir(tasks))) {
		int tid = atoi(d->d_name);

		err = tid ? set(tid, tid == pid, on) : 0;
	}
	closedir(tasks);
	return err;
}

static int set_cpus(int tid, int cpu, bool all)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	for (int i = 0; i < 2; i++) {
		if (all || i == cpu)
			CPU_SET(i, &cpus);
	}
	return sched_setaffinity(tid, sizeof(cpus), &cpus) ? -errno : 0;
}

static int set_dc_cpus(int tid, bool loop, bool all)
{
	(void)loop;
	return set_cpus(tid, 0, all);
}

static int set_all_cpus(bool all)
{
	int err = each_thread(dc_pid, set_dc_cpus, all);

	return err ? err : set_cpus(0, 1, all);
}

/* One that waits for its CPU must not hold a lock that the loop wants. The loop comes first. */
static int set_thread_real_time(int tid, bool loop, bool on)
{
	struct sched_param priority = {.sched_priority = !on ? 0 : loop ? LOOP_PRIORITY : THREAD_PRIORITY};

	return sched_setscheduler(tid, on ? SCHED_RR : SCHED_OTHER, &priority) ? -errno : 0;
}

static int set_real_time(bool on)
{
	int err = set_thread_real_time(0, true, on);

	return err ? err : each_thread(dc_pid, set_thread_real_time, on);
}

static int begin_next(const struct phase *p, unsigned *turn, uint64_t due)
{
	struct sim_node *node;

	if (!p->ns) /* each in its turn */
		return sim_begin(&sim, &sim.nodes[(*turn)++], p->op, due);
	node = sim_idle_node(&sim);
	return node ? sim_begin(&sim, node, p->op, due) : -EAGAIN;
}

/* One step of starting requests; sets when there is more to start. */
static int start_some(const struct phase *p, unsigned *turn, unsigned last, uint64_t *due)
{
	uint64_t now = sim_now();
	int err = 0;

	if (!p->at_rate) {
		*due = now + S / 10;
		while (!err && sim.in_flight < WINDOW && (p->ns || *turn < last))
			err = begin_next(p, turn, now);
	} else {
		for (; !err && *due <= now && (p->ns || *turn < last); *due += S / p->at_rate)
			err = begin_next(p, turn, *due);
	}
	sim_flush(&sim);
	return err == -EAGAIN ? 0 : err;
}

/* Those of the nodes from turn to last - 1, or of any for the phase's time. */
static int run_requests(const struct phase *p, unsigned turn, unsigned last, double *wall_s)
{
	uint64_t begun = sim_now(), due = begun, now;
	int err;

	do {
		err = start_some(p, &turn, last, &due);
		sim_receive(&sim, due);
		now = sim_now();
	} while (!err && (p->ns ? now - begun < p->ns : turn < last || sim.in_flight));
	*wall_s = (double)(now - begun) / 1e9;
	while (sim.in_flight)
		sim_receive(&sim, sim_now() + S / 10);
	return err;
}

struct turns {
	enum op op;
	unsigned next, last;
};

/* All of both, one of each in turn. Adds how long it took. */
static int run_turns(struct turns t[2], double *wall_s)
{
	uint64_t begun = sim_now();
	unsigned i = 0;
	int err = 0;

	while (!err && (t[0].next < t[0].last || t[1].next < t[1].last || sim.in_flight)) {
		while (!err && sim.in_flight < WINDOW && (t[0].next < t[0].last || t[1].next < t[1].last)) {
			struct turns *one = &t[i++ % 2];

			if (one->next < one->last)
				err = sim_begin(&sim, &sim.nodes[one->next++], one->op, sim_now());
		}
		sim_flush(&sim);
		sim_receive(&sim, sim_now() + S / 10);
	}
	*wall_s += (double)(sim_now() - begun) / 1e9;
	return err;
}

/* Sessions as fast as the DC makes them: the handshakes of a round, and the registrations of that before. */
static int run_rounds(unsigned turn, unsigned last, double *wall_s)
{
	unsigned first = turn, end;
	int err = 0;

	for (; !err && first < last && !sim.failed && !sim.lost; first = turn, turn = end) {
		struct turns t[2] = {{OP_FIRST, first, turn}, {OP_HANDSHAKE, turn, 0}};
		double apart;

		end = last - turn > ROUND ? turn + ROUND : last;
		t[1].last = end;
		err = run_turns(t, wall_s);
		apart = cpu_now();
		sim_finish(&sim, turn, end);
		*wall_s += cpu_now() - apart;
	}
	return err;
}

/* What phases before left to be written is none of this one's load. */
static void let_write(void)
{
	const struct timespec some = {.tv_sec = 1}; /* the DC writes twice in it, while it has much to write */
	double was;

	for (int i = 0; i < 120; i++) {
		was = written_mib();
		nanosleep(&some, NULL);
		if (written_mib() - was < 0.01)
			return;
	}
}

/* What the phase needs to begin, and that its clock does not see. */
static int prepare(const struct phase *p, unsigned turn, unsigned last)
{
	int err = 0;

	for (unsigned i = turn; !err && !p->ns && i < last; i++)
		err = sim_prepare(&sim, &sim.nodes[i]);
	if (p->at_rate)
		let_write();
	if (!err)
		err = set_all_cpus(p->all_cpus);
	if (!err)
		err = clients_begin(real_time ? CLIENT_PRIORITY : 0);
	if (!err && p->at_rate) {
		err = stalls_begin();
		if (err)
			clients_end();
	}
	sim.done = sim.failed = sim.lost = 0;
	sim.latency = p->at_rate ? latencies : NULL;
	sim.latency_cap = LATENCIES;
	return err;
}

/* nodes: how many take part. Phases without a time begin with the first that has not taken part yet. */
static int run(const struct phase *p, unsigned nodes, struct result *r)
{
	struct stalls stood = {0};
	unsigned turn = sim.n;
	double cpu, stolen, written;
	int err;

	sim.n = nodes;
	if (p->again) {
		turn = 0;
		nodes = p->again < nodes ? p->again : nodes;
	}
	err = prepare(p, turn, nodes);
	if (err)
		return err;
	cpu = cpu_now();
	stolen = stolen_s();
	written = written_mib();
	r->wall_s = 0;
	err = p->op == OP_SESSION && !p->at_rate ? run_rounds(turn, nodes, &r->wall_s)
						 : run_requests(p, turn, nodes, &r->wall_s);
	r->cpu_s = cpu_now() - cpu;
	if (p->at_rate)
		stood = stalls_end();
	clients_end();
	if (!err && sim.done < 2)
		err = -ETIMEDOUT;
	if (err)
		return err;
	r->core_rate = (double)sim.done / r->cpu_s;
	r->rate = (double)sim.done / r->wall_s;
	if (p->at_rate)
		take_latencies(p, &stood, r);
	fprintf(stderr, "  %s: %lu in %.1f s, DC's CPU %.2f s, written %.0f MiB, taken by the hypervisor %.2f s\n",
		p->name, sim.done, r->wall_s, r->cpu_s, written_mib() - written, stolen_s() - stolen);
	if (sim.failed || sim.lost) {
		fprintf(stderr, "dcload: %s: %lu requests failed, %lu had no answer: not a result\n", p->name,
			sim.failed, sim.lost);
		r->rate = r->core_rate = r->p99_ms = r->p99_running_ms = NAN;
		incomplete = true;
	}
	return 0;
}

static double resident_mib(int pid)
{
	char path[64], line[128];
	long kib = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "VmRSS: %ld", &kib) == 1)
			break;
	}
	if (f)
		fclose(f);
	return (double)kib / 1024;
}

/* New sessions: what the machine makes, and how many are one core's work for a second. */
static int measure_sessions(const struct phase *p, unsigned nodes, const char *name)
{
	struct result r;
	int err = run(p, nodes, &r);

	if (!err)
		printf("dc_%s\t%.0f\t/s\ndc_%s_core\t%.0f\t/s\n", name, r.rate, name, r.core_rate);
	return err;
}

static int measure_growth(void)
{
	struct growth_side sides[2] = {{&sim, dc_clock}, {&few, 0}};
	double ratio;
	int err = -clock_getcpuclockid(few_pid, &sides[1].clock);

	if (!err)
		err = each_thread(few_pid, set_dc_cpus, false);
	if (!err)
		err = clients_begin(0);
	if (!err) {
		err = growth_connect(&few);
		clients_end();
	}
	if (!err)
		err = growth_measure(&sides[0], &sides[1], &ratio);
	incomplete |= err == -EIO;
	if (!err || err == -EIO)
		printf("dc_update_cost_growth\t%.2f\tratio\n", err ? NAN : ratio);
	return err == -EIO ? 0 : err;
}

static int measure_rates(unsigned nodes)
{
	static const struct phase first = {"first sessions", OP_SESSION, 0, 0, 0, false},
				  sessions = {"new sessions", OP_SESSION, 0, 0, 0, true},
				  again = {"sessions of nodes that have one", OP_SESSION, 0, 0, 20000, true},
				  updates = {"updates, all nodes", OP_REGISTER, 3 * S, 0, 0, false},
				  directions = {"directions", OP_DIRECT, 3 * S, 0, 0, false};
	struct result r;
	int err = run(&first, FIRST_NODES, &r);

	if (!err)
		err = measure_sessions(&sessions, nodes, "sessions");
	if (!err)
		err = measure_sessions(&again, nodes, "sessions_again");
	if (err)
		return err;
	printf("dc_memory\t%.0f\tMiB\n", resident_mib(dc_pid));
	err = run(&updates, nodes, &r);
	if (err)
		return err;
	printf("dc_registrations\t%.0f\t/s\n", r.core_rate);
	err = measure_growth();
	if (!err)
		err = run(&directions, nodes, &r);
	if (!err)
		printf("dc_directions\t%.0f\t/s\n", r.core_rate);
	return err;
}

static int measure_latencies(unsigned nodes)
{
	static const struct phase half[] = {
	    {"sessions", OP_SESSION, 0, 2000, 6000, true},
	    {"registrations", OP_REGISTER, 3 * S, 20000, 0, false},
	    {"directions", OP_DIRECT, 3 * S, 7500, 0, false},
	};
	struct result r;
	int err = set_real_time(true);

	if (err)
		fprintf(stderr, "dcload: no real-time priority: %s\n", strerror(-err));
	real_time = !err;
	for (size_t i = 0; i < sizeof(half) / sizeof(half[0]); i++) {
		err = run(&half[i], nodes, &r);
		if (err)
			return err;
		printf("dc_p99_%s\t%.2f\tms\n", half[i].name, r.p99_ms);
		printf("dc_p99_%s_running\t%.2f\tms\n", half[i].name, r.p99_running_ms);
	}
	return set_real_time(false);
}

static int print_sql(unsigned nodes)
{
	uint8_t priv[NTM_DH_LEN], pub[NTM_DH_LEN];

	puts("BEGIN;");
	for (unsigned i = 0; i < nodes; i++) {
		int err = sim_keys(i, priv, pub);

		if (err)
			return err;
		printf("INSERT INTO nodes (label, public_key, address, created_s) VALUES ('n%u', x'", i);
		for (int k = 0; k < NTM_DH_LEN; k++)
			printf("%02x", pub[k]);
		printf("', %u, 0);\n", i + 1);
	}
	puts("COMMIT;");
	return 0;
}

/* DC-PUBLIC-KEY, then for each DC: ADDRESS:PORT PID NODES */
static bool take_arguments(char **argv, uint8_t pub[NTM_DH_LEN], struct ntm_addr at[2], long nodes[2])
{
	int *pid[2] = {&dc_pid, &few_pid};

	if (ntm_key_from_text(argv[0], pub))
		return false;
	for (int i = 0; i < 2; i++) {
		char **of = &argv[1 + 3 * i];

		*pid[i] = atoi(of[1]);
		nodes[i] = strtol(of[2], NULL, 10);
		if (ntm_addr_parse(of[0], 0, &at[i]) || *pid[i] <= 0 || nodes[i] <= 0)
			return false;
	}
	return nodes[0] > FIRST_NODES;
}

int main(int argc, char **argv)
{
	uint8_t dc_pub[NTM_DH_LEN];
	struct ntm_addr at[2];
	long nodes[2];
	int err = ntm_crypto_init();

	if (!err && argc == 3 && !strcmp(argv[1], "sql") && (nodes[0] = strtol(argv[2], NULL, 10)) > 0)
		return print_sql((unsigned)nodes[0]) ? 1 : 0;
	if (argc != 9 || strcmp(argv[1], "run") || !take_arguments(argv + 2, dc_pub, at, nodes)) {
		fprintf(stderr,
			"usage: dcload sql NODES | run DC-PUBLIC-KEY ADDRESS:PORT PID NODES ADDRESS:PORT PID NODES\n"
			"The first DC has over %d nodes.\n",
			FIRST_NODES);
		return 2;
	}
	prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
	if (!err)
		err = -clock_getcpuclockid(dc_pid, &dc_clock);
	if (!err)
		err = sim_open(&sim, &at[0], dc_pub, (unsigned)nodes[0]);
	if (!err)
		err = sim_open(&few, &at[1], dc_pub, (unsigned)nodes[1]);
	if (!err)
		err = measure_rates((unsigned)nodes[0]);
	if (!err)
		err = measure_latencies((unsigned)nodes[0]);
	sim_close(&sim);
	sim_close(&few);
	if (err)
		fprintf(stderr, "dcload: %s\n", strerror(-err));
	return err ? 1 : incomplete ? 3 : 0;
}
