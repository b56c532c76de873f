# SPDX-License-Identifier: BSD-2-Clause
# libntm, shared and static. Only what user/lib/libntm.map lists is to be seen from outside: the rest of the agent is
# inside, with names that a program may have, too.
LIB_VERSION := $(shell sed -n 's/^\#define NTM_VERSION "\(.*\)"/\1/p' user/common/version.h)
LIB_LIBS := -luv -lmnl -ljson-c -llwip -lcrypto $(IPSEC_MB) -linih -pthread

# Position independent; into an archive, from which the library takes what it needs.
$B/pic/%.o: %.c
	@mkdir -p $(@D)
	$Q$(CC) $(CPPFLAGS) $(CFLAGS) -fPIC -fvisibility=hidden -MMD -MP -c $< -o $@
LIB_PIC := $(patsubst $B/%,$B/pic/%,$(LIB_OBJ))
LIB_PARTS := user/common/% user/dataplane/dp_user% user/dataplane/engineops% user/dataplane/packet% user/dataplane/pathops% user/dataplane/too_big% user/engine/% user/node/%
LIB_PARTS_PIC := $(patsubst %.c,$B/pic/%.o,$(filter-out user/node/main.c user/node/node.c user/node/control.c \
	user/node/control_net.c user/node/control_json.c \
	user/node/dns% user/node/privs.c,$(filter $(LIB_PARTS),$(wildcard user/*/*.c))))
$B/pic/libparts.a: $(LIB_PARTS_PIC)

# One object: what is not the interface is local to it.
$B/pic/libntm.o: $(LIB_PIC) $B/pic/libparts.a user/lib/libntm.map
	$Qld -r -o $@ $(LIB_PIC) $B/pic/libparts.a
	$Qsed -n 's/;/\n/g;/^\tntm_/p' user/lib/libntm.map | tr -s '\t \n' '\n' | grep . > $@.keep
	$Qobjcopy --keep-global-symbols=$@.keep $@
$B/libntm.a: $B/pic/libntm.o

$B/libntm.so.0: $B/pic/libntm.o user/lib/libntm.map
	$Q$(CC) $(CFLAGS) $(LDFLAGS) -shared -Wl,-soname,$(@F) -Wl,--version-script=user/lib/libntm.map -Wl,-z,defs \
		$< -Wl,--as-needed $(LIB_LIBS) -o $@
$B/libntm.so: $B/libntm.so.0
	$Qln -sf $(<F) $@
$B/ntm-echo: user/lib/example.c user/lib/libntm.h $B/libntm.so
	$Q$(CC) $(CFLAGS) $(LDFLAGS) -Iuser/lib $< -L$B -lntm -Wl,-rpath,'$$ORIGIN' -o $@

install-lib: lib
	install -d $(DESTDIR)$(PREFIX)/lib/pkgconfig $(DESTDIR)$(PREFIX)/include $(DESTDIR)$(PREFIX)/share/doc/ntm
	install -m 644 user/lib/libntm.h $(DESTDIR)$(PREFIX)/include/
	install -m 755 $B/libntm.so.0 $(DESTDIR)$(PREFIX)/lib/
	ln -sf libntm.so.0 $(DESTDIR)$(PREFIX)/lib/libntm.so
	install -m 644 $B/libntm.a $(DESTDIR)$(PREFIX)/lib/
	sed 's|@PREFIX@|$(PREFIX)|g;s|@VERSION@|$(LIB_VERSION)|;s|@LIBS@|$(LIB_LIBS)|' dist/libntm.pc.in \
		> $(DESTDIR)$(PREFIX)/lib/pkgconfig/libntm.pc
	install -m 644 user/lib/example.c $(DESTDIR)$(PREFIX)/share/doc/ntm/ntm-echo.c

.PHONY: lib install-lib
-include $(LIB_PIC:.o=.d) $(LIB_PARTS_PIC:.o=.d)
