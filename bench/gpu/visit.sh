#!/usr/bin/env bash
# Everything worth measuring on a GPU that is there for minutes only, the most valuable first. Needs an NVIDIA driver, bash
# and coreutils, and Python with PyTorch for the comparisons; no Go, no CUDA toolkit. just gpu-build puts this script and the
# programs it runs into outputs/gpu.
#
#   visit.sh [--budget SECONDS] [--sides dmx,eager,compiled] [--dry] [STAGE...]
#
# Ends within the budget (default 600). Every table is printed row by row and kept under visit/ beside this script, or under
# $OUT/visit, so that nothing is lost when the machine goes. A stage starts only if what it needs at least is left; the table
# at the end says what was left out. $PYTHON names another Python; $FASHION_MNIST a folder with the four IDX files.
# --dry runs every stage at tiny sizes on the interpreter and the CPU: it measures nothing real.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHON=${PYTHON:-python3}
budget=600 sides=dmx,eager,compiled dry=
names=()
usage() {
	echo "visit.sh: $1; usage: visit.sh [--budget SECONDS] [--sides dmx,eager,compiled] [--dry] [STAGE...]" >&2
	exit 2
}
while (($#)); do
	case $1 in
	--budget) [[ ${2:-} =~ ^[0-9]+$ ]] || usage "--budget needs a number of seconds" && budget=$2 && shift ;;
	--sides) [[ -n ${2:-} ]] || usage "--sides needs a list" && sides=$2 && shift ;;
	--dry) dry=1 ;;
	-*) usage "unknown flag $1" ;;
	*) names+=("$1") ;;
	esac
	shift
done
out=${OUT:-$here}/visit
mkdir -p "$out"
device=cuda:0
bench=("$here/bench" -rounds 3)
if [[ -n $dry ]]; then
	echo "DRY RUN: an interpreter on the CPU stands in for the GPU. No number below means anything."
	device=emulated-cuda
	bench+=(-dry)
fi
summary=()
failed=0

remaining() { echo $((budget - SECONDS)); }

# stage NAME LEAST MOST WHAT COMMAND... runs a command for at most MOST seconds, or what is left, if at least LEAST are left.
# A program that is asked to end is given 5 seconds.
stage() {
	local name=$1 least=$2 most=$3 what=$4 started=$SECONDS left limit status
	shift 4
	if ((${#names[@]})) && [[ " ${names[*]} " != *" $name "* ]]; then return; fi
	left=$(($(remaining) - 5))
	if ((left < least)); then
		summary+=("| $name | $what | left out: needs $least s, $left s were left | |")
		return
	fi
	limit=$((left < most ? left : most))
	printf '\n==== %s: %s (%d s of %d left, at most %d)\n\n' "$name" "$what" "$(remaining)" "$budget" "$limit"
	timeout --signal=TERM --kill-after=5 "$limit" "$@" 2>&1 | tee "$out/$name.md"
	status=${PIPESTATUS[0]}
	case $status in
	0) summary+=("| $name | $what | done | $((SECONDS - started)) |") ;;
	124 | 137) summary+=("| $name | $what | cut off after $limit s; its finished rows are kept | $((SECONDS - started)) |") ;;
	*)
		summary+=("| $name | $what | FAILED, exit code $status | $((SECONDS - started)) |")
		failed=1
		;;
	esac
}

# without NAME WHAT WHY notes a stage that cannot run here.
without() { summary+=("| $1 | $2 | left out: $3 | |"); }

quickstart() {
	local folder=$out/quickstart-run args=(--device "$device")
	rm -rf "$folder"
	[[ -n $dry ]] && args=(--device cpu train.max_iterations=20 train.warmup_iterations=5 train.freeze_last_layer=5 evaluation.knn=false)
	"$here/dmx" train --output "$folder" "${args[@]}" | tail -15
	return "${PIPESTATUS[0]}"
}

