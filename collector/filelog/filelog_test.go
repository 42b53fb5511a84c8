package filelog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"pgregory.net/rapid"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector"
)

// kept counts and keeps values, and loses both back to the last flush in a crash.
type kept struct {
	counts, durableCounts map[string]int
	values, durableValues map[string][]byte

	err  error  // that it can keep nothing
	then func() // when something is kept for the next time
}

func newKept() *kept {
	return &kept{counts: map[string]int{}, values: map[string][]byte{}, durableCounts: map[string]int{}, durableValues: map[string][]byte{}}
}

func (k *kept) Accept(_ context.Context, _ string, records []gatewarden.Record, values map[string][]byte) error {
	if k.err != nil {
		return k.err
	}
	for i := range records {
		k.counts[strings.Clone(records[i].Path)]++ // the record is valid until Accept returns
	}
	for name, value := range values {
		if value == nil {
			delete(k.values, name)
		} else {
			k.values[name] = value
		}
	}
	if then := k.then; then != nil {
		k.then = nil
		then()
	}
	return nil
}

func (k *kept) Load(prefix string) map[string][]byte {
	found := map[string][]byte{}
	for name, value := range k.values {
		if strings.HasPrefix(name, prefix) {
			found[name] = value
		}
	}
	return found
}

func (k *kept) flush() { k.durableCounts, k.durableValues = maps.Clone(k.counts), maps.Clone(k.values) }
func (k *kept) crash() { k.counts, k.values = maps.Clone(k.durableCounts), maps.Clone(k.durableValues) }

// world is a folder with a log that is written, and a source that follows it.
type world struct {
	t      testing.TB
	dir    string
	kept   *kept
	source *Source
	reg    *prometheus.Registry
	log    bytes.Buffer
	now    time.Time
	lines  int
	out    *os.File
	alter  func(*Settings)
	kin    *kin         // of the next life
	loose  map[int]bool // lines that may be missing
	errorf func(format string, args ...any)
}

// worldBegins is after all times that a real clock tells: see stamp.
var worldBegins = time.Unix(4_000_000_000, 0)

func newWorld(t testing.TB, dir string, alter func(*Settings)) *world {
	t.Helper()
	w := &world{t: t, dir: dir, kept: newKept(), now: worldBegins, alter: alter, errorf: t.Errorf, loose: map[int]bool{}}
	w.create()
	w.start()
	return w
}

// start begins a life of the source.
func (w *world) start() {
	w.t.Helper()
	settings := DefaultSettings()
	settings.Paths = []string{"kong.log*"}
	settings.MaxLine = collector.ShortestLimit
	if w.alter != nil {
		w.alter(&settings)
	}
	if err := settings.Validate(); err != nil {
		w.t.Fatal(err)
	}
	if w.kin == nil {
		w.kin = new(kin)
	}
	w.reg = prometheus.NewRegistry()
	built, err := w.kin.build(collector.Env{Name: "filelog", Log: slog.New(slog.NewTextHandler(&w.log, nil)), Metrics: w.reg, Dir: w.dir, Checkpoints: w.kept}, settings)
	if err != nil {
		w.t.Fatal(err)
	}
	w.source, w.kin = built.(*Source), nil
	w.source.now = func() time.Time { return w.now }
}

// crash ends a life, with what was not flushed, and begins the next.
func (w *world) crash() {
	w.t.Helper()
	w.source.close()
	w.kept.crash()
	w.start()
}

// turn lets the source look and read all there is.
func (w *world) turn() {
	w.source.look(w.t.Context())
	for w.source.read(w.t.Context()) {
	}
}

