#!/bin/sh
# Configure the network of this machine as in /etc/systemd/network/00-natpair-*. It must run before anything needs the
# network: until then the image's DHCP client uses the lowest of the Linode's public addresses. That may be the shared
# address, and a shared address that no node announces is unreachable.
#
#   sh network.sh
#
# You may run it again at any time. If the network is configured already, it changes nothing.
set -eu

public=$(grep -l '^Gateway=' /etc/systemd/network/00-natpair-*.network)
interface=$(sed -n 's/^Name=//p' "$public")
own=$(sed -n 's/^Address=//p' "$public")
gateway=$(sed -n 's/^Gateway=//p' "$public")
readonly public interface own gateway

die() {
    printf 'natpair network: %s\n' "$1"
    printf 'natpair network:   -> %s\n' "$2"
    exit 1
}

# Network Helper is off: the addresses come only from the files below /etc/systemd/network.
leave_ifupdown() {
    [ -e /etc/network/interfaces ] || return 0
    if grep -q natpair /etc/network/interfaces; then return 0; fi
    if command -v ifdown >/dev/null; then ifdown -a --force --exclude=lo || true; fi
    cp /etc/network/interfaces /etc/network/interfaces.before-natpair
    printf '# natpair: the other interfaces are in /etc/systemd/network\nauto lo\niface lo inet loopback\n' \
        >/etc/network/interfaces
    rm -f /etc/network/interfaces.d/50-cloud-init
}

name_servers() {
    if systemctl --quiet is-active systemd-resolved || [ -L /etc/resolv.conf ]; then return 0; fi
    [ -s /etc/natpair/resolv.conf ] || return 0
    cp /etc/natpair/resolv.conf /etc/resolv.conf
    chmod 0644 /etc/resolv.conf
}

# An address from DHCP may be left; a floating address must never be on this interface.
drop_other_addresses() {
    for address in $(ip -4 -oneline address show dev "$interface" scope global | awk '{print $4}'); do
        [ "$address" = "$own" ] || ip address delete "$address" dev "$interface" || true
    done
}

reachable() {
    drop_other_addresses
    ip -4 route show default | grep -q "via $gateway " && [ -n "$(ip -6 route show default)" ] &&
        [ -n "$(ip -6 address show scope global -tentative)" ]
}

leave_ifupdown
# networkd runs as its own user, which must be able to read these files.
chmod 0644 /etc/systemd/network/00-natpair-*.network /etc/systemd/networkd.conf.d/natpair.conf
name_servers
systemctl enable systemd-networkd.service
systemctl restart systemd-networkd.service
left=20
until reachable; do
    left=$((left - 1))
    [ "$left" -gt 0 ] ||
        die "the public network does not come up" "compare /etc/systemd/network with the addresses in Cloud Manager"
    sleep 6
done
