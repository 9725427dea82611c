package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The DINOv2 recipe on the emulated GPU, as a user would train it: through the shipped PTX, under the sanitizer. Its
// losses may differ from those in 32-bit floats on the CPU by twice what the same run in bf16 on the CPU does. The
// head size of 32 is one that the tensor-core kernels know.
func TestTrainOnTheEmulatedGPU(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	tiny.pngFolder(t, data)
	const steps = 5
	losses := func(device string) (out [steps][]float64) {
		output := filepath.Join(dir, device)
		args := append([]string{"train", "--config", "dinov2", "--data", data, "--output", output, "--device", device}, micro...)
		args = append(args, fmt.Sprint("train.max_iterations=", steps), "train.saveckp_freq=0", "train.lr=1e-4", "model.hidden_size=32", "model.layerscale_value=0.1", "crops.local_crops_number=2",
			"train.log_every=1", "train.drop_path_rate=0", "train.warmup_teacher_temp_iterations=2", "evaluation.knn=false", "watch.every=1000")
		code, _, errOut := dmx(t, args...)
		if code != 0 {
			t.Fatalf("--device %s: code %d: %s", device, code, errOut)
		}
		records := records(t, output)
		if len(records) != steps {
			t.Fatalf("--device %s: %d records", device, len(records))
		}
		for i, r := range records {
			out[i] = []float64{float64(r.Loss), r.losses.DinoGlobal, r.losses.DinoLocal, r.losses.IBOT, *r.losses.KoLeo}
		}
		log, err := os.ReadFile(filepath.Join(output, "log_files", "main_rank0.log"))
		if err != nil {
			t.Fatal(err)
		}
		if want := map[string]string{"cpu": "f32, cpu/", "cpu-bf16": "bf16, cpu/", "emulated-cuda": "bf16, emulated-cuda/sm_80"}[device]; !strings.Contains(string(log), want) {
			t.Errorf("--device %s: no %q in the log:\n%s", device, want, log)
		}
		return out
	}
	exact, plain, gpu := losses("cpu"), losses("cpu-bf16"), losses("emulated-cuda")
	// What bf16 loses is measured over all steps of a part: a single difference may vanish by chance.
	for part, name := range []string{"loss", "dino global", "dino local", "ibot", "koleo"} {
		var byCPU, byGPU float64
		for i := range steps {
			byCPU = max(byCPU, math.Abs(plain[i][part]-exact[i][part]))
			byGPU = max(byGPU, math.Abs(gpu[i][part]-exact[i][part]))
		}
		t.Logf("%s: f32 %.5f, bf16 on the CPU differs by %.2g, on the emulated GPU by %.2g", name, exact[steps-1][part], byCPU, byGPU)
		if !(byGPU <= 2*byCPU) {
			t.Errorf("%s: the emulated GPU differs by %g from f32, bf16 on the CPU by %g", name, byGPU, byCPU)
		}
	}
}
