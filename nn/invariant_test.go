package nn_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dino-mx/dmx/autograd"
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/tensor"
)

// forward runs a model without recording and returns the tokens asked for.
func forward(t *testing.T, b nn.Builder, v *nn.ViT, groups []nn.Group, o nn.Options) []float64 {
	t.Helper()
	tape := b.NewTape()
	tape.A.Poison = true
	var got []float64
	l := layout(t, v, groups)
	tape.NoGrad(func() {
		out := v.Forward(tape, l, groups, o)
		got = values(out.Tokens.Value)
		tape.Release(out.Tokens)
	})
	return got
}

// one cuts crop i out of a group.
func one(g nn.Group, i int) nn.Group {
	s := g.Images.Shape()
	out := nn.Group{Images: g.Images.Rows(i, i+1)}
	if g.Mask != nil {
		n := len(g.Mask) / s[0]
		out.Mask = g.Mask[i*n : (i+1)*n]
	}
	if g.Keys != nil {
		out.Keys = g.Keys[i : i+1]
	}
	return out
}

// Packed crops give what crops one by one give, drop path included when crops have keys.
func TestPackedCropsEqualSingleCrops(t *testing.T) {
	for name, c := range families() {
		t.Run(name, func(t *testing.T) {
			c.DropPath = nn.DropPathConfig{Rate: 0.4, Linear: true}
			v := newModel(t, oracle, c)
			groups := crops(c)
			groups[0].Keys, groups[1].Keys = []uint32{11, 12}, []uint32{21, 22, 23}
			o := nn.Options{Draw: nn.Draw{Train: true, Seed: 9, Step: 4}}
			var want []float64
			for _, g := range groups {
				for i := 0; i < g.Images.Dim(0); i++ {
					want = append(want, forward(t, oracle, v, []nn.Group{one(g, i)}, o)...)
				}
			}
			if diff := cmp.Diff(want, forward(t, oracle, v, groups, o), approx(1e-12)); diff != "" {
				t.Errorf("one by one and packed (-one by one +packed):\n%s", diff)
			}
		})
	}
}

func approx(limit float64) cmp.Option {
	return cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) <= limit*max(1, math.Abs(a), math.Abs(b)) })
}

// Asking for some rows skips work and changes nothing in them.
func TestRowsEqualAllRows(t *testing.T) {
	for name, c := range families() {
		for _, subset := range []bool{false, true} {
			t.Run(name+map[bool]string{true: ", subset"}[subset], func(t *testing.T) {
				c.DropPath = nn.DropPathConfig{Rate: 0.4, Subset: subset}
				v := newModel(t, oracle, c)
				groups := crops(c)
				l := layout(t, v, groups)
				draw := nn.Draw{Train: true, Seed: 9, Step: 4}
				all := forward(t, oracle, v, groups, nn.Options{Draw: draw})
				for _, rows := range [][]int32{l.CLSRows(), {l.Row(0, 1, 3), l.CLSRow(1, 2), l.Row(1, 0, 7)}} {
					var want []float64
					for _, r := range rows {
						want = append(want, all[int(r)*c.Dim:int(r+1)*c.Dim]...)
					}
					got := forward(t, oracle, v, groups, nn.Options{Draw: draw, Rows: rows})
					if diff := cmp.Diff(want, got, approx(1e-13)); diff != "" {
						t.Errorf("rows %v (-of all +alone):\n%s", rows, diff)
					}
				}
			})
		}
	}
}

