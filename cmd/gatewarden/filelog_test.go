package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// filelogLines is how many lines TestFilesAreCountedExactlyOnce writes for each way of
// rotation. A million takes minutes:
//
//	go test ./cmd/gatewarden -run ExactlyOnce -filelog.lines 1000000 -timeout 30m
var filelogLines = flag.Int("filelog.lines", 40_000, "lines that the test of filelog writes for each way of rotation")

const filelogConfig = `
listen: {api: "127.0.0.1:0", ingest: "127.0.0.1:0"}
state: {dir: data}
rules: [rules.yaml]
sources:
  - filelog: {paths: ["logs/kong.log*"], poll: 20ms}
log: {level: info, format: json}
`

const filelogRules = `
slos:
  - {name: orders-availability, service: orders, objective: 99.9, window: 1d, sli: {availability: {}}}
`

// TestFilesAreCountedExactlyOnce kills the guard again and again while a log is written
// and rotated. The lines have no request id, so nothing but the checkpoints can keep a
// line that is read twice from counting twice.
func TestFilesAreCountedExactlyOnce(t *testing.T) {
	t.Parallel()
	for sentence, rotate := range map[string]func(w *logWriter) error{
		"renamed":              (*logWriter).rename,
		"copied and truncated": (*logWriter).copyTruncate,
	} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			config := filepath.Join(dir, "gatewarden.yaml")
			for name, text := range map[string]string{"gatewarden.yaml": filelogConfig, "rules.yaml": filelogRules} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			w := startWriter(t, filepath.Join(dir, "logs"), *filelogLines, rotate)
			random := rand.New(rand.NewPCG(uint64(*filelogLines), 7))
			kills := 0
			var guard *process
			for writing := true; writing || kills < 3; kills++ {
				guard = startProcess(t, config)
				select {
				case <-time.After(time.Duration(random.Int64N(int64(4 * time.Second)))):
				case <-guard.ended:
					t.Fatalf("the guard ended by itself: %v", guard.cmd.ProcessState)
				}
				guard.kill(t)
				select {
				case <-w.done:
					writing = false
				default:
				}
			}
			if w.err != nil {
				t.Fatal(w.err)
			}
			guard = startProcess(t, config)
			eventually(t, "all lines to be counted", func() error {
				if total := guard.counted(t); total != *filelogLines {
					return fmt.Errorf("%d of %d lines are counted", total, *filelogLines)
				}
				if left, err := guard.metric(`gatewarden_filelog_backlog_bytes{source="filelog"}`); err != nil || left != 0 {
					return fmt.Errorf("%v bytes are left (%w)", left, err)
				}
				return nil
			})
			guard.kill(t)
			// What was counted last was not durable yet, perhaps: the next life reads it again.
			guard = startProcess(t, config)
			if err := w.one(); err != nil { // which shows that it reads
				t.Fatal(err)
			}
			w.untilRead(t, guard, *filelogLines+1)
			t.Logf("%d lines, %d rotations, %d kills", *filelogLines, w.rotations, kills+1)
		})
	}
}

// untilRead waits until the guard has nothing left to read, and has judged then: it must
// count so many lines, and never more.
func (w *logWriter) untilRead(t *testing.T, guard *process, lines int) {
	t.Helper()
	var read time.Time // when nothing was left; zero before
	eventually(t, "all lines to be counted after one more kill", func() error {
		s, err := guard.slo("orders-availability")
		if err != nil || s.Verdict.SLO == nil {
			return fmt.Errorf("no verdict yet: %w", err)
		}
		total := int(s.Verdict.SLO.Count.Total())
		if total > lines {
			t.Fatalf("%d lines are counted after one more kill, of %d", total, lines)
		}
		if left, err := guard.metric(`gatewarden_filelog_backlog_bytes{source="filelog"}`); err != nil || left != 0 || total < lines {
			return fmt.Errorf("%d of %d lines are counted, %v bytes are left (%w)", total, lines, left, err)
		}
		if read.IsZero() {
			read = time.Now()
		}
		if !s.Verdict.At.After(read) {
			return errors.New("it has not judged since")
		}
		return nil
	})
}

