package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/gatewarden/gatewarden"
)

// outputFormat is what --output chooses.
type outputFormat string

const (
	outputText outputFormat = "text"
	outputJSON outputFormat = "json" // one JSON object a line
)

// String, Set and Type make outputFormat a flag.
func (o *outputFormat) String() string { return string(*o) }

// Set takes text or json.
func (o *outputFormat) Set(s string) error {
	switch outputFormat(s) {
	case outputText, outputJSON:
		*o = outputFormat(s)
		return nil
	default:
		return fmt.Errorf("it is text or json")
	}
}

// Type names the flag's value in the help.
func (o *outputFormat) Type() string { return "text|json" }

func addOutput(cmd *cobra.Command, o *outputFormat) {
	cmd.Flags().VarP(o, "output", "o", "how to print: text for people, json for programs (one object a line)")
}

// isTerminal reports whether w is a terminal: colours and progress go nowhere else.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb" && os.Getenv("NO_COLOR") == ""
}

// painter colours words where w is a terminal.
type painter struct{ on bool }

func paintFor(w io.Writer) painter { return painter{isTerminal(w)} }

const (
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
	bold   = "1"
	faint  = "2"
)

// unpainted returns s without what paint has added.
func unpainted(s string) string {
	var b strings.Builder
	for {
		plain, rest, painted := strings.Cut(s, "\x1b[")
		b.WriteString(plain)
		if !painted {
			return b.String()
		}
		_, s, _ = strings.Cut(rest, "m")
	}
}

func (p painter) paint(code, s string) string {
	if !p.on || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// state colours a state by what it means for whoever is on call.
func (p painter) state(s string) string {
	switch s {
	case "breach", "failed", "unknown", "fail", "error":
		return p.paint(red, s)
	case "healthy", "applied", "reverted", "pass":
		return p.paint(green, s)
	case "inconclusive", "waiting", "reverting", "left", "skipped", "cancelled":
		return p.paint(yellow, s)
	default:
		return s
	}
}

// eventPrinter writes events as text lines or as JSON lines.
type eventPrinter struct {
	w      io.Writer
	format outputFormat
	paint  painter
	name   int // width of the names' column, which only grows
}

// widen makes room for a name that will come.
func (p *eventPrinter) widen(name string) { p.name = max(p.name, utf8.RuneCountInString(name)) }

func newEventPrinter(w io.Writer, format outputFormat) *eventPrinter {
	return &eventPrinter{w: w, format: format, paint: paintFor(w)}
}

func (p *eventPrinter) print(e gatewarden.Event) error {
	if p.format == outputJSON {
		return printJSON(p.w, e)
	}
	p.widen(e.Name)
	reason := e.Reason
	if e.By != "" && !strings.Contains(reason, e.By) {
		reason += " (" + e.By + ")"
	}
	_, err := fmt.Fprintf(p.w, "%s  %-6s  %s  %-6s  %s  %s\n", e.At.Local().Format(time.DateTime), e.Type,
		padded(p.paint.state(e.State), e.State, len("inconclusive")), e.Severity,
		padded(p.paint.paint(bold, e.Name), e.Name, p.name), reason)
	return err
}

// padded fills a painted text up to a width that the paint does not count for.
func padded(painted, plain string, width int) string {
	return painted + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(plain)))
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// table writes rows of cells in columns. A cell may be painted, which takes no room.
func table(w io.Writer, header []string, rows [][]string) error {
	rows = append([][]string{header}, rows...)
	width := make([]int, len(header))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(unpainted(cell)))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(padded(cell, unpainted(cell), width[i]+2))
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func percent(ratio float64) string { return trimNumber(fmt.Sprintf("%.3f", ratio*100)) + " %" }

// coarsePercent is for numbers of which nobody needs more digits, and some are large.
func coarsePercent(ratio float64) string {
	if ratio > 0 && ratio < 0.0005 {
		return "under 0.1 %"
	}
	return trimNumber(fmt.Sprintf("%.1f", ratio*100)) + " %"
}

func trimNumber(s string) string {
	if !strings.Contains(s, ".") {
		return s
	}
	return strings.TrimRight(strings.TrimRight(s, "0"), ".")
}
