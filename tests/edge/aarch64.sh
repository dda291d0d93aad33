#!/usr/bin/env bash
# Does the wheel do its work on a 64-bit ARM board? A Debian arm64 root, real aarch64 wheels from the
# package index, and qemu in place of the board.
#
#     tests/edge/aarch64.sh
#
# Builds the wheel, installs it with the extra "tflite" there and here, and runs edge-derain, both
# self-tests and every shipped artifact on one picture in both; results have to agree within the
# limits of tests/edge/outputs.py and edge_runtime/report/golden.py. Prints SKIPPED and why, and ends with 0,
# where that cannot be tried. Ends after 15 minutes at the latest. It needs root and, on Debian:
#
#     apt install mmdebstrap arch-test qemu-user-static binfmt-support python3-venv git
#
# EDGE_DERAIN_ARM64_ROOT=DIR keeps the root for the next time. apt and pip are used as they are set up.
#
# Measured on x86: 3 minutes of one core and 255 MB for the root, 2 minutes for the rest. Values of
# float artifacts differed by up to 6e-7 of 1 (allowed: 1e-5), of int8 ones by up to 0.03 (0.05), and
# pictures that edge-derain wrote not at all (1 level of 255, int8 16). The warnings of cpuinfo are
# those of a board without /sys.
set -euo pipefail
cd "$(dirname "$0")/../.."

readonly SUITE=bookworm PYTHON=3.11 GLIBC=36 CAP=900
self=tests/edge/aarch64.sh

skip() {
  echo "SKIPPED: $self: $1"
  exit 0
}

[ "$(uname -s)" = Linux ] || skip "needs Linux"
for tool in mmdebstrap arch-test unshare timeout git python3; do
  command -v "$tool" >/dev/null || skip "$tool is not installed"
done
python3 -c "import pip, venv, ensurepip" 2>/dev/null || skip "python3 has no pip or no venv"
[ "$(id -u)" = 0 ] || skip "needs root, for mounts and chroot"
arch-test arm64 >/dev/null || skip "this machine runs no arm64 programs; install qemu-user-static"
unshare --mount true 2>/dev/null || skip "mounts are not allowed here, as in a container"

if [ -z "${EDGE_DERAIN_CAPPED:-}" ]; then
  status=0
  EDGE_DERAIN_CAPPED=1 timeout --kill-after=30 "$CAP" "$BASH" "$self" || status=$?
  [ "$status" != 124 ] || echo "$self: not done after $CAP seconds, ended"
  exit "$status"
fi

work=$(mktemp -d)
root=${EDGE_DERAIN_ARM64_ROOT:-$work/root}
board=/edge-derain-test.$$ # as it is called in the root
# Mounts are made in namespaces of their own, so none is left for rm to follow.
trap 'rm -rf "${root:?}$board" "$work"' EXIT

say() { printf '== %4ds %s\n' "$SECONDS" "$1"; }

there() { # COMMAND...: run in the root, with /proc and without /sys, which crashes CPU detection
  # shellcheck disable=SC2016
  unshare --mount --propagation private bash -euc '
    root=$1 && shift
    mount -t proc proc "$root/proc"
    exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME="$BOARD" TMPDIR="$BOARD" LC_ALL=C.UTF-8 OMP_NUM_THREADS=1 \
      chroot "$root" "$@"' "$0" "$root" "$@"
}
export BOARD=$board

if [ ! -e "$root/usr/bin/python$PYTHON" ]; then
  say "making a root of Debian $SUITE arm64"
  mkdir -p "$(dirname "$root")"
  rm -rf "$root.part"
  unshare --mount --propagation private mmdebstrap --quiet --mode=root --architectures=arm64 \
    --variant=minbase --include=python3-venv "$SUITE" "$root.part" >"$work/log" 2>&1 ||
    { rm -rf "$root.part"; skip "mmdebstrap failed: $(grep '^E:' "$work/log" | tail -n 1)"; }
  mv "$root.part" "$root"
fi

say "building the wheel and fetching the wheels that it needs on aarch64"
mkdir -p "$work/source" "$work/x86" "$root$board/wheels" "$root$board/out"
git ls-files -z --cached --others --exclude-standard |
  tar --create --null --files-from=- --ignore-failed-read 2>/dev/null | tar -x -C "$work/source"
python3 -m pip wheel --quiet --no-deps --wheel-dir "$work" "$work/source"
wheel=$(echo "$work"/edge_derain-*.whl)
platforms=(--platform manylinux2014_aarch64)
for ((minor = 17; minor <= GLIBC; minor++)); do
  platforms+=(--platform "manylinux_2_${minor}_aarch64")
done
# pyvips comes without a wheel, and is Python alone.
python3 -m pip wheel --quiet --no-deps --wheel-dir "$root$board/wheels" 'pyvips>=3'
python3 -m pip download --quiet --only-binary=:all: --implementation cp --python-version "$PYTHON" \
  "${platforms[@]}" --find-links "$root$board/wheels" --dest "$root$board/wheels" "${wheel}[tflite]"
ls "$root$board/wheels"

say "installing it there"
there python3 -m venv "$board/env"
there "$board/env/bin/pip" install --quiet --no-compile --no-index --find-links "$board/wheels" \
  'edge-derain[tflite]'

say "installing it here"
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet "${wheel}[tflite]"

"$work/env/bin/python" -I - "$root$board/rainy.png" <<'PYTHON'
import sys

from edge_runtime.pictures.picture import Picture, read_picture, write_picture

write_picture(sys.argv[1], Picture(read_picture("examples/temple.jpg").rgb[100:196, 100:228]))
PYTHON
cp "$root$board/rainy.png" "$work/rainy.png"
cp tests/edge/outputs.py "$root$board"

say "self-tests there"
there "$board/env/bin/edge-derain" --version
there "$board/env/bin/edge-derain" --self-test

say "deraining a picture there and here"
for file in fp32.onnx int8.onnx fp16.tflite int8.tflite; do
  options=(--model "small_$file" --threads 1)
  there "$board/env/bin/edge-derain" "$board/rainy.png" "${options[@]}" -o "$board/out/$file.png"
  "$work/env/bin/edge-derain" "$work/rainy.png" "${options[@]}" -o "$work/x86/$file.png"
done

say "every artifact there and here"
there "$board/env/bin/python" "$board/outputs.py" write "$board/rainy.png" "$board/out"
"$work/env/bin/python" tests/edge/outputs.py write "$work/rainy.png" "$work/x86"

say "differences"
"$work/env/bin/python" tests/edge/outputs.py compare "$work/x86" "$root$board/out"
say "passed"
