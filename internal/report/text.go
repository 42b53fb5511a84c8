package report

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/gatewarden/gatewarden"
)

// Text writes the run for a terminal, with a plot of the evidence in characters.
func (r *Report) Text(w io.Writer) error {
	p := newPage(r)
	t := &textWriter{}
	t.line("%s: %s", p.Canary, p.outcome())
	t.line("%s", p.sentence())
	if p.Error != "" && p.Reason != "" {
		t.line("It was, when last seen: %s", p.Reason)
	}
	t.facts("", p.Facts)
	t.facts("Parameters", p.Settings)
	if len(p.Tracks.Rows) > 0 {
		t.grid("", p.Tracks)
		t.facts("Canary over baseline, with 95 % intervals that hold at all times together", p.Effects)
		t.evidence(p.Evidence)
	}
	if p.Plot != nil {
		t.heading("Evidence over time, as powers of ten")
		p.Plot.text(t)
	}
	if len(p.Checks.Rows) > 0 {
		t.grid("Checks", p.Checks)
	}
	if len(p.Suspects.Rows) > 0 {
		t.grid("Requests of the canary to look at first", p.Suspects)
	}
	if len(p.Notes) > 0 {
		t.heading("")
		for _, n := range p.Notes {
			t.line("%s", n)
		}
	}
	_, err := io.WriteString(w, t.b.String())
	return err
}

// textWriter lays out text.
type textWriter struct{ b strings.Builder }

func (t *textWriter) line(format string, args ...any) {
	t.b.WriteString(strings.TrimRight(fmt.Sprintf(format, args...), " ") + "\n")
}

func (t *textWriter) heading(title string) {
	t.line("")
	if title != "" {
		t.line("%s", title)
	}
}

func (t *textWriter) facts(title string, facts []fact) {
	if len(facts) == 0 {
		return
	}
	t.heading(title)
	width := 0
	for _, f := range facts {
		width = max(width, utf8.RuneCountInString(f.Label))
	}
	for _, f := range facts {
		t.line("  %s  %s", pad(f.Label, width), f.Value)
	}
}

func (t *textWriter) grid(title string, g grid) {
	t.heading(title)
	width := make([]int, len(g.Header))
	rows := append([][]string{g.Header}, g.Rows...)
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString("  " + pad(cell, width[i]))
		}
		t.line("%s", line.String())
	}
}

// gaugeWidth is how long the bars of evidence are, in characters.
const gaugeWidth = 20

func (t *textWriter) evidence(gauges []gauge) {
	t.heading("Evidence")
	for _, g := range gauges {
		t.line("  %s  %s  %s", g.Label, Bar(g.Full(), gaugeWidth), g)
	}
}

// Bar draws a part of a whole, in [0, 1], as so many characters.
func Bar(part float64, width int) string {
	eighths := int(min(max(part, 0), 1)*float64(width)*8 + 0.5)
	bar := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		bar += string([]rune("▏▎▍▌▋▊▉")[rest-1])
	}
	return "▕" + pad(bar, width) + "▏"
}

// The size of the plot in characters, its labels left out.
const (
	plotColumns = 64
	plotRows    = 12
)

// text draws the plot: both courses of evidence, what is needed of each, and the share
// that the canary is configured to take.
func (p *plot) text(t *textWriter) {
	cells := make([][]rune, plotRows)
	for i := range cells {
		cells[i] = []rune(strings.Repeat(" ", plotColumns))
	}
	row := func(evidence float64) int { return plotRows - 1 - int(p.y(evidence)*(plotRows-1)+0.5) }
	column := func(at float64) int { return int(p.x(at) * (plotColumns - 1)) }
	fill(cells[row(0)], '·')
	if p.passes {
		fill(cells[row(p.passNeeded)], '╌')
	}
	fill(cells[row(p.failNeeded)], '─')
	for _, point := range p.points {
		if p.passes {
			cells[row(point.pass)][column(point.at)] = '○'
		}
	}
	for _, point := range p.points {
		cells[row(point.fail)][column(point.at)] = '●'
	}
	for i, line := range cells {
		label, end := "", ""
		switch i {
		case row(0):
			label = "0"
		case plotRows - 1:
			label = evidence(p.low)
		}
		if p.passes && i == row(p.passNeeded) {
			label, end = evidence(p.passNeeded), " pass ○"
		}
		if i == row(p.failNeeded) {
			label, end = evidence(p.failNeeded), " fail ●"+end
		}
		t.line("  %5s ┤%s%s", label, string(line), end)
	}
	t.line("        └%s", p.axis())
	if len(p.shares) > 0 {
		t.line("  share  %s", p.shareLine())
	}
}

func fill(line []rune, with rune) {
	for i := range line {
		line[i] = with
	}
}

// axis is the line of time, with round instants.
func (p *plot) axis() string {
	line := []rune(strings.Repeat("─", plotColumns+8))
	end := 0
	for _, mark := range p.ticks(5) {
		text := []rune("┬" + gatewarden.Duration(mark).String())
		if at := int(p.x(mark.Seconds()) * (plotColumns - 1)); at >= end && at+len(text) <= len(line) {
			copy(line[at:], text)
			end = at + len(text) + 1
		}
	}
	return string(line)
}

// shareLine says below the axis from when on the canary was to take which share.
func (p *plot) shareLine() string {
	line := []rune(strings.Repeat(" ", plotColumns+8))
	end := 0
	for _, s := range p.shares {
		text := []rune(percent(s.share))
		if at := int(p.x(s.at) * (plotColumns - 1)); at >= end && at+len(text) <= len(line) {
			copy(line[at:], text)
			end = at + len(text) + 1
		}
	}
	return strings.TrimRight(string(line), " ")
}

func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(s)))
}

// Line says in one line how a run stands.
func Line(run *gatewarden.Run) string {
	r := printable(*run)
	line := r.ID + ": " + string(r.State)
	if r.Reason != "" {
		line += ": " + r.Reason
	}
	return line
}
