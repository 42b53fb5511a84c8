package rules

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/gatewarden/gatewarden"
)

// Severity says whether a problem keeps a file from being used.
type Severity string

// The severities.
const (
	SeverityError   Severity = "error"   // the file can't be used
	SeverityWarning Severity = "warning" // it can, but it hardly says what was meant
)

// Problem is one thing that is wrong with a file.
type Problem struct {
	File     string   `json:"file"`
	Line     int      `json:"line,omitempty"`   // from 1; 0 when it is about the file as a whole
	Column   int      `json:"column,omitempty"` // from 1, in characters
	Severity Severity `json:"severity"`
	Message  string   `json:"message"`
	Hint     string   `json:"hint,omitempty"`
	Excerpt  string   `json:"excerpt,omitempty"` // the line, without secrets, shortened when it is long

	caret int // where in Excerpt the column is, in characters from 0; -1 for nowhere
}

// String returns the problem on one line: "file:line:column: error: message".
func (p Problem) String() string {
	var place strings.Builder
	place.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&place, ":%d", p.Line)
	}
	if p.Column > 0 {
		fmt.Fprintf(&place, ":%d", p.Column)
	}
	return fmt.Sprintf("%s: %s: %s", place.String(), p.Severity, p.Message)
}

// Problems is everything that is wrong, sorted by file, line and column.
type Problems []Problem

// Errors returns those that keep the files from being used.
func (ps Problems) Errors() Problems {
	return slices.DeleteFunc(slices.Clone(ps), func(p Problem) bool { return p.Severity != SeverityError })
}

// Err returns nil when there are only warnings, else an error (gatewarden.Invalid)
// with all errors in its text; errors.As finds a *LoadError in it.
func (ps Problems) Err() error {
	errs := ps.Errors()
	if len(errs) == 0 {
		return nil
	}
	return gatewarden.Errorf(gatewarden.Invalid, "%w", &LoadError{Problems: errs})
}

// Write prints the problems for people: place and message, the line with a caret
// under the place, and what to do.
func (ps Problems) Write(w io.Writer) error {
	var b strings.Builder
	for _, p := range ps {
		b.WriteString(p.String() + "\n")
		if p.Excerpt != "" {
			b.WriteString("    " + p.Excerpt + "\n")
			if p.caret >= 0 {
				b.WriteString("    " + caretLine(p.Excerpt, p.caret) + "\n")
			}
		}
		if p.Hint != "" {
			b.WriteString("    hint: " + p.Hint + "\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// caretLine keeps the tabs of the excerpt, so that the caret stands under its
// character however wide a tab is.
func caretLine(excerpt string, caret int) string {
	var b strings.Builder
	for i, r := range []rune(excerpt) {
		if i == caret {
			break
		}
		if r != '\t' {
			r = ' '
		}
		b.WriteRune(r)
	}
	return b.String() + "^"
}

// Join merges lists of problems, sorts them and drops repeats.
func Join(lists ...Problems) Problems {
	all := slices.Concat(lists...)
	slices.SortStableFunc(all, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(a.File, b.File),
			cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.Severity, b.Severity),
			cmp.Compare(a.Message, b.Message),
		)
	})
	return slices.Compact(all)
}

// LoadError is a list of problems as an error.
type LoadError struct {
	Problems Problems
}

// Error returns one line a problem, with its hint.
func (e *LoadError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
		if p.Hint != "" {
			lines[i] += " (" + p.Hint + ")"
		}
	}
	return strings.Join(lines, "\n")
}
