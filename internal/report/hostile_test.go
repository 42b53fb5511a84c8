package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"pgregory.net/rapid"

	"github.com/gatewarden/gatewarden"
)

// nasty are pieces that mean something to a terminal, to HTML, to Markdown or to XML.
func nasty() *rapid.Generator[string] {
	pieces := []string{
		"x", " ", "<", ">", "&", "\"", "'", "`", "``", "|", "\\", "*", "_", "[", "](", ")", "#", "\n", "\r", "\t", "\x00", "\x1b[31m", "\x1b]0;", "\x7f",
		"\u0085", "\u202e", "\u2028", "\ufeff", "\ufffe", "\xff", "\xed\xa0\x80", "]]>", "<!--", "-->", "</script>", "<script>", "<b onclick=", "{{", "}}", "${", "%", "é", "漢",
	}
	return rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 1, 12).Draw(t, "pieces"), "")
	})
}

// withStrings puts text wherever somebody else may have written it.
func withStrings(run gatewarden.Run, text func() string) gatewarden.Run {
	run.ID, run.Canary, run.By, run.Reason = text(), text(), text(), text()
	run.Parameters = map[string]string{text(): text()}
	run.Override = &gatewarden.Override{State: run.State, By: text(), Reason: text()}
	v := *run.Verdict
	v.Reason, v.Leading = text(), text()
	v.Checks = append(slices.Clone(v.Checks), gatewarden.CheckEvidence{Name: "a check of " + text()})
	v.Suspects = []gatewarden.Suspect{{ID: text(), TraceID: text(), Route: text()}}
	run.Verdict = &v
	return run
}

// TestWhatOthersWroteChangesNoForm compares the form of a hostile report with that of a
// tame one: as many lines, elements and cells.
func TestWhatOthersWroteChangesNoForm(t *testing.T) {
	run := storedRun(t, "fail")
	written := func(t require, r *Report, write func(*Report, io.Writer) error) string {
		var b bytes.Buffer
		if err := write(r, &b); err != nil {
			t.Fatalf("writing: %v", err)
		}
		return b.String()
	}
	tame := &Report{Run: withStrings(run, func() string { return "x" }), Error: "x", At: start}
	rapid.Check(t, func(t *rapid.T) {
		hostile := &Report{Run: withStrings(run, func() string { return nasty().Draw(t, "text") }), Error: nasty().Draw(t, "error"), At: start}
		for ending, write := range formats() {
			if ending == "json" {
				continue // that is for programs, and its encoder's concern
			}
			got, want := written(t, hostile, write), written(t, tame, write)
			if form(ending, got) != form(ending, want) {
				t.Errorf("%s: the form is\n%s\nand not\n%s\nof\n%s", ending, form(ending, got), form(ending, want), got)
			}
			for _, r := range got {
				if unicode.IsControl(r) && r != '\n' || r == '\u202e' {
					t.Fatalf("%s: %q is in it", ending, r)
				}
			}
		}
	})
}

// require is what both kinds of tests have.
type require interface {
	Fatalf(format string, args ...any)
}

var (
	escaped = regexp.MustCompile(`\\.`)
	meaning = regexp.MustCompile("[^|<`*\\[#]|&#124;|#124")
)

// form is what of a text must not depend on the strings in it.
func form(ending, text string) string {
	switch ending {
	case "html":
		return strings.Join(regexp.MustCompile(`<[^>]*>?`).FindAllString(text, -1), "\n")
	case "md": // what still means something, line by line
		var rows []string
		for line := range strings.Lines(text) {
			rows = append(rows, meaning.ReplaceAllString(escaped.ReplaceAllString(line, ""), ""))
		}
		return strings.Join(rows, "\n")
	case "xml":
		return strings.Join(elements(text), " ")
	default:
		return strings.Repeat("\n", strings.Count(text, "\n"))
	}
}