// The work that only other rows need is left out of the backward pass too, with the same gradients of every parameter; the
// last block of a pass for few rows computes fewer rows in the branches where no token meets another.
func TestRowsGiveTheGradientsOfAllRows(t *testing.T) {
	for name, c := range families() {
		for _, drop := range []nn.DropPathConfig{{}, {Rate: 0.4}, {Rate: 0.4, Subset: true}, {Rate: 0.9, Subset: true}} {
			t.Run(fmt.Sprintf("%s, drop path %v", name, drop), func(t *testing.T) {
				c.DropPath = drop
				v := newModel(t, oracle, c)
				groups := crops(c)
				l := layout(t, v, groups)
				rows := append([]int32{l.Row(0, 1, 3), l.Row(1, 0, 7)}, l.CLSRows()...)
				gradients := func(few bool) [][]float64 {
					tape := oracle.NewTape()
					tape.A.Poison = true
					v.Params.ZeroGrad()
					o := nn.Options{Draw: nn.Draw{Train: true, Seed: 9, Step: 4}}
					var y *autograd.Var
					if few {
						o.Rows = rows
						y = v.Forward(tape, l, groups, o).Tokens
					} else {
						all := v.Forward(tape, l, groups, o).Tokens
						y = tape.Gather(all, tape.RowMap(rows, l.Tokens))
						tape.Release(all)
					}
					backward(tape, y)
					v.Params.FillMissing(oracle.Backend)
					var got [][]float64
					for _, p := range v.Params.All() {
						if !p.Frozen && p.Shape.Len() > 0 {
							got = append(got, values(p.Grad()))
						}
					}
					tape.Release(y)
					return got
				}
				if diff := cmp.Diff(gradients(false), gradients(true), approx(1e-12)); diff != "" {
					t.Errorf("gradients (-of all rows +of few):\n%s", diff)
				}
			})
		}
	}
}

// productCounter sums the FLOPs of the products that a backend is given.
type productCounter struct {
	kernels.Backend
	flops int64
}

func (c *productCounter) Gemm(g kernels.Gemm) {
	c.flops += kernels.GemmFLOPs(g.M, g.N, g.K)
	c.Backend.Gemm(g)
}

// The projection and the MLP of the last block run on the needed rows alone, with drop path of either kind.
func TestRowsSkipProducts(t *testing.T) {
	for _, drop := range []nn.DropPathConfig{{}, {Rate: 0.4}, {Rate: 0.4, Subset: true}} {
		c := families()["dinov2"]
		c.DropPath = drop
		counter := &productCounter{Backend: oracle.Backend}
		b := oracle
		b.Backend = counter
		v := newModel(t, b, c)
		groups := crops(c)
		l := layout(t, v, groups)
		count := func(rows []int32) int64 {
			counter.flops = 0
			forward(t, b, v, groups, nn.Options{Draw: nn.Draw{Train: true, Seed: 9, Step: 4}, Rows: rows})
			return counter.flops
		}
		all, few := count(nil), count(l.CLSRows())
		// The projection and both layers of the MLP; by subset one crop of three takes a branch here, and saves.
		last := int64(2 * (c.Dim*c.Dim + 2*c.Dim*c.MLPDim) * (l.Tokens - len(l.CLSRows())))
		if saved := all - few; saved < last/3 {
			t.Errorf("drop path %v: %d FLOPs of %d saved, at least a third of %d expected", drop, saved, all, last)
		}
	}
}

// step runs forward and backward of a fixed projection and returns tokens and all gradients.
func step(t *testing.T, b nn.Builder, v *nn.ViT, groups []nn.Group, o nn.Options) [][]float64 {
	t.Helper()
	tape := b.NewTape()
	tape.A.Poison = true
	v.Params.ZeroGrad()
	out := v.Forward(tape, layout(t, v, groups), groups, o)
	got := [][]float64{values(out.Tokens.Value)}
	backward(tape, out.Tokens)
	v.Params.FillMissing(b.Backend)
	for _, p := range v.Params.All() {
		if !p.Frozen && p.Shape.Len() > 0 {
			got = append(got, values(p.Grad()))
		}
	}
	tape.Release(out.Tokens)
	return got
}

func backward(tape *autograd.Tape, y *autograd.Var) {
	g, _ := tape.GradBuffer(y)
	host := tensor.Zeros(g.DType(), g.Len())
	r := tensor.NewRand(1, 2, 3, 1<<26)
	for i := 0; i < host.Len(); i++ {
		host.Set(i, r.Norm())
	}
	tape.B.Upload(g.Reshape(g.Len()), host)
	tape.Backward()
}

