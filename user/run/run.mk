# SPDX-License-Identifier: BSD-2-Clause
# ntm-run, and the library that it preloads. The library goes into all sorts of programs: it has nothing in it that it
# does not need, and nothing to be seen but what it stands before.
RUN_OBJ := $(call obj,$(addprefix user/run/,main.c elf.c broker.c identity.c chan.c message.c))
PRELOAD_SRC := $(addprefix user/run/,preload.c preload_socket.c preload_names.c preload_epoll.c message.c) user/common/addr.c
PRELOAD_OBJ := $(PRELOAD_SRC:%.c=$B/pic/%.o)

$B/ntm-run: $(RUN_OBJ) $(LIB_OBJ) $B/libntmnode.a $B/libntmdp.a $B/libntmengine.a $B/libntmcommon.a
	$Q$(CC) $(CFLAGS) $(LDFLAGS) $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LDLIBS) -o $@
$B/libntm-run.so: $(PRELOAD_OBJ)
	$Q$(CC) $(CFLAGS) $(filter-out -fsanitize%,$(LDFLAGS)) -shared -Wl,-z,defs $^ -o $@

run: $B/ntm-run $B/libntm-run.so ## build ntm-run

install-run: run
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/ntm
	install -m 755 $B/ntm-run $(DESTDIR)$(PREFIX)/bin/
	install -m 755 $B/libntm-run.so $(DESTDIR)$(PREFIX)/lib/ntm/

.PHONY: run install-run
-include $(RUN_OBJ:.o=.d) $(PRELOAD_OBJ:.o=.d)
