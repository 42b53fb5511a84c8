package filelog

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"slices"
)

// identify finds out what candidates are by how they begin: the file of a log, a copy of one,
// or a new log. The longest come first, because a log is in the longest of those that begin
// alike.
func (s *Source) identify(ctx context.Context, unknown []*candidate) {
	var heads []*candidate
	for _, c := range unknown {
		if opened, c := s.open(c); opened != nil {
			opened.Close()
			heads = append(heads, c)
		}
	}
	slices.SortStableFunc(heads, func(a, b *candidate) int { return cmp.Compare(b.info.Size(), a.info.Size()) })
	for _, c := range heads {
		s.assign(ctx, c)
	}
}

// verify asks the files that are followed how they begin, and how long they are by now.
func (s *Source) verify() {
	for _, f := range slices.Clone(s.files) {
		if same, err := f.same(nil); err == nil && !same {
			s.truncated(f)
		}
	}
}

// assign makes a candidate the file of its log, if it is longer than the one that the log is in and
// holds what was read.
func (s *Source) assign(ctx context.Context, c *candidate) {
	f, likeness := s.like(c)
	if likeness == unlike {
		if !c.beside {
			s.begin(c)
		}
		return
	}
	there := f.f != nil || f.seen != nil
	size := c.info.Size()
	if c.beside && (there || size < f.pos || s.stray(f)) {
		return
	}
	switch {
	case there && size <= f.size, likeness == perhaps && f.pos > 0, !there && !s.reaches(f, c):
		f.copied = true
	case f.f != nil:
		s.turn(f, c)
	default:
		if likeness == alike {
			s.shortened(f, c)
			s.back(ctx, f)
		}
		f.bind(c, s.now())
	}
}

// like returns the log that begins as the candidate does, and how sure that is.
func (s *Source) like(c *candidate) (like *file, how likeness) {
	for _, files := range [][]*file{s.files, s.closed} {
		for _, f := range files {
			switch got := f.like(c); {
			case got == alike:
				return f, alike
			case got > how:
				like, how = f, got
			}
		}
	}
	return like, how
}

// begin makes a candidate a new log.
func (s *Source) begin(c *candidate) {
	f := &file{key: newKey()}
	f.bind(c, s.now())
	s.closed = append(s.closed, f)
	if !s.looked && s.settings.From == fromEnd {
		f.startAt(f.size)
		ends, err := s.endsLine(c, f.size)
		f.skipping = err != nil || !ends
	}
}

// keepEnds keeps the marks of a first look that begins at the ends of all files, in one step: a
// life that found some of them would take the other files for new ones.
func (s *Source) keepEnds(ctx context.Context) error {
	values := map[string][]byte{}
	for _, f := range s.closed {
		if f.mark.Missed == 0 {
			values[f.key] = f.mark.encode()
		}
	}
	if s.kept == nil || len(values) == 0 {
		return nil
	}
	return s.kept.Accept(ctx, s.name, nil, values)
}

// turn goes on with a log in the file of a candidate.
func (s *Source) turn(f *file, c *candidate) {
	opened, c := s.open(c)
	if opened == nil {
		return
	}
	if f.like(c) == unlike {
		opened.Close()
		return
	}
	s.log.Info("a file is a copy: going on with the longer one", "copy", f.mark.Path, "path", c.path, "at", f.mark.Offset, "of", c.info.Size())
	f.turnTo(c, opened, s.now())
}

// truncated is called when the file of f does not begin as it did: it was truncated, and
// perhaps copied before. What was not read of it is in the copy, which is to be found;
// the file is that of a new log.
func (s *Source) truncated(f *file) {
	s.metrics.rotations.Inc()
	s.log.Info("a file was truncated", "path", f.mark.Path, "read_bytes", f.mark.Offset)
	s.letGo(f)
	s.stale = true
}

// besides returns the files in the folders of logs that are missing.
func (s *Source) besides(missing []*file) []*candidate {
	var list []*candidate
	seen := map[string]bool{}
	for _, f := range missing {
		folder := filepath.Dir(f.mark.Path)
		if !seen[folder] {
			seen[folder] = true
			list = append(list, s.inFolder(folder, f.mark.Pattern)...)
		}
	}
	return list
}

// maxBesides bounds how many files of a folder are looked at for one that was renamed.
const maxBesides = 10_000

// inFolder returns the files in a folder that no log is known to be in.
func (s *Source) inFolder(folder, pattern string) []*candidate {
	dir, err := os.Open(folder)
	if err != nil {
		s.failed("looking into", folder, err)
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(maxBesides) // what could be read of it must do
	following := s.following()
	known := map[place]bool{}
	for _, f := range s.closed {
		if f.seen != nil {
			known[f.place()] = true
		}
	}
	var list []*candidate
	for _, name := range names {
		c, ok := look(filepath.Join(folder, name), pattern)
		if !ok || following(c.info) != nil || known[c.place()] {
			continue
		}
		c.beside = !s.finds(c.path)
		list = append(list, c)
	}
	return list
}
