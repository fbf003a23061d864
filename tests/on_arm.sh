#!/usr/bin/env bash
# Runs Python with minilm on an emulated ARM processor (64 bits, NEON): tests/on_arm.sh FOLDER ARGUMENTS OF PYTHON...
#
#     tests/on_arm.sh FOLDER -m minilm gradcheck --implementation cpu
#     tests/on_arm.sh FOLDER -m pytest tests/ops/test_exact_numbers.py
#
# The first run fills FOLDER, about 1.5 GB, with Debian's QEMU and ARM packages and with wheels; nothing is installed, and no rights
# but those of a user are needed. QEMU translates instructions, so numbers are those of the processor, and times say nothing.
set -euo pipefail
[ $# -ge 2 ] || { sed -n 2,5p "$0"; exit 2; }
mkdir -p "$1"
folder=$(cd "$1" && pwd)
source=$(cd "$(dirname "$0")/.." && pwd)
shift

if [ ! -e "$folder/ready" ]; then
  cd "$folder"
  mkdir -p state/lists/partial cache/archives/partial
  : > state/status                                     # as if nothing were installed: so what is asked for comes whole
  cat > apt.conf <<CONF
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
Dir::State "$folder/state";
Dir::State::status "$folder/state/status";
Dir::Cache "$folder/cache";
CONF
  apt-get download qemu-user-static
  dpkg-deb -x qemu-user-static_*.deb qemu
  APT_CONFIG=$folder/apt.conf apt-get update
  APT_CONFIG=$folder/apt.conf apt-get -y --download-only --no-install-recommends install python3 libstdc++6 libgomp1
  for package in cache/archives/*.deb; do dpkg-deb -x "$package" root; done
  version=$(basename root/usr/bin/python3.[0-9]*)
  python3 -m pip download --quiet --dest wheels --only-binary=:all: --python-version "${version#python}" --implementation cp \
    --platform manylinux2014_aarch64 --platform manylinux_2_27_aarch64 --platform manylinux_2_28_aarch64 \
    numpy numba safetensors tqdm pytest hypothesis
  for wheel in wheels/*.whl; do python3 -m zipfile -e "$wheel" site; done
  touch ready
  cd - > /dev/null
fi
export MINILM_CACHE=$folder/minilm
libraries=$folder/root/usr/lib/aarch64-linux-gnu:$folder/root/lib/aarch64-linux-gnu
exec "$folder"/qemu/usr/bin/qemu-aarch64-static -L "$folder/root" -E LD_LIBRARY_PATH="$libraries" \
  -E PYTHONPATH="$source:$folder/site" "$(ls "$folder"/root/usr/bin/python3.[0-9]* | head -1)" "$@"
