package kernels

import (
	"fmt"

	"github.com/dino-mx/dmx/tensor"
)

// CheckParamTable checks what GradSquares and AdamW (op names which) ask of every entry: Param, M, V and EMA of
// f32 (f64 in the oracle), Grad of any working type, Half and EMA16 of bf16, all of one length, and a clip group
// below Groups. Grad, M and V may be nil where the entry is Frozen; M and V also for GradSquares.
//
// Entries that are Frozen or Skip take no part in GradSquares, and AdamW changes neither their Param nor their
// moments; their EMA follows all the same.
func CheckParamTable(op string, p *ParamTable) {
	for i := range p.Entries {
		e := &p.Entries[i]
		if e.Group < 0 || e.Group >= p.Groups {
			panic(fmt.Sprintf("kernels: %s: entry %d %s is of group %d of %d", op, i, e.Param, e.Group, p.Groups))
		}
		mustMaster(op, "Param", i, e.Param, e.Param)
		n := e.Param.Len()
		if e.Grad != nil || !e.Frozen {
			mustWork(op, "Grad", e.Grad)
			mustLen(op, "Grad", e.Grad, n, "Param", e.Param)
		}
		if e.M != nil || e.V != nil || (op == "AdamW" && !e.Frozen) {
			mustMaster(op, "M", i, e.M, e.Param)
			mustMaster(op, "V", i, e.V, e.Param)
		}
		if e.EMA != nil {
			mustMaster(op, "EMA", i, e.EMA, e.Param)
		}
		if e.Half != nil {
			mustHalf(op, "Half", i, e.Half, e.Param)
		}
		if e.EMA16 != nil {
			mustHalf(op, "EMA16", i, e.EMA16, e.Param)
		}
	}
}

// CheckGradSquares checks GradSquares: the table, and out a statistic [groups].
func CheckGradSquares(out *tensor.Tensor, p *ParamTable) {
	mustWork("GradSquares", "out", out)
	CheckParamTable("GradSquares", p)
	mustStat("GradSquares", "out", out, p.Groups, "out", out)
}

// CheckGuard checks Guard: Squares, Scale and Missed statistics, the first two of one length, Losses of their type.
func CheckGuard(g Guard) {
	mustWork("Guard", "Squares", g.Squares)
	mustStat("Guard", "Squares", g.Squares, g.Squares.Len(), "Squares", g.Squares)
	mustStat("Guard", "Scale", g.Scale, g.Squares.Len(), "Squares", g.Squares)
	mustStat("Guard", "Missed", g.Missed, 1, "Squares", g.Squares)
	if g.Losses != nil {
		mustStat("Guard", "Losses", g.Losses, g.Losses.Len(), "Squares", g.Squares)
	}
}

// CheckEMA checks EMA: dst and src statistics of one length, and scale one of any.
func CheckEMA(dst, src, scale *tensor.Tensor) {
	mustWork("EMA", "dst", dst)
	mustStat("EMA", "dst", dst, dst.Len(), "dst", dst)
	mustStat("EMA", "src", src, dst.Len(), "dst", dst)
	mustStat("EMA", "scale", scale, scale.Len(), "dst", dst)
}

// CheckAdamW checks AdamW: the table, scale a statistic [groups], a step counted from 1.
func CheckAdamW(p *ParamTable, scale *tensor.Tensor, s AdamWStep) {
	mustWork("AdamW", "scale", scale)
	CheckParamTable("AdamW", p)
	mustStat("AdamW", "scale", scale, p.Groups, "scale", scale)
	if s.Missed != nil {
		mustStat("AdamW", "Missed", s.Missed, 1, "scale", scale)
	}
	if s.Step < 1 {
		panic(fmt.Sprintf("kernels: AdamW: step %d is not counted from 1, with scale %s", s.Step, describe(scale)))
	}
}

func mustMaster(op, name string, i int, t, param *tensor.Tensor) {
	if t == nil {
		isNil(op, name)
	}
	if d := t.DType(); (d != tensor.F32 && d != tensor.F64) || d != param.DType() || t.Len() != param.Len() {
		panic(fmt.Sprintf("kernels: %s: entry %d: %s %s does not fit Param %s", op, i, name, describe(t), describe(param)))
	}
}

func mustHalf(op, name string, i int, t, param *tensor.Tensor) {
	if t.DType() != tensor.BF16 || t.Len() != param.Len() {
		panic(fmt.Sprintf("kernels: %s: entry %d: %s %s is not the bf16 copy of Param %s", op, i, name, describe(t), describe(param)))
	}
}
