package source

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Layout says what the folders of a path, or of an archive, stand for.
type Layout string

// The layouts. Auto finds out, and is an error where two of them make sense.
const (
	Auto     Layout = "auto"
	Classes  Layout = "classes"  // the folders at the top are classes
	Splits   Layout = "splits"   // the folders at the top are splits, with folders of classes in them or without
	Flat     Layout = "flat"     // folders mean nothing: no classes, no splits
	Archives Layout = "archives" // the tar or IDX files in the folder are the data, not the pictures beside them
)

// Reading is one way to read a path.
type Reading struct {
	Layout Layout
	Text   string // what the data are then
}

// Ambiguous is the error of a path that can be read in more than one way.
type Ambiguous struct {
	Path     string
	Readings []Reading
}

// Error names the readings and the layout that chooses each.
func (a *Ambiguous) Error() string {
	var ways []string
	for _, r := range a.Readings {
		ways = append(ways, fmt.Sprintf("layout %s reads %s", r.Layout, r.Text))
	}
	return fmt.Sprintf("%s can be read in more than one way, say which: %s", a.Path, strings.Join(ways, "; "))
}

// The reasons why pictures are left out by the layout.
const (
	besideClasses = "beside the class folders"
	besideSplits  = "beside the split folders"
)

// arranged is pictures in splits and classes.
type arranged struct {
	splits []string // the names of all splits; nil if the path has none
	split  string   // the one that is read, "" if the path has none
	chosen []int    // indices of the pictures that are read
	class  []string // of each chosen picture; nil without classes
	left   []int    // indices of pictures that are left out
	reason []string // of each of those
	note   string   // on another reading, "" for none
}

// top is a folder at the top of a path.
type top struct {
	name   string
	direct int             // pictures in the folder itself
	nested map[string]bool // its sub-folders with pictures
	deep   int             // pictures in those
}

func (t *top) images() int { return t.direct + t.deep }

// survey sorts pictures, given by their slash paths, by folder. strays is the number of those in no folder.
func survey(names []string) (tops []*top, strays int) {
	byName := map[string]*top{}
	for _, name := range names {
		dir, rest, ok := strings.Cut(name, "/")
		if !ok {
			strays++
			continue
		}
		t := byName[dir]
		if t == nil {
			t = &top{name: dir, nested: map[string]bool{}}
			byName[dir] = t
			tops = append(tops, t)
		}
		if sub, _, ok := strings.Cut(rest, "/"); ok {
			t.nested[sub] = true
			t.deep++
		} else {
			t.direct++
		}
	}
	slices.SortFunc(tops, func(a, b *top) int { return strings.Compare(a.name, b.name) })
	return tops, strays
}

// arrange finds the wanted split and the classes of pictures given by their slash paths. ErrNoSplit is in the chain of
// the error if there is no such split.
func arrange(where string, names []string, layout Layout, want string) (*arranged, error) {
	tops, strays := survey(names)
	a := &arranged{}
	var err error
	switch layout {
	case Flat, Classes:
	case Splits:
		for _, t := range tops {
			if knownSplit(t.name) || t.name == want {
				a.splits = append(a.splits, t.name)
			}
		}
		if len(a.splits) == 0 {
			return nil, &noSplit{fmt.Sprintf("%s: no folder is named after a split (train, val, test); there is %s", where,
				listed(tops))}
		}
	default:
		if slices.ContainsFunc(tops, func(t *top) bool { return t.name == want }) {
			// The caller names a folder as a split, so there is nothing to guess.
			for _, t := range tops {
				if !knownSplit(want) || knownSplit(t.name) {
					a.splits = append(a.splits, t.name)
				}
			}
		} else if a.splits, a.note, err = guessSplits(where, tops, strays); err != nil {
			return nil, err
		}
	}
	if a.splits == nil {
		if err := onlyTrain(where, want); err != nil {
			return nil, err
		}
	} else if a.split, err = chooseSplit(where, want, a.splits); err != nil {
		return nil, err
	}
	for i, name := range names {
		dir, _, ok := strings.Cut(name, "/")
		switch {
		case a.splits == nil || ok && dir == a.split:
			a.chosen = append(a.chosen, i)
		case !ok || !slices.Contains(a.splits, dir):
			a.leave(i, besideSplits)
		}
	}
	if layout != Flat {
		err = a.classify(where, names, layout)
	}
	return a, err
}

func (a *arranged) leave(i int, reason string) {
	a.left, a.reason = append(a.left, i), append(a.reason, reason)
}

// fewStrays tells whether strays pictures are so few beside images in folders that they are strays.
func fewStrays(strays, images int) bool { return 4*strays <= images }

