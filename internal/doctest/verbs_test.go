package doctest

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	call = regexp.MustCompile(`(?:^|[\s(])(?:\./|go run \./cmd/)?gatewarden +([a-z].*)`)
	// ends is where a command ends on its line.
	ends = regexp.MustCompile(`\s(?:\||&&|#|;)\s|\s#|\s{3,}`)
	flag = regexp.MustCompile(`--[a-z]+(?:-[a-z]+)*`)
)

// command is how a document calls the program.
type command struct {
	words []string // verb, and the verb below it if there is one
	flags []string
}

// commands returns the calls of the program in the code of a document. An alternative
// such as approve|reject is a call of each.
func commands(d document) []command {
	var lines []string
	for _, b := range blocks(d.name, d.text) {
		if b.info == "" {
			lines = append(lines, strings.Split(b.text, "\n")...)
		}
	}
	for _, m := range span.FindAllStringSubmatch(prose(d.name, d.text), -1) {
		lines = append(lines, m[1])
	}
	var all []command
	for _, line := range lines {
		m := call.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		text := strings.ReplaceAll(m[1], `\|`, "|")
		if cut := ends.FindStringIndex(text); cut != nil && !strings.Contains(text[:cut[0]], `"`) {
			text = text[:cut[0]]
		}
		words := strings.Fields(text)
		flags := flag.FindAllString(text, -1)
		if len(words) > 1 && words[0] == "actions" && isVerb(words[1]) {
			for sub := range strings.SplitSeq(words[1], "|") {
				all = append(all, command{[]string{words[0], sub}, flags})
			}
			continue
		}
		all = append(all, command{words[:1], flags})
	}
	return all
}

// isVerb tells a verb, or several with bars, from an id, which has dashes, and from
// what stands for something.
func isVerb(word string) bool { return regexp.MustCompile(`^[a-z|]+$`).MatchString(word) }

// wrong says what the program's help does not know of a command.
func wrong(c command, help func(words []string) string) string {
	text := help(c.words)
	if !strings.Contains(text, "\n  gatewarden "+strings.Join(c.words, " ")+" ") {
		return "there is no such verb"
	}
	for _, f := range c.flags {
		if !regexp.MustCompile(regexp.QuoteMeta(f) + `[ \n]`).MatchString(text) {
			return "it has no flag " + f
		}
	}
	return ""
}

func TestEveryCommandOfTheDocumentsExists(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "gatewarden")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./cmd/gatewarden")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the program: %v\n%s", err, out)
	}
	texts := map[string]string{}
	help := func(words []string) string {
		key := strings.Join(words, " ")
		if _, known := texts[key]; !known {
			out, err := exec.CommandContext(t.Context(), binary, slices.Concat(words, []string{"--help"})...).Output()
			if err != nil {
				t.Errorf("gatewarden %s --help: %v", key, err)
			}
			texts[key] = string(out)
		}
		return texts[key]
	}
	for _, d := range manual(t) {
		for _, c := range commands(d) {
			if why := wrong(c, help); why != "" {
				t.Errorf("%s: gatewarden %s: %s", d.name, strings.Join(c.words, " "), why)
			}
		}
	}
	if len(texts) < 10 {
		t.Errorf("only %d verbs found in the documents: the test does not see them", len(texts))
	}
	for _, c := range []command{{words: []string{"guard"}}, {words: []string{"actions", "undo"}}, {[]string{"events"}, []string{"--tail"}}} {
		if wrong(c, help) == "" {
			t.Errorf("%v passes, and does not exist", c)
		}
	}
}

func TestCommandsAreFoundInCode(t *testing.T) {
	doc := document{"x.md", "gatewarden watches.\n\n    ./gatewarden check a.yaml && gatewarden run -c a.yaml\n    go run ./cmd/gatewarden demo --once\n\n" +
		"See `gatewarden actions approve\\|reject ID` and `gatewarden actions x-1 --output json`.\n"}
	var got []string
	for _, c := range commands(doc) {
		got = append(got, strings.Join(append(c.words, c.flags...), " "))
	}
	want := []string{"check", "demo --once", "actions approve", "actions reject", "actions --output"}
	if !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}