func (w *world) path(suffix string) string { return filepath.Join(w.dir, "kong.log"+suffix) }

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) create() {
	w.t.Helper()
	var err error
	w.out, err = os.OpenFile(w.path(""), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	w.must(err)
}

func line(n int) string {
	return fmt.Sprintf(`{"latencies":{"request":5},"started_at":1795293551908,"response":{"status":200},"request":{"uri":"/%d"}}`+"\n", n)
}

func (w *world) write(n int) {
	w.t.Helper()
	var b strings.Builder
	for range n {
		b.WriteString(line(w.lines))
		w.lines++
	}
	w.text(b.String())
}

func (w *world) text(s string) {
	w.t.Helper()
	_, err := w.out.WriteString(s)
	w.must(err)
}

// shift makes room for a new kong.log.1.
func (w *world) shift() {
	w.t.Helper()
	old, err := filepath.Glob(w.path(".*"))
	w.must(err)
	for i := len(old); i > 0; i-- {
		w.must(os.Rename(w.path(fmt.Sprintf(".%d", i)), w.path(fmt.Sprintf(".%d", i+1))))
	}
}

func (w *world) rename() {
	w.t.Helper()
	w.shift()
	w.must(os.Rename(w.path(""), w.path(".1")))
	w.must(w.out.Close())
	w.create()
}

// check holds the counts against the lines.
func (w *world) check() {
	w.t.Helper()
	want := map[string]int{}
	for n := range w.lines {
		name := fmt.Sprintf("/%d", n)
		if want[name] = 1; w.loose[n] && w.kept.counts[name] == 0 {
			delete(want, name)
		}
	}
	if diff := cmp.Diff(want, w.kept.counts); diff != "" {
		w.errorf("lines (-want +counted):\n%s\nthe log:\n%s", diff, &w.log)
	}
}

// checkSource holds what is true of a source at any time.
func (w *world) checkSource() {
	w.t.Helper()
	if n := len(w.source.files); n > w.source.settings.MaxFiles {
		w.errorf("%d files are followed, of at most %d\n%s", n, w.source.settings.MaxFiles, &w.log)
	}
	if n := testutil.ToFloat64(w.source.metrics.lost); n != 0 && len(w.loose) == 0 {
		w.errorf("%v files are said to be lost\n%s", n, &w.log)
	}
}

// stamp gives files that were written to since the last stamp the time of the world: its
// file system counts seconds, and many writes look like one.
func (w *world) stamp() {
	w.t.Helper()
	paths, err := filepath.Glob(w.path("*"))
	w.must(err)
	for _, path := range paths {
		info, err := os.Stat(path)
		w.must(err)
		if info.ModTime().Before(worldBegins) {
			w.must(os.Chtimes(path, w.now, w.now))
		}
	}
}

// settle lets the source read all there is, also of files that wait for room.
func (w *world) settle() {
	w.turn()
	for range 500 {
		if w.turn(); w.source.waiting == 0 {
			return
		}
		w.now = w.now.Add(time.Minute) // what was rotated away makes room when it was silent
	}
	w.errorf("%d bytes wait for ever\n%s", w.source.waiting, &w.log)
}

// TestExactlyOnce does anything that happens to a log, in any order, with crashes in
// between.
func TestExactlyOnce(t *testing.T) {
	t.Parallel()
	for name, setting := range map[string]func(*Settings){
		"each log is followed":                 func(*Settings) {},
		"each log makes room for the next":     func(s *Settings) { s.MaxFiles = 1 },
		"a log and its copy fill the room":     func(s *Settings) { s.MaxFiles = 2 },
		"a log, its copy and one more fill it": func(s *Settings) { s.MaxFiles = 3 },
		"no pattern finds what was rotated":    func(s *Settings) { s.Paths = []string{"kong.log"} },
		"nor is there room for it":             func(s *Settings) { s.Paths, s.MaxFiles = []string{"kong.log"}, 1 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(rt *rapid.T) { exactlyOnce(t, rt, setting) })
		})
	}
}

