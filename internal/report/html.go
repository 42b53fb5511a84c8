package report

import (
	_ "embed" // for the template
	"fmt"
	"html/template"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/gatewarden/gatewarden"
)

//go:embed report.html.tmpl
var htmlTemplate string

// HTML writes the run as one self-contained page, which loads nothing: light or dark as
// the reader prefers, wide or narrow, with a drawing of the evidence over time.
func (r *Report) HTML(w io.Writer) error {
	t, err := template.New("report").Parse(htmlTemplate)
	if err != nil {
		return fmt.Errorf("reading the template of the page: %w", err)
	}
	var b strings.Builder // so that nothing is written of a page that fails half-way
	if err := t.Execute(&b, newHTMLPage(newPage(r))); err != nil {
		return fmt.Errorf("writing the page: %w", err)
	}
	_, err = io.WriteString(w, b.String())
	return err
}

// htmlPage is a page as the template wants it.
type htmlPage struct {
	*page
	Outcome, Sentence        string
	Tracks, Checks, Suspects htmlGrid
	Evidence                 []htmlMark
	Plot                     *htmlPlot
}

type htmlGrid struct {
	Header []string
	Rows   [][]string
	Cells  [][]htmlCell
}

type htmlCell struct {
	Text string
	Code bool
}

// htmlMark is something at a place: places are per cent, and thousandths from above in
// the drawing.
type htmlMark struct {
	Label, Text, Class string
	Y, Percent         string
	Place              string // of its text: on the line unless "up" or "down"
	Odd                bool   // left out where there is little room
}

type htmlPlot struct {
	Levels, Needs, Times, Shares []htmlMark
	Steps                        []string
	Courses                      []htmlCourse
	Passes                       bool
}

type htmlCourse struct{ Class, Path string }

func newHTMLPage(p *page) *htmlPage {
	h := &htmlPage{page: p, Outcome: p.outcome(), Sentence: p.sentence(), Tracks: newHTMLGrid(p.Tracks), Checks: newHTMLGrid(p.Checks), Suspects: newHTMLGrid(p.Suspects)}
	for i, g := range p.Evidence {
		h.Evidence = append(h.Evidence, htmlMark{Label: g.Label, Text: g.String(), Class: courseClass(i == 0), Percent: digits(100 * g.Full())})
	}
	if p.Plot != nil {
		h.Plot = newHTMLPlot(p.Plot)
	}
	return h
}

func newHTMLGrid(g grid) htmlGrid {
	h := htmlGrid{Header: g.Header, Rows: g.Rows}
	for _, row := range g.Rows {
		cells := make([]htmlCell, len(row))
		for i, cell := range row {
			cells[i] = htmlCell{cell, g.code(i) && cell != ""}
		}
		h.Cells = append(h.Cells, cells)
	}
	return h
}

func courseClass(against bool) string {
	if against {
		return "against"
	}
	return "for"
}

// How much of a wide and of a narrow drawing a share's label takes.
const (
	roomWide   = 0.06
	roomNarrow = 0.18
)

// tooClose is how far apart two levels of evidence must be for their names to have room.
const tooClose = 0.3

func newHTMLPlot(p *plot) *htmlPlot {
	h := &htmlPlot{Passes: p.passes}
	level := func(evidence float64, text, class string) htmlMark {
		above := 1 - p.y(evidence)
		return htmlMark{Text: text, Class: class, Y: digits(1000 * above), Percent: digits(100 * above)}
	}
	for e := math.Ceil(p.low); e <= p.high; e++ {
		h.Levels = append(h.Levels, level(e, evidence(e), ""))
	}
	h.Needs = append(h.Needs, level(p.failNeeded, "fail at "+evidence(p.failNeeded), courseClass(true)))
	if p.passes {
		h.Needs = append(h.Needs, level(p.passNeeded, "pass at "+evidence(p.passNeeded), courseClass(false)))
		if math.Abs(p.failNeeded-p.passNeeded) < tooClose {
			up := 0
			if p.passNeeded > p.failNeeded {
				up = 1
			}
			h.Needs[up].Place, h.Needs[1-up].Place = "up", "down"
		}
		h.Courses = append(h.Courses, htmlCourse{courseClass(false), p.path(func(q plotPoint) float64 { return q.pass })})
	}
	h.Courses = append(h.Courses, htmlCourse{courseClass(true), p.path(func(q plotPoint) float64 { return q.fail })})
	for i, mark := range p.ticks(8) {
		h.Times = append(h.Times, htmlMark{Text: gatewarden.Duration(mark).String(), Percent: digits(100 * p.x(mark.Seconds())), Odd: i%2 == 0})
	}
	last := -1.0 // where the share before is written
	for i, s := range p.shares {
		x := p.x(s.at)
		if i > 0 {
			h.Steps = append(h.Steps, digits(1000*x))
		}
		if x >= last+roomWide {
			h.Shares = append(h.Shares, htmlMark{Text: percent(s.share), Percent: digits(100 * x), Odd: x < last+roomNarrow})
			last = x
		}
	}
	return h
}

// path draws a course in thousandths.
func (p *plot) path(pick func(plotPoint) float64) string {
	var b strings.Builder
	for i, point := range p.points {
		b.WriteByte("ML"[min(i, 1)])
		b.WriteString(digits(1000*p.x(point.at)) + " " + digits(1000*(1-p.y(pick(point)))))
	}
	return b.String()
}

// digits writes a coordinate.
func digits(x float64) string { return trimmed(strconv.FormatFloat(x, 'f', 1, 64)) }