// elements returns the elements of a document, "broken" in it when it can't be read.
func elements(text string) []string {
	var names []string
	for d := xml.NewDecoder(strings.NewReader(text)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return names
		}
		if err != nil {
			return append(names, "broken: "+err.Error())
		}
		if e, ok := token.(xml.StartElement); ok {
			names = append(names, e.Name.Local)
		}
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"orders":              "orders",
		"a\nb\tc\u2028d":      "a b c d",
		"\x1b[2J":             "\ufffd[2J",
		"a\u202eb":            "a\ufffdb",
		"\xff":                "\ufffd",
		"größer 漢 👍":          "größer 漢 👍",
		"\u200bzero\ufeff":    "\ufffdzero\ufffd",
		"\ufffe\uffff\ue000x": "\ufffd\ufffd\ufffdx",
	} {
		if got := Printable(in); got != want {
			t.Errorf("%q is shown as %q, want %q", in, got, want)
		}
	}
	long := strings.Repeat("ä", longestText)
	if Printable(long) != long || Printable(long+"b") != long+"…" {
		t.Error("a long text is not cut where it should be")
	}
}

// TestAnyFiguresCanBeDrawn draws what no judge would say.
func TestAnyFiguresCanBeDrawn(t *testing.T) {
	number := rapid.OneOf(rapid.Float64(), rapid.Float64Range(-3, 3), rapid.SampledFrom([]float64{0, 1e300, -1e300, math.SmallestNonzeroFloat64}))
	rapid.Check(t, func(t *rapid.T) {
		run := gatewarden.Run{
			State: gatewarden.RunRunning, StartedAt: start, Steps: rapid.SliceOfN(rapid.Int(), 0, 3).Draw(t, "steps"), Step: rapid.Int().Draw(t, "step"),
			Verdict: &gatewarden.CanaryVerdict{
				At: start.Add(time.Duration(rapid.Int64().Draw(t, "at"))), Evidence: number.Draw(t, "evidence"), Needed: number.Draw(t, "needed"), PassNeeded: number.Draw(t, "pass"),
				ErrorRatio: gatewarden.Interval{Low: number.Draw(t, "low"), High: number.Draw(t, "high"), Estimate: number.Draw(t, "estimate")},
				Checks:     []gatewarden.CheckEvidence{{Name: "errors", Weight: number.Draw(t, "weight"), Evidence: number.Draw(t, "own"), Pass: rapid.Ptr(number, true).Draw(t, "own pass")}},
				Split:      gatewarden.SplitEvidence{Configured: number.Draw(t, "configured"), Observed: number.Draw(t, "observed")},
			},
		}
		for range rapid.IntRange(0, 20).Draw(t, "points") {
			run.Trail = append(run.Trail, gatewarden.RunPoint{
				At: start.Add(time.Duration(rapid.Int64().Draw(t, "point"))), Fail: number.Draw(t, "fail"), Pass: number.Draw(t, "pass"), Share: number.Draw(t, "share"),
			})
		}
		for ending, write := range formats() {
			var b bytes.Buffer
			if err := write(&Report{Run: run, At: start}, &b); err != nil {
				t.Fatalf("%s: %v", ending, err)
			}
			if strings.Contains(b.String(), "NaN") || strings.Contains(b.String(), "ZgotmplZ") {
				t.Fatalf("%s: %s", ending, b.String())
			}
		}
	})
}

// FuzzReports reads a run as a guard sends it, and writes it.
func FuzzReports(f *testing.F) {
	for _, name := range []string{"pass", "fail", "cancelled"} {
		run := storedRun(f, name)
		run.Trail = run.Trail[:min(len(run.Trail), 5)]
		text, err := json.Marshal(run)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"steps":[5],"step":1,"verdict":{"needed":2,"pass_needed":1,"checks":[{"name":"x","pass":1}]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var run gatewarden.Run
		if json.Unmarshal(text, &run) != nil {
			return
		}
		for ending, write := range formats() {
			var b bytes.Buffer
			if err := write(&Report{Run: run, At: start}, &b); err != nil && ending != "json" {
				t.Fatalf("%s: %v", ending, err)
			}
			if names := elements(b.String()); ending == "xml" && (len(names) < 3 || strings.HasPrefix(names[len(names)-1], "broken")) {
				t.Fatalf("the XML can't be read: %v", names)
			}
		}
	})
}
