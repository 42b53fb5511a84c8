package prometheus_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the samples of docs/dashboards.md anew")

// The table is between these lines of the document.
const tableBegins, tableEnds = "<!-- samples begin -->\n", "<!-- samples end -->\n"

// row returns the begin of the expression's line in the table.
func (e expression) row(dashboard string) string {
	return fmt.Sprintf("| %s | %s | `%s` | ", dashboard, e.panel, cell(e.expr))
}

// cell makes text fit for a cell of a table in Markdown.
func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

// checkDocument wants the document to have a line with a sample for every expression, and
// for no other. The samples themselves differ from run to run.
func checkDocument(t *testing.T, samples map[string]string) {
	t.Helper()
	file := filepath.Join("..", "..", "docs", "dashboards.md")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), tableBegins)
	table, after, ok2 := strings.Cut(rest, tableEnds)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", file)
	}
	if *update {
		table = renderTable(t, samples)
		if err := os.WriteFile(file, []byte(before+tableBegins+table+tableEnds+after), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for row, sample := range samples {
		_, has, found := strings.Cut(table, "\n"+row)
		has, _, _ = strings.Cut(has, "\n")
		if !found || (has == "|") != (sample == "") {
			t.Errorf("%s lacks the line %s; go test -update writes it", file, row)
		}
	}
	if lines := strings.Count(table, "\n") - 2; lines != len(samples) {
		t.Errorf("%s has %d lines for %d expressions", file, lines, len(samples))
	}
}

// renderTable writes the table in the order of the dashboards.
func renderTable(t *testing.T, samples map[string]string) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("| dashboard | panel | expression | a sample of its result |\n|---|---|---|---|\n")
	seen := map[string]bool{}
	for _, d := range readDashboards(t) {
		for _, e := range d.expressions() {
			row := e.row(d.Title)
			if seen[row] {
				continue
			}
			seen[row] = true
			sample := samples[row]
			if sample != "" {
				sample = "`" + cell(sample) + "` "
			}
			b.WriteString(row + sample + "|\n")
		}
	}
	return b.String()
}