func exactlyOnce(t *testing.T, rt *rapid.T, setting func(*Settings)) {
	dir, err := os.MkdirTemp(t.TempDir(), "")
	if err != nil {
		rt.Fatal(err)
	}
	defer os.RemoveAll(dir)
	w := newWorld(t, dir, setting)
	w.errorf = rt.Fatalf
	narrow := w.source.settings.Paths[0] == "kong.log"
	// What no pattern finds after a rotation has to be known before.
	known := func() {
		if narrow {
			w.stamp()
			w.source.look(t.Context())
			w.source.read(t.Context()) // finds out that one was truncated
			w.source.look(t.Context())
		}
	}
	defer func() { w.source.close() }()
	c := copying{w: w, done: -1}
	defer c.close()
	backups := 0
	rt.Repeat(map[string]func(*rapid.T){
		"": func(*rapid.T) {
			w.stamp()
			w.checkSource()
		},
		"write": func(rt *rapid.T) { w.write(rapid.IntRange(1, 60).Draw(rt, "lines")) },
		"half a line": func(*rapid.T) {
			l := line(w.lines)
			w.lines++
			w.text(l[:20])
			w.source.read(t.Context())
			w.text(l[20:])
		},
		"look":         func(*rapid.T) { w.source.look(t.Context()) },
		"read a block": func(*rapid.T) { w.source.read(t.Context()) },
		"read all":     func(*rapid.T) { w.turn() },
		"flush":        func(*rapid.T) { w.kept.flush() },
		"crash": func(rt *rapid.T) {
			if narrow {
				rt.Skip("what was known is forgotten")
			}
			w.crash()
		},
		"seconds": func(rt *rapid.T) {
			w.now = w.now.Add(time.Duration(rapid.IntRange(1, 4).Draw(rt, "seconds")) * time.Second)
		},
		"a minute": func(*rapid.T) { w.now = w.now.Add(time.Minute) },
		"rename": func(rt *rapid.T) {
			if c.done >= 0 {
				rt.Skip("a copy is under way")
			}
			known()
			w.rename()
		},
		"begin a copy":        func(rt *rapid.T) { c.begin(rt) },
		"go on with the copy": func(rt *rapid.T) { c.goOn(rt, rapid.IntRange(1, 5000).Draw(rt, "bytes")) },
		"the copy is given up": func(rt *rapid.T) {
			c.goOn(rt, 0)
			c.close()
		},
		"end the copy and truncate": func(rt *rapid.T) {
			c.goOn(rt, 1<<20)
			known()
			c.truncate()
		},
		"end the copy, write and truncate": func(rt *rapid.T) {
			c.goOn(rt, 1<<20)
			first := w.lines
			w.write(rapid.IntRange(1, 60).Draw(rt, "lines"))
			if rapid.Bool().Draw(rt, "read") {
				w.turn()
			}
			for n := first; n < w.lines; n++ {
				w.loose[n] = true // lost by who truncates, if it was not read before
			}
			known()
			c.truncate()
		},
		"a backup by hand": func(rt *rapid.T) {
			if backups == 3 {
				rt.Skip("enough")
			}
			backups++
			whole, err := os.ReadFile(w.path(""))
			w.must(err)
			w.must(os.WriteFile(w.path(fmt.Sprintf("-backup%d", backups)), whole, 0o600))
		},
	})
	w.settle()
	w.check()
	w.kept.flush()
	w.crash()
	w.settle()
	w.check()
	w.checkSource()
}

// copying is a rotation by copying and truncating.
type copying struct {
	w    *world
	done int64 // how much of a copy is done; -1 when none is under way
	to   *os.File
}

func (c *copying) begin(rt *rapid.T) {
	if c.done >= 0 {
		rt.Skip("one is under way")
	}
	c.w.shift()
	var err error
	c.to, err = os.Create(c.w.path(".1"))
	c.w.must(err)
	c.done = 0
}

func (c *copying) goOn(rt *rapid.T, n int) {
	if c.done < 0 {
		rt.Skip("none is under way")
	}
	part := make([]byte, n)
	n, _ = c.w.out.ReadAt(part, c.done)
	_, err := c.to.Write(part[:n])
	c.w.must(err)
	c.done += int64(n)
}

func (c *copying) truncate() {
	c.close()
	c.w.must(c.w.out.Truncate(0))
}

func (c *copying) close() {
	if c.done >= 0 {
		c.w.must(c.to.Close())
		c.done = -1
	}
}

func TestRotationOutOfThePattern(t *testing.T) {
	narrow := func(s *Settings) { s.Paths = []string{"kong.log"} }
	for name, life := range map[string]func(w *world){
		"renamed, and written to a little longer": func(w *world) {
			w.write(10)
			w.turn()
			w.must(os.Rename(w.path(""), w.path(".1")))
			w.write(5)
			w.must(w.out.Close())
			w.create()
			w.write(5)
		},
		"renamed after it was silent, with something unread": func(w *world) {
			w.write(10)
			w.turn()
			w.now = w.now.Add(10 * time.Minute)
			w.write(5)
			w.rename()
		},
		"renamed while the guard was down": func(w *world) {
			w.write(10)
			w.turn()
			w.kept.flush()
			w.write(5)
			w.rename()
			w.write(5)
			w.crash()
		},
		"copied and truncated while the guard was down": func(w *world) {
			w.write(100)
			w.turn()
			w.kept.flush()
			w.write(5)
			whole, err := os.ReadFile(w.path(""))
			w.must(err)
			w.must(os.WriteFile(w.path(".1"), whole, 0o600))
			w.must(w.out.Truncate(0))
			w.write(5)
			w.crash()
		},
		"removed before it was read to its end": func(w *world) {
			w.write(10)
			w.turn()
			w.write(10)
			w.must(os.Remove(w.path("")))
		},
		"the last line has no end": func(w *world) {
			w.write(3)
			w.turn()
			w.text(strings.TrimSuffix(line(w.lines), "\n"))
			w.lines++
			w.rename()
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, t.TempDir(), narrow)
			defer func() { w.source.close() }()
			life(w)
			w.turn()
			w.now = w.now.Add(10 * time.Minute)
			w.turn()
			w.turn()
			w.check()
			if n := len(w.kept.values); n > 1 {
				t.Errorf("%d marks are kept", n)
			}
		})
	}
}

