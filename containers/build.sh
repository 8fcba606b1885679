#!/usr/bin/env bash
# Build the images of this code and print their sizes; called by `make images`.
#
#   ENGINE         docker (default) or podman
#   GPU            1: also the trainer with CUDA
#   BASE_IMAGE     another base image, or the same by digest
#   INDEX_URL      a package index of your own; in no image, but in the builder's cache on this machine
#   CA_BUNDLE      a file with certificates (PEM) to trust as well
#   BUILD_OPTIONS  further options for `docker build`, such as --network=host
set -euo pipefail
cd "$(dirname "$0")/.."

engine=${ENGINE:-docker}
python=${PYTHON:-python3}
read -ra options <<<"${BUILD_OPTIONS:-}"

command -v "$engine" >/dev/null || { echo "$engine is missing. On Debian: sudo apt-get install -y docker.io" >&2; exit 1; }
"$engine" info >/dev/null 2>&1 || {
	echo "$engine does not answer: its engine is not running, or this user may not use it." >&2
	"$engine" info 2>&1 | grep -iE 'error|denied|cannot' | head -3 >&2
	exit 1
}

# The builder reads a copy of exactly what names the images, the same from every checkout. In this folder, because the
# engine may not be allowed to read /tmp, as Docker's snap.
umask 022
mkdir -p build
context=$(mktemp -d build/context.XXXXXX)
trap 'rm -rf "$context"' EXIT
tag=$("$python" -m pipelines.container_images context "$context")
[ -z "${CA_BUNDLE:-}" ] || cp "$CA_BUNDLE" "$context/containers/certificates/ca-bundle.pem"

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$context/pyproject.toml")
# Only a repository of the project's own is asked, not one that surrounds it. A name and password are cut out of the
# address; a folder of this machine is no source.
source=$(env -u GIT_DIR GIT_CEILING_DIRECTORIES="$(dirname "$(pwd -P)")" git remote get-url origin 2>/dev/null |
	sed -nE 's#^(https?|ssh)://([^@/]*@)?#\1://#p; s#^git@([^:]+):#https://\1/#p') || true

[ -z "${BASE_IMAGE:-}" ] || options+=(--build-arg "BASE_IMAGE=$BASE_IMAGE")
# Named only: the builder takes the values from the environment, so that no process list shows them.
[ -z "${INDEX_URL:-}" ] || options+=(--build-arg INDEX_URL)
for proxy in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
	[ -z "${!proxy:-}" ] || options+=(--build-arg "$proxy")
done

# Written into the file, not given as arguments: Podman's builder takes a label made from an argument, or given beside
# the file, out of its cache with the value of an older commit.
oci=org.opencontainers.image
labels="$oci.revision=\"$tag\" $oci.version=\"$version\" $oci.source=\"$source\""

sizes=()
# ${options[@]+...}: bash before 4.4, as macOS has it, takes an empty list for an unset variable.
build() { # build IMAGE TARGET [OPTION...]
	local image=$1 target=$2 started=$SECONDS
	shift 2
	printf '\n=== %s\n' "$image:$tag"
	sed "s|^LABEL .*|& $oci.title=\"$image\" $labels|" "$context/containers/Dockerfile" |
		"$engine" build --file - --target "$target" --tag "$image:$tag" ${options[@]+"${options[@]}"} "$@" "$context"
	local bytes
	bytes=$("$engine" image inspect --format '{{.Size}}' "$image:$tag")
	sizes+=("$(printf '%-64s %8s MB %6s s' "$image:$tag" "$((bytes / 1000000))" "$((SECONDS - started))")")
}

build mnist-python-steps steps
build mnist-python-trainer trainer
[ -z "${GPU:-}" ] || build mnist-python-trainer-gpu trainer --build-arg TRAIN_EXTRA=gpu

printf '\n%-64s %11s %8s\n' image uncompressed built
printf '%s\n' "${sizes[@]}"
