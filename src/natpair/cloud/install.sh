#!/bin/sh
# Make this fresh Debian or Ubuntu machine a node of the pair: packages, network, natpair, its services.
#
#   sh install.sh NODE SOURCE [SHA256]
#
# It needs network.sh in the same folder. cloud-init runs it once, at the first boot. You may run it again at any time:
# each step checks the present state, and none disturbs a node in service. Output: /var/log/cloud-init-output.log.
set -eu

node=$1
source=$2
sha256=${3:-}

readonly PACKAGES="keepalived nftables conntrackd conntrack bird2 iproute2 netbase procps
    python3-venv ca-certificates curl systemd"
# The units that these packages would start; natpair starts the daemons with its own units.
readonly THEIRS="keepalived conntrackd bird nftables"
readonly OURS="natpair-prepare natpair-conntrackd natpair-bird natpair-keepalived natpair-agent
    natpair-handover"
readonly VENV=/usr/lib/natpair
readonly READY_SECONDS=900

say() { printf 'natpair install: %s\n' "$*"; }

die() {
    say "$1"
    say "  -> $2"
    exit 1
}

# retry COMMAND...: the network and apt's lock may take a while after the first boot.
retry() {
    left=20
    until "$@"; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || return 1
        sleep 6
    done
}

# Masked units are neither started nor enabled by their packages, also not at an upgrade.
mask_theirs() {
    for unit in $THEIRS; do
        systemctl mask --now "$unit.service" 2>/dev/null || systemctl mask "$unit.service"
    done
}

install_packages() {
    export DEBIAN_FRONTEND=noninteractive
    retry apt-get -q -o DPkg::Lock::Timeout=300 update ||
        die "cannot read the package lists" "check the public network of this node, then run this script again"
    # shellcheck disable=SC2086 # a list of words
    retry apt-get -q -y --no-install-recommends -o DPkg::Lock::Timeout=300 \
        -o Dpkg::Options::=--force-confold install $PACKAGES ||
        die "cannot install the packages" "fix the problem shown above, then run this script again"
}

check_python() {
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        die "Python in this image is older than 3.11" "set cloud.image to Debian 12, Ubuntu 24.04 or later"
}

# fetch FILE: get natpair from a URL or from the image, and check its digest if one is given.
fetch() {
    case $source in
        http://* | https://*)
            retry curl --fail --silent --show-error --location --proto '=http,https' --max-time 300 --output "$1" "$source" ||
                die "cannot download natpair from $source" "check install.source, then run this script again" ;;
        *)
            [ -r "$source" ] || die "$source does not exist in this image" "set install.source to a path on the node or a URL"
            cp "$source" "$1" ;;
    esac
    [ -z "$sha256" ] || printf '%s  %s\n' "$sha256" "$1" | sha256sum --check --status ||
        die "the file of install.source does not have the digest install.sha256" "correct install.source or install.sha256"
}

# An archive of wheels is installed without an index. Any other source may need packages from pip's package index.
install_natpair() {
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    file=$work/${source##*/}
    fetch "$file"
    [ -x "$VENV/bin/python" ] || python3 -m venv "$VENV"
    mkdir "$work/wheels"
    case $file in
        *.whl) ;;
        *) tar -xzf "$file" -C "$work/wheels" ;;
    esac
    wheels=$(find "$work/wheels" -name '*.whl')
    if [ -n "$wheels" ]; then
        # shellcheck disable=SC2086 # names of wheels contain no spaces
        "$VENV/bin/pip" install --quiet --no-index --no-deps --force-reinstall $wheels
    else
        retry "$VENV/bin/pip" install --quiet --upgrade "$file"
    fi
    ln -sfn "$VENV/bin/natpair" /usr/bin/natpair
    natpair --version
}

start_natpair() {
    # A machine may be slow at its first boot.
    retry natpair apply --node "$node" ||
        die "natpair apply failed" "fix the problem shown above, then run this script again"
    systemctl daemon-reload
    # shellcheck disable=SC2086 # a list of words
    systemctl enable --now $OURS
}

say "network"
sh "${0%/*}/network.sh" || die "this node has no network" "fix the problem shown above, then run this script again"
say "packages"
mask_theirs
install_packages
check_python
say "natpair from $source"
install_natpair
say "services of $node"
start_natpair
natpair status --wait --timeout "$READY_SECONDS"
