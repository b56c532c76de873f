# SPDX-License-Identifier: BSD-2-Clause
"""The mobile node's hands: it goes to a place of world.sh. Runs in the mobile node's network namespace.
mobile.py AIR PLACES FROM TO: goes there now."""
import subprocess
import sys
import time
from collections import namedtuple

from rtnl import Rtnl

GATEWAY_MAC = "02:00:00:00:00:fe"
CNA, CNA_MAC = "192.168.1.50", "02:00:00:00:00:03"
METRIC, STANDBY = 100, 600
Place = namedtuple("Place", "name network iface v4 v6")


def read_places(path):
    places = {}
    with open(path, encoding="ascii") as f:
        for line in f:
            name, network, iface, v4, v6 = line.split()
            places[name] = Place(name, network, iface, None if v4 == "-" else v4, None if v6 == "-" else v6)
    return places


def addresses(place):
    """(address, prefix length, gateway) of each family."""
    if place.v4:
        yield place.v4, 24, place.v4.rpartition(".")[0] + ".254"
    if place.v6:
        yield place.v6, 64, place.v6.rpartition("::")[0] + "::fe"


class Mobile:
    """Moves raise OSError or CalledProcessError where the network refuses."""

    def __init__(self, air, places, place):
        self.air, self.places, self.rtnl = air, places, Rtnl()
        self.at = {places[place].iface: places[place]}  # interface: where it is

    def _plug(self, place):
        subprocess.run(["ip", "-n", self.air, "link", "set", place.iface + "_b", "master", "ap_" + place.network],
                       check=True)

    def _settle(self, place, metric=METRIC):
        """Addresses and the way out; returns when the first of them was there to be used."""
        if place.network == "a":
            self.rtnl.neighbour(place.iface, CNA, CNA_MAC)
        usable = None
        for address, length, gateway in addresses(place):
            self.rtnl.address(place.iface, address, length)
            self.rtnl.neighbour(place.iface, gateway, GATEWAY_MAC)
            before = time.monotonic_ns()
            self.rtnl.default(place.iface, gateway, metric)
            usable = usable or before
        return usable

    def _leave(self, place):
        """All that a lost lease takes with it. A link that is down has lost some of it by itself."""
        for address, length, gateway in addresses(place):
            for undo in (lambda g=gateway: self.rtnl.default(place.iface, g, METRIC, add=False),
                         lambda a=address, n=length: self.rtnl.address(place.iface, a, n, add=False)):
                try:
                    undo()
                except OSError as e:
                    if e.errno not in (3, 99, 101):  # ESRCH, EADDRNOTAVAIL, ENETUNREACH: gone before
                        raise

    def go(self, name, away=0.05):
        """Breaks with the network that its interface is in, then makes contact with the other; another address of the
        same network needs no break. Returns when it left and when the new address was usable, CLOCK_MONOTONIC, ns."""
        new = self.places[name]
        old = next(iter(self.at.values()))
        left = time.monotonic_ns()
        if old.network == new.network and old.iface == new.iface:
            self._leave(old)
        else:
            self.rtnl.link(old.iface, False)
            self._leave(old)
            self._plug(new)
            time.sleep(away)  # radio
            self.rtnl.link(new.iface, True)
        usable = self._settle(new)
        self.at = {new.iface: new}
        return left, usable

    def _beside(self, name, overlap):
        """A second place, on the other interface, comes up with the worse metric. Returns it, and the one in use."""
        new = self.places[name]
        old = next(iter(self.at.values()))
        self._plug(new)
        self.rtnl.link(new.iface, True)
        self._settle(new, STANDBY)
        time.sleep(overlap)
        return new, old

    def prefer(self, name, overlap, meanwhile=None):
        """To a place of the other interface, which is up and has the worse metric before the metrics change places; the
        first goes down `overlap` seconds later, or when meanwhile(new place) returns. Returns as go() does."""
        new, old = self._beside(name, overlap)
        left = time.monotonic_ns()
        for _, _, gateway in addresses(new):
            # replaces the old one's, which has the same metric
            self.rtnl.default(new.iface, gateway, METRIC)
            self.rtnl.default(new.iface, gateway, STANDBY, add=False)
        for _, _, gateway in addresses(old):
            self.rtnl.default(old.iface, gateway, STANDBY)
        if meanwhile:
            meanwhile(new)
        else:
            time.sleep(overlap)
        self.rtnl.link(old.iface, False)
        self._leave(old)
        self.at = {new.iface: new}
        return left, left

    def lose(self, name, overlap):
        """To a place of the other interface, which is up with the worse metric when the one in use loses its carrier:
        the cable is pulled, and addresses and routes stay. Returns as go() does; mend() puts the cable back."""
        new, old = self._beside(name, overlap)
        left = time.monotonic_ns()
        self._carrier(old, "down")
        self.at = {new.iface: new, old.iface: old}
        return left, left

    def _carrier(self, place, state):
        subprocess.run(["ip", "-n", self.air, "link", "set", place.iface + "_h", state], check=True)

    def mend(self):
        """After lose(): the other interface is taken down and can be used anew."""
        new, old = self.at.values()
        for _, _, gateway in addresses(new):
            # replaces the old one's, which has the same metric
            self.rtnl.default(new.iface, gateway, METRIC)
            self.rtnl.default(new.iface, gateway, STANDBY, add=False)
        self.rtnl.link(old.iface, False)
        self._leave(old)
        self._carrier(old, "up")
        self.at = {new.iface: new}


if __name__ == "__main__":
    Mobile(sys.argv[1], read_places(sys.argv[2]), sys.argv[3]).go(sys.argv[4])
