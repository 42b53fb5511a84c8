package filelog

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// packed are the ends of names of files that a rotation has compressed. They are
// copies of what was read.
var packed = []string{".gz", ".bz2", ".xz", ".zst", ".lz4", ".Z", ".zip"}

// candidate is a file that may be followed.
type candidate struct {
	path, pattern string // pattern is "" when none finds it
	info          os.FileInfo
}

// look finds what the patterns name: files that were followed before, under another
// name perhaps, and new ones.
func (s *Source) look(ctx context.Context) {
	found := s.find()
	unknown := s.changed(s.recognise(found))
	if !s.looked && s.kept != nil {
		s.recall()
	}
	unknown = s.resume(ctx, unknown)
	if len(s.files)+len(unknown) > s.settings.MaxFiles {
		slices.Reverse(unknown) // the newest is the one that is written
	}
	for _, c := range unknown {
		s.begin(ctx, c)
	}
	s.looked = true
	for _, f := range slices.Clone(s.files) {
		if f.gone && s.now().Sub(f.active) >= time.Duration(s.settings.CloseAfter) {
			s.finish(ctx, f)
		}
	}
	s.metrics.files.Set(float64(len(s.files)))
}

// find returns what the patterns find, the oldest first.
func (s *Source) find() []candidate {
	var found []candidate
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
	slices.SortStableFunc(found, func(a, b candidate) int { return a.info.ModTime().Compare(b.info.ModTime()) })
	return found
}

// look returns the file at path, when it is one that can be read line by line.
func look(path, pattern string) (candidate, bool) {
	if slices.ContainsFunc(packed, func(end string) bool { return strings.HasSuffix(path, end) }) {
		return candidate{}, false
	}
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		return candidate{}, false
	}
	return candidate{path, pattern, info}, true
}

// recognise learns the present names of the files that are followed, and returns the
// candidates that are not.
func (s *Source) recognise(found []candidate) (unknown []candidate) {
	byFile := map[*file]candidate{}
	for _, c := range found {
		if f := s.following(c.info); f != nil {
			byFile[f] = c
		} else {
			unknown = append(unknown, c)
		}
	}
	for _, f := range s.files {
		c, ok := byFile[f]
		if ok && (c.path != f.mark.Path || f.gone) || !ok && !f.gone {
			s.metrics.rotations.Inc()
			s.log.Info("a file was rotated", "was", f.mark.Path, "is", c.path)
		}
		if !ok && !f.gone {
			f.active = s.now() // from now on it has to be silent
		}
		f.gone = !ok
		if ok {
			f.mark.Path, f.mark.Pattern = c.path, c.pattern
		}
	}
	return unknown
}

// following returns the file that is followed and is the one of info.
func (s *Source) following(info os.FileInfo) *file {
	for _, f := range s.files {
		if mine, err := f.f.Stat(); err == nil && os.SameFile(mine, info) {
			return f
		}
	}
	return nil
}

// recall makes the marks of the last life those of files that are missing as yet.
func (s *Source) recall() {
	for key, m := range decodeMarks(s.kept.Load(prefix)) {
		s.missing[key] = m
		s.looked = s.looked || slices.Contains(s.patterns, m.Pattern)
	}
}

const (
	// seekEvery is how often folders are looked through for files that no pattern finds.
	seekEvery = time.Minute
	// forgetAfter is how long a file may be missing: a volume may be mounted late.
	forgetAfter = 24 * time.Hour
)

// resume takes up files that are missing, those of the last life above all, and returns the
// candidates that are none of them. First those that are where the file system says, then
// those that begin as they did, under whatever name: a rotation may have gone on meanwhile.
func (s *Source) resume(ctx context.Context, found []candidate) []candidate {
	if len(s.missing) == 0 {
		return found
	}
	byInode := func(c candidate) bool { return s.take(ctx, c, true) }
	byHead := func(c candidate) bool { return s.take(ctx, c, false) }
	found = slices.DeleteFunc(found, byInode)
	found = slices.DeleteFunc(found, byHead)
	if now := s.now(); now.Sub(s.sought) >= seekEvery {
		s.sought = now
		for _, c := range s.besides(s.missing) {
			if !byInode(c) {
				byHead(c)
			}
		}
	}
	s.miss(ctx)
	return found
}

// take follows a candidate if it is a file that is missing.
func (s *Source) take(ctx context.Context, c candidate, byInode bool) bool {
	for _, key := range slices.Sorted(maps.Keys(s.missing)) {
		m := s.missing[key]
		if byInode != (m.identity == inode(c.info)) || !s.room() || !s.follow(c, key, m) {
			continue
		}
		delete(s.missing, key)
		if m.Missed > 0 {
			now := s.files[len(s.files)-1].mark
			if err := s.keep(ctx, nil, key, &now); err != nil {
				s.failed("keeping that there is again", c.path, err)
			}
		}
		return true
	}
	return false
}

