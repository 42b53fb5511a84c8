package filelog

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestPathsAreChanged begins a life with other paths for the same file.
func TestPathsAreChanged(t *testing.T) {
	to := func(paths ...string) func(*world) {
		return func(w *world) { w.paths(paths...) }
	}
	for name, c := range map[string]struct {
		paths  []string
		change func(w *world)
	}{
		"rotated files are to be found too":           {[]string{"kong.log"}, to("kong.log*")},
		"they are not any more":                       {[]string{"kong.log*"}, to("kong.log")},
		"one of two patterns that find it is removed": {[]string{"kong.log", "kong.*"}, to("kong.*")},
		"the one that is left is another":             {[]string{"kong.log", "nothing"}, to("*.log")},
		"a relative path is made an absolute one":     {[]string{"kong.log"}, func(w *world) { w.paths(w.path("")) }},
		"a pattern is made an absolute one":           {[]string{"kong.log*"}, func(w *world) { w.paths(w.path("*")) }},
		"the folder has another name": {[]string{"kong.log"}, func(w *world) {
			w.must(os.Rename(w.dir, w.dir+"-new"))
			w.dir += "-new"
		}},
		"the guard is started in another folder": {[]string{"kong.log"}, func(w *world) {
			w.dir = filepath.Join("..", filepath.Base(w.dir))
		}},
		"the state is taken to a guard that had other folders": {[]string{"kong.log*"}, func(w *world) {
			for key, value := range w.kept.values {
				w.kept.values[key] = []byte(strings.ReplaceAll(string(value), w.dir, "/nowhere"))
			}
			w.kept.flush()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "logs")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			t.Chdir(dir)
			w := newWorld(t, dir, func(s *Settings) { s.Paths = c.paths })
			defer func() { w.source.close() }()
			w.write(5)
			w.settle()
			w.kept.flush()
			c.change(w)
			w.crash()
			w.write(2)
			w.settle()
			w.check()
			w.checkSource()
			w.now = w.now.Add(48 * time.Hour)
			w.kept.flush()
			w.crash()
			w.settle()
			w.check()
			w.checkSource()
			if n := len(w.kept.values); n != 1 {
				t.Errorf("%d marks are kept of one file", n)
			}
		})
	}
}

// TestPathsAreChangedAfterARotation looks for what the paths would have found, had it not been renamed.
func TestPathsAreChangedAfterARotation(t *testing.T) {
	w := newWorld(t, t.TempDir(), func(s *Settings) { s.Paths = []string{"kong.log"} })
	defer func() { w.source.close() }()
	w.write(5)
	w.settle()
	w.kept.flush()
	w.write(5)
	w.rename()
	w.write(5)
	w.paths("*.log")
	w.crash()
	w.settle()
	w.check()
	w.checkSource()
}

// paths are those of the next life.
func (w *world) paths(paths ...string) { w.alter = func(s *Settings) { s.Paths = paths } }

// TestWhatPathsFindNoMoreIsForgotten keeps what is known of a file for a day, and reads nothing of it.
func TestWhatPathsFindNoMoreIsForgotten(t *testing.T) {
	w := newWorld(t, t.TempDir(), nil)
	defer func() { w.source.close() }()
	w.write(5)
	w.settle()
	w.kept.flush()
	w.paths("other.log")
	w.crash()
	w.text(line(99))
	other := filepath.Join(w.dir, "other.log")
	w.must(os.WriteFile(other, []byte(line(w.lines)), 0o600))
	w.lines++
	w.turn()
	w.must(os.Truncate(other, 0)) // the folder is looked through for a copy of it
	for range 3 {
		w.turn()
		w.now = w.now.Add(10 * time.Hour)
	}
	w.check()
	w.checkSource()
	w.kept.flush()
	w.paths("kong.log*")
	w.crash()
	w.turn()
	w.paths("other.log")
	w.kept.flush()
	w.crash()
	for range 2 {
		w.turn()
		w.now = w.now.Add(25 * time.Hour)
	}
	w.turn()
	if w.kept.counts["/99"] != 1 || len(w.kept.values)+len(w.source.closed) != 0 {
		t.Errorf("the line that came meanwhile counts %d times; %d marks are kept, %d files are missed\n%s",
			w.kept.counts["/99"], len(w.kept.values), len(w.source.closed), &w.log)
	}
	if n := testutil.ToFloat64(w.source.metrics.lost); n != 0 {
		t.Errorf("%v files are said to be lost\n%s", n, &w.log)
	}
}

