package filelog

import (
	"path/filepath"
	"slices"

	"github.com/gatewarden/gatewarden/collector"
)

// kin are the sources of one configuration: they share out the marks of the last life.
type kin struct{ sources []*Source }

// build makes one source more.
func (k *kin) build(env collector.Env, settings Settings) (collector.Source, error) {
	s, err := newSource(env, settings)
	if err != nil {
		return nil, err
	}
	s.kin, k.sources = k, append(k.sources, s)
	return s, nil
}

// owns reports whether a mark of the last life is one of s: it has its pattern. When no source has
// it any more, because paths were changed, the mark belongs to the first that finds its file, or
// else, as the file may be found in another folder by how it begins, to the first of all.
func (s *Source) owns(m *mark) bool {
	has := func(s *Source) bool { return slices.Contains(s.patterns, m.Pattern) }
	finds := func(s *Source) bool { return s.finds(m.Path) }
	if all := s.kin.sources; !slices.ContainsFunc(all, has) {
		return s == all[max(slices.IndexFunc(all, finds), 0)]
	}
	return has(s)
}

// stray reports whether a log is one that the patterns of today do not find.
func (s *Source) stray(f *file) bool { return !slices.Contains(s.patterns, f.mark.Pattern) }

// finds reports whether a pattern finds path.
func (s *Source) finds(path string) bool { return s.pattern(path) != "" }

// pattern returns the first pattern that finds path, "" when none does.
func (s *Source) pattern(path string) string {
	for _, p := range s.patterns {
		if ok, err := filepath.Match(p, path); ok && err == nil {
			return p
		}
	}
	return ""
}

// absolute makes paths and patterns of two lives comparable: they may have begun in different
// folders.
func absolute(path string) string {
	if whole, err := filepath.Abs(path); err == nil {
		return whole
	}
	return path
}
