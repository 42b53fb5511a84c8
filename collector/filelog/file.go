package filelog

import (
	"bytes"
	"errors"
	"io"
	"os"
	"time"
)

// file is a log and the file that it is in, if there is one: see the package comment.
type file struct {
	key  string // of its mark
	mark mark   // as of what is counted
	head []byte // its first bytes, up to headSize of them; nil when only their sum is known

	pos      int64 // of the next byte to read; behind mark.Offset only within a line that is too long
	read     int64 // a file of this size holds nothing that could be counted now
	size     int64 // as of the last look
	skipping bool  // the rest of a line that is too long
	gone     bool  // no pattern finds it any more
	copied   bool  // as of the last look, there is a copy that the patterns find

	told   bool     // that it is followed
	f      *os.File // nil unless it is followed
	active time.Time

	// Of the file that it is in, unless it is followed:
	seen    os.FileInfo // as of this look; nil when it is missing
	was     os.FileInfo // as of the look before
	since   time.Time   // it is as it was seen
	settled bool        // a change would show in what is seen: see bind

	cut   int64     // its size when it was seen to be shorter than what was read; else 0
	cutAt time.Time // when that was
	late  time.Time // since when, in this life, the clock says that it is missing for too long
}

// finding is what read has found.
type finding struct {
	data    []byte // all that was read
	lines   []byte // whole lines, in the buffer
	next    int64  // where they end; when there are none, where reading goes on
	tooLong bool   // a line that is too long has begun
	more    bool   // there may be more to read at once
}

// lines reads whole lines from where it has got to into buf, which it may make larger
// up to longest. It changes nothing in file: see Source.step.
func (f *file) lines(buf *[]byte, longest int) (finding, error) {
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
		return f.lines(buf, longest)
	case found.more:
		found.next, found.tooLong = f.pos+int64(n), true
	}
	return found, nil
}

// same reports whether the file is still the one that began with the head, and data, read
// at pos, is of it: it was not truncated, and not written anew since. If so it learns its
// size, and what was added to the head.
func (f *file) same(data []byte) (bool, error) {
	info, err := f.f.Stat()
	if err != nil {
		return false, err
	}
	head := readHead(f.f)
	if info.Size() < f.pos || !bytes.HasPrefix(head, f.head) || !holds(head, data, f.pos) {
		return false, nil
	}
	f.size, f.head = info.Size(), head
	return true, nil
}

// holds reports whether head says the same as data, read at pos, where the two overlap.
func holds(head, data []byte, pos int64) bool {
	if pos >= int64(len(head)) {
		return true
	}
	head = head[pos:]
	n := min(len(head), len(data))
	return bytes.Equal(head[:n], data[:n])
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

// at returns the mark for when everything up to offset is counted.
func (f *file) at(offset int64) mark {
	m := f.mark
	m.Offset = offset
	if f.head != nil {
		m.begin(f.head)
	}
	return m
}

// startAt makes the log be read from offset on.
func (f *file) startAt(offset int64) {
	f.mark = f.at(offset)
	f.pos, f.read, f.skipping = offset, offset, false
}

// due reports whether the file is to be followed even if another has to make room.
func (f *file) due() bool { return f.seen != nil && (f.size > f.read || f.gone && f.size >= f.pos) }

// overdue reports whether a missing log is to be forgotten. How long it is missing is told by the
// clock, over lives; that the clock is right, by how long it has been telling so in this one.
func (f *file) overdue(now time.Time) bool {
	switch {
	case now.Sub(time.Unix(f.mark.Missed, 0)) < forgetAfter:
		f.late = time.Time{}
	case f.late.IsZero():
		f.late = now
	default:
		return now.Sub(f.late) >= forgetOver
	}
	return false
}

// unread returns how many bytes of the log are known that were not counted.
func (f *file) unread() int64 { return max(f.size-f.mark.Offset, 0) }

// settleAfter is longer than the steps in which any file system counts the time of the last
// change: FAT has 2 s.
const settleAfter = 3 * time.Second

// bind makes the candidate the file that the log is in.
func (f *file) bind(c *candidate, now time.Time) {
	same := f.asBefore(c.info)
	if !same {
		f.since = now
	}
	// The head was compared just now. Were the file truncated and written to the same
	// size from now on, the time of the change would be another.
	f.settled = same && now.Sub(f.since) >= settleAfter
	if len(c.head) > len(f.head) || f.pos == 0 {
		f.head = c.head
	}
	f.cut = 0
	f.see(c)
}

// see learns where the log is, and how long.
func (f *file) see(c *candidate) {
	f.seen, f.size, f.gone = c.info, c.info.Size(), c.beside
	f.mark.identity, f.mark.Path, f.mark.Pattern = inode(c.info), c.path, c.pattern
}

// place returns where the file is, or was.
func (f *file) place() place { return placeOf(f.mark.identity, f.mark.Path) }

// asBefore reports whether info is what the file was in the look before.
func (f *file) asBefore(info os.FileInfo) bool {
	return f.was != nil && os.SameFile(f.was, info) && f.was.Size() == info.Size() && f.was.ModTime().Equal(info.ModTime())
}

// turnTo makes the log be read in the file of a candidate, where it has got to.
func (f *file) turnTo(c *candidate, opened *os.File, now time.Time) {
	if f.f != nil {
		f.f.Close()
	}
	f.bind(c, now)
	f.f, f.head, f.active = opened, c.head, now
}

// close makes the log one that is not followed.
func (f *file) close() {
	f.f.Close()
	f.f, f.seen, f.was, f.settled = nil, nil, nil, false
}

// likeness is what a candidate is to a log.
type likeness int

const (
	unlike  likeness = iota
	perhaps          // as far as the few bytes tell that one of them has
	alike            // the two are the same log
)

// like compares the log with a candidate by how they begin.
func (f *file) like(c *candidate) likeness {
	n := f.common(c)
	if n == 0 {
		return unlike
	}
	there := f.f != nil || f.seen != nil
	switch {
	case tells(c.head[:n]), n >= len(f.head) && f.place() == c.place():
		return alike
	case f.pos == 0 && !tells(f.head), there && !tells(c.head):
		return perhaps
	}
	return unlike
}

// common returns how many bytes the log and the candidate begin with alike, as far as they are
// known, and 0 when those that both have differ.
func (f *file) common(c *candidate) int {
	if f.head != nil {
		n := min(len(f.head), len(c.head))
		if !bytes.Equal(f.head[:n], c.head[:n]) {
			return 0
		}
		return n
	}
	switch m := f.mark; {
	case len(c.head) >= m.Head && c.sum(m.Head) == m.Sum:
		return m.Head
	case len(c.head) < m.Head && m.Line > 0 && len(c.head) >= m.Line && c.sum(m.Line) == m.LineSum:
		return m.Line
	}
	return 0
}
