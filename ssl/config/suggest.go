package config

import (
	"cmp"
	"slices"
	"strings"
)

// nearest returns the known word that a misspelt one most likely meant, or "".
func nearest(word string, known []string) string {
	best, bestDist := "", max(2, len(word)/3)+1
	for _, k := range known {
		if d := editDistance(strings.ToLower(word), strings.ToLower(k)); d < bestDist {
			best, bestDist = k, d
		}
	}
	return best
}

// synonyms maps what other programs call a key to the key here.
var synonyms = map[string]string{
	"learning_rate": "train.lr", "base_lr": "train.lr", "min_learning_rate": "train.min_lr",
	"batch_size": "train.global_batch_size", "batch_size_per_device": "train.batch_size_per_gpu",
	"epochs": "train.max_iterations", "max_epochs": "train.max_iterations", "num_epochs": "train.max_iterations",
	"steps": "train.max_iterations", "max_steps": "train.max_iterations", "iterations": "train.max_iterations",
	"warmup_steps": "train.warmup_iterations", "warmup_epochs": "train.warmup_iterations",
	"precision": "distribution.mixed_precision", "amp": "distribution.mixed_precision", "fp16": "distribution.mixed_precision",
	"arch": "train.model_type", "backbone": "train.model_type", "name": "train.model_name",
	"output_dir": "output_folders.main_output", "data_path": "dataset.dataset_path", "data_dir": "dataset.dataset_path",
	"gradient_clipping": "train.clip_grad", "max_grad_norm": "train.clip_grad", "workers": "train.num_workers",
	"gradient_checkpointing": "train.gradient_checkpointing_enable", "ema_momentum": "train.momentum_teacher",
	"koleo_weight": "koleo.loss_weight", "ibot_weight": "ibot.loss_weight", "mask_ratio": "ibot.mask_ratio_min_max",
}

// nearestKey returns the known key or keys that path most likely means, or "". It looks for the name that other
// programs use, then for the same key in another section, then for a misspelt section, and at last for the nearest
// spelling: in the key's own section first, then in all.
func nearestKey(path string, known []string) string {
	section, key, nested := strings.Cut(path, ".")
	if !nested {
		key = section
	}
	if k := synonyms[strings.ToLower(key)]; k != "" {
		return k
	}
	var own, named, names []string
	for _, k := range known {
		s, name, _ := strings.Cut(k, ".")
		names = append(names, name)
		if s == section {
			own = append(own, k)
		}
		if name == key {
			named = append(named, k)
		}
	}
	if len(named) > 0 && len(named) <= 3 {
		return orList(named)
	}
	if nested {
		return cmp.Or(nearest(path, own), nearest(path, known))
	}
	keys, _ := sections()
	if s := nearest(path, keys); s != "" {
		return s + ":"
	}
	if i := slices.Index(names, nearest(key, names)); i >= 0 {
		return known[i]
	}
	return ""
}

// editDistance returns the optimal string alignment distance: insertions, deletions, replacements and swaps of
// neighbouring letters.
func editDistance(a, b string) int {
	prev2, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return prev[len(b)]
}