// Checkpointing changes no bit, whatever is random in the blocks.
func TestCheckpointSameBits(t *testing.T) {
	for name, c := range families() {
		for _, subset := range []bool{false, true} {
			t.Run(name+map[bool]string{true: ", subset"}[subset], func(t *testing.T) {
				c.DropPath = nn.DropPathConfig{Rate: 0.4, Subset: subset}
				c.RoPE.Rescale, c.RoPE.PerBlock = 2, true
				v := newModel(t, oracle, c)
				if _, err := oracle.AddLoRA(v, nn.LoRAConfig{Rank: 2, Alpha: 4, Dropout: 0.2, Targets: []string{"query", "q_proj"}}); err != nil {
					t.Fatal(err)
				}
				v.Params.Unfreeze(func(*nn.Param) bool { return true })
				withoutPooler(v)
				liven(oracle, v.Params)
				groups := crops(c)
				o := nn.Options{Rows: layout(t, v, groups).CLSRows(), Draw: nn.Draw{Train: true, Seed: 9, Step: 4}}
				want := step(t, oracle, v, groups, o)
				o.Checkpoint = true
				if diff := cmp.Diff(want, step(t, oracle, v, groups, o)); diff != "" {
					t.Errorf("without and with checkpoints:\n%s", diff)
				}
			})
		}
	}
}

// The first n frozen blocks get no gradient, the count is n times the tensors of a block, and the rest trains.
func TestFreezeBlocks(t *testing.T) {
	perBlock := map[string]int{"vit": 16, "dinov2": 18, "dinov2 gated": 18, "dinov2 with registers": 18, "dinov3": 17, "dinov3 gated": 17}
	for name, tensors := range perBlock {
		v := newModel(t, oracle, families()[name])
		if got := v.FreezeBlocks(1, false); got != tensors {
			t.Errorf("%s: froze %d tensors, want %d", name, got, tensors)
		}
		v.FreezeBlocks(1, true)
		withoutPooler(v)
		groups := crops(v.Config)
		step(t, oracle, v, groups, nn.Options{})
		for _, p := range v.Params.All() {
			want := p.Depth > 1 && !p.Frozen
			if got := p.Weight.HasGrad(); got != want {
				t.Errorf("%s: %s has a gradient: %v, want %v", name, p.Name, got, want)
			}
		}
	}
}

// Gradients of micro-batches add up to those of the whole batch.
func TestAccumulation(t *testing.T) {
	for name, c := range families() {
		v := newModel(t, oracle, c)
		withoutPooler(v)
		groups := crops(c)
		grads := func(batches ...[]nn.Group) (out [][]float64) {
			v.Params.ZeroGrad()
			tape := oracle.NewTape()
			for _, b := range batches {
				y := v.Forward(tape, layout(t, v, b), b, nn.Options{}).Tokens
				g, _ := tape.GradBuffer(y)
				oracle.Backend.Copy(g, y.Value)
				tape.Backward()
				tape.Reset()
			}
			for _, p := range v.Params.All() {
				if !p.Frozen && p.Weight.HasGrad() && p.Shape.Len() > 0 {
					out = append(out, values(p.Grad()))
				}
			}
			return out
		}
		if diff := cmp.Diff(grads(groups), grads(groups[:1], groups[1:]), approx(1e-11)); diff != "" {
			t.Errorf("%s: whole batch and micro-batches:\n%s", name, diff)
		}
	}
}

// Hidden states: depth+1 entries, the last one before the final norm.
func TestHiddenStates(t *testing.T) {
	for name, c := range families() {
		v := newModel(t, oracle, c)
		groups := crops(c)
		tape := oracle.NewTape()
		tape.A.Poison = true
		tape.NoGrad(func() {
			out := v.Forward(tape, layout(t, v, groups), groups, nn.Options{Hidden: true})
			if len(out.Hidden) != c.Depth+1 {
				t.Fatalf("%s: %d hidden states, want %d", name, len(out.Hidden), c.Depth+1)
			}
			last := v.Norm.Forward(tape, out.Hidden[c.Depth])
			if diff := cmp.Diff(values(out.Tokens.Value), values(last.Value)); diff != "" {
				t.Errorf("%s: norm of the last hidden state:\n%s", name, diff)
			}
			for i, h := range out.Hidden {
				for _, x := range values(h.Value) {
					if math.IsNaN(x) {
						t.Fatalf("%s: hidden state %d was freed", name, i)
					}
				}
			}
		})
	}
}

