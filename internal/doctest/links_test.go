package doctest

import (
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

var (
	link    = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#{1,6} +(.+?) *$`)
	linked  = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
)

// anchors returns the fragments that GitHub makes of a document's headings.
func anchors(d document) map[string]bool {
	all := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(prose(d.name, d.text), -1) {
		text := linked.ReplaceAllString(m[1], "$1")
		slug := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			default:
				return -1
			}
		}, text)
		for n := 0; ; n++ { // a second heading of the same words gets a number
			numbered := slug
			if n > 0 {
				numbered = fmt.Sprintf("%s-%d", slug, n)
			}
			if !all[numbered] {
				all[numbered] = true
				break
			}
		}
	}
	return all
}

// broken says why a link of d leads nowhere, "" when it leads somewhere or out of the
// module.
func broken(d document, target string, read func(name string) (document, error)) string {
	u, err := url.Parse(target)
	if err != nil {
		return err.Error()
	}
	if u.Scheme != "" || u.Host != "" {
		return ""
	}
	to := d
	if u.Path != "" {
		name := path.Join(path.Dir(d.name), u.Path)
		if to, err = read(name); err != nil {
			return err.Error()
		}
	}
	if u.Fragment != "" && !anchors(to)[u.Fragment] {
		return "there is no heading #" + u.Fragment + " in " + to.name
	}
	return ""
}

// open reads what a link leads to; of a folder nothing but that it exists.
func open(name string) (document, error) {
	file := filepath.Join(root, filepath.FromSlash(name))
	info, err := os.Stat(file)
	if err != nil || info.IsDir() || filepath.Ext(name) != ".md" {
		return document{name: name}, err
	}
	text, err := os.ReadFile(file)
	return document{name, string(text)}, err
}

func TestRelativeLinksLeadSomewhere(t *testing.T) {
	found := 0
	for _, d := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(span.ReplaceAllString(prose(d.name, d.text), "code"), -1) {
			found++
			if why := broken(d, m[1], open); why != "" {
				t.Errorf("%s links to %s: %s", d.name, m[1], why)
			}
		}
	}
	if found < 50 {
		t.Errorf("only %d links found: the test does not see them", found)
	}
}

func TestABrokenLinkIsFound(t *testing.T) {
	here := document{"docs/here.md", "# Here it is\n\n## 2. `code`, and [more](x.md)\n"}
	for target, works := range map[string]bool{
		"#here-it-is": true, "#2-code-and-more": true, "#there": false, "https://nowhere.example/x": true,
		"../README.md": true, "../README.md#licence": true, "../README.md#nothing": false, "nothing.md": false, "adr": true,
	} {
		if why := broken(here, target, open); (why == "") != works {
			t.Errorf("%s: %q, works %v", target, why, works)
		}
	}
}
