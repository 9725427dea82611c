package ssl

import (
	"fmt"

	"github.com/dino-mx/dmx/data"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/tensor"
)

// MultiCrop returns the views of DINO: two global crops of an image, and local ones if there are any, all square.
func MultiCrop(globalSize, locals, localSize int) []data.ViewSpec {
	views := []data.ViewSpec{{Name: "global", Role: data.Global, Count: 2, Height: globalSize, Width: globalSize}}
	if locals > 0 {
		views = append(views, data.ViewSpec{Name: "local", Role: data.Local, Count: locals, Height: localSize, Width: localSize})
	}
	return views
}

// validateViews names the first kind of view that makes no recipe.
func (s *Settings) validateViews() error {
	bad := func(v data.ViewSpec, what string) error {
		return fmt.Errorf("training settings: view %s: %d of %dx%d pixels, role %s: %s", v.Name, v.Count, v.Height, v.Width, v.Role, what)
	}
	globals, p := 0, s.Backbone.PatchSize
	for i, v := range s.Views {
		switch {
		case v.Count < 1:
			return bad(v, "there must be at least one")
		case min(v.Height, v.Width) < p:
			return bad(v, fmt.Sprintf("it must be at least one patch of %d", p))
		case v.Role == data.Anchor:
			return bad(v, "no term of the objective reads it")
		case v.Role == data.Global && i > 0:
			return bad(v, "global crops are one kind, the first of the list")
		case v.Role == data.Global:
			globals = v.Count
		}
	}
	if globals < 2 {
		return fmt.Errorf("training settings: %d global crops; the objective needs 2 or more", globals)
	}
	return nil
}

// globalView is the kind of view that the teacher sees, the first of the list.
func (s *Settings) globalView() data.ViewSpec { return s.Views[0] }

// crops is the number of crops of an image.
func (s *Settings) crops() int { return data.Views(s.Views) }

// shapes makes groups of images crops for the first n kinds of views. A layout reads shapes only; the memory behind
// these groups is never touched.
func (s *Settings) shapes(n, images int) []nn.Group {
	groups := make([]nn.Group, n)
	for i, v := range s.Views[:n] {
		shape := tensor.Shape{v.Count * images, s.Backbone.Channels, v.Height, v.Width}
		groups[i].Images = tensor.Over(&tensor.Buffer{Size: 4 * shape.Len()}, 0, tensor.F32, shape...)
	}
	return groups
}

// pixels is the number of values of all crops of an image.
func (s *Settings) pixels() (n int) {
	for _, v := range s.Views {
		n += v.Count * s.Backbone.Channels * v.Height * v.Width
	}
	return n
}
