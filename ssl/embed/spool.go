package embed

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/dino-mx/dmx/data/loader"
	"github.com/dino-mx/dmx/ssl/skipped"
)

// spool is the raw rows of a job in progress, in name: for each row the image's index as uint32 and the features as
// float32, little-endian. name.id says what they belong to, and name.state, written after the rows, up to which image
// the job came and which images were left out.
type spool struct {
	f       *os.File
	name    string
	rowLen  int
	rows    []int // the image of each row
	next    int   // the first image that is neither a row nor left out
	skipped []skipped.Image
	buf     []byte
}

// state is the content of name.state.
type state struct {
	Next    int             `json:"next"`
	Rows    int             `json:"rows"`
	Skipped []skipped.Image `json:"skipped"`
}

// openSpool opens the spool of a job over total images. other reports that there was one of another identity, which is
// gone.
func openSpool(name, identity string, total, rowLen int, restart bool) (s *spool, other bool, err error) {
	s = &spool{name: name, rowLen: rowLen}
	old, err := os.ReadFile(name + ".id")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, false, err
	}
	other = err == nil && !restart && string(old) != identity
	if restart || string(old) != identity {
		if err := errors.Join(s.removeFiles(), os.WriteFile(name+".id", []byte(identity), 0o666)); err != nil {
			return nil, other, err
		}
	}
	if s.f, err = os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o666); err != nil {
		return nil, other, err
	}
	if err := s.recover(total); err != nil {
		return nil, other, errors.Join(err, s.f.Close())
	}
	return s, other, nil
}

func (s *spool) rowBytes() int { return 4 + 4*s.rowLen }

// recover takes over the rows that the last state vouches for.
func (s *spool) recover(total int) error {
	var st state
	text, err := os.ReadFile(s.name + ".state")
	if err == nil {
		err = json.Unmarshal(text, &st)
	}
	info, statErr := s.f.Stat()
	if statErr != nil {
		return statErr
	}
	whole := err == nil && st.Rows >= 0 && st.Rows <= st.Next && st.Next <= total && info.Size() >= int64(st.Rows)*int64(s.rowBytes())
	if !whole {
		st = state{}
	}
	s.next, s.skipped = st.Next, st.Skipped
	if err := s.f.Truncate(int64(st.Rows) * int64(s.rowBytes())); err != nil {
		return err
	}
	s.rows = make([]int, st.Rows)
	head := make([]byte, 4)
	for i := range s.rows {
		if _, err := s.f.ReadAt(head, int64(i)*int64(s.rowBytes())); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		s.rows[i] = int(binary.LittleEndian.Uint32(head))
		if s.rows[i] >= st.Next {
			return fmt.Errorf("%s is damaged: row %d is of image %d of %d; remove it", s.name, i, s.rows[i], st.Next)
		}
	}
	_, err = s.f.Seek(0, io.SeekEnd)
	return err
}

// add collects a row for the next flush.
func (s *spool) add(image int, row []float32) {
	s.rows = append(s.rows, image)
	s.buf = binary.LittleEndian.AppendUint32(s.buf, uint32(image))
	for _, v := range row {
		s.buf = binary.LittleEndian.AppendUint32(s.buf, math.Float32bits(v))
	}
}

// leaveOut moves next to end and notes those of the unreadable images, whose indices are counted from image from on,
// that lie before it.
func (s *spool) leaveOut(from int, bad []loader.Unreadable, end int) {
	for _, u := range bad {
		if at := from + u.Index; at >= s.next && at < end {
			s.skipped = append(s.skipped, skipped.Image{ID: u.ID, Stage: skipped.Decoding, Reason: u.Err.Error()})
		}
	}
	s.next = end
}

// flush writes the collected rows and then the state that counts them.
func (s *spool) flush() error {
	if _, err := s.f.Write(s.buf); err != nil {
		return err
	}
	s.buf = s.buf[:0]
	text, err := json.Marshal(state{s.next, len(s.rows), s.skipped})
	if err != nil {
		return err
	}
	tmp := s.name + ".state.tmp"
	if err := os.WriteFile(tmp, text, 0o666); err != nil {
		return err
	}
	return os.Rename(tmp, s.name+".state")
}

// each reads the rows back in order; row is overwritten by the next.
func (s *spool) each(do func(image int, row []float32) error) error {
	if _, err := s.f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	r := bufio.NewReaderSize(s.f, 1<<20)
	raw, row := make([]byte, s.rowBytes()), make([]float32, s.rowLen)
	for _, image := range s.rows {
		if _, err := io.ReadFull(r, raw); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		for k := range row {
			row[k] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4+4*k:]))
		}
		if err := do(image, row); err != nil {
			return err
		}
	}
	return nil
}

func (s *spool) close() error { return s.f.Close() }

// remove deletes the spool.
func (s *spool) remove() error { return errors.Join(s.removeFiles(), s.removeFile(".id")) }

func (s *spool) removeFiles() error { return errors.Join(s.removeFile(""), s.removeFile(".state")) }

func (s *spool) removeFile(end string) error {
	if err := os.Remove(s.name + end); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
