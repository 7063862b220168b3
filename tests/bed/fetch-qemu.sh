#!/bin/sh
# The QEMU of the bed: the one of the release's backports, unpacked beside the kernel and never installed; where it cannot
# be had, a copy of the installed one. mend-qemu.py takes two faults of its SVM out of either.
#
# usage: fetch-qemu.sh DIR
#
# Leaves in DIR: run    a script that starts QEMU
#                from   one line: which QEMU that is
# Does nothing when both are there already; a fall-back is tried anew after ten minutes.
set -eu

[ $# -eq 1 ] || { echo "fetch-qemu: one argument expected: the folder to fill" >&2; exit 1; }
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
cd "$1"
dir=$(pwd)
mend=$(cksum <"$here/mend-qemu.py")
if [ -x run ] && [ "$(cat mend 2>/dev/null)" = "$mend" ] && { grep -q backports from || [ -n "$(find from -mmin -10)" ]; }; then
	exit 0
fi

# fall_back WHY: a copy of the installed QEMU.
fall_back() {
	rm -rf root
	mkdir -p root/usr/bin
	cp "$(command -v qemu-system-x86_64)" root/usr/bin/
	mended=$("$here/mend-qemu.py" root/usr/bin/qemu-system-x86_64) || true
	printf '#!/bin/sh\nexec %s/root/usr/bin/qemu-system-x86_64 -L /usr/share/qemu -L /usr/share/seabios "$@"\n' "$dir" >run
	chmod 755 run
	echo "$mend" >mend
	echo "the installed $(./run --version | head -n 1), $mended; no newer one: $1" >from
	exit 0
}

# The mirror that this machine uses for its own release.
. /etc/os-release
suite=${VERSION_CODENAME:-}-backports
mirror=$(apt-get indextargets --format '$(CODENAME) $(REPO_URI)' 2>/dev/null | sed -n "s/^${VERSION_CODENAME:-none} //p" | sort -u | head -n 1)
[ -n "$mirror" ] || fall_back "apt knows no mirror of ${VERSION_CODENAME:-this release}"
key=/usr/share/keyrings/debian-archive-keyring.gpg
[ -s "$key" ] || fall_back "$key is missing"

# A list and a cache of our own: what is installed here, and from where, stays as it is.
rm -rf apt root
mkdir -p apt/lists/partial apt/cache/archives/partial root
echo "deb [signed-by=$key] $mirror $suite main" >apt/sources.list
own_apt() {
	timeout 300 apt-get -q -o APT::Sandbox::User=root -o Dir::Etc::sourcelist="$dir/apt/sources.list" -o Dir::Etc::sourceparts=- \
		-o Dir::State::lists="$dir/apt/lists" -o Dir::Cache="$dir/apt/cache" "$@" >>"$dir/apt.log" 2>&1
}
: >apt.log
own_apt update || fall_back "$suite cannot be read, see $dir/apt.log"
(cd root && own_apt download qemu-system-x86 qemu-system-common qemu-system-data seabios) ||
	fall_back "no QEMU in $suite, see $dir/apt.log"
for deb in root/*.deb; do
	dpkg-deb -x "$deb" root || fall_back "$deb cannot be unpacked"
done
rm -rf root/*.deb apt
missing=$(ldd root/usr/bin/qemu-system-x86_64 | sed -n 's/ => not found//p' | tr -d '\t' | tr '\n' ' ')
[ -z "$missing" ] || fall_back "it needs $missing"
printf '#!/bin/sh\nexec %s/root/usr/bin/qemu-system-x86_64 -L %s/root/usr/share/qemu -L %s/root/usr/share/seabios "$@"\n' \
	"$dir" "$dir" "$dir" >run
chmod 755 run
./run --version >/dev/null || fall_back "it does not start"
mended=$("$here/mend-qemu.py" root/usr/bin/qemu-system-x86_64) || true
echo "$mend" >mend
echo "$(./run --version | head -n 1), of $suite, $mended" >from