// miss tells of files that are missing, once, and forgets those that have been for long.
func (s *Source) miss(ctx context.Context) {
	now := s.now()
	for key, m := range s.missing {
		switch {
		case !slices.Contains(s.patterns, m.Pattern): // another source's
			delete(s.missing, key)
		case m.Missed == 0:
			s.metrics.lost.Inc()
			s.log.Warn("a file that was read before is gone, or cannot be opened; if it was not read to its end and does not come back, the rest is lost",
				"path", m.Path, "read_bytes", m.Offset, "looked_for", forgetAfter,
				"hint", "let the pattern find rotated files too, and compress them one rotation later (delaycompress)")
			m.Missed = max(now.Unix(), 1)
			s.missing[key] = m
			if err := s.keep(ctx, nil, key, &m); err != nil {
				s.failed("keeping that there is no more", m.Path, err)
			}
		case now.Sub(time.Unix(m.Missed, 0)) >= forgetAfter:
			if err := s.keep(ctx, nil, key, nil); err != nil {
				s.failed("forgetting", m.Path, err)
				continue
			}
			delete(s.missing, key)
		}
	}
}

// room makes room for one more file, and reports whether there is any: of the files that were
// read to their ends, the one that was written to longest ago is let go. Its mark stays.
func (s *Source) room() bool {
	if len(s.files) < s.settings.MaxFiles {
		return true
	}
	var oldest *file
	var written time.Time
	for _, f := range s.files {
		info, err := f.f.Stat()
		if err != nil || f.gone || info.Size() != f.mark.Offset || f.pos != f.mark.Offset {
			continue
		}
		if oldest == nil || info.ModTime().Before(written) {
			oldest, written = f, info.ModTime()
		}
	}
	if oldest == nil {
		return false
	}
	s.parked[oldest.key] = oldest
	oldest.f.Close()
	s.files = slices.DeleteFunc(s.files, func(f *file) bool { return f == oldest })
	return true
}

// changed leaves out the candidates that were let go and are still as they were then. The
// others of those are to be taken up again, and what is there no more is missing.
func (s *Source) changed(unknown []candidate) []candidate {
	seen, now := map[string]bool{}, max(s.now().Unix(), 1)
	missing := func(key string, m mark) { // it was read to its end: there is nothing to tell
		delete(s.parked, key)
		m.Missed = now
		s.missing[key] = m
	}
	unknown = slices.DeleteFunc(unknown, func(c candidate) bool {
		for key, f := range s.parked {
			m := f.mark
			if m.identity != inode(c.info) || m.identity == (identity{}) && m.Path != c.path {
				continue
			}
			seen[key] = c.info.Size() == m.Offset && m.begins(c.path) // truncated, it may have come to the same size
			if !seen[key] {
				missing(key, m)
			}
			return seen[key]
		}
		return false
	})
	for key, f := range s.parked {
		if !seen[key] {
			missing(key, f.mark)
		}
	}
	return unknown
}

// begins reports whether the file at path begins as the mark's did.
func (m *mark) begins(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return m.isOf(readHead(f, m.Head))
}

// isOf reports whether head is what the mark's file begins with.
func (m *mark) isOf(head []byte) bool { return len(head) >= m.Head && sum(head) == m.Sum }

// maxBesides bounds how many files of a folder are looked at for one that was renamed.
const maxBesides = 10_000

// besides returns the files in the folders of the marks that no pattern finds.
func (s *Source) besides(marks map[string]mark) []candidate {
	var list []candidate
	seen := map[string]bool{}
	for _, m := range marks {
		folder := filepath.Dir(m.Path)
		if seen[folder] || !slices.Contains(s.patterns, m.Pattern) {
			continue
		}
		seen[folder] = true
		list = append(list, s.inFolder(folder, m.Pattern)...)
	}
	return list
}