func TestWhatIsLostIsSaid(t *testing.T) {
	narrow := func(s *Settings) { s.Paths = []string{"kong.log"} }
	for name, life := range map[string]func(w *world){
		"truncated without a copy": func(w *world) {
			w.write(10)
			w.turn()
			w.write(100)
			_, err := w.source.files[0].same(nil) // as a poll does
			w.must(err)
			w.must(w.out.Truncate(0))
		},
		"removed while the guard was down": func(w *world) {
			w.write(10)
			w.turn()
			w.kept.flush()
			w.must(os.Remove(w.path("")))
			w.crash()
		},
		"compressed while the guard was down": func(w *world) {
			w.write(10)
			w.turn()
			w.kept.flush()
			w.must(os.Rename(w.path(""), w.path(".1.gz")))
			w.crash()
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, t.TempDir(), narrow)
			defer func() { w.source.close() }()
			life(w)
			w.turn()
			if testutil.ToFloat64(w.source.metrics.lost) != 1 || !strings.Contains(w.log.String(), "level=WARN") {
				t.Errorf("%v lost; the log:\n%s", testutil.ToFloat64(w.source.metrics.lost), &w.log)
			}
		})
	}
}

// A file that cannot be found at a start may come back: its volume is mounted late.
func TestAFileThatComesBack(t *testing.T) {
	away := func(w *world) string { return filepath.Join(w.t.TempDir(), "kong.log") }
	for name, c := range map[string]func(w *world) (back func()){
		"it was elsewhere": func(w *world) func() {
			to := away(w)
			w.must(os.Rename(w.path(""), to))
			return func() { w.must(os.Rename(to, w.path(""))) }
		},
		"it could not be opened": func(w *world) func() {
			w.must(os.Chmod(w.path(""), 0))
			return func() { w.must(os.Chmod(w.path(""), 0o600)) }
		},
		"it comes back longer, under another name": func(w *world) func() {
			to := away(w)
			w.must(os.Rename(w.path(""), to))
			return func() { w.write(5); w.must(os.Rename(to, w.path(".1"))) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			if os.Getuid() == 0 && name == "it could not be opened" {
				t.Skip("root opens everything")
			}
			w := newWorld(t, t.TempDir(), nil)
			defer func() { w.source.close() }()
			w.write(10)
			w.turn()
			w.kept.flush()
			back := c(w)
			w.crash()
			for range 3 {
				w.turn()
				w.now = w.now.Add(time.Hour)
			}
			if n := testutil.ToFloat64(w.source.metrics.lost); n != 1 {
				t.Errorf("it is said %v times that it is lost", n)
			}
			w.kept.flush()
			w.crash()
			w.turn()
			back()
			w.turn()
			w.check()
			w.write(5)
			w.turn()
			w.check()
			w.kept.flush()
			w.crash()
			w.turn()
			w.check()
		})
	}
}

func TestAFileThatDoesNotComeBackIsForgotten(t *testing.T) {
	w := newWorld(t, t.TempDir(), nil)
	defer func() { w.source.close() }()
	w.write(10)
	w.turn()
	w.kept.flush()
	w.must(os.Remove(w.path("")))
	w.crash()
	w.turn()
	w.now = w.now.Add(23 * time.Hour)
	w.turn()
	if len(w.kept.values) != 1 || len(w.source.closed) != 1 {
		t.Errorf("after 23 hours there are %d marks, %d files are missed", len(w.kept.values), len(w.source.closed))
	}
	for hours := 25; hours <= 26; hours++ { // an hour is not enough for a clock to be believed
		if len(w.kept.values) != 1 || len(w.source.closed) != 1 {
			t.Errorf("before %d hours there are %d marks, %d files are missed", hours, len(w.kept.values), len(w.source.closed))
		}
		w.now = worldBegins.Add(time.Duration(hours) * time.Hour)
		w.turn()
	}
	if len(w.kept.values) != 0 || len(w.source.closed) != 0 {
		t.Errorf("after 26 hours there are %d marks, %d files are missed", len(w.kept.values), len(w.source.closed))
	}
}

