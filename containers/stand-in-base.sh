#!/usr/bin/env bash
# Make a substitute for the Dockerfile's base image where no image registry can be reached: Debian's own Python, from
# Debian's packages, with the certificates of this machine, under the base image's name.
#
#   sudo containers/stand-in-base.sh
#
#   ENGINE         docker (default) or podman
#   BASE_IMAGE     its name; by default the one in the Dockerfile
#   DEBIAN_MIRROR  where packages come from
set -euo pipefail
cd "$(dirname "$0")/.."

engine=${ENGINE:-docker}
base=${BASE_IMAGE:-$(sed -n 's/^ARG BASE_IMAGE=//p' containers/Dockerfile)}
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}

command -v debootstrap >/dev/null || { echo "debootstrap is missing: sudo apt-get install -y debootstrap" >&2; exit 1; }
[ "$(id -u)" = 0 ] || { echo "Only root can make a Debian system: sudo $0" >&2; exit 1; }

system=$(mktemp -d)
trap 'rm -rf --one-file-system "$system"' EXIT
echo "Making a substitute for $base from Debian's packages"
# The folder must be open to all: it becomes the image's root.
chmod 755 "$system"
debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$system" "$mirror" \
	>"$system.log" 2>&1 || { tail -20 "$system.log" >&2; exit 1; }
rm -f "$system.log"
cp -L /etc/ssl/certs/ca-certificates.crt "$system/etc/ssl/certs/ca-certificates.crt"
# Slim images leave these out too.
rm -rf "$system"/var/cache/apt/* "$system"/var/lib/apt/lists/* "$system"/var/log/* \
	"$system"/usr/share/man/* "$system"/usr/share/locale/* "$system"/usr/share/info/*
find "$system/usr/share/doc" -type f ! -name copyright -delete
find "$system/usr/lib" -name __pycache__ -type d -prune -exec rm -r {} +
tar -C "$system" --numeric-owner -c . | "$engine" import - "$base" >/dev/null
echo "$base: made"
