package doctest

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// skeleton is what a document and its translation must have in common.
type skeleton struct {
	Headings []int      // their levels
	Code     []string   // blocks, without comments
	Rows     [][]string // the code in each row of each table
	Links    []string   // but for those from one language to the other
}

var (
	levels  = regexp.MustCompile(`(?m)^(#{1,6}) `)
	comment = regexp.MustCompile(`(?m)\s+#.*$|^#.*$`)
)

func skeletonOf(d document) skeleton {
	var s skeleton
	text := prose(d.name, d.text)
	for _, m := range levels.FindAllStringSubmatch(text, -1) {
		s.Headings = append(s.Headings, len(m[1]))
	}
	for _, b := range blocks(d.name, d.text) {
		code := b.text
		if b.info == "yaml" {
			code = comment.ReplaceAllString(code, "")
		}
		s.Code = append(s.Code, code)
	}
	for _, row := range rows(text) {
		var spans []string
		for _, m := range span.FindAllStringSubmatch(strings.Join(row, "|"), -1) {
			spans = append(spans, m[1])
		}
		s.Rows = append(s.Rows, spans)
	}
	for _, m := range link.FindAllStringSubmatch(span.ReplaceAllString(text, ""), -1) {
		if !strings.HasPrefix(m[1], "README") {
			s.Links = append(s.Links, m[1])
		}
	}
	slices.Sort(s.Links) // sentences are built differently
	return s
}

func TestTheChineseREADMEIsInStep(t *testing.T) {
	english, chinese := skeletonOf(read(t, "README.md")), skeletonOf(read(t, "README.zh-CN.md"))
	if len(english.Code) < 5 || len(english.Rows) < 10 || len(english.Headings) < 5 {
		t.Fatalf("the test does not see README.md: %+v", english)
	}
	if diff := cmp.Diff(english, chinese); diff != "" {
		t.Errorf("README.zh-CN.md is not in step with README.md (-English +Chinese):\n%s", diff)
	}
}

func TestATranslationThatLagsIsFound(t *testing.T) {
	const before = "# A\n\n    gatewarden run\n\n| `a` | b |\n|---|---|\n\n[x](y.md)\n"
	for sentence, after := range map[string]string{
		"another command":    strings.Replace(before, "run", "check", 1),
		"a heading too much": before + "\n## B\n",
		"a row too much":     strings.Replace(before, "|---|---|\n", "|---|---|\n| c | d |\n", 1),
		"other code in one":  strings.Replace(before, "`a`", "`z`", 1),
		"a link that is not": strings.Replace(before, "[x](y.md)", "x", 1),
	} {
		if cmp.Equal(skeletonOf(document{text: before}), skeletonOf(document{text: after})) {
			t.Errorf("%s is not found", sentence)
		}
	}
}
