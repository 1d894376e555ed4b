#!/usr/bin/env bash
# image.sh makes the image of sub/Dockerfile for a cluster. From the repository's folder:
#
#   sub/image.sh build                       the image hpcbert, by docker, podman or buildah, the first that works
#   sub/image.sh enroot [hpcbert.sqsh]       and a file for pyxis:  IMAGE=$PWD/hpcbert.sqsh sbatch -N4 sub/pretrain.sub
#   sub/image.sh apptainer [hpcbert.sif]     and a file for Apptainer:  CONTAINER=apptainer IMAGE=$PWD/hpcbert.sif sbatch -N4 sub/pretrain.sub
#
# DEBIAN and GO name other base images (of a mirror, say), TAG another name of the image. A file that is there is not made again.
set -euo pipefail

: "${TAG:=hpcbert}"
say() { printf 'image: info: %s\n' "$*" >&2; }
die() { printf 'image: error: %s\nimage: hint: %s\n' "$1" "$2" >&2; exit 1; }
usage() { echo "usage: image.sh build, enroot [FILE.sqsh] or apptainer [FILE.sif]" >&2; exit 2; }

# builder prints the program that builds images here: docker alone is not enough, its daemon must answer.
builder() {
	if docker info >/dev/null 2>&1; then
		echo docker
	elif podman info >/dev/null 2>&1; then
		echo podman
	elif command -v buildah >/dev/null; then
		echo buildah
	else
		die "neither docker (with its daemon), podman nor buildah works here" "install one, for instance: apt-get install buildah; or build on another machine and copy the file"
	fi
}

build() {
	local arguments=(--build-arg VERSION="$(git describe --always --dirty 2>/dev/null || echo unknown)")
	[ -f sub/Dockerfile ] || die "sub/Dockerfile: not found" "run this in the repository's folder"
	[ -z "${DEBIAN:-}" ] || arguments+=(--build-arg DEBIAN="$DEBIAN")
	[ -z "${GO:-}" ] || arguments+=(--build-arg GO="$GO")
	say "$program builds $TAG"
	"$program" build -t "$TAG" "${arguments[@]}" -f sub/Dockerfile . >&2
}

# prepare FILE PROGRAM WHERE checks that a file can be made, and builds what it is made of.
prepare() {
	[ ! -e "$1" ] || die "$1: is there" "remove it to have it made again"
	command -v "$2" >/dev/null || die "$2: not found" "install it from $3, or make the file on a machine that has it and copy it"
	[[ $2 != enroot || $program != buildah ]] || die "enroot cannot read the images of buildah" "install docker or podman, or push the image to a registry and enroot import docker://REGISTRY#$TAG"
	build
}

[[ $# = 1 || $# = 2 ]] || usage
case $1 in
build)
	[ $# = 1 ] || usage
	program=$(builder)
	build
	say "made $TAG"
	;;
enroot)
	file=${2:-hpcbert.sqsh} program=$(builder)
	prepare "$file" enroot github.com/NVIDIA/enroot
	case $program in
	docker) enroot import -o "$file" "dockerd://$TAG" >&2 ;;
	podman) enroot import -o "$file" "podman://$TAG" >&2 ;;
	esac
	say "made $file"
	;;
apptainer)
	file=${2:-hpcbert.sif} program=$(builder)
	prepare "$file" apptainer apptainer.org
	archive=$(mktemp -d)
	trap 'rm -rf "$archive"' EXIT
	case $program in
	buildah) buildah push "$TAG" "docker-archive:$archive/image.tar:$TAG" >&2 ;;
	*) "$program" save -o "$archive/image.tar" "$TAG" >&2 ;;
	esac
	apptainer build "$file" "docker-archive:$archive/image.tar" >&2
	say "made $file"
	;;
*) usage ;;
esac