// Attention probabilities are rows of a softmax over the query's own crop.
func TestAttentionRows(t *testing.T) {
	v := newModel(t, oracle, families()["dinov3"])
	groups := crops(v.Config)
	l := layout(t, v, groups)
	tape := oracle.NewTape()
	tape.NoGrad(func() {
		out := v.Forward(tape, l, groups, nn.Options{Attention: &nn.AttentionRequest{Blocks: []int{1, 0}, Queries: l.CLSRows()}})
		for _, p := range out.Attention {
			n, heads, width := p.Dim(0), p.Dim(1), p.Dim(2)
			if n != 5 || heads != 2 || width != l.Seqs.MaxLen {
				t.Fatalf("shape %s", p.Shape())
			}
			for i := 0; i < n*heads; i++ {
				sum, own := 0.0, int(l.Seqs.Host[i/heads+1]-l.Seqs.Host[i/heads])
				for j := 0; j < width; j++ {
					sum += p.At(i*width + j)
					if j >= own && p.At(i*width+j) != 0 {
						t.Errorf("row %d attends to column %d beyond its %d tokens", i, j, own)
					}
				}
				if math.Abs(sum-1) > 1e-12 {
					t.Errorf("row %d sums to %g", i, sum)
				}
			}
		}
		if cmp.Equal(values(out.Attention[0]), values(out.Attention[1])) {
			t.Error("two blocks have the same attention")
		}
	})
}

// Merged adapters compute what unmerged ones add, and unmerging restores the weights.
func TestLoRAMerge(t *testing.T) {
	for name, c := range families() {
		v := newModel(t, oracle, c)
		groups := crops(c)
		before := forward(t, oracle, v, groups, nn.Options{})
		adapters, err := oracle.AddLoRA(v, nn.LoRAConfig{Rank: 2, Alpha: 4, RSLoRA: true, Pattern: ".*"})
		if err != nil {
			t.Fatal(err)
		}
		isLoRA := func(p *nn.Param) bool { return len(p.Shape) > 0 && !p.Frozen }
		v.Params.Init(oracle.Backend, 1, isLoRA)
		if diff := cmp.Diff(before, forward(t, oracle, v, groups, nn.Options{})); diff != "" {
			t.Errorf("%s: fresh adapters change the output:\n%s", name, diff)
		}
		for i, a := range adapters {
			r := tensor.NewRand(4, uint32(i), 0, 1<<26)
			for j := 0; j < a.B.Master.Len(); j++ {
				a.B.Master.Set(j, 0.3*r.Norm())
			}
		}
		apart := forward(t, oracle, v, groups, nn.Options{})
		if cmp.Equal(before, apart, approx(1e-3)) {
			t.Errorf("%s: the adapters do nothing", name)
		}
		for _, a := range adapters {
			a.Merge(oracle.Backend)
		}
		if diff := cmp.Diff(apart, forward(t, oracle, v, groups, nn.Options{}), approx(1e-10)); diff != "" {
			t.Errorf("%s: unmerged and merged:\n%s", name, diff)
		}
		for _, a := range adapters {
			a.Unmerge(oracle.Backend)
		}
		if diff := cmp.Diff(apart, forward(t, oracle, v, groups, nn.Options{}), approx(1e-10)); diff != "" {
			t.Errorf("%s: unmerged again:\n%s", name, diff)
		}
	}
}

// Adapters go on unfrozen blocks only, and each bias mode trains exactly its biases; what was frozen stays so.
func TestLoRATrains(t *testing.T) {
	c := families()["dinov2"]
	cases := []struct {
		bias nn.LoRABias
		want int // tensors trained: A and B of query and value of block 1, plus biases
	}{{nn.LoRABiasNone, 4}, {nn.LoRABiasOnly, 6}, {nn.LoRABiasAll, 4 + 8 + 1}}
	for _, tc := range cases {
		v := newModel(t, oracle, c)
		v.FreezeBlocks(1, true)
		if _, err := oracle.AddLoRA(v, nn.LoRAConfig{Rank: 2, Alpha: 4, Bias: tc.bias, Targets: []string{"query", "value"}}); err != nil {
			t.Fatal(err)
		}
		got := 0
		for _, p := range v.Params.All() {
			if !p.Frozen {
				got++
			}
		}
		if got != tc.want {
			t.Errorf("bias mode %d: %d tensors train, want %d", tc.bias, got, tc.want)
		}
	}
}
