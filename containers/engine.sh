#!/usr/bin/env bash
# Start a Docker Engine and provide the base image, also on a bare Debian machine; stop that engine again.
#
#   containers/engine.sh start   starts no engine where one already answers; otherwise needs root
#   containers/engine.sh stop    stops an engine that `start` started, and no other
#
# Where the base image can't be pulled, stand-in-base.sh makes one from Debian's packages.
set -euo pipefail
cd "$(dirname "$0")/.."

state=/run/mnist-engine
pid_file=$state/dockerd.pid
log=$state/dockerd.log
base=$(sed -n 's/^ARG BASE_IMAGE=//p' containers/Dockerfile)

answers() { docker info >/dev/null 2>&1; }

need() { # need COMMAND PACKAGE: install Debian's package when the command is missing
	command -v "$1" >/dev/null && return
	[ "$(id -u)" = 0 ] || { echo "$1 is missing: sudo apt-get install -y $2" >&2; exit 1; }
	[ -n "${lists_ready:-}" ] || apt-get update -qq
	lists_ready=1
	# Another program may be installing packages: wait for it.
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq -o DPkg::Lock::Timeout=300 --no-install-recommends "$2" >/dev/null
}

start_engine() {
	[ "$(id -u)" = 0 ] || { echo "No Docker Engine answers, and only root can start one: sudo $0 start" >&2; exit 1; }
	mkdir -p "$state"
	# The file of an engine that was killed keeps the next one from starting.
	rm -f "$pid_file"
	setsid dockerd --pidfile "$pid_file" >"$log" 2>&1 </dev/null &
	for _ in $(seq 60); do
		answers && return
		kill -0 $! 2>/dev/null || break
		sleep 0.5
	done
	tail -20 "$log" >&2
	echo "The Docker Engine did not start; its log: $log" >&2
	exit 1
}

start() {
	need docker docker.io
	if answers; then
		echo "A Docker Engine answers already"
	else
		need dockerd docker.io
		start_engine
		echo "Docker Engine $(docker version --format '{{.Server.Version}}') started; its log: $log"
	fi
	if docker image inspect "$base" >/dev/null 2>&1; then
		echo "$base: exists"
	elif timeout 300 docker pull --quiet "$base" 2>/dev/null; then
		echo "$base: pulled"
	else
		need debootstrap debootstrap
		containers/stand-in-base.sh
	fi
}

stop() {
	[ -f "$pid_file" ] || { echo "No engine was started here"; return; }
	local pid
	pid=$(cat "$pid_file")
	if kill "$pid" 2>/dev/null; then
		for _ in $(seq 60); do
			kill -0 "$pid" 2>/dev/null || break
			sleep 0.5
		done
		if kill -9 "$pid" 2>/dev/null; then echo "The Docker Engine did not end within 30 s: killed" >&2; fi
	fi
	rm -f "$pid_file"
	echo "Docker Engine stopped"
}

case ${1:-} in
	start) start ;;
	stop) stop ;;
	*) echo "usage: $0 start|stop" >&2; exit 2 ;;
esac
