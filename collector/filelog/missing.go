package filelog

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"
)

// recall makes the logs of the last life missing ones, until their files are found.
func (s *Source) recall() {
	if s.kept == nil {
		return
	}
	marks := decodeMarks(s.kept.Load(prefix))
	keys := slices.Sorted(maps.Keys(marks))
	// Should two be of one log, which never ought to be, the first is taken: what is behind
	// the other was counted.
	slices.SortStableFunc(keys, func(a, b string) int { return cmp.Compare(marks[b].Offset, marks[a].Offset) })
	for _, key := range keys {
		m := marks[key]
		m.Path, m.Pattern = absolute(m.Path), absolute(m.Pattern)
		if !s.owns(&m) {
			continue
		}
		f := &file{key: key, mark: m, pos: m.Offset, read: m.Offset}
		if pattern := s.pattern(m.Path); s.stray(f) && pattern != "" {
			f.mark.Pattern = pattern
		}
		s.closed = append(s.closed, f)
		s.looked = s.looked || !s.stray(f)
	}
}

const (
	// seekEvery is how often folders are looked through for files that no pattern finds.
	seekEvery = time.Minute
	// forgetAfter is how long a file may be missing: a volume may be mounted late.
	forgetAfter = 24 * time.Hour
	// forgetOver is for how long every look has to find that it was: the clock may be wrong for
	// a moment.
	forgetOver = time.Hour
)

// seek looks for missing logs in files that no pattern finds: at once for those that are
// missing since just now.
func (s *Source) seek(ctx context.Context) {
	var missing []*file
	just := false
	for _, f := range s.closed {
		if f.seen == nil && !s.stray(f) {
			missing = append(missing, f)
			just = just || f.mark.Missed == 0
		}
	}
	now := s.now()
	if len(missing) == 0 || !just && now.Sub(s.sought) < seekEvery {
		return
	}
	s.sought = now
	s.identify(ctx, s.besides(missing))
}

// miss tells of logs that are missing, once, and forgets those that have been for long.
func (s *Source) miss(ctx context.Context) {
	now := s.now()
	for _, f := range slices.Clone(s.closed) {
		switch {
		case f.seen != nil:
		case f.mark.Missed == 0:
			s.missed(ctx, f)
		case f.copied: // a copy that is shorter than what was read would be a new log
		case f.overdue(now):
			s.forget(ctx, f)
		}
	}
}

// missed notes that a log is missing. What is known to have been read to its end is nothing
// to tell of: old files are removed.
func (s *Source) missed(ctx context.Context, f *file) {
	unknown := f.head == nil && !f.copied && !s.stray(f) // whether there was more
	if unknown || f.unread() > 0 && tells(f.head) {
		s.metrics.lost.Inc()
		s.log.Warn("a file that was not read to its end, as far as is known, is gone, was truncated or cannot be opened, and there is no copy of it; if it does not come back, the rest is lost",
			"path", f.mark.Path, "read_bytes", f.mark.Offset, "lost_bytes_at_least", f.unread(), "looked_for", forgetAfter,
			"hint", "let the pattern find rotated files too, let logrotate copy into the same folder, and compress one rotation later (delaycompress)")
	}
	if f.mark.Offset == 0 { // nothing of it was counted: should it come back, it is read as a new one
		s.forget(ctx, f)
		return
	}
	f.mark = f.at(f.mark.Offset)
	f.mark.Missed = max(s.now().Unix(), 1)
	f.head, f.size = nil, 0
	if err := s.keep(ctx, nil, f.key, &f.mark); err != nil {
		s.failed("keeping that there is no more", f.mark.Path, err)
	}
}

// back notes that a log is not missing any more.
func (s *Source) back(ctx context.Context, f *file) {
	if f.mark.Missed == 0 {
		return
	}
	f.mark.Missed = 0
	if err := s.keep(ctx, nil, f.key, &f.mark); err != nil {
		s.failed("keeping that there is again", f.mark.Path, err)
	}
}

// shortened tells when the candidate, which is all that there is of a log, lacks lines
// that were not read.
func (s *Source) shortened(f *file, c *candidate) {
	lost := f.size - max(c.info.Size(), f.mark.Offset)
	if lost <= 0 {
		return
	}
	s.metrics.lost.Inc()
	s.log.Warn("a file was truncated before it was read to its end, and its copy is shorter", "path", f.mark.Path, "copy", c.path, "lost_bytes_at_least", lost,
		"hint", "what is written between copying and truncating is lost by logrotate's copytruncate: rename instead")
}