// logWriter writes a log as Kong does, and rotates it as logrotate does.
type logWriter struct {
	path      string
	file      *os.File
	rotations int
	done      chan struct{}
	err       error // once done
}

// startWriter writes n lines, each other chunk of which is followed by a pause, and a
// rotation now and then.
func startWriter(t *testing.T, folder string, n int, rotate func(*logWriter) error) *logWriter {
	t.Helper()
	if err := os.Mkdir(folder, 0o750); err != nil {
		t.Fatal(err)
	}
	w := &logWriter{path: filepath.Join(folder, "kong.log"), done: make(chan struct{})}
	if w.err = w.open(); w.err != nil {
		t.Fatal(w.err)
	}
	t.Cleanup(func() { <-w.done })
	go func() {
		defer close(w.done)
		defer func() { w.file.Close() }()
		w.err = w.write(n, rotate)
	}()
	return w
}

func (w *logWriter) write(n int, rotate func(*logWriter) error) error {
	random := rand.New(rand.NewPCG(3, uint64(n)))
	var chunk []byte
	// The writes stretch over ten seconds at least, so that the guard is killed meanwhile.
	pause := 10 * time.Second / time.Duration(1+n/200)
	for i := range n {
		chunk = appendOrder(chunk, i)
		if i%200 != 199 && i != n-1 {
			continue
		}
		// Not always at the end of a line: a reader sees halves of lines, too.
		cut := random.IntN(len(chunk))
		for _, part := range [][]byte{chunk[:cut], chunk[cut:]} {
			if _, err := w.file.Write(part); err != nil {
				return err
			}
			time.Sleep(pause / 2)
		}
		chunk = chunk[:0]
		if random.IntN(max(n/200/12, 1)) == 0 {
			if err := rotate(w); err != nil {
				return err
			}
			w.rotations++
		}
	}
	return nil
}

// appendOrder appends the line of an order that was just placed.
func appendOrder(b []byte, i int) []byte {
	return fmt.Appendf(b, `{"latencies":{"request":5,"proxy":4,"kong":1},"started_at":%d,"response":{"status":200},"request":{"method":"GET","uri":"/orders/%d"},"service":{"name":"orders"},"route":{"name":"orders-list"}}`+"\n",
		time.Now().UnixMilli()-5, i)
}

// one writes one more line, once all others are written.
func (w *logWriter) one() error {
	if err := w.open(); err != nil {
		return err
	}
	_, err := w.file.Write(appendOrder(nil, *filelogLines))
	return errors.Join(err, w.file.Close())
}

func (w *logWriter) open() (err error) {
	w.file, err = os.OpenFile(w.path, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o640)
	return err
}

// shift gives the older files their next names, and forgets none.
func (w *logWriter) shift() error {
	for i := w.rotations; i > 0; i-- {
		if err := os.Rename(fmt.Sprintf("%s.%d", w.path, i), fmt.Sprintf("%s.%d", w.path, i+1)); err != nil {
			return err
		}
	}
	return nil
}

// rename is logrotate's default: the file is renamed, and its writer begins a new one a
// moment later.
func (w *logWriter) rename() error {
	if err := w.shift(); err != nil {
		return err
	}
	if err := os.Rename(w.path, w.path+".1"); err != nil {
		return err
	}
	if _, err := io.WriteString(w.file, "\n"); err != nil { // it is still written to
		return err
	}
	if err := w.file.Close(); err != nil {
		return err
	}
	return w.open()
}

// copyTruncate is what logrotate does with copytruncate.
func (w *logWriter) copyTruncate() error {
	if err := w.shift(); err != nil {
		return err
	}
	to, err := os.Create(w.path + ".1")
	if err != nil {
		return err
	}
	if _, err := io.Copy(to, io.NewSectionReader(w.file, 0, 1<<62)); err != nil {
		return err
	}
	if err := to.Close(); err != nil {
		return err
	}
	return w.file.Truncate(0)
}
