#!/usr/bin/env bash
# Real data on the GPU of this machine beside its CPU: full Fashion-MNIST and CIFAR-10, curves and kNN. Needs an NVIDIA
# driver and bash. just gpu-build puts this script and the programs it runs into outputs/gpu.
#
#   curves.sh [--steps N] [--cpu-steps N] [--dry] FASHION_MNIST_FOLDER|- CIFAR10_TAR|-
#
# FASHION_MNIST_FOLDER holds the four IDX files (Debian's dataset-fashion-mnist puts them under
# /usr/share/datasets/fashion-mnist), CIFAR10_TAR pictures as train/CLASS/*.jpg and test/CLASS/*.jpg; - leaves one out.
# The GPU makes all steps of the recipe, or --steps; the CPU the first 500, or --cpu-steps, of the same schedules. A run that
# was stopped goes on where it was. Tables go to curves/ beside this script, or to $OUT/curves.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=${OUT:-$here}/curves
steps=
cpu_steps=500
device=cuda:0
more=()
data=()
while (($#)); do
	case $1 in
	--steps) steps=$2 && shift ;;
	--cpu-steps) cpu_steps=$2 && shift ;;
	--dry)
		echo "DRY RUN: both runs are on the CPU."
		device=cpu out=$out-dry steps=6 cpu_steps=6
		more=(train.global_batch_size=8 evaluation.knn=false train.log_every=1)
		;;
	*) data+=("$1") ;;
	esac
	shift
done
if ((${#data[@]} != 2)); then
	echo "usage: curves.sh [--steps N] [--cpu-steps N] [--dry] FASHION_MNIST_FOLDER|- CIFAR10_TAR|-" >&2
	exit 2
fi
mkdir -p "$out"

# train NAME CONFIG DATA DEVICE STEPS: a run that is stopped in good order once it has made STEPS steps; without a number
# it makes all.
train() {
	local folder=$out/$1 steps=$5 resume=() pid at
	[[ -e $folder/config.yaml ]] && resume=(--resume)
	echo "== $folder"
	"$here/dmx" train --config "$2" --data "$3" --device "$4" --output "$folder" "${resume[@]}" "${more[@]}" &
	pid=$!
	while [[ -n $steps ]] && kill -0 "$pid" 2>/dev/null; do
		at=$(tail -n 1 "$folder/metrics.jsonl" 2>/dev/null | grep -o '"iteration":[0-9]*' | cut -d: -f2 || true)
		if ((${at:-0} + 1 >= steps)); then
			kill -TERM "$pid"
			wait "$pid" || true # it says that it was stopped
			return
		fi
		sleep 0.5
	done
	wait "$pid"
}

compare() {
	local name=$1 config=$2 data=$3
	[[ $data == - ]] && return
	train "$name-gpu" "$config" "$data" "$device" "$steps"
	train "$name-cpu" "$config" "$data" cpu "$cpu_steps"
	"$here/bench" -curves "$out/$name-cpu,$out/$name-gpu" | tee "$out/$name.md"
}

compare fashion-mnist fashion-mnist "${data[0]}"
compare cifar10 "$here/cifar10.yaml" "${data[1]}"
