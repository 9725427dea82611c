package config

import "strings"

// nearest is the known word that a misspelt one most likely meant, or "".
func nearest(word string, known []string) string {
	best, bestDist := "", max(2, len(word)/3)+1
	for _, k := range known {
		if d := editDistance(strings.ToLower(word), strings.ToLower(k)); d < bestDist {
			best, bestDist = k, d
		}
	}
	return best
}

// nearestKey looks for the key among those of its own section first, then for the same key elsewhere.
func nearestKey(path string, known []string) string {
	section, key, nested := strings.Cut(path, ".")
	var same, last []string
	for _, k := range known {
		s, rest, _ := strings.Cut(k, ".")
		if s == section {
			same = append(same, k)
		}
		if rest == key || !nested && rest == section {
			last = append(last, k)
		}
	}
	if len(last) > 0 {
		return last[0]
	}
	if k := nearest(path, same); k != "" {
		return k
	}
	return nearest(path, known)
}

// editDistance is the optimal string alignment distance: insertions, deletions, replacements and swaps of
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