// TestAMissingFileAndAWrongClock has a clock that is two days ahead until NTP has set it, while
// the volume of the log is not mounted yet.
func TestAMissingFileAndAWrongClock(t *testing.T) {
	w := newWorld(t, t.TempDir(), nil)
	defer func() { w.source.close() }()
	w.write(200)
	w.settle()
	w.kept.flush()
	away := filepath.Join(t.TempDir(), "kong.log")
	w.must(os.Rename(w.path(""), away))
	w.crash()
	w.turn()
	for range 2 { // what was seen before the clock was right counts for nothing the second time
		w.now = w.now.Add(48 * time.Hour)
		w.turn()
		w.now = w.now.Add(forgetOver - time.Second)
		w.turn()
		w.now = w.now.Add(-48 * time.Hour)
		w.turn()
	}
	w.must(os.Rename(away, w.path("")))
	w.settle()
	w.check()
}

func TestLinesThatAreTooLong(t *testing.T) {
	w := newWorld(t, t.TempDir(), nil)
	defer func() { w.source.close() }()
	w.write(2)
	w.text(strings.Repeat("x", 700_000))
	w.turn()
	w.kept.flush()
	w.crash() // within it
	w.turn()
	w.text(strings.Repeat("y", 700_000) + "\n")
	w.write(2)
	w.turn()
	w.check()
	w.kept.flush()
	w.crash()
	w.turn()
	w.check()
}

func TestFromTheEnd(t *testing.T) {
	w := newWorld(t, t.TempDir(), func(s *Settings) { s.From = "end" })
	defer func() { w.source.close() }()
	w.write(5)
	w.text(line(99)[:30])
	w.turn()
	w.text(line(99)[30:])
	w.write(2)
	w.turn()
	w.kept.flush()
	w.rename() // a new file is read from its beginning, also by the next life
	w.write(2)
	w.crash()
	w.turn()
	got := slices.Sorted(maps.Keys(w.kept.counts))
	if diff := cmp.Diff([]string{"/5", "/6", "/7", "/8"}, got); diff != "" {
		t.Errorf("%s\n%s", diff, &w.log)
	}
}

// TestABackupByHand leaves a copy beside the log before the guard sees either.
func TestABackupByHand(t *testing.T) {
	w := newWorld(t, t.TempDir(), nil)
	defer func() { w.source.close() }()
	w.write(50)
	whole, err := os.ReadFile(w.path(""))
	w.must(err)
	w.must(os.WriteFile(w.path(".bak"), whole, 0o600))
	w.must(os.Chtimes(w.path(".bak"), w.now, time.Unix(1, 0))) // it is found first
	w.turn()
	w.write(5)
	w.turn()
	w.turn()
	w.check()
}

func TestTooManyFiles(t *testing.T) {
	w := newWorld(t, t.TempDir(), func(s *Settings) { s.MaxFiles = 2 })
	defer func() { w.source.close() }()
	for range 3 {
		w.write(3)
		w.rename()
	}
	for i := range 3 { // they were written in the same moment
		w.must(os.Chtimes(w.path(fmt.Sprintf(".%d", i+1)), w.now, time.Unix(int64(1000-i), 0)))
	}
	w.turn()
	if len(w.source.files) != 2 || len(w.kept.counts) != 6 || testutil.ToFloat64(w.source.metrics.failures) != 1 {
		t.Errorf("%d files, %d lines, %v failures", len(w.source.files), len(w.kept.counts), testutil.ToFloat64(w.source.metrics.failures))
	}
	if w.kept.counts["/0"] != 0 {
		t.Error("the oldest was taken before the newest")
	}
	for life := range 2 {
		for range 3 { // one that was read to its end makes room
			w.turn()
		}
		w.check()
		w.write(3) // the one that is written is read at once, and what was let go is read on
		for name := range 3 {
			w.must(appendTo(w.path(fmt.Sprintf(".%d", name+1)), line(w.lines)))
			w.lines++
		}
		for range 3 {
			w.turn()
		}
		w.check()
		if n := len(w.source.files); n != 2 {
			t.Errorf("%d files are followed", n)
		}
		if n := testutil.ToFloat64(w.source.metrics.lost); n != 0 {
			t.Errorf("%v files are said to be lost", n)
		}
		w.kept.flush()
		if life == 0 {
			w.crash()
		}
	}
}

