#!/bin/sh
# Make this fresh Debian or Ubuntu machine a node of the pair: packages, network, natpair, its services.
#
#   sh install.sh NODE SOURCE [SHA256]
#
# network.sh lies beside it. cloud-init runs it once, at the first boot. It may be run again at any time: each step
# looks at what is there, and none disturbs a node that serves. Its output is in /var/log/cloud-init-output.log.
set -eu

node=$1
source=$2
sha256=${3:-}

readonly PACKAGES="keepalived nftables conntrackd conntrack bird2 iproute2 netbase procps
    python3-venv ca-certificates curl systemd"
# What these packages would start by themselves; natpair starts each of them from units of its own.
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

# retry COMMAND...: the network and apt's lock may need a while after the first boot.
retry() {
    left=20
    until "$@"; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || return 1
        sleep 6
    done
}

# A masked unit is neither started nor enabled by its package, now and at each upgrade.
mask_theirs() {
    for unit in $THEIRS; do
        systemctl mask --now "$unit.service" 2>/dev/null || systemctl mask "$unit.service"
    done
}

install_packages() {
    export DEBIAN_FRONTEND=noninteractive
    retry apt-get -q -o DPkg::Lock::Timeout=300 update ||
        die "the package lists cannot be read" "check the public network of this node, then run this script again"
    # shellcheck disable=SC2086 # a list of words
    retry apt-get -q -y --no-install-recommends -o DPkg::Lock::Timeout=300 \
        -o Dpkg::Options::=--force-confold install $PACKAGES ||
        die "the packages cannot be installed" "read the lines above, mend it, then run this script again"
}

check_python() {
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        die "this image has a Python older than 3.11" "set cloud.image to Debian 12, Ubuntu 24.04 or later"
}

# fetch FILE: natpair itself, from a URL or from the image, and only what has the digest that was asked for.
fetch() {
    case $source in
        http://* | https://*)
            retry curl --fail --silent --show-error --location --proto '=http,https' --max-time 300 --output "$1" "$source" ||
                die "natpair cannot be fetched from $source" "check install.source, then run this script again" ;;
        *)
            [ -r "$source" ] || die "there is no $source in this image" "install.source is a path on the node, or a URL"
            cp "$source" "$1" ;;
    esac
    [ -z "$sha256" ] || printf '%s  %s\n' "$sha256" "$1" | sha256sum --check --status ||
        die "what install.source gives does not have the digest install.sha256" "see which of the two is wrong"
}

# An archive that holds wheels is installed from them alone; anything else may need packages from where pip looks.
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
        # shellcheck disable=SC2086 # names of wheels hold no blanks
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
        die "natpair apply failed" "read the lines above, fix it, then run this script again"
    systemctl daemon-reload
    # shellcheck disable=SC2086 # a list of words
    systemctl enable --now $OURS
}

say "network"
sh "${0%/*}/network.sh" || die "this node has no network" "read the lines above, mend it, then run this script again"
say "packages"
mask_theirs
install_packages
check_python
say "natpair from $source"
install_natpair
say "services of $node"
start_natpair
natpair status --wait --timeout "$READY_SECONDS"
