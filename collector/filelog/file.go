package filelog

import (
	"bytes"
	"errors"
	"io"
	"os"
	"slices"
	"time"
)

// file is a file that is followed.
type file struct {
	key  string // of its mark
	mark mark   // as of what is counted
	f    *os.File
	head []byte // its first bytes, up to headSize of them

	pos      int64 // of the next byte to read; behind mark.Offset only within a line that is too long
	size     int64 // as of the last look
	skipping bool  // the rest of a line that is too long
	gone     bool  // no pattern finds it any more
	active   time.Time
}

// finding is what read has found.
type finding struct {
	data    []byte // all that was read
	lines   []byte // whole lines, in the buffer
	next    int64  // where they end; when there are none, where reading goes on
	tooLong bool   // a line that is too long has begun
	more    bool   // there may be more to read at once
}

// read reads whole lines from where it has got to into buf, which it may make larger
// up to longest. It changes nothing in file: see commit.
func (f *file) read(buf *[]byte, longest int) (finding, error) {
	n, err := f.f.ReadAt(*buf, f.pos)
	if err != nil && !errors.Is(err, io.EOF) {
		return finding{}, err
	}
	data, start := (*buf)[:n], 0
	found := finding{data: data, next: f.pos, more: n == len(*buf)}
	if f.skipping {
		if start = bytes.IndexByte(data, '\n') + 1; start == 0 {
			found.next += int64(n)
			return found, nil
		}
	}
	end := bytes.LastIndexByte(data, '\n') + 1
	switch {
	case end > 0: // with nothing from start on, it is the end of a line that is too long
		found.lines, found.next = data[start:end], f.pos+int64(end)
	case found.more && n < longest:
		*buf = make([]byte, min(2*n, longest))
		return f.read(buf, longest)
	case found.more:
		found.next, found.tooLong = f.pos+int64(n), true
	}
	return found, nil
}

// learn returns the file's head with what data, read at pos, adds to it.
func (f *file) learn(data []byte) []byte {
	known := int64(len(f.head)) - f.pos // so much of data
	if known < 0 || known >= int64(len(data)) || len(f.head) == headSize {
		return f.head
	}
	data = data[known:]
	return append(slices.Clone(f.head), data[:min(len(data), headSize-len(f.head))]...)
}

// longer reports whether a candidate that begins as f does holds more: then f is the
// copy, such as a backup that somebody made by hand.
func (f *file) longer(c *candidate) bool {
	info, err := f.f.Stat()
	return err == nil && info.Size() < c.info.Size()
}

// turnTo makes f be read in the file of a candidate, where it has got to.
func (f *file) turnTo(c candidate, opened *os.File) {
	f.f.Close()
	f.f, f.size, f.gone = opened, c.info.Size(), false
	if f.pos == 0 {
		f.head = nil
	}
	f.mark.identity, f.mark.Path, f.mark.Pattern = inode(c.info), c.path, c.pattern
}

// rest returns what follows the last whole line.
func (f *file) rest(longest int) []byte {
	if f.skipping || f.size <= f.pos || f.size-f.pos > int64(longest) {
		return nil
	}
	data := make([]byte, f.size-f.pos)
	n, _ := f.f.ReadAt(data, f.pos) // what cannot be read is not there
	return data[:n]
}

// same reports whether the file is still the one that began with head: not truncated,
// and not written anew since.
func (f *file) same(head []byte) (bool, error) {
	info, err := f.f.Stat()
	if err != nil {
		return false, err
	}
	if info.Size() < f.pos || !bytes.Equal(readHead(f.f, len(head)), head) {
		return false, nil
	}
	f.size = info.Size()
	return true, nil
}

// at returns the mark for when everything up to offset is counted.
func (f *file) at(offset int64) mark {
	m := f.mark
	m.Offset = offset
	if m.Head != len(f.head) {
		m.Head, m.Sum = len(f.head), sum(f.head)
	}
	return m
}