func appendTo(path, text string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

func TestWhatCannotBeFollowed(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, dir, func(s *Settings) { s.Paths = []string{"*"} })
	defer func() { w.source.close() }()
	w.must(os.Mkdir(filepath.Join(dir, "folder"), 0o700))
	w.must(os.Symlink(filepath.Join(dir, "nowhere"), filepath.Join(dir, "dangling")))
	w.must(os.WriteFile(filepath.Join(dir, "old.gz"), []byte("\x1f\x8b"), 0o600))
	w.must(os.WriteFile(filepath.Join(dir, "binary"), bytes.Repeat([]byte{0, 0xff}, 5000), 0o600))
	w.write(3)
	w.turn()
	w.check()
	if len(w.source.files) != 2 { // kong.log, and the binary one, which has no line yet
		t.Errorf("%d files", len(w.source.files))
	}
}

// TestRun runs a source as the program does, without checkpoints.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		counted := 0
		sink := sinkFunc(func(records []gatewarden.Record) { counted += len(records) })
		settings := DefaultSettings()
		settings.Paths = []string{filepath.Join(dir, "*.log")}
		source, err := new(kin).build(collector.Env{Name: "filelog", Sink: sink, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()}, settings)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- source.Run(ctx) }()
		for i := range 3 { // the file is not there at first
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if counted != 10*i {
				t.Errorf("%d lines, want %d", counted, 10*i)
			}
			file, err := os.OpenFile(filepath.Join(dir, "kong.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
			if err != nil {
				t.Fatal(err)
			}
			for n := range 10 {
				if _, err := file.WriteString(line(10*i + n)); err != nil {
					t.Fatal(err)
				}
			}
			file.Close()
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

type sinkFunc func([]gatewarden.Record)

func (f sinkFunc) Accept(_ context.Context, _ string, records []gatewarden.Record) error {
	f(records)
	return nil
}

func TestSettings(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Settings)
		says   string
	}{
		"no paths":        {func(s *Settings) { s.Paths = nil }, "names no file"},
		"no pattern":      {func(s *Settings) { s.Paths = []string{"a["} }, `"a[" is no pattern`},
		"standard input":  {func(s *Settings) { s.Paths = []string{"-"} }, "- stdin: {}"},
		"from elsewhere":  {func(s *Settings) { s.From = "middle" }, "write beginning or end"},
		"lines too short": {func(s *Settings) { s.MaxLine = 1 }, "max_line"},
		"no files":        {func(s *Settings) { s.MaxFiles = 0 }, "above zero"},
	} {
		t.Run(name, func(t *testing.T) {
			s := DefaultSettings()
			s.Paths = []string{"*.log"}
			if err := s.Validate(); err != nil {
				t.Fatal(err)
			}
			c.change(&s)
			if err := s.Validate(); gatewarden.ErrorCode(err) != gatewarden.Invalid || !strings.Contains(err.Error(), c.says) {
				t.Errorf("it says %v", err)
			}
		})
	}
}

// FuzzMarks takes up marks that say anything.
func FuzzMarks(f *testing.F) {
	f.Add([]byte(`{"path":"kong.log","pattern":"kong.log*","offset":5,"head":5,"sum":1}`))
	f.Add([]byte(`{"offset":-1,"head":4096}`))
	f.Add([]byte(`{"path":"kong.log","pattern":"kong.log*","offset":5,"head":4096,"sum":1,"line":4097,"line_sum":1}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		w := newWorld(t, t.TempDir(), nil)
		defer func() { w.source.close() }()
		w.kept.values["filelog/1"] = value
		w.kept.flush()
		w.write(3)
		w.crash()
		w.turn()
		w.check()
	})
}

func TestMetricsAreClean(t *testing.T) {
	w := newWorld(t, t.TempDir(), nil)
	problems, err := testutil.GatherAndLint(w.reg)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}
