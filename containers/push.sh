#!/usr/bin/env bash
# Push the images of this code to a registry and write images.lock, which names them for platforms. Log in to the registry
# first. `make push REGISTRY=host/path` builds what is missing and calls this.
#
#   ENGINE        docker (default) or podman
#   PUSH_OPTIONS  further options for `podman push`, such as --tls-verify=false
set -euo pipefail
cd "$(dirname "$0")/.."

engine=${ENGINE:-docker}
python=${PYTHON:-python3}
registry=${1:-}
read -ra options <<<"${PUSH_OPTIONS:-}"
[ -n "$registry" ] || { echo "Where to? make push REGISTRY=host/path" >&2; exit 2; }
registry=${registry%/}

"$python" -m pipelines.container_images require-commit
tag=$("$python" -m pipelines.container_images tag)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

push() { # push REFERENCE: print the digest that the registry gives it
	# Podman's own records have the digest before compression, Docker's the one of each registry it pushed to.
	if [ "$engine" = podman ]; then
		podman push --quiet ${options[@]+"${options[@]}"} --digestfile "$scratch/digest" "$1" >&2
		cat "$scratch/digest"
	else
		"$engine" push ${options[@]+"${options[@]}"} "$1" | tee "$scratch/push" >&2
		sed -nE 's/^.*: digest: (sha256:[0-9a-f]{64}) size: .*$/\1/p' "$scratch/push"
	fi
}

references=()
for image in mnist-python-steps mnist-python-trainer mnist-python-trainer-gpu; do
	if ! "$engine" image inspect "$image:$tag" >/dev/null 2>&1; then
		[ "$image" = mnist-python-trainer-gpu ] && continue
		echo "$image:$tag is not on this machine: make images" >&2
		exit 1
	fi
	"$engine" tag "$image:$tag" "$registry/$image:$tag"
	digest=$(push "$registry/$image:$tag")
	"$engine" rmi "$registry/$image:$tag" >/dev/null
	references+=("$image=$registry/$image@$digest")
done
"$python" -m pipelines.container_images lock "${references[@]}"
printf '%s\n' "${references[@]}"
echo "images.lock: written"
