#!/bin/sh
# The bounded model checker CBMC, from Debian; unpacked, never installed. Prints the
# command that runs it.
#
# usage: fetch-cbmc.sh DIR
#
# CBMC of this machine is taken when there is one. Debian 12 has none, so Debian 11's
# is fetched (5.12, with the solver it is linked with); it runs on 12.
set -eu

die() { echo "fetch-cbmc: $*" >&2; exit 1; }

[ $# -eq 1 ] || die "one argument expected: the folder to fill"
if command -v cbmc; then
	exit 0
fi
mkdir -p "$1" && cd "$1" || die "$1: cannot be made; choose a folder that can be written"
here=$(pwd)
if [ ! -x usr/bin/cbmc ]; then
	mkdir -p apt/lists/partial apt/cache/archives/partial apt/sources
	printf 'Types: deb\nURIs: %s\nSuites: bullseye\nComponents: main\nSigned-By: %s\n' \
		http://deb.debian.org/debian /usr/share/keyrings/debian-archive-keyring.gpg \
		>apt/sources/bullseye.sources
	options="-o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts=$here/apt/sources
		-o Dir::State::lists=$here/apt/lists -o Dir::Cache=$here/apt/cache
		-o APT::Sandbox::User=root -q"
	# shellcheck disable=SC2086
	{ apt-get $options update && apt-get $options download cbmc minisat; } >fetch.log 2>&1 ||
		die "cbmc and minisat of Debian 11 cannot be fetched, see $here/fetch.log; install a package cbmc"
	for deb in cbmc_*.deb minisat_*.deb; do
		dpkg-deb -x "$deb" .
	done
fi
echo "env LD_LIBRARY_PATH=$here/usr/lib $here/usr/bin/cbmc"