// TestOtherPathsAndTheEnd does not take a life whose files are all others for one that goes on.
func TestOtherPathsAndTheEnd(t *testing.T) {
	w := newWorld(t, t.TempDir(), func(s *Settings) { s.From = fromEnd })
	defer func() { w.source.close() }()
	w.write(5)
	w.settle()
	w.kept.flush()
	other := filepath.Join(w.dir, "other.log")
	w.must(os.WriteFile(other, []byte(line(98)), 0o600))
	w.alter = func(s *Settings) { s.From, s.Paths = fromEnd, []string{"other.log"} }
	w.crash()
	w.turn()
	w.must(appendTo(other, line(99)))
	w.settle()
	if diff := cmp.Diff(map[string]int{"/99": 1}, w.kept.counts); diff != "" {
		t.Errorf("lines (-want +counted):\n%s\n%s", diff, &w.log)
	}
}

// TestTwoSources have marks beside each other.
func TestTwoSources(t *testing.T) {
	for name, c := range map[string]struct {
		before, after [2]string // the pattern of each
		times         [2]int    // that lines of each file count
		relative      bool      // are the paths in the marks, as they were once
	}{
		"nothing is changed":                        {before: [2]string{"a/*", "b/*"}, after: [2]string{"a/*", "b/*"}, times: [2]int{1, 1}},
		"they change places":                        {before: [2]string{"a/*", "b/*"}, after: [2]string{"b/*", "a/*"}, times: [2]int{1, 1}},
		"the patterns of both are changed":          {before: [2]string{"a/*", "b/*"}, after: [2]string{"a/kong.log", "b/kong.log"}, times: [2]int{1, 1}},
		"both are changed, and change places":       {before: [2]string{"a/*", "b/*"}, after: [2]string{"b/kong.log", "a/kong.log"}, times: [2]int{1, 1}},
		"one takes the files of the other":          {before: [2]string{"a/*", "b/*"}, after: [2]string{"?/*", "nothing"}, times: [2]int{1, 1}},
		"both find one file, each for itself":       {before: [2]string{"?/*", "b/*"}, after: [2]string{"?/*", "b/*"}, times: [2]int{1, 2}},
		"both do, and the first was the narrow":     {before: [2]string{"b/*", "?/*"}, after: [2]string{"b/*", "?/*"}, times: [2]int{1, 2}},
		"nothing is changed but how paths are kept": {before: [2]string{"a/*", "b/*"}, after: [2]string{"a/*", "b/*"}, times: [2]int{1, 1}, relative: true},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			t.Chdir(root)
			var files [2]string
			for i, folder := range []string{"a", "b"} {
				if err := os.Mkdir(filepath.Join(root, folder), 0o700); err != nil {
					t.Fatal(err)
				}
				files[i] = filepath.Join(root, folder, "kong.log")
				if err := os.WriteFile(files[i], []byte(line(10*i)), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			kept := newKept()
			var now [2]*world
			live := func(dir string, patterns [2]string) {
				all := new(kin)
				for i, pattern := range patterns {
					now[i] = &world{t: t, dir: dir, kept: kept, kin: all, now: worldBegins}
					now[i].paths(pattern)
					now[i].start()
				}
			}
			write := func(line func(file int) string) {
				for i, file := range files {
					now[i].must(appendTo(file, line(i)))
				}
			}
			live(".", c.before)
			now[0].turn()
			now[1].turn()
			write(func(i int) string { return line(10*i + 1) })
			now[0].turn() // further than the other
			kept.flush()
			for _, w := range now {
				w.source.close()
			}
			kept.crash()
			if !c.relative {
				t.Chdir("a")
			} else {
				for key, value := range kept.values {
					kept.values[key] = []byte(strings.ReplaceAll(string(value), root+"/", ""))
				}
			}
			live(root, c.after)
			write(func(i int) string { return line(10*i + 2) })
			for _, w := range slices.Backward(now[:]) {
				w.turn()
				defer w.source.close()
			}
			want := map[string]int{}
			for i, times := range c.times {
				for n := range 3 {
					want[fmt.Sprintf("/%d", 10*i+n)] = times
				}
			}
			if diff := cmp.Diff(want, kept.counts); diff != "" {
				t.Errorf("lines (-want +counted):\n%s\n%s\n%s", diff, &now[0].log, &now[1].log)
			}
			for i, w := range now {
				if n := testutil.ToFloat64(w.source.metrics.lost); n != 0 {
					t.Errorf("source %d says that %v files are lost\n%s", i, n, &w.log)
				}
			}
		})
	}
}
