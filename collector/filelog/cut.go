package filelog

import (
	"os"
	"time"
)

// cutAfter is for how long a file that was cut may grow back: one that is copied anew in its place
// is shorter for as long as that takes. A file system, too, may tell an old size for a moment.
const cutAfter = time.Minute

// reaches reports whether reading goes on in a candidate that is all that there is of a log: it holds
// what was read. Or it is the file that was read, cut to a beginning of itself: then what is written
// behind that is new, once it is certain that the rest does not come again.
func (s *Source) reaches(f *file, c *candidate) bool {
	size := c.info.Size()
	whole := size >= f.pos
	if f.place() != c.place() || whole && f.cut == 0 {
		return whole
	}
	switch now := s.now(); {
	case f.cut == 0 || size < f.cut:
		f.cut, f.cutAt, f.head = size, now, c.head
		s.log.Warn("a file is shorter than what was read of it; unless it grows back, it is read on from there", "path", c.path,
			"size", size, "read_bytes", f.mark.Offset, "in", cutAfter, "hint", "truncate a log to nothing, not to a part of it; let what copies logs write to another name, and rename")
		return false
	case whole:
		if ends, err := s.endsLine(c, f.pos); err != nil || ends { // it did grow back; had it not, that would be chance
			return err == nil
		}
	case f.copied, now.Sub(f.cutAt) < cutAfter: // from a copy that is longer, lines would come again
		return false
	}
	f.startAt(f.cut) // be it within a line: who appends begins one
	return true
}

// endsLine reports whether a line of a candidate ends at offset.
func (s *Source) endsLine(c *candidate, offset int64) (bool, error) {
	last := []byte{0}
	opened, err := os.Open(c.path)
	if err == nil {
		defer opened.Close()
		_, err = opened.ReadAt(last, offset-1)
	}
	if err != nil {
		s.failed("reading", c.path, err)
	}
	return last[0] == '\n', err
}
