package main

import (
	"bytes"
	_ "embed"
	"encoding/csv"
	"fmt"
	"strconv"
)

// h200SMs are the multiprocessors of the card that h200.csv was measured on.
const h200SMs = 132

//go:embed h200.csv
var h200 []byte

// measured is a product as it was measured; rates are in TFLOP/s.
type measured struct {
	name    string
	m, n, k int
	layout  string // whether A and B lie transposed in memory
	tileN   int    // the plan with which version 3 ran
	splits  int
	v3      float64
	torch   float64
}

// readMeasured returns the rows of a table like h200.csv.
func readMeasured(table []byte) ([]measured, error) {
	r := csv.NewReader(bytes.NewReader(table))
	r.Comment = '#'
	rows, err := r.ReadAll()
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("the table has no header")
	}
	col := map[string]int{}
	for i, name := range rows[0] {
		col[name] = i
	}
	var list []measured
	for _, row := range rows[1:] {
		x := measured{name: row[col["product"]], layout: row[col["layout"]]}
		for name, to := range map[string]*int{"m": &x.m, "n": &x.n, "k": &x.k, "tile": &x.tileN, "splits": &x.splits} {
			if *to, err = strconv.Atoi(row[col[name]]); err != nil {
				return nil, fmt.Errorf("%s, column %s: %w", x.name, name, err)
			}
		}
		for name, to := range map[string]*float64{"v3": &x.v3, "torch": &x.torch} {
			if *to, err = strconv.ParseFloat(row[col[name]], 64); err != nil {
				return nil, fmt.Errorf("%s, column %s: %w", x.name, name, err)
			}
		}
		list = append(list, x)
	}
	return list, nil
}

// shape is sizes and layout.
func (x *measured) shape() string { return fmt.Sprintf("%dx%dx%d %s", x.m, x.n, x.k, x.layout) }

// micros is the time of the product in microseconds at a rate in TFLOP/s.
func (x *measured) micros(rate float64) float64 {
	return 2 * float64(x.m) * float64(x.n) * float64(x.k) / rate / 1e6
}
