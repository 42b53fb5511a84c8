package report

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
)

// JUnit writes the run as test results: a case for each check, for the split, and for
// the run as a whole. Only a run that failed has failures: what is open is skipped, so
// that a pipeline which lets an inconclusive run or a person's override through is not
// marked by its test results. A run without an answer has an error.
func (r *Report) JUnit(w io.Writer) error {
	run := printable(r.Run)
	suite := junitSuite{Name: "gatewarden.gate." + run.Canary}
	if !run.StartedAt.IsZero() {
		suite.Timestamp = run.StartedAt.UTC().Format("2006-01-02T15:04:05Z")
		suite.Time = seconds(cmp.Or(deref(run.EndedAt), r.At).Sub(run.StartedAt))
	}
	suite.properties(&run)
	class := suite.Name
	if v := run.Verdict; v != nil {
		for _, c := range v.Checks {
			suite.add(checkCase(class, c, v, r.State()))
		}
		suite.add(splitCase(class, v))
	}
	suite.add(runCase(class, r, &run, suite.Time))
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(junitSuites{Suites: []junitSuite{suite}}); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

type junitSuites struct {
	XMLName xml.Name     `xml:"testsuites"`
	Suites  []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name       string          `xml:"name,attr"`
	Tests      int             `xml:"tests,attr"`
	Failures   int             `xml:"failures,attr"`
	Errors     int             `xml:"errors,attr"`
	Skipped    int             `xml:"skipped,attr"`
	Time       string          `xml:"time,attr,omitempty"`
	Timestamp  string          `xml:"timestamp,attr,omitempty"`
	Properties []junitProperty `xml:"properties>property"`
	Cases      []junitCase     `xml:"testcase"`
}

type junitProperty struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

type junitCase struct {
	Class   string      `xml:"classname,attr"`
	Name    string      `xml:"name,attr"`
	Time    string      `xml:"time,attr,omitempty"`
	Failure *junitWords `xml:"failure"`
	Error   *junitWords `xml:"error"`
	Skipped *junitWords `xml:"skipped"`
	Out     *junitText  `xml:"system-out"`
}

type junitWords struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr,omitempty"`
	Text    string `xml:",cdata"` // so that its lines stay lines
}

type junitText struct {
	Text string `xml:",cdata"`
}

func (s *junitSuite) add(c junitCase) {
	s.Tests++
	switch {
	case c.Error != nil:
		s.Errors++
	case c.Failure != nil:
		s.Failures++
	case c.Skipped != nil:
		s.Skipped++
	}
	s.Cases = append(s.Cases, c)
}

func (s *junitSuite) properties(run *gatewarden.Run) {
	if run.ID != "" {
		s.Properties = append(s.Properties, junitProperty{"gatewarden.run", run.ID})
	}
	for _, f := range settings(run.Parameters) {
		s.Properties = append(s.Properties, junitProperty{f.Label, f.Value})
	}
}

// checkCase says how one check stands.
func checkCase(class string, c gatewarden.CheckEvidence, v *gatewarden.CanaryVerdict, state gatewarden.RunState) junitCase {
	// Names stay the same from build to build, so that a history can be made of them.
	out := junitCase{Class: class, Name: strings.ReplaceAll(c.Name, "_", " ")}
	says := fmt.Sprintf("evidence for a fail 10^%s of the 10^%s that all checks together need", evidence(c.Evidence), evidence(v.Needed))
	if c.Pass != nil {
		says += fmt.Sprintf("; for a pass 10^%s of 10^%s", evidence(*c.Pass), evidence(v.PassNeeded))
	}
	switch {
	case state == gatewarden.RunFail && condemns(c, v):
		out.Failure = &junitWords{Message: v.Reason, Type: c.Name, Text: says}
	case c.Pass == nil || c.Shown:
		out.Out = &junitText{says}
	default:
		out.Skipped = &junitWords{Message: "not shown to be within its margin: " + says}
	}
	return out
}

// condemns reports whether a check had a part in a run's fail: it led, or its own
// evidence would have sufficed.
func condemns(c gatewarden.CheckEvidence, v *gatewarden.CanaryVerdict) bool {
	return v.State == gatewarden.Breach && (c.Name == v.Leading || c.Evidence+math.Log10(c.Weight) >= v.Needed)
}

func splitCase(class string, v *gatewarden.CanaryVerdict) junitCase {
	out := junitCase{Class: class, Name: "split"}
	if s := v.Split; s.Configured <= 0 || s.Mismatch || s.Large {
		out.Skipped = &junitWords{Message: splitNote(s)}
	} else {
		out.Out = &junitText{splitNote(s)}
	}
	return out
}

// runCase is the run as a whole.
func runCase(class string, r *Report, run *gatewarden.Run, took string) junitCase {
	out := junitCase{Class: class, Name: "run", Time: took}
	var text strings.Builder
	// Writing to a builder does not fail.
	_ = r.Text(&text)
	reason, all := cmp.Or(run.Reason, "no reason is known"), &junitText{text.String()}
	switch state := r.State(); {
	case r.Error != "":
		out.Error = &junitWords{Message: Printable(r.Error), Type: "error", Text: all.Text}
	case state == gatewarden.RunPass:
		out.Out = all
	case state == gatewarden.RunFail:
		out.Failure = &junitWords{Message: reason, Type: "fail", Text: all.Text}
	case state == gatewarden.RunInconclusive:
		out.Skipped, out.Out = &junitWords{Message: reason}, all
	default:
		out.Skipped, out.Out = &junitWords{Message: string(run.State) + ": " + reason}, all
	}
	return out
}

func seconds(d time.Duration) string {
	return strconv.FormatFloat(max(d.Seconds(), 0), 'f', 3, 64)
}

// deref returns the instant, or the zero one.
func deref(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}
