package main

import "fmt"

// shape is one product [m,k]·[k,n]. transA and transB say how the operands lie in memory.
type shape struct {
	m, n, k        int
	transA, transB bool
	what           string
}

func (s shape) trans() string {
	letters := map[bool]string{false: "N", true: "T"}
	return letters[s.transA] + letters[s.transB]
}

func (s shape) name() string { return fmt.Sprintf("%dx%dx%d %s", s.m, s.n, s.k, s.trans()) }

func (s shape) flops() float64 { return 2 * float64(s.m) * float64(s.n) * float64(s.k) }

// shapes are the products of a ViT-S: 3152 rows are 16 images of 197 tokens, and one image alone; the layers qkv,
// projection and both of the MLP; the prototypes of the DINO head for 48 and 3152 rows. NT is the forward pass,
// NN the gradient of the input, TN of the weight; all three are measured at the layers' own sizes, and the weight
// gradients at theirs too.
func shapes() []shape {
	var list []shape
	layers := [][2]int{{384, 384}, {1152, 384}, {1536, 384}, {384, 1536}}
	for _, m := range []int{3152, 197} {
		for _, l := range layers {
			for _, t := range [][2]bool{{false, true}, {false, false}, {true, false}} {
				list = append(list, shape{m, l[0], l[1], t[0], t[1], "layer"})
			}
		}
	}
	for _, l := range layers {
		list = append(list, shape{l[0], l[1], 3152, true, false, "weight gradient"})
	}
	for _, m := range []int{48, 3152} {
		list = append(list,
			shape{m, 65536, 256, false, true, "prototypes"},
			shape{m, 65536, 256, false, false, "prototypes"},
			shape{m, 65536, 256, true, false, "prototypes"},
			shape{m, 256, 65536, false, false, "prototypes, input gradient"},
			shape{65536, 256, m, true, false, "prototypes, weight gradient"})
	}
	return list
}
