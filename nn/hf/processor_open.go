package hf

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/dino-mx/dmx/nn"
)

// ProcessorsFile holds the processors of a model of several, that of images under image_processor.
const ProcessorsFile = "processor_config.json"

// openProcessor finds out how pictures are prepared: as image_processor of processor_config.json says, else
// preprocessor_config.json, as transformers looks for them, else timm's config.json. Where there is none, the
// processor of the published models of the family is assumed. own tells whether the files of the folder are this
// model's.
func (c *Checkpoint) openProcessor(dir string, own bool) error {
	if own {
		p, err := FolderProcessor(dir, c.Config.Family)
		if err != nil {
			return err
		}
		if p != nil {
			p.spread(c.Config.Channels)
			c.Processor = p
			return nil
		}
	}
	if c.Config.Timm != nil {
		p, err := c.Config.Timm.Processor()
		if err != nil {
			return fmt.Errorf("%s: %w", filepath.Join(dir, ConfigFile), err)
		}
		c.Processor = p
		return nil
	}
	p := DefaultProcessor(c.Config.ViTConfig)
	who := "published " + c.Config.Family.String() + " models"
	if c.Naming != NamingHF && c.Config.Family != nn.FamilyDINOv3 {
		// Meta's evaluation of DINO and DINOv2, and timm, prepare pictures with torchvision's transforms: 256 pixels of the
		// shorter side, 224 of which are cut out.
		if c.Config.Family == nn.FamilyViT {
			side := c.Config.ImageSize
			p.Kind, p.ConvertRGB, p.CenterCrop = BitProcessor, c.Config.Channels == 3, true
			p.Size, p.Crop = Size{ShortestEdge: (side*256 + 112) / 224}, Size{Height: side, Width: side}
		}
		p.RoundCrop = true
		who += " outside of transformers, with the centre crop of torchvision"
	}
	where := "beside the weights"
	if own {
		where = "in " + dir
	}
	p.Assumed = fmt.Sprintf("no %s %s, so pictures are prepared as for %s: %v", ProcessorFile, where, who, p)
	c.Processor = p
	return nil
}

// FolderProcessor reads the image processor of a model folder; nil if no file describes one.
func FolderProcessor(dir string, family nn.Family) (*Processor, error) {
	file, raw, err := processorConfig(dir)
	if err != nil || raw == nil {
		return nil, err
	}
	p, err := ParseProcessor(raw, family)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, file), err)
	}
	p.File = file
	return p, nil
}

// processorConfig reads the image processor's JSON and the name of its file; nil if the folder has none.
func processorConfig(dir string) (file string, raw []byte, err error) {
	raw, err = readJSON(filepath.Join(dir, ProcessorsFile))
	if err == nil {
		m, err := parseObject(raw)
		if err != nil {
			return "", nil, fmt.Errorf("%s: %w: %w", filepath.Join(dir, ProcessorsFile), ErrProcessor, err)
		}
		if nested := m["image_processor"]; nested != nil && string(nested) != "null" {
			return ProcessorsFile, json.RawMessage(nested), nil
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return "", nil, err
	}
	raw, err = readJSON(filepath.Join(dir, ProcessorFile))
	if errors.Is(err, os.ErrNotExist) {
		return "", nil, nil
	}
	return ProcessorFile, raw, err
}
