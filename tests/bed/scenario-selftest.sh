# Proves the bed itself, without holdfast: KVM runs a VM, and the load runs on both disks with O_DIRECT.
set -eu
. /etc/scenario-lib.sh

/kvm-hlt 2>&1 | sed 's/^/HFBED /'
/kvm-hlt >/dev/null 2>&1 || exit 1
/hfload /dev/vda 0 33554432 4 4096 50 --name raw --seconds 4 --status 1000 || exit 1
say "selftest done"
exit 0