// inFolder returns the files in a folder that are not followed.
func (s *Source) inFolder(folder, pattern string) []candidate {
	dir, err := os.Open(folder)
	if err != nil {
		s.failed("looking into", folder, err)
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(maxBesides) // what could be read of it must do
	var list []candidate
	for _, name := range names {
		if c, ok := look(filepath.Join(folder, name), pattern); ok && s.following(c.info) == nil {
			list = append(list, c)
		}
	}
	return list
}

// open opens a candidate, unless what has its name by now is followed already.
func (s *Source) open(c *candidate) (*os.File, bool) {
	opened, err := os.Open(c.path)
	if err != nil {
		s.failed("opening", c.path, err)
		return nil, false
	}
	if c.info, err = opened.Stat(); err != nil || s.following(c.info) != nil {
		opened.Close()
		return nil, false
	}
	return opened, true
}

// follow follows the candidate from the mark on, if it is the mark's file.
func (s *Source) follow(c candidate, key string, m mark) bool {
	opened, ok := s.open(&c)
	if !ok {
		return false
	}
	head := readHead(opened, m.Head)
	if c.info.Size() < m.Offset || !m.isOf(head) {
		opened.Close()
		return false
	}
	m.identity, m.Path, m.Missed = inode(c.info), c.path, 0
	s.files = append(s.files, &file{
		key: key, mark: m, f: opened, head: head, pos: m.Offset, size: c.info.Size(), active: s.now(),
		gone: !slices.ContainsFunc(s.patterns, func(p string) bool { ok, err := filepath.Match(p, c.path); return ok && err == nil }),
	})
	s.log.Info("going on with a file", "path", c.path, "at", m.Offset, "of", c.info.Size())
	return true
}

// begin follows a new file.
func (s *Source) begin(ctx context.Context, c candidate) {
	if !s.room() {
		s.failed("following", c.path, errTooMany)
		return
	}
	opened, ok := s.open(&c)
	if !ok {
		return
	}
	head := readHead(opened, headSize)
	if len(head) == 0 {
		opened.Close()
		return
	}
	if like, now := s.like(head); like != nil {
		if !now && s.parked[like.key] == nil && (like.pos == 0 || tells(like.head) && tells(head)) && like.longer(&c) {
			like.turnTo(c, opened)
		} else {
			opened.Close()
		}
		return
	}
	f := &file{
		key: newKey(), mark: mark{identity: inode(c.info), Path: c.path, Pattern: c.pattern},
		f: opened, head: head, size: c.info.Size(), active: s.now(),
	}
	if !s.looked && s.settings.From == fromEnd {
		s.toEnd(ctx, f)
	}
	s.files = append(s.files, f)
	s.log.Info("following a file", "path", c.path, "from", f.pos)
}

// toEnd makes f be read from its end on, or from the end of the line that is being
// written.
func (s *Source) toEnd(ctx context.Context, f *file) {
	m := f.at(f.size)
	if err := s.keep(ctx, nil, f.key, &m); err != nil {
		s.failed("keeping the end of", m.Path, err)
	}
	last := []byte{0}
	_, err := f.f.ReadAt(last, f.size-1)
	f.mark, f.pos, f.skipping = m, f.size, err != nil || last[0] != '\n'
}

// like returns the file that is followed, or was let go, and begins as head does, nil when
// there is none. One of the two is a copy of the other, mostly in the making, for a rotation by
// truncation: it is taken up when the file is truncated. Until then it is looked at
// again and again: two files may also begin alike as long as they have a few bytes only.
//
// A file that was truncated since it was read last begins otherwise than is known: then
// its copy may be one of what it holds now, and now says so.
func (s *Source) like(head []byte) (like *file, now bool) {
	alike := func(other []byte) bool {
		n := min(len(head), len(other))
		return n > 0 && bytes.Equal(head[:n], other[:n])
	}
	for _, f := range s.files {
		if alike(f.head) {
			return f, false
		}
	}
	for _, f := range s.parked {
		if alike(f.head) {
			return f, false
		}
	}
	for _, f := range s.files {
		if alike(readHead(f.f, headSize)) {
			return f, true
		}
	}
	return nil, false
}

// truncated is called when f is no longer what it was: it was truncated, and perhaps
// copied before. What was not read of it is in the copy, which is followed in its
// place; f is a new file.
func (s *Source) truncated(ctx context.Context, f *file) {
	s.metrics.rotations.Inc()
	s.log.Info("a file was truncated", "path", f.mark.Path, "read_bytes", f.mark.Offset)
	old, key := f.mark, f.key
	unread := f.size - f.mark.Offset
	f.key = newKey()
	f.mark = mark{identity: old.identity, Path: old.Path, Pattern: old.Pattern}
	if old.Head == 0 && tells(f.head) { // nothing of it was counted yet
		old.Head, old.Sum = len(f.head), sum(f.head)
	}
	f.head, f.pos, f.size, f.skipping = nil, 0, 0, false
	if old.Head > 0 && slices.ContainsFunc(s.inFolder(filepath.Dir(old.Path), old.Pattern), func(c candidate) bool { return s.follow(c, key, old) }) {
		return
	}
	if unread > 0 {
		s.metrics.lost.Inc()
		s.log.Warn("a file was truncated before it was read to its end, and there is no copy of it", "path", old.Path, "lost_bytes_at_least", unread,
			"hint", "let logrotate copy it into the same folder, and compress it one rotation later (delaycompress)")
	}
	if err := s.keep(ctx, nil, key, nil); err != nil {
		s.failed("forgetting", old.Path, err)
	}
}

// errTooMany is why a file is not followed.
var errTooMany = errors.New("there are more files than max_files, and none of those that are followed was read to its end yet: raise max_files, or let paths find fewer")
