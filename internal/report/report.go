// Package report writes one run of a canary for whoever has to read it: as text, as
// Markdown for a pipeline's summary, as a page of HTML, as JUnit XML for a pipeline's
// test results, as JSON for programs. It is pure: a Run in, text out.
//
//	Run ─printable→ page (what there is to say, in words and figures) ─→ Text, Markdown, HTML, JUnit
//	                  └ plot (the evidence over time, scaled) ─────────→ characters, SVG
//
// Whatever clients of the gateway could have written (routes, request and trace ids) and
// whatever pipelines could have (parameters, names) is hostile here: it is made printable
// first, and each format escapes it in its own way.
package report

import (
	"encoding/json"
	"io"
	"time"

	"github.com/gatewarden/gatewarden"
)

// Report is a run and how following it ended.
type Report struct {
	Run gatewarden.Run // with its verdict and trail as far as they are known
	// Error says why there is no answer although somebody waited for one: the guard
	// could not be reached, for example. "" when that went well.
	Error string
	At    time.Time // when the report is written
}

// stateError is what a report says of a run whose answer nobody knows.
const stateError gatewarden.RunState = "error"

// State returns the run's state, or "error" when its answer is not known. A run that was
// over before something went wrong keeps its state.
func (r *Report) State() gatewarden.RunState {
	if r.Error != "" && (r.Run.State == "" || !r.Run.Over()) {
		return stateError
	}
	return r.Run.State
}

// JSON writes the run as one JSON object, with its trail. If there is no answer, its
// state is "error", and the field error says why.
func (r *Report) JSON(w io.Writer) error {
	out := struct {
		gatewarden.Run
		Error string `json:"error,omitempty"`
	}{r.Run, r.Error}
	out.State = r.State()
	if out.Reason == "" {
		out.Reason = r.Error
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(out)
}
