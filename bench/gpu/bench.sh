#!/usr/bin/env bash
# Timings of the GPU backend beside PyTorch on the GPU of this machine. Needs an NVIDIA driver, bash, python3 and
# PyTorch; no Go, no CUDA toolkit. just gpu-build puts this script and the programs it runs into outputs/gpu.
#
#   bench.sh [--dry] [flags of the program, such as -only gemm,attention -models S -rounds 3 -out DIR]
#
# Tables go to results/ beside this script, or to $OUT/results (gpu.md holds them all; copy it to bench/gpu.md). Each of the
# sections gemm, attention, memory, step and start can be run alone with -only. $PYTHON names another Python. --dry tries
# everything at tiny sizes on the CPU: it measures nothing real and writes to dry/.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHON=${PYTHON:-python3}
out=${OUT:-$here}/results
args=()
for a in "$@"; do
	if [[ $a == --dry || $a == -dry ]]; then
		args+=(-dry)
		out=${OUT:-$here}/dry
	else
		args+=("$a")
	fi
done
exec "$here/bench" -out "$out" "${args[@]}"
