#!/usr/bin/env bash
# Correctness of the GPU backend on the GPU of this machine. Needs an NVIDIA driver, bash and python3; no Go, no CUDA
# toolkit. just gpu-build puts this script and the programs it runs into outputs/gpu.
#
#   check.sh [--dry] [NAME...]
#
# Runs the checks named, or all: operations gradients timer agreement trainer repeated resume quickstart sanitizer.
# Ends with a table; the exit code is 1 when one fails. Logs go to log/ beside this script, or to $OUT/log.
# --dry runs what can be run without a GPU, on the interpreter of the kernels, and checks no hardware.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
log=${OUT:-$here}/log
device=cuda:0
dry=
names=()
for a in "$@"; do
	case $a in
	--dry) dry=1 device=emulated-cuda ;;
	-*)
		echo "check.sh: unknown flag $a; usage: check.sh [--dry] [NAME...]" >&2
		exit 2
		;;
	*) names+=("$a") ;;
	esac
done
mkdir -p "$log"
rows=()
failed=0

wanted() {
	((${#names[@]} == 0)) && return 0
	local n
	for n in "${names[@]}"; do [[ $n == "$1" ]] && return 0; done
	return 1
}

# check NAME WHAT COMMAND... runs a check and notes a row of the table; SKIPPED says why one was left out.
check() {
	local name=$1 what=$2 started=$SECONDS result
	shift 2
	wanted "$name" || return 0
	printf '== %s: %s\n' "$name" "$what"
	if "$@" >"$log/$name.log" 2>&1; then
		result=passed
		# A test that is skipped has shown nothing.
		if grep -q -- '--- SKIP\|no tests to run' "$log/$name.log"; then
			result="SKIPPED: $(grep -B1 -m1 -- '--- SKIP\|no tests to run' "$log/$name.log" | head -1 | sed 's/^ *//')"
			failed=1
		fi
	else
		result="FAILED (exit code $?): see $log/$name.log"
		grep -m20 -- '--- FAIL\|_test.go:\|ERROR SUMMARY\|panic:\|dmx:' "$log/$name.log"
		failed=1
	fi
	printf '%s, %d s\n' "$result" "$((SECONDS - started))"
	rows+=("| $name | $what | $result | $((SECONDS - started)) |")
}

left_out() {
	wanted "$1" || return 0
	printf '== %s: left out: %s\n' "$1" "$3"
	rows+=("| $1 | $2 | left out: $3 | |")
}

# quickstart trains the embedded recipe and prints its table of kNN accuracies.
quickstart() {
	local folder=$log/quickstart-run
	rm -rf "$folder"
	if [[ -n $dry ]]; then
		"$here/dmx" train --device cpu --output "$folder" train.max_iterations=20 train.warmup_iterations=5 train.freeze_last_layer=5 evaluation.knn=false
		return
	fi
	"$here/dmx" train --device "$device" --output "$folder" && python3 - "$folder/summary.json" <<'PY'
import json, sys
knn = json.load(open(sys.argv[1]))["knn"]
print({k: knn[k] for k in ("raw", "untrained", "teacher", "untrained_mean_patch", "teacher_mean_patch")})
gain = knn["teacher"] - knn["untrained"]
print(f"kNN: {gain:.1f} points above the untrained backbone")
sys.exit(0 if gain >= 12 else "the teacher is less than 12 points above its untrained backbone")
PY
}

# resume makes a run twice, and a third time with a stop in the middle; every file of the checkpoints must be the same.
resume() {
	local dir=$log/resume-runs steps=200 stop=77 run pid at where=$device small=()
	if [[ -n $dry ]]; then
		where=cpu steps=40 stop=15 small=(train.global_batch_size=4)
	fi
	rm -rf "$dir"
	mkdir -p "$dir"
	local train=("$here/dmx" train --device "$where" "${small[@]}" evaluation.knn=false train.log_every=1
		"train.max_iterations=$steps" "train.warmup_iterations=$((steps / 2))" "train.freeze_last_layer=$((steps / 4))")
	for run in first second; do "${train[@]}" --output "$dir/$run" || return; done
	"${train[@]}" --output "$dir/broken" &
	pid=$!
	while kill -0 "$pid" 2>/dev/null; do
		at=$(tail -n 1 "$dir/broken/metrics.jsonl" 2>/dev/null | grep -o '"iteration":[0-9]*' | cut -d: -f2)
		if ((${at:-0} >= stop)); then
			kill -TERM "$pid"
			break
		fi
		sleep 0.05
	done
	if wait "$pid"; then
		echo "ERROR: the run ended before it was stopped"
		return 1
	fi
	"${train[@]}" --output "$dir/broken" --resume || return
	(cd "$dir/first" && find train_checkpoints teacher_checkpoints -type f -print0 | sort -z | xargs -0 sha256sum >../sums) || return
	for run in second broken; do
		echo "== the files of the first run and of $run"
		(cd "$dir/$run" && sha256sum -c ../sums) || return
	done
}

# sanitizer runs a sample of every operation under each tool of compute-sanitizer.
sanitizer() {
	local tool status=0
	for tool in memcheck racecheck synccheck initcheck; do
		echo "== $tool"
		"$compute_sanitizer" --tool "$tool" --error-exitcode 9 "$here/driver.test" -test.run '^TestDeviceSample$' -test.v || status=1
	done
	return $status
}

if [[ -n $dry ]]; then
	echo "DRY RUN: no hardware is checked; the interpreter stands in for the GPU where it can."
else
	nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null || echo "nvidia-smi is not here"
	for t in operations:Survey gradients:Gradients timer:Time; do
		case ${t%%:*} in
		operations) what="every operation against the float64 oracle, twice for the same bits, and all older versions" ;;
		gradients) what="every backward operation against differences of its forward operation" ;;
		timer) what="device time of one copy and of ten" ;;
		esac
		check "${t%%:*}" "$what" "$here/driver.test" -test.run "^TestDevice${t##*:}\$" -test.v
	done
fi
check agreement "the interpreter and the device, case by case" "$here/check.test" -device "$device" -test.run '^TestInterpreterAgrees$' -test.v
check trainer "5 steps of DINOv2 against the CPU" "$here/check.test" -device "$device" -test.run '^TestTrainerAgainstCPU$' -test.v
check repeated "two trainers: the same bits" "$here/check.test" -device "$device" -test.run '^TestTrainerRepeats$' -test.v
check resume "a stopped and resumed run, and a second one: the same bits" resume
check quickstart "the embedded recipe from images to kNN" quickstart
what="a sample of every operation under memcheck, racecheck, synccheck, initcheck"
if [[ -n $dry ]]; then
	left_out sanitizer "$what" "a dry run"
else
	compute_sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda*/bin/compute-sanitizer 2>/dev/null | tail -1 || true)
	if [[ -n $compute_sanitizer ]]; then
		check sanitizer "$what" sanitizer
	else
		left_out sanitizer "$what" "compute-sanitizer is not on this machine"
	fi
fi

if wanted agreement; then
	echo
	echo "Largest difference between the interpreter and the device, by kernel:"
	grep '^ *|' "$log/agreement.log" | sed 's/^ *//'
fi
wanted quickstart && tail -12 "$log/quickstart.log"
printf '\n| check | what | result | seconds |\n|---|---|---|---:|\n'
printf '%s\n' "${rows[@]}"
exit $failed
