#!/usr/bin/env bash
# Runs the tests of kernels with AVX-512 and with its bfloat16 instructions on a machine that lacks them: in Bochs, which emulates a whole PC.
# Debian's Linux boots there in half a minute, with the test program in its initial file system; what it prints comes back by the serial line.
# `make test-avx512` installs what Debian has. Debian 12's Bochs, 2.7, lacks the bfloat16 instructions: build version 3.0 from its source with
#
#   ./configure --enable-x86-64 --enable-avx --enable-evex --enable-all-optimizations --enable-memtype --disable-show-ips --with-nogui && make
#
# BOCHS=that program, with its folder bios beside it; LINUX=a vmlinuz, instead of the one of linux-image-cloud-amd64, which is downloaded but
# not installed; RUN=regular expression of the tests; SETS=one of the two instruction sets. All tests take half an hour.
set -euo pipefail
cd "$(dirname "$0")/.."

bochs=$(command -v "${BOCHS:-bochs}" || true)
sets=${SETS:-avx512bf16 avx512}
bios=$(dirname "$bochs")/bios
if [ -z "$bochs" ] || [ ! -e "$bios/BIOS-bochs-latest" ]; then
	echo "avx512: skipped: no Bochs; test/avx512.sh says how to build one and name it with BOCHS="
	exit 0
fi
isolinux=/usr/lib/ISOLINUX busybox=/bin/busybox
for needed in "$isolinux/isolinux.bin" /usr/lib/syslinux/modules/bios/ldlinux.c32 "$busybox" /usr/bin/xorriso /usr/bin/cpio; do
	[ -e "$needed" ] || { echo "avx512: skipped: $needed is not there"; exit 0; }
done

work=$PWD/build/avx512
rm -rf "$work/root" "$work/disk" "$work/serial"
mkdir -p "$work/root/bin" "$work/root/kernels" "$work/root/proc" "$work/root/dev" "$work/root/tmp" "$work/disk/isolinux"

linux=${LINUX:-$(find "$work" -name 'vmlinuz-*-amd64' | sort | tail -n 1)}
if [ -z "$linux" ]; then
	package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: //p')
	(cd "$work" && apt-get -qq download "$package" 2>/dev/null && dpkg -x "$package"_*.deb linux)
	linux=$(find "$work/linux" -name 'vmlinuz-*')
fi

CGO_ENABLED=1 go test -c -ldflags '-linkmode external -extldflags "-static -Wl,--no-warnings"' -o "$work/root/kernels.test" ./kernels
cp "$busybox" "$work/root/bin/busybox"
cat >"$work/root/init" <<END
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t tmpfs tmp /tmp
exec </dev/null >/dev/ttyS0 2>&1
cd /kernels
for isa in $sets; do
	HPCBERT_ISA=\$isa TMPDIR=/tmp /kernels.test -test.v -test.timeout 0 -test.run '${RUN:-.}'
	echo "guest: \$isa: exit \$?"
done
/bin/busybox sleep 1
/bin/busybox poweroff -f
END
chmod +x "$work/root/init"
(cd "$work/root" && find . | cpio -o -H newc --quiet | gzip -1) >"$work/disk/initrd.gz"
cp "$linux" "$work/disk/vmlinuz"
cp "$isolinux/isolinux.bin" /usr/lib/syslinux/modules/bios/ldlinux.c32 "$work/disk/isolinux"
# 580 is "fast short REP MOV": without "enhanced REP MOV", which Bochs's BIOS leaves off, Linux 6.1 moves memory wrongly and does not come up.
cat >"$work/disk/isolinux/isolinux.cfg" <<'END'
default linux
label linux
 kernel /vmlinuz
 append initrd=/initrd.gz console=ttyS0 quiet nokaslr mitigations=off clearcpuid=580 no5lvl
END
xorriso -as mkisofs -quiet -o "$work/disk.img" -b isolinux/isolinux.bin -c isolinux/boot.cat -no-emul-boot -boot-load-size 4 -boot-info-table \
	-isohybrid-mbr "$isolinux/isohdpfx.bin" "$work/disk" 2>"$work/xorriso.log"

# Five-level page tables and protection keys are beyond the emulated power-off.
cat >"$work/bochsrc" <<END
cpu: model=sapphire_rapids, exclude_features="la57,pks,pku,waitpkg", ips=100000000, reset_on_triple_fault=0
memory: guest=2048, host=2048
romimage: file=$bios/BIOS-bochs-latest, options=fastboot
vgaromimage: file=$bios/VGABIOS-lgpl-latest.bin
display_library: nogui
ata0-master: type=disk, path=$work/disk.img, mode=volatile
boot: disk
com1: enabled=1, mode=file, dev=$work/serial
clock: sync=none
log: $work/bochs.log
panic: action=fatal
END
rm -f "$work/disk.img.lock"
"$bochs" -q -f "$work/bochsrc" >"$work/bochs.out" 2>&1 || true # its exit status says nothing

grep -E '^ *--- FAIL|^ +[a-z_]+_test\.go:[0-9]+: [^s]|^panic' "$work/serial" | grep -vE 'kernels tested on|GFLOP/s' || true
for isa in $sets; do
	grep -q "guest: $isa: exit 0" "$work/serial" || { echo "avx512: $isa failed: see $work/serial"; exit 1; }
	echo "avx512: tests passed on $isa"
done
