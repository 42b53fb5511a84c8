package report

import (
	"fmt"
	"io"
	"strings"
)

// Markdown writes the run as GitHub's dialect of Markdown, fit for the summary of a job.
func (r *Report) Markdown(w io.Writer) error {
	p := newPage(r)
	var b strings.Builder
	fmt.Fprintf(&b, "## %s Canary %s: %s\n\n%s\n", sign(p.State), markdown(p.Canary), markdown(p.outcome()), markdown(p.sentence()))
	if p.Error != "" && p.Reason != "" {
		fmt.Fprintf(&b, "\nIt was, when last seen: %s\n", markdown(p.Reason))
	}
	markdownGrid(&b, p.Tracks)
	if len(p.Tracks.Rows) > 0 {
		b.WriteString("\n| canary over baseline | ratio (95 % interval, at all times together) |\n|---|---|\n")
		for _, f := range p.Effects {
			fmt.Fprintf(&b, "| %s | %s |\n", markdown(f.Label), markdown(f.Value))
		}
		b.WriteString("\n| evidence | |\n|---|---|\n")
		for _, g := range p.Evidence {
			fmt.Fprintf(&b, "| %s | %s %s |\n", g.Label, code(strings.ReplaceAll(Bar(g.Full(), gaugeWidth), " ", "░")), markdown(g.String()))
		}
	}
	if len(p.Suspects.Rows) > 0 {
		b.WriteString("\n**Requests of the canary to look at first**\n")
		markdownGrid(&b, p.Suspects)
	}
	markdownDetails(&b, p)
	_, err := io.WriteString(w, b.String())
	return err
}

// markdownDetails writes what is folded away until somebody asks for it.
func markdownDetails(b *strings.Builder, p *page) {
	b.WriteString("\n<details><summary>Details</summary>\n\n| | |\n|---|---|\n")
	for _, facts := range [][]fact{p.Facts, p.Settings} {
		for _, f := range facts {
			value := markdown(f.Value)
			if f.Code {
				value = code(f.Value)
			}
			fmt.Fprintf(b, "| %s | %s |\n", markdown(f.Label), value)
		}
	}
	if p.Plot != nil {
		t := &textWriter{}
		p.Plot.text(t)
		fmt.Fprintf(b, "\nEvidence over time, as powers of ten:\n\n```text\n%s```\n", t.b.String())
	}
	markdownGrid(b, p.Checks)
	if len(p.Notes) > 0 {
		b.WriteString("\n")
		for _, n := range p.Notes {
			fmt.Fprintf(b, "- %s\n", markdown(n))
		}
	}
	b.WriteString("\n</details>\n")
}

// sign is what the eye finds first in a list of summaries.
func sign(state string) string {
	switch state {
	case "pass":
		return "✅"
	case "fail", "error":
		return "❌"
	default:
		return "⚠️"
	}
}

func markdownGrid(b *strings.Builder, g grid) {
	if len(g.Rows) == 0 {
		return
	}
	b.WriteString("\n|")
	for _, h := range g.Header {
		fmt.Fprintf(b, " %s |", markdown(h))
	}
	b.WriteString("\n|" + strings.Repeat("---|", len(g.Header)) + "\n")
	for _, row := range g.Rows {
		b.WriteString("|")
		for i, cell := range row {
			if g.code(i) {
				cell = code(cell)
			} else {
				cell = markdown(cell)
			}
			fmt.Fprintf(b, " %s |", cell)
		}
		b.WriteString("\n")
	}
}

// markdown escapes text, so that it is shown as it is: no link, no markup, no HTML, no
// new cell of a table.
func markdown(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '<':
			b.WriteString("&lt;")
			continue
		case r == '&':
			b.WriteString("&amp;")
			continue
		case r == '|':
			b.WriteString("&#124;") // a table is cut at bars before anything else is read
			continue
		case strings.ContainsRune("\\`*_{}[]>#~!@$", r):
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return strings.NewReplacer("://", `\://`, "www.", `www\.`).Replace(b.String()) // what GitHub makes links of
}

// code writes text as code. In a span of backticks a table would still be cut at bars.
func code(s string) string {
	if s == "" {
		return ""
	}
	return "<code>" + markdown(s) + "</code>"
}