sanitizer() {
	local tool status=0
	for tool in memcheck racecheck; do
		echo "== $tool"
		"$compute_sanitizer" --tool "$tool" --error-exitcode 9 "$here/driver.test" -test.run '^TestDeviceSample$' | tail -5 || status=1
	done
	return $status
}
export -f quickstart sanitizer
export here out dry device

[[ -z $dry ]] && nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm --format=csv,noheader 2>/dev/null
early=${sides/,compiled/}

# Is it right? Nothing else matters before that.
stage doctor 5 40 "the device, and known answers of every kernel family" "$here/dmx" doctor
if [[ -z $dry ]]; then
	stage sample 15 60 "a sample of every operation against the oracle" "$here/driver.test" -test.run '^TestDeviceSample$'
else
	without sample "a sample of every operation against the oracle" "a dry run"
fi
stage trainer 15 60 "5 steps of DINOv2 against the CPU" "$here/check.test" -device "$device" -test.run '^TestTrainerAgainstCPU$' -test.v

# How fast is a step, and where does its time go?
stage step 20 120 "a DINOv2 step of ViT-S and B beside PyTorch eager" "${bench[@]}" -out "$out" -only step -models S,B -sides "$early"
stage profile 15 60 "device time of every launch of a step" "${bench[@]}" -out "$out" -only profile -models B,S
stage quickstart 10 40 "the embedded recipe" bash -c quickstart

# Families beside their peers, every version.
stage gemm 20 90 "matrix products, every version, beside cuBLAS" "${bench[@]}" -rounds 1 -out "$out" -only gemm
stage memory 15 60 "kernels that move bytes, beside a copy" "${bench[@]}" -out "$out" -only memory
stage attention 15 90 "attention, every version, beside PyTorch" "${bench[@]}" -rounds 1 -out "$out" -only attention

# What takes long.
stage step-l 20 60 "a DINOv2 step of ViT-L beside PyTorch eager" "${bench[@]}" -out "$out/step-l" -only step -models L -sides "$early"
if [[ $sides == *compiled* ]]; then
	stage compiled 90 300 "a DINOv2 step beside PyTorch compiled" "${bench[@]}" -out "$out/compiled" -only step -models S,B -sides dmx,compiled
else
	without compiled "a DINOv2 step beside PyTorch compiled" "--sides $sides"
fi
if [[ -z $dry ]]; then
	left=$(($(remaining) - 10))
	stage survey 20 240 "every operation, version and repetition against the oracle" "$here/driver.test" -test.run '^TestDeviceSurvey$' -test.v \
		-budget "$((left < 230 ? left : 230))s"
else
	without survey "every operation, version and repetition against the oracle" "a dry run"
fi
stage start 15 60 "process start and launches" "${bench[@]}" -out "$out" -only start
if [[ -n ${FASHION_MNIST:-} ]]; then
	stage fashion-mnist 60 600 "the whole recipe on all of Fashion-MNIST" "$here/dmx" train --config fashion-mnist --data "$FASHION_MNIST" \
		--device "$([[ -n $dry ]] && echo cpu || echo "$device")" --output "$out/fashion-mnist-run"
else
	without fashion-mnist "the whole recipe on all of Fashion-MNIST" "\$FASHION_MNIST names no folder"
fi
compute_sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda*/bin/compute-sanitizer 2>/dev/null | tail -1 || true)
export compute_sanitizer
if [[ -n $compute_sanitizer && -z $dry ]]; then
	stage sanitizer 60 300 "a sample of every operation under memcheck and racecheck" bash -c sanitizer
else
	without sanitizer "a sample of every operation under memcheck and racecheck" "$([[ -n $dry ]] && echo "a dry run" || echo "compute-sanitizer is not on this machine")"
fi

{
	printf '\n| stage | what | result | seconds |\n|---|---|---|---:|\n'
	printf '%s\n' "${summary[@]}"
	printf '\n%d s of %d; tables and logs: %s\n' "$SECONDS" "$budget" "$out"
} | tee "$out/summary.md"
exit $failed
