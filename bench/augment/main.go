// Command augment measures the multi-crop augmentation on one core against torchvision on Pillow images: 10 views
// (2 x 224 and 8 x 96 pixels, DINO's transforms) of a 500 x 375 JPEG, decoding included, and prints a Markdown table.
//
//	go run -tags cpu ./bench/augment --python PYTHON --out bench/augment.md
//
// The picture is made of smooth noise with the spectrum of a photograph; --image measures another.
package main

import (
	"bytes"
	_ "embed"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"log"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/dino-mx/dmx/bench/peer"
	"github.com/dino-mx/dmx/data"
	"github.com/dino-mx/dmx/data/augment"
	"github.com/dino-mx/dmx/data/source"
	"github.com/dino-mx/dmx/tensor"
)

//go:embed peers/torchvision.py
var torchvisionSource string

func main() {
	log.SetFlags(0)
	log.SetPrefix("bench/augment: ")
	out := flag.String("out", "", "file to write the table to, beside standard output")
	python := flag.String("python", os.Getenv("PYTHON"), "a Python with torchvision (default $PYTHON)")
	picture := flag.String("image", "", "a JPEG instead of the generated one")
	rounds := flag.Int("rounds", 9, "rounds of each side")
	flag.Parse()
	if err := run(*out, *python, *picture, *rounds); err != nil {
		log.Fatal(err)
	}
}

// images is how many pictures a side decodes and cuts in one round.
const images = 20

func run(out, python, picture string, rounds int) error {
	runtime.GOMAXPROCS(1)
	dir, err := os.MkdirTemp("", "dmx-bench-augment")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	pictures := filepath.Join(dir, "pictures")
	if err := os.Mkdir(pictures, 0o755); err != nil {
		return err
	}
	bytes := photo()
	if picture != "" {
		if bytes, err = os.ReadFile(picture); err != nil {
			return err
		}
	}
	file := filepath.Join(pictures, "picture.jpg")
	if err := os.WriteFile(file, bytes, 0o644); err != nil {
		return err
	}
	ours, err := newOurs(pictures)
	if err != nil {
		return err
	}
	theirs, err := peer.StartPython(dir, python, torchvisionSource, []string{file})
	if err != nil {
		return err
	}
	defer theirs.Close()
	var w io.Writer = os.Stdout
	if out != "" {
		f, err := os.Create(out)
		if err != nil {
			return err
		}
		defer f.Close()
		w = io.MultiWriter(f, os.Stdout)
	}
	var mine, decoding, other []float64
	for range rounds {
		all, decode, err := ours.time(images)
		if err != nil {
			return err
		}
		ns, err := theirs.Number("images %d", images)
		if err != nil {
			return err
		}
		mine, decoding, other = append(mine, all/images), append(decoding, decode/images), append(other, ns/images)
	}
	a, b := peer.Median(mine)/1e6, peer.Median(other)/1e6
	fmt.Fprintf(w, "# Multi-crop augmentation on one core\n\n%s- Command: `go run -tags cpu ./bench/augment %s`\n", peer.Machine(), peer.ShownArgs())
	fmt.Fprintf(w, "- A 500 x 375 JPEG of %d KiB, decoded; 2 views of 224 and 8 of 96 pixels; medians of %d rounds of %d images, in turns\n\n", len(bytes)>>10, rounds, images)
	fmt.Fprintf(w, "| side | ms an image | of it decoding | images/s | ratio |\n|---|---:|---:|---:|---:|\n")
	fmt.Fprintf(w, "| dmx | %.2f | %.2f | %.1f | |\n", a, peer.Median(decoding)/1e6, 1e3/a)
	fmt.Fprintf(w, "| %s | %.2f | | %.1f | %.2f |\n", theirs.Name, b, 1e3/b, b/a)
	return nil
}

// ours is the program's own source and transform.
type ours struct {
	source data.Source
	crops  data.Transform
	sample data.Sample
	views  [][]float32
	next   uint32
}

func newOurs(dir string) (*ours, error) {
	src, err := source.Open(dir, source.Options{})
	if err != nil {
		return nil, err
	}
	crops, err := augment.NewMultiCrop(augment.Config{
		Channels: 3, Views: []augment.View{
			{ViewSpec: data.ViewSpec{Name: "global", Role: data.Global, Count: 2, Height: 224, Width: 224}, Scale: [2]float64{.4, 1},
				Blur: []float64{1, .1}, Solarise: []float64{0, .2, 0}},
			{ViewSpec: data.ViewSpec{Name: "local", Role: data.Local, Count: 8, Height: 96, Width: 96}, Scale: [2]float64{.05, .4},
				Blur: []float64{.5}},
		},
		HorizontalFlip: .5, JitterProb: .8, Brightness: .4, Contrast: .4, Saturation: .2, Hue: .1, GrayProb: .2,
		BlurSigma: [2]float64{.1, 2},
		Mean:      []float64{.485, .456, .406}, Std: []float64{.229, .224, .225},
	})
	if err != nil {
		return nil, err
	}
	o := &ours{source: src, crops: crops}
	for _, v := range crops.Views() {
		for range v.Count {
			o.views = append(o.views, make([]float32, 3*v.Height*v.Width))
		}
	}
	return o, nil
}

// time is the nanoseconds that n pictures take, and those of decoding among them.
func (o *ours) time(n int) (all, decode float64, err error) {
	start := time.Now()
	for range n {
		begin := time.Now()
		if err := o.source.Decode(0, &o.sample); err != nil {
			return 0, 0, err
		}
		decode += float64(time.Since(begin))
		if err := o.crops.Apply(&o.sample, data.Key{Seed: 1, Sample: o.next}, o.views); err != nil {
			return 0, 0, err
		}
		o.next++
	}
	return float64(time.Since(start)), decode, nil
}

// photo is a JPEG of noise whose octaves fall off with frequency as in photographs.
func photo() []byte {
	const width, height = 500, 375
	var planes [3][]float64
	for c := range planes {
		planes[c] = make([]float64, width*height)
		for octave := range 9 {
			addNoise(planes[c], width, 256>>octave, 30*math.Pow(0.8, float64(octave)), tensor.NewRand(1, uint32(c), uint32(octave), 0))
		}
	}
	m := image.NewRGBA(image.Rect(0, 0, width, height))
	level := func(v float64) uint8 { return uint8(min(max(v+128, 0), 255)) }
	for i := range width * height {
		m.SetRGBA(i%width, i/width, color.RGBA{level(planes[0][i]), level(planes[1][i]), level(planes[2][i]), 255})
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 90}); err != nil {
		panic(err) // an image in memory of legal size
	}
	return b.Bytes()
}

// addNoise adds normal values on a grid with the given step, interpolated between, to a plane.
func addNoise(plane []float64, width, step int, amplitude float64, r *tensor.Rand) {
	height := len(plane) / width
	cols, rows := width/step+2, height/step+2
	grid := make([]float64, cols*rows)
	for i := range grid {
		grid[i] = amplitude * r.Norm()
	}
	for i := range plane {
		x, y := i%width, i/width
		g := grid[y/step*cols+x/step:]
		fx, fy := float64(x%step)/float64(step), float64(y%step)/float64(step)
		plane[i] += (g[0]*(1-fx)+g[1]*fx)*(1-fy) + (g[cols]*(1-fx)+g[cols+1]*fx)*fy
	}
}
