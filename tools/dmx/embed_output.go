package main

import (
	"bufio"
	"encoding/binary"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/parquet-go/parquet-go"

	"github.com/dino-mx/dmx/data"
	"github.com/dino-mx/dmx/data/npy"
)

// spool is the raw rows of a run in progress: little-endian float32 in <out>.part, and what they belong to in
// <out>.part.id.
type spool struct {
	f      *os.File
	name   string
	rows   int
	rowLen int
	buf    []byte
}

func openSpool(out, identity string, total, rowLen int, restart bool) (*spool, error) {
	s := &spool{name: out + ".part", rowLen: rowLen}
	old, err := os.ReadFile(s.name + ".id")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	fresh := restart || string(old) != identity
	if fresh {
		if err := errors.Join(removeIfThere(s.name), os.WriteFile(s.name+".id", []byte(identity), 0o666)); err != nil {
			return nil, err
		}
	}
	if s.f, err = os.OpenFile(s.name, os.O_RDWR|os.O_CREATE, 0o666); err != nil {
		return nil, err
	}
	st, err := s.f.Stat()
	if err != nil {
		return nil, errors.Join(err, s.f.Close())
	}
	s.rows = min(int(st.Size()/int64(4*rowLen)), total)
	size := int64(s.rows) * int64(4*rowLen)
	_, err = s.f.Seek(size, io.SeekStart)
	if err = errors.Join(s.f.Truncate(size), err); err != nil {
		return nil, errors.Join(err, s.f.Close())
	}
	return s, nil
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func (s *spool) append(rows []float32) error {
	s.buf = s.buf[:0]
	for _, v := range rows {
		s.buf = binary.LittleEndian.AppendUint32(s.buf, math.Float32bits(v))
	}
	if _, err := s.f.Write(s.buf); err != nil {
		return err
	}
	s.rows += len(rows) / s.rowLen
	return nil
}

func (s *spool) close() error { return s.f.Close() }

// each reads the rows back in order; row is overwritten by the next.
func (s *spool) each(do func(i int, row []float32) error) error {
	if _, err := s.f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	r := bufio.NewReaderSize(s.f, 1<<20)
	raw, row := make([]byte, 4*s.rowLen), make([]float32, s.rowLen)
	for i := range s.rows {
		if _, err := io.ReadFull(r, raw); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		for k := range row {
			row[k] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*k:]))
		}
		if err := do(i, row); err != nil {
			return err
		}
	}
	return nil
}

// finish turns the rows into the result, under a temporary name until it is whole, and removes them.
func (s *spool) finish(out string, src data.Source, shape []int) error {
	tmp, err := os.CreateTemp(filepath.Dir(out), "."+filepath.Base(out)+".*.tmp")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // gone already when all went well
	switch strings.ToLower(filepath.Ext(out)) {
	case ".npy":
		err = s.writeNPY(tmp, shape)
	case ".csv":
		err = s.writeCSV(tmp, src)
	default:
		err = s.writeParquet(tmp, src, shape)
	}
	if err == nil {
		err = tmp.Chmod(0o644)
	}
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return fmt.Errorf("%s: %w", out, err)
	}
	if strings.EqualFold(filepath.Ext(out), ".npy") {
		if err := writeSamples(out+".samples.csv", src); err != nil {
			return err
		}
	}
	if err := os.Rename(tmp.Name(), out); err != nil {
		return err
	}
	return errors.Join(removeIfThere(s.name), removeIfThere(s.name+".id"))
}

// writeNPY writes the array [images, shape…] in NumPy's format, version 1.
func (s *spool) writeNPY(w io.Writer, shape []int) error {
	if _, err := w.Write(npy.AppendHeader(nil, "<f4", append([]int{s.rows}, shape...)...)); err != nil {
		return err
	}
	if _, err := s.f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err := io.Copy(w, s.f)
	return err
}

func sampleFields(src data.Source, i int) (id, label, class string) {
	id = src.ID(i)
	if l, ok := src.Label(i); ok {
		label = strconv.Itoa(l)
		if c := src.Classes(); l >= 0 && l < len(c) {
			class = c[l]
		}
	}
	return id, label, class
}

// writeSamples says which image and class each row of an .npy belongs to.
func writeSamples(path string, src data.Source) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // gone already when all went well
	w := csv.NewWriter(tmp)
	err = w.Write([]string{"id", "label", "class"})
	for i := 0; err == nil && i < src.Len(); i++ {
		id, label, class := sampleFields(src, i)
		err = w.Write([]string{id, label, class})
	}
	w.Flush()
	if err = errors.Join(err, w.Error(), tmp.Chmod(0o644), tmp.Close()); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.Rename(tmp.Name(), path)
}

// writeCSV writes id, label, class and one column per feature.
func (s *spool) writeCSV(out io.Writer, src data.Source) error {
	w := csv.NewWriter(out)
	record := []string{"id", "label", "class"}
	for k := range s.rowLen {
		record = append(record, "f"+strconv.Itoa(k))
	}
	if err := w.Write(record); err != nil {
		return err
	}
	err := s.each(func(i int, row []float32) error {
		record[0], record[1], record[2] = sampleFields(src, i)
		for k, v := range row {
			record[3+k] = strconv.FormatFloat(float64(v), 'g', -1, 32)
		}
		return w.Write(record)
	})
	w.Flush()
	return errors.Join(err, w.Error())
}

// embedding is a row of the Parquet file. Patch tokens are one list, patch after patch; their number is in the
// file's metadata under "shape".
type embedding struct {
	ID        string    `parquet:"id,zstd"`
	Label     *int64    `parquet:"label,optional"`
	Class     *string   `parquet:"class,optional,dict"`
	Embedding []float32 `parquet:"embedding,list"`
}

func (s *spool) writeParquet(out io.Writer, src data.Source, shape []int) error {
	w := parquet.NewGenericWriter[embedding](out, parquet.KeyValueMetadata("shape", fmt.Sprint(shape)), parquet.MaxRowsPerRowGroup(int64(max(1, (64<<20)/(4*s.rowLen)))))
	err := s.each(func(i int, row []float32) error {
		e := embedding{ID: src.ID(i), Embedding: row}
		if l, ok := src.Label(i); ok {
			n := int64(l)
			e.Label = &n
			if c := src.Classes(); l >= 0 && l < len(c) {
				e.Class = &c[l]
			}
		}
		_, err := w.Write([]embedding{e})
		return err
	})
	return errors.Join(err, w.Close())
}
