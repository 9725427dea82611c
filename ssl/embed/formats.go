package embed

import (
	"encoding/binary"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"

	"github.com/parquet-go/parquet-go"

	"github.com/dino-mx/dmx/data"
	"github.com/dino-mx/dmx/data/npy"
	"github.com/dino-mx/dmx/ssl/skipped"
)

// table is the rows of a job with the images that they belong to.
type table struct {
	spool  *spool
	source data.Source
	shape  []int // of the features of one image
}

// writers has the writer of each format, by the end of the file's name.
var writers = map[string]func(t *table, w io.Writer) error{
	".npy": (*table).writeNPY, ".csv": (*table).writeCSV, ".parquet": (*table).writeParquet,
}

// writeNPY writes the array [rows, shape…] in NumPy's format, version 1.
func (t *table) writeNPY(w io.Writer) error {
	if _, err := w.Write(npy.AppendHeader(nil, "<f4", append([]int{len(t.spool.rows)}, t.shape...)...)); err != nil {
		return err
	}
	var raw []byte
	return t.spool.each(func(_ int, row []float32) error {
		raw = raw[:0]
		for _, v := range row {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
		}
		_, err := w.Write(raw)
		return err
	})
}

// sample is the columns that say which image and class a row belongs to; label and class are empty without one.
func (t *table) sample(image int) (id, label, class string) {
	if l, ok := t.source.Label(image); ok {
		label = strconv.Itoa(l)
		if c := t.source.Classes(); l >= 0 && l < len(c) {
			class = c[l]
		}
	}
	return skipped.Text(t.source.ID(image)), label, skipped.Text(class)
}

// writeSamples says which image and class each row of an .npy belongs to.
func (t *table) writeSamples(out io.Writer) error {
	w := csv.NewWriter(out)
	err := w.Write([]string{"id", "label", "class"})
	for _, image := range t.spool.rows {
		if err != nil {
			return err
		}
		id, label, class := t.sample(image)
		err = w.Write([]string{id, label, class})
	}
	w.Flush()
	return errors.Join(err, w.Error())
}

// writeCSV writes id, label, class and one column per feature.
func (t *table) writeCSV(out io.Writer) error {
	w := csv.NewWriter(out)
	record := []string{"id", "label", "class"}
	for k := range t.spool.rowLen {
		record = append(record, "f"+strconv.Itoa(k))
	}
	if err := w.Write(record); err != nil {
		return err
	}
	err := t.spool.each(func(image int, row []float32) error {
		record[0], record[1], record[2] = t.sample(image)
		for k, v := range row {
			record[3+k] = strconv.FormatFloat(float64(v), 'g', -1, 32)
		}
		return w.Write(record)
	})
	w.Flush()
	return errors.Join(err, w.Error())
}

// Row is a row of a Parquet file. Patch tokens are one list, patch after patch; their number is in the file's metadata
// under "shape".
type Row struct {
	ID        string    `parquet:"id,zstd"`
	Label     *int64    `parquet:"label,optional"`
	Class     *string   `parquet:"class,optional,dict"`
	Embedding []float32 `parquet:"embedding,list"`
}

func (t *table) writeParquet(out io.Writer) error {
	perGroup := int64(max(1, (64<<20)/(4*t.spool.rowLen)))
	w := parquet.NewGenericWriter[Row](out, parquet.KeyValueMetadata("shape", fmt.Sprint(t.shape)), parquet.MaxRowsPerRowGroup(perGroup))
	err := t.spool.each(func(image int, row []float32) error {
		id, _, class := t.sample(image)
		r := Row{ID: id, Embedding: row}
		if l, ok := t.source.Label(image); ok {
			n := int64(l)
			r.Label = &n
			if class != "" {
				r.Class = &class
			}
		}
		_, err := w.Write([]Row{r})
		return err
	})
	return errors.Join(err, w.Close())
}
