package source

import "slices"

// Join numbers the labels of other as those of bank: classes are the same if their names are, whatever place they have
// in either. Classes that bank lacks are numbered behind its own. onlyBank and onlyOther list the names that do not
// meet.
func Join(bank, other *Dataset) (onlyBank, onlyOther []string) {
	classes := slices.Clone(bank.Classes())
	at := map[string]int{}
	for i, c := range classes {
		at[c] = i
	}
	to := make([]int, len(other.Classes()))
	met := make([]bool, len(classes))
	for i, c := range other.Classes() {
		k, ok := at[c]
		if ok && k < len(met) {
			met[k] = true
		} else if !ok {
			k = len(classes)
			at[c] = k
			classes = append(classes, c)
			onlyOther = append(onlyOther, c)
		}
		to[i] = k
	}
	for i, ok := range met {
		if !ok {
			onlyBank = append(onlyBank, classes[i])
		}
	}
	other.samples = relabelled{other.samples, classes, to}
	return onlyBank, onlyOther
}

// relabelled is a source whose class i is number to[i] of classes.
type relabelled struct {
	samples
	classes []string
	to      []int
}

// Classes returns the joined names.
func (r relabelled) Classes() []string { return r.classes }

// Label returns the number of a sample's class among the joined ones.
func (r relabelled) Label(i int) (int, bool) {
	label, ok := r.samples.Label(i)
	if !ok || label < 0 || label >= len(r.to) {
		return 0, false
	}
	return r.to[label], true
}
