package filelog

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// packed are the ends of names of files that a rotation has compressed. They are
// copies of what was read.
var packed = []string{".gz", ".bz2", ".xz", ".zst", ".lz4", ".Z", ".zip"}

// candidate is a file that may be one that a log is in.
type candidate struct {
	path, pattern string
	beside        bool // no pattern finds it: the pattern is that of another file in its folder
	info          os.FileInfo
	head          []byte         // once identify has read it
	sums          map[int]uint64 // of its first bytes, by their number
}

// sum returns the sum of the first n bytes of the head.
func (c *candidate) sum(n int) uint64 {
	got, ok := c.sums[n]
	if !ok {
		if c.sums == nil {
			c.sums = map[int]uint64{}
		}
		got = sum(c.head[:n])
		c.sums[n] = got
	}
	return got
}

// place is what a file is found again by, as long as nobody writes to it.
type place struct {
	identity
	path string // where the file system gives no identity
}

func (c *candidate) place() place { return placeOf(inode(c.info), c.path) }

func placeOf(id identity, path string) place {
	if id != (identity{}) {
		path = ""
	}
	return place{id, path}
}

// look finds what the patterns name, and the state that each log is in by now.
func (s *Source) look(ctx context.Context) {
	s.stale = false
	if !s.looked {
		s.closed = nil // what a first look that could not be kept has found
		s.recall()
	}
	if unknown := s.settle(s.recognise(s.find())); len(unknown) > 0 {
		s.verify()
		s.identify(ctx, unknown)
	}
	s.seek(ctx)
	s.miss(ctx)
	if !s.looked && s.settings.From == fromEnd {
		if err := s.keepEnds(ctx); err != nil {
			s.failed("keeping the ends of", strings.Join(s.patterns, " "), err)
			return // and look for the first time again
		}
	}
	s.takeUp(ctx)
	s.looked = true
	for _, f := range slices.Clone(s.files) {
		if f.gone && s.now().Sub(f.active) >= time.Duration(s.settings.CloseAfter) {
			s.finish(ctx, f)
		}
	}
	s.metrics.files.Set(float64(len(s.files)))
}

// find returns what the patterns find, the oldest first.
func (s *Source) find() []*candidate {
	var found []*candidate
	seen := map[string]bool{}
	for _, pattern := range s.patterns {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			s.failed("looking for", pattern, err)
		}
		for _, path := range paths {
			if c, ok := look(path, pattern); ok && !seen[path] {
				seen[path] = true
				found = append(found, c)
			}
		}
	}
	slices.SortStableFunc(found, func(a, b *candidate) int { return a.info.ModTime().Compare(b.info.ModTime()) })
	return found
}

// look returns the file at path, when it is one that can be read line by line.
func look(path, pattern string) (*candidate, bool) {
	if slices.ContainsFunc(packed, func(end string) bool { return strings.HasSuffix(path, end) }) {
		return nil, false
	}
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		return nil, false
	}
	return &candidate{path: path, pattern: pattern, info: info}, true
}

// recognise learns the present names of the files that are followed, and returns the
// candidates that are not.
func (s *Source) recognise(found []*candidate) (unknown []*candidate) {
	byFile := map[*file]*candidate{}
	following := s.following()
	for _, c := range found {
		if f := following(c.info); f != nil {
			byFile[f] = c
		} else {
			unknown = append(unknown, c)
		}
	}
	for _, f := range s.files {
		c, ok := byFile[f]
		if ok && (c.path != f.mark.Path || f.gone) || !ok && !f.gone {
			s.metrics.rotations.Inc()
			is := ""
			if ok {
				is = c.path
			}
			s.log.Info("a file was rotated", "was", f.mark.Path, "is", is)
		}
		if !ok && !f.gone {
			f.active = s.now() // from now on it has to be silent
		}
		f.gone, f.copied = !ok, false
		if ok {
			f.mark.Path, f.mark.Pattern = c.path, c.pattern
		}
	}
	return unknown
}

// following returns what finds the log that is followed in the file of info, nil when
// there is none.
func (s *Source) following() func(info os.FileInfo) *file {
	infos := make([]os.FileInfo, len(s.files))
	for i, f := range s.files {
		infos[i], _ = f.f.Stat() // SameFile knows nil for no file at all
	}
	return func(info os.FileInfo) *file {
		for i, mine := range infos {
			if mine != nil && os.SameFile(mine, info) {
				return s.files[i]
			}
		}
		return nil
	}
}

