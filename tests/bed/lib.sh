# Shared by the scripts of the bed; read in with "." after `me` was set to the script's name.
# shellcheck shell=sh

PATH=$PATH:/usr/sbin:/sbin # mkfs.ext4, e2fsck, debugfs

die() { echo "$me: $*" >&2; exit 1; }

need() { # TOOL...
	for tool in "$@"; do
		command -v "$tool" >/dev/null || die "$tool is missing; install the packages of tests/bed/packages.txt"
	done
}

busybox_static() { # print the path of a busybox that needs no libraries
	for b in /usr/bin/busybox /bin/busybox; do
		if [ -x "$b" ] && ! ldd "$b" >/dev/null 2>&1; then
			echo "$b"
			return
		fi
	done
	die "no static busybox; install busybox-static"
}

# module_file KERNELDIR NAME: the path of a module below KERNELDIR/modules; nothing if it is built in.
module_file() {
	pattern=$(echo "$2" | sed 's/[-_]/[-_]/g')
	file=$(cd "$1/modules" && find kernel -name "$pattern.ko" | head -n 1)
	if [ -z "$file" ]; then
		grep -q "/$pattern\.ko\$" "$1/modules/modules.builtin" ||
			die "$1: this kernel has no module $2"
	fi
	echo "$file"
}

# module_order KERNELDIR NAME...: the files of these modules and of all they depend on, in an order to load them.
module_order() {
	module_kernel=$1
	shift
	for name in "$@"; do
		module_visit "$name"
	done | awk '!seen[$0]++'
}

module_visit() (
	file=$(module_file "$module_kernel" "$1")
	[ -n "$file" ] || exit 0
	for dep in $(tr '\0' '\n' <"$module_kernel/modules/$file" | sed -n 's/^depends=//p' | tr ',' ' '); do
		module_visit "$dep"
	done
	echo "$file"
)

# add_modules KERNELDIR ROOT LIST NAME...: copy modules into ROOT/lib/modules; ROOT/lib/modules/LIST has the order.
add_modules() {
	from=$1 root=$2 list=$3
	shift 3
	mkdir -p "$root/lib/modules"
	order=$(module_order "$from" "$@")
	: >"$root/lib/modules/$list"
	for file in $order; do
		cp "$from/modules/$file" "$root/lib/modules/"
		basename "$file" >>"$root/lib/modules/$list"
	done
}

# pack ROOT OUT: make an initramfs (not compressed: unpacking costs more than reading, under emulation).
pack() {
	(cd "$1" && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0) >"$2.new" || die "$2: cannot be packed; is the disk full?"
	mv "$2.new" "$2"
}