// classify gives each chosen picture the class of its first folder.
func (a *arranged) classify(where string, names []string, layout Layout) error {
	inSplit := func(i int) string { return strings.TrimPrefix(names[i], a.split+"/") }
	strays, classes := 0, map[string]bool{}
	for _, i := range a.chosen {
		if dir, _, ok := strings.Cut(inSplit(i), "/"); ok {
			classes[dir] = true
		} else {
			strays++
		}
	}
	images := len(a.chosen) - strays
	if len(classes) == 0 {
		return nil
	}
	if layout == Auto && !fewStrays(strays, images) {
		within := where
		if a.split != "" {
			within = path.Join(where, a.split)
		}
		keep := Classes
		if a.split != "" {
			keep = Splits
		}
		return &Ambiguous{within, []Reading{
			{keep, fmt.Sprintf("%s of %s and leaves out %s beside them",
				count(len(classes), "class"), count(images, "image"), count(strays, "picture"))},
			{Flat, fmt.Sprintf("%s without classes", count(len(a.chosen), "image"))},
		}}
	}
	all := a.chosen
	a.chosen, a.class = nil, []string{}
	for _, i := range all {
		dir, _, ok := strings.Cut(inSplit(i), "/")
		if !ok {
			a.leave(i, besideClasses)
			continue
		}
		a.chosen, a.class = append(a.chosen, i), append(a.class, dir)
	}
	return nil
}

// guessSplits returns the folders that are splits, nil for none, and a note on another reading. Where folders named
// after splits may as well be classes it is an error.
func guessSplits(where string, tops []*top, strays int) (splits []string, note string, err error) {
	var known, others []*top
	for _, t := range tops {
		if knownSplit(t.name) {
			known = append(known, t)
		} else {
			others = append(others, t)
		}
	}
	if len(known) == 0 {
		if len(tops) == 1 && strays == 0 && tops[0].direct == 0 && anySplit(tops[0].nested) {
			t := tops[0]
			return nil, "", &Ambiguous{where, []Reading{
				{Classes, fmt.Sprintf("1 class (%s) of %s", t.name, count(t.images(), "image"))},
				{Splits, fmt.Sprintf("the splits in it if the path is %s", path.Join(where, t.name))},
			}}
		}
		return nil, "", nil
	}
	kinds, nested, train := map[string]bool{}, true, false
	for _, t := range known {
		kind := splitKind(t.name)
		kinds[kind] = true
		train = train || kind == splitNames[0][0]
		nested = nested && len(t.nested) > 0
	}
	inside, outside := 0, strays
	for _, t := range known {
		inside += t.images()
	}
	for _, t := range others {
		outside += t.images()
	}
	names := func(tops []*top) (names []string) {
		for _, t := range tops {
			names = append(names, t.name)
		}
		return names
	}
	asClasses := fmt.Sprintf("%s (%s) of %s",
		count(len(tops), "class"), listed(tops), count(inside+outside-strays, "image"))
	sure := len(kinds) == len(known) && fewStrays(strays, inside)
	switch {
	case sure && nested && (len(others) == 0 || sameClasses(known)):
		return names(known), "", nil
	case sure && train && len(others) == 0:
		return names(known), "layout classes reads " + asClasses, nil
	}
	asSplits := fmt.Sprintf("%s (%s) of %s", count(len(known), "split"), listed(known), count(inside, "image"))
	if outside > 0 {
		asSplits += fmt.Sprintf(" and leaves out %s beside them", count(outside, "picture"))
	}
	return nil, "", &Ambiguous{where, []Reading{{Classes, asClasses}, {Splits, asSplits}}}
}

// sameClasses tells whether at least two splits have a class folder in common.
func sameClasses(splits []*top) bool {
	seen := map[string]bool{}
	for _, t := range splits {
		for name := range t.nested {
			if seen[name] {
				return true
			}
		}
		for name := range t.nested {
			seen[name] = true
		}
	}
	return false
}

func anySplit(names map[string]bool) bool {
	for name := range names {
		if knownSplit(name) {
			return true
		}
	}
	return false
}

// listed names folders, the first few of many.
func listed(tops []*top) string {
	const most = 8
	var names []string
	for i, t := range tops {
		if i == most {
			names = append(names, fmt.Sprintf("and %d more", len(tops)-most))
			break
		}
		names = append(names, printable(t.name))
	}
	if len(names) == 0 {
		return "no folder with pictures"
	}
	return strings.Join(names, ", ")
}

// count is a number with its noun.
func count(n int, noun string) string {
	switch {
	case n == 1:
		return "1 " + noun
	case strings.HasSuffix(noun, "s"):
		return fmt.Sprintf("%d %ses", n, noun)
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