// settle leaves out the candidates whose logs wait or are at rest, and to which nobody has
// written since: that is told without opening them. Of all other closed logs the file is to
// be found anew.
func (s *Source) settle(unknown []*candidate) []*candidate {
	places := map[place]*file{}
	for _, f := range s.closed {
		f.copied = false
		if f.was, f.seen = f.seen, nil; f.was == nil {
			continue
		}
		places[f.place()] = f
		if f.gone {
			if c, ok := look(f.mark.Path, f.mark.Pattern); ok && os.SameFile(f.was, c.info) {
				c.beside = true
				unknown = append(unknown, c)
			}
		}
	}
	return slices.DeleteFunc(unknown, func(c *candidate) bool {
		f := places[c.place()]
		if f == nil || !f.settled || !f.asBefore(c.info) {
			return false
		}
		f.see(c)
		return true
	})
}

// takeUp follows the logs that hold more than was read, as far as there is room, and then
// others while there is room that nobody needs.
func (s *Source) takeUp(ctx context.Context) {
	var due, atRest []*file
	for _, f := range s.closed {
		switch {
		case f.due():
			due = append(due, f)
		case f.seen != nil && f.size >= f.pos:
			atRest = append(atRest, f)
		}
	}
	oldest := func(a, b *file) int { return a.seen.ModTime().Compare(b.seen.ModTime()) }
	slices.SortStableFunc(due, oldest)
	if len(s.files)+len(due) > s.settings.MaxFiles {
		slices.Reverse(due) // the newest is the one that is written
	}
	s.waiting = 0
	room := true
	for _, f := range due {
		if room = room && s.room(f); room {
			s.follow(ctx, f)
		} else {
			s.failed("following", f.mark.Path, errTooMany)
		}
		if f.f == nil {
			s.waiting += f.unread()
		}
	}
	if len(s.files) >= s.settings.MaxFiles {
		return
	}
	slices.SortStableFunc(atRest, oldest)
	for _, f := range slices.Backward(atRest) {
		if len(s.files) < s.settings.MaxFiles {
			s.follow(ctx, f)
		}
	}
}

// errTooMany is why a file is not followed.
var errTooMany = errors.New("there are more files than max_files, and those that are followed were written to later and not read to their ends yet: raise max_files, or let paths find fewer")

// room makes room for f, and reports whether there is any. It lets go the one that was written to
// longest ago: of those that were read to their ends or else, as the newest matter most, of those
// that were written to before f was.
func (s *Source) room(f *file) bool {
	if len(s.files) < s.settings.MaxFiles {
		return true
	}
	var oldest *file
	var written time.Time
	read := false // oldest was, to its end
	for _, other := range s.files {
		info, err := other.f.Stat()
		if err != nil || other.gone { // what is removed cannot be opened again
			continue
		}
		drained := info.Size() == other.read
		if !drained && (read || !info.ModTime().Before(f.seen.ModTime())) {
			continue
		}
		if oldest == nil || drained && !read || info.ModTime().Before(written) {
			oldest, written, read = other, info.ModTime(), drained
		}
	}
	if oldest == nil {
		return false
	}
	s.letGo(oldest)
	return true
}

// follow opens the file that the log is in, unless that is another by now.
func (s *Source) follow(ctx context.Context, f *file) {
	opened, c := s.open(&candidate{path: f.mark.Path, pattern: f.mark.Pattern, beside: f.gone, info: f.seen})
	if opened == nil {
		return
	}
	if f.like(c) == unlike || c.info.Size() < f.pos {
		f.settled = false
		opened.Close()
		return
	}
	level := slog.LevelInfo
	if f.told {
		level = slog.LevelDebug // with little room, it comes and goes
	}
	if f.told = true; f.mark.Offset == 0 {
		s.log.Log(ctx, level, "following a file", "path", c.path, "from", f.pos)
	} else {
		s.log.Log(ctx, level, "going on with a file", "path", c.path, "at", f.mark.Offset, "of", c.info.Size())
	}
	f.turnTo(c, opened, s.now())
	s.closed = without(s.closed, f)
	s.files = append(s.files, f)
}

// open opens a candidate and reads its head. It returns nil when it cannot, or when there is
// another file at the path by now.
func (s *Source) open(c *candidate) (*os.File, *candidate) {
	opened, err := os.Open(c.path)
	if err != nil {
		s.failed("opening", c.path, err)
		return nil, nil
	}
	info, err := opened.Stat()
	head := readHead(opened)
	if err != nil || !os.SameFile(info, c.info) || len(head) == 0 {
		opened.Close()
		return nil, nil
	}
	now := *c
	now.info, now.head, now.sums = info, head, nil
	return opened, &now
}
