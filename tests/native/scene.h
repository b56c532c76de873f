/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a fuzzer's input means: a program, what its maps hold, and up to SCENE_FRAMES packets one after the other.
 *
 *   program 1 | options 3 | frames: flags 1, length 2, bytes
 */
#ifndef NTM_TEST_SCENE_H
#define NTM_TEST_SCENE_H

#include <stdint.h>

#include "native.h"

#define SCENE_FRAMES 12 /* fewer than any token bucket holds, but for the one of a path's rate */
#define SCENE_PATHS 64
#define SCENE_SLOT 5
#define SCENE_PATH 0x1122334455667788ull
#define SCENE_RELAY_SLOTS 97
#define SCENE_RELAY_PATH 0x8899aabbccddeeffull

enum scene_program { SCENE_DECAP, SCENE_ENCAP, SCENE_RELAY, SCENE_PROGRAMS };

enum scene_frame_flags {
	SCENE_SEAL = 1,     /* what is behind the header is sealed with the peer's key */
	SCENE_LENGTHS = 2,  /* lengths of IP and UDP become right */
	SCENE_CHECKSUM = 4, /* so does that of UDP */
};

struct scene {
	enum scene_program program;
	uint8_t options[3];
	const uint8_t *next;
	size_t left;
	unsigned n; /* frames so far */
	uint8_t frame[NATIVE_FRAME_MAX];
	size_t len;
};

extern uint32_t scene_nics[2]; /* interfaces: by the first one packets come in */

/* Once, before anything else. */
void scene_init(void);
/* Builds the maps. -1: too short to mean anything. */
int scene_begin(struct scene *s, const uint8_t *data, size_t size);
/* The next frame. 0: there is none. */
int scene_next(struct scene *s);
/* The native program's verdict on the frame, which becomes what it is then. */
int scene_run(struct scene *s);

#endif
