package run

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/dino-mx/dmx/ssl/durable"
)

// Summary is the content of summary.json. Accuracies are in percent; a value that was not measured is null.
type Summary struct {
	KNN             *KNNSummary `json:"knn"`
	Iterations      int         `json:"iterations"`   // steps done
	Finished        bool        `json:"finished"`     // all steps of the configuration are done
	FinalLoss       *number     `json:"final_loss"`   // of the last step
	WallSeconds     float64     `json:"wall_seconds"` // of all processes that worked on the run, evaluation included
	ImagesPerSecond float64     `json:"images_per_second"`
	MFU             float64     `json:"mfu"`
	PeakMemory      uint64      `json:"peak_memory_bytes"`
	Unreadable      int         `json:"unreadable_images"`
	Parameters      int         `json:"parameters"`
	Backend         string      `json:"backend"`
	Version         string      `json:"version"`
}

// KNNSummary is the weighted kNN accuracy of pixels and of backbone features. Untrained and Teacher are those
// of the CLS token; the others of the mean over the patch tokens.
type KNNSummary struct {
	Raw                *float64 `json:"raw"`
	Untrained          *float64 `json:"untrained"`
	Teacher            *float64 `json:"teacher"`
	UntrainedMeanPatch *float64 `json:"untrained_mean_patch"`
	TeacherMeanPatch   *float64 `json:"teacher_mean_patch"`
	K                  int      `json:"k"`
	Bank               int      `json:"bank"`    // labelled training images
	Queries            int      `json:"queries"` // images of the evaluation split
	Split              string   `json:"split"`
}

// ReadSummary reads the summary of the run folder at path; a run that has none yet gives nil.
func ReadSummary(path string) (*Summary, error) {
	text, err := os.ReadFile((&Folder{Path: path}).file("summary.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("summary: %w", err)
	}
	s := new(Summary)
	if err := json.Unmarshal(text, s); err != nil {
		return nil, fmt.Errorf("%s/summary.json: %w; delete the file to have it made again", path, err)
	}
	return s, nil
}

func (s *Summary) write(f *Folder) error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("summary: %w", err)
	}
	if err := durable.WriteBytes(f.file("summary.json"), append(text, '\n')); err != nil {
		return fmt.Errorf("summary: %w", err)
	}
	return nil
}
