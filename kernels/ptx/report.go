package ptx

import "github.com/dino-mx/dmx/kernels/ptx/syntax"

// blamed is the instruction that a finding now would name.
func (l *launch) blamed(w *warp) *syntax.Instr {
	if l.at != nil {
		return l.at
	}
	return w.p.steps[w.pc].in
}

// reported tells whether the running instruction already has a finding of the kind, so that no other will be kept.
// Checks of every word ask before they put a finding in words.
func (l *launch) reported(w *warp, kind Kind) bool {
	return len(l.findings) > 0 && l.seen[findingKey{kind, l.blamed(w).Index}]
}

func (l *launch) report(w *warp, kind Kind, lane int, detail string) {
	in := l.blamed(w)
	key := findingKey{kind, in.Index}
	if l.seen[key] {
		return
	}
	l.seen[key] = true
	l.findings = append(l.findings, Finding{Kind: kind, Kernel: l.p.k.Name, Line: in.Line, Instr: in.Text, CTA: l.cta, Warp: w.id, Lane: lane, Detail: detail})
}

// report2 is for mistakes without an instruction to blame.
func (l *launch) report2(w *warp, detail string) {
	w.pc = len(w.p.steps) - 1
	l.report(w, BadOperand, -1, detail)
	panic(abort{})
}
