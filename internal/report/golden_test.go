package report

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewarden/gatewarden"
)

var update = flag.Bool("update", false, "write the golden files anew")

// hostile is what a client of the gateway, or a branch name, could bring along.
const hostile = "</td><script>alert('x')</script> `a` | b]]> \x1b[2J\x00\u202e & \"q\" ${x} \xff\n## [c](javascript:d) <!-- "

// reports are those of the golden files, by name.
func reports(t *testing.T) map[string]*Report {
	t.Helper()
	at := start.Add(20 * time.Minute)
	all := map[string]*Report{}
	for _, name := range []string{"pass", "fail", "slow", "inconclusive", "cancelled"} {
		all[name] = &Report{Run: storedRun(t, name), At: at}
	}
	all["hostile"] = &Report{Run: hostileRun(storedRun(t, "fail")), At: at}
	all["override"] = &Report{Run: overridden(storedRun(t, "cancelled")), At: at}

	lost := storedRun(t, "cancelled")
	lost.State, lost.EndedAt, lost.Reason = gatewarden.RunRunning, nil, lost.Verdict.Reason
	all["lost"] = &Report{Run: lost, At: start.Add(4 * time.Minute), Error: "the guard at http://guard:8080 has not answered for 2m: connection refused"}
	all["nothing"] = &Report{Run: gatewarden.Run{Canary: "orders"}, At: at, Error: `there is no canary "orders"`}
	return all
}

// hostileRun has hostile text wherever somebody else writes it.
func hostileRun(run gatewarden.Run) gatewarden.Run {
	run.ID, run.Canary, run.Key, run.By, run.Reason = hostile, hostile, hostile, hostile, hostile
	run.Parameters = map[string]string{hostile: hostile, "build": "javascript:alert(1)"}
	run.Override = &gatewarden.Override{State: gatewarden.RunFail, By: hostile, Reason: hostile, At: start}
	v := *run.Verdict
	v.Reason, v.Leading = hostile, hostile
	v.Checks = append([]gatewarden.CheckEvidence{{Name: hostile}}, v.Checks...)
	v.Suspects = []gatewarden.Suspect{{At: start, ID: hostile, TraceID: hostile, Route: hostile, Failed: true}, {At: start, ID: strings.Repeat("long", 1000)}}
	run.Verdict = &v
	return run
}

func overridden(run gatewarden.Run) gatewarden.Run {
	run.State, run.Reason = gatewarden.RunPass, "alice said so: the alarm is about the load test"
	run.Override = &gatewarden.Override{State: gatewarden.RunPass, By: "alice", Reason: "the alarm is about the load test", At: *run.EndedAt}
	return run
}

// formats are the ways to write a report, by the ending of their files.
func formats() map[string]func(*Report, io.Writer) error {
	return map[string]func(*Report, io.Writer) error{
		"txt": (*Report).Text, "md": (*Report).Markdown, "html": (*Report).HTML, "xml": (*Report).JUnit, "json": (*Report).JSON,
	}
}

func TestReportsAreAsInTheGoldenFiles(t *testing.T) {
	for name, r := range reports(t) {
		for ending, write := range formats() {
			t.Run(name+"."+ending, func(t *testing.T) {
				var got bytes.Buffer
				if err := write(r, &got); err != nil {
					t.Fatal(err)
				}
				file := filepath.Join("testdata", "golden", name+"."+ending)
				if *update {
					if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(string(want), got.String()); diff != "" {
					t.Errorf("it is not as in %s (-want +got); -update writes it anew:\n%s", file, diff)
				}
			})
		}
	}
}
