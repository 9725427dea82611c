package ssl

import "fmt"

// CollapseKind is a way in which training can collapse.
type CollapseKind int

// Kinds of collapse.
const (
	FewPrototypes         CollapseKind = iota // one prototype wins over the centre
	FewPrototypesSinkhorn                     // few prototypes although Sinkhorn-Knopp evens them out in a batch
	UniformTargets                            // the targets no longer tell images apart
	SameFeatures                              // the teacher gives all images nearly the same feature
)

// Collapse is a sign that training collapses.
type Collapse struct {
	Kind  CollapseKind
	Value float64 // what was measured: an entropy over ln K, or the spread of the features
	Bound float64 // the least that is healthy
	KL    float64 // nats, of UniformTargets
}

// String says what was seen and what it means.
func (c Collapse) String() string {
	switch c.Kind {
	case FewPrototypes, FewPrototypesSinkhorn:
		why := "one of them is winning over the centre"
		if c.Kind == FewPrototypesSinkhorn {
			why = "Sinkhorn-Knopp evens them out only within a batch"
		}
		return fmt.Sprintf("collapse: the teacher uses few prototypes (entropy %.3f of ln K, expected %.3f or more); %s", c.Value, c.Bound, why)
	case UniformTargets:
		return fmt.Sprintf("collapse: the targets are uniform over all prototypes (entropy %.3f of ln K, KL %.2g nats); "+
			"there is nothing left to learn", c.Value, c.KL)
	}
	return fmt.Sprintf("collapse: the teacher gives all images nearly the same feature (spread %.3f, expected %.3f or more)", c.Value, c.Bound)
}

// judge appends every sign of collapse that the watched metrics show.
func (w Watch) judge(m *Metrics, sinkhorn bool) {
	low := m.PrototypeEntropy < w.PrototypeEntropyMin
	uniform := m.TargetEntropy > 0.99 && m.PrototypeEntropy > 0.99
	switch {
	case low && sinkhorn:
		m.Collapses = append(m.Collapses, Collapse{Kind: FewPrototypesSinkhorn, Value: m.PrototypeEntropy, Bound: w.PrototypeEntropyMin})
	case low:
		m.Collapses = append(m.Collapses, Collapse{Kind: FewPrototypes, Value: m.PrototypeEntropy, Bound: w.PrototypeEntropyMin})
	case uniform && m.KL < 1e-3:
		m.Collapses = append(m.Collapses, Collapse{Kind: UniformTargets, Value: m.TargetEntropy, Bound: .99, KL: m.KL})
	}
	if m.FeatureStd < w.FeatureStdMin {
		m.Collapses = append(m.Collapses, Collapse{Kind: SameFeatures, Value: m.FeatureStd, Bound: w.FeatureStdMin})
	}
}
